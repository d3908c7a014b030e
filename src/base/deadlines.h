/* deadlines.h -- deadlines in order, the earliest first.
 *
 * A binary min-heap, so that a hundred thousand heartbeats and timeouts share one timer of the
 * loop. Each owner embeds its deadline; the heap owns only its table of pointers. A key may be any
 * number, mostly milliseconds. Used on one thread; knows no clock. */
#ifndef TIDEWIRE_BASE_DEADLINES_H
#define TIDEWIRE_BASE_DEADLINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A node of the heap. All zeros is a node that is in no heap. */
struct deadline {
    /* For reading only: */
    uint64_t key;
    uint32_t index; /* place in the table, counted from 1; 0 = in no heap */
};

/* All zeros is an empty heap, ready for use. */
struct deadlines {
    /* For reading only: */
    uint32_t count;
    /* Only for deadlines.c: */
    uint32_t capacity;
    struct deadlines_entry *entries;
};

/* The owner of a node: DEADLINE_OWNER(node, struct conn, deadline). */
#define DEADLINE_OWNER(node, type, member) ((type *)(((char *)(node)) - offsetof(type, member)))

/* Frees the table and leaves an empty heap. Nodes that are still in it must not be removed
 * afterwards: remove them before, or free them with the heap. */
void deadlines_close(struct deadlines *heap);

/* Adds the node with this key; a node that is in this heap already gets the new key. The node's
 * address must not change until it is removed. O(log n). */
void deadlines_set(struct deadlines *heap, struct deadline *node, uint64_t key);

/* Removes the node. Does nothing for a node that is in no heap. O(log n). */
void deadlines_remove(struct deadlines *heap, struct deadline *node);

/* The node with the smallest key, which stays in the heap; NULL when the heap is empty. Of several
 * with the same key it is any. O(1). */
struct deadline *deadlines_peek(const struct deadlines *heap);

/* Is the node in a heap? */
static inline bool deadlines_contains(const struct deadline *node) {
    return node->index != 0;
}

#endif
