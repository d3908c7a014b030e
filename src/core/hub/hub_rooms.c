/* hub_rooms.c -- the members of rooms: connections join and leave, scripts watch.
 *
 * With several workers every join and leave goes through the bus first, and the hub delivers the
 * mail that the bus returns before it changes anything here (bus.h). */
#include "core/hub/hub_internal.h"

#include "base/mem.h"

#include <string.h>

struct watched_room {
    struct table_entry entry;
    char name[];
};

static bool is_watched(const struct hub *hub, struct slice room) {
    return table_find(&hub->watched, watched_name(room)) != NULL;
}

void hub_rooms_report(struct hub *hub, const struct member *member, enum presence_change change) {
    struct slice room = member->room->entry.key;
    if (!is_watched(hub, room) || (is_user_room(room) && member->room->count > 1))
        return;
    const struct presence presence = {
        change,
        member->conn->id,
        room,
        hub_user_of(member->conn),
        member->conn->endpoint->json_name,
        member->info,
        NULL,
    };
    hub->events->presence_changed(hub->events_user, &presence);
}

void hub_rooms_presence_changed(struct hub *hub, const struct mail *mail) {
    const struct presence presence = {
        mail->change, mail->id, mail->room, mail->user, mail->name, mail->info, mail->remote_id,
    };
    if (is_watched(hub, mail->room))
        hub->events->presence_changed(hub->events_user, &presence);
}

static struct conn *find_open(struct hub *hub, conn_id id) {
    struct conn *conn = hub_find(hub, id);
    return conn != NULL && conn->state == CONN_OPEN ? conn : NULL;
}

void hub_rooms_leave_directory(struct hub *hub, struct member *member) {
    struct room_entry *entry = member->entry;
    if (entry == NULL)
        return;
    member->entry = NULL;
    struct mail *mail;
    bus_leave_room(hub->options.bus, hub->options.worker, entry, member->conn->id, &mail);
    hub_mail_deliver(hub, mail);
}

/* Replaces a member's info. */
static void rejoin(struct hub *hub, struct member *member, struct slice info) {
    room_join(&hub->rooms, member->room->entry.key, member->conn, info);
    if (member->entry != NULL)
        member->entry = bus_set_info(hub->options.bus, member->entry, member->conn->id, info);
}

/* What a join asks of the room's memory; both NULL: nothing. */
struct joining {
    struct replay_request *request;
    struct replay *replay;
};

/* The connection has joined on the bus, if there are other workers; and now here. The replay comes
 * at once: the report may run finalizers of the script, which may broadcast. */
static void join_here(struct hub *hub, struct conn *conn, struct slice room, struct slice info,
                      struct room_entry *entry, const struct joining *joining) {
    room_join(&hub->rooms, room, conn, info);
    room_member(&hub->rooms, room, conn)->entry = entry;
    if (joining->request != NULL)
        hub_memory_replay(hub, conn, room, joining->request, joining->replay);
    struct member *member = room_member(&hub->rooms, room, conn);
    if (member !=
        NULL) /* else the replay was too much for a session that waits, and it has ended */
        hub_rooms_report(hub, member, PRESENCE_JOINED);
}

/* Adds the connection to the bus, then to the room: mail from before comes first, and may close the
 * connection. */
static bool join_everywhere(struct hub *hub, struct conn *conn, struct slice room,
                            struct slice info, const struct joining *joining) {
    const struct hub_options *options = &hub->options;
    conn_id id = conn->id;
    struct room_entry *entry;
    hub_mail_deliver(hub, bus_join(options->bus, options->worker, room, id, conn->endpoint->number,
                                   conn->endpoint->json_name, info, &entry));
    conn = find_open(hub, id);
    if (conn == NULL || room_member(&hub->rooms, room, conn) != NULL) {
        /* The mail closed it, or a finalizer of the script let it join: this join is undone. */
        struct mail *mail;
        bus_leave_room(options->bus, options->worker, entry, id, &mail);
        hub_mail_deliver(hub, mail);
        return conn != NULL;
    }
    join_here(hub, conn, room, info, entry, joining);
    return true;
}

static bool join(struct hub *hub, conn_id id, struct slice room, struct slice info,
                 const struct joining *joining) {
    struct conn *conn = find_open(hub, id);
    if (conn == NULL)
        return false;
    struct member *member = room_member(&hub->rooms, room, conn);
    if (member != NULL) {
        rejoin(hub, member, info);
        return true;
    }
    if (!hub_is_alone(hub))
        return join_everywhere(hub, conn, room, info, joining);
    join_here(hub, conn, room, info, NULL, joining);
    return true;
}

