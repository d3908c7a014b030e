/* lua_memory.c -- the memory of a Lua state: malloc's, but for small blocks that Lua frees.
 *
 * These stay in lists, one for each size that malloc has, and are allocated from there. Every
 * message makes garbage, and the collector frees thousands of objects at once: more than malloc
 * has at hand, which merges and splits them again. Lua tells the size of a block, so blocks need
 * no header.
 *
 * The bytes that malloc has given are counted, and those in the lists: a block from a list costs no
 * more than without a limit. An allocation beyond the limit fails: Lua collects its garbage and
 * asks once more, and then raises an error. The buffers of C functions (luaL_Buffer: string.rep,
 * table.concat) raise it at once, so Lua collects garbage before. Code that no lua_pcall
 * or lua_resume protects has no limit (vm_memory.c): Lua would end the process. One state, on its
 * thread. */
#include "script/vm/lua_memory.h"

#include "base/mem.h"

#include <lua.h>
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

/* ---- the limit ---- */

/* A collection has to free this part of the limit, or the allocation that has caused it fails: else
 * a script that has used up its memory would cause one collection after the other. */
enum { MARGIN_PART = 32 };

/* Garbage is collected early where less than this part of the bound is free. */
enum { EARLY_PART = 8 };

/* Where garbage is collected next: when half of what is free now is used up, so that there are few
 * collections; beyond the bound, where hardly anything is free. */
static size_t next_mark(const struct lua_memory *memory) {
    size_t bound = memory->bound, early = bound - bound / EARLY_PART;
    if (memory->taken >= bound || bound - memory->taken < memory->limit / MARGIN_PART)
        return bound;
    size_t half = memory->taken + (bound - memory->taken) / 2;
    return half < early ? early : half;
}

/* Malloc has less blocks to count. */
static void take_off(struct lua_memory *memory, size_t bytes) {
    memory->taken -= bytes;
    size_t next = next_mark(memory);
    if (next < memory->mark)
        memory->mark = next;
}

void lua_memory_set_bound(struct lua_memory *memory, size_t bytes) {
    memory->bound = bytes;
    memory->mark = next_mark(memory);
}

void lua_memory_set_limit(struct lua_memory *memory, size_t bytes) {
    memory->limit = bytes;
    lua_memory_set_bound(memory, bytes);
}

static size_t limit_now(const struct lua_memory *memory) {
    return memory->limit_now == NULL ? SIZE_MAX : memory->limit_now(memory->user);
}

void lua_memory_note_refusal(struct lua_memory *memory, size_t size, bool by_system) {
    memory->refused = true;
    memory->refused_by_system = by_system;
    memory->refused_bytes = size;
    memory->refused_used = lua_memory_used(memory);
}

/* May malloc give so many bytes more, in place of the block? Asked beyond the mark. After a
 * refusal, the limit is lower for the same allocation: Lua has collected garbage, and wants it once
 * more. */
static __attribute__((noinline)) bool may_grow(struct lua_memory *memory, const void *block,
                                               size_t size, size_t more) {
    size_t limit = limit_now(memory), allowed = limit;
    bool has_collected = memory->has_refused;
    if (has_collected && limit == memory->bound && size == memory->refused_bytes &&
        block == memory->refused_block)
        allowed -= memory->limit / MARGIN_PART;
    lua_memory_trim(memory);
    size_t wanted = memory->taken + more;
    memory->has_refused = wanted > allowed;
    if (memory->has_refused) {
        lua_memory_note_refusal(memory, size, false);
        memory->refused_block = block;
        memory->mark = memory->bound - memory->limit / MARGIN_PART;
        return false;
    }
    if (wanted <= memory->mark)
        return true;
    memory->mark = next_mark(memory);
    if (!has_collected && wanted <= memory->bound && memory->collect_soon != NULL)
        memory->collect_soon(memory->user);
    return true;
}

/* Malloc has failed. Code that Lua does not protect gets the block all the same, or the process
 * ends. */
