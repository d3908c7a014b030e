/* bind_luv_threads.c -- functions of luv that start and join threads, and their objects in Lua.
 *
 * The object of a thread lives for as long as its thread, which is joined once. The version of luv
 * decides which code joins a thread.
 *
 * With 1.44, a thread is joined by the script that calls its join. luv keeps no reference to the
 * object, which the thread uses: the state that has started threads keeps their objects in a table
 * until they are joined.
 *
 * With 1.48, luv joins a thread that has ended without being joined. The object contains an
 * asynchronous handle, which is open in the loop of that state for so long. luv keeps the object
 * until then, and uses the lua_State that has called uv.new_thread. Therefore:
 * - that lua_State is a coroutine that is never collected;
 * - luv's own join is called, which tells luv, and only while the handle is in the loop;
 * - the loop runs until the handle is closed, before the state is. */
#include "script/bind/bind_luv.h"

#include "script/vm/vm_bindings.h"
#include "script/vm/wrap.h"

#include <lauxlib.h>
#include <luv/luv.h>
#include <stdatomic.h>
#include <stdbool.h>

/* Threads of all states that have not ended. */
static atomic_int running;

/* Which code joins threads? Known when luv has started the first. */
enum joiner { JOINER_UNKNOWN, JOINER_CALLER, JOINER_LUV };
static atomic_int joiner = JOINER_UNKNOWN;

/* Fields of the registry. */
#define THREADS                                                                                    \
    "tidewire.luv_threads" /* { [thread] = true, or false: detached }; false: it starts none */
#define STARTER  "tidewire.luv_starter" /* the coroutine that calls luv's new_thread */
#define LUV_JOIN "tidewire.luv_join"    /* luv's own function */

int bind_luv_threads_running(void) {
    return atomic_load(&running);
}

void bind_luv_threads_ended(void) {
    atomic_fetch_sub(&running, 1);
}

/* ---- joining ---- */

struct search {
    const char *begin, *end;
    bool found;
};

static void look_at(uv_handle_t *handle, void *argument) {
    struct search *search = argument;
    const char *place = (const char *)handle;
    if (place >= search->begin && place < search->end)
        search->found = true;
}

/* Is a handle in the state's loop a part of the object at the index? */
static bool has_handle(lua_State *L, int thread) {
    const char *begin = lua_touserdata(L, thread);
    struct search search = {begin, begin + lua_rawlen(L, thread), false};
    uv_walk(luv_loop(L), look_at, &search);
    return search.found;
}

/* Has luv joined the thread at the index? */
static bool is_joined(lua_State *L, int thread) {
    return atomic_load(&joiner) == JOINER_LUV && !has_handle(L, thread);
}

/* Pushes the table of threads that were not joined. False: the pushed value is no table. */
static bool push_threads(lua_State *L) {
    return lua_getfield(L, LUA_REGISTRYINDEX, THREADS) == LUA_TTABLE;
}

/* Joins the thread at one index, and removes it from the table at the other. Pushes the results of
 * luv's join, and returns their number. */
static int join(lua_State *L, int thread, int threads) {
    int top = lua_gettop(L);
    lua_pushvalue(L, thread);
    lua_pushnil(L);
    lua_rawset(L, threads);
    if (is_joined(L, thread)) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_getfield(L, LUA_REGISTRYINDEX, LUV_JOIN);
    lua_pushvalue(L, thread);
    lua_call(L, 1, LUA_MULTRET);
    return lua_gettop(L) - top;
}

void bind_luv_threads_join(lua_State *L) {
    int top = lua_gettop(L), threads = top + 1;
    if (push_threads(L))
        for (lua_pushnil(L); lua_next(L, threads); lua_settop(L, threads + 1)) /* thread, true */
            if (lua_toboolean(L, threads + 2))
                join(L, threads + 1, threads); /* a field may be cleared meanwhile */
    lua_settop(L, top);
}

void bind_luv_threads_refuse(lua_State *L) {
    lua_pushboolean(L, 0);
    lua_setfield(L, LUA_REGISTRYINDEX, THREADS);
}

/* ---- starting ---- */

/* Throws unless the text at the index is Lua: luv would report it past the log. */
static void check_code(lua_State *L, int index, const char *name) {
    size_t len;
    if (lua_type(L, index) != LUA_TSTRING)
        return;
    const char *code = lua_tolstring(L, index, &len);
    if (luaL_loadbuffer(L, code, len, "=thread") != LUA_OK)
        luaL_error(L, "uv.%s: %s", name, lua_tostring(L, -1));
    lua_pop(L, 1);
}

/* Throws if luv cannot pass on as many arguments. */
static void check_count(lua_State *L, int count, const char *name) {
    if (count > BIND_LUV_MAX_VALUES)
        luaL_error(L, "uv.%s: at most %d arguments can be passed on", name, BIND_LUV_MAX_VALUES);
}

/* A coroutine that lives as long as the state. */
static lua_State *starter(lua_State *L) {
    if (lua_getfield(L, LUA_REGISTRYINDEX, STARTER) != LUA_TTHREAD) {
        lua_pop(L, 1);
        lua_newthread(L);
        lua_pushvalue(L, -1);
        lua_setfield(L, LUA_REGISTRYINDEX, STARTER);
    }
    lua_State *co = lua_tothread(L, -1);
    lua_pop(L, 1);
    return co;
}

/* Calls luv's function, the first upvalue, in the starter. The arguments on the stack are replaced
 * by the results, or by an error. Returns a status. */
