/* outq.h -- the queue of messages to one client, oldest first.
 *
 * Counts its bytes and its memory beside them; the limits on both are the owner's. Holds one
 * reference per message. Used only on the connection's worker; knows no sockets. */
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
    size_t sent;     /* bytes of the oldest message that are written */
    size_t overhead; /* OUTQ_MESSAGE_BYTES and the key of each message; readers may look */
};

/* The memory of a queued message beside its frame and its key: its head, the allocator's overhead,
 * its pointer in the ring. */
enum { OUTQ_MESSAGE_BYTES = 64 };

/* Small messages that were copied together for one queue and written. After a few broadcasts the
 * next queues hold the same messages: their copy is ready, and their references are dropped
 * together. All zeros: none. Holds `times` references to each. */
enum { OUTQ_BUNDLE_MESSAGES = 128 };
struct outq_bundle {
    uint32_t count, times;
    size_t bytes;
    struct message *messages[OUTQ_BUNDLE_MESSAGES];
};

/* The memory of runs that were written, for the next ones; it does not count as memory of queues.
 * All zeros: none. */
enum { SPARE_RUNS = 64 };
struct spare_runs {
    /* private */
    uint32_t count;
    size_t bytes; /* their capacities; below twice MESSAGE_RUN_BYTES */
    struct message *runs[SPARE_RUNS];
};

void spare_runs_free(struct spare_runs *spare);

/* Drops all messages and the ring. A zeroed struct is an empty queue. */
void outq_clear(struct outq *queue);

/* Takes the caller's reference. */
void outq_push(struct outq *queue, struct message *message);

/* Replaces a queued message with the same key by this one, if its first byte is not written and the
 * queue stays within `max_bytes`. True: done, and takes the caller's reference. */
bool outq_replace(struct outq *queue, struct message *message, size_t max_bytes);

/* Replaces a queued control frame (message_control_new), to which the caller has a reference, if
 * its first byte is not written. False: it is written, or was dropped. */
bool outq_rewrite(struct outq *queue, struct message *control, enum opcode opcode,
                  const void *payload, size_t len);

/* Is a run, to which the caller has a reference, still in its queue? */
static inline bool outq_waits(const struct message *run) {
    return atomic_load_explicit(&run->refs, memory_order_relaxed) > 1;
}

/* Adds a frame for this client alone: copies the payload into the run at the queue's end. A new run
 * takes the last spare one. `spare` is NULL if the queue may wait for long: no more memory than
 * needed. */
void outq_append(struct outq *queue, enum opcode opcode, const void *payload, size_t len,
                 struct spare_runs *spare);
/* The same for frames that are few, such as pings and pongs, without a spare run. */
void outq_append_few(struct outq *queue, enum opcode opcode, const void *payload, size_t len);

/* Adds the frames of a run from `offset` to its end, which have just been added to it. True: done;
 * the queue has a reference of its own. False: the queue ends with something else. */
bool outq_push_rest(struct outq *queue, struct message *run, size_t offset);
/* The same as outq_append(), for a connection with a session: hub_send() alone calls that one. */
void outq_append_counted(struct outq *queue, enum opcode opcode, const void *payload, size_t len,
                         struct spare_runs *spare);

/* The queue may wait for long: frees memory of its runs that has no frame. */
void outq_fit(struct outq *queue);

static inline bool outq_empty(const struct outq *queue) {
    return queue->count == 0;
}

/* Messages that a session counts, and of which at least the last byte is not written. */
uint32_t outq_counted(const struct outq *queue);

/* Is this the newest message of the queue, which is not empty? */
static inline bool outq_ends_with(const struct outq *queue, const struct message *message) {
    return queue->ring[(queue->first + queue->count - 1) & (queue->capacity - 1)] == message;
}

/* Is the whole queue one run? */
static inline bool outq_is_run(const struct outq *queue) {
    return queue->count == 1 && queue->ring[queue->first]->capacity > 0;
}

/* Drops all messages but one whose first bytes are written: a frame is never cut. Returns the
 * number of dropped frames. */
uint32_t outq_drop_unsent(struct outq *queue);

/* Bytes that the queue needs, if it shares no message. */
static inline size_t outq_memory(const struct outq *queue) {
    return queue->bytes + queue->overhead;
}

/* Bytes that would stay in memory without this queue, because others share its messages: an
 * estimate, from so many messages at most. */
size_t outq_shared(const struct outq *queue, uint32_t samples);

/* The next bytes to write, oldest first: small frames are copied together into `scratch`, a large
 * one is not copied. Returns their number, 0 when the queue is empty. They stay queued, and valid,
 * until outq_written(). */
size_t outq_next(struct outq *queue, unsigned char *scratch, size_t capacity,
                 const unsigned char **bytes);

/* Does the queue hold exactly the messages of the bundle? Then write the bundle's copy instead of
 * calling outq_next(). */
bool outq_is_bundle(const struct outq *queue, const struct outq_bundle *bundle);

/* `len` bytes of the queue, copied together, are written. If these are all, and the queue is the
 * bundle or becomes one because there is none, the bundle takes the references and the queue is
 * empty. False: nothing was done, call outq_written(). */
bool outq_give_bundle(struct outq *queue, struct outq_bundle *bundle, size_t len);

/* Drops the references: there is no bundle. Call it before the scratch is overwritten. */
void outq_drop_bundle(struct outq_bundle *bundle);

/* `len` of the bytes of outq_next() are written. Returns the references to the cache, and
 * runs to the spare ones. */
void outq_written(struct outq *queue, size_t len, struct ref_cache *ref_cache,
                  struct spare_runs *spare);

#endif
