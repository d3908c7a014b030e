/* vm_tasks.c -- tasks: how events enter Lua, sleep, wake and fail.
 *
 * Each event runs on a coroutine of its own from a pool, which is protected call and coroutine in
 * one. When it fails its stack is still there for the traceback; the error then becomes an event
 * itself (FAILED), so that on_error may sleep like any hook. Sleeping is yielding one certain word;
 * a coroutine that yields anything else to us is a mistake of the script's. */
#include "script/vm/vm_internal.h"

#include "base/clock.h"
#include "base/log/log.h"
#include "base/mem.h"
#include "base/turn.h"
#include "script/vm/calls.h"

#include <stdio.h>
#include <string.h>

/* Most that wait in the pool for their next event. The collector looks at every coroutine again and
 * again: a crowd of hooks that slept must not slow down the server for ever. */
enum { POOLED_TASKS = 256 };

static const char wait_marker, exit_marker; /* coroutines yield their addresses */

static const char *const event_names[EVENT_SPAWNED] = {
#define X(upper, lower) [EVENT_##upper] = #lower,
    VM_EVENTS(X)
#undef X
};

static const char *const hook_names[EVENT_COUNT] = {
    [EVENT_LOAD] = "load",           [EVENT_STOP] = "on_stop",
    [EVENT_HANDSHAKE] = "validate",  [EVENT_REQUEST] = "http",
    [EVENT_OPENED] = "on_start",     [EVENT_MESSAGE] = "handle_message",
    [EVENT_PING] = "send_ping",      [EVENT_TIMEOUT] = "on_timeout",
    [EVENT_DRAINED] = "on_drain",    [EVENT_CLOSED] = "on_close",
    [EVENT_FORGOTTEN] = "forgotten", [EVENT_PRESENCE_CHANGED] = "room:watch",
    [EVENT_TIMER] = "timer",         [EVENT_RETURNED] = "handle_message",
    [EVENT_FAILED] = "on_error",     [EVENT_SPAWNED] = "spawn",
    [EVENT_RELOAD] = "reload",       [EVENT_ACTIVATE] = "reload",
    [EVENT_DISCARD] = "reload",      [EVENT_RELOADED] = "on_reload",
    [EVENT_FINALIZER] = "__gc",
};

/* ---- the coroutines of tasks, by which scripts may know them ---- */

static const char tasks_key; /* its address is the key of a table: coroutine -> task */

static void remember_coroutine(struct task *task, bool is_there) {
    lua_State *L = task->vm->L;
    luaL_checkstack(L, 4, NULL);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &tasks_key) != LUA_TTABLE) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &tasks_key);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, task->ref); /* tasks, coroutine */
    if (is_there)
        lua_pushlightuserdata(L, task);
    else
        lua_pushnil(L);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

struct task *vm_task_at(lua_State *L, int index) {
    struct task *task = NULL;
    index = lua_absindex(L, index);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &tasks_key) == LUA_TTABLE) {
        lua_pushvalue(L, index);
        lua_rawget(L, -2);
        task = lua_touserdata(L, -1);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return task;
}

void vm_push_wait_marker(lua_State *L) {
    lua_pushlightuserdata(L, (void *)(uintptr_t)&wait_marker);
}

void vm_push_exit_marker(lua_State *L) {
    lua_pushlightuserdata(L, (void *)(uintptr_t)&exit_marker);
}

static struct task *take(struct vm *vm) {
    if (!list_empty(&vm->tasks.pool)) {
        struct task *task = LIST_OWNER(vm->tasks.pool.prev, struct task, link);
        list_remove(&task->link);
        vm->tasks.pooled--;
        return task;
    }
    struct task *task = mem_zalloc(sizeof *task);
    task->vm = vm;
    list_init(&task->link);
    task->co = lua_newthread(vm->L);
    task->ref = luaL_ref(vm->L, LUA_REGISTRYINDEX);
    remember_coroutine(task, true);
    return task;
}

