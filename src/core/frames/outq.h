/* outq.h -- messages waiting to be written to one client, oldest first.
 *
 * Counts its bytes and its memory beside them; their ceilings and what crossing one means are the
 * owner's. Holds one reference per message. Used only on the connection's worker; does not know who
 * drains it. */
#ifndef TIDEWIRE_CORE_FRAMES_OUTQ_H
#define TIDEWIRE_CORE_FRAMES_OUTQ_H

#include "core/frames/ref_cache.h"

#include <stdbool.h>
#include <stdint.h>

struct outq {
    size_t bytes; /* not written yet; readers may look */
    /* private: a ring of pointers, its capacity a power of two or 0 */
    struct message **ring;
    uint32_t capacity, first, count;
    size_t sent;     /* bytes of the oldest message that are written already */
    size_t overhead; /* OUTQ_MESSAGE_BYTES and the key of each message; readers may look */
};

/* What a message in a queue takes beside its frame and its key: its head, its share of an
 * allocator's, its place in the ring. */
enum { OUTQ_MESSAGE_BYTES = 64 };

/* Small messages that were gathered for one queue and written: after a few broadcasts the next
 * queues hold the same ones, which need not be gathered again, nor be counted down one by one. All
 * zeros: none. Holds `times` references to each. */
enum { OUTQ_BUNDLE_MESSAGES = 128 };
struct outq_bundle {
    uint32_t count, times;
    size_t bytes;
    struct message *messages[OUTQ_BUNDLE_MESSAGES];
};

/* A zeroed struct is an empty queue. Drops everything and the ring itself. */
void outq_clear(struct outq *queue);

/* Takes the caller's reference. */
void outq_push(struct outq *queue, struct message *message);

/* Puts the message in the place of one that waits with the same key, whose first byte is not
 * written yet, unless more than `max_bytes` would wait then. True: done, and the caller's reference
 * is taken. */
bool outq_replace(struct outq *queue, struct message *message, size_t max_bytes);

/* Puts a control frame in the place of one (message_control_new) that waits in the queue, as long
 * as its first byte is not written. The caller has a reference of its own. False: it is written, or
 * was dropped. */
bool outq_rewrite(struct outq *queue, struct message *control, enum opcode opcode,
                  const void *payload, size_t len);

/* Is a run of which the caller has a reference of its own still in its queue? */
static inline bool outq_waits(const struct message *run) {
    return atomic_load_explicit(&run->refs, memory_order_relaxed) > 1;
}

/* Adds a frame for this client alone: a copy of the payload, together with its neighbours. */
void outq_append(struct outq *queue, enum opcode opcode, const void *payload, size_t len);
/* The same for pings and pongs, which are few. */
void outq_append_control(struct outq *queue, enum opcode opcode, const void *payload, size_t len);

static inline bool outq_empty(const struct outq *queue) {
    return queue->count == 0;
}

/* Drops what waits, but for a message whose first bytes are written already: a frame is never cut.
 * */
void outq_drop_unsent(struct outq *queue);

/* What to write next: a run of bytes, oldest first. Small frames are gathered into `scratch`; a
 * large one is pointed at where it is. Returns its length, 0 when the queue is empty. The bytes
 * stay queued until outq_written() and are valid until then. */
size_t outq_next(struct outq *queue, unsigned char *scratch, size_t capacity,
                 const unsigned char **bytes);

/* Does the queue hold the messages of the bundle and no others? Then what was gathered for that can
 * be written instead of what outq_next() gives. */
bool outq_is_bundle(const struct outq *queue, const struct outq_bundle *bundle);

/* `len` gathered bytes of the queue are written. Where that is all of it, and it is the bundle or
 * there is none and one can be made of it, the bundle takes its references and the queue is empty.
 * False: nothing was done, call outq_written(). */
bool outq_give_bundle(struct outq *queue, struct outq_bundle *bundle, size_t len);

/* Drops the references; there is no bundle any more. Call it before the gathered bytes are gone. */
void outq_drop_bundle(struct outq_bundle *bundle);

/* `len` of the bytes of outq_next() are written. References go back to the stock. */
void outq_written(struct outq *queue, size_t len, struct ref_cache *ref_cache);

#endif
