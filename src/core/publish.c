/* publish.c -- rooms and broadcasts: who gets a message.
 *
 * A message is framed once; every queue holds the same bytes. A receiver that is too slow is dealt with as
 * its endpoint wants, and may be closed on the spot: it leaves the room while the room is walked, which
 * is why rooms are walked from their end. */
#include "core/internal.h"

bool hub_join(struct hub *hub, conn_id id, struct slice room) {
    struct conn *conn = hub_find(hub, id);
    if (conn == NULL || conn->state != CONN_OPEN)
        return false;
    room_join(&hub->rooms, room, conn);
    return true;
}

bool hub_leave(struct hub *hub, conn_id id, struct slice room) {
    struct conn *conn = hub_find(hub, id);
    if (conn == NULL || conn->state != CONN_OPEN)
        return false;
    room_leave(&hub->rooms, room, conn);
    return true;
}

/* 1 when the connection is meant and got it. */
static uint32_t deliver(struct hub *hub, const struct audience *audience, struct conn *conn,
                        struct message *message) {
    if (conn->state != CONN_OPEN || conn->id == audience->except ||
        conn->endpoint->codec != audience->codec ||
        (audience->endpoint != HUB_ANY && conn->endpoint != hub->endpoints[audience->endpoint]))
        return 0;
    return outbox_deliver(hub, conn, message) == SEND_OK;
}

static uint32_t deliver_to_room(struct hub *hub, const struct audience *audience,
                                struct message *message) {
    const struct room *room = room_find(&hub->rooms, audience->room);
    uint32_t delivered = 0;
    if (room == NULL)
        return 0;
    /* when the last member leaves the room is freed: then nothing is left to walk either */
    for (uint32_t i = room->count; i-- > 0;)
        delivered += deliver(hub, audience, room->members[i]->conn, message);
    return delivered;
}

uint32_t hub_publish(struct hub *hub, const struct audience *audience, struct message *message) {
    uint32_t delivered = 0, at = 0;
    if (audience->room.bytes != NULL) {
        delivered = deliver_to_room(hub, audience, message);
    } else {
        for (struct conn *conn; (conn = slots_next(&hub->conns, &at)) != NULL;)
            delivered += deliver(hub, audience, conn, message);
    }
    message_unref(message);
    return delivered;
}
