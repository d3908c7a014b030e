/* vm_load.c -- loading an app: for the first time, and anew beside the code that runs. See vm.h.
 *
 * New code is loaded by a task of its own, in slices: after each the loop goes on, and the old code
 * handles messages. The timers and tasks that new code starts while it is loaded belong to its
 * scope, whose number is its generation, and end with it. */
#include "script/vm/vm_load.h"

#include "base/clock.h"
#include "base/log/log.h"
#include "base/mem.h"
#include "script/vm/app.h"
#include "script/vm/settings.h"
#include "script/vm/vm_internal.h"

#include <stdio.h>
#include <string.h>

/* A slice of loading, and how often its clock is read, in instructions of Lua. */
enum { SLICE_NS = 2 * 1000 * 1000, SLICE_INSTRUCTIONS = 1000 };

/* ---- slices ---- */

/* A slice never ends in a function of the library: a timer that the function has made could fire,
 * or an event happen that it waits for, before it has noted that. */
static void on_count(lua_State *L, lua_Debug *activation) {
    struct vm *vm = vm_of(L);
    const struct task *task = vm_current(vm);
    uint64_t slice_ns = clock_thread_cpu_ns() - vm->load.slice_began_ns;
    if (task == NULL || task->co != L || task->event != EVENT_RELOAD || slice_ns < SLICE_NS ||
        budget_is_library(L, activation))
        return;
    if (budget_check(L, activation, vm->load.slices_ns + slice_ns)) {
        budget_unwind(L);
    } else if (lua_isyieldable(L)) {
        vm->load.slice_over = true;
        lua_yield(L, 0); /* in a count hook: the coroutine goes on with the same instruction */
    }
}

void vm_load_set_hook(struct task *task) {
    if (task != NULL && task->event == EVENT_RELOAD && lua_gethook(task->co) != on_count)
        lua_sethook(task->co, on_count, LUA_MASKCOUNT, SLICE_INSTRUCTIONS);
}

/* Not inlined into the run of each message, as the end is not. */
static __attribute__((noinline)) void begin_slice(struct task *task) {
    vm_memory_limit_load(task->vm, true);
    task->vm->load.slice_began_ns = clock_thread_cpu_ns();
    vm_load_set_hook(task);
}

void vm_load_begin_slice(struct task *task) {
    if (task->event == EVENT_RELOAD)
        begin_slice(task);
}

static __attribute__((noinline)) void end_slice(struct task *task) {
    vm_memory_limit_load(task->vm, false);
    struct vm_load *load = &task->vm->load;
    load->slices_ns += clock_thread_cpu_ns() - load->slice_began_ns;
    /* A task that goes on keeps the hook: to set it takes long in a deep recursion. */
    if (!budget_is_over(&task->vm->budget) && lua_status(task->co) != LUA_YIELD)
        lua_sethook(task->co, NULL, 0, 0);
}

void vm_load_end_slice(struct task *task) {
    if (task->event == EVENT_RELOAD)
        end_slice(task);
}

bool vm_load_slice_is_over(struct vm *vm) {
    bool is_over = vm->load.slice_over;
    vm->load.slice_over = false;
    return is_over;
}

/* ---- arguments and results of a load ---- */

static void push_text(lua_State *L, const char *name, const char *text) {
    if (text == NULL)
        return;
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}

