/* reload.h -- new code for all workers, or for none.
 *
 * Every worker loads the app anew beside the code that runs. When the last one has, all let it take over, each
 * between two events; when one cannot, all give it up, and the log tells why. Runs on the main thread. */
#ifndef TIDEWIRE_SERVER_RELOAD_H
#define TIDEWIRE_SERVER_RELOAD_H

#include "server/crew.h"

#include <stdbool.h>

/* A load that takes longer than this is told once, in milliseconds: the first one, too. */
enum { RELOAD_TOLD_MS = 3000 };

struct reload;

/* What became of one: NULL, or lines that say what is wrong. `generation` is what runs now. */
typedef void (*reload_done_fn)(void *user, unsigned generation, const char *problems);

/* The first three are borrowed. `on_change` is told when one begins, and when it has ended. */
struct reload *reload_new(uv_loop_t *loop, struct crew *crew, struct commons *commons,
                          void (*on_change)(void *user, bool begins), void *user);
/* From now on, on_sources is told the script files that were asked for, one a line, whenever the
 * app was read. */
void reload_watch(struct reload *reload, void (*on_sources)(void *user, const char *sources),
                  void *user);
/* The loop must run once more before reload_free(). */
void reload_close(struct reload *reload);
void reload_free(struct reload *reload);

/* Wanted: now, or after the one that runs, or once reload_allow() was called. One that is still
 * being loaded a second after it began is given up for it: scripts may wait for ever. on_done
 * (NULL: nobody waits) is told of the first one that begins from now on. */
void reload_want(struct reload *reload, reload_done_fn on_done, void *user);
/* The workers serve. */
void reload_allow(struct reload *reload);
/* No more: what is loaded is given up, whoever waits is told. */
void reload_forbid(struct reload *reload);

/* A worker has something to report. */
void reload_see(struct reload *reload);

#endif
