/* signals.h -- the signals that the server catches. log_writer.c catches fatal ones, such as
 * SIGSEGV. */
#ifndef TIDEWIRE_SERVER_SIGNALS_H
#define TIDEWIRE_SERVER_SIGNALS_H

#include <uv.h>

enum { SIGNALS_COUNT = 4 };

struct signals {
    /* private */
    uv_signal_t handles[SIGNALS_COUNT];
    void (*on_signal)(void *user, int number);
    void *user;
};

/* SIGTERM, SIGINT, SIGUSR1 and SIGHUP call `on_signal` on the loop. Main thread. */
void signals_catch(struct signals *signals, uv_loop_t *loop,
                   void (*on_signal)(void *user, int number), void *user);
/* Ignores these signals from now on: before the process exits, a signal must not change its exit
 * code. The loop must run once more. Main thread. */
void signals_release(struct signals *signals);

#endif
