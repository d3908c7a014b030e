/* budget_parts.h -- the budget, for the files of script/: around each run, and after an overrun.
 *
 * Included by vm_internal.h. */
#ifndef TIDEWIRE_SCRIPT_VM_BUDGET_PARTS_H
#define TIDEWIRE_SCRIPT_VM_BUDGET_PARTS_H

#include "base/conn_id.h"
#include "script/vm/budget.h"
#include "script/vm/observe.h"
#include "script/vm/overrun.h"

#include <lua.h>
#include <stdatomic.h>

struct vm;
struct task;

enum budget_state {
    BUDGET_KEPT,
    BUDGET_LATE, /* it was exceeded when only library code was left to run, which goes on */
    BUDGET_OVER, /* the run is to end: all of its coroutines unwind */
};

/* budget.c's member of struct vm. */
struct budget {
    /* the worker's; the watchdog and its signal read them */
    _Atomic uint64_t run;          /* odd: Lua runs */
    _Atomic(lua_State *) running;  /* the coroutine that runs; NULL: none */
    _Atomic uint64_t least_ns;     /* the smallest budget of all runs */
    _Atomic uint64_t extended_run; /* this run has a larger one, */
    _Atomic uint64_t extended_ns;  /* which is this */
    atomic_bool must_end;          /* another thread wants this run to end, whatever its budget */
    /* the watchdog's */
    _Atomic uint64_t seen_run;    /* the last run that it saw, */
    _Atomic uint64_t seen_ns;     /* and the thread's CPU time when it first saw it */
    _Atomic uint64_t line_wanted; /* it wants to know the line of this run, … */
    _Atomic uint64_t line_run;    /* … and `line` is that of this one */
    struct script_line line;

    /* the worker's alone */
    enum budget_state state;
    uint64_t handler_ns;      /* of runs that belong to no endpoint */
    uint64_t load_ns;         /* of loading an app */
    uint64_t used_ns, may_ns; /* of the run that is late or over */
    char *where, *traceback;  /* of the run that is over */
    uint64_t spared_run;      /* this run went on in the library when it should have ended, */
    uint32_t spared;          /* for so many instructions */
    lua_State *hooked;        /* the coroutine in which the signal has last set its hook */
    uint32_t signals_left;    /* it sets it again after so many signals, */
    uint32_t signals_between; /* of this number in all */
    int ended_ref;            /* a list of coroutines that have unwound, in the registry, */
    int ended_count;          /* and its length */
};

/* The number of the run; even: no Lua runs. */
static inline uint64_t budget_run(const struct budget *budget) {
    return atomic_load_explicit(&budget->run, memory_order_relaxed);
}

/* The coroutine that runs; NULL: none. */
static inline lua_State *budget_running(const struct budget *budget) {
    return atomic_load_explicit(&budget->running, memory_order_relaxed);
}

static inline bool budget_is_kept(const struct budget *budget) {
    return budget->state == BUDGET_KEPT;
}

static inline bool budget_is_late(const struct budget *budget) {
    return budget->state == BUDGET_LATE;
}

static inline bool budget_is_over(const struct budget *budget) {
    return budget->state == BUDGET_OVER;
}

/* Before and after each lua_resume, lua_pcall and lua_resetthread in which scripts run: from here
 * on `co` runs. Returns the coroutine that ran before, for budget_leave(); NULL: none, so that a
 * new run begins. */
static inline lua_State *budget_enter(struct budget *budget, lua_State *co) {
    lua_State *outer = budget_running(budget);
    atomic_store_explicit(&budget->running, co, memory_order_relaxed);
    if (outer == NULL) {
        uint64_t run = atomic_load_explicit(&budget->run, memory_order_relaxed);
        atomic_signal_fence(memory_order_seq_cst); /* the handler sees no run without `running` */
        atomic_store_explicit(&budget->run, run + 1, memory_order_relaxed);
    }
    return outer;
}

static inline void budget_leave(struct budget *budget, lua_State *outer) {
    if (outer == NULL) {
        uint64_t run = atomic_load_explicit(&budget->run, memory_order_relaxed);
        atomic_store_explicit(&budget->run, run + 1, memory_order_relaxed);
        atomic_signal_fence(memory_order_seq_cst);
    }
    atomic_store_explicit(&budget->running, outer, memory_order_relaxed);
}

void budget_open(struct vm *vm); /* on the worker's thread */
void budget_free(struct vm *vm);

/* The app's limits in seconds: for runs that belong to no endpoint, and for loading. An endpoint
 * has a limit of its own. */
void budget_set(struct vm *vm, double handler_seconds, double load_seconds);
/* The budget of loading. */
static inline double budget_load_seconds(const struct budget *budget) {
    return (double)budget->load_ns / 1e9;
}
/* Some run may take no more than this. */
void budget_lower(struct vm *vm, uint64_t ns);

/* Before budget_leave(), when `co` has returned and lua_gethook() shows that the signal came too
 * late for Lua to notice it. If the run is over its budget, the state becomes BUDGET_LATE. */
__attribute__((cold, noinline)) void budget_note_late(struct vm *vm, lua_State *co);
/* After budget_leave() of an outermost run that is BUDGET_LATE: logs it. */
void budget_log_late(struct vm *vm, const char *hook, conn_id conn);

/* In a count hook of the caller's own, for a run that has taken so much, together with earlier
 * ones. True: that is over the budget, the state is BUDGET_OVER, and the caller calls
 * budget_unwind(). */
bool budget_check(lua_State *L, lua_Debug *activation, uint64_t used_ns);

/* Is it a function of this library's Lua code? */
bool budget_is_library(lua_State *L, lua_Debug *activation);

/* In a run that is over: lets the coroutine L unwind. C functions return its result. */
int budget_unwind(lua_State *L);
/* The coroutine on top of L's stack was resumed and has unwound. It is closed with the others. */
void budget_abandon(lua_State *L);

/* After budget_leave() of a run that is BUDGET_OVER: closes the coroutines that have unwound, the
 * task's among them. `task`: the one that ran; NULL: a callback of luv's. */
void budget_end(struct vm *vm, struct task *task, struct overrun *overrun);
/* Calls the pending __close methods of a task that has failed, as a run of its own. False: that run
 * was over its budget, too. */
bool budget_close(struct task *task, struct overrun *overrun);

#endif
