/* vm.h -- one worker's Lua state: it runs the hooks of the app.
 *
 * C enters Lua only through vm_run() (vm_run.c), always as one lua_resume of an event's function on
 * a coroutine from a pool, which returns, sleeps or fails. lua/tidewire/dispatch.lua has the
 * function for each event. Everything runs on the worker's thread; nothing here knows sockets. */
#ifndef TIDEWIRE_SCRIPT_VM_VM_H
#define TIDEWIRE_SCRIPT_VM_VM_H

#include "base/error_text.h"
#include "core/cosocket/cosocket.h"
#include "core/http/tls_options.h"
#include "core/hub/hub.h"
#include "core/store/shared.h"
#include "core/upstream/upstream.h"

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct vm;
struct app;
struct budget;
struct settings;

struct vm_bindings;
struct pools;
struct plain_data_left_out;
struct sink;
struct slice;

/* The state that outlives the process (server/state/state.h). `user` is the first argument. */
struct vm_state_functions {
    void *user; /* NULL: there is none, and no function is called */
    /* The app's option names this file: takes what it has. False, with a sentence: the server
     * cannot start with it. */
    bool (*take)(void *user, const char *file, const struct error_text *problem);
    /* The table of tw.keep with this index that the worker has kept. False: there are no more. */
    bool (*keep)(void *user, unsigned worker, size_t index, struct slice *name,
                 struct slice *value);
    /* Until end_part() a table of tw.keep is written, into the sink. */
    struct sink *(*begin_keep)(void *user, unsigned worker, struct slice name);
    /* The same for a session of an endpoint with this path. */
    struct sink *(*begin_session)(void *user, struct slice path);
    void (*end_part)(void *user);
    /* Where the names of values that are left out go. */
    const struct plain_data_left_out *(*left_out)(void *user);
};

struct vm_options {
    const struct vm_bindings *bindings; /* the functions that scripts call (bind/bindings.h) */
    uv_loop_t *loop;
    struct hub *hub;
    struct shared *shared; /* the stores of all workers; borrowed */
    struct pools *pools;   /* the pools of all workers (script/pool/pools.h); borrowed */
    unsigned worker;
    size_t memory;     /* bytes that the process may have, for the default of limits.memory */
    double started_at; /* monotonic seconds, for tw.stats().uptime */
    /* Checks a listen address: false and a sentence if it is none. NULL: addresses are not
     * checked. */
    bool (*check_address)(const char *text, char *error, size_t error_size);
    /* The same for an element of `trusted_proxies`. */
    bool (*check_trusted_proxy)(const char *text, char *error, size_t error_size);
    /* Is it the URL of a Redis server? No password is in the error. */
    bool (*check_cluster_url)(const char *text, char *error, size_t error_size);
    /* The same for the options of TLS. */
    bool (*check_tls)(const struct tls_options *options, struct tls_problem *problem);
    /* A script has called os.exit with this code, 0 to 255. NULL: only its hook ends. */
    void (*on_exit)(void *user, int code);
    void *on_exit_user;
    struct upstream_functions upstreams; /* WebSocket connections to other servers */
    struct cosocket_functions cosockets; /* sockets to other servers */
    struct vm_state_functions state;
};

/* A state with the libraries and no app. It handles the hub's events. NULL, after a line of the
 * log: the library itself cannot be loaded. */
struct vm *vm_new(const struct vm_options *options);

/* The handler of plain HTTP requests: the routes of the app. */
struct http_handler vm_http_handler(struct vm *vm);
/* The functions by which routes answer. Before the first request. */
void vm_set_http_responder(struct vm *vm, struct http_responder responder);

/* A number that changes when Lua runs. */
uint64_t vm_runs(const struct vm *vm);
/* For the watchdog, which may not use it any more after vm_free(). */
struct budget *vm_budget(struct vm *vm);

/* Closes the timers, HTTP requests and luv handles that scripts have left open. Callbacks of luv's
 * run once more and may open others: the caller calls it before each turn of the loop, until the
 * loop has no handles. */
void vm_close_handles(struct vm *vm);

/* Do calls of pools wait for their results? */
bool vm_has_pool_calls(const struct vm *vm);
/* Do threads run that scripts of any worker have started with luv? */
bool vm_has_threads(const struct vm *vm);

/* Ends sleeping hooks and closes the state. There may be no handle, request or thread of luv's any
 * more, and the loop must run once more. Accepts NULL. */
void vm_free(struct vm *vm);

/* Loads the app in `file`; runs the loop while its script waits. NULL: the app cannot be loaded,
 * and each problem was printed to stderr as "file:line: message". The caller frees the result.
 * Options of the command line override the app's. */
struct app *vm_load(struct vm *vm, const char *file, const struct settings *settings);
/* Lets a waiting vm_load() return NULL. */
void vm_stop_load(struct vm *vm);

/* ---- new code ---- */

/* The end of vm_load_next(). `app` is the callee's; NULL: the code cannot be loaded, and `problems`
 * says why, in lines. `sources` are the script files that were looked for, one a line; some may be
 * missing. */
typedef void (*vm_loaded_fn)(void *user, struct app *app, const char *problems,
                             const char *sources);

/* Begins to load the app anew, as this generation, beside the code that runs. on_loaded is called
 * once, unless vm_discard() is called before. */
void vm_load_next(struct vm *vm, const char *file, const struct settings *settings,
                  unsigned generation, vm_loaded_fn on_loaded, void *user);
/* Logs that loading the app, for the first time or anew, has taken so many seconds, and the line of
 * the script that waits or is busy. `loading`: so many of all `workers` are still loading. Logs
 * nothing if the load has ended. */
void vm_log_slow_load(struct vm *vm, double seconds, unsigned loading, unsigned workers);
/* Activates the code that was loaded. Returns the number of connections that were closed because
 * the new code gives their endpoint another codec. */
uint32_t vm_activate(struct vm *vm);
/* Discards the new code, loaded or not. */
void vm_discard(struct vm *vm);

/* Calls f with the generation of each task that sleeps. */
void vm_generations(struct vm *vm, void (*f)(void *user, unsigned generation), void *user);

/* Calls f with the generation of each timer of scripts and with the line that has started it; NULL:
 * the timer does not repeat. */
void vm_timers(struct vm *vm, void (*f)(void *user, unsigned generation, const char *where),
               void *user);

/* At the end of each turn of the loop: calls timers that are due and runs tasks that are ready,
 * each for a slice of time. The rest waits for the next turn. */
void vm_turn(struct vm *vm);
/* Just before the loop sleeps: lets it wake for the next timer. */
void vm_before_sleep(struct vm *vm);
/* Does work wait for vm_turn()? Then the loop may not sleep. */
bool vm_has_pending(const struct vm *vm);

/* Fills the tables of tw.keep with those of the state, which was taken after the app was loaded. */
void vm_take_state(struct vm *vm);
/* Writes the tables of tw.keep and the sessions into the state. */
void vm_save_state(struct vm *vm);
/* Makes the object of a session that the hub has restored; `values` are what the session's part of
 * the state has behind the hub's bytes. False: it has no object. */
bool vm_restore_session(struct vm *vm, struct conn *conn, uint32_t endpoint, struct slice values);

/* Runs the app's on_stop, which may sleep. */
void vm_stop_app(struct vm *vm);
/* Has on_stop not returned yet? */
bool vm_is_stopping(const struct vm *vm);

#endif
