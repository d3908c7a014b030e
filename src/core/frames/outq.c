/* outq.c -- the queue of messages to one client. See outq.h. */
#include "core/frames/outq.h"

#include "base/mem.h"

#include <string.h>

/* A ring up to RING_KEPT stays allocated when it is empty, so that a busy connection does not
 * allocate in each turn. */
enum { RING_MIN = 4, RING_KEPT = 32 };

/* A run begins with so many bytes, for the short answers to one read; with its head, malloc() has
 * them at hand. */
enum { RUN_MIN = 480 };

/* Frames from this size on are written without a copy; below it a copy is cheaper. */
enum { LARGE_BYTES = 16 * 1024 };

/* Bytes of the ring that count as memory of the queue; a short ring is part of its connection. */
static size_t ring_memory(uint32_t capacity) {
    return capacity <= RING_KEPT ? 0 : capacity * sizeof(struct message *);
}

static void free_ring(struct outq *queue) {
    queue_memory_remove(ring_memory(queue->capacity));
    mem_free(queue->ring);
}

/* Not inlined: a push seldom needs it, and would have to save registers for it. */
static __attribute__((noinline)) void grow(struct outq *queue) {
    uint32_t capacity = queue->capacity == 0 ? RING_MIN : queue->capacity * 2;
    struct message **ring = mem_alloc(capacity * sizeof *ring);
    queue_memory_add(ring_memory(capacity));
    for (uint32_t i = 0; i < queue->count; i++)
        ring[i] = queue->ring[(queue->first + i) & (queue->capacity - 1)];
    free_ring(queue);
    queue->ring = ring;
    queue->capacity = capacity;
    queue->first = 0;
}

void outq_push(struct outq *queue, struct message *message) {
    if (queue->count == queue->capacity)
        grow(queue);
    queue->ring[(queue->first + queue->count++) & (queue->capacity - 1)] = message;
    queue->bytes += message->len;
    queue->overhead += OUTQ_MESSAGE_BYTES + message->key_len;
}

static bool same_key(const struct message *one, const struct message *other) {
    return one->key_len == other->key_len && one->key_len > 0 &&
           memcmp(message_key(one).bytes, message_key(other).bytes, one->key_len) == 0;
}

bool outq_replace(struct outq *queue, struct message *message, size_t max_bytes) {
    for (uint32_t i = queue->sent > 0 ? 1 : 0; i < queue->count; i++) {
        struct message **slot = &queue->ring[(queue->first + i) & (queue->capacity - 1)];
        if (!same_key(*slot, message))
            continue;
        size_t bytes = queue->bytes - (*slot)->len + message->len;
        if (bytes > max_bytes)
            return false;
        queue->bytes = bytes;
        message_unref(*slot);
        *slot = message;
        return true;
    }
    return false;
}

bool outq_rewrite(struct outq *queue, struct message *control, enum opcode opcode,
                  const void *payload, size_t len) {
    if (!outq_waits(control) || (queue->sent > 0 && queue->ring[queue->first] == control))
        return false;
    queue->bytes -= control->len;
    message_control_set(control, opcode, payload, len);
    queue->bytes += control->len;
    return true;
}

static struct message **last_of(const struct outq *queue) {
    return &queue->ring[(queue->first + queue->count - 1) & (queue->capacity - 1)];
}

/* May frames be added to the queue's last message? */
static bool ends_with_run(const struct outq *queue) {
    return queue->count > 0 && (*last_of(queue))->capacity > 0 && !outq_waits(*last_of(queue));
}

/* ---- runs ---- */

/* There is one. */
static inline struct message *take_spare(struct spare_runs *spare) {
    struct message *run = spare->runs[--spare->count];
    spare->bytes -= run->capacity;
    run->len = 0;
    run->is_uncounted = false;
    queue_memory_add(message_memory(run));
    return run;
}

/* Drops the queue's reference to a run, whose memory may be used again. */
static void release_run(struct message *run, struct spare_runs *spare) {
    if (outq_waits(run)) {
        message_unref(run);
        return;
    }
    queue_memory_remove(message_memory(run));
    if (spare->count == SPARE_RUNS || spare->bytes >= MESSAGE_RUN_BYTES ||
        run->capacity > MESSAGE_RUN_BYTES) {
        mem_free(run);
        return;
    }
    spare->bytes += run->capacity;
    spare->runs[spare->count++] = run;
}

