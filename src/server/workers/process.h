/* process.h -- the data that all workers of the process share: the bus, the stores, limits, the
 * certificate, counters. */
#ifndef TIDEWIRE_SERVER_WORKERS_PROCESS_H
#define TIDEWIRE_SERVER_WORKERS_PROCESS_H

#include "cluster/link/cluster_link.h"
#include "core/bus/bus.h"
#include "core/store/shared.h"
#include "net/http/handoff.h"
#include "net/socket/admission.h"
#include "net/socket/tls_server.h"
#include "script/pool/pools.h"
#include "script/vm/app.h"
#include "server/state/state.h"
#include "server/workers/watchdog.h"

#include <stdatomic.h>
#include <stdint.h>

/* Any thread. */
struct process {
    struct bus *bus;
    struct shared *shared;         /* the stores of tw.shared */
    struct state *state;           /* what outlives the process */
    struct limit outgoing_sockets; /* of scripts; as many as they like before the app is loaded */
    struct pools *pools;           /* of tw.pool */
    struct admission admission;    /* limits on sockets and on memory for them */
    struct handoffs *handoffs;     /* connections that go to another worker */
    struct tls_server *tls;        /* of new connections; see credentials.h */
    struct tls_tickets *tickets;   /* of TLS */
    struct watchdog *watchdog;     /* interrupts scripts that take too long */
    struct app_texts admin_hosts;  /* of the app; only the main thread */
    struct cluster_link *link;     /* to other machines; NULL: none; only the main thread */
    size_t memory;                 /* bytes that the process may have (memory_size.h) */
    double started_at;             /* monotonic seconds */
    atomic_uint generation;        /* of the code that runs, from 1 */
    atomic_uint reloads, reload_failures;
    _Atomic uint64_t reload_pause_ns; /* the longest time for which the last one blocked a worker */
};

void process_init(struct process *process);
void process_close(struct process *process);
/* Sets the app's limits of the process, for new sockets and messages. */
void process_set_limits(struct process *process, const struct app *app);

/* A write to a pipe or socket without a reader fails with EPIPE from now on, and ends no process;
 * processes that scripts start are waited for. At the start. */
void process_set_signals(void);

#endif
