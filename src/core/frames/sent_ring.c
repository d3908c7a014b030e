/* sent_ring.c -- messages that were sent and not acknowledged. See sent_ring.h. */
#include "core/frames/sent_ring.h"

#include "base/mem.h"

#include <string.h>

enum { RING_MIN = 4 };

static struct message **slot(const struct sent_ring *sent, uint64_t number) {
    uint32_t index = (uint32_t)(number - sent_ring_oldest(sent));
    return &sent->ring[(sent->first + index) & (sent->capacity - 1)];
}

static void resize(struct sent_ring *sent, uint32_t capacity) {
    struct message **ring = capacity == 0 ? NULL : mem_alloc(capacity * sizeof *ring);
    for (uint32_t i = 0; i < sent->count; i++)
        ring[i] = sent->ring[(sent->first + i) & (sent->capacity - 1)];
    mem_free(sent->ring);
    queue_memory_add(capacity * sizeof *ring);
    queue_memory_remove(sent->capacity * sizeof *ring);
    sent->ring = ring;
    sent->capacity = capacity;
    sent->first = 0;
}

void sent_ring_push(struct sent_ring *sent, struct message *message) {
    if (sent->count == sent->capacity)
        resize(sent, sent->capacity == 0 ? RING_MIN : sent->capacity * 2);
    sent->ring[(sent->first + sent->count++) & (sent->capacity - 1)] = message;
    sent->bytes += message->len;
    sent->last++;
}

struct message *sent_ring_at(const struct sent_ring *sent, uint64_t number) {
    return *slot(sent, number);
}

void sent_ring_let_go(struct sent_ring *sent, uint64_t number) {
    while (sent->count > 0 && sent_ring_oldest(sent) <= number) {
        struct message *message = sent->ring[sent->first];
        sent->bytes -= message->len;
        sent->first = (sent->first + 1) & (sent->capacity - 1);
        sent->count--;
        message_unref(message);
    }
}

static bool same_key(const struct message *one, const struct message *other) {
    return one->key_len == other->key_len && one->key_len > 0 &&
           memcmp(message_key(one).bytes, message_key(other).bytes, one->key_len) == 0;
}

bool sent_ring_replace(struct sent_ring *sent, uint64_t number, struct message *message) {
    if (number < sent_ring_oldest(sent))
        number = sent_ring_oldest(sent);
    for (; number <= sent->last; number++) {
        struct message **kept = slot(sent, number);
        if (!same_key(*kept, message))
            continue;
        sent->bytes += message->len - (*kept)->len;
        message_unref(*kept);
        *kept = message;
        return true;
    }
    return false;
}

void sent_ring_clear(struct sent_ring *sent) {
    sent_ring_let_go(sent, sent->last);
    resize(sent, 0);
}
