/* pool_thread.c -- one thread of a pool: its Lua state, and the calls that it makes in it.
 *
 * lua/tidewire/pool_thread.lua loads the module and describes errors. The state has a limit of
 * memory, and each call has a budget of CPU time. A call whose caller does not wait any more,
 * because its time is over, is ended as one that is over its budget. A state that keeps most
 * of its memory is closed, and the module is loaded anew. */
#include "script/pool/pool_parts.h"

#include "base/log/log.h"
#include "base/mem.h"
#include "script/plain/plain_data.h"
#include "script/vm/overrun.h"
#include "script/vm/vm.h"
#include "script/vm/vm_memory.h"
#include "script/vm/vm_thread.h"

#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

/* The stack of a thread's state: functions of pool_thread.lua. */
enum { LOAD = 1, FIND, HANDLER, BOTTOM = HANDLER };

/* ---- the state ---- */

/* Leaves the three functions of the module, whose value is on the stack. */
static void push_functions(lua_State *L) {
    static const char *const names[] = {"load", "find", "handler"};
    for (int i = 0; i < 3; i++)
        lua_getfield(L, 1, names[i]);
    lua_remove(L, 1);
}

/* The threads may have been told to end before there was a state to interrupt. */
static void set_vm(struct pool_thread *thread, struct vm *vm) {
    uv_mutex_lock(&thread->pool->lock);
    thread->vm = vm;
    if (vm != NULL && thread->pool->must_stop)
        pool_interrupt(thread);
    uv_mutex_unlock(&thread->pool->lock);
}

static void close_state(struct pool_thread *thread) {
    const struct pools_functions *functions = &thread->pool->pools->functions;
    struct vm *vm = thread->vm;
    if (vm == NULL)
        return;
    set_vm(thread, NULL);
    functions->release(functions->user, vm_budget(vm));
    vm_thread_free(vm);
}

/* The default limit of a state's memory: no more than that of a worker. */
static const size_t DEFAULT_MEMORY = 256 * 1024 * 1024;

static size_t memory_of(const struct pool *pool) {
    if (pool->options.memory != 0)
        return pool->options.memory;
    size_t newest = vm_memory_newest_limit();
    return newest < DEFAULT_MEMORY ? newest : DEFAULT_MEMORY;
}

static bool open_state(struct pool_thread *thread) {
    const struct pools_functions *functions = &thread->pool->pools->functions;
    struct vm_thread_options options = {
        .bindings = functions->bindings,
        .name = thread->pool->options.name,
        .memory = memory_of(thread->pool),
    };
    struct vm *vm = vm_thread_new(&options, "tidewire.pool_thread");
    if (vm == NULL)
        return false;
    push_functions(vm_thread_state(vm));
    functions->watch(functions->user, vm_budget(vm), options.name);
    set_vm(thread, vm);
    return true;
}

/* ---- loading ---- */

/* Keeps the list of files that the module has read, for --watch. */
static void keep_files(struct pool *pool, lua_State *L, int index) {
    size_t len;
    const char *files = lua_tolstring(L, index, &len);
    uv_mutex_lock(&pool->lock);
    pool->files.len = 0;
    if (files != NULL)
        buffer_add(&pool->files, files, len);
    uv_mutex_unlock(&pool->lock);
}

/* Loads the module. On failure the sentence is in `why`. */
static bool load_module(struct pool_thread *thread, struct buffer *why) {
    struct pool *pool = thread->pool;
    lua_State *L = vm_thread_state(thread->vm);
    struct overrun overrun;
    lua_pushvalue(L, LOAD);
    lua_pushstring(L, pool->options.name);
    lua_pushstring(L, pool->options.path);
    lua_pushstring(L, pool->options.library_path);
    lua_pushstring(L, pool->options.cpath);
    enum vm_thread_result result =
        vm_thread_call(thread->vm, 4, HANDLER, pool->options.load_budget, &overrun);
    if (result == VM_THREAD_OVERRUN) {
        buffer_printf(why, "%sloading took longer than limits.load_timeout, %g seconds of CPU time",
                      overrun.where, overrun.may_seconds);
        overrun_free(&overrun);
    } else if (result == VM_THREAD_RETURNED) { /* files, message|nil */
        keep_files(pool, L, BOTTOM + 1);
        if (lua_isstring(L, BOTTOM + 2))
            buffer_printf(why, "%s", lua_tostring(L, BOTTOM + 2));
    } else {
        const char *text = lua_tostring(L, -1);
        buffer_printf(why, "%s", text == NULL ? "the module cannot be loaded" : text);
    }
    lua_settop(L, BOTTOM);
    vm_thread_collect(thread->vm, true); /* what loading has left behind */
    return why->len == 0;
}

