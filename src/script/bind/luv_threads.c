/* luv_threads.c -- the threads of luv's that scripts start: uv.new_thread and uv.new_work.
 *
 * Each has a Lua state of its own, which luv asks us for. luv's answer to an error in one is to end
 * the process, or a line past the log; ours is a log line. Nothing here touches a worker's state
 * from another thread. */
#include "script/bind/luv_bridge.h"

#include "base/log/log.h"
#include "script/vm/calls.h"
#include "script/vm/trace.h"
#include "script/vm/vm_internal.h"
#include "script/vm/warning.h"
#include "script/vm/wrap.h"

#include <lauxlib.h>
#include <lualib.h>
#include <luv/luv.h>
#include <string.h>

/* As many arguments and results as luv has room for. It looks for one more. */
enum { MOST_VALUES = 9 };

/* ---- errors ---- */

/* A value that does not say itself what it is is named by its type: an address tells nobody
 * anything. */
static int to_text(lua_State *L) {
    if (lua_type(L, 1) > LUA_TSTRING && luaL_getmetafield(L, 1, "__tostring") == LUA_TNIL)
        lua_pushfstring(L, "the error is a %s; throw a text", luaL_typename(L, 1));
    else
        luaL_tolstring(L, 1, NULL);
    return 1;
}

/* (error) -> { text, traceback }. The text may be made by a script's __tostring, which may fail. */
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

void luv_push_handler(lua_State *L) {
    lua_pushcfunction(L, describe);
}

void luv_log_error(lua_State *L, const char *hook) {
    struct log_line line;
    int top = lua_gettop(L);
    log_begin_limited(&line, LOG_ERROR, "script_error");
    log_str(&line, "hook", hook);
    if (lua_istable(L, top)) {
        lua_rawgeti(L, top, 1);
        lua_rawgeti(L, top, 2);
        log_str(&line, "why", lua_tostring(L, -2));
        trace_log(&line, NULL, lua_tostring(L, -2), lua_tostring(L, -1));
    } else { /* out of memory, or an error in describing it */
        log_str(&line, "why",
                lua_type(L, top) == LUA_TSTRING ? lua_tostring(L, top) : "an error without a text");
    }
    log_end(&line);
    lua_settop(L, top - 1);
}

/* ---- calls in threads ---- */

/* luv's protected call: answers the number of results, or minus a status. */
static int call(lua_State *L, int arguments, int results, const char *hook) {
    int handler = lua_gettop(L) - arguments;
    luv_push_handler(L);
    lua_insert(L, handler);
    int status = lua_pcall(L, arguments, results, handler);
    if (status == LUA_OK && results == LUA_MULTRET && lua_gettop(L) - handler > MOST_VALUES) {
        lua_settop(L, handler);
        lua_pushfstring(L, "more than %d results", MOST_VALUES);
        status = LUA_ERRRUN;
    }
    if (status != LUA_OK)
        luv_log_error(L, hook);
    lua_remove(L, handler);
    if (status != LUA_OK)
        return -status;
    return results == LUA_MULTRET ? lua_gettop(L) - handler + 1 : results;
}

static int join_all(lua_State *L) {
    luv_join_threads(L);
    return 0;
}

/* Calls one of ours with the state, which may lack memory. */
static void call_safely(lua_State *L, lua_CFunction function) {
    int top = lua_gettop(L);
    luv_push_handler(L);
    lua_pushcfunction(L, function);
    if (lua_pcall(L, 0, 0, top + 1) != LUA_OK)
        luv_log_error(L, "luv thread");
    lua_settop(L, top);
}

static int on_thread(lua_State *L, int arguments, int results, int flags) {
    if (flags & LUVF_CALLBACK_NOEXIT)
        return call(L, arguments, results, "luv work");
    int count = call(L, arguments, results, "luv thread");
    /* Not later: luv may join this thread when we return, and hold up the loop of the state that
     * has started it. */
    call_safely(L, join_all);
    return count;
}

