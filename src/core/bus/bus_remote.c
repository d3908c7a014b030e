/* bus_remote.c -- the members and users of other machines, as the link tells of them. See bus.h.
 *
 * Watchers get the changes by mail, in one order with those of this machine. A user is online with
 * a connection on any machine: one is known by the members of the user's room, where that room
 * concerns this machine, and otherwise by the list of users that a watch asks for. */
#include "core/bus/bus_parts.h"

#include "base/log/log.h"

#include <string.h>

void bus_set_remote_max(struct bus *bus, size_t bytes) {
    uv_mutex_lock(&bus->lock);
    bus->remote.max = bytes;
    uv_mutex_unlock(&bus->lock);
}

uint32_t bus_remote_receivers(const struct bus *bus, const struct broadcast *broadcast) {
    uint32_t size = remote_members_size(&bus->remote, broadcast->room);
    const char *except = broadcast->except_text;
    return size - (except != NULL && remote_members_has(&bus->remote, broadcast->room, except));
}

bool bus_is_online_elsewhere(const struct bus *bus, struct slice room) {
    if (bus->link == NULL)
        return false;
    if (remote_members_size(&bus->remote, room) > 0)
        return true;
    /* Where the room is live, its members are all that there are. Without its server, what is known
     * may be old. */
    return link_is_up(bus->link, room) && !link_is_live(bus->link, room) &&
           remote_members_is_online(&bus->remote, user_of_room(room));
}

/* Under the lock: has the user a connection anywhere? */
static bool is_online(const struct bus *bus, struct slice room) {
    return directory_size(&bus->directory, room) > 0 ||
           remote_members_size(&bus->remote, room) > 0 ||
           remote_members_is_online(&bus->remote, user_of_room(room));
}

static void post_user(struct bus *bus, struct slice room, bool on, struct wakeups *wakeups) {
    const struct presence presence = {
        .change = on ? PRESENCE_JOINED : PRESENCE_LEFT,
        .room = room,
        .user = user_of_room(room),
        .endpoint_name = "null",
        .remote_id = "",
    };
    bus_post_change(bus, BUS_MAX_WORKERS, &presence, wakeups);
}

static void post_member(struct bus *bus, struct slice room, enum presence_change change,
                        const struct remote_member *member, struct wakeups *wakeups) {
    if (member->endpoint_name == NULL)
        return;
    const struct presence presence = {
        .change = change,
        .room = room,
        .user = member->user,
        .endpoint_name = member->endpoint_name,
        .info = member->info,
        .remote_id = member->id,
    };
    bus_post_change(bus, BUS_MAX_WORKERS, &presence, wakeups);
}

/* Under the lock. Returns true if texts could not be kept, for the first time. */
static bool set_member(struct bus *bus, struct slice room, const char *id,
                       const struct link_member *from, struct wakeups *wakeups) {
    bool was_online = is_user_room(room) && is_online(bus, room), was_full = bus->remote.is_full;
    struct remote_member *before, *member;
    member = remote_members_set(&bus->remote, room, id, from, &before);
    if (is_user_room(room)) {
        if (!was_online && bus->knows_users)
            post_user(bus, room, true, wakeups);
    } else if (before == NULL) {
        post_member(bus, room, PRESENCE_JOINED, member, wakeups);
    } else if (!slice_equal(before->user, member->user)) {
        post_member(bus, room, PRESENCE_OTHER_USER, member, wakeups);
    }
    remote_members_free(before);
    return !was_full && bus->remote.is_full;
}

static void remove_member(struct bus *bus, struct slice room, const char *id,
                          struct wakeups *wakeups) {
    struct remote_member *member = remote_members_take(&bus->remote, room, id);
    if (member == NULL)
        return;
    if (!is_user_room(room))
        post_member(bus, room, PRESENCE_LEFT, member, wakeups);
    else if (!is_online(bus, room))
        post_user(bus, room, false, wakeups);
    remote_members_free(member);
}

void bus_link_member(struct bus *bus, enum presence_change change, struct slice room,
                     const char *id, const struct link_member *member) {
    struct wakeups wakeups = {0};
    bool is_full = false;
    uv_mutex_lock(&bus->lock);
    if (change == PRESENCE_LEFT)
        remove_member(bus, room, id, &wakeups);
    else
        is_full = set_member(bus, room, id, member, &wakeups);
    uv_mutex_unlock(&bus->lock);
    bus_wake(bus, &wakeups);
    if (is_full)
        log_event(LOG_WARN, "cluster_members_full",
                  "limits.cluster_members is reached: rooms have their sizes, but lists of members "
                  "lack some of other machines");
}

void bus_link_forget_members(struct bus *bus, struct slice room) {
    static const struct slice all_users = {USER_ROOM_PREFIX, USER_ROOM_PREFIX_LEN};
    uv_mutex_lock(&bus->lock);
    if (is_user_room(room) && remote_members_size(&bus->remote, room) > 0 &&
        directory_is_watched(&bus->directory, all_users))
        remote_members_set_online(&bus->remote, user_of_room(room), true);
    remote_members_forget(&bus->remote, room);
    uv_mutex_unlock(&bus->lock);
}

static void forget_users(struct bus *bus) {
    remote_members_clear_online(&bus->remote);
    bus->knows_users = false;
}

void bus_link_online(struct bus *bus, struct slice name, bool on) {
    struct wakeups wakeups = {0};
    char room[USER_ROOM_PREFIX_LEN + USER_NAME_MAX] = USER_ROOM_PREFIX;
    struct slice room_name = {room, USER_ROOM_PREFIX_LEN + name.len};
    if (name.len > USER_NAME_MAX)
        return;
    if (name.len > 0)
        memcpy(room + USER_ROOM_PREFIX_LEN, name.bytes, name.len);
    uv_mutex_lock(&bus->lock);
    bool was_online = is_online(bus, room_name);
    if (name.bytes == NULL && on)
        bus->knows_users = true;
    else if (name.bytes == NULL)
        forget_users(bus);
    else if (!on || directory_size(&bus->directory, room_name) == 0)
        remote_members_set_online(&bus->remote, name, on);
    bool is = is_online(bus, room_name);
    if (name.bytes != NULL && is != was_online && bus->knows_users)
        post_user(bus, room_name, is, &wakeups);
    uv_mutex_unlock(&bus->lock);
    bus_wake(bus, &wakeups);
}
