/* ref_cache.c -- references to messages, taken and given back by the dozen. See ref_cache.h. */
#include "core/frames/ref_cache.h"

/* Taken at once: one atomic operation for so many queues. */
enum { STOCK = 64 };

/* Two messages seldom begin within so many bytes of each other. */
enum { ADDRESS_SHIFT = 6 };

static void settle(struct ref_cache *ref_cache, uint32_t number) {
    struct share *slot = &ref_cache->slots[number];
    if (slot->spare > 0)
        message_unref_many(slot->message, slot->spare);
    *slot = (struct share){0};
    ref_cache->used &= ~(UINT32_C(1) << number);
}

/* The message's slot; who had it before is settled. */
static struct share *slot_of(struct ref_cache *ref_cache, struct message *message) {
    uint32_t number = (uint32_t)((uintptr_t)message >> ADDRESS_SHIFT) % REF_CACHE_SLOTS;
    struct share *slot = &ref_cache->slots[number];
    if (slot->message != message) {
        settle(ref_cache, number);
        slot->message = message;
        ref_cache->used |= UINT32_C(1) << number;
    }
    return slot;
}

struct message *ref_cache_take(struct ref_cache *ref_cache, struct message *message) {
    struct share *slot = slot_of(ref_cache, message);
    if (slot->spare == 0) {
        message_ref_many(message, STOCK);
        slot->spare = STOCK;
    }
    slot->spare--;
    return message;
}

void ref_cache_release(struct ref_cache *ref_cache, struct message *message) {
    slot_of(ref_cache, message)->spare++;
}

void ref_cache_flush(struct ref_cache *ref_cache) {
    for (uint32_t number = 0; ref_cache->used != 0; number++)
        if (ref_cache->used & UINT32_C(1) << number)
            settle(ref_cache, number);
}
