/* lua_memory.h -- the memory of a Lua state. See lua_memory.c. */
#ifndef TIDEWIRE_SCRIPT_VM_LUA_MEMORY_H
#define TIDEWIRE_SCRIPT_VM_LUA_MEMORY_H

#include <stddef.h>

enum { LUA_MEMORY_STEP = 16, LUA_MEMORY_LARGEST = 4096 };

struct lua_memory_block;

/* A member of struct vm. All zeros is an empty one. */
struct lua_memory {
    size_t kept; /* bytes in the lists */
    struct lua_memory_block *lists[LUA_MEMORY_LARGEST / LUA_MEMORY_STEP + 1];
};

/* A lua_Alloc; `user` is the struct lua_memory. */
void *lua_memory_alloc(void *user, void *block, size_t old_size, size_t size);
/* After lua_close(). */
void lua_memory_close(struct lua_memory *memory);

#endif
