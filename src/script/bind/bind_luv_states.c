/* bind_luv_states.c -- the Lua states of threads that scripts start by uv.new_thread and
 * uv.new_work.
 *
 * Each thread has a state of its own, which luv asks us for. luv ends the process when code in one
 * fails, or writes past the log; here the error becomes a log line. No function here touches a
 * worker's state from another thread. */
#include "script/bind/bind_luv.h"

#include "base/mem.h"
#include "script/bind/bind.h"
#include "script/vm/vm_memory.h"
#include "script/vm/warning.h"

#include <luv/luv.h>
#include <stdatomic.h>
#include <stdlib.h>

/* Bytes that must be free for one more thread: its state has the libraries. */
enum { ROOM_OF_THREAD = 256 * 1024 };

/* ---- memory ---- */

/* The bytes of the states of all threads. Together they may have as many as one worker. */
static atomic_size_t bytes_used;

/* Does a protected call run on this thread? Other code, luv's as well, has no limit: an error there
 * would end the process. */
static _Thread_local bool is_limited;

static bool may_grow(size_t more) {
    size_t limit = vm_memory_newest_limit(), used = atomic_load(&bytes_used);
    return used <= limit && more <= limit - used;
}

/* A lua_Alloc. */
static void *allocate(void *user, void *block, size_t old_size, size_t size) {
    (void)user;
    size_t held = block == NULL ? 0 : old_size; /* else it is a type */
    if (size > held && is_limited && !may_grow(size - held))
        return NULL;
    void *other = NULL;
    if (size == 0)
        free(block);
    else if ((other = is_limited ? realloc(block, size) : mem_realloc(block, size)) == NULL)
        return NULL;
    atomic_fetch_add(&bytes_used, size - held); /* modulo SIZE_MAX + 1 */
    return other;
}

/* ---- works that wait ---- */

/* Bytes that luv's C code has for a work beside copies of its texts. */
enum { WORK_BYTES = 1024 };

/* Works of all states: those that have not ended, and the bytes of those that have not begun. They
 * may have as many as a worker's scripts. A work whose arguments find no memory in its thread does
 * not begin; its bytes count until all works have ended. */
static uv_mutex_t works_mutex;
static size_t works, works_bytes;

static void init_works(void) {
    uv_mutex_init(&works_mutex);
}

/* Of a work with the arguments on top of the stack. */
static size_t bytes_of_work(lua_State *L, int arguments) {
    size_t bytes = WORK_BYTES;
    for (int i = 1; i <= arguments; i++)
        if (lua_type(L, -i) == LUA_TSTRING)
            bytes += lua_rawlen(L, -i);
    return bytes;
}

size_t bind_luv_states_add_work(lua_State *L, int arguments) {
    size_t bytes = bytes_of_work(L, arguments), limit = vm_memory_newest_limit();
    uv_mutex_lock(&works_mutex);
    if (works_bytes > limit || bytes > limit - works_bytes)
        bytes = 0;
    works += bytes > 0;
    works_bytes += bytes;
    uv_mutex_unlock(&works_mutex);
    return bytes;
}

static void note_begin(size_t bytes) {
    uv_mutex_lock(&works_mutex);
    works_bytes -= bytes;
    uv_mutex_unlock(&works_mutex);
}

static void note_end(void) {
    uv_mutex_lock(&works_mutex);
    if (--works == 0)
        works_bytes = 0;
    uv_mutex_unlock(&works_mutex);
}

void bind_luv_states_remove_work(size_t bytes) {
    note_begin(bytes);
    note_end();
}

bool bind_luv_states_have_room(void) {
    return may_grow(ROOM_OF_THREAD);
}

/* ---- calls in threads ---- */

/* lua_pcall with the limit of memory. */
static int call_limited(lua_State *L, int arguments, int results, int handler) {
    is_limited = true;
    int status = lua_pcall(L, arguments, results, handler);
    is_limited = false;
    return status;
}

