/* bind_guarded.c -- tidewire.core: what scripts get instead of some functions of Lua's own, and
 * budgets.
 *
 * Each does what Lua's does, and a little more: those that run coroutines keep track of which one
 * runs, those that catch errors do not catch the end of a run (budget.c), and setmetatable lets the
 * loop run finalizers. guarded.lua puts them together. */
#include "script/vm/calls.h"
#include "script/vm/closing.h"
#include "script/vm/vm_internal.h"

#include <limits.h>

/* Most finalizers in one turn of the loop: others wait, too. */
enum { FINALIZERS_A_TURN = 256 };

/* ---- coroutines ---- */

static lua_State *check_coroutine(lua_State *L) {
    lua_State *co = lua_tothread(L, 1);
    luaL_argexpected(L, co != NULL, 1, "coroutine");
    return co;
}

/* The coroutine at index 1, which L has resumed, has been ended: L ends, too. */
static int end_as_well(lua_State *L) {
    lua_settop(L, 1);
    budget_abandon(L);
    return budget_unwind(L);
}

static int push_failure(lua_State *L, const char *why) {
    lua_pushboolean(L, 0);
    if (why != NULL)
        lua_pushstring(L, why);
    else
        lua_insert(L, -2); /* why is on top */
    return 2;
}

/* coroutine.resume */
static int guarded_resume(lua_State *L) {
    struct budget *budget = &vm_of(L)->budget;
    lua_State *co = check_coroutine(L);
    int arguments = lua_gettop(L) - 1, results;
    const struct task *task = vm_task_at(L, 1);
    if (task != NULL && task->waiting)
        return push_failure(L, "cannot resume a hook of the server: one that waits with tw.await "
                               "goes on when what that gave to its function is called");
    if (!lua_checkstack(co, arguments))
        return push_failure(L, "too many arguments to resume");
    lua_xmove(L, co, arguments);
    lua_State *outer = budget_enter(budget, co);
    int status = lua_resume(co, L, arguments, &results);
    budget_leave(budget, outer);
    if (budget_is_over(budget))
        return end_as_well(L);
    if (status != LUA_OK && status != LUA_YIELD) {
        lua_xmove(co, L, 1);
        return push_failure(L, NULL);
    }
    if (!lua_checkstack(L, results + 1)) {
        lua_pop(co, results);
        return push_failure(L, "too many results to resume");
    }
    lua_pushboolean(L, 1);
    lua_xmove(co, L, results);
    return results + 1;
}

/* The status of a coroutine that is no other than "suspended" or "dead"; NULL: it cannot be closed.
 * */
static const char *why_not_closed(lua_State *L, lua_State *co) {
    lua_Debug activation;
    if (co == L)
        return "running";
    return lua_status(co) == LUA_OK && lua_getstack(co, 0, &activation) ? "normal" : NULL;
}

/* The coroutine is a hook's: one that waits fails, others have ended. */
static int close_task(lua_State *L, struct task *task) {
    if (task->waiting && vm_is_loading(task))
        return luaL_error(L, "cannot close the coroutine that loads the app");
    if (task->waiting)
        vm_abort_task(task);
    lua_pushboolean(L, 1);
    return 1;
}

/* coroutine.close */
static int guarded_close(lua_State *L) {
    struct budget *budget = &vm_of(L)->budget;
    lua_State *co = check_coroutine(L);
    const char *why_not = why_not_closed(L, co);
    if (why_not != NULL)
        return luaL_error(L, "cannot close a %s coroutine", why_not);
    struct task *task = vm_task_at(L, 1);
    if (task != NULL)
        return close_task(L, task);
    int status = closing_reset(L, co, false);
    if (budget_is_over(budget))
        return end_as_well(L);
    if (status != LUA_OK) {
        lua_xmove(co, L, 1);
        return push_failure(L, NULL);
    }
    lua_pushboolean(L, 1);
    return 1;
}

/* ---- protected calls ---- */

/* The end of both; `extra` values stand below the results. As in Lua's own, `true` is there
 * already. */
static int finish_call(lua_State *L, int status, lua_KContext extra) {
    if (status == LUA_OK || status == LUA_YIELD)
        return lua_gettop(L) - (int)extra;
    if (budget_is_over(&vm_of(L)->budget))
        return budget_unwind(L);
    return push_failure(L, NULL);
}

/* pcall */
static int guarded_pcall(lua_State *L) {
    luaL_checkany(L, 1);
    lua_pushboolean(L, 1);
    lua_insert(L, 1); /* true, f, ... */
    int status = lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 0, finish_call);
    return finish_call(L, status, 0);
}