/* Makes a state with the module. */
static bool make_state(struct pool_thread *thread, struct buffer *why) {
    if (!open_state(thread)) {
        buffer_printf(why, "the library cannot be loaded");
        return false;
    }
    if (load_module(thread, why))
        return true;
    close_state(thread);
    return false;
}

/* The first load of a thread. */
static bool load_first(struct pool_thread *thread) {
    struct pool *pool = thread->pool;
    struct buffer why = {0};
    bool good = false;
    uv_mutex_lock(&pool->loading);
    bool wants = pool_wants_load(pool);
    if (wants)
        good = make_state(thread, &why);
    if (why.len > 0)
        buffer_add(&why, "", 1);
    uv_mutex_unlock(&pool->loading);
    pool_loaded(thread, !wants || good ? NULL : buffer_start(&why));
    buffer_free(&why);
    return good;
}

/* ---- a call ---- */

void pool_interrupt(struct pool_thread *thread) {
    vm_thread_interrupt(thread->vm);
}

void pool_prepare(struct pool_thread *thread) {
    if (thread->vm != NULL)
        vm_thread_prepare(thread->vm);
}

/* A call, for run_call(). */
struct run {
    struct pool_call *call;
    size_t max_bytes;
    bool is_unknown; /* the module has no such function: a hint is on the stack */
};

enum { RUN = 1, NAME = 3, FUNCTION, FIRST_RESULT = FUNCTION }; /* the stack of run_call() */

/* Throws for a result that is no plain data. */
static void write_results(lua_State *L, const struct run *run) {
    char text[512];
    struct error_text problem = {text, sizeof text};
    int top = lua_gettop(L);
    for (int i = FIRST_RESULT; i <= top; i++) {
        if (plain_data_write(L, i, run->max_bytes, &run->call->results, &problem))
            continue;
        run->call->results.len = 0;
        lua_pushfstring(L, "result #%d of %s%s", i - FIRST_RESULT + 1, lua_tostring(L, NAME), text);
        lua_error(L);
    }
}

/* (struct run, find): calls the function of the module, and writes its results. */
static int run_call(lua_State *L) {
    struct run *run = lua_touserdata(L, RUN);
    const struct buffer *arguments = &run->call->arguments;
    int count = plain_data_read_all(L, buffer_start(arguments), arguments->len);
    if (count < 1)
        return luaL_error(L, "the arguments cannot be read"); /* run, find, name, ... */
    lua_pushvalue(L, 2);
    lua_pushvalue(L, NAME);
    lua_call(L, 1, 2); /* function, hint */
    if (lua_isnil(L, -2)) {
        run->is_unknown = true;
        return 1;
    }
    lua_pop(L, 1);
    lua_insert(L, FUNCTION);
    lua_call(L, count - 1, LUA_MULTRET);
    write_results(L, run);
    return 0;
}

static void write_text(struct pool_call *call, const char *text) {
    plain_data_write_text(&call->results, text, strlen(text));
}

/* Writes message, traceback and kind. */
static void write_error(struct pool_call *call, const char *message, const char *traceback,
                        const char *kind) {
    write_text(call, message);
    write_text(call, traceback);
    write_text(call, kind);
}

