/* bind_pool.c -- tidewire.core: pools and their calls, known to Lua by integers.
 *
 * pool.lua makes tw.pool of these functions. The worker's client of the pools is made with its
 * first pool. */
#include "script/bind/bind.h"

#include "script/plain/plain_data.h"
#include "script/pool/pool_client.h"
#include "script/pool/pool_figures.h"

#include <string.h>

static bool wake(void *vm, uint64_t task) {
    return vm_wake(vm, task);
}

/* The worker's client; NULL: there is none, because the worker has made no pool, or ends. */
static struct pool_client *client_of(lua_State *L) {
    return vm_of(L)->pools;
}

static uint64_t check_number(lua_State *L, int index) {
    return (uint64_t)luaL_checkinteger(L, index);
}

/* core.pool_open(module, generation, threads, queue, queue_bytes, memory|nil, budget, path,
 *                library_path, cpath) -> pool | nil, message
 * Starts the threads, unless another worker has. `memory` nil: the default. */
static int core_pool_open(lua_State *L) {
    struct vm *vm = vm_of(L);
    struct pool_options options = {
        .name = luaL_checkstring(L, 1),
        .generation = (unsigned)luaL_checkinteger(L, 2),
        .threads = (unsigned)luaL_checkinteger(L, 3),
        .queue = (uint64_t)luaL_checkinteger(L, 4),
        .queue_bytes = (size_t)luaL_checkinteger(L, 5),
        .memory = (size_t)luaL_optinteger(L, 6, 0),
        .budget = luaL_checknumber(L, 7),
        .load_budget = budget_load_seconds(&vm->budget),
        .path = luaL_checkstring(L, 8),
        .library_path = luaL_checkstring(L, 9),
        .cpath = luaL_checkstring(L, 10),
    };
    char why[256] = "the server is shutting down";
    if (vm->pools == NULL && !vm->pools_are_closed)
        vm->pools = pool_client_new(vm->options.pools, vm->loop, wake, vm);
    uint64_t number =
        vm->pools == NULL ? 0 : pool_client_open(vm->pools, &options, why, sizeof why);
    if (number == 0)
        return bind_push_failure(L, why);
    lua_pushinteger(L, (lua_Integer)number);
    return 1;
}

/* core.pool_release(pool): this worker makes no more calls in it. Calls under way go on. */
static int core_pool_release(lua_State *L) {
    uint64_t number = check_number(L, 1);
    if (client_of(L) != NULL)
        pool_client_release(client_of(L), number);
    return 0;
}

/* core.pool_load(pool, task) -> call | nothing: loading has ended. Wakes the task at its end. */
static int core_pool_load(lua_State *L) {
    uint64_t number = check_number(L, 1), task = check_number(L, 2);
    uint64_t call = client_of(L) == NULL ? 0 : pool_client_load(client_of(L), number, task);
    if (call == 0)
        return 0;
    lua_pushinteger(L, (lua_Integer)call);
    return 1;
}

/* core.pool_loaded(pool) -> files, message|nil: the script files that the module has read or looked
 * for, one a line; why it could not be loaded */
static int core_pool_loaded(lua_State *L) {
    uint64_t number = check_number(L, 1);
    if (client_of(L) == NULL)
        return 0;
    struct slice text = pool_client_files(client_of(L), number);
    lua_pushlstring(L, text.bytes, text.len);
    text = pool_client_failure(client_of(L), number);
    if (text.len == 0)
        return 1;
    lua_pushlstring(L, text.bytes, text.len);
    return 2;
}

/* Writes the arguments from the index on. Throws a text without a place if one is no plain data. */
static void write_arguments(lua_State *L, int first, size_t max_bytes) {
    char text[512];
    struct error_text problem = {text, sizeof text};
    struct buffer *out = pool_client_arguments(client_of(L));
    int top = lua_gettop(L);
    for (int i = first; i <= top; i++) {
        if (plain_data_write(L, i, max_bytes, out, &problem))
            continue;
        lua_pushfstring(L, "argument #%d%s", i - first,
                        text); /* the first is the function's name */
        lua_error(L);
    }
}

static const char *const status_names[] = {
    [POOL_RETURNED] = "returned", [POOL_THROWN] = "thrown", [POOL_UNKNOWN] = "unknown",
    [POOL_TIMEOUT] = "timeout",   [POOL_CLOSED] = "closed", [POOL_FULL] = "queue full",
};

/* core.pool_call(pool, task, timeout, max_bytes, function, ...) -> call | nil, "closed"
 *      | nil, "queue full"
 * Wakes the task when the call is done, or `timeout` seconds later. Throws for an argument that is
 * no plain data. The caller must call core.pool_forget. */
