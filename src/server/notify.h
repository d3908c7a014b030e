/* notify.h -- telling systemd, or whoever set NOTIFY_SOCKET, what the server is at: sd_notify(3)'s
 * datagrams.
 *
 * Ready, reloading, stopping, a line of status with the number of connections, and the
 * watchdog's sign of life for as long as workers give theirs. Without NOTIFY_SOCKET every
 * function does nothing. Nobody who does not read blocks the server or fails it. Main thread. */
#ifndef TIDEWIRE_SERVER_NOTIFY_H
#define TIDEWIRE_SERVER_NOTIFY_H

#include "server/workers/workers.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>
#include <uv.h>

struct notify {
    /* private */
    struct process *process;
    struct workers *workers;
    int fd; /* -1: nobody wants to know */
    struct sockaddr_un to;
    socklen_t to_len;
    uint64_t watchdog_us; /* 0: nobody waits for a sign of life */
    uv_timer_t timer;
    const char *doing; /* for the line of status */
    bool complained;
    char said[256];   /* the last line of status */
    char unsent[512]; /* a state that could not be told yet */
};

/* Reads the variables, and removes them: what scripts start speaks for itself. */
void notify_init(struct notify *notify, uv_loop_t *loop, struct process *process,
                 struct workers *workers);
/* Closes the timer: the loop must run once more. */
void notify_close(struct notify *notify);

/* Also after notify_reloading(), whether it came to something or not. */
void notify_ready(struct notify *notify);
void notify_reloading(struct notify *notify);
void notify_stopping(struct notify *notify);
/* Another process goes on as the service. */
void notify_upgraded(struct notify *notify, pid_t to);

#endif
