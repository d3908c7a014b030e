/* bus_users.c -- the connections of users, over all workers. See users.h.
 *
 * The limit of a user is counted and taken in one step under the lock. Connections that close
 * already do not count. */
#include "core/bus/bus_parts.h"

#include "base/mem.h"
#include "core/frames/close_codes.h"

#include <stddef.h>
#include <stdlib.h>

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
    struct conn_entry **at; /* NULL: they are only counted */
};

static void add_conn(void *user, conn_id id, const char *name, const char *info) {
    struct user_conns *conns = user;
    struct conn_entry *conn = bus_find_conn(conns->bus, id);
    (void)name, (void)info;
    if (conn == NULL || conn->is_closing || conn->endpoint != conns->join->endpoint ||
        id == conns->join->except)
        return;
    if (conns->at != NULL)
        conns->at[conns->count] = conn;
    conns->count++;
}

static int by_age(const void *one, const void *other) {
    const struct conn_entry *a = *(struct conn_entry *const *)one;
    const struct conn_entry *b = *(struct conn_entry *const *)other;
    return a->number < b->number ? -1 : a->number > b->number;
}

/* Under the lock: closes the oldest of so many connections, and leaves one place. Returns how many
 * it closed: more than one where the limit has become less. */
static uint32_t close_oldest(struct bus *bus, const struct user_join *join, uint32_t count,
                             struct wakeups *wakeups) {
    struct user_conns conns = {bus, join, 0, mem_alloc(count * sizeof *conns.at)};
    directory_members(&bus->directory, join->room, add_conn, &conns);
    qsort(conns.at, count, sizeof *conns.at, by_age);
    uint32_t closed = count - join->max + 1;
    for (uint32_t i = 0; i < closed; i++)
        bus_post_close(bus, conns.at[i], CLOSE_REPLACED, slice_of(USER_REPLACED), wakeups);
    mem_free(conns.at);
    return closed;
}

/* Under the lock: is there room for one more, or is some made? */
static bool has_room(struct bus *bus, const struct user_join *join, uint32_t *replaced,
                     struct wakeups *wakeups) {
    struct user_conns conns = {bus, join, 0, NULL};
    *replaced = 0;
    if (join->max == 0)
        return true;
    directory_members(&bus->directory, join->room, add_conn, &conns);
    if (conns.count < join->max)
        return true;
    if (join->replaces)
        *replaced = close_oldest(bus, join, conns.count, wakeups);
    return join->replaces;
}

/* Under the lock: do the watchers know that the user is online, because of another machine? */
static bool was_online_elsewhere(const struct bus *bus, struct slice room) {
    return remote_members_size(&bus->remote, room) > 0 ||
           remote_members_is_online(&bus->remote, user_of_room(room));
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
        if (directory_size(&bus->directory, join->room) == 1 &&
            !was_online_elsewhere(bus, join->room))
            bus_post_presence(bus, BUS_MAX_WORKERS, *entry, join->id, PRESENCE_JOINED, &wakeups);
        bus_push_member(bus, LINK_JOINED, *entry, join->id, &wakeups);
    }
    uv_mutex_unlock(&bus->lock);
    bus_wake(bus, &wakeups);
    return mail;
}

void bus_leave_user(struct bus *bus, const struct room_entry *entry, conn_id id,
                    struct wakeups *wakeups) {
    struct conn_entry *conn = bus_find_conn(bus, id);
    struct slice room = room_entry_room(entry);
    if (directory_size(&bus->directory, room) == 1 && !bus_is_online_elsewhere(bus, room)) {
        bus_post_presence(bus, BUS_MAX_WORKERS, entry, id, PRESENCE_LEFT, wakeups);
        remote_members_set_online(&bus->remote, user_of_room(room), false);
    }
    if (conn != NULL && conn->user == entry)
        conn->user = NULL;
}

void bus_user_changed(struct bus *bus, const struct room_entry *entry, conn_id id) {
    struct wakeups wakeups = {0};
    uv_mutex_lock(&bus->lock);
    bus_post_presence(bus, BUS_MAX_WORKERS, entry, id, PRESENCE_OTHER_USER, &wakeups);
    bus_push_member(bus, LINK_CHANGED, entry, id, &wakeups);
    uv_mutex_unlock(&bus->lock);
    bus_wake(bus, &wakeups);
}
