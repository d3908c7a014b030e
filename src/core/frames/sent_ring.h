/* sent_ring.h -- the messages that a session has sent and its client has not acknowledged, oldest
 * first.
 *
 * Each message has a number; the first of a session has 1. A shared message is kept by reference,
 * as in the queue of a connection. Messages for this client alone are copied into runs, as many as
 * fit, which the queue may hold as well. The limits on both are the owner's. Used only on the
 * session's worker. */
#ifndef TIDEWIRE_CORE_FRAMES_SENT_RING_H
#define TIDEWIRE_CORE_FRAMES_SENT_RING_H

#include "core/frames/message.h"

#include <stdbool.h>
#include <stdint.h>

/* A message, or a run of so many frames. */
struct sent_entry {
    struct message *message;
    uint32_t frames;
};

/* All zeros: nothing was sent. */
struct sent_ring {
    uint64_t last;  /* the number of the newest message; 0: none was sent */
    size_t bytes;   /* of the frames that are kept */
    uint32_t count; /* of messages that are kept */
    /* private: a ring of entries, its capacity a power of two or 0 */
    uint32_t capacity, first, entries;
    uint32_t skipped; /* frames of the oldest entry that are not kept any more … */
    size_t offset;    /* … and their bytes */
    bool is_sealed;   /* nothing is added to the newest run: the owner may set it */
    struct sent_entry *ring;
};

/* Gives the message the next number. Takes over the caller's reference. */
void sent_ring_push(struct sent_ring *sent, struct message *message);
/* The same with a copy of a payload. Returns the run that ends with its frame, borrowed; the frame
 * begins at `*offset`. The run does not move, so a queue may hold it too. */
struct message *sent_ring_append(struct sent_ring *sent, enum opcode opcode, const void *payload,
                                 size_t len, size_t *offset);

/* The number of the oldest message that is kept; of the next one if none is. */
static inline uint64_t sent_ring_oldest(const struct sent_ring *sent) {
    return sent->last - sent->count + 1;
}

/* The newest message, or the run with it; NULL: none is kept. */
static inline struct message *sent_ring_newest(const struct sent_ring *sent) {
    return sent->entries == 0
               ? NULL
               : sent->ring[(sent->first + sent->entries - 1) & (sent->capacity - 1)].message;
}

/* The queue of the connection is empty: if the newest run is almost full, what comes has a new one,
 * so that it leaves in one write without a copy. */
static inline void sent_ring_start(struct sent_ring *sent) {
    const struct message *run = sent_ring_newest(sent);
    if (run != NULL && run->capacity - run->len < run->capacity / 4)
        sent->is_sealed = true;
}

/* Can a client that has got so many messages get all others? */
static inline bool sent_ring_reaches(const struct sent_ring *sent, uint64_t received) {
    return received <= sent->last && received + 1 >= sent_ring_oldest(sent);
}

/* One of the messages that are kept; all is borrowed. */
struct sent_frame {
    struct message *message; /* NULL: it has none of its own */
    enum opcode opcode;
    struct slice payload;
};

/* A walk from the oldest to the newest; all zeros at first. */
struct sent_walk {
    uint32_t entry;
    size_t offset;
};

/* The next message. False: there are no more. */
bool sent_ring_next(const struct sent_ring *sent, struct sent_walk *walk, struct sent_frame *frame);

/* Drops what is left of the oldest entry, which must be there. */
void sent_ring_drop_entry(struct sent_ring *sent);
/* Drops the oldest message, which must be there. */
static inline void sent_ring_drop(struct sent_ring *sent) {
    const struct sent_entry *oldest = &sent->ring[sent->first];
    if (oldest->frames - sent->skipped == 1) {
        sent_ring_drop_entry(sent);
        return;
    }
    size_t size = message_frame_bytes(oldest->message->bytes + sent->offset);
    sent->offset += size;
    sent->bytes -= size;
    sent->skipped++;
    sent->count--;
}
/* Drops the messages up to this number. */
void sent_ring_let_go(struct sent_ring *sent, uint64_t number);

/* The first entry from `number` on whose message has the same key; NULL: there is none. */
struct sent_entry *sent_ring_find(const struct sent_ring *sent, uint64_t number,
                                  const struct message *message);
/* Replaces the message of an entry that was found. Takes over the caller's reference. */
void sent_ring_replace(struct sent_ring *sent, struct sent_entry *entry, struct message *message);

/* No message may come for long: frees memory that has no frame. What comes is put into no run that
 * a queue may hold. */
void sent_ring_seal(struct sent_ring *sent);

/* Bytes that its end would free, roughly: a message has a part for each reference. */
size_t sent_ring_memory(const struct sent_ring *sent);

/* Drops all messages and the memory of the ring; the numbers go on. */
void sent_ring_clear(struct sent_ring *sent);

#endif
