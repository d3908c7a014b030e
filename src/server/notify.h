/* notify.h -- sends the server's state to systemd, or to another supervisor that has set
 * NOTIFY_SOCKET: the datagrams of sd_notify(3).
 *
 * Sends that it is ready, reloads or stops, a status line with the number of connections, and
 * keep-alives for the watchdog while all workers answer pings. Without NOTIFY_SOCKET every function
 * does nothing. A supervisor that does not read neither blocks the server nor fails it. Main
 * thread. */
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
    int fd; /* -1: there is no supervisor */
    struct sockaddr_un to;
    socklen_t to_len;
    uint64_t watchdog_us; /* the period of keep-alives; 0: none are expected */
    uv_timer_t timer;
    const char *doing; /* for the status line */
    bool warned;
    char status[256]; /* the last status line */
    char unsent[512]; /* a state that the socket has not taken yet */
};

/* Reads the variables, and removes them from the environment of processes that scripts start. */
void notify_init(struct notify *notify, uv_loop_t *loop, struct process *process,
                 struct workers *workers);
/* Closes the timer: the loop must run once more. */
void notify_close(struct notify *notify);

/* Also after notify_reloading(), whether the new code was activated or discarded. */
void notify_ready(struct notify *notify);
void notify_reloading(struct notify *notify);
void notify_stopping(struct notify *notify);
/* Process `to` is the service from now on. */
void notify_upgraded(struct notify *notify, pid_t to);

#endif
