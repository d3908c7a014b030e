/* shares.h -- references to messages, taken and given back by the dozen.
 *
 * A message that goes to a thousand queues is counted up a thousand times and down again, and an atomic
 * operation costs as much as all else that is done for a delivery. So a worker keeps a stock of references to
 * the messages it is busy with: whoever queues one takes a share of the stock, whoever has written one
 * gives it back, and the message's own count is touched once for many.
 *
 * The stock lasts for a turn of the loop: shares_settle() at its end. One worker's; all zeros is
 * empty. Knows nothing of queues. */
#ifndef TIDEWIRE_CORE_SHARES_H
#define TIDEWIRE_CORE_SHARES_H

#include "core/message.h"

enum { SHARES_SLOTS = 32 };

struct shares {
    /* private: where a message has its place follows from its address */
    struct share {
        struct message *message;
        uint32_t spare; /* references held here */
    } slots[SHARES_SLOTS];
    uint32_t used; /* one bit a slot */
};

/* One more reference to a message, of which the caller or somebody else holds one. */
struct message *shares_take(struct shares *shares, struct message *message);

/* Takes the caller's reference. The message may live until shares_settle(). */
void shares_give(struct shares *shares, struct message *message);

/* Drops what is left over. */
void shares_settle(struct shares *shares);

#endif