static struct task *new_task(struct vm *vm, enum vm_event event, conn_id conn) {
    struct task *task = take(vm);
    task->conn = task->owner = conn;
    task->budget_ns = task->request = 0;
    task->event = event;
    task->generation = vm_generation(vm);
    task->scope = 0;
    task->arguments = -1;
    task->is_fast_path = task->is_last = false;
    return task;
}

struct task *vm_task_of(struct vm *vm, enum vm_event event, conn_id conn, int function) {
    struct task *task = new_task(vm, event, conn);
    lua_rawgeti(task->co, LUA_REGISTRYINDEX, function);
    return task;
}

struct task *vm_task(struct vm *vm, enum vm_event event, conn_id conn) {
    return event < EVENT_SPAWNED ? vm_task_of(vm, event, conn, vm->tasks.event_refs[event])
                                 : new_task(vm, event, conn);
}

static void forget_number(struct task *task) {
    if (task->number != 0)
        slots_remove(&task->vm->tasks.numbered, task->number);
    task->number = 0;
}

/* For coroutines that have not returned: what they were in the middle of, such as an xpcall's
 * message handler, may be set in them for ever. */
static void drop(struct task *task) {
    forget_number(task);
    remember_coroutine(task, false);
    luaL_unref(task->vm->L, LUA_REGISTRYINDEX, task->ref);
    mem_free(task);
}

void vm_task_done(struct task *task) {
    struct vm *vm = task->vm;
    lua_settop(task->co, 0);
    if (vm->tasks.pooled == POOLED_TASKS) {
        drop(task);
        return;
    }
    forget_number(task);
    task->waiting = task->woken = false;
    vm->tasks.pooled++;
    list_append(&vm->tasks.pool, &task->link);
}

uint64_t vm_task_number(struct task *task) {
    if (task->number == 0)
        task->number = slots_add(&task->vm->tasks.numbered, task);
    return task->number;
}

bool vm_has_task(const struct vm *vm, uint64_t number) {
    return slots_find(&vm->tasks.numbered, number) != NULL;
}

/* Closes the to-be-closed variables of a coroutine that failed. */
static void close_variables(struct task *task) {
    struct overrun overrun;
    if (budget_close(task, &overrun))
        return;
    overrun_log(task->vm, &overrun, hook_names[task->event], task->conn);
    overrun_free(&overrun);
}

/* Ends a task that waits, and is in no list. */
static void end_task(struct task *task) {
    close_variables(task);
    drop(task);
}

/* Answers the request of a route that has ended without an answer. 0: there is no request. */
static void respond_failure(struct vm *vm, uint64_t request, int status, const char *why) {
    if (request != 0)
        vm->responder.respond_failure(vm->responder.user, request, status, why);
}

static void respond_failed(struct vm *vm, uint64_t request) {
    respond_failure(vm, request, 500, "The server failed to answer.");
}

/* A task that hands an error to dispatch.lua; the error and its traceback are still to be
 * pushed. */
static struct task *failure_task(struct vm *vm, conn_id conn, const char *hook, const char *kind) {
    struct task *handler = vm_task(vm, EVENT_FAILED, conn);
    lua_pushinteger(handler->co, (lua_Integer)conn);
    lua_pushstring(handler->co, hook);
    lua_pushstring(handler->co, kind);
    return handler;
}

