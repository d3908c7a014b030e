/* luv_bridge.c -- `require "luv"` on the worker's own loop.
 *
 * luv's answer to an error in a callback is to end the process; ours is a log line. */
#include "script/vm_internal.h"

#include "base/log.h"

#include <luv/luv.h>

static int traceback(lua_State *L) {
    const char *text = luaL_tolstring(L, 1, NULL);
    luaL_traceback(L, L, text, 1);
    return 1;
}

/* luv's protected call: like lua_pcall, but answers the number of results, or minus a status. */
static int on_luv_callback(lua_State *L, int arguments, int results, int flags) {
    (void)flags;
    int handler = lua_gettop(L) - arguments;
    lua_pushcfunction(L, traceback);
    lua_insert(L, handler);
    int status = lua_pcall(L, arguments, results, handler);
    if (status != LUA_OK) {
        struct log_line line;
        log_begin(&line, LOG_ERROR, "script_error");
        log_str(&line, "hook", "luv callback");
        log_str(&line, "why", lua_tostring(L, -1));
        log_end(&line);
        stats_add(&vm_of(L)->hub->stats.script_errors, 1);
        lua_pop(L, 1);
        lua_remove(L, handler);
        return -status;
    }
    lua_remove(L, handler);
    return results == LUA_MULTRET ? lua_gettop(L) - handler + 1 : results;
}

void luv_bridge_open(struct vm *vm) {
    lua_State *L = vm->L;
    luv_set_loop(L, vm->loop);
    luv_set_callback(L, on_luv_callback);
    luaL_requiref(L, "luv", luaopen_luv, 0);
    lua_pop(L, 1);
}
