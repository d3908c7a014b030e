/* budget.c -- the end of runs that take too long. See budget.h.
 *
 * The signal's handler asks Lua to call on_count() before the next instruction. on_count() compares
 * the time with the budget of the run. When that is exceeded, the run unwinds: the coroutine
 * yields, which no pcall can catch, or raises an error where a C function stands between.
 * on_count() is called again before each instruction until the coroutine has unwound; the one that
 * has resumed it unwinds in turn (bind_guarded.c). Only then are the coroutines closed, with as
 * much time again for their __close methods.
 *
 * A function of this library's Lua code comes to its end first, so that its tables are never left
 * half changed. Where hooks are off, nothing can be ended. This is so in C functions; in
 * finalizers, which is why the loop runs those of scripts (bind_finalizers.c); and in the message
 * handler of an xpcall that on_count()'s error has called, which is why handlers of scripts return
 * at once then (guarded.lua). */
#include "script/vm/budget_parts.h"

#include "base/clock.h"
#include "base/log/log.h"
#include "base/mem.h"
#include "script/vm/calls.h"
#include "script/vm/closing.h"
#include "script/vm/vm_internal.h"

#include <string.h>

/* The limits before an app is loaded. */
static const double HANDLER_SECONDS = 1, LOAD_SECONDS = 5;

/* A function of the library goes on for so many instructions after the run should have ended. It
 * has no loop that takes more, but it may call functions of scripts. */
enum { MOST_SPARED = 1000000 };

/* Once a traceback has so many bytes, no further coroutine is added. */
enum { MOST_TRACEBACK = 6000 };

#ifdef __SANITIZE_THREAD__
#define NOT_FOR_TSAN __attribute__((no_sanitize("thread")))
#else
#define NOT_FOR_TSAN
#endif

/* The budget of the thread's worker, for the signal handler. */
static _Thread_local struct budget *own_budget;

static uint64_t load(const _Atomic uint64_t *value) {
    return atomic_load_explicit(value, memory_order_relaxed);
}

static void store(_Atomic uint64_t *place, uint64_t value) {
    atomic_store_explicit(place, value, memory_order_relaxed);
}

static bool must_end(const struct budget *budget) {
    return atomic_load_explicit(&budget->must_end, memory_order_relaxed);
}

/* ---- the watchdog ---- */

struct budget_sample budget_sample(struct budget *budget, uint64_t cpu_ns) {
    struct budget_sample sample = {0};
    uint64_t run = load(&budget->run);
    if (run % 2 == 0)
        return sample;
    sample.run = run;
    if (load(&budget->seen_run) != run) {
        store(&budget->seen_ns, cpu_ns);
        atomic_store_explicit(&budget->seen_run, run, memory_order_release);
        sample.is_over = must_end(budget);
        return sample;
    }
    sample.used_ns = cpu_ns - load(&budget->seen_ns);
    bool extended = atomic_load_explicit(&budget->extended_run, memory_order_acquire) == run;
    uint64_t allowed = load(extended ? &budget->extended_ns : &budget->least_ns);
    sample.is_over = must_end(budget) || sample.used_ns >= allowed;
    sample.over_ns = sample.used_ns > allowed ? sample.used_ns - allowed : 0;
    return sample;
}

uint64_t budget_least_ns(const struct budget *budget) {
    return load(&budget->least_ns);
}

void budget_want_line(struct budget *budget, uint64_t run) {
    /* behind its reading of the line before */
    atomic_store_explicit(&budget->line_wanted, run, memory_order_release);
}

bool budget_line(const struct budget *budget, uint64_t run, struct script_line *line) {
    if (atomic_load_explicit(&budget->line_run, memory_order_acquire) != run)
        return false;
    *line = budget->line;
    return true;
}

/* ---- on the worker's thread: the line of the run ---- */

/* In the hook: the watchdog reads `line` only of the run that it has asked for, once. */
static void note_line(struct budget *budget, lua_State *L) {
    uint64_t run = load(&budget->run);
    if (run % 2 == 0 || load(&budget->line_run) == run ||
        atomic_load_explicit(&budget->line_wanted, memory_order_acquire) != run)
        return;
    vm_find_line(L, &budget->line);
    atomic_store_explicit(&budget->line_run, run, memory_order_release);
}

