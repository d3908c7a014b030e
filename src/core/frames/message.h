/* message.h -- unchangeable, counted bytes: one WebSocket frame, header and payload, ready for the
 * wire.
 *
 * Born with count 1; each queue that holds it adds one; whoever made it drops its own at the end.
 * Never changed after birth, so threads may share it; the count is atomic. Server frames are not
 * masked (RFC 6455 section 5.1) and never fragmented.
 *
 * The exception is a *run*: several frames that wait for the same client, one behind the other, so
 * that they leave as they lie. It belongs to one queue, which alone may add to it, as long as
 * nobody else holds it as well. */
#ifndef TIDEWIRE_CORE_FRAMES_MESSAGE_H
#define TIDEWIRE_CORE_FRAMES_MESSAGE_H

#include "base/slice.h"
#include "core/frames/opcodes.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct message {
    atomic_uint refs;
    size_t len;       /* of the whole frame, or of all frames of a run */
    uint32_t key_len; /* of its key, whose bytes stand behind the frame; 0: none */
    size_t capacity;  /* of a run; 0: not a run */
    unsigned char bytes[];
};

/* A frame around a copy of the payload. Control frames take 125 bytes at most. */
struct message *message_new(enum opcode opcode, const void *payload, size_t len);

/* Bytes of a key at most: no queue's ceiling counts them. */
enum { MESSAGE_KEY_MAX = 1024 };

/* The same with a key (1 to MESSAGE_KEY_MAX bytes): where it still waits, a newer message with the
 * same key may take its place. */
struct message *message_new_keyed(enum opcode opcode, const void *payload, size_t len,
                                  struct slice key);

/* Its key; no bytes where it has none. */
static inline struct slice message_key(const struct message *message) {
    return message->key_len == 0
               ? (struct slice){NULL, 0}
               : (struct slice){(const char *)message->bytes + message->len, message->key_len};
}

/* Bytes of a frame around `len` bytes of payload. */
size_t message_frame_size(size_t len);

/* A run of one frame. */
struct message *message_run_new(enum opcode opcode, const void *payload, size_t len);

/* A run takes no more memory than this, unless it is longer. */
enum { MESSAGE_RUN_BYTES = 64 * 1024 };

/* Adds a frame to a run, which may move: use the result from now on. */
struct message *message_run_add(struct message *run, enum opcode opcode, const void *payload,
                                size_t len);

/* A run of one control frame (125 bytes at most), with room for the largest: message_control_set()
 * can put another in its place. */
struct message *message_control_new(enum opcode opcode, const void *payload, size_t len);
void message_control_set(struct message *control, enum opcode opcode, const void *payload,
                         size_t len);

/* Drops the frames of a run that begin at `offset` or behind it. */
void message_run_cut(struct message *run, size_t offset);

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

#endif
