/* watch.h -- for --watch: requests a reload when a script was saved.
 *
 * A save is found however it was done: written in place, renamed over the file, deleted and created
 * again, by a symbolic link or a directory in the path that now leads elsewhere. Changes that
 * follow one another quickly are one reload. Runs on the main thread's loop. */
#ifndef TIDEWIRE_SERVER_WATCH_H
#define TIDEWIRE_SERVER_WATCH_H

#include "server/reload.h"

#include <uv.h>

struct watch;

/* Watches the scripts that the app asked for, one a line, and those in their directories; after
 * each load the scripts that the app asked for then. `since`: when the app began to load, in
 * seconds of Unix time. */
struct watch *watch_new(uv_loop_t *loop, double since, struct reload *reload, const char *sources);

/* A load begins: saves before this moment request no further reload. Accepts NULL. */
void watch_before_load(struct watch *watch);

/* The loop releases the memory. Accepts NULL. */
void watch_close(struct watch *watch);

#endif
