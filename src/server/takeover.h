/* takeover.h -- a new process takes the listening sockets over from the one that runs. The other side of
 * handover.h, whose protocol stands in handover.c. Main thread. */
#ifndef TIDEWIRE_SERVER_TAKEOVER_H
#define TIDEWIRE_SERVER_TAKEOVER_H

#include "net/inherit.h"

#include <stddef.h>
#include <uv.h>

enum takeover_state {
    TAKEOVER_ASKING, /* sockets are coming */
    TAKEOVER_HAVING, /* all are there; the other one serves as well */
    TAKEOVER_SAYING, /* that we are ready */
    TAKEOVER_DONE,   /* they are ours alone */
    TAKEOVER_FAILED,
};

struct takeover {
    enum takeover_state state; /* for reading */
    char problem[256];         /* for reading, once it has failed */
    /* private */
    struct inheritance *inheritance;
    uv_poll_t poll;
    int fd;
};

/* A socket that is connected to the process of this pid file, or -errno. `flags`: SOCK_NONBLOCK, or 0. */
int takeover_reach(const char *pid_file, int flags);

/* Does a process wait for its successor there? */
bool takeover_finds(const char *pid_file);

/* Asks the process of this pid file for its sockets. The loop moves the state on. */
void takeover_begin(struct takeover *takeover, uv_loop_t *loop, const char *pid_file,
                    struct inheritance *inheritance);
/* We serve. From TAKEOVER_HAVING on. */
void takeover_ready(struct takeover *takeover);
/* The loop must run once more. What has come to nothing leaves the other process as it was. */
void takeover_close(struct takeover *takeover);

#endif
