/* bind_task.c -- tidewire.core: waiting. Coroutines are known to Lua by an integer.
 *
 * async.lua makes tw.sleep and its kin of these. */
#include "script/vm/vm_internal.h"

/* core.task() -> the running hook's integer | nil, why it cannot wait */
static int core_task(lua_State *L) {
    struct vm *vm = vm_of(L);
    if (vm_must_return(vm)) {
        luaL_pushfail(L);
        lua_pushliteral(L, "validate must answer at once; do the slow part in on_start");
        return 2;
    }
    if (vm_current(vm) == NULL) {
        luaL_pushfail(L);
        lua_pushliteral(L, "nothing here can wait (a callback of luv's); use tw.spawn");
        return 2;
    }
    lua_pushinteger(L, (lua_Integer)vm_task_number(vm_current(vm)));
    return 1;
}

/* core.wake(task) -> boolean: is there one? It goes on at the end of the loop's turn. */
static int core_wake(lua_State *L) {
    lua_pushboolean(L, vm_wake(vm_of(L), (uint64_t)luaL_checkinteger(L, 1)));
    return 1;
}

/* core.spawn(f, ...): runs f(...) on a coroutine of its own at the end of the loop's turn. */
static int core_spawn(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    vm_spawn(vm_of(L), L, lua_gettop(L) - 1);
    return 0;
}

const luaL_Reg bind_task_functions[] = {
    {"task", core_task},
    {"wake", core_wake},
    {"spawn", core_spawn},
    {NULL, NULL},
};