static int on_work(lua_State *L, lua_CFunction function, void *argument, int flags) {
    (void)flags;
    lua_pushcfunction(L, function);
    lua_pushlightuserdata(L, argument);
    return call(L, 1, 0, "luv work");
}

/* In a thread's own loop. */
static int on_callback(lua_State *L, int arguments, int results, int flags) {
    (void)flags;
    return call(L, arguments, results, "luv callback");
}

static int refuse_exit(lua_State *L) {
    return luaL_error(L, "os.exit: a thread cannot end the process");
}

/* ---- works and asyncs ---- */

void luv_check_code(lua_State *L, int index, const char *name) {
    size_t len;
    if (lua_type(L, index) != LUA_TSTRING)
        return;
    const char *code = lua_tolstring(L, index, &len);
    if (luaL_loadbuffer(L, code, len, "=thread") != LUA_OK)
        luaL_error(L, "uv.%s: %s", name, lua_tostring(L, -1));
    lua_pop(L, 1);
}

void luv_check_count(lua_State *L, int count, const char *name) {
    if (count > MOST_VALUES)
        luaL_error(L, "uv.%s: at most %d arguments can be passed on", name, MOST_VALUES);
}

/* uv.new_work(entry, after) */
static int new_work(lua_State *L) {
    luv_check_code(L, 1, "new_work");
    return wrap_call(L);
}

/* work:queue(...) */
static int queue_work(lua_State *L) {
    luv_check_count(L, lua_gettop(L) - 1, "queue_work");
    return wrap_call(L);
}

/* async:send(...) */
static int send_async(lua_State *L) {
    luv_check_count(L, lua_gettop(L) - 1, "async_send");
    return wrap_call(L);
}

static void replace_functions(lua_State *L) {
    luv_thread_objects_open(L);
    wrap_function(L, "new_work", new_work);
    wrap_function(L, "queue_work", queue_work);
    wrap_function(L, "async_send", send_async);
    wrap_method(L, "uv_async", "send", send_async);
    wrap_method(L, "luv_work_ctx", "queue", queue_work);
}

/* ---- the states of threads ---- */

/* What may throw on the way to one. */
static int open_state(lua_State *L) {
    luaL_openlibs(L);
    core_guard_children(L);
    lua_getglobal(L, "os");
    lua_pushcfunction(L, refuse_exit);
    lua_setfield(L, -2, "exit");
    luaL_requiref(L, "luv", luaopen_luv, 0);
    replace_functions(L);
    luv_closer_open(L);
    return 0;
}

static lua_State *acquire(void) {
    lua_State *L = luaL_newstate();
    luv_set_callback(L, on_callback);
    luv_set_thread(L, on_thread);
    luv_set_cthread(L, on_work);
    warning_open(L);
    luv_push_handler(L);
    lua_pushcfunction(L, open_state);
    if (lua_pcall(L, 0, 0, 1) != LUA_OK)
        luv_log_error(L, "luv thread");
    lua_settop(L, 0);
    return L;
}

/* Closes what is open in the state's own loop. luv would do it while the objects are collected, and
 * knows nothing there of handles that are parts of threads' objects: see luv_thread_objects.c. */
static int end_loop(lua_State *L) {
    uv_loop_t *loop = luv_loop(L);
    if (loop == NULL) /* there was no memory for it */
        return 0;
    do {
        luv_join_threads(L); /* callbacks may have started some */
        luv_close_handles(L);
    } while (uv_run(loop, UV_RUN_ONCE));
    luv_refuse_threads(L); /* of finalizers */
    return 0;
}

/* At the end of a thread. Those of the pool live as long as the process. */
static void release(lua_State *L) {
    call_safely(L, end_loop);
    lua_close(L);
    luv_thread_ended();
}

void luv_threads_open(lua_State *L) {
    luv_set_thread_cb(acquire, release);
    replace_functions(L);
}
