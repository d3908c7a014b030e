/* ref_cache.c -- spare references to messages. See ref_cache.h. */
#include "core/frames/ref_cache.h"

/* References taken by one atomic operation. */
enum { BATCH = 64 };

/* Two messages seldom begin within so many bytes of each other. */
enum { ADDRESS_SHIFT = 6 };

/* Drops the slot's spare references. */
static void release_slot(struct ref_cache *ref_cache, uint32_t number) {
    struct ref_slot *slot = &ref_cache->slots[number];
    if (slot->spare > 0)
        message_unref_many(slot->message, slot->spare);
    *slot = (struct ref_slot){0};
    ref_cache->used &= ~(UINT32_C(1) << number);
}

/* The message's slot; drops the references to another message that had it. */
static struct ref_slot *slot_of(struct ref_cache *ref_cache, struct message *message) {
    uint32_t number = (uint32_t)((uintptr_t)message >> ADDRESS_SHIFT) % REF_CACHE_SLOTS;
    struct ref_slot *slot = &ref_cache->slots[number];
    if (slot->message != message) {
        release_slot(ref_cache, number);
        slot->message = message;
        ref_cache->used |= UINT32_C(1) << number;
    }
    return slot;
}

struct message *ref_cache_take(struct ref_cache *ref_cache, struct message *message) {
    struct ref_slot *slot = slot_of(ref_cache, message);
    if (slot->spare == 0) {
        message_ref_many(message, BATCH);
        slot->spare = BATCH;
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
            release_slot(ref_cache, number);
}
