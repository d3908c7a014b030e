/* echoes.c -- measurements of a server that answers each message with the same: CPU time per
 * message, memory per connection. See load.c. */
#include "clients.h"
#include "load.h"
#include "meter.h"

#include <stdio.h>

static uint64_t received;

/* Sends again when all echoes of the messages before have come. */
static void on_echo(struct client *client, int messages) {
    received += (uint64_t)messages;
    if (client->received > (uint64_t)options.depth)
        fail("more answers than messages");
    if (client->received == (uint64_t)options.depth) {
        client->received = 0;
        clients_send(client);
    }
}

void measure_echo(void) {
    clients_open(options.depth, 0);
    for (int i = 0; i < options.connections; i++)
        clients_send(clients_get(i));
    for (double end = now() + WARM_UP_SECONDS; now() < end;)
        clients_serve(0.1, on_echo);

    received = 0;
    uint64_t cpu_ns = meter_cpu_ns();
    double begun = now(), took;
    while ((took = now() - begun) < options.seconds)
        clients_serve(0.1, on_echo);
    cpu_ns = meter_cpu_ns() - cpu_ns;
    if (received == 0)
        fail("no message was answered in %.1f seconds", options.seconds);
    printf("messages=%llu per_second=%.0f cpu_us=%.4f cpu_percent=%.1f\n",
           (unsigned long long)received, (double)received / took,
           (double)cpu_ns / 1e3 / (double)received, (double)cpu_ns / 1e7 / took);
}

static void on_answer(struct client *client, int messages) {
    (void)client;
    received += (uint64_t)messages;
}

void measure_idle(void) {
    long before = meter_memory_bytes();
    clients_open(1, 0);
    settle();
    long opened = meter_memory_bytes();

    for (int i = 0; i < options.connections; i++)
        clients_send(clients_get(i));
    for (double deadline = now() + PATIENCE_SECONDS; received < (uint64_t)options.connections;) {
        clients_serve(0.1, on_answer);
        if (now() > deadline)
            fail("only %llu messages were answered in %d seconds", (unsigned long long)received,
                 PATIENCE_SECONDS);
    }
    settle();
    long used = meter_memory_bytes();
    printf("connections=%d before_bytes=%ld open_bytes=%.0f used_bytes=%.0f\n", options.connections,
           before, (double)(opened - before) / options.connections,
           (double)(used - before) / options.connections);
}
