/* vm.h -- one worker's Lua state: the way in for events, the way out for scripts.
 *
 * C enters Lua only through vm_run() (vm_run.c), always as one lua_resume of an event's function on
 * a pooled coroutine: it returns, it sleeps, or it fails. Which function answers which event is
 * decided by lua/tidewire/dispatch.lua. Everything on the worker's thread; nothing here knows
 * sockets. */
#ifndef TIDEWIRE_SCRIPT_VM_VM_H
#define TIDEWIRE_SCRIPT_VM_VM_H

#include "core/hub/hub.h"
#include "core/store/shared.h"

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct vm;
struct app;
struct budget;

struct vm_bindings;

struct vm_options {
    const struct vm_bindings *bindings; /* the functions that scripts call (bind/bindings.h) */
    uv_loop_t *loop;
    struct hub *hub;
    struct shared *shared; /* the stores of all workers; borrowed */
    unsigned worker;
    double started_at; /* wall seconds, for tw.stats().uptime */
    /* Judges a listen address: false and a sentence. NULL: not judged. */
    bool (*check_address)(const char *text, char *error, size_t error_size);
    /* The same of a certificate and its key, by their files. */
    bool (*check_certificate)(const char *chain_file, const char *key_file, char *error,
                              size_t error_size);
    /* A script has called os.exit with this code, 0 to 255. NULL: nothing comes of it but the end
     * of its hook. */
    void (*on_exit)(void *user, int code);
    void *on_exit_user;
};

/* A state with the libraries in it and no app. NULL, after a log line, when the library itself does
 * not load. It becomes the hub's events. */
struct vm *vm_new(const struct vm_options *options);

/* What answers plain HTTP requests: the app's routes. */
struct http_handler vm_http_handler(struct vm *vm);
/* Through which they do; before the first request. */
void vm_set_http_responder(struct vm *vm, struct http_responder responder);

/* For the watchdog, which must have let go of it before vm_free(). */
struct budget *vm_budget(struct vm *vm);

/* Gives up what scripts have left open: timers, HTTP requests, luv's handles. Callbacks of luv's
 * run once more, and may open others: call it before each turn of the loop until the loop has
 * nothing left. */
void vm_close_handles(struct vm *vm);

/* Do threads run that scripts have started by luv, whichever worker's? */
bool vm_has_threads(const struct vm *vm);

/* Ends sleeping hooks and closes the state. No handle, request or thread of luv's may be left, and
 * the loop must run once more. Accepts NULL. */
void vm_free(struct vm *vm);

/* What the command line says of an app; zero or NULL: nothing. */
struct vm_command_line {
    const char *const *listen;
    size_t listen_count;
    const char *workers; /* "4" or "auto" */
    const char *admin;
    const char *tls_certificate, *tls_key;
    bool is_check; /* the app is only looked at */
};

/* Loads the app in `file`, running the loop while its script waits. NULL when it cannot be: each
 * problem was printed to stderr as "file:line: message". The caller frees the result. */
struct app *vm_load(struct vm *vm, const char *file, const struct vm_command_line *command_line);
/* Lets a vm_load() that waits give up and return NULL. */
void vm_stop_load(struct vm *vm);

/* ---- new code ---- */

/* How a vm_load_next() has ended: with an app, which is the callee's, or NULL and lines that say
 * what is wrong; and with the script files that were asked for, one a line, there or not. */
typedef void (*vm_loaded_fn)(void *user, struct app *app, const char *problems,
                             const char *sources);

/* Begins to load the app anew, as this generation, beside the code that runs. on_loaded is called
 * once, unless vm_discard() comes first. */
void vm_load_next(struct vm *vm, const char *file, const struct vm_command_line *command_line,
                  unsigned generation, vm_loaded_fn on_loaded, void *user);
/* The app that is loaded, for the first time or anew, waits or is busy for so long: says so in the
 * log, with where. `loading` of `workers` workers are. Says nothing when it has been loaded by
 * now. */
void vm_log_slow_load(struct vm *vm, double seconds, unsigned loading, unsigned workers);
/* Replaces the code that runs by what was loaded. Returns how many connections were closed, as
 * their codec is of another kind in it. */
uint32_t vm_activate(struct vm *vm);
/* Gives up the next code, loaded or not. */
void vm_discard(struct vm *vm);

/* Calls f with the generation of each hook, timer or spawned function that waits. */
void vm_generations(struct vm *vm, void (*f)(void *user, unsigned generation), void *user);

/* Calls f with the generation of each timer of scripts, and with the line that has started it if it
 * repeats; else NULL. */
void vm_timers(struct vm *vm, void (*f)(void *user, unsigned generation, const char *where),
               void *user);

/* Calls timers that are due, and runs coroutines that were woken: for a slice of time each, what is
 * left waits for the next turn. At the end of each turn of the loop. */
void vm_turn(struct vm *vm);
/* The last thing before the loop sleeps: it wakes for the next timer. */
void vm_before_sleep(struct vm *vm);
/* Some wait for vm_turn() already: the loop must not sleep. */
bool vm_has_pending(const struct vm *vm);

/* Runs the app's on_stop, which may sleep. */
void vm_stop_app(struct vm *vm);
/* Does on_stop still sleep? */
bool vm_is_stopping(const struct vm *vm);

#endif
