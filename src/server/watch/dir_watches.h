/* dir_watches.h -- the system's events (inotify) about the directories that scripts are in, for
 * watch.c.
 *
 * An event only says that something happened in a directory. Events may be missing (network file
 * systems, a full queue), so watch.c does not rely on them. Runs on the main thread's loop. */
#ifndef TIDEWIRE_SERVER_WATCH_DIR_WATCHES_H
#define TIDEWIRE_SERVER_WATCH_DIR_WATCHES_H

#include <uv.h>

struct dir_watches;

struct dir_watches *dir_watches_new(uv_loop_t *loop, void (*on_event)(void *user), void *user);

/* Watches the directories of these files, one a line: each directory as it is now, the nearest
 * directory above a file that is missing, the directories of symbolic links in a path, and those
 * that the links lead to. Watches that are still needed stay, the others are closed. */
void dir_watches_renew(struct dir_watches *watches, const char *sources);

/* The loop releases the memory. */
void dir_watches_close(struct dir_watches *watches);

#endif