void spare_runs_free(struct spare_runs *spare) {
    while (spare->count > 0)
        mem_free(spare->runs[--spare->count]);
    spare->bytes = 0;
}

static inline void append(struct outq *queue, enum opcode opcode, const void *payload, size_t len,
                          struct spare_runs *spare) {
    size_t frame = message_frame_size(len);
    if (!ends_with_run(queue) || (*last_of(queue))->len + frame > MESSAGE_RUN_BYTES) {
        if (spare == NULL || spare->count == 0 || frame > MESSAGE_RUN_BYTES) {
            outq_push(queue, message_run_new(opcode, payload, len, spare == NULL ? 0 : RUN_MIN));
            return;
        }
        outq_push(queue, take_spare(spare));
    }
    struct message **last = last_of(queue);
    *last = message_run_reserve(*last, frame);
    queue->bytes += frame;
    message_run_add(*last, opcode, payload, len);
}

/* Flattened, and called from one place, as frame_reader_next() is. */
__attribute__((flatten)) void outq_append(struct outq *queue, enum opcode opcode,
                                          const void *payload, size_t len,
                                          struct spare_runs *spare) {
    append(queue, opcode, payload, len, spare);
}

void outq_append_counted(struct outq *queue, enum opcode opcode, const void *payload, size_t len,
                         struct spare_runs *spare) {
    append(queue, opcode, payload, len, spare);
}

bool outq_push_rest(struct outq *queue, struct message *run, size_t offset) {
    if (queue->count == 0 || offset == 0) {
        bool is_first = queue->count == 0;
        outq_push(queue, message_ref(run));
        queue->bytes -= offset;
        if (is_first)
            queue->sent = offset;
        return true;
    }
    if (*last_of(queue) != run)
        return false;
    queue->bytes += run->len - offset;
    return true;
}

void outq_append_few(struct outq *queue, enum opcode opcode, const void *payload, size_t len) {
    append(queue, opcode, payload, len, NULL);
}

void outq_fit(struct outq *queue) {
    for (uint32_t i = 0; i < queue->count; i++) {
        struct message **slot = &queue->ring[(queue->first + i) & (queue->capacity - 1)];
        if ((*slot)->capacity > 0 && !outq_waits(*slot))
            *slot = message_run_fit(*slot);
    }
}

/* An empty queue begins at the start of its ring, so that its next messages lie in one piece. */
static void emptied(struct outq *queue) {
    if (queue->capacity > RING_KEPT) {
        free_ring(queue);
        *queue = (struct outq){0};
    }
    queue->first = queue->count = 0;
}

/* Takes out the oldest message; its reference is the caller's. */
static inline struct message *pop(struct outq *queue) {
    struct message *message = queue->ring[queue->first];
    queue->bytes -= message->len - queue->sent;
    queue->overhead -= OUTQ_MESSAGE_BYTES + message->key_len;
    queue->sent = 0;
    queue->first = (queue->first + 1) & (queue->capacity - 1);
    queue->count--;
    if (queue->count == 0)
        emptied(queue);
    return message;
}

void outq_clear(struct outq *queue) {
    while (queue->count > 0)
        message_unref(pop(queue));
    free_ring(queue);
    *queue = (struct outq){0};
}

uint32_t outq_drop_unsent(struct outq *queue) {
    uint32_t kept = queue->sent > 0 ? 1 : 0, dropped = 0;
    while (queue->count > kept) {
        uint32_t last = (queue->first + --queue->count) & (queue->capacity - 1);
        struct message *message = queue->ring[last];
        if (message->capacity > 0 && outq_waits(message)) /* another holds it, too */
            dropped += message_counted(message, 0);
        else
            dropped += message->capacity > 0 ? message_run_cut(message, 0) : 1;
        queue->overhead -= OUTQ_MESSAGE_BYTES + message->key_len;
        message_unref(message);
    }
    queue->bytes = 0;
    if (kept == 0) {
        emptied(queue);
        return dropped;
    }
    struct message *first = queue->ring[queue->first];
    if (first->capacity > 0 && outq_waits(first)) {
        queue->ring[queue->first] = message_run_copy(first);
        message_unref(first);
        first = queue->ring[queue->first];
    }
    if (first->capacity > 0)
        dropped += message_run_cut(first, queue->sent);
    queue->bytes = first->len - queue->sent;
    if (queue->bytes == 0)
        message_unref(pop(queue));
    else
        outq_fit(queue);
    return dropped;
}

