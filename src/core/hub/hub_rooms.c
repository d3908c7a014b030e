/* hub_rooms.c -- rooms and broadcasts.
 *
 * A message is framed once; every queue holds the same bytes. The hub handles a slow receiver as
 * its endpoint says, and may close it at once: it leaves the room during the walk. Walks therefore
 * go from the end of a room to its beginning.
 *
 * With several workers every join, leave and broadcast goes through the bus first, and the hub
 * delivers the mail that the bus returns before it changes anything here (bus.h). */
#include "core/hub/hub_internal.h"

#include "base/mem.h"

#include <string.h>

/* ---- members ---- */

struct watched_room {
    struct table_entry entry;
    char name[];
};

static bool is_watched(const struct hub *hub, struct slice room) {
    return table_find(&hub->watched, room) != NULL;
}

static void report(struct hub *hub, const struct member *member, bool joined) {
    struct slice room = member->room->entry.key;
    if (is_watched(hub, room))
        hub->events->presence_changed(hub->events_user, member->conn->id, room, joined,
                                      member->conn->endpoint->json_name, member->info);
}

void hub_rooms_presence_changed(struct hub *hub, const struct mail *mail) {
    if (is_watched(hub, mail->room))
        hub->events->presence_changed(hub->events_user, mail->id, mail->room, mail->joined,
                                      mail->name, mail->info);
}

static struct conn *find_open(struct hub *hub, conn_id id) {
    struct conn *conn = hub_find(hub, id);
    return conn != NULL && conn->state == CONN_OPEN ? conn : NULL;
}

/* Removes the member from the bus. Mail from before comes first, and may close the connection. */
static void leave_directory(struct hub *hub, struct member *member) {
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
        member->entry = bus_set_info(hub->options.bus, member->entry, info);
}

/* Adds the connection to the bus, then to the room: mail from before comes first, and may close the
 * connection. */
static bool join_everywhere(struct hub *hub, struct conn *conn, struct slice room,
                            struct slice info) {
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
    room_join(&hub->rooms, room, conn, info);
    struct member *member = room_member(&hub->rooms, room, conn);
    member->entry = entry;
    report(hub, member, true);
    return true;
}

bool hub_join(struct hub *hub, conn_id id, struct slice room, struct slice info) {
    struct conn *conn = find_open(hub, id);
    if (conn == NULL)
        return false;
    struct member *member = room_member(&hub->rooms, room, conn);
    if (member != NULL) {
        rejoin(hub, member, info);
        return true;
    }
    if (!hub_is_alone(hub))
        return join_everywhere(hub, conn, room, info);
    room_join(&hub->rooms, room, conn, info);
    report(hub, room_member(&hub->rooms, room, conn), true);
    return true;
}

bool hub_leave(struct hub *hub, conn_id id, struct slice room) {
    struct conn *conn = find_open(hub, id);
    if (conn == NULL)
        return false;
    struct member *member = room_member(&hub->rooms, room, conn);
    if (member == NULL)
        return true;
    leave_directory(hub, member);
    conn = find_open(hub, id);
    member = conn == NULL ? NULL : room_member(&hub->rooms, room, conn);
    if (member != NULL) {
        report(hub, member, false);
        room_leave(&hub->rooms, room, conn);
    }
    return conn != NULL;
}

/* Takes no mail, because a walk of a room may be under way. Callers that close a connection have
 * taken it before. */
void hub_rooms_leave_all(struct hub *hub, struct conn *conn) {
    for (struct member *member = conn->rooms; member != NULL; member = member->next) {
        if (member->entry != NULL) /* this worker, too, gets the change by mail, in its order */
            bus_leave_room(hub->options.bus, hub->options.worker, member->entry, conn->id, NULL);
        else
            report(hub, member, false);
        member->entry = NULL;
    }
    room_leave_all(conn);
}

