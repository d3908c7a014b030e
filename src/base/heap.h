/* heap.h -- deadlines in order: which comes first?
 *
 * A binary min-heap of nodes that live inside their owners, so that a hundred thousand heartbeats
 * and timeouts share one timer of the loop. Owns only its table of pointers, never the nodes; the
 * keys may be any number (milliseconds, as a rule). Used on one thread; knows no clock. */
#ifndef TIDEWIRE_BASE_HEAP_H
#define TIDEWIRE_BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Embed one per deadline. All zeros is a node that is in no heap. */
struct heap_node {
    /* For reading only: */
    uint64_t key;
    uint32_t index; /* place in the table, counted from 1; 0 = in no heap */
};

/* All zeros is an empty heap, ready for use. */
struct heap {
    /* For reading only: */
    uint32_t count;
    /* Only for heap.c: */
    uint32_t capacity;
    struct heap_entry *entries;
};

/* The owner of a node: HEAP_OWNER(node, struct conn, deadline). */
#define HEAP_OWNER(node, type, member) ((type *)(((char *)(node)) - offsetof(type, member)))

/* Frees the table and leaves an empty heap. The nodes still in it stay their owners', and may not
 * be removed from this heap afterwards: take them out before, or forget them with it. */
void heap_close(struct heap *heap);

/* Puts the node in with this key; one that is in this heap already moves to the new key.
 * The node must stay where it is in memory until it is taken out. O(log n). */
void heap_set(struct heap *heap, struct heap_node *node, uint64_t key);

/* Takes the node out. Does nothing for a node that is in no heap. O(log n). */
void heap_remove(struct heap *heap, struct heap_node *node);

/* The node with the smallest key, which stays in; NULL when the heap is empty. Which one of
 * several with the same key is not defined. O(1). */
struct heap_node *heap_peek(const struct heap *heap);

/* Is the node in a heap? */
static inline bool heap_contains(const struct heap_node *node) {
    return node->index != 0;
}

#endif
