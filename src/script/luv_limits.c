/* luv_limits.c -- what scripts may do with luv on the worker's loop, and what is done in its place.
 *
 * libuv calls its timers until none is due, and one that starts itself anew with no delay is due at once: the loop
 * would never come to its sockets. So the shortest delay of luv's timers is a millisecond, and the loop's time,
 * which stands still while timers are called, stays the loop's to read. Children get no descriptors of the server's. */
#include "script/vm_internal.h"

#include "base/descriptors.h"

/* Calls the function in the upvalue with what is on the stack. */
static int call_original(lua_State *L) {
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

/* spawn(path, options, on_exit): the child gets what options.stdio gives it, and no other descriptor. */
static int spawn(lua_State *L) {
    descriptors_close_on_exec();
    return call_original(L);
}

/* timer_start(timer, timeout, repeat, callback). Upvalue: luv's. */
static int timer_start(lua_State *L) {
    if (lua_type(L, 2) == LUA_TNUMBER && lua_tonumber(L, 2) == 0) {
        lua_pushinteger(L, 1);
        lua_replace(L, 2);
    }
    return call_original(L);
}

/* update_time(): the loop reads its time once a turn by itself. */
static int update_time(lua_State *L) {
    (void)L;
    return 0;
}

/* Puts a function in the place of that of this name, its upvalue, in the table on top. */
static void replace(lua_State *L, const char *name, lua_CFunction function) {
    lua_getfield(L, -1, name);
    lua_pushcclosure(L, function, 1);
    lua_setfield(L, -2, name);
}

/* The same for a method of one of luv's classes. */
static void replace_method(lua_State *L, const char *class, const char *name,
                           lua_CFunction function) {
    if (luaL_getmetatable(L, class) == LUA_TTABLE && lua_getfield(L, -1, "__index") == LUA_TTABLE) {
        replace(L, name, function);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

void luv_limits_install(lua_State *L) {
    replace(L, "timer_start", timer_start);
    replace(L, "update_time", update_time);
    replace(L, "spawn", spawn);
    replace_method(L, "uv_timer", "start", timer_start);
}
