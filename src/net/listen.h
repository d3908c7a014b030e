/* listen.h -- opening the sockets that an address stands for, once for all workers.
 *
 * The main thread opens them, so that an address that cannot be used is told once, before anyone accepts. For
 * TCP each worker has a socket of its own (SO_REUSEPORT: the kernel spreads the connections); a Unix socket is
 * one for all, and so is a TCP socket where there is one worker. Listens where it was told to and nowhere else.
 * Accepting is listener.c's. */
#ifndef TIDEWIRE_NET_LISTEN_H
#define TIDEWIRE_NET_LISTEN_H

#include "net/address.h"

#include <stddef.h>

struct listen_set;

/* Listens on every socket that `text` stands for, with `workers` descriptors each, and logs each address
 * ("event=listening", with "for=…" where `purpose` is not NULL). NULL with a sentence in `error` when one of
 * them cannot be opened. */
struct listen_set *listen_open(const char *text, const char *purpose, unsigned workers, char *error,
                               size_t error_size);

/* Takes the descriptors of one worker, which the caller closes. Returns how many: at most
 * ADDRESS_LIST_MAX. */
size_t listen_take(struct listen_set *set, unsigned worker, int fds[ADDRESS_LIST_MAX]);

/* Closes what was not taken and removes socket files: nobody finds the way any more. Accepts NULL. */
void listen_end(struct listen_set *set);

#endif
