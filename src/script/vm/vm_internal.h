/* vm_internal.h -- what the files of script/ share: the state, its coroutines, the events.
 *
 * Not for other parts: it includes Lua. */
#ifndef TIDEWIRE_SCRIPT_VM_VM_INTERNAL_H
#define TIDEWIRE_SCRIPT_VM_VM_INTERNAL_H

#include "base/list.h"
#include "base/slots.h"
#include "script/vm/budget_parts.h"
#include "script/vm/vm.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

/* The kinds of event; each is a function of the table that dispatch.lua returns, by the name here.
 * */
#define VM_EVENTS(X)                                                                               \
    X(LOAD, load)                                                                                  \
    X(RELOAD, reload)                                                                              \
    X(ACTIVATE, activate)                                                                          \
    X(DISCARD, discard)                                                                            \
    X(STOP, stop)                                                                                  \
    X(HANDSHAKE, handshake)                                                                        \
    X(REQUEST, request)                                                                            \
    X(OPENED, opened)                                                                              \
    X(MESSAGE, message)                                                                            \
    X(PING, ping)                                                                                  \
    X(TIMEOUT, timeout)                                                                            \
    X(DRAINED, drained)                                                                            \
    X(RELOADED, reloaded)                                                                          \
    X(CLOSED, closed)                                                                              \
    X(PRESENCE_CHANGED, presence_changed)                                                          \
    X(FORGOTTEN, forgotten)                                                                        \
    X(TIMER, timer)                                                                                \
    X(RETURNED, returned)                                                                          \
    X(FAILED, failed)

enum vm_event {
#define X(upper, lower) EVENT_##upper,
    VM_EVENTS(X)
#undef X
        EVENT_SPAWNED, /* a function of the script's own: no function of dispatch.lua */
    EVENT_FINALIZER,   /* the same */
    EVENT_COUNT
};

/* A coroutine and what it runs for. Pooled: when it has returned it serves the next event. */
struct task {
    struct vm *vm;
    lua_State *co;
    int ref;         /* keeps `co` from being collected */
    uint64_t number; /* what scripts know it by; 0 until it is asked for */
    conn_id conn;    /* whose hook it runs; 0: nobody's */
    conn_id owner;   /* whose budget holds, and who is told when it is over: `conn`, or a timer's */
    uint64_t budget_ns; /* in place of the owner's; 0: not */
    uint64_t request;   /* the plain HTTP request that waits for it; 0: none */
    enum vm_event event;
    unsigned generation; /* of the code that it began in */
    unsigned scope;      /* the generation whose loading it does, or was started by; 0: none */
    int arguments;       /* of a task that has not begun, on its stack; -1: it has */
    bool waiting;        /* it sleeps, or has not begun */
    bool is_last; /* it tells what happened to one that told of an error: if it fails, too, nobody
                     is told */
    bool is_fast_path; /* it runs handle_message itself: see fast_path.c */
    bool woken;        /* it was woken before it slept, or is in the ready list */
    struct list link;  /* in the pool, the ready list or the sleeping list */
};

/* A string that is never collected: its bytes in the state, and a reference to it. */
struct interned {
    const char *bytes;
    int ref;
};

struct closing;

