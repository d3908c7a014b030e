/* bind_luv.c -- `require "luv"` on the worker's own loop.
 *
 * luv ends the process when a callback fails; here the error becomes a log line. luv's callbacks
 * use the Lua state, so handles that scripts leave open are closed before the state.
 *
 * lua/tidewire/luv replaces functions that act on the loop as a whole. Child processes inherit none
 * of the server's descriptors. */
#include "script/bind/bind_luv.h"

#include "script/bind/bind.h"

#include "base/descriptors.h"
#include "base/log/log.h"
#include "base/turn.h"
#include "script/vm/calls.h"
#include "script/vm/trace.h"
#include "script/vm/vm_memory.h"
#include "script/vm/wrap.h"

#include <luv/luv.h>
#include <string.h>

/* ---- errors ---- */

/* (error) -> its text. A value without a __tostring is named by its type, not by its address. */
static int to_text(lua_State *L) {
    if (lua_type(L, 1) > LUA_TSTRING && luaL_getmetafield(L, 1, "__tostring") == LUA_TNIL)
        lua_pushfstring(L, "the error is a %s; throw a text", luaL_typename(L, 1));
    else
        luaL_tolstring(L, 1, NULL);
    return 1;
}

/* (error) -> { text, traceback }. A script's __tostring may make the text, and may fail. */
static int describe(lua_State *L) {
    lua_settop(L, 1);
    lua_createtable(L, 2, 0);
    lua_pushcfunction(L, to_text);
    lua_pushvalue(L, 1);
    if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
        lua_pop(L, 1);
        lua_pushliteral(L, "an error value that cannot be shown");
    }
    lua_rawseti(L, 2, 1);
    calls_traceback(L, L, NULL, 1);
    lua_rawseti(L, 2, 2);
    return 1;
}

void bind_luv_push_handler(lua_State *L) {
    lua_pushcfunction(L, describe);
}

void bind_luv_log_error(lua_State *L, const char *hook) {
    struct log_line line;
    int top = lua_gettop(L);
    log_begin_limited(&line, LOG_ERROR, "script_error");
    log_str(&line, "hook", hook);
    if (lua_istable(L, top)) {
        lua_rawgeti(L, top, 1);
        lua_rawgeti(L, top, 2);
        log_str(&line, "why", lua_tostring(L, -2));
        trace_log(&line, NULL, lua_tostring(L, -2), lua_tostring(L, -1));
    } else { /* out of memory, or describe() has failed */
        log_str(&line, "why",
                lua_type(L, top) == LUA_TSTRING ? lua_tostring(L, top) : "an error without a text");
    }
    log_end(&line);
    lua_settop(L, top - 1);
}

/* ---- callbacks ---- */

/* The callback is over its budget. Leaves the stack below the handler as it was. */
static int end_overrun(lua_State *L, int handler) {
    struct vm *vm = vm_of(L);
    struct overrun overrun;
    lua_settop(L, handler - 1);
    budget_end(vm, NULL, &overrun);
    overrun_log(vm, &overrun, "luv callback", 0);
    overrun_free(&overrun);
    return -LUA_ERRRUN;
}

/* Adds a hint to the text of the error on top, as errors.lua does for hooks (missing.lua). */
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

/* luv's protected call: like lua_pcall, but returns the number of results, or minus a status. */
static int on_luv_callback(lua_State *L, int arguments, int results, int flags) {
    (void)flags;
    struct budget *budget = &vm_of(L)->budget;
    int handler = lua_gettop(L) - arguments;
    turn_begin(vm_of(L)->loop);
    turn_note_work();
    bind_luv_push_handler(L);
    lua_insert(L, handler);
    lua_State *outer = budget_enter(budget, L);
    int status = lua_pcall(L, arguments, results, handler);
    budget_leave(budget, outer);
    if (outer == NULL && budget_is_over(budget))
        return end_overrun(L, handler);
    if (outer == NULL && budget_is_late(budget))
        budget_log_late(vm_of(L), "luv callback", 0);
    if (status != LUA_OK) {
        explain(L);
        bind_luv_log_error(L, "luv callback");
        stats_add(&hub_stats(vm_of(L)->hub)->script_errors, 1);
        lua_remove(L, handler);
        return -status;
    }
    lua_remove(L, handler);
    return results == LUA_MULTRET ? lua_gettop(L) - handler + 1 : results;
}

/* ---- handles ---- */

/* Collects luv's handles into the table on top, and returns their number. luv keeps each open
 * handle in the registry, and the set of the handles' metatables under "uv_handle". That set
 * decides what a handle is: luv's own checks read a userdata before they know its type. */
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

/* Closes luv's open handles. Upvalues: luv's is_closing and close. */
static int close_handles(lua_State *L) {
    lua_settop(L, 0);
    lua_newtable(L); /* handles: closing changes the registry */
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

void bind_luv_prepare_close(lua_State *L) {
    lua_getfield(L, -1, "is_closing");
    lua_getfield(L, -2, "close");
    lua_pushcclosure(L, close_handles, 2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &closer);
}

void bind_luv_close_handles(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &closer);
    if (lua_pcall(L, 0, 0, 0) != LUA_OK) {
        log_event(LOG_ERROR, "internal_error", lua_tostring(L, -1));
        lua_pop(L, 1);
    }
}

/* luv gives a handle its finalizer, then refers to it in the registry, and then says whose it is.
 * An error in between, for want of memory, would leave a handle that ends the process when it is
 * collected. So the registry gets the room first: an error here leaves no handle. */
static int new_handle(lua_State *L) {
    lua_pushboolean(L, 1);
    luaL_unref(L, LUA_REGISTRYINDEX, luaL_ref(L, LUA_REGISTRYINDEX));
    return wrap_call(L);
}

/* In a worker: handles stay when the hook ends. */
static int new_handle_of_worker(lua_State *L) {
    vm_memory_check_lasting(L);
    return new_handle(L);
}

/* The functions that make a handle have names that begin so, but for spawn. */
void bind_luv_guard_handles(lua_State *L, bool is_worker) {
    lua_CFunction guard = is_worker ? new_handle_of_worker : new_handle;
    static const char start[] = "new_";
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        if (strncmp(name, start, sizeof start - 1) != 0)
            continue;
        lua_pushvalue(L, -3); /* luv, name, function, luv */
        wrap_function(L, name, guard);
        lua_pop(L, 1);
    }
    wrap_function(L, "spawn", guard);
}

/* ---- child processes ---- */

/* spawn(path, options, on_exit): the child inherits the descriptors of options.stdio, and no
 * others. */
static int spawn(lua_State *L) {
    descriptors_close_on_exec();
    return wrap_call(L);
}

/* ---- life ---- */

void bind_luv_open(lua_State *L) {
    luv_set_loop(L, vm_of(L)->loop);
    luv_set_callback(L, on_luv_callback);
    luaL_requiref(L, "luv", luaopen_luv, 0); /* luv */
    bind_luv_guard_handles(L, true);
    wrap_function(L, "spawn", spawn);
    bind_luv_states_open();
    bind_luv_threads_open(L);
    bind_luv_prepare_close(L);
    lua_pop(L, 1);
}
