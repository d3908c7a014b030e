/* signals.c -- the signals that the process catches. See signals.h. */
#include "server/signals.h"

#include <signal.h>

static const int caught[SIGNALS_COUNT] = {SIGTERM, SIGINT, SIGUSR1, SIGHUP};

static void on_signal(uv_signal_t *handle, int number) {
    struct signals *signals = handle->data;
    signals->on_signal(signals->user, number);
}

void signals_catch(struct signals *signals, uv_loop_t *loop,
                   void (*callback)(void *user, int number), void *user) {
    signals->on_signal = callback;
    signals->user = user;
    for (int i = 0; i < SIGNALS_COUNT; i++) {
        uv_signal_init(loop, &signals->handles[i]);
        signals->handles[i].data = signals;
        uv_signal_start(&signals->handles[i], on_signal, caught[i]);
    }
}

/* libuv restores the default action of each signal, which would end the process: the signals are
 * blocked until they are ignored. */
void signals_release(struct signals *signals) {
    sigset_t set;
    sigemptyset(&set);
    for (int i = 0; i < SIGNALS_COUNT; i++)
        sigaddset(&set, caught[i]);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    for (int i = 0; i < SIGNALS_COUNT; i++) {
        uv_close((uv_handle_t *)&signals->handles[i], NULL);
        signal(caught[i], SIG_IGN); /* threads of libuv may still run */
    }
}
