/* luv_limits.c -- what scripts may do with luv on the worker's loop, and what is done in its place.
 *
 * libuv calls its timers until none is due, and one that starts itself anew with no delay is due at
 * once: the loop would never come to its sockets. So the shortest delay of luv's timers is a
 * millisecond, and the loop's time, which stands still while timers are called, stays the loop's to
 * read. Children get no descriptors of the server's. */
#include "script/vm/vm_internal.h"

#include "base/descriptors.h"
#include "script/vm/wrap.h"

/* spawn(path, options, on_exit): the child gets what options.stdio gives it, and no other
 * descriptor. */
static int spawn(lua_State *L) {
    descriptors_close_on_exec();
    return wrap_call(L);
}

/* timer_start(timer, timeout, repeat, callback). Upvalue: luv's. */
static int timer_start(lua_State *L) {
    if (lua_type(L, 2) == LUA_TNUMBER && lua_tonumber(L, 2) == 0) {
        lua_pushinteger(L, 1);
        lua_replace(L, 2);
    }
    return wrap_call(L);
}

/* update_time(): the loop reads its time once a turn by itself. */
static int update_time(lua_State *L) {
    (void)L;
    return 0;
}

void luv_limits_install(lua_State *L) {
    wrap_function(L, "timer_start", timer_start);
    wrap_function(L, "update_time", update_time);
    wrap_function(L, "spawn", spawn);
    wrap_method(L, "uv_timer", "start", timer_start);
}
