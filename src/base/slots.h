/* slots.h -- objects by number; a number never identifies a second object.
 *
 * A number is a slot (24 bits) and the slot's epoch (32 bits): when another object uses the slot,
 * the old number finds nothing. A slot is used 2^32 - 1 times at most, so no number is given twice,
 * and numbers may be stored anywhere, for ever. Owns its table, not the objects. One thread at a
 * time. */
#ifndef TIDEWIRE_BASE_SLOTS_H
#define TIDEWIRE_BASE_SLOTS_H

#include <stdint.h>

enum { SLOTS_MAX = (1 << 24) - 1 };

/* All zeros is an empty table. */
struct slots {
    /* private; tests set the epoch that new slots have before their first use */
    uint32_t first_epoch;
    struct slot *table;
    uint32_t size, free, count;
};

/* The item's number, from 2^24 to 2^56 - 1; 0 when none of SLOTS_MAX slots is free. `item` must not
 * be NULL. */
uint64_t slots_add(struct slots *slots, void *item);

/* The item of a number, or NULL. Ignores bits above 2^56. */
void *slots_find(const struct slots *slots, uint64_t number);

/* The same on another thread than the table's, by copies (memory_copy.h). What it returns is right
 * if the table's thread has stood still meanwhile. */
const void *slots_observe(const struct slots *slots, uint64_t number);

/* Removes the item of a number that is in use. */
void slots_remove(struct slots *slots, uint64_t number);

static inline uint32_t slots_count(const struct slots *slots) {
    return slots->count;
}

/* Walks all items: start with *at = 0; NULL at the end. Items may be removed meanwhile. */
void *slots_next(const struct slots *slots, uint32_t *at);

/* Frees the table. */
void slots_close(struct slots *slots);

#endif
