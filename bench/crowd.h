/* crowd.h -- the connections of the load generator: their handshakes, what they send, what they
 * hear.
 *
 * All messages are the same, so that what comes in is compared byte for byte, wherever the socket
 * cuts it. Knows nothing of who answers whom: the measurement counts. */
#ifndef TIDEWIRE_BENCH_CROWD_H
#define TIDEWIRE_BENCH_CROWD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct client {
    int fd;
    uint64_t heard; /* whole messages; the measurement's to set back */
    /* private to crowd.c */
    size_t sent; /* bytes of what it is sending */
    size_t seen; /* bytes of the message that is coming in */
};

/* Opens options.connections of them, each of which will send `depth` messages in one go. The last
 * `deaf` of them are not listened to, and leave the kernel little room to hold what comes for them.
 * */
void crowd_open(int depth, int deaf);

struct client *crowd_client(int number);

/* Sends its messages. What it sent before must be sent. */
void crowd_send(struct client *client);

/* Serves the connections, for so long at most; on_heard is told who heard how many messages more.
 * */
void crowd_serve(double seconds, void (*on_heard)(struct client *client, int messages));

/* Reads a few bytes from one that is not listened to, and looks away. */
void crowd_sip(struct client *client, int bytes);

#endif
