/* bus_users.c -- the connections of users, over all workers. See users.h.
 *
 * The limit of a user is counted and taken in one step under the lock. Connections that close
 * already do not count. */
#include "core/bus/bus_parts.h"

#include "core/frames/close_codes.h"

#include <stddef.h>

struct slice bus_user_of(struct bus *bus, conn_id id) {
    const struct conn_entry *conn = bus_find_conn(bus, id);
    if (conn == NULL || conn->user == NULL)
        return (struct slice){NULL, 0};
    return user_of_room(room_entry_room(conn->user));
}

/* The connections of a user at one endpoint. */
struct user_conns {
    struct bus *bus;
    const struct user_join *join;
    uint32_t count;
    struct conn_entry *oldest;
};

static void count_conn(void *user, conn_id id, const char *name, const char *info) {
    struct user_conns *conns = user;
    struct conn_entry *conn = bus_find_conn(conns->bus, id);
    (void)name, (void)info;
    if (conn == NULL || conn->is_closing || conn->endpoint != conns->join->endpoint ||
        id == conns->join->except)
        return;
    conns->count++;
    if (conns->oldest == NULL || conn->number < conns->oldest->number)
        conns->oldest = conn;
}

static struct user_conns count_conns(struct bus *bus, const struct user_join *join) {
    struct user_conns conns = {.bus = bus, .join = join};
    directory_members(&bus->directory, join->room, count_conn, &conns);
    return conns;
}

/* Under the lock: is there room for one more, or is some made? */
static bool has_room(struct bus *bus, const struct user_join *join, uint32_t *replaced,
                     struct wakeups *wakeups) {
    *replaced = 0;
    if (join->max == 0)
        return true;
    struct user_conns conns = count_conns(bus, join);
    if (conns.count >= join->max && !join->replaces)
        return false;
    for (; conns.count >= join->max; conns = count_conns(bus, join), (*replaced)++)
        bus_post_close(bus, conns.oldest, CLOSE_REPLACED, slice_of(USER_REPLACED), wakeups);
    return true;
}

struct mail *bus_join_user(struct bus *bus, unsigned worker, const struct user_join *join,
                           struct room_entry **entry, uint32_t *replaced) {
    static const struct slice none = {NULL, 0};
    struct wakeups wakeups = {0};
    *entry = NULL;
    uv_mutex_lock(&bus->lock);
    struct mail *mail = bus_take(bus, worker);
    if (has_room(bus, join, replaced, &wakeups)) {
        *entry = directory_join(&bus->directory, worker, join->room, join->id, join->endpoint,
                                join->endpoint_name, none);
        struct conn_entry *conn = bus_find_conn(bus, join->id);
        if (conn != NULL)
            conn->user = *entry;
        if (directory_size(&bus->directory, join->room) == 1)
            bus_post_presence(bus, BUS_MAX_WORKERS, *entry, join->id, PRESENCE_JOINED, &wakeups);
    }
    uv_mutex_unlock(&bus->lock);
    bus_wake(bus, &wakeups);
    return mail;
}

void bus_leave_user(struct bus *bus, const struct room_entry *entry, conn_id id,
                    struct wakeups *wakeups) {
    struct conn_entry *conn = bus_find_conn(bus, id);
    if (directory_size(&bus->directory, room_entry_room(entry)) == 1)
        bus_post_presence(bus, BUS_MAX_WORKERS, entry, id, PRESENCE_LEFT, wakeups);
    if (conn != NULL && conn->user == entry)
        conn->user = NULL;
}

void bus_user_changed(struct bus *bus, const struct room_entry *entry, conn_id id) {
    struct wakeups wakeups = {0};
    uv_mutex_lock(&bus->lock);
    bus_post_presence(bus, BUS_MAX_WORKERS, entry, id, PRESENCE_OTHER_USER, &wakeups);
    uv_mutex_unlock(&bus->lock);
    bus_wake(bus, &wakeups);
}
