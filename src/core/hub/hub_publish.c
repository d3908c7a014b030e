/* hub_publish.c -- broadcasts: which connections of this worker receive a message, and in which
 * encoding.
 *
 * A message is framed once; every queue holds the same bytes. The hub handles a slow receiver as
 * its endpoint says, and may close it at once: it leaves the room during the walk. Walks therefore
 * go from the end of a room to its beginning.
 *
 * With several workers a broadcast goes through the bus first, and the hub delivers the mail that
 * the bus returns before it delivers the broadcast here (bus.h). */
#include "core/hub/hub_internal.h"

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

uint32_t hub_publish_here(struct hub *hub, const struct broadcast *broadcast) {
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

void hub_publish_lost(struct hub *hub, const struct mail *mail) {
    struct message nothing = {.len = 0}; /* stands for the lost message; no client gets it */
    struct encoding encoding = {mail->codec, &nothing};
    struct broadcast broadcast = {.room = mail->room,
                                  .endpoint = mail->endpoint,
                                  .encodings = &encoding,
                                  .encoding_count = 1};
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

/* A single worker has no need of the bus, unless the room may remember the message. */
static bool needs_bus(const struct hub *hub, const struct broadcast *broadcast) {
    return !hub_is_alone(hub) || (broadcast->room.bytes != NULL && hub_remembers(hub));
}

bool hub_publish(struct hub *hub, const struct broadcast *broadcast, uint32_t *delivered,
                 uint64_t *offset, struct codec_list *missing) {
    struct published published = {0};
    missing->count = 0;
    if (hub_is_alone(hub))
        find_missing(hub, broadcast, missing);
    if (missing->count == 0 && needs_bus(hub, broadcast))
        /* earlier broadcasts come before this one, here too */
        hub_mail_deliver(hub, bus_publish(hub->options.bus, hub->options.worker, broadcast,
                                          &published, missing));
    *offset = published.offset;
    *delivered = published.receivers;
    if (missing->count == 0 && !published.is_ordered)
        *delivered += hub_publish_here(hub, broadcast);
    for (uint32_t i = 0; i < broadcast->encoding_count; i++)
        if (broadcast->encodings[i].message != NULL)
            message_unref(broadcast->encodings[i].message);
    if (hub->queue_memory.over)
        hub_queues_make_room(hub, NULL);
    return missing->count == 0;
}

void hub_memory_codecs(struct hub *hub, struct slice room, struct codec_list *list) {
    list->count = 0;
    if (!hub_has_link(hub) && (!hub_remembers(hub) || !bus_memory_applies(hub->options.bus, room)))
        return;
    for (uint32_t i = 0; i < hub->endpoint_count; i++)
        codec_list_add(list, hub->endpoints[i]->codec);
}

void hub_room_codecs(struct hub *hub, struct slice name, struct codec_list *list) {
    struct broadcast nothing = {.room = name, .endpoint = ANY_ENDPOINT};
    list->count = 0;
    if (hub_is_alone(hub))
        find_missing(hub, &nothing, list);
    else
        bus_room_codecs(hub->options.bus, name, list);
}
