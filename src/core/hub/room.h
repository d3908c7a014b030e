/* room.h -- named sets of this worker's connections.
 *
 * A room exists while it has members and costs nothing otherwise: a name is looked up, not created.
 * Knows who is in it; sending to them is hub_send.c's. Everything on the worker's thread. */
#ifndef TIDEWIRE_CORE_HUB_ROOM_H
#define TIDEWIRE_CORE_HUB_ROOM_H

#include "base/table.h"

#include <stdbool.h>
#include <stdint.h>

struct conn;
struct endpoint;
struct room_entry;

/* One connection in one room. */
struct member {
    struct conn *conn;
    struct room *room;
    struct member *next;  /* the connection's next room */
    struct member **link; /* what points here: `rooms` of the connection, or `next` of another */
    uint32_t index;       /* in the room's table */
    char *info;           /* what the scripts say of it, in their own form; NULL: nothing */
    struct room_entry *entry; /* the same, as other workers know it; NULL where there are none */
};

/* How many members of a room an endpoint has: a broadcast is encoded once for each codec of theirs.
 * */
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

/* A worker's rooms are a table, all zeros at first. Everybody must have left before table_close().
 * */

/* The room of a name, or NULL while nobody is in it. */
struct room *room_find(const struct table *rooms, struct slice name);

/* Lets a connection in; `info` (no bytes: nothing) is copied, and replaces what was there. False:
 * it was in already. */
bool room_join(struct table *rooms, struct slice name, struct conn *conn, struct slice info);

/* The membership of a connection in a room, or NULL. */
struct member *room_member(const struct table *rooms, struct slice name, struct conn *conn);

/* Lets it out. False: it was not in. The room may be gone then. */
bool room_leave(struct table *rooms, struct slice name, struct conn *conn);

/* Lets it out of all its rooms. */
void room_leave_all(struct conn *conn);

#endif