/* Writes the table on top, which the message handler has made. */
static void write_caught(lua_State *L, const struct run *run) {
    static const char *const names[] = {"message", "traceback", "kind"};
    char text[512];
    struct error_text problem = {text, sizeof text};
    struct buffer *results = &run->call->results;
    int caught = lua_gettop(L);
    if (!lua_istable(L, caught)) { /* the handler has had no memory */
        const char *message = lua_tostring(L, caught);
        write_error(run->call, message == NULL ? "an error without a text" : message, "", "script");
        return;
    }
    for (int i = 0; i < 3; i++) {
        size_t len = 0;
        lua_getfield(L, caught, names[i]);
        const char *bytes = lua_tolstring(L, -1, &len);
        plain_data_write_text(results, bytes == NULL ? "" : bytes, len);
        lua_pop(L, 1);
    }
    size_t before = results->len;
    lua_getfield(L, caught, "value");
    if (!plain_data_write(L, -1, before + run->max_bytes, results, &problem))
        results->len = before; /* it stays in the thread */
    lua_pop(L, 1);
}

/* The call was over its budget. */
static void write_overrun(struct pool_call *call, struct overrun *overrun) {
    char message[512];
    snprintf(message, sizeof message,
             "%sended after %.2f seconds of CPU time; the pool's budget allows %g seconds",
             overrun->where, overrun->used_seconds, overrun->may_seconds);
    write_error(call, message, overrun->traceback, "timeout");
    overrun_free(overrun);
}

static enum pool_status make_call(struct pool_thread *thread, struct pool_call *call) {
    const struct pool_options *options = &thread->pool->options;
    struct run run = {.call = call, .max_bytes = options->queue_bytes};
    struct overrun overrun;
    lua_State *L = vm_thread_state(thread->vm);
    enum pool_status status = POOL_THROWN;
    lua_pushcfunction(L, run_call);
    lua_pushlightuserdata(L, &run);
    lua_pushvalue(L, FIND);
    enum vm_thread_result result =
        vm_thread_call(thread->vm, 2, HANDLER, options->budget, &overrun);
    if (result != VM_THREAD_RETURNED)
        call->results.len = 0;
    switch (result) {
    case VM_THREAD_RETURNED:
        status = run.is_unknown ? POOL_UNKNOWN : POOL_RETURNED;
        if (run.is_unknown)
            write_text(call, lua_tostring(L, -1));
        break;
    case VM_THREAD_FAILED:
        write_caught(L, &run);
        break;
    case VM_THREAD_NO_MEMORY:
        write_error(call, lua_tostring(L, -1), "", "memory");
        break;
    case VM_THREAD_OVERRUN:
        write_overrun(call, &overrun);
        break;
    }
    lua_settop(L, BOTTOM);
    return status;
}

/* The same, with a new state where there is none. */
static enum pool_status make_call_anew(struct pool_thread *thread, struct pool_call *call) {
    struct buffer why = {0};
    if (thread->vm != NULL || make_state(thread, &why))
        return make_call(thread, call);
    buffer_add(&why, "", 1);
    write_error(call, buffer_start(&why), "", "script");
    buffer_free(&why);
    return POOL_THROWN;
}

/* After a call. */
static void collect(struct pool_thread *thread) {
    if (thread->vm == NULL || !vm_thread_collect(thread->vm, false))
        return;
    close_state(thread);
    struct log_line line;
    log_begin(&line, LOG_WARN, "memory_full");
    log_str(&line, "pool", thread->pool->options.name);
    log_int(&line, "limit", (int64_t)memory_of(thread->pool));
    log_str(&line, "why",
            "the module keeps most of the memory that the pool's option memory allows a "
            "thread: the thread loads it anew");
    log_end(&line);
}

/* ---- the thread ---- */

void pool_thread_run(void *argument) {
    struct pool_thread *thread = argument;
    struct pool_call *call;
    if (load_first(thread))
        while ((call = pool_next(thread)) != NULL) {
            pool_done(thread, call, make_call_anew(thread, call));
            collect(thread);
        }
    close_state(thread);
    pool_thread_ended(thread);
}
