/* deadlines.c -- deadlines in order. See deadlines.h.
 *
 * The table has a copy of each key beside its pointer, so the search for a place reads the table
 * only, and touches the memory of owners whose nodes move only. Entry 0 is unused: with the root at
 * 1, the parent of i is i / 2 and its children are 2i and 2i + 1. */
#include "base/deadlines.h"

#include "base/mem.h"

#include <assert.h>
#include <stddef.h>

enum { SMALLEST_CAPACITY = 64 };

struct deadlines_entry {
    uint64_t key;
    struct deadline *node;
};

static void place(struct deadlines *heap, uint32_t i, struct deadlines_entry entry) {
    heap->entries[i] = entry;
    entry.node->index = i;
}

/* Finds the place of `entry` from the hole at `i` towards the root. */
static void sift_up(struct deadlines *heap, uint32_t i, struct deadlines_entry entry) {
    while (i > 1 && heap->entries[i / 2].key > entry.key) {
        place(heap, i, heap->entries[i / 2]);
        i /= 2;
    }
    place(heap, i, entry);
}

/* Finds the place of `entry` from the hole at `i` towards the leaves. */
static void sift_down(struct deadlines *heap, uint32_t i, struct deadlines_entry entry) {
    for (;;) {
        uint32_t child = 2 * i;
        if (child > heap->count)
            break;
        if (child < heap->count && heap->entries[child + 1].key < heap->entries[child].key)
            child++;
        if (heap->entries[child].key >= entry.key)
            break;
        place(heap, i, heap->entries[child]);
        i = child;
    }
    place(heap, i, entry);
}

/* Fills the hole at `i` with `entry`, which may belong above or below it. */
static void sift(struct deadlines *heap, uint32_t i, struct deadlines_entry entry) {
    if (i > 1 && heap->entries[i / 2].key > entry.key)
        sift_up(heap, i, entry);
    else
        sift_down(heap, i, entry);
}

static void resize(struct deadlines *heap, uint32_t capacity) {
    heap->entries = mem_realloc(heap->entries, ((size_t)capacity + 1) * sizeof(*heap->entries));
    heap->capacity = capacity;
}

void deadlines_close(struct deadlines *heap) {
    mem_free(heap->entries);
    *heap = (struct deadlines){0};
}

void deadlines_set(struct deadlines *heap, struct deadline *node, uint64_t key) {
    node->key = key;
    if (node->index != 0) {
        assert(node->index <= heap->count && heap->entries[node->index].node == node);
        sift(heap, node->index, (struct deadlines_entry){key, node});
        return;
    }
    if (heap->count == heap->capacity) {
        assert(heap->capacity <= UINT32_MAX / 4); /* 2i + 1 must not overflow */
        resize(heap, heap->capacity == 0 ? SMALLEST_CAPACITY : heap->capacity * 2);
    }
    heap->count++;
    sift_up(heap, heap->count, (struct deadlines_entry){key, node});
}

void deadlines_remove(struct deadlines *heap, struct deadline *node) {
    uint32_t i = node->index;
    if (i == 0)
        return;
    assert(i <= heap->count && heap->entries[i].node == node);
    node->index = 0;
    struct deadlines_entry last = heap->entries[heap->count];
    heap->count--;
    if (last.node != node)
        sift(heap, i, last);
    /* Shrinks at a quarter, grows at full: no sequence of calls makes it alternate. */
    if (heap->capacity > SMALLEST_CAPACITY && heap->count < heap->capacity / 4)
        resize(heap, heap->capacity / 2);
}

struct deadline *deadlines_peek(const struct deadlines *heap) {
    return heap->count == 0 ? NULL : heap->entries[1].node;
}
