/* reload.h -- new code for all workers, or for none.
 *
 * Every worker loads the app anew beside the code that runs. When the last one has, all activate
 * it, each between two events; when one cannot, all discard it, and the log says why. Runs on
 * the main thread. */
#ifndef TIDEWIRE_SERVER_RELOAD_H
#define TIDEWIRE_SERVER_RELOAD_H

#include "server/workers/workers.h"

#include <stdbool.h>

/* A load that takes longer than this is logged once, in milliseconds: the first one, too. */
enum { RELOAD_SLOW_MS = 3000 };

struct reload;

/* How a reload has ended: `problems` is NULL, or lines that say what is wrong. `generation` is
 * what runs now. */
typedef void (*reload_done_fn)(void *user, unsigned generation, const char *problems);

/* The first three are borrowed. `on_change` is called when a reload begins, and when it has
 * ended. */
struct reload *reload_new(uv_loop_t *loop, struct workers *workers, struct process *process,
                          void (*on_change)(void *user, bool begins), void *user);
/* From now on, on_sources is called with the script files that were asked for, one a line,
 * whenever the app was read. */
void reload_watch(struct reload *reload, void (*on_sources)(void *user, const char *sources),
                  void *user);
/* The loop must run once more before reload_free(). */
void reload_close(struct reload *reload);
void reload_free(struct reload *reload);

/* Asks for a reload: now, or after the one that runs, or once reload_allow() was called. It
 * replaces one that is still loaded a second after it began: scripts may wait for ever. on_done
 * (NULL: no call) comes at the end of the first reload that begins from now on. */
void reload_request(struct reload *reload, reload_done_fn on_done, void *user);
/* The workers serve: reloads may begin. */
void reload_allow(struct reload *reload);
/* No more reloads: what is loaded is discarded, and on_done of every request is called. */
void reload_forbid(struct reload *reload);

/* Call it when a worker has reported. */
void reload_on_report(struct reload *reload);

#endif
