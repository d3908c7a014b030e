/* watch.h -- sees that a script was saved, for --watch.
 *
 * However it was: written over, renamed over, deleted and made again, by a link or a folder above
 * it that now leads elsewhere. Many changes in a short time are one. Runs on the main thread's
 * loop. */
#ifndef TIDEWIRE_SERVER_WATCH_H
#define TIDEWIRE_SERVER_WATCH_H

#include <stddef.h>
#include <uv.h>

struct watch;

/* A moment after the last change: the first file that changed, and how many others did. */
typedef void (*watch_change_fn)(void *user, const char *file, size_t others);

/* Nothing is watched before watch_sources(). `since`: when the app began to be loaded, in seconds
 * of Unix time. */
struct watch *watch_new(uv_loop_t *loop, double since, watch_change_fn on_change, void *user);

/* The app's scripts are about to be read anew: what was saved before is no news. Accepts NULL. */
void watch_begin(struct watch *watch);

/* They were read, or looked for: these, one a line, and the scripts in their folders are watched
 * from now on. */
void watch_sources(struct watch *watch, const char *sources);

/* Memory is released by the loop. Accepts NULL. */
void watch_close(struct watch *watch);

#endif
