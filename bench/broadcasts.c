/* broadcasts.c -- measurements of a server that gives each message to everyone: CPU time per
 * delivery, how late messages are where some do not read, and what a message that waits for all
 * costs. See load.c. */
#include "crowd.h"
#include "load.h"
#include "meter.h"

#include <stdio.h>
#include <stdlib.h>

static uint64_t heard;

/* ---- bcast ---- */

static void on_delivery(struct client *client, int messages) {
    heard += (uint64_t)messages;
    if (client->heard > (uint64_t)options.depth)
        fail("a connection heard more messages than were sent");
}

/* One go of the sender's, until everybody has heard all of it. */
static void go(void) {
    uint64_t all = (uint64_t)options.connections * (uint64_t)options.depth;
    for (int i = 0; i < options.connections; i++)
        crowd_client(i)->heard = 0;
    heard = 0;
    crowd_send(crowd_client(0));
    for (double deadline = now() + PATIENCE_SECONDS; heard < all;) {
        crowd_serve(0.1, on_delivery);
        if (now() > deadline)
            fail("only %llu of %llu deliveries in %d seconds", (unsigned long long)heard,
                 (unsigned long long)all, PATIENCE_SECONDS);
    }
}

void measure_bcast(void) {
    crowd_open(options.depth, 0);
    for (double end = now() + WARM_UP_SECONDS; now() < end;)
        go();

    uint64_t deliveries = 0, cpu_ns = meter_cpu_ns();
    double begun = now(), took;
    for (; (took = now() - begun) < options.seconds; deliveries += heard)
        go();
    cpu_ns = meter_cpu_ns() - cpu_ns;
    printf("deliveries=%llu per_second=%.0f cpu_us=%.4f cpu_percent=%.1f\n",
           (unsigned long long)deliveries, (double)deliveries / took,
           (double)cpu_ns / 1e3 / (double)deliveries, (double)cpu_ns / 1e7 / took);
}

/* ---- slow ---- */

enum { SIPS_PER_SECOND = 20 };
/* Time for the queues of the slow to fill. */
static const double FILL_SECONDS = 2;

/* Message n, counted from 0, is due at begun + n / rate. */
static struct {
    double begun;
    uint64_t sent, first; /* those from `first` on count */
    float *seconds;       /* that deliveries took */
    size_t count, capacity;
} late;

static void on_late_delivery(struct client *client, int messages) {
    double at = now();
    heard += (uint64_t)messages;
    for (uint64_t n = client->heard - (uint64_t)messages; n < client->heard; n++) {
        if (n >= late.sent)
            fail("a connection heard more messages than were sent");
        if (n >= late.first && late.count < late.capacity)
            late.seconds[late.count++] = (float)(at - late.begun - (double)n / options.rate);
    }
}

static int compare(const void *one, const void *other) {
    float a = *(const float *)one, b = *(const float *)other;
    return (a > b) - (a < b);
}

static double late_us(double part) {
    return (double)late.seconds[(size_t)((double)(late.count - 1) * part)] * 1e6;
}

/* Sends what is due, and serves the others until the next is. */
static void keep_the_rate(uint64_t messages) {
    int quick = options.connections - options.slow;
    double next_sip = now();
    for (double at; late.sent < messages;) {
        double due = late.begun + (double)late.sent / options.rate;
        at = now();
        if (at >= due) {
            late.sent++;
            crowd_send(crowd_client(0));
        } else {
            crowd_serve(due - at, on_late_delivery);
        }
        if (options.sip > 0 && at >= next_sip) {
            next_sip = at + 1.0 / SIPS_PER_SECOND;
            for (int i = quick; i < options.connections; i++)
                crowd_sip(crowd_client(i), options.sip);
        }
    }
}

void measure_slow(void) {
    int quick = options.connections - options.slow;
    if (quick < 1)
        fail("one connection at least must read");
    late.first = (uint64_t)(FILL_SECONDS * options.rate);
    uint64_t messages = late.first + (uint64_t)(options.seconds * options.rate);
    late.capacity = (size_t)quick * (size_t)(messages - late.first);
    late.seconds = malloc(late.capacity * sizeof *late.seconds);
    if (late.seconds == NULL)
        fail("no memory");

    crowd_open(1, options.slow);
    settle();
    long memory = meter_memory_bytes();
    late.begun = now();
    keep_the_rate(messages);
    uint64_t all = messages * (uint64_t)quick;
    for (double deadline = now() + PATIENCE_SECONDS; heard < all;) {
        crowd_serve(0.1, on_late_delivery);
        if (now() > deadline)
            fail("those who read heard only %llu of %llu messages", (unsigned long long)heard,
                 (unsigned long long)all);
    }
    memory = meter_memory_bytes() - memory;
    qsort(late.seconds, late.count, sizeof *late.seconds, compare);
    printf("deliveries=%zu p50_us=%.0f p99_us=%.0f grown_bytes=%ld\n", late.count, late_us(0.50),
           late_us(0.99), memory);
}

/* ---- unread ---- */

static void on_own(struct client *client, int messages) {
    (void)client;
    heard += (uint64_t)messages;
}

void measure_unread(void) {
    crowd_open(1, options.connections - 1);
    settle();
    long memory = meter_memory_bytes();
    crowd_send(crowd_client(0));
    for (double deadline = now() + PATIENCE_SECONDS; heard == 0;) {
        crowd_serve(0.1, on_own);
        if (now() > deadline)
            fail("the sender did not hear its message in %d seconds", PATIENCE_SECONDS);
    }
    settle();
    memory = meter_memory_bytes() - memory;
    printf("connections=%d size=%d grown_bytes=%ld\n", options.connections, options.size, memory);
}
