/* reload.c -- loading an app's code anew, beside the code that runs. See vm.h.
 *
 * The new code is loaded by a task of its own, in slices: after each the loop goes on, so messages
 * are handled by the old code meanwhile. Whatever it starts while it is loaded, timers and spawned
 * functions, belongs to its scope, the number of its generation, and ends with it. */
#include "script/vm/vm_internal.h"

#include "base/clock.h"
#include "base/log/log.h"
#include "base/mem.h"
#include "script/vm/app.h"

#include <stdio.h>

/* A slice of loading, and how often its clock is looked at: in instructions of the Lua machine. */
enum { SLICE_NS = 2 * 1000 * 1000, SLICE_INSTRUCTIONS = 1000 };

/* ---- slices ---- */

/* No slice leaves a function of the library in the middle: a timer that it has just made would
 * fire, or what it waits for happen, before it has noted that. */
static void on_count(lua_State *L, lua_Debug *activation) {
    struct vm *vm = vm_of(L);
    struct task *task = vm->current;
    uint64_t slice_ns = clock_thread_cpu_ns() - vm->slice_began_ns;
    if (task == NULL || task->co != L || task->event != EVENT_RELOAD || slice_ns < SLICE_NS ||
        budget_is_library(L, activation))
        return;
    if (budget_exceed(L, activation, vm->slices_ns + slice_ns)) {
        budget_unwind(L);
    } else if (lua_isyieldable(L)) {
        vm->slice_over = true;
        lua_yield(L, 0); /* from a count hook: the instruction goes on where it was */
    }
}

void reload_ask(struct task *task) {
    if (task != NULL && task->event == EVENT_RELOAD && lua_gethook(task->co) != on_count)
        lua_sethook(task->co, on_count, LUA_MASKCOUNT, SLICE_INSTRUCTIONS);
}

void reload_begin_slice(struct task *task) {
    if (task->event != EVENT_RELOAD)
        return;
    task->vm->slice_began_ns = clock_thread_cpu_ns();
    reload_ask(task);
}

void reload_end_slice(struct task *task) {
    if (task->event != EVENT_RELOAD)
        return;
    task->vm->slices_ns += clock_thread_cpu_ns() - task->vm->slice_began_ns;
    /* A task that goes on keeps the hook: to ask for it takes long in the depth of a recursion. */
    if (!budget_is_over(&task->vm->budget) && lua_status(task->co) != LUA_YIELD)
        lua_sethook(task->co, NULL, 0, 0);
}

/* ---- loading ---- */

void vm_load_next(struct vm *vm, const char *file, const struct vm_command_line *command_line,
                  unsigned generation, vm_loaded_fn on_loaded, void *user) {
    vm->on_loaded = on_loaded;
    vm->on_loaded_user = user;
    vm->loading = generation;
    vm->slices_ns = 0;
    struct task *task = vm_task(vm, EVENT_RELOAD, 0);
    task->scope = task->generation = generation;
    lua_pushstring(task->co, file);
    vm_push_command_line(task->co, command_line);
    lua_pushinteger(task->co, generation);
    vm_run_later(task, 3);
}

void reload_failed(struct vm *vm, const char *why, const char *sources) {
    vm_loaded_fn on_loaded = vm->on_loaded;
    vm->on_loaded = NULL;
    if (on_loaded != NULL)
        on_loaded(vm->on_loaded_user, NULL, why == NULL ? "an error without a text" : why,
                  sources == NULL ? "" : sources);
}

void reload_overrun(struct vm *vm, const struct overrun *overrun) {
    overrun_push(vm->L, overrun, true);
    lua_pushfstring(vm->L, "%s\n%s", lua_tostring(vm->L, -1), overrun->traceback);
    reload_failed(vm, lua_tostring(vm->L, -1), NULL);
    lua_pop(vm->L, 2);
}

/* core.loaded(app|nil, problems|nil, sources|nil): what became of a `reload`; the texts are
 * lines. */
static int core_loaded(lua_State *L) {
    struct vm *vm = vm_of(L);
    if (!lua_istable(L, 1)) {
        reload_failed(vm, lua_tostring(L, 2), lua_tostring(L, 3));
    } else if (vm->on_loaded != NULL) {
        struct app *app = app_read(L, 1);
        mem_free(vm->sources);
        vm->sources = mem_strdup(app->sources);
        vm->on_loaded(vm->on_loaded_user, app, "", app->sources);
        vm->on_loaded = NULL;
    }
    return 0;
}