/* The coroutine failed (or cannot go on): hands the error to dispatch.lua on another one. */
static enum hook_state fail(struct task *task, int status) {
    struct vm *vm = task->vm;
    lua_State *co = task->co;
    enum vm_event event = task->event;
    conn_id conn = event == EVENT_FAILED ? task->owner : task->conn;
    respond_failed(vm, task->request);
    if (status == LUA_YIELD) /* the stack still shows where */
        lua_pushliteral(co, "coroutine.yield outside of a coroutine of the script's own; to wait, "
                            "use tw.sleep or tw.await");
    struct task *handler =
        failure_task(vm, conn, hook_names[event], status == LUA_ERRMEM ? "memory" : "script");
    handler->is_last =
        event == EVENT_FAILED; /* on_error has yielded, or its coroutine was closed */
    if (event == EVENT_RELOAD)
        vm_load_failed(vm, lua_tostring(co, -1), NULL);
    lua_xmove(co, handler->co, 1);
    calls_traceback(handler->co, co, NULL, 0);
    stats_add(&hub_stats(vm->hub)->script_errors, 1);
    close_variables(task);
    bool was_last = task->is_last;
    drop(task);
    if (was_last) { /* dispatch.lua itself: nothing of a script's runs where it tells of on_error */
        const char *why = lua_tostring(handler->co, -2); /* without __tostring: it could throw */
        log_event(LOG_ERROR, "internal_error", why == NULL ? "an error without a text" : why);
        vm_task_done(handler);
        return HOOK_DONE;
    }
    return vm_run_hook(handler, 5);
}

/* Hands a run that was over to dispatch.lua, as an error. */
static enum hook_state hand_over(struct vm *vm, conn_id conn, conn_id owner, const char *hook,
                                 const struct overrun *overrun) {
    struct task *handler = vm_task(vm, EVENT_FAILED, conn);
    handler->owner = owner;
    lua_pushinteger(handler->co, (lua_Integer)owner);
    lua_pushstring(handler->co, hook);
    lua_pushliteral(handler->co, "timeout");
    overrun_push(handler->co, overrun, false);
    lua_pushstring(handler->co, overrun->traceback);
    if (!budget_is_over(&vm->budget))
        return vm_run_hook(handler, 5);
    vm_run_later(handler, 5); /* this run was inside of another, which is to end first */
    return HOOK_SLEEPS;
}

/* The task's run was over, and has unwound. */
static enum hook_state end_overrun(struct task *task) {
    struct vm *vm = task->vm;
    enum vm_event event = task->event;
    conn_id conn = task->conn, owner = task->owner;
    uint64_t request = task->request;
    struct overrun overrun;
    budget_end(vm, task, &overrun);
    drop(task);
    enum hook_state state = HOOK_DONE;
    if (event == EVENT_LOAD || event == EVENT_RELOAD)
        vm_load_overrun(vm, event == EVENT_LOAD, &overrun);
    else
        state = hand_over(vm, conn, owner, hook_names[event], &overrun);
    respond_failed(vm, request);
    overrun_free(&overrun);
    return state;
}

enum vm_result vm_run(struct task *task, int arguments) {
    struct vm *vm = task->vm;
    struct task *outer = vm->tasks.current;
    int results;
    vm->tasks.current = task;
    vm_load_begin_slice(task);
    lua_State *outer_co = budget_enter(&vm->budget, task->co);
    int status = lua_resume(task->co, outer == NULL ? vm->L : outer->co, arguments, &results);
    if (lua_gethook(task->co) != NULL && status == LUA_OK)
        budget_look(vm, task->co);
    budget_leave(&vm->budget, outer_co);
    vm_load_end_slice(task);
    vm->tasks.current = outer;
    if (!budget_holds(&vm->budget)) {
        if (budget_is_over(&vm->budget))
            return end_overrun(task) == HOOK_SLEEPS ? RUN_SLEEPS : RUN_FAILED;
        if (outer_co == NULL)
            budget_tell_late(vm, hook_names[task->event], task->owner);
    }
    if (status == LUA_OK)
        return RUN_RETURNED;
    if (status == LUA_YIELD && vm_load_slice_is_over(vm)) { /* it goes on in the next turn */
        task->waiting = task->woken = true;
        list_append(&vm->tasks.ready, &task->link);
        return RUN_SLEEPS;
    }
    if (status == LUA_YIELD && results == 1 && lua_touserdata(task->co, -1) == &wait_marker) {
        lua_pop(task->co, 1);
        task->waiting = true;
        list_append(task->woken ? &vm->tasks.ready : &vm->tasks.sleeping, &task->link);
        return RUN_SLEEPS;
    }
    if (status == LUA_YIELD && results == 1 && lua_touserdata(task->co, -1) == &exit_marker) {
        respond_failure(vm, task->request, 503, "The server is shutting down.");
        end_task(task);
        return RUN_FAILED;
    }
    return fail(task, status) == HOOK_SLEEPS ? RUN_SLEEPS : RUN_FAILED;
}

