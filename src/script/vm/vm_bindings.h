/* vm_bindings.h -- what the Lua state has of its bindings. script/bind defines all of it.
 *
 * The structs are members of struct vm, or stand behind a pointer there; only the file that is
 * named uses their fields. */
#ifndef TIDEWIRE_SCRIPT_VM_VM_BINDINGS_H
#define TIDEWIRE_SCRIPT_VM_VM_BINDINGS_H

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>

struct vm;
struct bind_timers; /* bind_timers.c */
struct http_client; /* bind_http_client.c; NULL until a script makes its first request */

/* bind_conn.c: strings that are never collected; equal short strings of a state have one address.
 */
struct bind_conn_strings {
    const char *text, *binary, *key, *kind;
};

/* bind_guarded.c: objects whose finalizers wait to be run. */
struct bind_finalizers {
    int list_ref;             /* a list of them in the registry, */
    lua_Integer first, after; /* from this index to before that one */
};

/* Functions of `tidewire.core`. */
extern const luaL_Reg bind_conn_functions[], bind_room_functions[], bind_shared_functions[],
    bind_task_functions[], bind_server_functions[], bind_http_client_functions[],
    bind_guarded_functions[], bind_timers_functions[], bind_process_functions[],
    bind_limits_functions[];

/* bind_limits.c: pushes core.close_codes, core.limits. */
void bind_limits_push_close_codes(lua_State *L);
void bind_limits_push(lua_State *L);

/* bind_conn.c: pushes the C functions that are conn.send for the plain codecs. */
void bind_conn_push_senders(lua_State *L);
/* Pushes the key under which a conn object keeps its integer. */
void bind_conn_push_key(lua_State *L);

/* bind_process.c: pushes the value that os.exit yields to end its coroutine. */
void vm_push_exit_marker(lua_State *L);
bool vm_is_exit_marker(lua_State *L, int index);
/* Adds functions to the table on top, which bind_guarded_push() has made. */
void bind_process_add_functions(lua_State *L);
/* The same for io.popen and os.execute of a thread's own state, in place. */
void core_guard_children(lua_State *L);

/* bind_guarded.c */
void bind_guarded_open(struct vm *vm);
/* Pushes a table of functions that stand in for Lua's own. It is one table further away than the
 * others of `core`, so that tracebacks call them by the names that scripts know. */
void bind_guarded_push(lua_State *L);
/* Do finalizers of scripts wait? */
bool bind_guarded_has_finalizers(const struct vm *vm);
/* Runs some of them. */
void bind_guarded_run_finalizers(struct vm *vm);

/* bind_timers.c */
void bind_timers_open(struct vm *vm);
/* Calls timers that are due, for one slice of the turn. */
void bind_timers_run(struct vm *vm);
/* Before the loop sleeps: lets it wake for the first timer. */
void bind_timers_arm(struct vm *vm);
/* Is there a timer, due or not? */
bool bind_timers_wait(const struct vm *vm);
/* Ends all; others may be started afterwards. */
void bind_timers_end_all(struct vm *vm);
/* After the state was closed. The loop must run once more. */
void bind_timers_close(struct vm *vm);

/* bind_http_client.c: ends all requests; others may be started afterwards. */
void bind_http_client_end_all(struct vm *vm);

/* luv_bridge.c: makes `require "luv"` return luv on the worker's loop; closes luv's open
 * handles. */
void luv_bridge_open(struct vm *vm);
void luv_bridge_close_handles(struct vm *vm);
/* luv_thread_objects.c: how many threads, which scripts of all workers have started, have not
 * ended. */
int luv_running_threads(void);
/* Waits for the end of those that this state has started. May raise errors. */
void luv_join_threads(lua_State *L);
/* luv_limits.c: puts functions in the place of some of luv's, whose table is on top. */
void luv_limits_install(lua_State *L);

#endif
