/* activation.h -- sockets that systemd has opened for us: sd_listen_fds(3)'s LISTEN_PID, LISTEN_FDS and
 * LISTEN_FDNAMES.
 *
 * They are the descriptors from 3 on. One that is named "admin" is for the admin address. Main thread, before
 * anything else opens descriptors or starts threads. */
#ifndef TIDEWIRE_SERVER_ACTIVATION_H
#define TIDEWIRE_SERVER_ACTIVATION_H

#include "net/inherit.h"

#include <stdbool.h>
#include <stddef.h>

/* Takes what is meant for this process, and removes the variables: what scripts start gets neither. False,
 * with a sentence in `error`, when one is no socket that can be listened on. */
bool activation_take(struct inheritance *inheritance, char *error, size_t error_size);

#endif
