/* hub_limits.c -- limits on what clients send: the bytes that no hook has handled yet, and the time
 * that one message may take.
 *
 * Unhandled bytes are those of incomplete messages and of messages that wait for a hook. Each
 * connection has limits of its own (max_message_size, the inbox); this file limits their sum. Above
 * half of the limit the hub stops reading from a client whose hook sleeps. Above the limit it
 * closes the connection that has held bytes for the longest time: most messages are complete soon
 * after they began. */
#include "core/hub/hub_close.h"
#include "core/hub/hub_internal.h"

/* However low the limit, so many of the largest messages have room at once. */
enum { MESSAGES_AT_ONCE = 4 };

void hub_limits_fit(struct hub *hub) {
    size_t max = hub->unhandled_wanted;
    for (uint32_t i = 0; i < hub->endpoint_count; i++) {
        size_t message = hub->endpoints[i]->max_message_size;
        if (max / MESSAGES_AT_ONCE < message)
            max = message * MESSAGES_AT_ONCE;
    }
    hub->unhandled_max = max;
}

void hub_set_unhandled_max(struct hub *hub, size_t bytes) {
    hub->unhandled_wanted = bytes;
    hub_limits_fit(hub);
}

bool hub_limits_is_much(const struct hub *hub) {
    return hub->unhandled_bytes > hub->unhandled_max / 2;
}

bool hub_limit_exceeded(const struct hub *hub) {
    return hub->unhandled_bytes > hub->unhandled_max;
}

void hub_limits_count(struct hub *hub, struct conn *conn) {
    size_t bytes = conn->kept + inbox_cost(conn->inbox);
    hub->unhandled_bytes += bytes - conn->unhandled;
    conn->unhandled = bytes;
    if (bytes == 0)
        list_remove(&conn->unhandled_link);
    else if (list_empty(&conn->unhandled_link))
        list_append(&hub->unhandled, &conn->unhandled_link);
}

void hub_limits_gone(struct hub *hub, struct conn *conn) {
    conn->kept = 0;
    conn->message_number = 0;
    conn->message_end_ms = 0;
    hub_limits_count(hub, conn);
}

void hub_limits_refuse(struct hub *hub, struct conn *conn, unsigned code, const char *reason) {
    if (conn->peer != NULL)
        hub->wire->discard(conn->peer);
    hub_close_fail(hub, conn, code, slice_of(reason));
    inbox_free(conn->inbox); /* of a connection that is gone while its hook sleeps */
    conn->inbox = NULL;
    hub_limits_gone(hub, conn);
}

/* The last connection may keep a message of any size that its endpoint allows. */
static void refuse_the_oldest(struct hub *hub) {
    while (hub_limit_exceeded(hub) && hub->unhandled.next != hub->unhandled.prev)
        hub_limits_refuse(hub, LIST_OWNER(hub->unhandled.next, struct conn, unhandled_link),
                          CLOSE_TRY_LATER, "too many unfinished messages");
}

static void begin_time(struct hub *hub, struct conn *conn) {
    uint64_t ms = conn->endpoint->message_ms;
    conn->message_end_ms = conn->message_number != 0 && ms > 0 ? hub_now(hub) + ms : 0;
}

void hub_set_kept(struct hub *hub, struct conn *conn, size_t bytes, uint32_t message) {
    conn->kept = bytes;
    if (message != conn->message_number) {
        conn->message_number = message;
        begin_time(hub, conn);
        hub_timers_arm(hub, conn);
        list_remove(&conn->unhandled_link); /* to the youngest */
    }
    hub_limits_count(hub, conn);
    refuse_the_oldest(hub);
}

void hub_limits_resume(struct hub *hub, struct conn *conn) {
    begin_time(hub, conn);
}

void hub_limits_due(struct hub *hub, struct conn *conn) {
    if (conn->paused) /* the hub does not read from it */
        begin_time(hub, conn);
    else
        hub_limits_refuse(hub, conn, CLOSE_POLICY, "message took too long");
}