static void push_command_line(lua_State *L, const struct settings *settings) {
    lua_newtable(L); /* command_line */
    push_text(L, "workers", settings->workers);
    push_text(L, "admin", settings->admin);
    push_text(L, "state", settings->state_file);
    push_text(L, "cluster", settings->cluster);
    push_text(L, "admin_hosts", settings->admin_hosts);
    push_text(L, "trusted_proxies", settings->trusted_proxies);
    push_text(L, "proxy_protocol", settings->proxy_protocol ? "true" : NULL);
    push_text(L, "tls_certificate", settings->tls_certificate);
    push_text(L, "tls_key", settings->tls_key);
    lua_pushboolean(L, settings->action == ACTION_CHECK);
    lua_setfield(L, -2, "is_check");
    if (settings->listen.count == 0)
        return;
    lua_newtable(L);
    for (size_t i = 0; i < settings->listen.count; i++) {
        lua_pushstring(L, settings->listen.texts[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "listen");
}

static struct app *read_app(struct vm *vm, lua_State *L, int index) {
    struct app *app = app_read(L, index);
    mem_free(vm->load.sources);
    vm->load.sources = mem_strdup(app->sources);
    return app;
}

/* Problems that workers have reported. Most are the same in all workers, so each is printed
 * once. */
static struct {
    uv_once_t once;
    uv_mutex_t lock;
    char **texts;
    size_t count;
} reported = {.once = UV_ONCE_INIT};

static void init_reported(void) {
    uv_mutex_init(&reported.lock);
}

static bool was_reported(const char *text) {
    bool found = false;
    for (size_t i = 0; i < reported.count && !found; i++)
        found = strcmp(reported.texts[i], text) == 0;
    return found;
}

/* Is this worker the first to report the problem? */
static bool is_first_report(const char *text) {
    uv_once(&reported.once, init_reported);
    uv_mutex_lock(&reported.lock);
    bool first = !was_reported(text);
    if (first) {
        reported.texts = mem_realloc(reported.texts, (reported.count + 1) * sizeof *reported.texts);
        reported.texts[reported.count++] = mem_strdup(text); /* until the process ends */
    }
    uv_mutex_unlock(&reported.lock);
    return first;
}

static void print_problems(lua_State *L, int index) {
    lua_Integer count = (lua_Integer)lua_rawlen(L, index);
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(L, index, i);
        if (is_first_report(lua_tostring(L, -1)))
            log_print(lua_tostring(L, -1));
        lua_pop(L, 1);
    }
}

void vm_load_overrun(struct vm *vm, bool is_first, const struct overrun *overrun) {
    lua_State *L = vm->L;
    overrun_push(L, overrun, true);
    lua_pushfstring(L, "%s\n%s", lua_tostring(L, -1), overrun->traceback);
    if (!is_first)
        vm_load_failed(vm, lua_tostring(L, -1), NULL);
    else if (is_first_report(lua_tostring(L, -1)))
        log_print(lua_tostring(L, -1));
    vm->load.is_overrun = is_first;
    lua_pop(L, 2);
}

/* ---- the first load ---- */

/* Lets the loop go on until a sleeping task has ended; then its results are on its stack. */
static bool wait_for(struct vm *vm, struct task *task) {
    const struct upstream_functions *upstreams = &vm->options.upstreams;
    while (task->waiting && !vm->load.stopped) {
        upstreams->flush(upstreams->user); /* the worker's turns have not begun */
        vm_before_sleep(vm);
        if (!uv_run(vm->loop, vm_has_pending(vm) ? UV_RUN_NOWAIT : UV_RUN_ONCE) &&
            !vm_has_pending(vm) && !vm->timers_wait)
            return false; /* nothing will ever wake it */
        vm->options.bindings->run_timers(vm);
        if (vm_run_ready(vm, task)) {
            task->waiting = task->woken = false;
            if (vm_run(task, 0) == RUN_FAILED)
                return false;
        }
        if (vm_has_finalizers(vm))
            vm->options.bindings->run_finalizers(vm);
    }
    return !task->waiting;
}

struct app *vm_load(struct vm *vm, const char *file, const struct settings *settings) {
    struct task *task = vm_task(vm, EVENT_LOAD, 0);
    lua_State *co = task->co;
    vm->load.is_overrun = false;
    task->scope = task->generation;
    lua_pushstring(co, file);
    push_command_line(co, settings);
    enum vm_result result = vm_run(task, 2);
    if (result == RUN_FAILED)
        return NULL;
    if (result == RUN_SLEEPS && !wait_for(vm, task)) {
        static const char why[] = "the script's top level waits for something that never comes";
        if (!vm->load.stopped && !vm->load.is_overrun && is_first_report(why))
            log_event(LOG_ERROR, "start_failed", why);
        return NULL;
    }
    struct app *app = NULL;
    if (lua_istable(co, 1))
        app = read_app(vm, co, 1);
    else if (lua_istable(co, 2))
        print_problems(co, 2);
    vm_task_done(task);
    return app;
}

void vm_stop_load(struct vm *vm) {
    vm->load.stopped = true;
}

/* ---- new code ---- */

void vm_load_next(struct vm *vm, const char *file, const struct settings *settings,
                  unsigned generation, vm_loaded_fn on_loaded, void *user) {
    vm->load.on_loaded = on_loaded;
    vm->load.on_loaded_user = user;
    vm->load.next = generation;
    vm->load.slices_ns = 0;
    struct task *task = vm_task(vm, EVENT_RELOAD, 0);
    task->scope = task->generation = generation;
    lua_pushstring(task->co, file);
    push_command_line(task->co, settings);
    lua_pushinteger(task->co, generation);
    vm_run_later(task, 3);
}

/* Calls on_loaded, unless it was called or the load was discarded. */
static void report(struct vm *vm, struct app *app, const char *problems, const char *sources) {
    vm_loaded_fn on_loaded = vm->load.on_loaded;
    vm->load.on_loaded = NULL;
    if (on_loaded != NULL)
        on_loaded(vm->load.on_loaded_user, app, problems, sources);
}

void vm_load_failed(struct vm *vm, const char *why, const char *sources) {
    report(vm, NULL, why == NULL ? "an error without a text" : why, sources == NULL ? "" : sources);
}

void vm_load_succeeded(struct vm *vm, lua_State *L, int index) {
    if (vm->load.on_loaded == NULL) /* it was discarded */
        return;
    struct app *app = read_app(vm, L, index);
    report(vm, app, "", app->sources);
}

static void run_event(struct vm *vm, enum vm_event event) {
    struct task *task = vm_task(vm, event, 0);
    lua_pushinteger(task->co, vm->load.next);
    if (vm_run_to_end(task, 1) == RUN_RETURNED)
        vm_task_done(task);
}

uint32_t vm_activate(struct vm *vm) {
    vm->load.generation = vm->load.next;
    vm->load.activated_ns = clock_monotonic_ns();
    vm->load.codec_closed = 0;
    run_event(vm, EVENT_ACTIVATE);
    hub_activate(vm->hub, vm->load.generation);
    return vm->load.codec_closed;
}

void vm_load_count_closed(struct vm *vm, uint32_t connections) {
    vm->load.codec_closed += connections;
}

uint64_t vm_load_activated_ns(const struct vm *vm) {
    return vm->load.activated_ns;
}

void vm_discard(struct vm *vm) {
    vm->load.on_loaded = NULL;
    run_event(vm, EVENT_DISCARD);
}

/* ---- loading that takes long ---- */

void vm_log_slow_load(struct vm *vm, double seconds, unsigned loading, unsigned workers) {
    const struct task *task = vm_find_load(vm);
    struct log_line line;
    char why[192];
    if (task == NULL)
        return;
    snprintf(why, sizeof why, "the script %s while it is loaded: %s",
             task->woken ? "is busy" : "waits",
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

/* ---- life ---- */

void vm_load_init(struct vm *vm) {
    vm->load.generation = vm->load.next = 1;
}

void vm_load_close(struct vm *vm) {
    mem_free(vm->load.sources);
}