bool hub_join(struct hub *hub, conn_id id, struct slice room, struct slice info) {
    return join(hub, id, room, info, &(struct joining){NULL, NULL});
}

bool hub_join_replay(struct hub *hub, conn_id id, struct slice room, struct slice info,
                     struct replay_request *request, struct replay *replay) {
    *replay = (struct replay){0};
    return join(hub, id, room, info, &(struct joining){request, replay});
}

bool hub_leave(struct hub *hub, conn_id id, struct slice room) {
    struct conn *conn = find_open(hub, id);
    if (conn == NULL)
        return false;
    struct member *member = room_member(&hub->rooms, room, conn);
    if (member == NULL)
        return true;
    hub_rooms_leave_directory(hub, member);
    conn = find_open(hub, id);
    member = conn == NULL ? NULL : room_member(&hub->rooms, room, conn);
    if (member != NULL) {
        hub_rooms_report(hub, member, PRESENCE_LEFT);
        room_leave(&hub->rooms, room, conn);
    }
    return conn != NULL;
}

static void leave_one(struct hub *hub, struct member *member) {
    if (member->entry != NULL) /* this worker, too, gets the change by mail, in its order */
        bus_leave_room(hub->options.bus, hub->options.worker, member->entry, member->conn->id,
                       NULL);
    else
        hub_rooms_report(hub, member, PRESENCE_LEFT);
    member->entry = NULL;
}

/* Takes no mail, because a walk of a room may be under way. Callers that close a connection have
 * taken it before. The room of its user comes last: the others' watchers receive its user. */
void hub_rooms_leave_all(struct hub *hub, struct conn *conn) {
    for (struct member *member = conn->rooms; member != NULL; member = member->next)
        if (member != conn->user)
            leave_one(hub, member);
    if (conn->user != NULL)
        leave_one(hub, conn->user);
    conn->user = NULL;
    room_leave_all(conn);
}

void hub_rooms_of(struct hub *hub, conn_id id, void (*f)(void *user, struct slice room),
                  void *user) {
    const struct conn *conn = hub_find(hub, id);
    const struct member *member = conn == NULL ? NULL : conn->rooms;
    for (; member != NULL; member = member->next)
        if (member != conn->user)
            f(user, member->room->entry.key);
}

void hub_watch(struct hub *hub, struct slice room, bool on) {
    if (hub->options.bus != NULL) /* first: `room` may point to the name that is freed below */
        bus_watch(hub->options.bus, hub->options.worker, room, on);
    struct table_entry *found = table_find(&hub->watched, room);
    if (on && found == NULL) {
        struct watched_room *watched = mem_zalloc(sizeof *watched + room.len + 1);
        memcpy(watched->name, room.bytes, room.len);
        watched->entry.key = (struct slice){watched->name, room.len};
        table_add(&hub->watched, &watched->entry);
    } else if (!on && found != NULL) {
        table_remove(&hub->watched, found);
        mem_free(TABLE_OWNER(found, struct watched_room, entry));
    }
}

void hub_rooms_forget_watches(struct hub *hub) {
    for (struct table_entry *entry; (entry = table_any(&hub->watched)) != NULL;)
        hub_watch(hub, entry->key, false);
    table_close(&hub->watched);
}

/* ---- a room, over all workers ---- */

uint32_t hub_room_size(struct hub *hub, struct slice name) {
    if (!hub_is_alone(hub))
        return bus_room_size(hub->options.bus, name);
    const struct room *room = room_find(&hub->rooms, name);
    return room == NULL ? 0 : room->count;
}

void hub_room_members(struct hub *hub, struct slice name, bus_member_fn *f, void *user) {
    if (!hub_is_alone(hub)) {
        bus_room_members(hub->options.bus, name, f, user);
        return;
    }
    const struct room *room = room_find(&hub->rooms, name);
    for (uint32_t i = 0; room != NULL && i < room->count; i++) {
        const struct conn *conn = room->members[i]->conn;
        f(user, conn->id, NULL, conn->endpoint->json_name, room->members[i]->info,
          hub_user_of(conn));
    }
}

size_t hub_membership_bytes(void) {
    return room_bytes();
}
