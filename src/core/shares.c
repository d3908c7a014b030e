/* shares.c -- references to messages, taken and given back by the dozen. See shares.h. */
#include "core/shares.h"

/* Taken at once: one atomic operation for so many queues. */
enum { STOCK = 64 };

/* Two messages seldom begin within so many bytes of each other. */
enum { ADDRESS_SHIFT = 6 };

static void settle(struct shares *shares, uint32_t number) {
    struct share *slot = &shares->slots[number];
    if (slot->spare > 0)
        message_unref_many(slot->message, slot->spare);
    *slot = (struct share){0};
    shares->used &= ~(UINT32_C(1) << number);
}

/* The message's slot; who had it before is settled. */
static struct share *slot_of(struct shares *shares, struct message *message) {
    uint32_t number = (uint32_t)((uintptr_t)message >> ADDRESS_SHIFT) % SHARES_SLOTS;
    struct share *slot = &shares->slots[number];
    if (slot->message != message) {
        settle(shares, number);
        slot->message = message;
        shares->used |= UINT32_C(1) << number;
    }
    return slot;
}

struct message *shares_take(struct shares *shares, struct message *message) {
    struct share *slot = slot_of(shares, message);
    if (slot->spare == 0) {
        message_ref_many(message, STOCK);
        slot->spare = STOCK;
    }
    slot->spare--;
    return message;
}

void shares_give(struct shares *shares, struct message *message) {
    slot_of(shares, message)->spare++;
}

void shares_settle(struct shares *shares) {
    for (uint32_t number = 0; shares->used != 0; number++)
        if (shares->used & UINT32_C(1) << number)
            settle(shares, number);
}