enum vm_result vm_run_to_end(struct task *task, int arguments) {
    struct vm *vm = task->vm;
    vm->tasks.must_return = true;
    enum vm_result result = vm_run(task, arguments);
    vm->tasks.must_return = false;
    return result;
}

enum hook_state vm_run_hook(struct task *task, int arguments) {
    switch (vm_run(task, arguments)) {
    case RUN_RETURNED: {
        struct task *handler = NULL;
        if (task->is_fast_path && fast_path_returned_error(task))
            handler = fast_path_error_task(task);
        vm_task_done(task);
        return handler == NULL ? HOOK_DONE : vm_run_hook(handler, 2);
    }
    case RUN_SLEEPS:
        return HOOK_SLEEPS;
    case RUN_FAILED:
        break;
    }
    return HOOK_DONE;
}

const char *vm_push_place(lua_State *L, lua_State *co) {
    lua_Debug activation;
    for (int level = 0; lua_getstack(co, level, &activation); level++) {
        lua_getinfo(co, "Sl", &activation);
        if (activation.currentline > 0 && !budget_is_library(co, &activation))
            return lua_pushfstring(L, "%s:%d", activation.short_src, activation.currentline);
    }
    return lua_pushliteral(L, "");
}

/* ---- waking ---- */

bool vm_wake(struct vm *vm, uint64_t number) {
    struct task *task = slots_find(&vm->tasks.numbered, number);
    if (task == NULL)
        return false;
    if (!task->woken && task->waiting) {
        list_remove(&task->link);
        list_append(&vm->tasks.ready, &task->link);
    }
    task->woken = true;
    return true;
}

void vm_run_later(struct task *task, int arguments) {
    task->arguments = arguments;
    task->waiting = task->woken = true;
    list_append(&task->vm->tasks.ready, &task->link);
}

void vm_spawn(struct vm *vm, lua_State *L, int arguments) {
    struct task *task = vm_task(vm, EVENT_SPAWNED, 0);
    const struct task *current = vm->tasks.current;
    if (current != NULL) {
        task->generation = current->generation;
        task->scope = current->scope;
    }
    if (!lua_checkstack(task->co, arguments + 1)) {
        vm_task_done(task);
        luaL_error(L, "too many arguments"); /* on the coroutine that runs, where it is caught */
    }
    lua_xmove(L, task->co, arguments + 1);
    vm_run_later(task, arguments);
}

/* Runs a woken task on; tells the hub when its connection's hook has ended. */
static void resume(struct vm *vm, struct task *task) {
    conn_id conn = task->conn;
    int arguments = task->arguments < 0 ? 0 : task->arguments;
    task->arguments = -1;
    task->waiting = task->woken = false;
    if (vm_run_hook(task, arguments) == HOOK_DONE && conn != 0)
        hub_hook_done(vm->hub, conn);
}

void vm_abort_task(struct task *task) {
    struct vm *vm = task->vm;
    struct task *handler = failure_task(vm, task->conn, hook_names[task->event], "script");
    list_remove(&task->link);
    respond_failed(vm, task->request);
    lua_pushliteral(handler->co, "coroutine.close: the script has closed the coroutine of a hook "
                                 "that waited, which ends the hook");
    calls_traceback(handler->co, task->co, NULL, 0);
    stats_add(&hub_stats(vm->hub)->script_errors, 1);
    end_task(task);
    vm_run_later(handler, 5); /* not inside of the hook that runs */
}