/* luv's protected call: returns the number of results, or minus a status. */
static int call(lua_State *L, int arguments, int results, const char *hook) {
    int handler = lua_gettop(L) - arguments;
    bool outer = is_limited;
    bind_luv_push_handler(L);
    lua_insert(L, handler);
    int status = call_limited(L, arguments, results, handler);
    if (status == LUA_OK && results == LUA_MULTRET &&
        lua_gettop(L) - handler > BIND_LUV_MAX_VALUES) {
        lua_settop(L, handler);
        lua_pushfstring(L, "more than %d results", BIND_LUV_MAX_VALUES);
        status = LUA_ERRRUN;
    }
    if (status != LUA_OK)
        bind_luv_log_error(L, hook);
    lua_remove(L, handler);
    is_limited = outer;
    if (status != LUA_OK)
        return -status;
    return results == LUA_MULTRET ? lua_gettop(L) - handler + 1 : results;
}

static int join_all(lua_State *L) {
    bind_luv_threads_join(L);
    return 0;
}

/* Calls the function, which may run out of memory. */
static void call_safely(lua_State *L, lua_CFunction function) {
    int top = lua_gettop(L);
    bind_luv_push_handler(L);
    lua_pushcfunction(L, function);
    if (lua_pcall(L, 0, 0, top + 1) != LUA_OK)
        bind_luv_log_error(L, "luv thread");
    lua_settop(L, top);
}

static int on_thread(lua_State *L, int arguments, int results, int flags) {
    if (flags & LUVF_CALLBACK_NOEXIT) {
        note_begin(bytes_of_work(L, arguments));
        return call(L, arguments, results, "luv work");
    }
    int count = call(L, arguments, results, "luv thread");
    /* Before this function returns: afterwards luv may join this thread, and block the loop of the
     * state that has started it meanwhile. */
    call_safely(L, join_all);
    return count;
}

static int on_work(lua_State *L, lua_CFunction function, void *argument, int flags) {
    (void)flags;
    lua_pushcfunction(L, function);
    lua_pushlightuserdata(L, argument);
    int status = call(L, 1, 0, "luv work");
    note_end();
    return status;
}

/* A callback in a thread's own loop. */
static int on_callback(lua_State *L, int arguments, int results, int flags) {
    (void)flags;
    return call(L, arguments, results, "luv callback");
}

static int refuse_exit(lua_State *L) {
    return luaL_error(L, "os.exit: a thread cannot end the process");
}

/* ---- the states of threads ---- */

/* The part of acquire() that may throw. */
static int open_state(lua_State *L) {
    luaL_openlibs(L);
    bind_process_guard_children(L);
    lua_getglobal(L, "os");
    lua_pushcfunction(L, refuse_exit);
    lua_setfield(L, -2, "exit");
    luaL_requiref(L, "luv", luaopen_luv, 0);
    bind_luv_guard_handles(L, false);
    bind_luv_threads_open(L);
    bind_luv_prepare_close(L);
    return 0;
}

static lua_State *acquire(void) {
    lua_State *L = lua_newstate(allocate, NULL);
    luv_set_callback(L, on_callback);
    luv_set_thread(L, on_thread);
    luv_set_cthread(L, on_work);
    warning_open(L);
    bind_luv_push_handler(L);
    lua_pushcfunction(L, open_state);
    if (lua_pcall(L, 0, 0, 1) != LUA_OK)
        bind_luv_log_error(L, "luv thread");
    lua_settop(L, 0);
    return L;
}

/* Closes the handles in the state's own loop. luv would close them while it collects objects, but
 * it does not know handles that are parts of threads' objects: see bind_luv_threads.c. */
static int end_loop(lua_State *L) {
    uv_loop_t *loop = luv_loop(L);
    if (loop == NULL) /* there was no memory for it */
        return 0;
    do {
        bind_luv_threads_join(L); /* callbacks may start threads */
        bind_luv_close_handles(L);
    } while (uv_run(loop, UV_RUN_ONCE));
    bind_luv_threads_refuse(L); /* finalizers must not start any */
    return 0;
}

/* At the end of a thread. Threads of libuv's pool, which run works, live as long as the process. */
static void release(lua_State *L) {
    call_safely(L, end_loop);
    lua_close(L);
    bind_luv_threads_ended();
}

void bind_luv_states_open(void) {
    static uv_once_t once = UV_ONCE_INIT;
    uv_once(&once, init_works);
    luv_set_thread_cb(acquire, release);
}
