/* echoes.c -- measurements of a server that answers each message with the same: CPU time per
 * message, memory per connection. See load.c. */
#include "crowd.h"
#include "load.h"
#include "meter.h"

#include <stdio.h>

static uint64_t heard;

/* Begins the next turn when all echoes of this one are there. */
static void on_echo(struct client *client, int messages) {
    heard += (uint64_t)messages;
    if (client->heard > (uint64_t)options.depth)
        fail("more answers than messages");
    if (client->heard == (uint64_t)options.depth) {
        client->heard = 0;
        crowd_send(client);
    }
}

void measure_echo(void) {
    crowd_open(options.depth, 0);
    for (int i = 0; i < options.connections; i++)
        crowd_send(crowd_client(i));
    for (double end = now() + WARM_UP_SECONDS; now() < end;)
        crowd_serve(0.1, on_echo);

    heard = 0;
    uint64_t cpu_ns = meter_cpu_ns();
    double begun = now(), took;
    while ((took = now() - begun) < options.seconds)
        crowd_serve(0.1, on_echo);
    cpu_ns = meter_cpu_ns() - cpu_ns;
    if (heard == 0)
        fail("no message was answered in %.1f seconds", options.seconds);
    printf("messages=%llu per_second=%.0f cpu_us=%.4f cpu_percent=%.1f\n",
           (unsigned long long)heard, (double)heard / took, (double)cpu_ns / 1e3 / (double)heard,
           (double)cpu_ns / 1e7 / took);
}

static void on_answer(struct client *client, int messages) {
    (void)client;
    heard += (uint64_t)messages;
}

void measure_idle(void) {
    long before = meter_memory_bytes();
    crowd_open(1, 0);
    settle();
    long opened = meter_memory_bytes();

    for (int i = 0; i < options.connections; i++)
        crowd_send(crowd_client(i));
    for (double deadline = now() + PATIENCE_SECONDS; heard < (uint64_t)options.connections;) {
        crowd_serve(0.1, on_answer);
        if (now() > deadline)
            fail("only %llu messages were answered in %d seconds", (unsigned long long)heard,
                 PATIENCE_SECONDS);
    }
    settle();
    long used = meter_memory_bytes();
    printf("connections=%d before_bytes=%ld open_bytes=%.0f used_bytes=%.0f\n", options.connections,
           before, (double)(opened - before) / options.connections,
           (double)(used - before) / options.connections);
}
