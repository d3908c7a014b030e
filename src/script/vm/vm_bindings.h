/* vm_bindings.h -- what the vm asks of the bindings, and keeps for them: implemented by
 * script/bind.
 *
 * It is declared here, as vm/ includes nothing of bind/. bind/bind.h has the rest.
 * The structs are members of struct vm, or stand behind a pointer there; only the file that is
 * named uses their fields. */
#ifndef TIDEWIRE_SCRIPT_VM_VM_BINDINGS_H
#define TIDEWIRE_SCRIPT_VM_VM_BINDINGS_H

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

/* bind_finalizers.c: objects whose finalizers wait to be run. */
struct bind_finalizers {
    int list_ref;             /* a list of them in the registry, */
    lua_Integer first, after; /* from this index to before that one */
};

/* Before the Lua state is made: timers. */
void bind_timers_open(struct vm *vm);
/* In the new state: luv, finalizers, and tidewire.core. May raise errors. */
void bind_open(lua_State *L);
/* Cancels what scripts have left open: timers, HTTP requests, luv's handles. Others may be opened
 * afterwards. */
void bind_close_handles(struct vm *vm);
/* After the Lua state is closed. The loop must run once more. */
void bind_close(struct vm *vm);

/* Calls timers that are due, for one slice of the turn. */
void bind_timers_run(struct vm *vm);
/* Before the loop sleeps: it shall wake for the first timer. */
void bind_timers_arm(struct vm *vm);
/* Is there a timer, due or not? */
bool bind_timers_wait(const struct vm *vm);
/* See vm_timers(). */
void bind_timers_each(struct vm *vm, void (*f)(void *user, unsigned generation, const char *where),
                      void *user);

/* Do finalizers of scripts wait? */
bool bind_finalizers_wait(const struct vm *vm);
/* Runs some of them. */
void bind_finalizers_run(struct vm *vm);

/* Any thread: how many threads of all states have not ended. */
int bind_luv_threads_running(void);
/* Waits for the end of those that this state has started. May raise errors. */
void bind_luv_threads_join(lua_State *L);

#endif
