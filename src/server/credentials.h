/* credentials.h -- the certificate that an app asks for, read from its files.
 *
 * The one in force stands in the commons. The main thread changes it while no worker looks: before they listen,
 * and before an order to swap. A worker takes its reference when it obeys. */
#ifndef TIDEWIRE_SERVER_CREDENTIALS_H
#define TIDEWIRE_SERVER_CREDENTIALS_H

#include "net/certificate.h"
#include "server/worker.h"

#include <stdbool.h>

/* Reads the app's certificate, if it wants one, and puts it in force for connections to come; logs whose it is and
 * how long it holds. False, with a sentence in `error`, and the one before stays. Main thread. */
bool credentials_take(struct commons *commons, const struct app *app, char *error,
                      size_t error_size);

/* Judges two files while an app loads: false and a sentence. Any thread. */
bool credentials_check(const char *chain_file, const char *key_file, char *error,
                       size_t error_size);

#endif
