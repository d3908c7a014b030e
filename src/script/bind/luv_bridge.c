/* luv_bridge.c -- `require "luv"` on the worker's own loop.
 *
 * luv's answer to an error in a callback is to end the process; ours is a log line. What scripts
 * leave open is closed before the Lua state is: luv's callbacks would still use it. */
#include "script/bind/luv_bridge.h"

#include "script/vm/vm_internal.h"

#include "base/log/log.h"

#include <luv/luv.h>

/* The callback was over its time. Leaves the stack as it was below it. */
static int end_overrun(lua_State *L, int handler) {
    struct vm *vm = vm_of(L);
    struct overrun overrun;
    lua_settop(L, handler - 1);
    budget_end(vm, NULL, &overrun);
    overrun_log(vm, &overrun, "luv callback", 0);
    overrun_free(&overrun);
    return -LUA_ERRRUN;
}

/* Adds to the text of the error on top what was meant, as errors.lua does for hooks
 * (missing.lua). */
static void explain(lua_State *L) {
    int top = lua_gettop(L);
    if (!lua_istable(L, top))
        return;
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_getfield(L, -1, "tidewire.base.missing");
    if (lua_istable(L, -1) && lua_getfield(L, -1, "explain") == LUA_TFUNCTION) {
        lua_rawgeti(L, top, 1);
        if (lua_pcall(L, 1, 1, 0) == LUA_OK)
            lua_rawseti(L, top, 1);
    }
    lua_settop(L, top);
}

/* luv's protected call: like lua_pcall, but answers the number of results, or minus a status. */
static int on_luv_callback(lua_State *L, int arguments, int results, int flags) {
    (void)flags;
    struct budget *budget = &vm_of(L)->budget;
    int handler = lua_gettop(L) - arguments;
    luv_push_handler(L);
    lua_insert(L, handler);
    lua_State *outer = budget_enter(budget, L);
    int status = lua_pcall(L, arguments, results, handler);
    budget_leave(budget, outer);
    if (outer == NULL && budget_is_over(budget))
        return end_overrun(L, handler);
    if (outer == NULL && budget_is_late(budget))
        budget_tell_late(vm_of(L), "luv callback", 0);
    if (status != LUA_OK) {
        explain(L);
        luv_log_error(L, "luv callback");
        stats_add(&hub_stats(vm_of(L)->hub)->script_errors, 1);
        lua_remove(L, handler);
        return -status;
    }
    lua_remove(L, handler);
    return results == LUA_MULTRET ? lua_gettop(L) - handler + 1 : results;
}

/* Collects luv's handles into the table on top. luv keeps each that is not closed in the registry,
 * and there, too, the set of their metatables: its own checks look at a userdata before they know
 * it. */
static lua_Integer collect_handles(lua_State *L) {
    lua_Integer count = 0;
    int handles = lua_gettop(L), metatables = handles + 1;
    if (lua_getfield(L, LUA_REGISTRYINDEX, "uv_handle") != LUA_TTABLE)
        return 0;
    for (lua_pushnil(L); lua_next(L, LUA_REGISTRYINDEX); lua_settop(L, metatables + 1)) {
        if (lua_type(L, -1) != LUA_TUSERDATA || !lua_getmetatable(L, -1))
            continue; /* key, value */
        lua_rawget(L, metatables);
        if (lua_toboolean(L, -1)) { /* key, value, true */
            lua_pushvalue(L, -2);
            lua_rawseti(L, handles, ++count);
        }
    }
    return count;
}

/* Closes every handle of luv's that is open. Upvalues: luv's is_closing and close. */
static int close_handles(lua_State *L) {
    lua_settop(L, 0);
    lua_newtable(L); /* handles: the registry must not change while it is walked */
    for (lua_Integer count = collect_handles(L); count > 0; count--) {
        lua_settop(L, 1);
        lua_rawgeti(L, 1, count); /* handles, handle */
        lua_pushvalue(L, lua_upvalueindex(1));
        lua_pushvalue(L, 2);
        lua_call(L, 1, 1); /* handles, handle, is it closing? */
        if (lua_toboolean(L, 3))
            continue;
        lua_pushvalue(L, lua_upvalueindex(2));
        lua_pushvalue(L, 2);
        lua_call(L, 1, 0);
    }
    return 0;
}

/* Its address is the key of close_handles() in the registry. */
static const char closer;

void luv_closer_open(lua_State *L) {
    lua_getfield(L, -1, "is_closing");
    lua_getfield(L, -2, "close");
    lua_pushcclosure(L, close_handles, 2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &closer);
}

void luv_close_handles(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &closer);
    if (lua_pcall(L, 0, 0, 0) != LUA_OK) {
        log_event(LOG_ERROR, "internal_error", lua_tostring(L, -1));
        lua_pop(L, 1);
    }
}

/* What luv does to its loop as a whole, and ours must not be done to. */
static const struct {
    const char *name, *advice;
} refused[] = {
    {"run", "the program runs the loop already; to wait for a callback, use tw.await"},
    {"stop", "the loop is the program's; to end it, send SIGTERM"},
    {"loop_close", "the loop is the program's; to end it, send SIGTERM"},
    {"walk", "the loop has handles of the program's, too; keep your own in a table"},
};

static int refuse(lua_State *L) {
    return luaL_error(L, "uv.%s: %s", lua_tostring(L, lua_upvalueindex(1)),
                      lua_tostring(L, lua_upvalueindex(2)));
}

/* Puts the refusals into the table on top. */
static void refuse_loop_functions(lua_State *L) {
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        lua_pushstring(L, refused[i].name);
        lua_pushstring(L, refused[i].advice);
        lua_pushcclosure(L, refuse, 2);
        lua_setfield(L, -2, refused[i].name);
    }
}

void luv_bridge_open(struct vm *vm) {
    lua_State *L = vm->L;
    luv_set_loop(L, vm->loop);
    luv_set_callback(L, on_luv_callback);
    luaL_requiref(L, "luv", luaopen_luv, 0); /* luv */
    refuse_loop_functions(L);
    luv_limits_install(L);
    luv_threads_open(L);
    luv_closer_open(L);
    lua_pop(L, 1);
}

void luv_bridge_close_handles(struct vm *vm) {
    luv_close_handles(vm->L);
}
