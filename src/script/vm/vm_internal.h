/* vm_internal.h -- the Lua state, its tasks and their events, for the files of script/.
 *
 * struct vm has a member for each file that keeps something in it. Only the file that a member is
 * named after uses the member's fields; other files call functions, some of which are inline here.
 * Not for other parts: it includes Lua. */
#ifndef TIDEWIRE_SCRIPT_VM_VM_INTERNAL_H
#define TIDEWIRE_SCRIPT_VM_VM_INTERNAL_H

#include "base/list.h"
#include "base/slots.h"
#include "script/vm/budget_parts.h"
#include "script/vm/fast_path.h"
#include "script/vm/vm.h"
#include "script/vm/vm_bindings.h"
#include "script/vm/vm_load.h"
#include "script/vm/vm_memory.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

/* The kinds of event: for C, the name of its function in the table that dispatch.lua returns, and
 * the hook that the log names. */
#define VM_EVENTS(X)                                                                               \
    X(LOAD, load, "load")                                                                          \
    X(RELOAD, reload, "reload")                                                                    \
    X(ACTIVATE, activate, "reload")                                                                \
    X(DISCARD, discard, "reload")                                                                  \
    X(STOP, stop, "on_stop")                                                                       \
    X(TAKE_STATE, take_state, "state")                                                             \
    X(SAVE_STATE, save_state, "state")                                                             \
    X(RESTORE_SESSION, restore_session, "state")                                                   \
    X(FETCH_SESSION, fetch_session, "session")                                                     \
    X(GIVE_SESSION, give_session, "session")                                                       \
    X(HANDSHAKE, handshake, "validate")                                                            \
    X(REQUEST, request, "http")                                                                    \
    X(OPENED, opened, "on_start")                                                                  \
    X(MESSAGE, message, "handle_message")                                                          \
    X(PING, ping, "send_ping")                                                                     \
    X(TIMEOUT, timeout, "on_timeout")                                                              \
    X(DRAINED, drained, "on_drain")                                                                \
    X(RELOADED, reloaded, "on_reload")                                                             \
    X(DROPPED, dropped, "handle_message")                                                          \
    X(DISCONNECTED, disconnected, "on_disconnect")                                                 \
    X(RESUMED, resumed, "on_resume")                                                               \
    X(CLOSED, closed, "on_close")                                                                  \
    X(ANSWERED, answered, "conn:ask")                                                              \
    X(UNANSWERED, unanswered, "conn:ask")                                                          \
    X(PRESENCE_CHANGED, presence_changed, "room:watch")                                            \
    X(TIMER, timer, "timer")                                                                       \
    X(RETURNED, returned, "handle_message")                                                        \
    X(FAILED, failed, "on_error")

enum vm_event {
#define X(upper, lower, hook) EVENT_##upper,
    VM_EVENTS(X)
#undef X
        EVENT_SPAWNED, /* runs a function of the script; dispatch.lua has none for it */
    EVENT_FINALIZER,   /* the same */
    EVENT_COUNT
};

/* A coroutine and the event that it runs. After it has returned, it serves another event. */
struct task {
    struct vm *vm;
    lua_State *co;
    int ref;          /* keeps `co` from being collected */
    uint64_t number;  /* its name for scripts; 0: none has needed it */
    conn_id conn;     /* it runs a hook of this connection; 0: of none */
    struct conn *own; /* the same; NULL: it is gone, or may be, or the hub has begun no hook */
    const void *own_object; /* the address of its object */
    conn_id owner; /* `conn`, or the connection of a timer: its endpoint sets the budget, and its
                    * on_error is called after an overrun */
    const char *valid_text; /* the bytes of a string at the bottom of its stack, which are valid
                             * UTF-8; NULL: there is none */
    uint64_t budget_ns;     /* instead of the endpoint's; 0: none */
    uint64_t request;       /* the plain HTTP request that it answers; 0: none */
    enum vm_event event;
    unsigned generation; /* of the code in which it began */
    unsigned scope;      /* the generation that it loads, or whose loading started it; 0: none */
    int arguments;       /* on its stack, of a task that has not begun; -1: it has begun */
    int results;         /* that lua_resume() has reported of its last run */
    bool waiting;        /* it sleeps, or has not begun */
    bool is_last;        /* it reports an error in on_error: its own error is only logged */
    bool is_fast_path;   /* it runs handle_message without dispatch.lua: see fast_path.c */
    bool woken;          /* it is in the ready list, or was woken before it slept */
    struct list link;    /* in the ready list or the sleeping list */
};