bool vm_run_ready(struct vm *vm, const struct task *until) {
    struct list batch; /* those woken from now on wait for the next turn */
    bool found = false, over = false;
    uint64_t began = 0;
    list_init(&batch);
    list_move(&batch, &vm->tasks.ready);
    while (!found && !over && !list_empty(&batch)) {
        struct task *task = LIST_OWNER(batch.next, struct task, link);
        list_remove(&task->link);
        found = task == until;
        if (!found) {
            if (began == 0 && !list_empty(&batch)) /* one alone needs no clock */
                began = clock_monotonic_ns();
            resume(vm, task);
            over = began != 0 && clock_monotonic_ns() - began >= TURN_SLICE_NS;
        }
    }
    list_move(&batch, &vm->tasks.ready);
    list_move(&vm->tasks.ready, &batch); /* those that are left come first */
    return found;
}

void vm_turn(struct vm *vm) {
    vm->options.bindings->run_timers(vm);
    vm_run_ready(vm, NULL);
    vm->options.bindings->run_finalizers(vm);
}

void vm_before_sleep(struct vm *vm) {
    vm->options.bindings->arm_timers(vm);
}

bool vm_has_pending(const struct vm *vm) {
    return !list_empty(&vm->tasks.ready) || vm->options.bindings->has_finalizers(vm);
}

/* ---- looking for tasks ---- */

static bool loads(const struct task *task, unsigned scope) {
    (void)scope;
    return vm_is_loading(task);
}

static bool is_in_scope(const struct task *task, unsigned scope) {
    return task->scope == scope;
}

/* The first task that sleeps, or else is ready, and matches. */
static struct task *find(struct vm *vm, bool (*matches)(const struct task *task, unsigned scope),
                         unsigned scope) {
    struct list *const lists[] = {&vm->tasks.sleeping, &vm->tasks.ready};
    for (int i = 0; i < 2; i++)
        for (struct list *at = lists[i]->next; at != lists[i]; at = at->next)
            if (matches(LIST_OWNER(at, struct task, link), scope))
                return LIST_OWNER(at, struct task, link);
    return NULL;
}

struct task *vm_find_load(struct vm *vm) {
    return find(vm, loads, 0);
}

void vm_end_scope(struct vm *vm, unsigned scope) {
    for (struct task *task; (task = find(vm, is_in_scope, scope)) != NULL;) {
        list_remove(&task->link);
        end_task(task);
    }
}

void vm_generations(struct vm *vm, void (*f)(void *user, unsigned generation), void *user) {
    struct list *sleeping = &vm->tasks.sleeping;
    for (struct list *at = sleeping->next; at != sleeping; at = at->next)
        f(user, LIST_OWNER(at, struct task, link)->generation);
}

/* ---- life ---- */

void vm_tasks_init(struct vm *vm) {
    list_init(&vm->tasks.pool);
    list_init(&vm->tasks.ready);
    list_init(&vm->tasks.sleeping);
}

void vm_tasks_open(struct vm *vm, lua_State *L) {
    for (int i = 0; i < EVENT_SPAWNED; i++) {
        if (lua_getfield(L, -1, event_names[i]) != LUA_TFUNCTION)
            luaL_error(L, "dispatch.lua has no function \"%s\"", event_names[i]);
        vm->tasks.event_refs[i] = luaL_ref(L, LUA_REGISTRYINDEX);
    }
}

static void free_tasks(struct list *list) {
    while (!list_empty(list)) {
        struct task *task = LIST_OWNER(list->next, struct task, link);
        list_remove(&task->link);
        mem_free(task);
    }
}

void vm_tasks_close(struct vm *vm) {
    free_tasks(&vm->tasks.pool);
    free_tasks(&vm->tasks.ready);
    free_tasks(&vm->tasks.sleeping);
    slots_close(&vm->tasks.numbered);
}
