/* hold.c -- messages of new code that wait until this worker has it.
 *
 * Workers take over new code one after the other. What one that has it sends to connections of one
 * that has not, and whose endpoint has another codec in the new code, is encoded as the new code
 * has it: their clients get it behind everything that the old code still says, which may be in the
 * middle of a hook. Who gets it is decided before it is held, so joining and leaving in that hook
 * change nothing. No other hook of a connection begins as long as something is held (hub.c): all
 * workers have been told to take over by then. Each entry holds a reference of its message. What is
 * held has a ceiling; who would get more is a slow client. */
#include "core/internal.h"

#include "base/mem.h"

/* Entries, and bytes of messages: those of a broadcast stand side by side and count once. */
enum { HELD_MAX = 256 * 1024, HELD_MAX_BYTES = 64 * 1024 * 1024 };

struct held {
    conn_id id;
    struct message *message; /* NULL: it was released */
};

bool hold_is_due(const struct hub *hub, uint32_t generation, const struct conn *conn) {
    return generation > hub->generation && conn->endpoint->next_codec != conn->endpoint->codec;
}

enum send_result hold_push(struct hub *hub, struct conn *conn, struct message *message) {
    if (hub->held_count == HELD_MAX || hub->held_bytes > HELD_MAX_BYTES)
        return outbox_lose(hub, conn, 1);
    if (hub->held_count == 0 || hub->held[hub->held_count - 1].message != message)
        hub->held_bytes += sizeof *message + message->len;
    if (hub->held_count == hub->held_capacity) {
        hub->held_capacity = hub->held_capacity == 0 ? 64 : hub->held_capacity * 2;
        hub->held = mem_realloc(hub->held, hub->held_capacity * sizeof *hub->held);
    }
    hub->held[hub->held_count++] = (struct held){conn->id, message_ref(message)};
    return SEND_OK;
}

static struct message *take(struct held *held) {
    struct message *message = held->message;
    held->message = NULL;
    return message;
}

void hold_release(struct hub *hub, conn_id id) {
    for (size_t i = 0; i < hub->held_count; i++) {
        struct held *held = &hub->held[i];
        if (held->message != NULL && held->id == id)
            outbox_deliver_own(hub, hub_find(hub, id), take(held));
    }
}

void hold_release_all(struct hub *hub) {
    for (size_t i = 0; i < hub->held_count; i++) {
        struct held *held = &hub->held[i];
        if (held->message != NULL)
            outbox_deliver_own(hub, hub_find(hub, held->id), take(held));
    }
    hub->held_count = 0;
    hold_drop(hub);
}

void hold_drop(struct hub *hub) {
    for (size_t i = 0; i < hub->held_count; i++)
        if (hub->held[i].message != NULL)
            message_unref(hub->held[i].message);
    mem_free(hub->held);
    hub->held = NULL;
    hub->held_count = hub->held_capacity = hub->held_bytes = 0;
}
