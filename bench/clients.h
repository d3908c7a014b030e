/* clients.h -- the connections of the load generator: they do handshakes, send and receive.
 *
 * A connection sends the messages of messages.h in turn, and answers Pings. Received bytes are
 * compared one by one, wherever the socket cuts them. Knows nothing of which message answers which:
 * the measurement counts. */
#ifndef TIDEWIRE_BENCH_CLIENTS_H
#define TIDEWIRE_BENCH_CLIENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CLIENTS_MAX_PING = 2 + 125 };

struct client {
    int fd;
    uint64_t received; /* whole messages; the measurement resets it */
    /* private to clients.c */
    struct ssl_st *tls; /* NULL without TLS */
    int sends;          /* the message that it sends next */
    const uint8_t *request;
    size_t sent;  /* bytes of its request */
    int receives; /* the message that it receives next */
    size_t seen;  /* bytes of it */
    uint8_t ping[CLIENTS_MAX_PING];
    size_t ping_seen; /* bytes of a Ping frame that is not whole yet */
};

/* Opens options.connections of them; each sends `depth` messages at a time. The last `stalled` of
 * them do not read, and have small receive buffers in the kernel. */
void clients_open(int depth, int stalled);
/* Opens the first `count`, which read. clients_open() then opens the others. */
void clients_open_first(int depth, int count);

/* Each begins with another message, and receives what it sends itself. Otherwise all send and
 * receive the first message first. */
void clients_spread(void);

/* The client of this number, from 0. */
struct client *clients_get(int number);

/* Sends its messages. The ones before must be sent completely. */
void clients_send(struct client *client);

/* Serves the connections, for at most `seconds`; on_messages gets each client that has received
 * more messages, and their number. */
void clients_serve(double seconds, void (*on_messages)(struct client *client, int messages));

/* Reads a few bytes of a stalled connection. */
void clients_read_some(struct client *client, int bytes);

/* Leaves with a Close frame, waits for the end, and connects anew. Nothing may be under way to it;
 * it will receive what client 0 sends next. */
void clients_replace(struct client *client);

/* Ends its connection by a reset, as the kernel does for a process that ends with unread bytes. */
void clients_reset(struct client *client);

#endif