/* ---- on the worker's thread: is the run over its budget? ---- */

/* The budget of the run. */
static uint64_t allowed_ns(struct vm *vm) {
    const struct task *task = vm_current(vm);
    if (task == NULL)
        return vm->budget.handler_ns;
    if (vm_is_loading(task))
        return vm->budget.load_ns;
    if (task->budget_ns != 0)
        return task->budget_ns;
    const struct endpoint *endpoint =
        task->owner == 0 ? NULL : hub_find_endpoint(vm->hub, task->owner);
    return endpoint == NULL ? vm->budget.handler_ns : endpoint->handler_timeout_ns;
}

static bool is_exceeded(struct vm *vm) {
    struct budget *budget = &vm->budget;
    uint64_t run = load(&budget->run);
    if (run % 2 == 0 || atomic_load_explicit(&budget->seen_run, memory_order_acquire) != run)
        return false; /* the signal was meant for another run */
    uint64_t used = clock_thread_cpu_ns() - load(&budget->seen_ns), allowed = allowed_ns(vm);
    if (used < allowed && !must_end(budget)) {
        store(&budget->extended_ns, allowed);
        atomic_store_explicit(&budget->extended_run, run, memory_order_release);
        return false;
    }
    budget->used_ns = used;
    budget->may_ns = allowed;
    return true;
}

bool budget_is_library(lua_State *L, lua_Debug *activation) {
    static const char ours[] = "@lua/tidewire/";
    lua_getinfo(L, "S", activation);
    return strncmp(activation->source, ours, sizeof ours - 1) == 0;
}

/* May the function of the library go on? */
static bool is_spared(struct budget *budget) {
    uint64_t run = load(&budget->run);
    if (budget->spared_run != run) {
        budget->spared_run = run;
        budget->spared = 0;
    }
    return ++budget->spared <= MOST_SPARED;
}

/* Adds the traceback of L to the budget's. */
static void add_traceback(struct budget *budget, lua_State *L) {
    static const char between[] = "\nin a coroutine that was resumed here:";
    calls_traceback(L, L, NULL, 0);
    const char *text = lua_tostring(L, -1);
    if (budget->traceback == NULL) {
        budget->traceback = mem_strdup(text);
    } else if (strlen(budget->traceback) < MOST_TRACEBACK) {
        text += strcspn(text, "\n");
        size_t before = strlen(budget->traceback);
        budget->traceback = mem_realloc(budget->traceback, before + sizeof between + strlen(text));
        strcpy(budget->traceback + before, between);
        strcat(budget->traceback + before, text);
    }
    lua_pop(L, 1);
}

/* The run is over, at this place. */
static void note_overrun(struct vm *vm, lua_State *L, lua_Debug *activation) {
    struct budget *budget = &vm->budget;
    const struct task *task = vm_current(vm);
    budget->state = BUDGET_OVER;
    add_traceback(budget, L);
    lua_getinfo(L, "Sl", activation);
    bool is_file = vm_is_loading(task) && activation->source[0] == '@'; /* in full length */
    lua_pushfstring(L, "%s:%d: ", is_file ? activation->source + 1 : activation->short_src,
                    activation->currentline);
    budget->where = mem_strdup(lua_tostring(L, -1));
    lua_pop(L, 1);
}

static void on_count(lua_State *L, lua_Debug *activation) {
    struct vm *vm = vm_of(L);
    struct budget *budget = &vm->budget;
    note_line(budget, L);
    if (!budget_is_over(budget) && !is_exceeded(vm)) {
        lua_sethook(L, NULL, 0, 0);
        vm_load_set_hook(vm_current(vm));
        return;
    }
    if (budget_is_library(L, activation) && is_spared(budget)) {
        if (!budget_is_over(budget))
            budget->state = BUDGET_LATE;
        return;
    }
    if (!budget_is_over(budget))
        note_overrun(vm, L, activation);
    budget_unwind(L);
}

void budget_note_late(struct vm *vm, lua_State *co) {
    lua_sethook(co, NULL, 0, 0);
    if (vm->budget.state == BUDGET_KEPT && is_exceeded(vm))
        vm->budget.state = BUDGET_LATE;
}