struct closing;
struct vm_thread;

/* Most tasks in the pool. The collector visits every coroutine again and again: after many hooks
 * have slept at once, the server must not stay slower. */
enum { TASKS_POOL = 256 };

/* vm_tasks.c's member of struct vm. */
struct tasks {
    int event_refs[EVENT_SPAWNED]; /* the functions of dispatch.lua, in the registry */
    struct list ready, sleeping;
    struct task *pool[TASKS_POOL];
    uint32_t pooled;       /* tasks in the pool */
    uint32_t not_begun;    /* tasks that run later for the first time */
    struct slots numbered; /* the tasks that scripts know by a number */
};

/* vm_run.c's member of struct vm. */
struct vm_run {
    struct task *current; /* the task that runs; NULL: a callback of luv's, or no Lua */
    bool must_return;     /* `current` may not sleep */
};

struct vm {
    /* Set when the state is made; all files read these. */
    lua_State *L;
    struct vm_options options;
    struct hub *hub;     /* NULL: the state of a pool's thread (vm_thread.h) */
    struct stats *stats; /* the hub's */
    uv_loop_t *loop;
    struct http_responder responder; /* sends the answers to plain HTTP requests */

    uint64_t stop_task; /* vm.c: the number of the task that runs on_stop; 0: none */
    struct tasks tasks;
    struct vm_run run;
    struct vm_load load;
    struct fast_path fast_path;
    struct budget budget;
    struct closing *closing; /* closing.c: the coroutine that is closed now */

    /* of bindings; see vm_bindings.h */
    struct bind_conn_strings conn_strings;
    struct bind_finalizers finalizers;
    struct bind_timers *timers;
    bool timers_wait; /* bind_timers.c: it must be called in each turn, because it has timers */
    struct http_client *http;
    struct children *children;
    struct pool_client *pools;
    bool pools_are_closed; /* no pool may be made any more */

    struct vm_memory memory;  /* of L */
    struct vm_thread *thread; /* vm_thread.c; NULL: L is a worker's */
};

/* The vm of a state; works in each of its coroutines. */
static inline struct vm *vm_of(lua_State *L) {
    return *(struct vm **)lua_getextraspace(L);
}

/* Do finalizers of scripts wait? */
static inline bool vm_has_finalizers(const struct vm *vm) {
    return vm->finalizers.first < vm->finalizers.after;
}

/* ---- vm.c ---- */

/* print, which writes the line in one piece, because other threads print to the same stream. */
int vm_print(lua_State *L);
/* Makes vm->L, after vm_memory_init(); the process ends when there is no memory for it. */
void vm_make_state(struct vm *vm);
/* Opens Lua's libraries and what states of workers and of pools' threads have in common; `open` is
 * of the bindings. May raise errors. */
void vm_open_library(lua_State *L, void (*open)(lua_State *L));

/* ---- vm_tasks.c ---- */

void vm_tasks_init(struct vm *vm);
/* Keeps the functions of dispatch.lua's table, which is on top of L. Raises an error if one is
 * missing. */
void vm_tasks_open(struct vm *vm, lua_State *L);
/* After the state was closed. */
void vm_tasks_close(struct vm *vm);

/* A task with the event's function on the stack of its coroutine. The caller pushes the arguments
 * there. */
struct task *vm_task(struct vm *vm, enum vm_event event, conn_id conn);
/* The same for a hook of the connection, with an empty stack. */
struct task *vm_hook_task(struct vm *vm, enum vm_event event, struct conn *conn);
/* Pushes the connection's object; nil: it has none, or `conn` is NULL. */
void vm_push_object(lua_State *L, struct conn *conn);
/* Keeps the object on top of L, which is popped, for the events of its connection. */
void vm_keep_object(lua_State *L, struct conn *conn);
/* The task has returned, and its results are not needed any more. */
void vm_task_done(struct task *task);
/* For a task that has not returned. It is not used again: a part of Lua that it was inside of, such
 * as the message handler of an xpcall, may stay set in its coroutine. */
void vm_task_free(struct task *task);

