/* bind_guarded.c -- core.guarded: functions that replace Lua's own in scripts.
 *
 * Each does what Lua's does, and more: those that run coroutines note which one runs, and those
 * that catch errors do not catch the end of a run (budget.c). Others are in bind_finalizers.c and
 * bind_process.c. guarded.lua installs all of them. */
#include "script/bind/bind.h"
#include "script/vm/calls.h"
#include "script/vm/closing.h"

#include <limits.h>
#include <string.h>

/* ---- coroutines ---- */

static lua_State *check_coroutine(lua_State *L) {
    lua_State *co = lua_tothread(L, 1);
    luaL_argexpected(L, co != NULL, 1, "coroutine");
    return co;
}

/* The run is over, so the coroutine at index 1, which L has resumed, has ended: L ends as well. */
static int end_as_well(lua_State *L) {
    lua_settop(L, 1);
    budget_abandon(L);
    return budget_unwind(L);
}

/* Pushes false and the message; NULL: the error is on top already. Returns the number of results.
 */
static int push_false(lua_State *L, const char *message) {
    lua_pushboolean(L, 0);
    if (message != NULL)
        lua_pushstring(L, message);
    else
        lua_insert(L, -2); /* false, error */
    return 2;
}

/* coroutine.resume */
static int guarded_resume(lua_State *L) {
    struct budget *budget = &vm_of(L)->budget;
    lua_State *co = check_coroutine(L);
    int arguments = lua_gettop(L) - 1, results;
    const struct task *task = vm_task_at(L, 1);
    if (task != NULL && task->waiting)
        return push_false(L, "cannot resume a hook of the server: one that waits with tw.await "
                             "goes on when the function that it got from tw.await is called");
    if (!lua_checkstack(co, arguments))
        return push_false(L, "too many arguments to resume");
    lua_xmove(L, co, arguments);
    lua_State *outer = budget_enter(budget, co);
    int status = lua_resume(co, L, arguments, &results);
    budget_leave(budget, outer);
    if (budget_is_over(budget))
        return end_as_well(L);
    if (status != LUA_OK && status != LUA_YIELD) {
        lua_xmove(co, L, 1);
        return push_false(L, NULL);
    }
    if (!lua_checkstack(L, results + 1)) {
        lua_pop(co, results);
        return push_false(L, "too many results to resume");
    }
    lua_pushboolean(L, 1);
    lua_xmove(co, L, results);
    return results + 1;
}

/* The status of a coroutine that cannot be closed; NULL: it is "suspended" or "dead". */
static const char *why_not_closed(lua_State *L, lua_State *co) {
    lua_Debug activation;
    if (co == L)
        return "running";
    return lua_status(co) == LUA_OK && lua_getstack(co, 0, &activation) ? "normal" : NULL;
}

/* Closes the coroutine of a task: a waiting task fails, another has ended already. */
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
        return push_false(L, NULL);
    }
    lua_pushboolean(L, 1);
    return 1;
}

/* ---- protected calls ---- */

/* The end of pcall and xpcall; `extra` values stand below the results, the first of which is `true`
 * already. */
static int finish_call(lua_State *L, int status, lua_KContext extra) {
    if (status == LUA_OK || status == LUA_YIELD)
        return lua_gettop(L) - (int)extra;
    if (budget_is_over(&vm_of(L)->budget))
        return budget_unwind(L);
    return push_false(L, NULL);
}

/* pcall */
static int guarded_pcall(lua_State *L) {
    luaL_checkany(L, 1);
    lua_pushboolean(L, 1);
    lua_insert(L, 1); /* true, f, ... */
    int status = lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 0, finish_call);
    return finish_call(L, status, 0);
}

/* xpcall(f, handler, ...). The upvalue returns the message handler to use for the script's one. */
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

/* make_xpcall(guard) -> an xpcall whose message handler is guard(handler). */
static int make_xpcall(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    lua_pushcclosure(L, guarded_xpcall, 1);
    return 1;
}

/* debug.traceback([thread,] [message [, level]]) */
static int guarded_traceback(lua_State *L) {
    bool of_another = lua_isthread(L, 1);
    lua_State *co = of_another ? lua_tothread(L, 1) : L;
    int message = of_another ? 2 : 1;
    if (!lua_isnoneornil(L, message) && !lua_isstring(L, message)) {
        lua_pushvalue(L, message); /* returned as it is */
        return 1;
    }
    lua_Integer level = luaL_optinteger(L, message + 1, co == L ? 1 : 0);
    if (level < 0 || level > INT_MAX / 2)
        level = INT_MAX / 2; /* beyond any call */
    calls_traceback(L, co, lua_tostring(L, message), (int)level);
    return 1;
}

/* collectgarbage: a mode that a script chooses stays. Lua's own is called without a call of Lua's,
 * so that its errors have the name and the place that they would have. */
static int guarded_collectgarbage(lua_State *L) {
    const char *option = lua_type(L, 1) == LUA_TSTRING ? lua_tostring(L, 1) : "";
    if (strcmp(option, "generational") == 0 || strcmp(option, "incremental") == 0)
        vm_memory_keep_collector(vm_of(L));
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

/* ---- the table ---- */

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
    add(L, "traceback", guarded_traceback);
    lua_getglobal(L, "collectgarbage");
    lua_pushcclosure(L, guarded_collectgarbage, 1);
    lua_setfield(L, -2, "collectgarbage");
    bind_finalizers_add_functions(L);
    bind_process_add_functions(L);
}