static __attribute__((noinline)) void *rescue(struct lua_memory *memory, void *block, size_t size) {
    lua_memory_trim(memory);
    void *other = realloc(block, size);
    if (other != NULL)
        return other;
    if (limit_now(memory) == SIZE_MAX)
        return mem_realloc(block, size);
    lua_memory_note_refusal(memory, size, true);
    return NULL;
}

/* ---- full stacks ---- */

/* The bytes of a coroutine's stack that has grown to Lua's limit, and of one in which Lua handles
 * the overflow, with 200 slots more: a slot has 16 bytes, and Lua adds 5 of them. */
enum { FULL_STACK = (LUAI_MAXSTACK + 5) * 16, OVERFLOWN_STACK = FULL_STACK + 200 * 16 };

static bool is_full_stack(size_t size) {
    return size == FULL_STACK || size == OVERFLOWN_STACK;
}

static void note_stack(const struct lua_memory *memory, size_t old_size, size_t size) {
    if (memory->on_full_stack != NULL && is_full_stack(old_size) != is_full_stack(size))
        memory->on_full_stack(memory->user, is_full_stack(size));
}

/* ---- blocks ---- */

/* Small blocks, which come from the lists and go there, need no stack: what is rare is not
 * inlined. */
#define RARE __attribute__((noinline))

/* A block of malloc's, in place of one of `old_size` bytes or of NULL. */
static RARE void *grab(struct lua_memory *memory, void *block, size_t old_size, size_t size) {
    if (size > old_size && memory->taken - old_size + size > memory->mark &&
        !may_grow(memory, block, size, size - old_size))
        return NULL;
    void *other = block == NULL ? malloc(size) : realloc(block, size);
    if (other == NULL)
        other = rescue(memory, block, size);
    if (other != NULL)
        memory->taken += size - old_size;
    return other;
}

static RARE void *take_large(struct lua_memory *memory, size_t size) {
    void *large = grab(memory, NULL, 0, size);
    if (large != NULL)
        note_stack(memory, 0, size);
    return large;
}

static void *take(struct lua_memory *memory, size_t size) {
    if (size > LARGEST)
        return take_large(memory, size);
    size_t steps = steps_of(size);
    struct lua_memory_block *block = memory->lists[steps];
    if (block == NULL)
        return grab(memory, NULL, 0, room_of(steps));
    memory->lists[steps] = block->next;
    memory->kept -= room_of(steps);
    return block;
}

/* The bytes of a block that malloc has given. */
static size_t room_for(size_t size) {
    return size > LARGEST ? size : room_of(steps_of(size));
}

static RARE void give_back(struct lua_memory *memory, void *block, size_t size) {
    take_off(memory, room_for(size));
    free(block);
    note_stack(memory, size, 0);
}

static void give(struct lua_memory *memory, void *block, size_t size) {
    if (block == NULL)
        return;
    if (size > LARGEST || memory->kept >= MOST_KEPT) {
        give_back(memory, block, size);
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
static RARE void *resize(struct lua_memory *memory, void *block, size_t old_size, size_t size) {
    if (old_size > LARGEST && size > LARGEST) {
        void *other = grab(memory, block, old_size, size);
        if (other != NULL)
            note_stack(memory, old_size, size);
        return other == NULL && size < old_size ? block : other;
    }
    if (old_size <= LARGEST && size <= LARGEST && steps_of(old_size) == steps_of(size))
        return block;
    void *other = take(memory, size);
    if (other == NULL && size < old_size) { /* Lua relies on it that a block can shrink */
        memory->taken -= room_for(old_size) - room_for(size);
        return block;
    }
    if (other == NULL)
        return NULL;
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

size_t lua_memory_used(const struct lua_memory *memory) {
    return memory->taken - memory->kept;
}

void lua_memory_trim(struct lua_memory *memory) {
    for (size_t steps = 0; steps <= steps_of(LUA_MEMORY_LARGEST); steps++)
        for (struct lua_memory_block *block; (block = memory->lists[steps]) != NULL;) {
            memory->lists[steps] = block->next;
            free(block);
        }
    take_off(memory, memory->kept);
    memory->kept = 0;
}

void lua_memory_close(struct lua_memory *memory) {
    lua_memory_trim(memory);
}