struct vm {
    lua_State *L;
    struct vm_options options;
    struct hub *hub;
    struct http_responder responder; /* answers plain HTTP */
    uv_loop_t *loop;
    int event_refs[EVENT_COUNT];
    int *fast_path; /* fast_path.c's: the functions of endpoints, by their numbers */
    size_t fast_path_count;
    int conns_ref;
    char *sources; /* the script files of the code that was loaded last, one a line */
    struct interned interned_text, interned_binary, interned_key, interned_kind;
    struct task *current;   /* what runs now, or NULL: a callback of luv's, or nothing */
    bool must_answer;       /* `current` may not sleep */
    unsigned generation;    /* of the code that runs */
    unsigned loading;       /* of the code that is loaded, or was last */
    uint32_t codec_closed;  /* connections that it has closed, whose codec is another in it */
    vm_loaded_fn on_loaded; /* of vm_load_next(); NULL: it was told, or nobody waits */
    void *on_loaded_user;
    uint64_t activated_ns; /* monotonic: when the code that runs did; 0: it is the first */
    uint64_t slice_began_ns,
        slices_ns; /* of a reload: CPU time, of this slice's begin and of those before */
    bool slice_over;
    bool load_stopped; /* vm_stop_load() was called */
    bool load_over;    /* loading took too long, which was told */
    struct list pool, ready, sleeping;
    uint32_t pooled;                 /* tasks in the pool */
    struct slots tasks;              /* by task.number */
    struct slots timers;             /* struct bind_timer, by its number */
    struct timer_queue *timer_queue; /* bind_timers.c's */
    struct http_client *http;        /* NULL until a script makes its first request */
    uint64_t stop_task;              /* the task that runs on_stop, 0: none */
    struct budget budget;
    struct closing *closing;            /* closing.c's: what is closed now */
    int dead_ref;                       /* bind_guarded.c's: objects whose __gc is to run, */
    lua_Integer dead_first, dead_after; /* from here to before there */
};

/* The state's vm; works in each of its coroutines. */
static inline struct vm *vm_of(lua_State *L) {
    return *(struct vm **)lua_getextraspace(L);
}

/* ---- vm_run.c: coroutines ---- */

enum vm_result { RUN_RETURNED, RUN_SLEEPS, RUN_FAILED };

/* A coroutine whose stack holds the event's function; push its arguments to task->co. */
struct task *vm_task(struct vm *vm, enum vm_event event, conn_id conn);
/* The same with a function of its own, a reference. */
struct task *vm_task_of(struct vm *vm, enum vm_event event, conn_id conn, int function);
/* Runs it. RUN_RETURNED: the results are on task->co, and vm_task_done() is owed. RUN_FAILED: the
 * error was logged and handed to dispatch.lua, the task is gone. */
enum vm_result vm_run(struct task *task, int arguments);
void vm_task_done(struct task *task);
/* The same for events without results; RUN_FAILED becomes the state of the error's handling. */
enum hook_state vm_run_hook(struct task *task, int arguments);
/* Pushes "app.lua:3" onto L: the innermost line of a script's that the coroutine is at; "" where
 * there is none. */
const char *vm_push_place(lua_State *L, lua_State *co);
/* Its number for scripts; makes one when there is none. */
uint64_t vm_task_number(struct task *task);
/* Puts a sleeping task into the ready list. False: the number is of none, or of one that is over.
 * */
bool vm_wake(struct vm *vm, uint64_t task_number);
/* Puts a task, with its function and arguments on its stack, into the ready list. */
void vm_run_later(struct task *task, int arguments);
/* A new task that will run the function and arguments on top of L's stack, which are popped. */
void vm_spawn(struct vm *vm, lua_State *L, int arguments);
/* Runs a woken task on; tells the hub when its connection's hook has ended. */
void vm_resume(struct vm *vm, struct task *task);
/* Runs what was ready when it was called, for one slice of the turn. Stops before `until`, if that
 * is a task among them, which is taken out of the list: true. */
bool vm_run_ready(struct vm *vm, const struct task *until);
/* Pushes the word that a coroutine yields to say that it sleeps. */
void vm_push_wait_marker(lua_State *L);
/* bind_process.c: the word that one yields to say that it ends, as the script has called
 * os.exit. */
void vm_push_exit_marker(lua_State *L);
bool vm_is_exit_marker(lua_State *L, int index);
extern const luaL_Reg bind_process_functions[];
/* bind_process.c: functions for the table on top, which bind_guarded_push() has made. */
void bind_process_add_functions(lua_State *L);
/* The same for io.popen and os.execute of a thread's own state, in place. */
void core_guard_children(lua_State *L);

/* The task of the coroutine at the index; NULL: it is none of ours. */
struct task *vm_task_at(lua_State *L, int index);
/* Ends a task that waits as one that has failed: a script has closed its coroutine. */
void vm_abort_task(struct task *task);
/* Ends a task that waits, and is in no list. */
void vm_end_task(struct task *task);

/* ---- others ---- */

