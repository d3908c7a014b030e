/* slots.c -- objects by number. See slots.h. */
#include "base/slots.h"

#include "base/mem.h"
#include "base/memory_copy.h"

#include <stddef.h>

enum { SLOT_BITS = 24, FIRST_SIZE = 64 };

struct slot {
    void *item; /* NULL: free */
    uint32_t epoch;
    uint32_t next_free; /* counted from 1; 0: none */
};

static uint32_t slot_of(uint64_t number) {
    return (uint32_t)(number & ((1u << SLOT_BITS) - 1));
}

static uint32_t epoch_of(uint64_t number) {
    return (uint32_t)(number >> SLOT_BITS);
}

static void grow(struct slots *slots) {
    uint32_t size = slots->size == 0 ? FIRST_SIZE : slots->size * 2;
    if (size > SLOTS_MAX)
        size = SLOTS_MAX;
    slots->table = mem_realloc(slots->table, size * sizeof *slots->table);
    for (uint32_t i = size; i-- > slots->size;) {
        slots->table[i] = (struct slot){NULL, slots->first_epoch, slots->free};
        slots->free = i + 1;
    }
    slots->size = size;
}

uint64_t slots_add(struct slots *slots, void *item) {
    if (slots->free == 0) {
        if (slots->size == SLOTS_MAX)
            return 0;
        grow(slots);
    }
    uint32_t index = slots->free - 1;
    struct slot *slot = &slots->table[index];
    slots->free = slot->next_free;
    slots->count++;
    slot->item = item;
    slot->epoch++;
    return (uint64_t)slot->epoch << SLOT_BITS | index;
}

static struct slot *used_slot(const struct slots *slots, uint64_t number) {
    uint32_t index = slot_of(number);
    if (index >= slots->size)
        return NULL;
    struct slot *slot = &slots->table[index];
    return slot->item != NULL && slot->epoch == epoch_of(number) ? slot : NULL;
}

void *slots_find(const struct slots *slots, uint64_t number) {
    const struct slot *slot = used_slot(slots, number);
    return slot == NULL ? NULL : slot->item;
}

const void *slots_observe(const struct slots *slots, uint64_t number) {
    struct slots table;
    struct slot slot;
    return memory_copy(&table, slots, sizeof table) && slot_of(number) < table.size &&
                   memory_copy(&slot, memory_at(table.table, slot_of(number) * sizeof slot),
                               sizeof slot) &&
                   slot.epoch == epoch_of(number)
               ? slot.item
               : NULL;
}

void slots_remove(struct slots *slots, uint64_t number) {
    struct slot *slot = used_slot(slots, number);
    if (slot == NULL)
        return;
    slot->item = NULL;
    slots->count--;
    if (slot->epoch == UINT32_MAX)
        return; /* never used again: its numbers would repeat */
    slot->next_free = slots->free;
    slots->free = slot_of(number) + 1;
}

void *slots_next(const struct slots *slots, uint32_t *at) {
    while (*at < slots->size) {
        void *item = slots->table[(*at)++].item;
        if (item != NULL)
            return item;
    }
    return NULL;
}

void slots_close(struct slots *slots) {
    mem_free(slots->table);
    *slots = (struct slots){.first_epoch = slots->first_epoch};
}
