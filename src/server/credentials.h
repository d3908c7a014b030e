/* credentials.h -- reads the certificate of the app from its files.
 *
 * `certificate` of struct process is that of new connections. The main thread changes it while no
 * worker reads it: before the workers listen, and before WORKER_ACTIVATE. A worker takes a
 * reference when it runs that command. */
#ifndef TIDEWIRE_SERVER_CREDENTIALS_H
#define TIDEWIRE_SERVER_CREDENTIALS_H

#include "net/socket/certificate.h"
#include "server/workers/process.h"

#include <stdbool.h>

/* Reads the app's certificate, if it names one, for new connections; logs its subject and when it
 * expires. False, with a sentence in `error`: then the certificate before it stays. Main thread. */
bool credentials_activate(struct process *process, const struct app *app, char *error,
                          size_t error_size);

#endif
