/* signal_mask.h -- which signals a thread and a child process receive.
 *
 * The main thread receives the signals of the process. Every other thread starts with them blocked,
 * and so do the threads that it starts (libuv's pool, luv's, a library's). Any thread. */
#ifndef TIDEWIRE_BASE_SIGNAL_MASK_H
#define TIDEWIRE_BASE_SIGNAL_MASK_H

#include <signal.h>

/* Call it before a thread starts, which inherits the mask: blocks the signals that another process
 * may send. Signals that a thread causes itself (a fault, SIGPIPE, SIGTTIN), profilers' signals and
 * the watchdog's SIGURG stay deliverable. A signal of the process that comes meanwhile stays
 * pending until signal_mask_restore(). */
void signal_mask_thread(sigset_t *old);

/* Call it before a child process starts, which inherits the mask: blocks no signal. */
void signal_mask_child(sigset_t *old);

void signal_mask_restore(const sigset_t *old);

#endif
