/* room.h -- named sets of this worker's connections.
 *
 * A room exists while it has members and costs nothing otherwise: looking up a name does not create
 * a room. hub_publish.c sends to its members. Everything on the worker's thread. */
#ifndef TIDEWIRE_CORE_HUB_ROOM_H
#define TIDEWIRE_CORE_HUB_ROOM_H

#include "base/table.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct conn;
struct endpoint;
struct room_entry;

/* One connection in one room. */
struct member {
    struct conn *conn;
    struct room *room;
    struct member *next;      /* the connection's next room */
    struct member **link;     /* to this: the connection's `rooms`, or `next` of another member */
    uint32_t index;           /* in the room's members */
    char *info;               /* the script's text about the member, in its own form; NULL: none */
    struct room_entry *entry; /* in the directory of all workers; NULL if there is one worker */
};

/* The number of members of one endpoint: a broadcast is encoded once for each codec of theirs. */
struct room_endpoint {
    const struct endpoint *endpoint;
    uint32_t members;
};

struct room {
    /* For reading only: */
    uint32_t count;
    uint32_t endpoint_count;
    struct member **members; /* `count` of them, in no order */
    struct room_endpoint *endpoints;
    struct table_entry entry; /* its key is the name */
    /* private to room.c */
    struct table *rooms;
    uint32_t capacity;
    char name[];
};

/* A worker's rooms are a table, all zeros at first. All members must have left before
 * table_close(). */

/* The room of a name, or NULL if it has no members. */
struct room *room_find(const struct table *rooms, struct slice name);

/* Adds a connection, with a copy of `info` (no bytes: none). False: it was a member already, and
 * has the new info. */
bool room_join(struct table *rooms, struct slice name, struct conn *conn, struct slice info);

/* The membership of a connection in a room, or NULL. */
struct member *room_member(const struct table *rooms, struct slice name, struct conn *conn);

/* Removes a connection, and the room with its last member. False: it was no member. */
bool room_leave(struct table *rooms, struct slice name, struct conn *conn);

/* The bytes of all memberships of the thread's worker, those of the bus included, within a factor
 * of two. */
size_t room_bytes(void);

/* Removes it from all its rooms. */
void room_leave_all(struct conn *conn);

#endif