/* xpcall(f, handler, ...). The upvalue makes a message handler of the script's one. */
static int guarded_xpcall(lua_State *L) {
    int arguments = lua_gettop(L) - 2;
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, 2);
    lua_call(L, 1, 1);
    lua_replace(L, 2); /* f, handler, ... */
    lua_pushboolean(L, 1);
    lua_pushvalue(L, 1);
    lua_rotate(L, 3, 2); /* f, handler, true, f, ... */
    int status = lua_pcallk(L, arguments, LUA_MULTRET, 2, 2, finish_call);
    return finish_call(L, status, 2);
}

/* make_xpcall(guard) -> xpcall, whose message handlers are what guard(handler) returns. */
static int make_xpcall(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    lua_pushcclosure(L, guarded_xpcall, 1);
    return 1;
}

/* core.is_over() -> boolean: is the run to end? */
static int core_is_over(lua_State *L) {
    lua_pushboolean(L, budget_is_over(&vm_of(L)->budget));
    return 1;
}

/* debug.traceback([thread,] [message [, level]]) */
static int guarded_traceback(lua_State *L) {
    bool of_another = lua_isthread(L, 1);
    lua_State *co = of_another ? lua_tothread(L, 1) : L;
    int message = of_another ? 2 : 1;
    if (!lua_isnoneornil(L, message) && !lua_isstring(L, message)) {
        lua_pushvalue(L, message); /* an error that is no text */
        return 1;
    }
    lua_Integer level = luaL_optinteger(L, message + 1, co == L ? 1 : 0);
    if (level < 0 || level > INT_MAX / 2)
        level = INT_MAX / 2; /* there are none */
    calls_traceback(L, co, lua_tostring(L, message), (int)level);
    return 1;
}

/* ---- finalizers ---- */

/* An object whose metatable has __gc is not marked for finalization itself. Its sentinel is: a
 * userdata that only the ephemeron table `sentinels` keeps, and only as long as the object lives.
 * */
static const char sentinels_key, sentinel_metatable_key;

/* A sentinel's __gc: its object is gone, and comes back to be finalized by the loop. */
static int on_dead(lua_State *L) {
    struct vm *vm = vm_of(L);
    lua_settop(L, 1);
    if (lua_getiuservalue(L, 1, 1) == LUA_TNIL) /* sentinel, object */
        return 0;
    lua_rawgetp(L, LUA_REGISTRYINDEX, &sentinels_key);
    lua_pushvalue(L, 2);
    lua_pushnil(L);
    lua_rawset(L, 3); /* it may be marked again */
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->finalizers.list_ref);
    lua_pushvalue(L, 2);
    lua_rawseti(L, -2, vm->finalizers.after);
    vm->finalizers.after++;
    return 0;
}

/* Gives the object at index 1 a sentinel, unless it has one. */
static void add_sentinel(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &sentinels_key);
    lua_pushvalue(L, 1);
    if (lua_rawget(L, -2) != LUA_TNIL) {
        lua_pop(L, 2);
        return;
    }
    lua_pop(L, 1);
    lua_newuserdatauv(L, 0, 1); /* sentinels, sentinel */
    lua_rawgetp(L, LUA_REGISTRYINDEX, &sentinel_metatable_key);
    lua_setmetatable(L, -2);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, -2); /* sentinels, sentinel, object, sentinel */
    lua_rawset(L, -4);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1); /* last: until then it is a sentinel of nothing */
    lua_pop(L, 2);
}

/* lua_setmetatable, of the metatable at index 2 to the object at index 1, that hides __gc from Lua.
 * */
static void set_metatable(lua_State *L) {
    lua_settop(L, 2);
    if (lua_istable(L, 2) && (lua_istable(L, 1) || lua_type(L, 1) == LUA_TUSERDATA)) {
        lua_pushliteral(L, "__gc");
        if (lua_rawget(L, 2) != LUA_TNIL) { /* object, metatable, finalizer */
            add_sentinel(L);
            lua_pushliteral(L, "__gc");
            lua_pushnil(L);
            lua_rawset(L, 2);
            lua_pushvalue(L, 2);
            lua_setmetatable(L, 1);
            lua_pushliteral(L, "__gc");
            lua_pushvalue(L, 3);
            lua_rawset(L, 2);
            return;
        }
        lua_settop(L, 2);
    }
    lua_setmetatable(L, 1);
}

