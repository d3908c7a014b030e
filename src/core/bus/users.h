/* users.h -- the connections of a user are the members of a room that scripts do not see.
 *
 * So a message to a user takes the path of a broadcast, in its order. The name of the room is a
 * prefix and the name of the user, and no script can use such a name. Constants and pure functions;
 * bus_users.c and hub_users.c do the work. */
#ifndef TIDEWIRE_CORE_BUS_USERS_H
#define TIDEWIRE_CORE_BUS_USERS_H

#include "base/slice.h"

#include <stdbool.h>
#include <string.h>

/* With zero bytes in it and before it, so that no app has such a room by chance. */
#define USER_ROOM_PREFIX "\0tidewire user"
enum { USER_ROOM_PREFIX_LEN = sizeof USER_ROOM_PREFIX, USER_NAME_MAX = 256 };

/* The reasons of closes by a limit of a user's connections. */
#define USER_REPLACED "replaced by another connection of this user"
#define USER_FULL     "too many connections of this user"

static inline bool is_user_room(struct slice room) {
    return room.len >= USER_ROOM_PREFIX_LEN &&
           memcmp(room.bytes, USER_ROOM_PREFIX, USER_ROOM_PREFIX_LEN) == 0;
}

/* The user of a user's room. */
static inline struct slice user_of_room(struct slice room) {
    return (struct slice){room.bytes + USER_ROOM_PREFIX_LEN, room.len - USER_ROOM_PREFIX_LEN};
}

/* The name under which changes of this room are watched: of all users' rooms it is the prefix. */
static inline struct slice watched_name(struct slice room) {
    return is_user_room(room) ? (struct slice){room.bytes, USER_ROOM_PREFIX_LEN} : room;
}

#endif
