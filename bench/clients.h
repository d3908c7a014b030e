/* clients.h -- the connections of the load generator: they do handshakes, send and receive.
 *
 * All messages are the same, so received bytes are compared one by one, wherever the socket cuts
 * them. Knows nothing of which message answers which: the measurement counts. */
#ifndef TIDEWIRE_BENCH_CLIENTS_H
#define TIDEWIRE_BENCH_CLIENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct client {
    int fd;
    uint64_t received; /* whole messages; the measurement resets it */
    /* private to clients.c */
    size_t sent; /* bytes of its request */
    size_t seen; /* bytes of the message that it is receiving */
};

/* Opens options.connections of them; each sends `depth` messages at a time. The last `stalled` of
 * them do not read, and have small receive buffers in the kernel. */
void clients_open(int depth, int stalled);

/* The client of this number, from 0. */
struct client *clients_get(int number);

/* Sends its messages. The ones before must be sent completely. */
void clients_send(struct client *client);

/* Serves the connections, for at most `seconds`; on_messages gets each client that has received
 * more messages, and their number. */
void clients_serve(double seconds, void (*on_messages)(struct client *client, int messages));

/* Reads a few bytes of a stalled connection. */
void clients_read_some(struct client *client, int bytes);

#endif
