/* reload.h -- a reload: new code for all workers, or for none.
 *
 * Every worker loads the app anew beside the code that runs. When all have loaded it, all activate
 * it, each between two events. When one cannot load it, all discard it, and the log says why. Runs
 * on the main thread. */
#ifndef TIDEWIRE_SERVER_RELOAD_H
#define TIDEWIRE_SERVER_RELOAD_H

#include "server/workers/workers.h"

#include <stdbool.h>

/* A load that takes longer is logged once, the load at the start too; in milliseconds. */
enum { RELOAD_SLOW_MS = 3000 };

struct reload;

/* A reload has ended: `problems` is NULL, or the errors, in lines. `generation` is that of the code
 * that runs now. */
typedef void (*reload_done_fn)(void *user, unsigned generation, const char *problems);

/* The first three are borrowed. `on_change` is called when a reload begins, and when it has
 * ended. */
struct reload *reload_new(uv_loop_t *loop, struct workers *workers, struct process *process,
                          void (*on_change)(void *user, bool begins), void *user);
/* Calls on_sources after each load with the script files that the app asked for, one a line. */
void reload_watch(struct reload *reload, void (*on_sources)(void *user, const char *sources),
                  void *user);
/* The loop must run once more before reload_free(). */
void reload_close(struct reload *reload);
void reload_free(struct reload *reload);

/* Requests a reload, which begins now, or after the one that is under way, or with reload_allow().
 * A load that has taken more than a second is discarded for it, as scripts may wait for ever.
 * on_done (NULL: none) is called at the end of the first reload that begins from now on. */
void reload_request(struct reload *reload, reload_done_fn on_done, void *user);
/* The workers serve: reloads may begin. */
void reload_allow(struct reload *reload);
/* No reload begins from now on: one that loads is discarded, and on_done of every request is
 * called. */
void reload_forbid(struct reload *reload);

/* A worker has reported. */
void reload_on_report(struct reload *reload);

#endif
