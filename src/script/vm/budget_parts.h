/* budget_parts.h -- the budget's side in script/: entering and leaving Lua, and what to do when a
 * run is over.
 *
 * Only for files of script/; included by vm_internal.h. */
#ifndef TIDEWIRE_SCRIPT_VM_BUDGET_PARTS_H
#define TIDEWIRE_SCRIPT_VM_BUDGET_PARTS_H

#include "base/conn_id.h"
#include "script/vm/budget.h"

#include <lua.h>
#include <stdatomic.h>

struct vm;
struct task;

enum budget_state {
    BUDGET_HOLDS,
    BUDGET_LATE, /* it was over when nothing but the library was left to run: it comes to its own
                    end */
    BUDGET_OVER, /* the run is to end: everything unwinds */
};

struct budget {
    /* the worker's, read by the watchdog and by its signal */
    _Atomic uint64_t run;          /* odd: Lua runs */
    _Atomic(lua_State *) running;  /* the coroutine that runs now; NULL: none */
    _Atomic uint64_t least_ns;     /* no run has less */
    _Atomic uint64_t extended_run; /* this run has more: */
    _Atomic uint64_t extended_ns;
    /* the watchdog's */
    _Atomic uint64_t seen_run; /* the run that it saw last, */
    _Atomic uint64_t seen_ns;  /* and the thread's CPU time when it saw it first */

    /* the worker's alone */
    enum budget_state state;
    uint64_t handler_ns;      /* of what belongs to no endpoint */
    uint64_t load_ns;         /* of loading */
    uint64_t used_ns, may_ns; /* of the run that is over */
    char *where, *traceback;  /* where it was */
    uint64_t spared_run;      /* this run was let go on in the library, */
    uint32_t spared;          /* for so many instructions */
    lua_State *asked;         /* the signal's: the coroutine that it has asked for a hook, */
    uint32_t signals_left;    /* so many signals before it asks again, */
    uint32_t signals_between; /* of so many */
    int ended_ref;            /* a list of the coroutines that it has left behind: */
    int ended_count;
};

/* The coroutine that runs now; NULL: none. */
static inline lua_State *budget_running(const struct budget *budget) {
    return atomic_load_explicit(&budget->running, memory_order_relaxed);
}

static inline bool budget_holds(const struct budget *budget) {
    return budget->state == BUDGET_HOLDS;
}

static inline bool budget_is_late(const struct budget *budget) {
    return budget->state == BUDGET_LATE;
}

static inline bool budget_is_over(const struct budget *budget) {
    return budget->state == BUDGET_OVER;
}

/* Before and after each lua_resume, lua_pcall and lua_resetthread that lets scripts run: `co` runs
 * from here on. Returns what ran before, which budget_leave() wants; NULL: nothing did, and it is a
 * run of its own. */
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

/* Seconds of the app: of what belongs to no endpoint, and of loading. An endpoint has its own. */
void budget_set(struct vm *vm, double handler_seconds, double load_seconds);
void budget_lower(struct vm *vm, uint64_t ns); /* some run may take no more than this */

/* Before budget_leave(), where lua_gethook() says that `co` was interrupted and it has come to its
 * end all the same, as nothing of Lua's was left to notice: is the run over? Then it is
 * BUDGET_LATE. */
void budget_look(struct vm *vm, lua_State *co);

/* From a count hook of one's own: the run, together with those before it, has taken so much. True:
 * that is more than it may, which is noted; budget_unwind() must follow. */
bool budget_exceed(lua_State *L, lua_Debug *activation, uint64_t used_ns);

/* Is it a function of this library's own Lua code? */
bool budget_is_library(lua_State *L, lua_Debug *activation);

/* Inside of a run that is over: lets the coroutine L end. A C function returns what it returns. */
int budget_unwind(lua_State *L);
/* The coroutine on top of L's stack was resumed, and has been ended: it is closed with the others.
 * */
void budget_abandon(lua_State *L);

/* What became of a run that was over; the texts are the caller's. */
struct overrun {
    char *where;     /* "app.lua:12: " or "" */
    char *traceback; /* of the coroutine that ran, then of those that had resumed it */
    double used_seconds, may_seconds;
};

/* After budget_leave(), when it is BUDGET_OVER: closes the coroutines that the run has left behind,
 * the task's among them. `task`: whose run it was; NULL: a callback of luv's. */
void budget_end(struct vm *vm, struct task *task, struct overrun *overrun);
/* Calls the pending __close methods of a task's coroutine, which has failed, as a run of its own.
 * False: that was over. */
bool budget_close(struct task *task, struct overrun *overrun);
/* After the budget_leave() of an outermost run that is BUDGET_LATE: tells it in the log. */
void budget_tell_late(struct vm *vm, const char *hook, conn_id conn);

/* A line in the log. `conn`: whose hook; 0: nobody's. */
void overrun_log(struct vm *vm, const struct overrun *overrun, const char *hook, conn_id conn);
void overrun_free(struct overrun *overrun);
/* Pushes what happened as a sentence, which begins with where. */
void overrun_push(lua_State *L, const struct overrun *overrun, bool is_loading);

#endif
