/* vm_thread.c -- the Lua state of a pool's thread. See vm_thread.h.
 *
 * It is a struct vm without a hub, so that the budget and the memory limit of hooks work in it. All
 * calls have no task. */
#include "script/vm/vm_thread.h"

#include "base/log/log.h"
#include "base/mem.h"
#include "core/bus/stats.h"
#include "script/json/json_c.h"
#include "script/vm/library.h"
#include "script/vm/vm_internal.h"

/* vm_thread.c's part of a state. */
struct vm_thread {
    struct stats stats; /* not shown: pools count their calls themselves */
    const char *name;
    size_t collect_at; /* bytes from which vm_thread_collect() collects */
};

/* A call that leaves more garbage than this is followed by a collection, when the thread has time.
 */
enum { GARBAGE = 1024 * 1024 };

/* A state that keeps all but this part of its memory, after an allocation has failed, is of little
 * use any more. */
enum { FULL_PART = 4 };

/* ---- life ---- */

/* Leaves the value of the module, whose name is the argument. */
static int open_library(lua_State *L) {
    vm_open_library(L, vm_of(L)->options.bindings->open_thread);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushcfunction(L, luaopen_tidewire_json_c);
    lua_setfield(L, -2, "tidewire.json_c");
    lua_pop(L, 1);
    library_keep_globals(L);
    lua_getglobal(L, "require");
    lua_pushvalue(L, 1);
    lua_call(L, 1, 1);
    return 1;
}

struct vm *vm_thread_new(const struct vm_thread_options *options, const char *module) {
    struct vm *vm = mem_zalloc(sizeof *vm);
    vm->thread = mem_zalloc(sizeof *vm->thread);
    vm->thread->name = options->name;
    vm->thread->collect_at = GARBAGE;
    vm->stats = &vm->thread->stats;
    vm->options.bindings = options->bindings;
    vm_memory_init(vm);
    lua_memory_set_limit(&vm->memory.blocks, options->memory);
    vm_make_state(vm);
    lua_pushcfunction(vm->L, open_library);
    lua_pushstring(vm->L, module);
    if (lua_pcall(vm->L, 1, 1, 0) == LUA_OK)
        return vm;
    log_event(LOG_ERROR, "internal_error", lua_tostring(vm->L, -1));
    vm_thread_free(vm);
    return NULL;
}

void vm_thread_free(struct vm *vm) {
    if (vm == NULL)
        return;
    lua_close(vm->L);
    budget_free(vm);
    lua_memory_close(&vm->memory.blocks);
    mem_free(vm->thread);
    mem_free(vm);
}

lua_State *vm_thread_state(struct vm *vm) {
    return vm->L;
}

const char *vm_thread_name(const struct vm *vm) {
    return vm->thread == NULL ? NULL : vm->thread->name;
}

/* ---- calls ---- */

void vm_thread_prepare(struct vm *vm) {
    atomic_store(&vm->budget.must_end, false);
}

void vm_thread_interrupt(struct vm *vm) {
    atomic_store(&vm->budget.must_end, true);
}

enum vm_thread_result vm_thread_call(struct vm *vm, int arguments, int handler, double seconds,
                                     struct overrun *overrun) {
    lua_State *L = vm->L;
    int below = lua_gettop(L) - arguments - 1;
    budget_set(vm, seconds, seconds);
    lua_State *outer = budget_enter(&vm->budget, L);
    int status = lua_pcall(L, arguments, LUA_MULTRET, handler);
    budget_leave(&vm->budget, outer);
    if (budget_is_over(&vm->budget)) {
        lua_settop(L, below);
        budget_end(vm, NULL, overrun);
        return VM_THREAD_OVERRUN;
    }
    if (budget_is_late(&vm->budget))
        budget_log_late(vm, "pool", 0);
    if (status == LUA_OK)
        return VM_THREAD_RETURNED;
    if (!vm_memory_is_error(L, status) && status != LUA_ERRERR)
        return VM_THREAD_FAILED;
    lua_settop(L, below);
    if (status == LUA_ERRERR) {
        lua_pushliteral(L, "an error in the handling of an error");
        return vm->memory.blocks.refused ? VM_THREAD_NO_MEMORY : VM_THREAD_FAILED;
    }
    vm_memory_count_error(vm);
    vm_memory_push_message(L);
    return VM_THREAD_NO_MEMORY;
}

bool vm_thread_collect(struct vm *vm, bool always) {
    struct lua_memory *blocks = &vm->memory.blocks;
    if (!always && !blocks->refused && blocks->taken < vm->thread->collect_at)
        return false;
    bool was_refused = blocks->refused;
    blocks->refused = false;
    lua_gc(vm->L, LUA_GCCOLLECT);
    lua_memory_trim(blocks);
    vm->thread->collect_at = 2 * lua_memory_used(blocks) + GARBAGE;
    return was_refused && lua_memory_used(blocks) > blocks->limit - blocks->limit / FULL_PART;
}
