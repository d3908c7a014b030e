/* vm_bindings.h -- what the vm asks of the bindings, and keeps for them.
 *
 * A table of functions, which bind/ fills: vm/ neither includes nor calls anything of bind/.
 * The structs are members of struct vm, or stand behind a pointer there; only the file that is
 * named uses their fields. */
#ifndef TIDEWIRE_SCRIPT_VM_VM_BINDINGS_H
#define TIDEWIRE_SCRIPT_VM_VM_BINDINGS_H

#include <lua.h>
#include <stdbool.h>

struct vm;
struct bind_timers; /* bind_timers.c */
struct children;    /* bind_children.c; NULL until a script runs its first program */
struct http_client; /* bind_http_client.c; NULL until a script makes its first request */
struct pool_client; /* bind_pool.c; NULL until a script makes its first pool */

/* bind_conn.c: strings that are never collected; equal short strings of a state have one address.
 */
struct bind_conn_strings {
    const char *text, *binary, *key, *kind, *compress;
};

/* bind_finalizers.c: objects whose finalizers wait to be run. */
struct bind_finalizers {
    int list_ref;             /* a list of them in the registry, */
    lua_Integer first, after; /* from this index to before that one */
};

/* Called through `vm->options.bindings`, each on the worker's thread but for threads_running. */
struct vm_bindings {
    /* Before the Lua state is made: timers. */
    void (*prepare)(struct vm *vm);
    /* In the new state: luv, finalizers, and tidewire.core. May raise errors. */
    void (*open)(lua_State *L);
    /* In the new state of a pool's thread: its tidewire.core. May raise errors. */
    void (*open_thread)(lua_State *L);
    /* Cancels what scripts have left open: timers, HTTP requests, programs, luv's
     * handles. Others may be
     * opened afterwards. */
    void (*close_handles)(struct vm *vm);
    /* After the Lua state is closed. The loop must run once more. */
    void (*close)(struct vm *vm);

    /* Both are called in each turn while vm->timers_wait is set. Calls timers that are due, for one
     * slice of the turn. */
    void (*run_timers)(struct vm *vm);
    /* Before the loop sleeps: it shall wake for the first timer. */
    void (*arm_timers)(struct vm *vm);
    /* See vm_timers(). */
    void (*each_timer)(struct vm *vm, void (*f)(void *user, unsigned generation, const char *where),
                       void *user);

    /* Do calls of pools wait for their results? */
    bool (*has_pool_calls)(const struct vm *vm);

    /* Runs some of the finalizers that wait. */
    void (*run_finalizers)(struct vm *vm);

    /* Any thread: how many threads of all states have not ended. */
    int (*threads_running)(void);
    /* Waits for the end of those that this state has started. May raise errors. */
    void (*join_threads)(lua_State *L);
};

#endif
