/* ref_cache.h -- references to messages, taken and given back by the dozen.
 *
 * A message that goes to a thousand queues is counted up a thousand times and down again, and an
 * atomic operation costs as much as all else that is done for a delivery. So a worker keeps a stock
 * of references to the messages it is busy with: whoever queues one takes a share of the stock,
 * whoever has written one gives it back, and the message's own count is touched once for many.
 *
 * The stock lasts for a turn of the loop: ref_cache_flush() at its end. One worker's; all zeros is
 * empty. Knows nothing of queues. */
#ifndef TIDEWIRE_CORE_FRAMES_REF_CACHE_H
#define TIDEWIRE_CORE_FRAMES_REF_CACHE_H

#include "core/frames/message.h"

enum { REF_CACHE_SLOTS = 32 };

struct ref_cache {
    /* private: where a message has its place follows from its address */
    struct share {
        struct message *message;
        uint32_t spare; /* references held here */
    } slots[REF_CACHE_SLOTS];
    uint32_t used; /* one bit a slot */
};

/* One more reference to a message, of which the caller or somebody else holds one. */
struct message *ref_cache_take(struct ref_cache *ref_cache, struct message *message);

/* Takes the caller's reference. The message may live until ref_cache_flush(). */
void ref_cache_release(struct ref_cache *ref_cache, struct message *message);

/* Drops what is left over. */
void ref_cache_flush(struct ref_cache *ref_cache);

#endif
