/* sent_ring.h -- the messages that a session has sent and its client has not acknowledged, oldest
 * first.
 *
 * Each message has a number; the first of a session has 1. Holds one reference per message, so the
 * queue of a connection and other sessions share its bytes. The limits on it are the owner's. Used
 * only on the session's worker. */
#ifndef TIDEWIRE_CORE_FRAMES_SENT_RING_H
#define TIDEWIRE_CORE_FRAMES_SENT_RING_H

#include "core/frames/message.h"

#include <stdbool.h>
#include <stdint.h>

/* All zeros: nothing was sent. Readers may look at all but the ring. */
struct sent_ring {
    uint64_t last; /* the number of the newest message; 0: none was sent */
    size_t bytes;  /* of the frames that are kept */
    uint32_t count;
    /* private: its capacity is a power of two or 0 */
    uint32_t capacity, first;
    struct message **ring;
};

/* Gives the message the next number. Takes over the caller's reference. */
void sent_ring_push(struct sent_ring *sent, struct message *message);

/* The number of the oldest message that is kept; of the next one if none is. */
static inline uint64_t sent_ring_oldest(const struct sent_ring *sent) {
    return sent->last - sent->count + 1;
}

/* Can a client that has got so many messages get all others? */
static inline bool sent_ring_reaches(const struct sent_ring *sent, uint64_t received) {
    return received <= sent->last && received + 1 >= sent_ring_oldest(sent);
}

/* The message with this number, which is kept; borrowed. */
struct message *sent_ring_at(const struct sent_ring *sent, uint64_t number);

/* Drops the messages up to this number. */
void sent_ring_let_go(struct sent_ring *sent, uint64_t number);

/* Replaces the first message from `number` on that has the same key. True: done, and takes over the
 * caller's reference. */
bool sent_ring_replace(struct sent_ring *sent, uint64_t number, struct message *message);

/* Drops all messages and the memory of the ring; the numbers go on. */
void sent_ring_clear(struct sent_ring *sent);

#endif
