/* credentials.h -- the certificate that an app asks for, read from its files.
 *
 * The one in force stands in struct process. The main thread changes it while no worker reads
 * it: before they listen, and before WORKER_ACTIVATE. A worker takes its reference as it carries
 * out the order. */
#ifndef TIDEWIRE_SERVER_CREDENTIALS_H
#define TIDEWIRE_SERVER_CREDENTIALS_H

#include "net/socket/certificate.h"
#include "server/workers/process.h"

#include <stdbool.h>

/* Reads the app's certificate, if it wants one, and puts it in force for connections to come;
 * logs its subject and when it expires. False, with a sentence in `error`, and the one before
 * stays. Main thread. */
bool credentials_activate(struct process *process, const struct app *app, char *error,
                          size_t error_size);

#endif
