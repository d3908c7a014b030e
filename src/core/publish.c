/* publish.c -- rooms and broadcasts: who gets a message.
 *
 * A message is framed once; every queue holds the same bytes. A receiver that is too slow is dealt with as
 * its endpoint wants, and may be closed on the spot: it leaves the room while the room is walked, which
 * is why rooms are walked from their end. */
#include "core/internal.h"

#include "base/mem.h"

#include <string.h>

/* ---- who is in ---- */

struct watch {
    struct table_entry entry;
    char name[];
};

static void tell(struct hub *hub, const struct member *member, bool joined) {
    struct slice room = member->room->entry.key;
    if (table_find(&hub->watched, room) != NULL)
        hub->events->moved(hub->events_user, member->conn->id, room, joined,
                           member->conn->endpoint->json_name, member->info);
}

bool hub_join(struct hub *hub, conn_id id, struct slice room, struct slice info) {
    struct conn *conn = hub_find(hub, id);
    if (conn == NULL || conn->state != CONN_OPEN)
        return false;
    if (room_join(&hub->rooms, room, conn, info))
        tell(hub, room_member(&hub->rooms, room, conn), true);
    return true;
}

bool hub_leave(struct hub *hub, conn_id id, struct slice room) {
    struct conn *conn = hub_find(hub, id);
    if (conn == NULL || conn->state != CONN_OPEN)
        return false;
    const struct member *member = room_member(&hub->rooms, room, conn);
    if (member != NULL) {
        tell(hub, member, false);
        room_leave(&hub->rooms, room, conn);
    }
    return true;
}

void publish_leave_all(struct hub *hub, struct conn *conn) {
    for (const struct member *member = conn->rooms; member != NULL; member = member->next)
        tell(hub, member, false);
    room_leave_all(conn);
}

void hub_watch(struct hub *hub, struct slice room, bool on) {
    struct table_entry *found = table_find(&hub->watched, room);
    if (on && found == NULL) {
        struct watch *watch = mem_zalloc(sizeof *watch + room.len + 1);
        memcpy(watch->name, room.bytes, room.len);
        watch->entry.key = (struct slice){watch->name, room.len};
        table_add(&hub->watched, &watch->entry);
    } else if (!on && found != NULL) {
        table_remove(&hub->watched, found);
        mem_free(TABLE_OWNER(found, struct watch, entry));
    }
}

void publish_forget_watches(struct hub *hub) {
    for (struct table_entry *entry; (entry = table_any(&hub->watched)) != NULL;)
        hub_watch(hub, entry->key, false);
    table_close(&hub->watched);
}

/* ---- who gets a message ---- */

static bool is_meant(const struct hub *hub, const struct audience *audience,
                     const struct conn *conn) {
    return conn->state == CONN_OPEN && conn->id != audience->except &&
           conn->endpoint->codec == audience->codec &&
           (audience->endpoint == HUB_ANY || conn->endpoint == hub->endpoints[audience->endpoint]);
}

static uint32_t deliver_to_room(struct hub *hub, const struct audience *audience,
                                struct message *message) {
    const struct room *room = room_find(&hub->rooms, audience->room);
    uint32_t delivered = 0;
    for (uint32_t i = room == NULL ? 0 : room->count; i-- > 0;) {
        struct conn *conn = room->members[i]->conn;
        if (!is_meant(hub, audience, conn))
            continue;
        enum send_result result = outbox_deliver(hub, conn, message);
        delivered += result == SEND_OK;
        if (result == SEND_CLOSED) {
            /* It has left. Telling who watches may have run finalizers of the script's, by which others
             * left as well: look again. */
            room = room_find(&hub->rooms, audience->room);
            if (room == NULL)
                break;
            if (i > room->count)
                i = room->count;
        }
    }
    return delivered;
}

static uint32_t deliver_to_all(struct hub *hub, const struct audience *audience,
                               struct message *message) {
    uint32_t delivered = 0, at = 0;
    for (struct conn *conn; (conn = slots_next(&hub->conns, &at)) != NULL;)
        delivered += is_meant(hub, audience, conn) && outbox_deliver(hub, conn, message) == SEND_OK;
    return delivered;
}

uint32_t hub_publish(struct hub *hub, const struct audience *audience, struct message *message) {
    uint32_t delivered = audience->room.bytes != NULL ? deliver_to_room(hub, audience, message)
                                                      : deliver_to_all(hub, audience, message);
    message_unref(message);
    return delivered;
}
