/* process.c -- the data that all workers of the process share. See process.h. */
#include "server/workers/process.h"

#include "base/clock.h"
#include "base/conn_id.h"
#include "base/memory_size.h"
#include "net/http/handshake.h"
#include "script/bind/bindings.h"
#include "server/workers/thread.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static void watch(void *process, struct budget *budget, const char *name) {
    watchdog_watch_pool(((struct process *)process)->watchdog, budget, name);
}

static void release(void *process, const struct budget *budget) {
    watchdog_release(((struct process *)process)->watchdog, budget);
}

void process_init(struct process *process) {
    conn_id_draw_node();
    if (!handshake_prepare()) {
        fprintf(stderr, "tidewire: out of memory (OpenSSL cannot begin)\n");
        abort();
    }
    struct bus *bus = bus_new();
    struct shared *shared = shared_new(NULL, NULL);
    *process = (struct process){
        .bus = bus,
        .shared = shared,
        .state = state_new(shared, bus),
        .watchdog = watchdog_new(bus_refusals(bus)),
        .handoffs = handoffs_new(),
        .tickets = tls_tickets_new(),
        .memory = memory_size(),
        .started_at = clock_monotonic_seconds(),
        .generation = 1,
    };
    admission_init(&process->admission);
    process->pools = pools_new(&(struct pools_functions){
        .bindings = &bindings,
        .start = thread_start_sized,
        .watch = watch,
        .release = release,
        .user = process,
    });
}

void process_set_limits(struct process *process, const struct app *app) {
    struct admission *admission = &process->admission;
    app_texts_free(&process->admin_hosts);
    process->admin_hosts = app_texts_copy(&app->admin_hosts);
    atomic_store(&admission->connections.max, app->max_connections);
    atomic_store(&admission->per_address, app->per_address);
    ip_rates_set(admission->ip_rates, IP_RATE_CONNECTIONS, app->connection_rate);
    ip_rates_set(admission->ip_rates, IP_RATE_REQUESTS, app->request_rate);
    shared_rate_set(admission->tls, app->tls_handshake_rate);
    atomic_store(&admission->uploads.max, app->upload_backlog);
    atomic_store(&admission->uploads.max_of_one, app->upload_backlog_per_address);
    atomic_store(&admission->responses.max, app->response_backlog);
    atomic_store(&admission->responses.max_of_one, app->response_backlog_per_address);
    bus_set_backlog_max(process->bus, app->backlog);
    atomic_store(&process->outgoing_sockets.max, app->outgoing_sockets);
    bus_set_mail_max(process->bus, app->worker_backlog);
}

void process_close(struct process *process) {
    pools_free(process->pools);
    watchdog_free(process->watchdog);
    handoffs_free(process->handoffs);
    bus_free(process->bus);
    state_free(process->state);
    shared_free(process->shared);
    admission_close(&process->admission);
    tls_server_unref(process->tls);
    tls_tickets_free(process->tickets);
    app_texts_free(&process->admin_hosts);
}

static void on_sigpipe(int number) {
    (void)number;
}

/* The signal is caught, not ignored: processes that scripts start would keep ignoring it, and
 * programs in a pipeline would not end with their reader. A caught signal has its default there. */
static void catch_sigpipe(void) {
    struct sigaction action = {.sa_handler = on_sigpipe, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGPIPE, &action, NULL);
}

/* Where the parent of this process has ignored it, the kernel would tell no exit codes of the
 * processes that scripts start. */
static void restore_sigchld(void) {
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigemptyset(&action.sa_mask);
    sigaction(SIGCHLD, &action, NULL);
}

void process_set_signals(void) {
    catch_sigpipe();
    restore_sigchld();
}
