/* signals.h -- the signals that the server catches. What ends the process of itself, such as
 * SIGSEGV, is log_writer.c's. */
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
/* All is over but for the exit, and a signal that comes now must not change its code: they are
 * ignored. The loop must run once more. Main thread. */
void signals_release(struct signals *signals);

#endif
