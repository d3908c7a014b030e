/* signal_mask.h -- which signals a thread takes, and a child of the process.
 *
 * The process's signals are the main thread's: every other thread is started with them blocked, and
 * passes that on to the threads that it starts itself (libuv's pool, luv's, a library's). Any
 * thread. */
#ifndef TIDEWIRE_BASE_SIGNAL_MASK_H
#define TIDEWIRE_BASE_SIGNAL_MASK_H

#include <signal.h>

/* Before a thread is started, which inherits the mask: blocks what another process may send.
 * Signals that a thread causes itself (a fault, SIGPIPE), profilers' signals and the watchdog's
 * SIGURG stay deliverable. A signal of the process that comes meanwhile waits until
 * signal_mask_restore(). */
void signal_mask_thread(sigset_t *old);

/* Before a child process is started, which inherits the mask: blocks nothing. */
void signal_mask_child(sigset_t *old);

void signal_mask_restore(const sigset_t *old);

#endif
