/* credentials.h -- reads the certificates of the app from their files.
 *
 * `tls` of struct process is that of new connections. The main thread changes it while no worker
 * reads it: before the workers listen, and before WORKER_ACTIVATE. A worker takes a reference when
 * it runs that command. */
#ifndef TIDEWIRE_SERVER_CREDENTIALS_H
#define TIDEWIRE_SERVER_CREDENTIALS_H

#include "server/workers/process.h"

#include <stdbool.h>

enum { CREDENTIALS_ERROR_BYTES = 1100 };

/* Reads the app's certificates, if it names some, for new connections; logs their subjects and when
 * they expire. False, with a sentence in `error`: then those before them stay. Main thread. */
bool credentials_activate(struct process *process, const struct app *app, char *error,
                          size_t error_size);

#endif
