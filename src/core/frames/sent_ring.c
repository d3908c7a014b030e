/* sent_ring.c -- messages that were sent and not acknowledged. See sent_ring.h. */
#include "core/frames/sent_ring.h"

#include "base/mem.h"

#include <string.h>

/* A run that follows a full one has twice its memory, within these bounds: a session that sends
 * little needs little, one that sends much allocates seldom. */
enum { RING_MIN = 4, RUN_FIRST = 512, RUN_MIN = 128, RUN_MAX = 64 * 1024 };

static struct sent_entry *entry_at(const struct sent_ring *sent, uint32_t index) {
    return &sent->ring[(sent->first + index) & (sent->capacity - 1)];
}

static __attribute__((noinline)) void resize(struct sent_ring *sent, uint32_t capacity) {
    struct sent_entry *ring = capacity == 0 ? NULL : mem_alloc(capacity * sizeof *ring);
    for (uint32_t i = 0; i < sent->entries; i++)
        ring[i] = *entry_at(sent, i);
    mem_free(sent->ring);
    queue_memory_add(capacity * sizeof *ring);
    queue_memory_remove(sent->capacity * sizeof *ring);
    sent->ring = ring;
    sent->capacity = capacity;
    sent->first = 0;
}

static void add_entry(struct sent_ring *sent, struct message *message) {
    if (sent->entries == sent->capacity)
        resize(sent, sent->capacity == 0 ? RING_MIN : sent->capacity * 2);
    *entry_at(sent, sent->entries++) = (struct sent_entry){message, 1};
}

void sent_ring_push(struct sent_ring *sent, struct message *message) {
    add_entry(sent, message);
    sent->bytes += message->len;
    sent->count++;
    sent->last++;
}

static size_t run_capacity(const struct sent_ring *sent) {
    const struct message *newest = sent_ring_newest(sent);
    if (newest == NULL)
        return RUN_FIRST;
    if (newest->capacity == 0 || newest->len < newest->capacity / 2)
        return RUN_MIN;
    return newest->capacity < RUN_MAX / 2 ? newest->capacity * 2 : RUN_MAX;
}

static __attribute__((noinline)) struct message *new_run(struct sent_ring *sent, enum opcode opcode,
                                                         const void *payload, size_t len) {
    struct message *run = message_run_new(opcode, payload, len, run_capacity(sent));
    add_entry(sent, run);
    sent->is_sealed = false;
    return run;
}

struct message *sent_ring_append(struct sent_ring *sent, enum opcode opcode, const void *payload,
                                 size_t len, size_t *offset) {
    size_t frame = message_frame_size(len);
    struct sent_entry *last = sent->entries == 0 ? NULL : entry_at(sent, sent->entries - 1);
    struct message *run = last == NULL ? NULL : last->message;
    *offset = 0;
    if (run != NULL && run->len + frame <= run->capacity && !sent->is_sealed) {
        *offset = run->len;
        message_run_add(run, opcode, payload, len);
        last->frames++;
    } else {
        run = new_run(sent, opcode, payload, len);
    }
    sent->bytes += frame;
    sent->count++;
    sent->last++;
    return run;
}

bool sent_ring_next(const struct sent_ring *sent, struct sent_walk *walk,
                    struct sent_frame *frame) {
    if (walk->entry == sent->entries)
        return false;
    if (walk->entry == 0 && walk->offset == 0)
        walk->offset = sent->offset;
    struct message *message = entry_at(sent, walk->entry)->message;
    size_t size =
        message->capacity > 0 ? message_frame_bytes(message->bytes + walk->offset) : message->len;
    const unsigned char *bytes = message->bytes + walk->offset;
    size_t header = bytes[1] < 126 ? 2 : bytes[1] == 126 ? 4 : 10;
    *frame = (struct sent_frame){
        .message = message->capacity > 0 ? NULL : message,
        .opcode = (enum opcode)(bytes[0] & 0x0f),
        .payload = {(const char *)bytes + header, size - header},
    };
    walk->offset += size;
    if (walk->offset == message->len) {
        walk->entry++;
        walk->offset = 0;
    }
    return true;
}

void sent_ring_drop_entry(struct sent_ring *sent) {
    struct sent_entry *oldest = entry_at(sent, 0);
    sent->bytes -= oldest->message->len - sent->offset;
    sent->count -= oldest->frames - sent->skipped;
    sent->first = (sent->first + 1) & (sent->capacity - 1);
    sent->entries--;
    sent->skipped = 0;
    sent->offset = 0;
    message_unref(oldest->message);
}

void sent_ring_let_go(struct sent_ring *sent, uint64_t number) {
    while (sent->count > 0 && sent_ring_oldest(sent) <= number) {
        if (entry_at(sent, 0)->frames - sent->skipped <= number - sent_ring_oldest(sent) + 1)
            sent_ring_drop_entry(sent);
        else
            sent_ring_drop(sent);
    }
}

static bool same_key(const struct message *one, const struct message *other) {
    return one->key_len == other->key_len && one->key_len > 0 &&
           memcmp(message_key(one).bytes, message_key(other).bytes, one->key_len) == 0;
}

struct sent_entry *sent_ring_find(const struct sent_ring *sent, uint64_t number,
                                  const struct message *message) {
    uint64_t at = sent_ring_oldest(sent) - sent->skipped;
    for (uint32_t i = 0; i < sent->entries; i++) {
        struct sent_entry *entry = entry_at(sent, i);
        if (at >= number && same_key(entry->message, message))
            return entry;
        at += entry->frames;
    }
    return NULL;
}

void sent_ring_replace(struct sent_ring *sent, struct sent_entry *entry, struct message *message) {
    sent->bytes += message->len - entry->message->len;
    message_unref(entry->message);
    entry->message = message;
}

void sent_ring_seal(struct sent_ring *sent) {
    sent->is_sealed = true;
    if (sent->entries == 0) {
        resize(sent, 0);
        return;
    }
    struct sent_entry *last = entry_at(sent, sent->entries - 1);
    bool is_shared = atomic_load_explicit(&last->message->refs, memory_order_relaxed) > 1;
    if (last->message->capacity > 0 && !is_shared)
        last->message = message_run_fit(last->message);
}

size_t sent_ring_memory(const struct sent_ring *sent) {
    enum { SAMPLES = 64 };
    uint32_t step = sent->entries / SAMPLES + 1;
    size_t bytes = 0;
    for (uint32_t i = 0; i < sent->entries; i += step) {
        const struct message *message = entry_at(sent, i)->message;
        bytes += message_memory(message) / atomic_load(&message->refs);
    }
    return bytes * step + sent->capacity * sizeof *sent->ring;
}

void sent_ring_clear(struct sent_ring *sent) {
    sent_ring_let_go(sent, sent->last);
    resize(sent, 0);
}