void hub_rooms_of(struct hub *hub, conn_id id, void (*f)(void *user, struct slice room),
                  void *user) {
    const struct conn *conn = hub_find(hub, id);
    const struct member *member = conn == NULL ? NULL : conn->rooms;
    for (; member != NULL; member = member->next)
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

/* ---- receivers ---- */

/* A walk over the receivers of a broadcast. It copies what it needs, so the compiler knows that no
 * call changes these values: mostly there is one encoding. */
struct walk {
    const struct broadcast *broadcast;
    uint32_t endpoint;
    conn_id except;
    struct encoding first;
};

static inline struct walk walk_of(const struct broadcast *broadcast) {
    struct walk walk = {broadcast, broadcast->endpoint, broadcast->except, {0, NULL}};
    if (broadcast->encoding_count > 0)
        walk.first = broadcast->encodings[0];
    return walk;
}

/* The message for a connection; NULL: none. */
static inline struct message *message_for(struct walk walk, const struct conn *conn) {
    const struct endpoint *endpoint = conn->endpoint;
    if (conn->state != CONN_OPEN || conn->id == walk.except ||
        (walk.endpoint != ANY_ENDPOINT && walk.endpoint != endpoint->number))
        return NULL;
    if (endpoint->codec == walk.first.codec)
        return walk.first.message;
    const struct encoding *encoding = broadcast_encoding(walk.broadcast, endpoint->codec);
    return encoding == NULL ? NULL : encoding->message;
}

static inline uint32_t deliver_to_room(struct hub *hub, const struct broadcast *broadcast) {
    const struct walk walk = walk_of(broadcast);
    const struct room *room = room_find(&hub->rooms, broadcast->room);
    uint32_t delivered = 0;
    for (uint32_t i = room == NULL ? 0 : room->count; i-- > 0;) {
        struct conn *conn = room->members[i]->conn;
        struct message *message = message_for(walk, conn);
        if (message == NULL)
            continue;
        enum send_result result = hub_send_deliver(hub, conn, message);
        delivered += result == SEND_OK;
        if (result == SEND_CLOSED) {
            /* It has left. presence_changed may have run the script's finalizers, and other
             * connections may have left as well: look again. */
            room = room_find(&hub->rooms, broadcast->room);
            if (room == NULL)
                break;
            if (i > room->count)
                i = room->count;
        }
    }
    return delivered;
}

static inline uint32_t deliver_to_all(struct hub *hub, const struct broadcast *broadcast) {
    const struct walk walk = walk_of(broadcast);
    uint32_t delivered = 0, at = 0;
    for (struct conn *conn; (conn = slots_next(&hub->conns, &at)) != NULL;) {
        struct message *message = message_for(walk, conn);
        delivered += message != NULL && hub_send_deliver(hub, conn, message) == SEND_OK;
    }
    return delivered;
}

uint32_t hub_rooms_publish(struct hub *hub, const struct broadcast *broadcast) {
    return broadcast->room.bytes != NULL ? deliver_to_room(hub, broadcast)
                                         : deliver_to_all(hub, broadcast);
}

/* Each receiver is a slow client: the hub may close it at once, and it leaves the room. */
static void lose_in_room(struct hub *hub, const struct broadcast *broadcast, uint32_t lost) {
    const struct walk walk = walk_of(broadcast);
    const struct room *room = room_find(&hub->rooms, broadcast->room);
    for (uint32_t i = room == NULL ? 0 : room->count; room != NULL && i-- > 0;) {
        struct conn *conn = room->members[i]->conn;
        if (message_for(walk, conn) == NULL || hub_send_lose(hub, conn, lost) != SEND_CLOSED)
            continue;
        room = room_find(&hub->rooms, broadcast->room);
        if (room != NULL && i > room->count)
            i = room->count;
    }
}

static void lose_everywhere(struct hub *hub, const struct broadcast *broadcast, uint32_t lost) {
    const struct walk walk = walk_of(broadcast);
    uint32_t at = 0;
    for (struct conn *conn; (conn = slots_next(&hub->conns, &at)) != NULL;)
        if (message_for(walk, conn) != NULL)
            hub_send_lose(hub, conn, lost);
}

void hub_rooms_lost(struct hub *hub, const struct mail *mail) {
    struct message nothing = {.len = 0}; /* stands for the lost message; no client gets it */
    struct encoding encoding = {mail->codec, &nothing};
    struct broadcast broadcast = {mail->room, mail->endpoint, 0, &encoding, 1};
    (mail->room.bytes != NULL ? lose_in_room : lose_everywhere)(hub, &broadcast, mail->lost);
}

static void add_missing(const struct broadcast *broadcast, const struct endpoint *endpoint,
                        struct codec_list *missing) {
    if (broadcast_is_for(broadcast, endpoint->number) &&
        broadcast_encoding(broadcast, endpoint->codec) == NULL)
        codec_list_add(missing, endpoint->codec);
}

/* Without other workers: the codecs of receivers that have no encoding. */
static void find_missing(const struct hub *hub, const struct broadcast *broadcast,
                         struct codec_list *missing) {
    if (broadcast->room.bytes == NULL) {
        for (uint32_t i = 0; i < hub->endpoint_count; i++)
            if (limit_taken(hub->endpoints[i]->limit) > 0)
                add_missing(broadcast, hub->endpoints[i], missing);
        return;
    }
    const struct room *room = room_find(&hub->rooms, broadcast->room);
    for (uint32_t i = 0; room != NULL && i < room->endpoint_count; i++)
        add_missing(broadcast, room->endpoints[i].endpoint, missing);
}

bool hub_publish(struct hub *hub, const struct broadcast *broadcast, uint32_t *delivered,
                 struct codec_list *missing) {
    uint32_t others = 0;
    missing->count = 0;
    if (hub_is_alone(hub))
        find_missing(hub, broadcast, missing);
    else /* earlier broadcasts come before this one, here too */
        hub_mail_deliver(
            hub, bus_publish(hub->options.bus, hub->options.worker, broadcast, &others, missing));
    if (missing->count == 0)
        *delivered = hub_rooms_publish(hub, broadcast) + others;
    for (uint32_t i = 0; i < broadcast->encoding_count; i++)
        if (broadcast->encodings[i].message != NULL)
            message_unref(broadcast->encodings[i].message);
    return missing->count == 0;
}

/* ---- a room, over all workers ---- */

uint32_t hub_room_size(struct hub *hub, struct slice name) {
    if (!hub_is_alone(hub))
        return bus_room_size(hub->options.bus, name);
    const struct room *room = room_find(&hub->rooms, name);
    return room == NULL ? 0 : room->count;
}

void hub_room_codecs(struct hub *hub, struct slice name, struct codec_list *list) {
    struct broadcast nothing = {.room = name, .endpoint = ANY_ENDPOINT};
    list->count = 0;
    if (hub_is_alone(hub))
        find_missing(hub, &nothing, list);
    else
        bus_room_codecs(hub->options.bus, name, list);
}

void hub_room_members(struct hub *hub, struct slice name,
                      void (*f)(void *user, conn_id id, const char *name, const char *info),
                      void *user) {
    if (!hub_is_alone(hub)) {
        bus_room_members(hub->options.bus, name, f, user);
        return;
    }
    const struct room *room = room_find(&hub->rooms, name);
    for (uint32_t i = 0; room != NULL && i < room->count; i++)
        f(user, room->members[i]->conn->id, room->members[i]->conn->endpoint->json_name,
          room->members[i]->info);
}