static int start(lua_State *L) {
    lua_State *co = starter(L);
    int arguments = lua_gettop(L);
    if (!lua_checkstack(co, arguments + LUA_MINSTACK))
        return luaL_error(L, "uv.new_thread: out of memory");
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_xmove(L, co, arguments + 1); /* does nothing if co is L, in a finalizer */
    int below = lua_gettop(co) - arguments - 1;
    int status = lua_pcall(co, arguments, LUA_MULTRET, 0);
    lua_xmove(co, L, lua_gettop(co) - below);
    return status;
}

/* Adds the thread at the index to the table, which is weak if luv joins threads and keeps them. */
static void keep(lua_State *L, int thread) {
    if (atomic_load(&joiner) == JOINER_UNKNOWN)
        atomic_store(&joiner, has_handle(L, thread) ? JOINER_LUV : JOINER_CALLER);
    if (!push_threads(L)) {
        lua_pop(L, 1);
        lua_newtable(L);
        if (atomic_load(&joiner) == JOINER_LUV) {
            lua_createtable(L, 0, 1);
            lua_pushliteral(L, "k");
            lua_setfield(L, -2, "__mode");
            lua_setmetatable(L, -2);
        }
        lua_pushvalue(L, -1);
        lua_setfield(L, LUA_REGISTRYINDEX, THREADS);
    }
    lua_pushvalue(L, thread);
    lua_pushboolean(L, 1);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

/* uv.new_thread([options,] entry, ...) */
static int new_thread(lua_State *L) {
    int entry = lua_istable(L, 1) ? 2 : 1;
    check_code(L, entry, "new_thread");
    check_count(L, lua_gettop(L) - entry, "new_thread");
    if (lua_getfield(L, LUA_REGISTRYINDEX, THREADS) == LUA_TBOOLEAN)
        return luaL_error(L, "uv.new_thread: the thread that has called it is about to end");
    lua_pop(L, 1);
    if (!bind_luv_states_have_room())
        return luaL_error(L, "uv.new_thread: threads have all the memory that limits.memory allows "
                             "them");
    if (bind_luv_threads_running() == 0 && atomic_load(&joiner) == JOINER_CALLER)
        bind_luv_threads_join(L); /* those that no script has joined */
    atomic_fetch_add(&running, 1);
    int status = start(L);
    if (status != LUA_OK || lua_type(L, 1) != LUA_TUSERDATA)
        atomic_fetch_sub(&running, 1);
    if (status != LUA_OK)
        return lua_error(L);
    if (lua_type(L, 1) == LUA_TUSERDATA)
        keep(L, 1);
    return lua_gettop(L);
}

/* ---- methods ---- */

static int push_joined_already(lua_State *L) {
    luaL_pushfail(L);
    lua_pushliteral(L, "ESRCH: it was joined already");
    lua_pushliteral(L, "ESRCH");
    return 3;
}

/* Can the thread, which is the argument, be joined? Leaves it on the stack, and above it the table
 * of threads, if there is one. */
static bool can_be_joined(lua_State *L) {
    luaL_checkudata(L, 1, "uv_thread");
    lua_settop(L, 1);
    if (!push_threads(L))
        return false;
    lua_pushvalue(L, 1);
    lua_rawget(L, 2);
    bool can = lua_toboolean(L, 3);
    lua_settop(L, 2);
    return can;
}

/* thread:join() */
static int join_thread(lua_State *L) {
    return can_be_joined(L) ? join(L, 1, 2) : push_joined_already(L);
}

/* thread:detach(), which later versions of luv have */
static int detach_thread(lua_State *L) {
    if (!can_be_joined(L))
        return push_joined_already(L);
    lua_pushvalue(L, 1);
    lua_pushboolean(L, 0); /* the thread uses its object */
    lua_rawset(L, 2);
    if (is_joined(L, 1)) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_settop(L, 1);
    return wrap_call(L);
}

/* ---- works and asyncs ---- */

/* uv.new_work(entry, after) */
static int new_work(lua_State *L) {
    check_code(L, 1, "new_work");
    return wrap_call(L);
}

/* work:queue(...) */
static int queue_work(lua_State *L) {
    int arguments = lua_gettop(L) - 1;
    luaL_checkudata(L, 1, "luv_work_ctx");
    check_count(L, arguments, "queue_work");
    size_t bytes = bind_luv_states_add_work(L, arguments);
    if (bytes == 0)
        return luaL_error(L, "uv.queue_work: works that wait have all the memory that "
                             "limits.memory allows them");
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    int status = lua_pcall(L, arguments + 1, LUA_MULTRET, 0);
    if (status != LUA_OK || !lua_toboolean(L, 1))
        bind_luv_states_remove_work(bytes);
    return status == LUA_OK ? lua_gettop(L) : lua_error(L);
}

/* async:send(...) */
static int send_async(lua_State *L) {
    check_count(L, lua_gettop(L) - 1, "async_send");
    return wrap_call(L);
}

void bind_luv_threads_open(lua_State *L) {
    lua_getfield(L, -1, "thread_join");
    lua_setfield(L, LUA_REGISTRYINDEX, LUV_JOIN);
    wrap_function(L, "new_thread", new_thread);
    wrap_function(L, "thread_join", join_thread);
    wrap_function(L, "thread_detach", detach_thread);
    wrap_method(L, "uv_thread", "join", join_thread);
    wrap_method(L, "uv_thread", "detach", detach_thread);
    wrap_function(L, "new_work", new_work);
    wrap_function(L, "queue_work", queue_work);
    wrap_function(L, "async_send", send_async);
    wrap_method(L, "uv_async", "send", send_async);
    wrap_method(L, "luv_work_ctx", "queue", queue_work);
}
