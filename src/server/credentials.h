/* credentials.h -- the certificate that an app asks for, read from its files.
 *
 * The one in force stands in the commons. The main thread changes it while no worker looks: before they listen,
 * and before an order to swap. A worker takes its reference when it obeys. */
#ifndef TIDEWIRE_SERVER_CREDENTIALS_H
#define TIDEWIRE_SERVER_CREDENTIALS_H

#include "net/certificate.h"
#include "server/worker.h"

#include <stdbool.h>

/* Reads the app's certificate; NULL in `*out` where it wants none. False with a sentence in `error`. */
bool credentials_read(const struct app *app, struct certificate **out, char *error,
                      size_t error_size);

/* Puts it in force (taking the reference over) for connections to come, and logs whose it is and how long it
 * holds. NULL: they are in plain. Main thread. */
void credentials_set(struct commons *commons, struct certificate *certificate);

/* Judges two files while an app loads: false and a sentence. Any thread. */
bool credentials_check(const char *chain_file, const char *key_file, char *error,
                       size_t error_size);

#endif