uint32_t outq_counted(const struct outq *queue) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < queue->count; i++)
        count += message_counted(queue->ring[(queue->first + i) & (queue->capacity - 1)],
                                 i == 0 ? queue->sent : 0);
    return count;
}

size_t outq_shared(const struct outq *queue, uint32_t samples) {
    uint32_t step = queue->count / samples + 1;
    size_t shared = 0;
    for (uint32_t i = 0; i < queue->count; i += step) {
        const struct message *message = queue->ring[(queue->first + i) & (queue->capacity - 1)];
        if (message->capacity == 0)
            shared += message->len - message->len / atomic_load(&message->refs);
    }
    shared *= step;
    return shared < queue->bytes ? shared : queue->bytes;
}

size_t outq_next(struct outq *queue, unsigned char *scratch, size_t capacity,
                 const unsigned char **bytes) {
    if (queue->count == 0)
        return 0;
    const struct message *oldest = queue->ring[queue->first];
    size_t rest = oldest->len - queue->sent;
    if (rest >= LARGE_BYTES || queue->count == 1) {
        *bytes = oldest->bytes + queue->sent;
        return rest;
    }
    size_t used = 0, skip = queue->sent;
    for (uint32_t i = 0; i < queue->count; i++, skip = 0) {
        const struct message *message = queue->ring[(queue->first + i) & (queue->capacity - 1)];
        size_t len = message->len - skip;
        if (len > capacity - used || len >= LARGE_BYTES)
            break;
        memcpy(scratch + used, message->bytes + skip, len);
        used += len;
    }
    *bytes = scratch;
    return used;
}

void outq_written(struct outq *queue, size_t len, struct ref_cache *ref_cache,
                  struct spare_runs *spare) {
    while (len > 0) {
        size_t rest = queue->ring[queue->first]->len - queue->sent;
        if (len < rest) {
            queue->sent += len;
            queue->bytes -= len;
            return;
        }
        len -= rest;
        struct message *message = pop(queue);
        if (message->capacity > 0)
            release_run(message, spare);
        else
            ref_cache_release(ref_cache, message);
    }
}

/* ---- bundles ---- */

static bool in_one_piece(const struct outq *queue) {
    return queue->sent == 0 && queue->first + queue->count <= queue->capacity;
}

bool outq_is_bundle(const struct outq *queue, const struct outq_bundle *bundle) {
    return bundle->count > 0 && queue->count == bundle->count && queue->bytes == bundle->bytes &&
           in_one_piece(queue) &&
           memcmp(queue->ring + queue->first, bundle->messages,
                  bundle->count * sizeof *bundle->messages) == 0;
}

/* Runs are not bundled: each belongs to one queue, and changes. */
static bool make_bundle(const struct outq *queue, struct outq_bundle *bundle) {
    if (queue->count > OUTQ_BUNDLE_MESSAGES || !in_one_piece(queue))
        return false;
    struct message **first = queue->ring + queue->first;
    for (uint32_t i = 0; i < queue->count; i++) {
        if (first[i]->capacity > 0)
            return false;
    }
    memcpy(bundle->messages, first, queue->count * sizeof *first);
    bundle->count = queue->count;
    bundle->bytes = queue->bytes;
    return true;
}

bool outq_give_bundle(struct outq *queue, struct outq_bundle *bundle, size_t len) {
    if (len < queue->bytes || (bundle->count == 0 && !make_bundle(queue, bundle)))
        return false;
    bundle->times++;
    queue->bytes = queue->overhead = 0;
    emptied(queue);
    return true;
}

void outq_drop_bundle(struct outq_bundle *bundle) {
    for (uint32_t i = 0; i < bundle->count; i++)
        message_unref_many(bundle->messages[i], bundle->times);
    bundle->count = bundle->times = 0;
}
