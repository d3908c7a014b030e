/* worker.h -- one loop with all that serves connections on it: sockets, hub, Lua state.
 *
 * Joins the parts; decides nothing itself. Today it runs on the main thread. */
#ifndef TIDEWIRE_SERVER_WORKER_H
#define TIDEWIRE_SERVER_WORKER_H

#include "core/hub.h"
#include "script/app.h"
#include "script/vm.h"

#include <stdbool.h>
#include <uv.h>

struct worker;

/* A worker without an app; nothing listens yet. `shared`, the stores of all workers, is borrowed until
 * worker_free(). NULL after a log line. */
struct worker *worker_new(uv_loop_t *loop, unsigned number, struct shared *shared);

/* Loads the app. NULL after the problems were printed. The app is the worker's. */
const struct app *worker_load(struct worker *worker, const char *file,
                              const struct vm_command_line *command_line);
/* Lets a worker_load() whose script waits give up. */
void worker_stop_load(struct worker *worker);

/* Opens everything that the app listens on. False, with a sentence, when an address cannot be used. */
bool worker_listen(struct worker *worker, char *error, size_t error_size);

/* Stops listening, runs the app's on_stop, then tells every client 1001. */
void worker_drain(struct worker *worker);
/* Is everything said, and every connection gone? */
bool worker_is_drained(const struct worker *worker);
/* Ends what is left, without ceremony; who was not told 1001 yet is, if its socket takes that. */
void worker_kill(struct worker *worker);

/* Closes every socket and connection. */
void worker_close(struct worker *worker);
/* After that: runs the loop until nothing is left on it, what scripts have left open included. False when
 * it takes too long: a request of luv's does not end (a pipe is opened, a name is looked up). Its memory
 * is the Lua state's, so nothing may be freed then. */
bool worker_finish(struct worker *worker);
void worker_free(struct worker *worker); /* accepts NULL */

struct hub *worker_hub(struct worker *worker);
struct transport *worker_transport(struct worker *worker);

#endif
