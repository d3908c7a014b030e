/* closes.c -- the measurement of a server most of whose connections end at once: CPU time per
 * closed connection, and latency of another client meanwhile. See load.c. */
#include "clients.h"
#include "latencies.h"
#include "load.h"
#include "meter.h"

#include <stdio.h>

enum { CLOSES_BETWEEN_READS = 32 };

/* The client that stays sends `rate` messages a second, whether answers come or not: message n,
 * counted from 0, is due at begun + n / rate. */
static struct {
    double begun;
    uint64_t sent;
} echo;

static void on_echo(struct client *client, int messages) {
    double at = now();
    for (uint64_t n = client->received - (uint64_t)messages; n < client->received; n++)
        latencies_add(at - echo.begun - (double)n / options.rate);
}

/* Sends due messages, and serves the client for at most `seconds`. */
static void serve(double seconds) {
    struct client *client = clients_get(0);
    for (; now() - echo.begun >= (double)echo.sent / options.rate; echo.sent++)
        clients_send(client);
    double next = echo.begun + (double)echo.sent / options.rate - now();
    clients_serve(next < seconds ? (next > 0 ? next : 0) : seconds, on_echo);
}

void measure_close(void) {
    int closing = options.connections - 1;
    if (closing < 1)
        fail("there must be a connection to close, and one that stays");
    long before = meter_open_files();
    clients_open(1, 0);
    settle();

    uint64_t cpu_ns = meter_cpu_ns();
    echo.begun = now();
    for (int i = 1; i <= closing; i++) {
        clients_reset(clients_get(i));
        if (i % CLOSES_BETWEEN_READS == 0)
            serve(0);
    }
    long left;
    double deadline = now() + PATIENCE_SECONDS;
    while ((left = meter_open_files() - before - 1) > 0) {
        serve(0.001);
        if (now() > deadline)
            fail("the server keeps %ld sockets open %d seconds after their ends", left,
                 PATIENCE_SECONDS);
    }
    double took = now() - echo.begun;
    while (clients_get(0)->received < echo.sent && now() < deadline)
        clients_serve(0.1, on_echo);
    if (clients_get(0)->received < echo.sent)
        fail("a message got no answer in %d seconds", PATIENCE_SECONDS);
    settle();
    cpu_ns = meter_cpu_ns() - cpu_ns;
    printf(
        "closed=%d took_ms=%.0f cpu_us=%.4f echoes=%zu p50_us=%.0f p99_us=%.0f longest_us=%.0f\n",
        closing, took * 1e3, (double)cpu_ns / 1e3 / closing, latencies_count(), latencies_us(0.50),
        latencies_us(0.99), latencies_us(1));
}
