/* signal_mask.c -- which signals a thread and a child process receive. See signal_mask.h. */
#include "base/signal_mask.h"

#include <stddef.h>

static const int own[] = {SIGSEGV, SIGBUS,  SIGFPE,  SIGILL,  SIGTRAP, SIGSYS,    SIGABRT,
                          SIGPIPE, SIGXFSZ, SIGTTIN, SIGTTOU, SIGPROF, SIGVTALRM, SIGURG};

void signal_mask_thread(sigset_t *old) {
    sigset_t set;
    sigfillset(&set);
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        sigdelset(&set, own[i]);
    pthread_sigmask(SIG_BLOCK, &set, old);
}

void signal_mask_child(sigset_t *old) {
    sigset_t none;
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, old);
}

void signal_mask_restore(const sigset_t *old) {
    pthread_sigmask(SIG_SETMASK, old, NULL);
}
