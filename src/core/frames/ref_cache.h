/* ref_cache.h -- spare references to messages, so that few of them cost an atomic operation.
 *
 * A message that goes to a thousand queues is referenced a thousand times, and an atomic operation
 * costs as much as the rest of a delivery. So a worker keeps spare references to the messages that
 * it delivers: a queue takes one, and returns it when the message is written, and only batches of
 * them change the message's own count.
 *
 * Call ref_cache_flush() at the end of each turn of the loop. One worker's; all zeros is empty.
 * Knows nothing of queues. */
#ifndef TIDEWIRE_CORE_FRAMES_REF_CACHE_H
#define TIDEWIRE_CORE_FRAMES_REF_CACHE_H

#include "core/frames/message.h"

enum { REF_CACHE_SLOTS = 32 };

struct ref_cache {
    /* private: the address of a message selects its slot */
    struct ref_slot {
        struct message *message;
        uint32_t spare; /* references */
    } slots[REF_CACHE_SLOTS];
    uint32_t used; /* a bit for each slot */
};

/* Another reference to a message that is referenced already. */
struct message *ref_cache_take(struct ref_cache *ref_cache, struct message *message);

/* Takes the caller's reference. The message may live until ref_cache_flush(). */
void ref_cache_release(struct ref_cache *ref_cache, struct message *message);

/* Drops the spare references. */
void ref_cache_flush(struct ref_cache *ref_cache);

#endif