/* The number by which scripts know a task. */
uint64_t vm_task_number(struct task *task);
bool vm_has_task(const struct vm *vm, uint64_t number);
/* The task of the coroutine at the index; NULL: the script has made the coroutine. */
struct task *vm_task_at(lua_State *L, int index);
/* The sleeping or ready task that loads an app, or NULL. */
struct task *vm_find_load(struct vm *vm);

/* The task has yielded. Puts it into the list of sleeping tasks, or of ready ones if it was
 * woken. */
void vm_task_sleep(struct task *task);
/* Makes a sleeping task ready. False: no task has this number. */
bool vm_wake(struct vm *vm, uint64_t number);
/* Makes a task ready that has not begun; its arguments are on its stack. */
void vm_run_later(struct task *task, int arguments);
/* Makes a new task ready, for the function and arguments on top of L, which are popped. */
void vm_spawn(struct vm *vm, lua_State *L, int arguments);
/* Runs the tasks that were ready when it was called, for one slice of the turn. If `until` is among
 * them, it stops before that task, removes it from the list and returns true. */
bool vm_run_ready(struct vm *vm, const struct task *until);
/* Ends the sleeping and ready tasks of a scope. */
void vm_end_scope(struct vm *vm, unsigned scope);

/* Does the task load an app? False for NULL. */
static inline bool vm_is_loading(const struct task *task) {
    return task != NULL && (task->event == EVENT_LOAD || task->event == EVENT_RELOAD);
}

/* ---- vm_run.c ---- */

enum vm_result { RUN_RETURNED, RUN_SLEEPS, RUN_FAILED };

/* Runs a task. RUN_RETURNED: the results are on task->co, and the caller calls vm_task_done().
 * RUN_FAILED: the error was passed to dispatch.lua, and the task is freed. */
enum vm_result vm_run(struct task *task, int arguments);
/* The same for a task that may not sleep. */
enum vm_result vm_run_to_end(struct task *task, int arguments);
/* The same for an event without results. If the task fails, the result is the state of the task
 * that handles the error. */
enum hook_state vm_run_hook(struct task *task, int arguments);

/* The hook of the task, which has not begun, fails for want of memory. */
enum hook_state vm_refuse_hook(struct task *task);

/* Ends a task that is in no list and has not returned. */
void vm_end_task(struct task *task);
/* A script has closed the coroutine of a waiting task: the task ends as one that has failed. */
void vm_abort_task(struct task *task);

/* The name of an event's hook for the log. NULL: there is no such event. */
const char *vm_hook_name(enum vm_event event);
/* Pushes "app.lua:3" onto L, the innermost line of a script in the coroutine; "" if it is in
 * none. */
const char *vm_push_place(lua_State *L, lua_State *co);
/* The same as plain data. */
void vm_find_line(lua_State *co, struct script_line *at);
/* Push the values that a coroutine yields in order to sleep; and to end, after a call of os.exit.
 */
void vm_push_wait_marker(lua_State *L);
void vm_push_exit_marker(lua_State *L);

/* The task that runs; NULL: a callback of luv's, or no Lua. */
static inline struct task *vm_current(const struct vm *vm) {
    return vm->run.current;
}

/* Makes a task the one that runs, so that its budget applies. Returns the former one. */
static inline struct task *vm_replace_current(struct vm *vm, struct task *task) {
    struct task *former = vm->run.current;
    vm->run.current = task;
    return former;
}

/* Must the running task return without sleeping? */
static inline bool vm_must_return(const struct vm *vm) {
    return vm->run.must_return;
}

/* ---- vm_load.c ---- */

/* The generation of the activated code. */
static inline unsigned vm_generation(const struct vm *vm) {
    return vm->load.generation;
}

/* The generation of the running task's code, or else of the activated code. */
static inline unsigned vm_current_generation(const struct vm *vm) {
    return vm->run.current == NULL ? vm->load.generation : vm->run.current->generation;
}

/* The script files of the code that was loaded last, one a line; NULL: none was. */
static inline const char *vm_sources(const struct vm *vm) {
    return vm->load.sources;
}

/* ---- vm_events.c ---- */

extern const struct hub_events vm_hub_events;

/* ---- app.c ---- */

/* Reads the table at the index, which dispatch.lua's `load` has returned. */
struct app *app_read(lua_State *L, int index);
/* The rate of the table on top of the stack by the fields `count`, `per` and `burst`; all zeros
 * where it is no table or has no `count`. */
struct token_rate app_rate(lua_State *L, const char *count, const char *burst);

#endif
