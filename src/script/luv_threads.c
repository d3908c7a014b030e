/* luv_threads.c -- the threads of luv's that scripts start: uv.new_thread and uv.new_work.
 *
 * Each has a Lua state of its own, which luv asks us for. luv's answer to an error in one is to end
 * the process, or a line past the log; ours is a log line. Nothing here touches a worker's state
 * from another thread.
 *
 * luv keeps what a thread needs in its Lua object, and believes that the object lives for as long
 * as the thread, and is joined once. So a table in the state that has started threads keeps their
 * objects until they have ended. */
#include "script/luv_bridge.h"

#include "base/log.h"
#include "script/calls.h"
#include "script/trace.h"
#include "script/warning.h"
#include "script/wrap.h"

#include <lauxlib.h>
#include <lualib.h>
#include <luv/luv.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

/* As many arguments and results as luv has room for. It looks for one more. */
enum { MOST_VALUES = 9 };

/* Threads of all states that have not ended. */
static atomic_int running;

/* ---- errors ---- */

/* A value that does not say itself what it is is named by its type: an address tells nobody anything. */
static int to_text(lua_State *L) {
    if (lua_isnil(L, 1))
        lua_pushliteral(L, "nil: error or assert was called without a message");
    else if (lua_type(L, 1) > LUA_TSTRING && luaL_getmetafield(L, 1, "__tostring") == LUA_TNIL)
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

static int on_thread(lua_State *L, int arguments, int results, int flags) {
    return call(L, arguments, results, flags & LUVF_CALLBACK_NOEXIT ? "luv work" : "luv thread");
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

/* ---- the objects of threads ---- */

/* Pushes the table of threads that were not joined: thread -> true; false: and shall not be. */
static void push_threads(lua_State *L) {
    luaL_getsubtable(L, LUA_REGISTRYINDEX, "tidewire.luv_threads");
}

/* Joins the thread at one index, whose object begins with its handle, and takes it out of the table
 * at the other. */
static int join(lua_State *L, int thread, int threads) {
    int result = uv_thread_join(lua_touserdata(L, thread));
    lua_pushvalue(L, thread);
    lua_pushnil(L);
    lua_rawset(L, threads);
    return result;
}

void luv_join_threads(lua_State *L) {
    push_threads(L);
    int threads = lua_gettop(L);
    for (lua_pushnil(L); lua_next(L, threads); lua_settop(L, threads + 1)) /* thread, true */
        if (lua_toboolean(L, threads + 2))
            join(L, threads + 1, threads); /* a field may be cleared meanwhile */
    lua_settop(L, threads - 1);
}

int luv_running_threads(void) {
    return atomic_load(&running);
}

/* Throws unless the text at the index is Lua: luv would tell it past the log. */
static void check_code(lua_State *L, int index, const char *name) {
    size_t len;
    if (lua_type(L, index) != LUA_TSTRING)
        return;
    const char *code = lua_tolstring(L, index, &len);
    if (luaL_loadbuffer(L, code, len, "=thread") != LUA_OK)
        luaL_error(L, "uv.%s: %s", name, lua_tostring(L, -1));
    lua_pop(L, 1);
}

static void check_count(lua_State *L, int count, const char *name) {
    if (count > MOST_VALUES)
        luaL_error(L, "uv.%s: at most %d arguments can be passed on", name, MOST_VALUES);
}

/* uv.new_thread([options,] entry, ...) */
static int new_thread(lua_State *L) {
    int entry = lua_istable(L, 1) ? 2 : 1;
    check_code(L, entry, "new_thread");
    check_count(L, lua_gettop(L) - entry, "new_thread");
    if (luv_running_threads() == 0)
        luv_join_threads(L); /* those that nobody has asked for */
    atomic_fetch_add(&running, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    int status = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
    if (status != LUA_OK || lua_type(L, 1) != LUA_TUSERDATA)
        atomic_fetch_sub(&running, 1);
    if (status != LUA_OK)
        return lua_error(L);
    if (lua_type(L, 1) == LUA_TUSERDATA) {
        push_threads(L);
        lua_pushvalue(L, 1);
        lua_pushboolean(L, 1);
        lua_rawset(L, -3);
        lua_pop(L, 1);
    }
    return lua_gettop(L);
}

static int push_failure(lua_State *L, int result) {
    luaL_pushfail(L);
    lua_pushfstring(L, "%s: %s", uv_err_name(result),
                    result == UV_ESRCH ? "it was joined already" : uv_strerror(result));
    lua_pushstring(L, uv_err_name(result));
    return 3;
}

/* Leaves on the stack the thread, which is the argument, and the table of threads. Can it be joined? */
static bool can_be_joined(lua_State *L) {
    luaL_checkudata(L, 1, "uv_thread");
    lua_settop(L, 1);
    push_threads(L);
    lua_pushvalue(L, 1);
    lua_rawget(L, 2);
    bool can = lua_toboolean(L, 3);
    lua_settop(L, 2);
    return can;
}

/* thread:join() */
static int join_thread(lua_State *L) {
    int result = can_be_joined(L) ? join(L, 1, 2) : UV_ESRCH;
    if (result != 0)
        return push_failure(L, result);
    lua_pushboolean(L, 1);
    return 1;
}

/* thread:detach(), of later versions of luv's */
static int detach_thread(lua_State *L) {
    if (!can_be_joined(L))
        return push_failure(L, UV_ESRCH);
    lua_pushvalue(L, 1);
    lua_pushboolean(L, 0); /* its object must stay */
    lua_rawset(L, 2);
    lua_settop(L, 1);
    return wrap_call(L);
}

/* uv.new_work(entry, after) */
static int new_work(lua_State *L) {
    check_code(L, 1, "new_work");
    return wrap_call(L);
}

/* work:queue(...) */
static int queue_work(lua_State *L) {
    check_count(L, lua_gettop(L) - 1, "queue_work");
    return wrap_call(L);
}

/* async:send(...) */
static int send_async(lua_State *L) {
    check_count(L, lua_gettop(L) - 1, "async_send");
    return wrap_call(L);
}

static void replace_functions(lua_State *L) {
    wrap_function(L, "new_thread", new_thread);
    wrap_function(L, "thread_join", join_thread);
    wrap_function(L, "thread_detach", detach_thread);
    wrap_function(L, "new_work", new_work);
    wrap_function(L, "queue_work", queue_work);
    wrap_function(L, "async_send", send_async);
    wrap_method(L, "uv_async", "send", send_async);
    wrap_method(L, "uv_thread", "join", join_thread);
    wrap_method(L, "uv_thread", "detach", detach_thread);
    wrap_method(L, "luv_work_ctx", "queue", queue_work);
}

/* ---- the states of threads ---- */

/* What may throw on the way to one. */
static int open_state(lua_State *L) {
    luaL_openlibs(L);
    lua_getglobal(L, "os");
    lua_pushcfunction(L, refuse_exit);
    lua_setfield(L, -2, "exit");
    luaL_requiref(L, "luv", luaopen_luv, 0);
    replace_functions(L);
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

/* At the end of a thread. Those of the pool live as long as the process. */
static void release(lua_State *L) {
    luv_join_threads(L);
    lua_close(L);
    atomic_fetch_sub(&running, 1);
}

void luv_threads_open(lua_State *L) {
    luv_set_thread_cb(acquire, release);
    replace_functions(L);
}
