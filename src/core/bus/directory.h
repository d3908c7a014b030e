/* directory.h -- the members of each room, over all workers.
 *
 * What a worker must know of the others' rooms: which workers get a broadcast, how large a room is,
 * its members. Broadcasts walk the hubs' own rooms (room.h), not these. One thread at a time: the
 * bus locks. */
#ifndef TIDEWIRE_CORE_BUS_DIRECTORY_H
#define TIDEWIRE_CORE_BUS_DIRECTORY_H

#include "base/conn_id.h"
#include "base/table.h"
#include "core/bus/endpoint_counts.h"

#include <stdbool.h>
#include <stdint.h>

enum { DIRECTORY_MAX_WORKERS = 128 };

/* One connection in one room. Its hub keeps the pointer for directory_leave(). */
struct room_entry;

/* All zeros is an empty one. */
struct directory {
    unsigned
        workers; /* their number, at most DIRECTORY_MAX_WORKERS: set it before the first join */
    /* private */
    struct table rooms, watched;
};

/* All members must have left; watches may remain. */
void directory_close(struct directory *directory);

/* Adds a connection of an endpoint that is not in the room. `name` is the endpoint's as JSON,
 * `info` the script's text about the member (no bytes: none). Copies all. */
struct room_entry *directory_join(struct directory *directory, unsigned worker, struct slice room,
                                  conn_id id, uint32_t endpoint, const char *name,
                                  struct slice info);
void directory_leave(struct directory *directory, struct room_entry *entry);
/* Replaces the info. Returns the new entry; the old pointer is invalid. */
struct room_entry *directory_set_info(struct room_entry *entry, struct slice info);

/* Its room, its endpoint's name, its info (NULL: none). */
struct slice room_entry_room(const struct room_entry *entry);
const char *room_entry_name(const struct room_entry *entry);
const char *room_entry_info(const struct room_entry *entry);

/* ---- a room ---- */

uint32_t directory_size(const struct directory *directory, struct slice room);

/* Is the connection a member? Looks at each member. */
bool directory_has(const struct directory *directory, struct slice room, conn_id id);

/* The members, counted by endpoint and worker; valid until the next change. */
const struct endpoint_counts *directory_endpoint_counts(const struct directory *directory,
                                                        struct slice room);

/* Calls f for each member, in no order. */
void directory_members(const struct directory *directory, struct slice room,
                       void (*f)(void *user, conn_id id, const char *name, const char *info),
                       void *user);

/* ---- watches ---- */

/* This worker watches the room, or does not. */
void directory_watch(struct directory *directory, unsigned worker, struct slice room, bool on);
/* By any worker; by this worker. */
bool directory_is_watched(const struct directory *directory, struct slice room);
bool directory_watches(const struct directory *directory, unsigned worker, struct slice room);

#endif
