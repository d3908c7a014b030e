/* watch.h -- sees that a script was saved, for --watch, and wants a reload.
 *
 * However it was: written over, renamed over, deleted and made again, by a link or a folder above
 * it that now leads elsewhere. Many changes in a short time are one. Runs on the main thread's
 * loop. */
#ifndef TIDEWIRE_SERVER_WATCH_H
#define TIDEWIRE_SERVER_WATCH_H

#include "server/reload.h"

#include <uv.h>

struct watch;

/* Watches the scripts that the app asked for, one a line, and those in their folders; after each
 * reading of the app those that it asked for then. `since`: when the app began to be loaded, in
 * seconds of Unix time. */
struct watch *watch_new(uv_loop_t *loop, double since, struct reload *reload, const char *sources);

/* The app's scripts are about to be read anew: what was saved before is no news. Accepts NULL. */
void watch_begin(struct watch *watch);

/* Memory is released by the loop. Accepts NULL. */
void watch_close(struct watch *watch);

#endif