/* vm.c */
/* Is this worker the first to say this of why it cannot load? What all have to say is said once. */
bool vm_says_first(const char *text);

void vm_push_command_line(lua_State *L, const struct vm_command_line *line);
/* reload.c: around each run of a task; a reload's gets a slice of time. */
void reload_begin_slice(struct task *task);
/* reload.c: asks for its hook again, which another has replaced. Does nothing for other tasks. */
void reload_ask(struct task *task);
void reload_end_slice(struct task *task);
/* reload.c: the task that loads new code has failed as a whole. */
void reload_failed(struct vm *vm, const char *why, const char *sources);
void reload_overrun(struct vm *vm, const struct overrun *overrun);
extern const luaL_Reg core_reload_functions[];

/* fast_path.c: keeps the table of dispatch.lua's connections, which it pops. */
void fast_path_open(struct vm *vm, lua_State *L);
void fast_path_close(struct vm *vm);
/* A coroutine with handle_message and its three arguments; NULL: the message must go to
 * dispatch.lua. */
struct task *fast_path_task(struct vm *vm, conn_id id, bool binary, const char *bytes, size_t len);
/* Has it returned nil and an error? Then who tells on_error, with two arguments; the task is still
 * the caller's. */
bool fast_path_returned_error(const struct task *task);
struct task *fast_path_error_task(struct task *task);
int core_fast_path(lua_State *L);

/* events.c */
extern const struct hub_events vm_hub_events;
/* bind_conn.c, bind_room.c, bind_shared.c, bind_task.c, bind_server.c, bind_http_client.c,
 * bind_guarded.c: functions of `tidewire.core`. */
extern const luaL_Reg bind_conn_functions[], bind_room_functions[], bind_shared_functions[],
    bind_task_functions[], bind_server_functions[], bind_http_client_functions[],
    bind_guarded_functions[];
/* bind_guarded.c: what it keeps in the state; whether finalizers of scripts wait, and runs some of
 * them. */
void bind_guarded_open(struct vm *vm);
/* Pushes a table of functions that stand in for Lua's own. It is one table further away than the
 * others of `core`, so that tracebacks call them by the names that scripts know. */
void bind_guarded_push(lua_State *L);
bool bind_guarded_has_finalizers(const struct vm *vm);
void bind_guarded_run_finalizers(struct vm *vm);
/* bind_limits.c: pushes core.close_codes, core.limits; the functions beside them. */
void bind_limits_push_close_codes(lua_State *L);
void bind_limits_push(lua_State *L);
extern const luaL_Reg bind_limits_functions[];
/* bind_conn.c: pushes the C functions that are conn.send for the plain codecs. */
void bind_conn_push_senders(lua_State *L);
/* bind_conn.c: pushes the key under which a conn object keeps its integer. */
void bind_conn_push_key(lua_State *L);
/* bind_timers.c: calls timers that are due, for one slice of the turn. */
void bind_timers_run(struct vm *vm);
/* Before the loop sleeps: it shall wake for the first timer. */
void bind_timers_arm(struct vm *vm);
/* Is there a timer, due or not? */
bool bind_timers_wait(const struct vm *vm);
void bind_timers_open(struct vm *vm);
/* Ends all; others may be started afterwards. */
void bind_timers_end_all(struct vm *vm);
/* When the Lua state is closed. The loop must run once more. */
void bind_timers_close(struct vm *vm);
extern const luaL_Reg bind_timers_functions[];
/* luv_bridge.c: makes `require "luv"` give luv on the worker's loop; closes luv's open handles. */
void luv_bridge_open(struct vm *vm);
void luv_bridge_close_handles(struct vm *vm);
/* luv_thread_objects.c: how many threads of all states have not ended. */
int luv_running_threads(void);
/* Waits for the end of those that this state has started. May raise errors. */
void luv_join_threads(lua_State *L);
/* luv_limits.c: puts functions in the place of some of luv's, whose table is on top. */
void luv_limits_install(lua_State *L);
/* app.c: reads what dispatch.lua's `load` returned, a table at the index. */
struct app *app_read(lua_State *L, int index);

#endif
