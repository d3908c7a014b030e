/* lua_memory.h -- the memory of a Lua state: its blocks and their limit. See lua_memory.c. */
#ifndef TIDEWIRE_SCRIPT_VM_LUA_MEMORY_H
#define TIDEWIRE_SCRIPT_VM_LUA_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LUA_MEMORY_STEP = 16, LUA_MEMORY_LARGEST = 4096 };

struct lua_memory_block;

/* A member of struct vm. All zeros, and then lua_memory_set_limit(). */
struct lua_memory {
    size_t taken; /* bytes of malloc's blocks: those that Lua has, and those in the lists */
    size_t limit; /* SIZE_MAX: none */
    size_t bound; /* the limit, or less for code that may not have all of it */
    size_t mark;  /* may_grow() decides about allocations beyond it; see there */
    /* The limit of the code that runs now, SIZE_MAX: none. Called for an allocation beyond `mark`
     * only. NULL: as SIZE_MAX. */
    size_t (*limit_now)(void *user);
    /* There is not much left: Lua shall collect its garbage, but not within this call. Called again
     * when half of the rest is used up. NULL: none. */
    void (*collect_soon)(void *user);
    /* The stack of a coroutine has grown to Lua's limit, or has another size again. NULL: none. */
    void (*on_full_stack)(void *user, bool is_full);
    void *user;
    bool refused;              /* an allocation has failed since the caller has cleared this */
    bool has_refused;          /* may_grow() has, the last time */
    bool refused_by_system;    /* malloc has failed, and not the limit */
    size_t refused_bytes;      /* the size of that block, */
    size_t refused_used;       /* what Lua had then, */
    const void *refused_block; /* and the block that was to grow */
    size_t kept;               /* bytes in the lists */
    struct lua_memory_block *lists[LUA_MEMORY_LARGEST / LUA_MEMORY_STEP + 1];
};

/* SIZE_MAX: none. */
void lua_memory_set_limit(struct lua_memory *memory, size_t bytes);
/* The code that runs now may have so many bytes, no more than the limit. */
void lua_memory_set_bound(struct lua_memory *memory, size_t bytes);
/* A lua_Alloc; `user` is the struct lua_memory. */
void *lua_memory_alloc(void *user, void *block, size_t old_size, size_t size);
/* The bytes that Lua has, garbage included. */
size_t lua_memory_used(const struct lua_memory *memory);
/* Notes that so many bytes were wanted and are refused. */
void lua_memory_note_refusal(struct lua_memory *memory, size_t size, bool by_system);
/* Frees the blocks in the lists. */
void lua_memory_trim(struct lua_memory *memory);
/* After lua_close(). */
void lua_memory_close(struct lua_memory *memory);

#endif