static void check_metatable(lua_State *L) {
    int type = lua_type(L, 2);
    luaL_argexpected(L, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table");
}

/* setmetatable */
static int guarded_setmetatable(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    check_metatable(L);
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
        return luaL_error(L, "cannot change a protected metatable");
    set_metatable(L);
    lua_settop(L, 1);
    return 1;
}

/* debug.setmetatable */
static int guarded_debug_setmetatable(lua_State *L) {
    check_metatable(L);
    set_metatable(L);
    lua_settop(L, 1);
    return 1;
}

bool bind_guarded_has_finalizers(const struct vm *vm) {
    return vm->finalizers.first < vm->finalizers.after;
}

/* Runs the finalizer of an object, which is taken from the list on top of L. */
static void finalize(struct vm *vm, lua_State *L) {
    struct task *task = vm_task(vm, EVENT_FINALIZER, 0);
    lua_rawgeti(L, -1, vm->finalizers.first);
    lua_pushnil(L);
    lua_rawseti(L, -3, vm->finalizers.first);
    vm->finalizers.first++;
    lua_xmove(L, task->co, 1); /* its stack: object */
    if (lua_getmetatable(task->co, 1)) {
        lua_pushliteral(task->co, "__gc");
        if (lua_rawget(task->co, -2) == LUA_TFUNCTION) { /* object, metatable, finalizer */
            lua_replace(task->co, 2);
            lua_insert(task->co, 1); /* finalizer, object */
            vm_run_hook(task, 1);
            return;
        }
    }
    vm_task_done(task); /* it was taken away since, or is a word that only asks to be marked */
}

void bind_guarded_run_finalizers(struct vm *vm) {
    if (!bind_guarded_has_finalizers(vm))
        return;
    lua_State *L = vm->L;
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->finalizers.list_ref);
    for (int i = 0; i < FINALIZERS_A_TURN && bind_guarded_has_finalizers(vm); i++)
        finalize(vm, L);
    lua_pop(L, 1);
}

/* ---- budgets ---- */

/* core.set_budgets(handler_seconds, load_seconds): of what belongs to no endpoint, and of loading.
 * */
static int core_set_budgets(lua_State *L) {
    budget_set(vm_of(L), luaL_checknumber(L, 1), luaL_checknumber(L, 2));
    return 0;
}

/* core.runs_for(conn): what runs is the connection's: its budget holds, and its on_error is told.
 * */
static int core_runs_for(lua_State *L) {
    conn_id conn = (conn_id)luaL_checkinteger(L, 1);
    struct task *task = vm_current(vm_of(L));
    if (task != NULL)
        task->owner = conn;
    return 0;
}

/* core.runs_at(endpoint): the budget of the endpoint with this number holds for what runs. */
static int core_runs_at(lua_State *L) {
    struct vm *vm = vm_of(L);
    const struct endpoint *endpoint = hub_endpoint(vm->hub, (uint32_t)luaL_checkinteger(L, 1));
    struct task *task = vm_current(vm);
    if (endpoint != NULL && task != NULL)
        task->budget_ns = endpoint->handler_timeout_ns;
    return 0;
}

/* ---- life ---- */

void bind_guarded_open(struct vm *vm) {
    lua_State *L = vm->L;
    lua_newtable(L); /* sentinels */
    lua_newtable(L);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &sentinels_key);
    lua_newtable(L);
    lua_pushcfunction(L, on_dead);
    lua_setfield(L, -2, "__gc");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &sentinel_metatable_key);
    lua_newtable(L);
    vm->finalizers.list_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    vm->finalizers.first = vm->finalizers.after = 1;
}

static void add(lua_State *L, const char *name, lua_CFunction function) {
    lua_pushcfunction(L, function);
    lua_setfield(L, -2, name);
}

void bind_guarded_push(lua_State *L) {
    lua_newtable(L);
    add(L, "resume", guarded_resume);
    add(L, "close", guarded_close);
    add(L, "pcall", guarded_pcall);
    add(L, "make_xpcall", make_xpcall);
    add(L, "setmetatable", guarded_setmetatable);
    add(L, "debug_setmetatable", guarded_debug_setmetatable);
    add(L, "traceback", guarded_traceback);
    bind_process_add_functions(L);
}

const luaL_Reg bind_guarded_functions[] = {
    {"is_over", core_is_over},
    {"set_budgets", core_set_budgets},
    {"runs_for", core_runs_for},
    {"runs_at", core_runs_at},
    {NULL, NULL},
};
