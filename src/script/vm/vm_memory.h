/* vm_memory.h -- the limit of a state's memory, for the other files of script/. See
 * vm_memory.c. */
#ifndef TIDEWIRE_SCRIPT_VM_VM_MEMORY_H
#define TIDEWIRE_SCRIPT_VM_VM_MEMORY_H

#include "script/vm/lua_memory.h"

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct task;
struct vm;

/* vm_memory.c's member of struct vm. */
struct vm_memory {
    struct lua_memory blocks;
    bool exempt;           /* no allocation may fail now: nothing protects the code that runs */
    bool is_full;          /* the last collection after an error has left hardly anything free */
    bool is_stopped;       /* the collector, while a run has a full stack */
    bool is_chosen;        /* the collector's mode, by a script: it stays */
    int minor_percent;     /* the growth after which the collector visits young objects */
    uint64_t refuse_until; /* monotonic time: until then runs are refused; 0: none is */
    uint64_t lasting_next; /* monotonic time of the next collection for tasks and timers */
    uint64_t relieve_next; /* monotonic time of the next collection because malloc fails */
    uint64_t warned_ns;    /* monotonic time of the last line "memory_full"; 0: there was none */
};

void vm_memory_init(struct vm *vm);
/* Limits the scripts to so many bytes, from the next allocation on. */
void vm_memory_set_limit(struct vm *vm, size_t bytes);
/* Any thread: the limit that a state of the process has got last. SIZE_MAX: none. */
size_t vm_memory_newest_limit(void);

/* Exempts the code between two calls from the limit, where an error of Lua would end the process:
 *     bool outer = vm_memory_exempt(vm, true);
 *     ...
 *     vm_memory_exempt(vm, outer); */
bool vm_memory_exempt(struct vm *vm, bool exempt);

/* A slice of a reload begins or ends: the new code may not have all memory, because hooks of the
 * old code run between the slices. */
void vm_memory_limit_load(struct vm *vm, bool on);

/* Raises an error of memory, unless the running script may start a task, a timer, a watch of a
 * room or a handle of luv, which stays when the hook ends: a part of the limit is left for hooks.
 */
void vm_memory_check_lasting(lua_State *L);

/* Raises an error of memory, unless C can allocate so many bytes, whose number a script decides. */
void vm_memory_check_block(lua_State *L, size_t size);

/* Raises an error of memory, unless the scripts may have so many bytes outside of Lua, together
 * with those that Lua has. */
void vm_memory_check_outside(lua_State *L, size_t bytes);

/* Is there room for a large string that C pushes for a run? If not, the caller fails the run. */
bool vm_memory_has_room(struct vm *vm, size_t size);

/* While `refuse_until` is not 0, before a run: shall it fail at once? */
bool vm_memory_refuses_run(struct vm *vm, const struct task *task);

/* A script chooses the collector's mode, which stays from now on. */
void vm_memory_keep_collector(struct vm *vm);

/* At the end of each turn of the loop. */
void vm_memory_turn(struct vm *vm);

/* Is the error on top of the coroutine one of memory? `status` is that of lua_resume. */
bool vm_memory_is_error(lua_State *co, int status);
/* Pushes a sentence about the last allocation that has failed. */
void vm_memory_push_message(lua_State *L);
void vm_memory_count_error(struct vm *vm);

#endif
