/* lua_memory.c -- the memory of a Lua state: malloc's, but for small blocks that Lua frees.
 *
 * These stay in lists, one for each size that malloc has, and are allocated from there. Every
 * message makes garbage, and the collector frees thousands of objects at once: more than malloc
 * has at hand, which merges and splits them again. Lua tells the size of a block, so blocks need
 * no header. A limit of a state's memory belongs here. One state, on its thread. */
#include "script/vm/lua_memory.h"

#include <stdlib.h>
#include <string.h>

/* Most bytes in the lists: several times what one collection frees where there are not very many
 * connections. */
enum { MOST_KEPT = 4 * 1024 * 1024 };

/* A sanitizer finds the use of a block that was freed only if malloc knows of it. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { LARGEST = 0 };
#else
enum { LARGEST = LUA_MEMORY_LARGEST };
#endif

struct lua_memory_block {
    struct lua_memory_block *next;
};

/* Malloc's header of a block. The room of a block is a multiple of the step less this: one byte
 * more would take another step. */
enum { HEADER = 8 };

/* The number of whole steps in the room: all blocks of a list have the same. */
static size_t steps_of(size_t size) {
    return (size + LUA_MEMORY_STEP - 1 - HEADER) / LUA_MEMORY_STEP;
}

static size_t room_of(size_t steps) {
    return steps * LUA_MEMORY_STEP + HEADER;
}

static void *take(struct lua_memory *memory, size_t size) {
    if (size > LARGEST)
        return malloc(size);
    size_t steps = steps_of(size);
    struct lua_memory_block *block = memory->lists[steps];
    if (block == NULL)
        return malloc(room_of(steps));
    memory->lists[steps] = block->next;
    memory->kept -= room_of(steps);
    return block;
}

static void give(struct lua_memory *memory, void *block, size_t size) {
    if (block == NULL || size > LARGEST || memory->kept >= MOST_KEPT) {
        free(block);
        return;
    }
    size_t steps = steps_of(size);
    struct lua_memory_block *first = block;
    first->next = memory->lists[steps];
    memory->lists[steps] = first;
    memory->kept += room_of(steps);
}

/* A block of another size with the same bytes. NULL: there is no memory, and the old block is as it
 * was. */
static void *resize(struct lua_memory *memory, void *block, size_t old_size, size_t size) {
    if (old_size > LARGEST && size > LARGEST)
        return realloc(block, size);
    if (old_size <= LARGEST && size <= LARGEST && steps_of(old_size) == steps_of(size))
        return block;
    void *other = take(memory, size);
    if (other == NULL)
        return size < old_size ? block : NULL; /* Lua relies on it that a block can shrink */
    memcpy(other, block, old_size < size ? old_size : size);
    give(memory, block, old_size);
    return other;
}

void *lua_memory_alloc(void *user, void *block, size_t old_size, size_t size) {
    struct lua_memory *memory = user;
    if (size == 0) {
        give(memory, block, old_size);
        return NULL;
    }
    return block == NULL ? take(memory, size) : resize(memory, block, old_size, size);
}

void lua_memory_close(struct lua_memory *memory) {
    for (size_t steps = 0; steps <= steps_of(LUA_MEMORY_LARGEST); steps++)
        for (struct lua_memory_block *block; (block = memory->lists[steps]) != NULL;) {
            memory->lists[steps] = block->next;
            free(block);
        }
    memory->kept = 0;
}
