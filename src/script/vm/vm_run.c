/* vm_run.c -- running a task: how an event enters Lua, sleeps, ends or fails.
 *
 * Each event runs on a coroutine of its own, which is protected call and coroutine in one. When it
 * fails, its stack is still there for the traceback. The error is an event itself (FAILED), so that
 * on_error may sleep like any hook. To sleep, a coroutine yields one certain value; if it yields
 * another one to the program, the script has made a mistake. */
#include "script/vm/vm_internal.h"

#include "base/log/log.h"
#include "core/frames/close_codes.h"
#include "script/vm/calls.h"

static const char wait_marker, exit_marker; /* coroutines yield their addresses */

static const char script_error[] = "script error"; /* the reason of a close */

static const char *const hook_names[EVENT_COUNT] = {
#define X(upper, lower, hook) [EVENT_##upper] = hook,
    VM_EVENTS(X)
#undef X
        [EVENT_SPAWNED] = "spawn",
    [EVENT_FINALIZER] = "__gc",
};

const char *vm_hook_name(enum vm_event event) {
    return (unsigned)event < EVENT_COUNT ? hook_names[event] : NULL;
}

void vm_push_wait_marker(lua_State *L) {
    lua_pushlightuserdata(L, (void *)(uintptr_t)&wait_marker);
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

void vm_find_line(lua_State *co, struct script_line *at) {
    lua_Debug activation;
    at->file[0] = '\0';
    for (int level = 0; lua_getstack(co, level, &activation); level++) {
        lua_getinfo(co, "Sl", &activation);
        if (activation.currentline > 0 && !budget_is_library(co, &activation)) {
            observe_name(activation.source, activation.srclen, at);
            at->line = activation.currentline;
            return;
        }
    }
}

void vm_push_exit_marker(lua_State *L) {
    lua_pushlightuserdata(L, (void *)(uintptr_t)&exit_marker);
}

/* ---- ends ---- */

/* Closes the to-be-closed variables of a coroutine that has not returned. */
static void close_variables(struct task *task) {
    struct overrun overrun;
    if (budget_close(task, &overrun))
        return;
    overrun_log(task->vm, &overrun, hook_names[task->event], task->conn);
    overrun_free(&overrun);
}

void vm_end_task(struct task *task) {
    task->waiting = false; /* so that a __close method which wakes it puts it into no list */
    task->own = NULL;      /* the connection may be freed, if the task has slept */
    close_variables(task);
    vm_task_free(task);
}

/* Answers the request of a route that has ended without an answer. 0: there is no request. */
static void respond_failure(struct vm *vm, uint64_t request, int status, const char *why) {
    if (request != 0)
        vm->responder.respond_failure(vm->responder.user, request, status, why);
}

static void respond_failed(struct vm *vm, uint64_t request) {
    respond_failure(vm, request, 500, "The server failed to answer.");
}

/* A task that passes an error to dispatch.lua. The caller pushes the error and its traceback. */
static struct task *failure_task(struct vm *vm, conn_id conn, const char *hook, const char *kind) {
    struct task *handler = vm_task(vm, EVENT_FAILED, conn);
    vm_push_object(handler->co, hub_find(vm->hub, conn));
    lua_pushstring(handler->co, hook);
    lua_pushstring(handler->co, kind);
    return handler;
}

/* The coroutine failed, or yielded and cannot go on: passes the error to dispatch.lua. */
static enum hook_state fail(struct task *task, int status) {
    struct vm *vm = task->vm;
    lua_State *co = task->co;
    enum vm_event event = task->event;
    conn_id conn = event == EVENT_FAILED ? task->owner : task->conn;
    respond_failed(vm, task->request);
    bool exempt = vm_memory_exempt(vm, true);
    if (status == LUA_ERRMEM) /* also where the run has not begun */
        lua_pushliteral(co, "not enough memory");
    if (status == LUA_YIELD) /* the stack still shows where */
        lua_pushliteral(co, "coroutine.yield outside of a coroutine of the script's own; to wait, "
                            "use tw.sleep or tw.await");
    bool is_memory = vm_memory_is_error(co, status);
    struct task *handler =
        failure_task(vm, conn, hook_names[event], is_memory ? "memory" : "script");
    handler->is_last = event == EVENT_FAILED; /* on_error yielded, or its coroutine was closed */
    if (event == EVENT_RELOAD && is_memory) {
        vm_memory_push_message(handler->co);
        vm_load_failed(vm, lua_tostring(handler->co, -1), NULL);
        lua_pop(handler->co, 1);
    } else if (event == EVENT_RELOAD) {
        vm_load_failed(vm, lua_tostring(co, -1), NULL);
    }
    lua_xmove(co, handler->co, 1);
    calls_traceback(handler->co, co, NULL, 0);
    stats_add(&hub_stats(vm->hub)->script_errors, 1);
    bool was_last = task->is_last;
    vm_memory_exempt(vm, exempt);
    vm_end_task(task);
    if (was_last) { /* dispatch.lua itself failed: no code of scripts runs where it reports that */
        hub_close(vm->hub, conn, CLOSE_SCRIPT_ERROR, script_error, sizeof script_error - 1);
        const char *why = lua_tostring(handler->co, -2); /* without __tostring: it could throw */
        log_event(LOG_ERROR, "internal_error", why == NULL ? "an error without a text" : why);
        vm_task_done(handler);
        return HOOK_DONE;
    }
    return vm_run_hook(handler, 5);
}

void vm_abort_task(struct task *task) {
    struct vm *vm = task->vm;
    bool exempt = vm_memory_exempt(vm, true); /* `handler` is not the coroutine that runs */
    struct task *handler = failure_task(vm, task->conn, hook_names[task->event], "script");
    list_remove(&task->link);
    respond_failed(vm, task->request);
    lua_pushliteral(handler->co, "coroutine.close: the script has closed the coroutine of a hook "
                                 "that waited, which ends the hook");
    calls_traceback(handler->co, task->co, NULL, 0);
    stats_add(&hub_stats(vm->hub)->script_errors, 1);
    vm_memory_exempt(vm, exempt);
    vm_end_task(task);
    vm_run_later(handler, 5); /* not inside of the hook that runs */
}

/* Passes an overrun to dispatch.lua, as an error. */
static enum hook_state report_overrun(struct vm *vm, conn_id conn, conn_id owner, const char *hook,
                                      const struct overrun *overrun) {
    bool exempt = vm_memory_exempt(vm, true);
    struct task *handler = failure_task(vm, owner, hook, "timeout");
    handler->conn = conn;
    overrun_push(handler->co, overrun, false);
    lua_pushstring(handler->co, overrun->traceback);
    vm_memory_exempt(vm, exempt);
    if (!budget_is_over(&vm->budget))
        return vm_run_hook(handler, 5);
    vm_run_later(handler, 5); /* this run was inside of another one, which has to end first */
    return HOOK_SLEEPS;
}

/* The task's run was over its budget, and has unwound. */
static enum hook_state end_overrun(struct task *task) {
    struct vm *vm = task->vm;
    enum vm_event event = task->event;
    conn_id conn = task->conn, owner = task->owner;
    uint64_t request = task->request;
    struct overrun overrun;
    enum hook_state state = HOOK_DONE;
    budget_end(vm, task, &overrun);
    bool is_loading = vm_is_loading(task);
    vm_task_free(task);
    if (is_loading)
        vm_load_overrun(vm, event == EVENT_LOAD, &overrun);
    else
        state = report_overrun(vm, conn, owner, hook_names[event], &overrun);
    respond_failed(vm, request);
    overrun_free(&overrun);
    return state;
}

/* ---- runs ---- */

/* The rest of a run that has not simply returned. Not inlined, so that vm_run() is short. */
static __attribute__((noinline)) enum vm_result end_run(struct task *task, int status,
                                                        bool is_outermost) {
    struct vm *vm = task->vm;
    if (!budget_is_kept(&vm->budget)) {
        if (budget_is_over(&vm->budget))
            return end_overrun(task) == HOOK_SLEEPS ? RUN_SLEEPS : RUN_FAILED;
        if (is_outermost)
            budget_log_late(vm, hook_names[task->event], task->owner);
    }
    if (status == LUA_OK)
        return RUN_RETURNED;
    if (status == LUA_YIELD && vm_load_slice_is_over(vm)) { /* it goes on in the next turn */
        task->woken = true;
        vm_task_sleep(task);
        return RUN_SLEEPS;
    }
    if (status == LUA_YIELD && task->results == 1 && lua_touserdata(task->co, -1) == &wait_marker) {
        lua_pop(task->co, 1);
        vm_task_sleep(task);
        return RUN_SLEEPS;
    }
    if (status == LUA_YIELD && task->results == 1 && lua_touserdata(task->co, -1) == &exit_marker) {
        respond_failure(vm, task->request, 503, "The server is shutting down.");
        vm_end_task(task);
        return RUN_FAILED;
    }
    return fail(task, status) == HOOK_SLEEPS ? RUN_SLEEPS : RUN_FAILED;
}

__attribute__((noinline)) enum hook_state vm_refuse_hook(struct task *task) {
    return fail(task, LUA_ERRMEM);
}

/* The run fails before it begins. */
static __attribute__((noinline)) enum vm_result refuse_run(struct task *task) {
    return fail(task, LUA_ERRMEM) == HOOK_SLEEPS ? RUN_SLEEPS : RUN_FAILED;
}

enum vm_result vm_run(struct task *task, int arguments) {
    struct vm *vm = task->vm;
    if (vm->memory.refuse_until != 0 && vm_memory_refuses_run(vm, task))
        return refuse_run(task);
    struct task *outer = vm_replace_current(vm, task);
    vm_load_begin_slice(task);
    lua_State *outer_co = budget_enter(&vm->budget, task->co);
    int status = lua_resume(task->co, outer == NULL ? vm->L : outer->co, arguments, &task->results);
    if (status == LUA_OK && lua_gethook(task->co) != NULL)
        budget_note_late(vm, task->co);
    budget_leave(&vm->budget, outer_co);
    vm_load_end_slice(task);
    vm_replace_current(vm, outer);
    if (status == LUA_OK && budget_is_kept(&vm->budget))
        return RUN_RETURNED;
    return end_run(task, status, outer_co == NULL);
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

enum vm_result vm_run_to_end(struct task *task, int arguments) {
    struct vm *vm = task->vm;
    vm->run.must_return = true;
    enum vm_result result = vm_run(task, arguments);
    vm->run.must_return = false;
    return result;
}
