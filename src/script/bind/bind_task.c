/* bind_task.c -- tidewire.core: tasks, known to Lua by an integer: waiting, starting, budgets,
 * loading. async.lua makes tw.sleep, tw.await and tw.spawn of these functions. */
#include "script/bind/bind.h"
#include "script/vm/app.h"

/* core.task() -> the running task | nil, why it cannot wait */
static int core_task(lua_State *L) {
    struct vm *vm = vm_of(L);
    if (vm_must_return(vm))
        return bind_push_failure(L, "validate must answer at once; do the slow part in on_start");
    if (vm_current(vm) == NULL)
        return bind_push_failure(L, "nothing here can wait (a callback of luv's); use tw.spawn");
    lua_pushinteger(L, (lua_Integer)vm_task_number(vm_current(vm)));
    return 1;
}

/* core.has_client() -> boolean|nil: is the connection of the running hook open? nil: the running
 * task is no hook of a connection, or is its on_close. */
static int core_has_client(lua_State *L) {
    struct vm *vm = vm_of(L);
    const struct task *task = vm_current(vm);
    if (task == NULL || task->conn == 0 || task->event == EVENT_CLOSED)
        lua_pushnil(L);
    else
        lua_pushboolean(L, hub_is_open(vm->hub, task->conn));
    return 1;
}

/* core.wake(task) -> boolean: false: it has ended. The task goes on at the end of the loop's turn.
 */
static int core_wake(lua_State *L) {
    lua_pushboolean(L, vm_wake(vm_of(L), (uint64_t)luaL_checkinteger(L, 1)));
    return 1;
}

/* core.spawn(f, ...): runs f(...) as a task of its own at the end of the loop's turn. */
static int core_spawn(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    vm_spawn(vm_of(L), L, lua_gettop(L) - 1);
    return 0;
}

/* ---- budgets ---- */

/* core.is_over() -> boolean: is the run over its budget, and must end? */
static int core_is_over(lua_State *L) {
    lua_pushboolean(L, budget_is_over(&vm_of(L)->budget));
    return 1;
}

/* core.set_budgets(handler_seconds, load_seconds): sets the budgets of tasks that belong to no
 * endpoint, and of loading. */
static int core_set_budgets(lua_State *L) {
    budget_set(vm_of(L), luaL_checknumber(L, 1), luaL_checknumber(L, 2));
    return 0;
}

/* ---- memory ---- */

/* The workers of a process share this much memory, unless limits.memory says otherwise: half of
 * what the process may have. Each has at least LEAST_SHARE. */
enum { PROCESS_PART = 2 };
static const size_t LEAST_SHARE = 32 * 1024 * 1024;

/* core.default_memory(workers) -> the default of limits.memory, in bytes, where so many workers
 * run; 0: one for each processor. */
static int core_default_memory(lua_State *L) {
    unsigned workers = app_workers(luaL_checknumber(L, 1));
    size_t share = vm_of(L)->options.memory / PROCESS_PART / workers;
    lua_pushinteger(L, (lua_Integer)(share < LEAST_SHARE ? LEAST_SHARE : share));
    return 1;
}

/* core.limit_memory(bytes): limits the memory of this state. */
static int core_limit_memory(lua_State *L) {
    lua_Integer bytes = luaL_checkinteger(L, 1);
    luaL_argcheck(L, bytes > 0, 1, "more than 0 expected");
    vm_memory_set_limit(vm_of(L), (size_t)bytes);
    return 0;
}

/* core.check_lasting(): raises an error of memory, unless the running script may start what stays
 * when the hook ends. core.timer and core.spawn check it themselves. */
static int core_check_lasting(lua_State *L) {
    vm_memory_check_lasting(L);
    return 0;
}

/* core.memory() -> the bytes that this state has, garbage included */
static int core_memory(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)lua_memory_used(&vm_of(L)->memory.blocks));
    return 1;
}

/* core.memory_error() -> a sentence about the last allocation that has failed. Counts an error of
 * memory. */
static int core_memory_error(lua_State *L) {
    vm_memory_count_error(vm_of(L));
    vm_memory_push_message(L);
    return 1;
}

/* core.runs_for(conn): the running task belongs to this connection: to its endpoint's budget and
 * on_error. */
static int core_runs_for(lua_State *L) {
    conn_id conn = bind_check_conn(L, 1);
    struct task *task = vm_current(vm_of(L));
    if (task != NULL)
        task->owner = conn;
    return 0;
}

/* core.runs_at(endpoint): the running task has the budget of the endpoint with this number. */
static int core_runs_at(lua_State *L) {
    const struct endpoint *endpoint = bind_find_endpoint(L, 1);
    struct task *task = vm_current(vm_of(L));
    if (endpoint != NULL && task != NULL)
        task->budget_ns = endpoint->handler_timeout_ns;
    return 0;
}

/* ---- loading ---- */

/* core.loaded(app|nil, problems|nil, sources|nil): the result of a `reload`; the texts are
 * lines. */
static int core_loaded(lua_State *L) {
    if (lua_istable(L, 1))
        vm_load_succeeded(vm_of(L), L, 1);
    else
        vm_load_failed(vm_of(L), lua_tostring(L, 2), lua_tostring(L, 3));
    return 0;
}

/* core.scope() -> the generation that the running task loads, or whose loading has started it; nil:
 * none */
static int core_scope(lua_State *L) {
    const struct task *task = vm_current(vm_of(L));
    if (task == NULL || task->scope == 0)
        lua_pushnil(L);
    else
        lua_pushinteger(L, task->scope);
    return 1;
}

/* core.set_scope(generation|nil): the running task, and those that it spawns, belong to the loading
 * of this generation. */
static int core_set_scope(lua_State *L) {
    struct task *task = vm_current(vm_of(L));
    lua_Integer scope = luaL_optinteger(L, 1, 0);
    if (task != NULL)
        task->scope = (unsigned)scope;
    return 0;
}

/* core.end_scope(generation): ends the tasks that its loading has started and that wait. */
static int core_end_scope(lua_State *L) {
    lua_Integer scope = luaL_checkinteger(L, 1);
    luaL_argcheck(L, scope > 0, 1, "no generation");
    vm_end_scope(vm_of(L), (unsigned)scope);
    return 0;
}

const luaL_Reg bind_task_functions[] = {
    {"task", core_task},
    {"has_client", core_has_client},
    {"wake", core_wake},
    {"spawn", core_spawn},
    {"is_over", core_is_over},
    {"set_budgets", core_set_budgets},
    {"default_memory", core_default_memory},
    {"limit_memory", core_limit_memory},
    {"check_lasting", core_check_lasting},
    {"memory", core_memory},
    {"memory_error", core_memory_error},
    {"runs_for", core_runs_for},
    {"runs_at", core_runs_at},
    {"loaded", core_loaded},
    {"scope", core_scope},
    {"set_scope", core_set_scope},
    {"end_scope", core_end_scope},
    {NULL, NULL},
};
