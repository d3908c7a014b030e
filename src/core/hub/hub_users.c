/* hub_users.c -- the users of connections: each user has a room, which scripts do not see.
 *
 * With several workers the bus counts a user's connections and takes the place in one step
 * (core/bus/users.h); a single worker has no bus to ask. */
#include "core/hub/hub_close.h"
#include "core/hub/hub_internal.h"

#include <string.h>

static const struct slice none = {NULL, 0};

struct slice hub_user_of(const struct conn *conn) {
    return conn->user == NULL ? none : user_of_room(conn->user->room->entry.key);
}

/* A connection before hub_open(), or an open one. */
static struct conn *find_usable(struct hub *hub, conn_id id) {
    struct conn *conn = hub_find(hub, id);
    return conn != NULL && conn->endpoint != NULL && conn->state <= CONN_OPEN ? conn : NULL;
}

static bool has_user(const struct conn *conn, struct slice name) {
    struct slice user = hub_user_of(conn);
    return (user.bytes == NULL) == (name.bytes == NULL) && slice_equal(user, name);
}

static void count_replaced(struct hub *hub, const struct endpoint *endpoint, uint32_t count) {
    for (; count > 0; count--)
        refusals_count(hub_refusals(hub), REFUSAL_CLOSE, CLOSE_REPLACED, USER_REPLACED,
                       endpoint->path);
}

/* ---- a single worker ---- */

/* The user's oldest connection at this endpoint, if there are as many as may be; else NULL. */
static struct conn *oldest_of(struct hub *hub, const struct user_join *join) {
    const struct room *room = room_find(&hub->rooms, join->room);
    struct conn *oldest = NULL;
    uint32_t count = 0;
    for (uint32_t i = 0; room != NULL && i < room->count; i++) {
        struct conn *conn = room->members[i]->conn;
        if (conn->endpoint->number != join->endpoint || conn->id == join->except)
            continue;
        count++;
        if (oldest == NULL || conn->user_number < oldest->user_number)
            oldest = conn;
    }
    return count >= join->max ? oldest : NULL;
}

static bool has_room(struct hub *hub, const struct endpoint *endpoint,
                     const struct user_join *join) {
    struct conn *oldest;
    while (join->max > 0 && (oldest = oldest_of(hub, join)) != NULL) {
        if (!join->replaces)
            return false;
        count_replaced(hub, endpoint, 1);
        hub_close_by_script(hub, oldest, CLOSE_REPLACED, slice_of(USER_REPLACED)); /* it leaves */
    }
    return true;
}

/* ---- joining the user's room ---- */

/* With several workers. `*entry`: NULL: nothing is to be done any more. False: the user has no
 * place left. */
static bool join_everywhere(struct hub *hub, const struct endpoint *endpoint,
                            const struct user_join *user_join, struct room_entry **entry) {
    uint32_t replaced;
    struct mail *mail =
        bus_join_user(hub->options.bus, hub->options.worker, user_join, entry, &replaced);
    count_replaced(hub, endpoint, replaced);
    hub_mail_deliver(hub, mail);
    if (*entry == NULL)
        return false;
    struct conn *conn = find_usable(hub, user_join->id);
    if (conn != NULL && room_member(&hub->rooms, user_join->room, conn) == NULL)
        return true;
    bus_leave_room(hub->options.bus, hub->options.worker, *entry, user_join->id, NULL);
    *entry = NULL;
    return true;
}

/* False: the user has no place left. The connection may be closed afterwards. */
static bool join(struct hub *hub, struct conn *conn, const struct user_join *user_join) {
    struct room_entry *entry = NULL;
    bool is_alone = hub_is_alone(hub);
    if (is_alone ? !has_room(hub, conn->endpoint, user_join)
                 : !join_everywhere(hub, conn->endpoint, user_join, &entry))
        return false;
    if (!is_alone && entry == NULL)
        return true;
    room_join(&hub->rooms, user_join->room, conn, none);
    conn->user = room_member(&hub->rooms, user_join->room, conn);
    conn->user->entry = entry;
    conn->user_number = ++hub->user_count;
    if (is_alone)
        hub_rooms_report(hub, conn->user, PRESENCE_JOINED);
    return true;
}

/* Leaves the room of the user before. */
static void leave(struct hub *hub, conn_id id, struct member *old) {
    struct conn *conn = old->conn;
    struct slice room = old->room->entry.key;
    if (old->entry != NULL) {
        bus_leave_room(hub->options.bus, hub->options.worker, old->entry, id, NULL);
        old->entry = NULL;
    } else {
        hub_rooms_report(hub, old, PRESENCE_LEFT);
    }
    room_leave(&hub->rooms, room, conn);
}

/* The watchers of its other rooms receive the change. */
static void report_change(struct hub *hub, const struct conn *conn) {
    for (const struct member *member = conn->rooms; member != NULL; member = member->next) {
        if (member == conn->user)
            continue;
        if (member->entry != NULL)
            bus_user_changed(hub->options.bus, member->entry, conn->id);
        else
            hub_rooms_report(hub, member, PRESENCE_OTHER_USER);
    }
}

static bool set_user(struct hub *hub, conn_id id, struct slice name, bool is_limited,
                     conn_id except) {
    char key[USER_ROOM_PREFIX_LEN + USER_NAME_MAX] = USER_ROOM_PREFIX;
    struct conn *conn = find_usable(hub, id);
    if (conn == NULL || has_user(conn, name))
        return true;
    struct member *old = conn->user;
    conn->user = NULL;
    if (name.bytes != NULL) {
        const struct endpoint *endpoint = conn->endpoint;
        const struct user_join user_join = {
            .room = {key, USER_ROOM_PREFIX_LEN + name.len},
            .id = id,
            .endpoint = endpoint->number,
            .endpoint_name = endpoint->json_name,
            .max = is_limited ? endpoint->user_connections : 0,
            .replaces = endpoint->user_replaces,
            .except = except,
        };
        memcpy(key + USER_ROOM_PREFIX_LEN, name.bytes, name.len);
        bool joined = join(hub, conn, &user_join);
        conn = find_usable(hub, id);
        if (conn == NULL)
            return true;
        if (!joined) {
            conn->user = old;
            return false;
        }
    }
    if (old != NULL)
        leave(hub, id, old);
    report_change(hub, conn);
    return true;
}

bool hub_set_user(struct hub *hub, conn_id id, struct slice name, bool is_limited) {
    return set_user(hub, id, name, is_limited, 0);
}

bool hub_admit_user(struct hub *hub, struct conn *conn, struct slice name) {
    if (hub_session_is_candidate(conn)) /* its session has the user */
        return true;
    return set_user(hub, conn->id, name, true, hub_session_replaces(hub, conn));
}