/* Is on_count() the hook of L? A call of lua_sethook() that a signal has interrupted may have set
 * only a part of it. */
NOT_FOR_TSAN static bool is_hooked(lua_State *L) {
    return lua_gethook(L) == on_count && lua_gethookmask(L) == LUA_MASKCOUNT &&
           lua_gethookcount(L) == 1;
}

/* A signal may come between any two instructions of the thread, so ThreadSanitizer must not add
 * instructions of its own here.
 *
 * lua_sethook() visits every active call of the coroutine. Where there are many, that may take
 * longer than the time between two signals, and the script would never come to its next
 * instruction. So the hook is not set again at the next signal, but after two, then after four and
 * so on. */
NOT_FOR_TSAN void budget_interrupt(void) {
    struct budget *budget = own_budget;
    if (budget == NULL)
        return;
    lua_State *L = atomic_load_explicit(&budget->running, memory_order_relaxed);
    if (L == NULL)
        return;
    if (L != budget->hooked || !is_hooked(L))
        budget->signals_between = 1;
    else if (--budget->signals_left > 0)
        return;
    budget->hooked = L;
    budget->signals_between = budget->signals_left = budget->signals_between * 2;
    lua_sethook(L, on_count, LUA_MASKCOUNT, 1); /* Lua allows it in signal handlers */
}

bool budget_check(lua_State *L, lua_Debug *activation, uint64_t used_ns) {
    struct vm *vm = vm_of(L);
    uint64_t allowed = allowed_ns(vm);
    if (used_ns < allowed || budget_is_library(L, activation))
        return false;
    vm->budget.used_ns = used_ns;
    vm->budget.may_ns = allowed;
    note_overrun(vm, L, activation);
    return true;
}

int budget_unwind(lua_State *L) {
    if (!is_hooked(L))
        lua_sethook(L, on_count, LUA_MASKCOUNT, 1);
    if (lua_isyieldable(L))
        return lua_yield(L, 0);
    return luaL_error(L, "this run is over its time");
}

void budget_abandon(lua_State *L) {
    struct budget *budget = &vm_of(L)->budget;
    lua_rawgeti(L, LUA_REGISTRYINDEX, budget->ended_ref); /* co, list */
    lua_pushvalue(L, -2);
    lua_rawseti(L, -2, budget->ended_count + 1);
    budget->ended_count++;
    lua_pop(L, 1);
    add_traceback(budget, L);
}

/* ---- the end of a run ---- */

/* Closes the coroutine at the index of L, which is another coroutine. */
static void close_ended(lua_State *L, int index) {
    lua_State *co = lua_tothread(L, index);
    bool was_killed = lua_status(co) != LUA_OK && lua_status(co) != LUA_YIELD;
    lua_sethook(co, NULL, 0, 0);
    closing_reset(L, co, was_killed);
    lua_sethook(co, NULL, 0, 0);
}

/* (list, coroutine|nil): closes the coroutines of the list, the one that was resumed last first,
 * and then the other one. */
static int close_all(lua_State *L) {
    struct budget *budget = &vm_of(L)->budget;
    int count = budget->ended_count;
    budget->ended_count = 0;
    lua_newtable(L); /* for coroutines that unwind while these are closed */
    lua_rawseti(L, LUA_REGISTRYINDEX, budget->ended_ref);
    for (int i = 1; i <= count; i++) {
        lua_rawgeti(L, 1, i);
        close_ended(L, 3);
        lua_settop(L, 2);
    }
    if (lua_isthread(L, 2))
        close_ended(L, 2);
    return 0;
}

static void close_coroutines(struct vm *vm, struct task *task) {
    lua_State *L = vm->L;
    struct task *outer_task = vm_replace_current(vm, task); /* its budget applies */
    lua_sethook(L, NULL, 0, 0);
    lua_State *outer = budget_enter(&vm->budget, L);
    lua_pushcfunction(L, close_all);
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->budget.ended_ref);
    if (task == NULL)
        lua_pushnil(L);
    else
        lua_rawgeti(L, LUA_REGISTRYINDEX, task->ref);
    if (lua_pcall(L, 2, 0, 0) != LUA_OK)
        lua_pop(L, 1); /* out of memory, or over its budget as well */
    budget_leave(&vm->budget, outer);
    lua_sethook(L, NULL, 0, 0);
    vm_replace_current(vm, outer_task);
}

