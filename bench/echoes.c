/* echoes.c -- measurements of a server that answers each message with the same: CPU time per
 * message, memory per connection. See load.c. */
#include "clients.h"
#include "load.h"
#include "meter.h"

#include <stdio.h>

static uint64_t received;

static void on_answer(struct client *client, int messages) {
    received += (uint64_t)messages;
    if (client->received > (uint64_t)options.depth)
        fail("more answers than messages");
}

/* Sends again when all echoes of the messages before have come. */
static void on_echo(struct client *client, int messages) {
    on_answer(client, messages);
    if (client->received == (uint64_t)options.depth) {
        client->received = 0;
        clients_send(client);
    }
}

/* Each connection sends its messages once, and receives the answers. */
static void send_round(void) {
    uint64_t all = (uint64_t)options.connections * (uint64_t)options.depth;
    received = 0;
    for (int i = 0; i < options.connections; i++) {
        clients_get(i)->received = 0;
        clients_send(clients_get(i));
    }
    for (double deadline = now() + PATIENCE_SECONDS; received < all;) {
        clients_serve(0.1, on_answer);
        if (now() > deadline)
            fail("only %llu of %llu messages were answered in %d seconds",
                 (unsigned long long)received, (unsigned long long)all, PATIENCE_SECONDS);
    }
}

void measure_echo(void) {
    clients_open(options.depth, 0);
    clients_spread();
    for (int round = 0; round < options.rounds; round++)
        send_round();
    if (options.rounds > 0) {
        printf("messages=%llu\n", (unsigned long long)received * (unsigned)options.rounds);
        return;
    }

    for (int i = 0; i < options.connections; i++)
        clients_send(clients_get(i));
    for (double end = now() + options.warm_up; now() < end;)
        clients_serve(0.1, on_echo);
    received = 0;
    uint64_t cpu_ns = meter_cpu_ns();
    double begun = now(), took;
    while ((took = now() - begun) < options.seconds || received == 0) {
        clients_serve(0.1, on_echo);
        if (received == 0 && took > PATIENCE_SECONDS)
            fail("no message was answered in %d seconds", PATIENCE_SECONDS);
    }
    cpu_ns = meter_cpu_ns() - cpu_ns;
    printf("messages=%llu size=%d per_second=%.0f cpu_us=%.4f cpu_percent=%.1f\n",
           (unsigned long long)received, options.size, (double)received / took,
           (double)cpu_ns / 1e3 / (double)received, (double)cpu_ns / 1e7 / took);
}

void measure_idle(void) {
    enum { FIRST = 256 };
    int first = options.connections > 2 * FIRST ? FIRST : 0, count = options.connections - first;
    long at_start = meter_memory_bytes();
    clients_open_first(1, first);
    settle();
    long before = meter_memory_bytes();
    clients_open(1, 0);
    settle();
    long opened = meter_memory_bytes();
    send_round();
    settle();
    long used = meter_memory_bytes();
    double open_bytes = (double)(opened - before) / count;
    printf("connections=%d before_bytes=%ld open_bytes=%.0f used_bytes=%.0f all_bytes=%.0f\n",
           options.connections, before, open_bytes,
           open_bytes + (double)(used - opened) / options.connections,
           (double)(opened - at_start) / options.connections);
}
