/* message.c -- immutable, counted frames. See message.h. Any thread. */
#include "core/frames/message.h"

#include "base/mem.h"
#include "core/frames/twin.h"

#include <stdbool.h>
#include <string.h>

/* RFC 6455 section 5.2: 7, 7+16 or 7+64 bits of length. */
static uint32_t header_size(size_t len) {
    return len < 126 ? 2 : len < 65536 ? 4 : 10;
}

size_t message_frame_size(size_t len) {
    return header_size(len) + len;
}

static void write_header(unsigned char *out, enum opcode opcode, size_t len) {
    out[0] = (unsigned char)(0x80 | opcode); /* FIN: the server never fragments */
    if (len < 126) {
        out[1] = (unsigned char)len;
    } else if (len < 65536) {
        out[1] = 126;
        out[2] = (unsigned char)(len >> 8);
        out[3] = (unsigned char)len;
    } else {
        out[1] = 127;
        for (int i = 0; i < 8; i++)
            out[2 + i] = (unsigned char)((uint64_t)len >> (56 - 8 * i));
    }
}

static struct message *make(enum opcode opcode, const void *payload, size_t len, size_t capacity,
                            struct slice key) {
    uint32_t header = header_size(len);
    size_t bytes = header + len + key.len;
    size_t memory = sizeof(struct message) + (bytes > capacity ? bytes : capacity);
    struct message *message = mem_alloc(memory);
    atomic_init(&message->refs, 1);
    atomic_init(&message->holders, 0);
    message->len = header + len;
    message->capacity = capacity;
    message->stays_plain = message->is_kept = message->is_uncounted = false;
    atomic_init(&message->twins, NULL);
    write_header(message->bytes, opcode, len);
    message->key_len = (uint32_t)key.len;
    queue_memory_add(memory + QUEUE_MEMORY_ALLOCATION); /* message_memory() */
    if (key.len > 0)
        memcpy(message->bytes + message->len, key.bytes, key.len);
    if (len > 0)
        memcpy(message->bytes + header, payload, len);
    return message;
}

struct message *message_new(enum opcode opcode, const void *payload, size_t len) {
    return make(opcode, payload, len, 0, (struct slice){NULL, 0});
}

struct message *message_new_keyed(enum opcode opcode, const void *payload, size_t len,
                                  struct slice key) {
    return make(opcode, payload, len, 0, key);
}

uint32_t message_counted(const struct message *message, size_t sent) {
    enum { FIRST_CONTROL = 8 };
    uint32_t count = 0;
    if (message->is_uncounted)
        return 0;
    for (size_t at = 0; at < message->len;) {
        bool is_control = (message->bytes[at] & 0x0f) >= FIRST_CONTROL;
        at += message_frame_bytes(message->bytes + at);
        count += !is_control && at > sent;
    }
    return count;
}

/* ---- runs ---- */

struct message *message_run_new(enum opcode opcode, const void *payload, size_t len,
                                size_t capacity) {
    size_t frame = message_frame_size(len);
    return make(opcode, payload, len, frame > capacity ? frame : capacity, (struct slice){NULL, 0});
}

static struct message *resize(struct message *run, size_t capacity) {
    queue_memory_add(capacity - run->capacity); /* may be negative: both wrap around */
    run->capacity = capacity;
    return mem_realloc(run, sizeof *run + capacity);
}

struct message *message_run_fit(struct message *run) {
    return run->capacity / 2 > run->len ? resize(run, run->len) : run;
}

struct message *message_run_reserve(struct message *run, size_t frame) {
    size_t wanted = run->len + frame;
    if (wanted <= run->capacity)
        return run;
    bool ends_soon = wanted <= MESSAGE_RUN_BYTES && wanted > MESSAGE_RUN_BYTES / 2;
    return resize(run, ends_soon ? MESSAGE_RUN_BYTES : wanted * 2);
}

/* The copy is last, so that no register must survive it. */
void message_run_add(struct message *run, enum opcode opcode, const void *payload, size_t len) {
    unsigned char *out = run->bytes + run->len;
    write_header(out, opcode, len);
    run->len += message_frame_size(len);
    if (len > 0)
        memcpy(out + header_size(len), payload, len);
}

void message_control_set(struct message *control, enum opcode opcode, const void *payload,
                         size_t len) {
    write_header(control->bytes, opcode, len);
    if (len > 0)
        memcpy(control->bytes + header_size(len), payload, len);
    control->len = message_frame_size(len);
}

struct message *message_run_copy(const struct message *run) {
    struct message *copy = mem_alloc(sizeof *copy + run->len);
    *copy =
        (struct message){.len = run->len, .capacity = run->len, .is_uncounted = run->is_uncounted};
    atomic_init(&copy->refs, 1);
    memcpy(copy->bytes, run->bytes, run->len);
    queue_memory_add(message_memory(copy));
    return copy;
}

struct message *message_control_new(enum opcode opcode, const void *payload, size_t len) {
    return message_run_new(opcode, payload, len, message_frame_size(CONTROL_MAX));
}

struct slice message_payload(const struct message *message) {
    size_t len = message->bytes[1];
    size_t header = len < 126 ? 2 : len == 126 ? 4 : 10;
    return (struct slice){(const char *)message->bytes + header, message->len - header};
}

uint32_t message_run_cut(struct message *run, size_t offset) {
    size_t end = 0;
    uint32_t count = 0;
    while (end < offset)
        end += message_frame_bytes(run->bytes + end);
    for (size_t at = end; at < run->len; count++)
        at += message_frame_bytes(run->bytes + at);
    if (end < run->len)
        run->len = end;
    return count;
}

/* Not inlined: callers have room for the counting. */
static __attribute__((noinline)) void free_message(struct message *message) {
    struct twin *twins = atomic_load_explicit(&message->twins, memory_order_relaxed);
    if (__builtin_expect(twins != NULL, 0))
        twin_free_all(twins);
    queue_memory_remove(message_memory(message));
    mem_free(message);
}

void message_unref_many(struct message *message, unsigned count) {
    if (atomic_load_explicit(&message->refs, memory_order_acquire) == count ||
        atomic_fetch_sub_explicit(&message->refs, count, memory_order_acq_rel) == count)
        free_message(message);
}

struct message *message_hold(struct message *message) {
    if (atomic_fetch_add_explicit(&message->holders, 1, memory_order_relaxed) == 0)
        queue_memory_remove(message_memory(message));
    return message_ref(message);
}

void message_release(struct message *message) {
    if (atomic_fetch_sub_explicit(&message->holders, 1, memory_order_acq_rel) == 1) {
        queue_memory_add(message_memory(message));
        if (__builtin_expect(message->is_kept, 0))
            twin_end_keep(message);
    }
    message_unref(message);
}