static int core_pool_call(lua_State *L) {
    uint64_t number = check_number(L, 1), task = check_number(L, 2);
    lua_Number seconds = luaL_checknumber(L, 3);
    size_t max_bytes = (size_t)luaL_checkinteger(L, 4);
    luaL_argcheck(L, seconds >= 0 && seconds <= 1e9, 3, "0 to 1e9 expected");
    luaL_checktype(L, 5, LUA_TSTRING);
    enum pool_status status = POOL_CLOSED;
    uint64_t call = 0;
    if (client_of(L) != NULL) {
        write_arguments(L, 5, max_bytes);
        call = pool_client_call(client_of(L), number, task, (uint64_t)(seconds * 1000), &status);
    }
    if (call == 0)
        return bind_push_failure(L, status_names[status]);
    lua_pushinteger(L, (lua_Integer)call);
    return 1;
}

/* core.pool_result(call) -> nothing: it is not done | "returned", ... | "thrown", message,
 * traceback, kind, value|nil | "unknown", hint | "timeout" | "closed": it could not be
 * made */
static int core_pool_result(lua_State *L) {
    uint64_t number = check_number(L, 1);
    enum pool_status status;
    struct slice results;
    if (client_of(L) == NULL || !pool_client_result(client_of(L), number, &status, &results))
        return 0;
    lua_pushstring(L, status_names[status]);
    int count = plain_data_read_all(L, results.bytes, results.len);
    if (count < 0)
        return luaL_error(L, "the results of the call cannot be read");
    return count + 1;
}

/* core.pool_forget(call): drops its results, now or when they come. */
static int core_pool_forget(lua_State *L) {
    uint64_t number = check_number(L, 1);
    if (client_of(L) != NULL)
        pool_client_forget(client_of(L), number);
    return 0;
}

/* ---- figures ---- */

/* The sums over all pools, or the figures of one. */
struct figures {
    const char *name; /* NULL: all */
    struct pool_figures sum;
};

static void add_figures(void *user, const struct pool_figures *figures) {
    struct figures *wanted = user;
    struct pool_figures *sum = &wanted->sum;
    if (wanted->name != NULL && strcmp(wanted->name, figures->name) != 0)
        return;
    sum->threads += figures->threads;
    sum->busy += figures->busy;
    sum->queue += figures->queue;
    sum->queue_bytes += figures->queue_bytes;
    sum->calls += figures->calls;
    sum->errors += figures->errors;
    sum->timeouts += figures->timeouts;
    sum->refused += figures->refused;
    sum->wait.sum_ns += figures->wait.sum_ns;
    sum->run.sum_ns += figures->run.sum_ns;
}

static void set_count(lua_State *L, const char *name, uint64_t value) {
    lua_pushinteger(L, (lua_Integer)value);
    lua_setfield(L, -2, name);
}

static void set_seconds(lua_State *L, const char *name, uint64_t ns) {
    lua_pushnumber(L, (lua_Number)ns / 1e9);
    lua_setfield(L, -2, name);
}

/* core.pool_figures(module|nil) -> a new table: threads, busy, queue, queue_bytes, calls, errors,
 * timeouts, refused, wait_seconds, run_seconds; of the pools of this module in all generations and
 * workers, nil: of all pools */
static int core_pool_figures(lua_State *L) {
    struct figures figures = {.name = luaL_optstring(L, 1, NULL)};
    struct pools *pools = vm_of(L)->options.pools;
    if (pools != NULL)
        pools_figures(pools, add_figures, &figures);
    lua_createtable(L, 0, 10);
    set_count(L, "threads", figures.sum.threads);
    set_count(L, "busy", figures.sum.busy);
    set_count(L, "queue", figures.sum.queue);
    set_count(L, "queue_bytes", figures.sum.queue_bytes);
    set_count(L, "calls", figures.sum.calls);
    set_count(L, "errors", figures.sum.errors);
    set_count(L, "timeouts", figures.sum.timeouts);
    set_count(L, "refused", figures.sum.refused);
    set_seconds(L, "wait_seconds", figures.sum.wait.sum_ns);
    set_seconds(L, "run_seconds", figures.sum.run.sum_ns);
    return 1;
}

const luaL_Reg bind_pool_functions[] = {
    {"pool_open", core_pool_open},
    {"pool_release", core_pool_release},
    {"pool_load", core_pool_load},
    {"pool_loaded", core_pool_loaded},
    {"pool_call", core_pool_call},
    {"pool_result", core_pool_result},
    {"pool_forget", core_pool_forget},
    {"pool_figures", core_pool_figures},
    {NULL, NULL},
};

/* ---- life ---- */

bool bind_pool_has_calls(const struct vm *vm) {
    return pool_client_has_calls(vm->pools);
}

void bind_pool_close(struct vm *vm) {
    pool_client_close(vm->pools);
    vm->pools = NULL;
    vm->pools_are_closed = true;
}