/* ---- loading that takes its time ---- */

static struct task *find_load(struct list *tasks) {
    for (struct list *at = tasks->next; at != tasks; at = at->next) {
        struct task *task = LIST_OWNER(at, struct task, link);
        if (task->event == EVENT_LOAD || task->event == EVENT_RELOAD)
            return task;
    }
    return NULL;
}

void vm_log_slow_load(struct vm *vm, double seconds, unsigned loading, unsigned workers) {
    struct task *task = find_load(&vm->sleeping);
    const char *does = task == NULL ? "is busy" : "waits";
    struct log_line line;
    char why[192];
    if (task == NULL)
        task = find_load(&vm->ready);
    if (task == NULL)
        return;
    snprintf(why, sizeof why, "the script %s while it is loaded: %s", does,
             task->event == EVENT_LOAD ? "nothing is served until that has ended"
                                       : "the old code goes on, and the next reload replaces it");
    log_begin(&line, LOG_WARN, "load_waits");
    log_int(&line, "generation", task->generation);
    log_num(&line, "seconds", seconds);
    log_str(&line, "where", vm_push_place(vm->L, task->co));
    log_int(&line, "loading", loading);
    log_int(&line, "workers", workers);
    log_str(&line, "why", why);
    log_end(&line);
    lua_pop(vm->L, 1);
}

static void run_event(struct vm *vm, enum vm_event event) {
    struct task *task = vm_task(vm, event, 0);
    lua_pushinteger(task->co, vm->loading);
    vm->must_answer = true;
    vm_run_hook(task, 1);
    vm->must_answer = false;
}

uint32_t vm_activate(struct vm *vm) {
    vm->generation = vm->loading;
    vm->activated_ns = clock_monotonic_ns();
    vm->codec_closed = 0;
    run_event(vm, EVENT_ACTIVATE);
    hub_reload(vm->hub, vm->generation);
    return vm->codec_closed;
}

void vm_discard(struct vm *vm) {
    vm->on_loaded = NULL;
    run_event(vm, EVENT_DISCARD);
}

void vm_generations(struct vm *vm, void (*f)(void *user, unsigned generation), void *user) {
    for (struct list *at = vm->sleeping.next; at != &vm->sleeping; at = at->next)
        f(user, LIST_OWNER(at, struct task, link)->generation);
}

/* ---- scopes ---- */

/* core.scope() -> the generation that is loaded by what runs now, or whose loading started it; nil:
 * none */
static int core_scope(lua_State *L) {
    const struct task *current = vm_of(L)->current;
    if (current == NULL || current->scope == 0)
        lua_pushnil(L);
    else
        lua_pushinteger(L, current->scope);
    return 1;
}

/* core.set_scope(generation|nil): what runs now, and what it spawns, belongs to that one's loading.
 * */
static int core_set_scope(lua_State *L) {
    struct task *current = vm_of(L)->current;
    lua_Integer scope = luaL_optinteger(L, 1, 0);
    if (current != NULL)
        current->scope = (unsigned)scope;
    return 0;
}

static struct task *find_in_scope(struct list *tasks, unsigned scope) {
    for (struct list *at = tasks->next; at != tasks; at = at->next) {
        struct task *task = LIST_OWNER(at, struct task, link);
        if (task->scope == scope)
            return task;
    }
    return NULL;
}

static bool end_one(struct vm *vm, struct list *tasks, unsigned scope) {
    struct task *task = find_in_scope(tasks, scope);
    if (task == NULL)
        return false;
    list_remove(&task->link);
    vm_end_task(task);
    return true;
}

/* core.end_scope(generation): what its loading has started, and sleeps or has not begun, ends. */
static int core_end_scope(lua_State *L) {
    struct vm *vm = vm_of(L);
    unsigned scope = (unsigned)luaL_checkinteger(L, 1);
    while (end_one(vm, &vm->sleeping, scope) || end_one(vm, &vm->ready, scope)) {
    }
    return 0;
}

const luaL_Reg core_reload_functions[] = {
    {"loaded", core_loaded},       {"scope", core_scope}, {"set_scope", core_set_scope},
    {"end_scope", core_end_scope}, {NULL, NULL},
};
