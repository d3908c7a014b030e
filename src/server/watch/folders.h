/* folders.h -- the system's events about the folders that scripts are in, for watch.c.
 *
 * They only say that something happened there; none may come (a network's file system, a queue that
 * has run over), so nobody relies on them. Runs on the main thread's loop. */
#ifndef TIDEWIRE_SERVER_WATCH_FOLDERS_H
#define TIDEWIRE_SERVER_WATCH_FOLDERS_H

#include <uv.h>

struct folders;

struct folders *folders_new(uv_loop_t *loop, void (*on_event)(void *user), void *user);

/* Listens for what happens to these files, one a line: in their folders as they are now, in the
 * nearest folder above those that are missing, where links on the way stand and where they lead.
 * What is listened to already stays. */
void folders_renew(struct folders *folders, const char *sources);

/* Memory is released by the loop. */
void folders_close(struct folders *folders);

#endif
