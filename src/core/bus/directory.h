/* directory.h -- who is in which room, over all workers.
 *
 * What one worker must know of the others' rooms: to whom a broadcast is to be handed, how large a
 * room is, and who is in it. Kept beside the hubs' own rooms (room.h), which are what a broadcast
 * walks. No thread of its own and no lock: its owner, the bus, lets one thread in at a time. */
#ifndef TIDEWIRE_CORE_BUS_DIRECTORY_H
#define TIDEWIRE_CORE_BUS_DIRECTORY_H

#include "base/conn_id.h"
#include "base/table.h"
#include "core/bus/endpoint_counts.h"

#include <stdbool.h>
#include <stdint.h>

enum { DIRECTORY_MAX_WORKERS = 128 };

/* One connection in one room. The hub that told of it keeps the pointer for directory_leave(). */
struct room_entry;

/* All zeros is an empty one. */
struct directory {
    unsigned
        workers; /* how many there are, at most DIRECTORY_MAX_WORKERS: set it before anyone joins */
    /* private */
    struct table rooms, watched;
};

/* Everybody must have left; watches may be left. */
void directory_close(struct directory *directory);

/* A connection of an endpoint enters; it must not be in. `name` is the endpoint's as JSON, `info`
 * what scripts say of the connection (no bytes: nothing). All is copied. */
struct room_entry *directory_join(struct directory *directory, unsigned worker, struct slice room,
                                  conn_id id, uint32_t endpoint, const char *name,
                                  struct slice info);
void directory_leave(struct directory *directory, struct room_entry *presence);
/* What is said of it from now on. Returns where it is now: the old pointer means nothing any more.
 * */
struct room_entry *directory_set_info(struct room_entry *presence, struct slice info);

/* Its room, its endpoint's name and what is said of it (NULL: nothing). */
struct slice room_entry_room(const struct room_entry *presence);
const char *room_entry_name(const struct room_entry *presence);
const char *room_entry_info(const struct room_entry *presence);

/* ---- a room ---- */

uint32_t directory_size(const struct directory *directory, struct slice room);

/* Is a connection in it? Looks at each member. */
bool directory_has(const struct directory *directory, struct slice room, conn_id id);

/* Its members, counted by endpoint and worker: good until the next change. */
const struct endpoint_counts *directory_endpoint_counts(const struct directory *directory,
                                                        struct slice room);

/* Calls f for each member, in no order. */
void directory_members(const struct directory *directory, struct slice room,
                       void (*f)(void *user, conn_id id, const char *name, const char *info),
                       void *user);

/* ---- who wants to hear of comings and goings ---- */

/* This worker does, or does no more. */
void directory_watch(struct directory *directory, unsigned worker, struct slice room, bool on);
bool directory_is_watched(const struct directory *directory, struct slice room);
bool directory_watches(const struct directory *directory, unsigned worker, struct slice room);

#endif
