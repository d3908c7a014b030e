/* broadcasts.c -- measurements of a server that sends each message to all clients: CPU time
 * per delivery, delays where some clients do not read, and the memory of a message that waits for
 * all of them. See load.c. */
#include "clients.h"
#include "latencies.h"
#include "load.h"
#include "meter.h"

#include <stdio.h>

static uint64_t received;

/* ---- bcast ---- */

static void on_delivery(struct client *client, int messages) {
    received += (uint64_t)messages;
    if (client->received > (uint64_t)options.depth)
        fail("a connection received more messages than were sent");
}

/* The sender's messages of one time, until all clients have received them. */
static void send_round(void) {
    uint64_t all = (uint64_t)options.connections * (uint64_t)options.depth;
    for (int i = 0; i < options.connections; i++)
        clients_get(i)->received = 0;
    received = 0;
    clients_send(clients_get(0));
    for (double deadline = now() + PATIENCE_SECONDS; received < all;) {
        clients_serve(0.1, on_delivery);
        if (now() > deadline)
            fail("only %llu of %llu deliveries in %d seconds", (unsigned long long)received,
                 (unsigned long long)all, PATIENCE_SECONDS);
    }
}

/* Where clients leave and join: as many others as are due by now. Nothing is under way. */
static void replace_clients(double since) {
    static uint64_t replaced;
    static int next = 1;
    double per_second = options.churn / 100 * options.connections;
    for (; now() - since > (double)(replaced + 1) / per_second; replaced++) {
        clients_replace(clients_get(next));
        next = next + 1 < options.connections ? next + 1 : 1;
    }
}

void measure_bcast(void) {
    if (options.churn > 0 && options.connections < 2)
        fail("there must be a sender, and one that leaves");
    clients_open(options.depth, 0);
    for (int round = 0; round < options.rounds; round++)
        send_round();
    if (options.rounds > 0) {
        printf("deliveries=%llu\n", (unsigned long long)received * (unsigned)options.rounds);
        return;
    }

    for (double end = now() + options.warm_up; now() < end;)
        send_round();
    uint64_t deliveries = 0, cpu_ns = meter_cpu_ns();
    double begun = now(), took;
    for (; (took = now() - begun) < options.seconds; deliveries += received) {
        if (options.churn > 0)
            replace_clients(begun);
        send_round();
    }
    cpu_ns = meter_cpu_ns() - cpu_ns;
    printf("deliveries=%llu size=%d per_second=%.0f cpu_us=%.4f cpu_percent=%.1f\n",
           (unsigned long long)deliveries, options.size, (double)deliveries / took,
           (double)cpu_ns / 1e3 / (double)deliveries, (double)cpu_ns / 1e7 / took);
}

/* ---- slow ---- */

enum { SIPS_PER_SECOND = 20 };

/* Message n, counted from 0, is due at begun + n / rate. */
static struct {
    double begun;
    uint64_t sent, first; /* those from `first` on count */
} late;

static void on_late_delivery(struct client *client, int messages) {
    double at = now();
    received += (uint64_t)messages;
    for (uint64_t n = client->received - (uint64_t)messages; n < client->received; n++) {
        if (n >= late.sent)
            fail("a connection received more messages than were sent");
        if (n >= late.first)
            latencies_add(at - late.begun - (double)n / options.rate);
    }
}

/* Sends due messages, and serves the clients until the next one is due. */
static void send_at_rate(uint64_t messages) {
    int quick = options.connections - options.slow;
    double next_sip = now();
    for (double at; late.sent < messages;) {
        double due = late.begun + (double)late.sent / options.rate;
        at = now();
        if (at >= due) {
            late.sent++;
            clients_send(clients_get(0));
        } else {
            clients_serve(due - at, on_late_delivery);
        }
        if (options.sip > 0 && at >= next_sip) {
            next_sip = at + 1.0 / SIPS_PER_SECOND;
            for (int i = quick; i < options.connections; i++)
                clients_read_some(clients_get(i), options.sip);
        }
    }
}

void measure_slow(void) {
    int quick = options.connections - options.slow;
    if (quick < 1)
        fail("one connection at least must read");
    late.first = (uint64_t)(4 * options.warm_up * options.rate); /* queues of slow clients fill */
    uint64_t messages = late.first + (uint64_t)(options.seconds * options.rate);

    clients_open(1, options.slow);
    settle();
    long memory = meter_memory_bytes();
    late.begun = now();
    send_at_rate(messages);
    uint64_t all = messages * (uint64_t)quick;
    for (double deadline = now() + PATIENCE_SECONDS; received < all;) {
        clients_serve(0.1, on_late_delivery);
        if (now() > deadline)
            fail("the clients that read received only %llu of %llu messages",
                 (unsigned long long)received, (unsigned long long)all);
    }
    memory = meter_memory_bytes() - memory;
    printf("deliveries=%zu p50_us=%.0f p99_us=%.0f grown_bytes=%ld\n", latencies_count(),
           latencies_us(0.50), latencies_us(0.99), memory);
}

/* ---- unread ---- */

static void on_own(struct client *client, int messages) {
    (void)client;
    received += (uint64_t)messages;
}

void measure_unread(void) {
    clients_open(1, options.connections - 1);
    settle();
    long memory = meter_memory_bytes();
    clients_send(clients_get(0));
    for (double deadline = now() + PATIENCE_SECONDS; received == 0;) {
        clients_serve(0.1, on_own);
        if (now() > deadline)
            fail("the sender did not receive its message in %d seconds", PATIENCE_SECONDS);
    }
    settle();
    memory = meter_memory_bytes() - memory;
    printf("connections=%d size=%d grown_bytes=%ld\n", options.connections, options.size, memory);
}
