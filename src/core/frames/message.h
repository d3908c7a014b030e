/* message.h -- immutable, counted bytes: a WebSocket frame, header and payload, ready to write.
 *
 * A new message has one reference, its creator's; each queue that holds it has another. Its bytes
 * never change, so threads may share it; the count is atomic. Server frames are not masked (RFC
 * 6455 section 5.1), and this server never fragments them.
 *
 * The exception is a *run*: consecutive frames for one client in one piece of memory, so that one
 * write sends them. It belongs to one queue, which may add frames while it holds the only
 * reference. */
#ifndef TIDEWIRE_CORE_FRAMES_MESSAGE_H
#define TIDEWIRE_CORE_FRAMES_MESSAGE_H

#include "base/slice.h"
#include "core/frames/opcodes.h"
#include "core/frames/queue_memory.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct message {
    atomic_uint refs;
    atomic_uint holders; /* message_hold() */
    size_t len;          /* of the whole frame, or of all frames of a run */
    uint32_t key_len;    /* of its key, whose bytes stand behind the frame; 0: none */
    bool stays_plain;    /* it is never compressed; its creator sets it before others see it */
    bool is_kept;        /* rooms remember it, and its compressed forms: twin.h; set as early */
    bool is_uncounted;   /* a session does not count it; as `stays_plain` */
    size_t capacity;     /* of a run; 0: not a run */
    struct twin *_Atomic twins; /* its compressed forms: twin.h */
    unsigned char bytes[];
};

/* A frame around a copy of the payload. Control frames take 125 bytes at most. `opcode` may have
 * OPCODE_COMPRESSED. */
struct message *message_new(enum opcode opcode, const void *payload, size_t len);

/* The most bytes of a key; the limits of queues do not count them. */
enum { MESSAGE_KEY_MAX = 1024 };

/* The same with a key (1 to MESSAGE_KEY_MAX bytes): while it waits in a queue, a newer message with
 * the same key may replace it. */
struct message *message_new_keyed(enum opcode opcode, const void *payload, size_t len,
                                  struct slice key);

/* Its key; no bytes: none. */
static inline struct slice message_key(const struct message *message) {
    return message->key_len == 0
               ? (struct slice){NULL, 0}
               : (struct slice){(const char *)message->bytes + message->len, message->key_len};
}

/* Bytes of its memory. */
static inline size_t message_memory(const struct message *message) {
    size_t bytes = message->capacity > 0 ? message->capacity : message->len + message->key_len;
    return sizeof *message + bytes + QUEUE_MEMORY_ALLOCATION;
}

/* Bytes of a frame around `len` bytes of payload. */
size_t message_frame_size(size_t len);

/* Bytes of the whole frame that begins there. */
static inline size_t message_frame_bytes(const unsigned char *frame) {
    if (frame[1] < 126)
        return 2u + frame[1];
    if (frame[1] == 126)
        return 4u + ((size_t)frame[2] << 8 | frame[3]);
    size_t len = 0;
    for (int i = 2; i < 10; i++)
        len = len << 8 | frame[i];
    return 10 + len;
}

/* Of a message that is no run: the payload, and the opcode with OPCODE_COMPRESSED where it is. */
struct slice message_payload(const struct message *message);
static inline enum opcode message_opcode(const struct message *message) {
    return (enum opcode)(message->bytes[0] & 0x4f);
}
static inline bool message_is_compressed(const struct message *message) {
    return message_opcode(message) & OPCODE_COMPRESSED;
}

/* The messages in it that a session counts, and of which a byte stands behind the first `sent`
 * ones. */
uint32_t message_counted(const struct message *message, size_t sent);

/* A run of one frame, with memory for so many bytes of frames or for this one if it is longer. */
struct message *message_run_new(enum opcode opcode, const void *payload, size_t len,
                                size_t capacity);

/* The most memory of a run, unless a single frame is longer. */
enum { MESSAGE_RUN_BYTES = 128 * 1024 };

/* Makes room in a run for a frame of so many bytes. Returns the run, which may have moved. */
struct message *message_run_reserve(struct message *run, size_t frame);
/* Adds a frame to a run that has room for it. */
void message_run_add(struct message *run, enum opcode opcode, const void *payload, size_t len);

/* Frees the memory of a run that has no frame, if that is more than half of it. Returns the run,
 * which may have moved. */
struct message *message_run_fit(struct message *run);

/* A run with the same frames. */
struct message *message_run_copy(const struct message *run);

/* A run of one control frame (125 bytes at most), with room for the largest, so that
 * message_control_set() can replace it. */
struct message *message_control_new(enum opcode opcode, const void *payload, size_t len);
void message_control_set(struct message *control, enum opcode opcode, const void *payload,
                         size_t len);

/* Drops the frames of a run that begin at `offset` or later. Returns their number. */
uint32_t message_run_cut(struct message *run, size_t offset);

static inline void message_ref_many(struct message *message, unsigned count) {
    atomic_fetch_add_explicit(&message->refs, count, memory_order_relaxed);
}

static inline struct message *message_ref(struct message *message) {
    message_ref_many(message, 1);
    return message;
}

void message_unref_many(struct message *message, unsigned count);

static inline void message_unref(struct message *message) {
    message_unref_many(message, 1);
}

/* The reference of a holder with a limit of its own (mail, a room's memory). While a message has
 * one, its memory counts there and not as memory of queues. */
struct message *message_hold(struct message *message);
void message_release(struct message *message);

#endif
