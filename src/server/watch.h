/* watch.h -- sees that a script was saved, for --watch.
 *
 * Watches the folders that scripts were loaded from, not the files: editors write a new file and rename it over the
 * old one. Many changes in a short time are one. Runs on the main thread's loop. */
#ifndef TIDEWIRE_SERVER_WATCH_H
#define TIDEWIRE_SERVER_WATCH_H

#include <uv.h>

struct watch;

/* on_change is called a moment after the last change of a file whose name ends with ".lua", or is `name`. */
struct watch *watch_new(uv_loop_t *loop, const char *name, void (*on_change)(void *user),
                        void *user);

/* These folders, one a line, from now on. One that cannot be watched is logged and left out. */
void watch_folders(struct watch *watch, const char *folders);

/* Memory is released by the loop. Accepts NULL. */
void watch_close(struct watch *watch);

#endif