/* Forgets the last overrun. */
static void reset(struct budget *budget) {
    budget->state = BUDGET_KEPT;
    mem_free(budget->where);
    mem_free(budget->traceback);
    budget->where = budget->traceback = NULL;
}

static void take_overrun(struct budget *budget, struct overrun *overrun) {
    *overrun = (struct overrun){
        .where = mem_strdup(budget->where == NULL ? "" : budget->where),
        .traceback = mem_strdup(budget->traceback == NULL ? "" : budget->traceback),
        .used_seconds = (double)budget->used_ns / 1e9,
        .may_seconds = (double)budget->may_ns / 1e9,
    };
}

void budget_end(struct vm *vm, struct task *task, struct overrun *overrun) {
    struct budget *budget = &vm->budget;
    bool is_outermost = budget_running(budget) == NULL;
    take_overrun(budget, overrun);
    if (is_outermost)
        reset(budget);
    close_coroutines(vm, task);
    if (is_outermost)
        reset(budget); /* the __close methods took too long as well */
    stats_add(&vm->stats->handler_timeouts, 1);
    stats_add(&vm->stats->script_errors, 1);
}

bool budget_close(struct task *task, struct overrun *overrun) {
    struct vm *vm = task->vm;
    struct task *outer_task = vm_replace_current(vm, task);
    bool is_outermost = budget_running(&vm->budget) == NULL;
    lua_sethook(task->co, NULL, 0, 0);
    closing_reset(vm->L, task->co, false);
    vm_replace_current(vm, outer_task);
    if (!budget_is_over(&vm->budget)) {
        if (is_outermost)
            reset(&vm->budget); /* the methods may have been late */
        return true;
    }
    budget_end(vm, NULL, overrun);
    return false;
}

void budget_log_late(struct vm *vm, const char *hook, conn_id conn) {
    struct budget *budget = &vm->budget;
    struct log_line line;
    log_begin_limited(&line, LOG_WARN, "script_late");
    if (conn != 0)
        log_conn(&line, conn);
    log_str(&line, "hook", hook);
    log_num(&line, "seconds", (double)budget->used_ns / 1e9);
    log_num(&line, "handler_timeout", (double)budget->may_ns / 1e9);
    log_end(&line);
    reset(budget);
}

/* ---- life ---- */

static uint64_t to_ns(double seconds) {
    double ns = seconds * 1e9;
    return ns >= 1e18 ? (uint64_t)1e18 : (uint64_t)ns;
}

void budget_lower(struct vm *vm, uint64_t ns) {
    if (ns < load(&vm->budget.least_ns))
        store(&vm->budget.least_ns, ns);
}

void budget_set(struct vm *vm, double handler_seconds, double load_seconds) {
    vm->budget.handler_ns = to_ns(handler_seconds);
    vm->budget.load_ns = to_ns(load_seconds);
    budget_lower(vm, vm->budget.handler_ns);
    budget_lower(vm, vm->budget.load_ns);
}

void budget_open(struct vm *vm) {
    store(&vm->budget.least_ns, UINT64_MAX);
    budget_set(vm, HANDLER_SECONDS, LOAD_SECONDS);
    lua_newtable(vm->L);
    vm->budget.ended_ref = luaL_ref(vm->L, LUA_REGISTRYINDEX);
    own_budget = &vm->budget;
}

void budget_free(struct vm *vm) {
    if (own_budget == &vm->budget)
        own_budget = NULL;
    reset(&vm->budget);
}

#ifdef __SANITIZE_THREAD__
/* Lua raises errors by the C library's checked longjmp, which ThreadSanitizer does not know. It
 * would believe that the functions never return, and run out of memory for them. */
#include <setjmp.h>
__attribute__((visibility("default"))) void __longjmp_chk(jmp_buf place, int value);
__attribute__((no_sanitize("thread"), visibility("default"))) void __longjmp_chk(jmp_buf place,
                                                                                 int value) {
    longjmp(place, value);
}
#endif
