/* admin.c -- the admin address. See admin.h.
 *
 * /metrics is in Prometheus' text format 0.0.4, /stats has the same figures as JSON. Both are
 * written from the list of counters in core/bus/stats.h. */
#include "server/admin.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "base/log/log.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "net/http/http.h"
#include "net/http/response.h"
#include "net/listen/acceptor.h"
#include "net/socket/admission.h"
#include "server/admin_access.h"
#include "server/admin_cluster.h"
#include "server/admin_pools.h"
#include "server/resources.h"
#include "tidewire_version.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

/* How long /stats waits for the counts of the workers. */
enum { COUNT_MS = 500 };

/* Sockets at a time, of all remote addresses. They do not count in limits.connections, and use the
 * same descriptors. */
enum { MAX_SOCKETS = 256 };

/* Longer than monitoring systems wait between two requests. */
enum { KEEP_ALIVE_MS = 120000 };

/* Bytes of request bodies, and of responses that clients have not read yet. */
enum { MAX_UPLOADS = 4 * 1024 * 1024, MAX_RESPONSES = 64 * 1024 * 1024 };

/* No page of another origin may use what a browser gets: as a script, a picture, a frame. Nothing
 * is kept. */
#define SAFE_HEADERS                                                                               \
    "X-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\n"                                 \
    "Cross-Origin-Resource-Policy: same-origin\r\nCache-Control: no-store\r\n"

struct admin {
    uv_loop_t *loop;
    struct process *process;
    struct workers *workers;
    struct transport *transport;
    struct http_server *http;
    struct admission admission; /* of its own */
    struct stats stats;         /* of its own sockets; not shown */
    struct acceptor *acceptor;
    struct listen_set *set;
    bool draining;
    bool warned; /* of a host that is not known */
    uv_timer_t count_timer;
    uint64_t *waiting; /* numbers of the requests for /stats that wait for the workers' counts */
    size_t waiting_count;
};

/* Begins a metric in the text format of Prometheus; the caller adds its value. */
static void begin_metric(struct buffer *text, const char *name, const char *type,
                         const char *help) {
    buffer_printf(text, "# HELP tidewire_%s %s\n", name, help);
    buffer_printf(text, "# TYPE tidewire_%s %s\ntidewire_%s ", name, type, name);
}

static void add_count(struct buffer *text, const char *name, const char *type, const char *help,
                      int64_t value) {
    begin_metric(text, name, type, help);
    buffer_printf(text, "%" PRId64 "\n", value);
}

static void add_seconds(struct buffer *text, const char *name, const char *help, double seconds) {
    begin_metric(text, name, "gauge", help);
    buffer_printf(text, "%.6f\n", seconds);
}

static void add_reloads(struct admin *admin, struct buffer *text) {
    struct process *process = admin->process;
    add_count(text, "reloads_total", "counter", "Reloads that activated new code.",
              atomic_load(&process->reloads));
    add_count(text, "reload_failures_total", "counter", "Reloads that failed: the code went on.",
              atomic_load(&process->reload_failures));
    add_count(text, "generation", "gauge", "The code that runs, counted from 1.",
              atomic_load(&process->generation));
    add_seconds(text, "reload_pause_seconds",
                "The longest time for which the last reload blocked a worker.",
                (double)atomic_load(&process->reload_pause_ns) / 1e9);
}

static void add_log(struct buffer *text) {
    struct log_figures log;
    log_figures(&log);
    add_count(text, "log_lines_dropped_total", "counter",
              "Lines of the log that were dropped because its reader was too slow.", log.dropped);
    add_count(text, "output_lines_dropped_total", "counter",
              "Lines of print that were dropped because their reader was too slow.",
              log.output_dropped);
    add_count(text, "log_lines_suppressed_total", "counter",
              "Lines above the limit for one event in a second.", log.suppressed);
    add_count(text, "log_waiting_bytes", "gauge", "Bytes of the log that wait to be written.",
              log.waiting);
}

/* ---- refusals, by reason and endpoint ---- */

/* The families, by enum refusal_kind: their names, their help, and the labels before the
 * endpoint's, by which /stats names the fields too. */
static const struct family {
    const char *name, *help, *reason, *code;
} families[] = {
    [REFUSAL_REQUEST] = {"refused", "Requests, handshakes and sockets refused", "reason", "status"},
    [REFUSAL_CLOSE] = {"closed",
                       "Connections that the server closed for a fault, a limit or a "
                       "reload",
                       "reason", "code"},
    [REFUSAL_RATE] = {"rate_limited", "Messages above the option rate", "action", NULL},
    [REFUSAL_BLOCKED] = {"worker_blocked", "Turns of a worker that took 0.25 seconds or more",
                         "hook", NULL},
};

enum { FAMILY_COUNT = sizeof families / sizeof families[0] };

struct refusal_lines {
    struct buffer *text;
    enum refusal_kind kind;
    unsigned count;
};

/* A label's value: "\\", "\"" and line ends are escaped. */
static void add_label(struct buffer *text, const char *name, const char *value) {
    buffer_printf(text, "%s=\"", name);
    for (; *value != '\0'; value++) {
        if (*value == '\n')
            buffer_printf(text, "\\n");
        else
            buffer_printf(text, *value == '\\' || *value == '"' ? "\\%c" : "%c", *value);
    }
    buffer_printf(text, "\"");
}

static void add_sample(void *user, const struct refusal *refusal) {
    const struct refusal_lines *lines = user;
    const struct family *family = &families[lines->kind];
    if (refusal->kind != lines->kind)
        return;
    buffer_printf(lines->text, "tidewire_%s_total{", family->name);
    add_label(lines->text, family->reason, refusal->reason);
    if (family->code != NULL)
        buffer_printf(lines->text, ",%s=\"%u\"", family->code, refusal->code);
    buffer_printf(lines->text, ",");
    add_label(lines->text, "endpoint", refusal->endpoint);
    buffer_printf(lines->text, "} %" PRIu64 "\n", refusal->count);
}

static void add_refusals(const struct admin *admin, struct buffer *text) {
    for (int kind = 0; kind < FAMILY_COUNT; kind++) {
        const struct family *family = &families[kind];
        struct refusal_lines lines = {.text = text, .kind = (enum refusal_kind)kind};
        buffer_printf(text, "# HELP tidewire_%s_total %s, by %s and endpoint.\n", family->name,
                      family->help, family->reason);
        buffer_printf(text, "# TYPE tidewire_%s_total counter\n", family->name);
        refusals_each(bus_refusals(admin->process->bus), add_sample, &lines);
    }
}

/* ---- the histogram of turns ---- */

static const uint16_t turn_bounds_ms[] = STATS_TURN_BOUNDS;

static void add_turns(struct buffer *text, const struct stats_total *total) {
    uint64_t count = 0;
    buffer_printf(text, "# HELP tidewire_turn_seconds Turns of the workers' loops: the time from "
                        "one wait for events to the next, to a millisecond.\n"
                        "# TYPE tidewire_turn_seconds histogram\n");
    for (int i = 0; i < STATS_TURN_BUCKETS; i++) {
        count += total->turns[i];
        if (i < STATS_TURN_BUCKETS - 1)
            buffer_printf(text, "tidewire_turn_seconds_bucket{le=\"%g\"} %" PRIu64 "\n",
                          turn_bounds_ms[i] / 1e3, count);
    }
    buffer_printf(text,
                  "tidewire_turn_seconds_bucket{le=\"+Inf\"} %" PRIu64 "\n"
                  "tidewire_turn_seconds_sum %.6f\ntidewire_turn_seconds_count %" PRIu64 "\n",
                  count, (double)total->turn_ns / 1e9, count);
}

/* The turns of each bucket alone; `le` null: above all bounds. */
static void add_turn_list(struct buffer *text, const struct stats_total *total) {
    buffer_printf(text, "\"turns\":[");
    for (int i = 0; i < STATS_TURN_BUCKETS; i++) {
        buffer_printf(text, "%s{\"le\":", i == 0 ? "" : ",");
        if (i < STATS_TURN_BUCKETS - 1)
            buffer_printf(text, "%g", turn_bounds_ms[i] / 1e3);
        else
            buffer_printf(text, "null");
        buffer_printf(text, ",\"count\":%" PRIu64 "}", total->turns[i]);
    }
    buffer_printf(text, "],\"turn_seconds\":%.6f,", (double)total->turn_ns / 1e9);
}

static void metrics(struct admin *admin, struct http *http) {
    struct stats_total total;
    struct buffer text = {0};
    const struct limit *limit = &admin->process->admission.connections;
    bus_total(admin->process->bus, &total);
#define X(name, help) add_count(&text, #name "_total", "counter", help ".", total.name);
    STATS_COUNTERS(X)
#undef X
#define X(name, help) add_count(&text, #name, "gauge", help ".", total.name);
    STATS_GAUGES(X)
#undef X
    add_count(&text, "max_connections", "gauge", "The limit on connections.", limit_max(limit));
    add_count(&text, "sockets", "gauge",
              "Sockets that count in max_connections, those of plain HTTP and in a handshake too.",
              limit_taken(limit));
    add_count(&text, "backlog_limit_bytes", "gauge", "The limit on backlog_bytes.",
              bus_backlog_max(admin->process->bus));
    add_count(&text, "workers", "gauge", "Threads that serve connections.",
              bus_workers(admin->process->bus));
    add_reloads(admin, &text);
    if (admin->process->tls != NULL)
        add_count(&text, "certificate_expires_seconds", "gauge",
                  "When the certificate expires, in Unix time.",
                  tls_server_ends_at(admin->process->tls));
    buffer_printf(&text, "# HELP tidewire_worker_lua_memory_bytes Memory of a worker's scripts.\n"
                         "# TYPE tidewire_worker_lua_memory_bytes gauge\n");
    for (unsigned i = 0; i < bus_workers(admin->process->bus); i++)
        buffer_printf(&text, "tidewire_worker_lua_memory_bytes{worker=\"%u\"} %" PRIu64 "\n", i,
                      bus_lua_memory(admin->process->bus, i));
    add_log(&text);
    add_turns(&text, &total);
    add_refusals(admin, &text);
    admin_pools_metrics(admin->process->pools, &text);
    admin_cluster_metrics(admin->process->link, &text);
    add_seconds(&text, "uptime_seconds", "Time since the start.",
                clock_monotonic_seconds() - admin->process->started_at);
    add_count(&text, "resident_bytes", "gauge", "Memory of the process.",
              resources_resident_bytes());
    buffer_printf(&text,
                  "# HELP tidewire_info The version that runs.\n# TYPE tidewire_info gauge\n"
                  "tidewire_info{version=\"%s\"} 1\n",
                  TIDEWIRE_VERSION);
    http_respond(http, 200,
                 SAFE_HEADERS "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n",
                 buffer_start(&text), text.len);
    buffer_free(&text);
}

/* A number of each worker. */
static void add_by_worker(struct admin *admin, struct buffer *text, const char *name,
                          uint64_t (*number_of)(struct bus *bus, unsigned worker)) {
    struct bus *bus = admin->process->bus;
    buffer_printf(text, "\"%s_by_worker\":[", name);
    for (unsigned i = 0; i < bus_workers(bus); i++)
        buffer_printf(text, "%s%" PRIu64, i == 0 ? "" : ",", number_of(bus, i));
    buffer_printf(text, "],");
}

static void add_generations(const struct generation_counts *counts, struct buffer *text) {
    buffer_printf(text, "\"generations\":[");
    for (unsigned i = 0; i < counts->count; i++)
        buffer_printf(text,
                      "%s{\"generation\":%u,\"connections\":%" PRIu64 ",\"waiting_hooks\":%" PRIu64
                      ",\"timers\":%" PRIu64 "}",
                      i == 0 ? "" : ",", counts->rows[i].generation, counts->rows[i].connections,
                      counts->rows[i].waiting, counts->rows[i].timers);
    buffer_printf(text, "],");
}

/* A JSON string. A file name may have any bytes: those that are no UTF-8 become "?". */
static void add_quoted(struct buffer *text, const char *bytes) {
    bool is_utf8 = utf8_valid(bytes, strlen(bytes));
    buffer_printf(text, "\"");
    for (const unsigned char *at = (const unsigned char *)bytes; *at != '\0'; at++) {
        if (*at < 0x20 || *at == '"' || *at == '\\')
            buffer_printf(text, "\\u%04x", *at);
        else
            buffer_printf(text, "%c", *at >= 0x80 && !is_utf8 ? '?' : *at);
    }
    buffer_printf(text, "\"");
}

/* The places that have made repeating timers. */
static void add_timers(const struct generation_counts *counts, struct buffer *text) {
    buffer_printf(text, "\"timers\":[");
    for (unsigned i = 0; i < counts->place_count; i++) {
        buffer_printf(text, "%s{\"where\":", i == 0 ? "" : ",");
        add_quoted(text, counts->places[i].where);
        buffer_printf(text, ",\"generation\":%u,\"count\":%" PRIu64 "}",
                      counts->places[i].generation, counts->places[i].timers);
    }
    buffer_printf(text, "],\"timers_elsewhere\":%" PRIu64 ",", counts->elsewhere);
}

static void add_object(void *user, const struct refusal *refusal) {
    struct refusal_lines *lines = user;
    const struct family *family = &families[lines->kind];
    if (refusal->kind != lines->kind)
        return;
    buffer_printf(lines->text, "%s{\"%s\":", lines->count++ == 0 ? "" : ",", family->reason);
    add_quoted(lines->text, refusal->reason);
    if (family->code != NULL)
        buffer_printf(lines->text, ",\"%s\":%u", family->code, refusal->code);
    buffer_printf(lines->text, ",\"endpoint\":");
    add_quoted(lines->text, refusal->endpoint);
    buffer_printf(lines->text, ",\"count\":%" PRIu64 "}", refusal->count);
}

static void add_refusal_lists(const struct admin *admin, struct buffer *text) {
    for (int kind = 0; kind < FAMILY_COUNT; kind++) {
        struct refusal_lines lines = {.text = text, .kind = (enum refusal_kind)kind};
        buffer_printf(text, "\"%s\":[", families[kind].name);
        refusals_each(bus_refusals(admin->process->bus), add_object, &lines);
        buffer_printf(text, "],");
    }
}

static void stats_json(struct admin *admin, struct http *http,
                       const struct generation_counts *counts) {
    struct stats_total total;
    struct buffer text = {0};
    bus_total(admin->process->bus, &total);
    buffer_printf(
        &text,
        "{\"version\":\"%s\",\"pid\":%ld,\"uptime\":%.3f,\"max_connections\":%u,"
        "\"sockets\":%u,\"workers\":%u,",
        TIDEWIRE_VERSION, (long)getpid(), clock_monotonic_seconds() - admin->process->started_at,
        limit_max(&admin->process->admission.connections),
        limit_taken(&admin->process->admission.connections), bus_workers(admin->process->bus));
    buffer_printf(&text, "\"backlog_limit_bytes\":%" PRId64 ",",
                  bus_backlog_max(admin->process->bus));
    add_by_worker(admin, &text, "connections", bus_connections);
    add_by_worker(admin, &text, "lua_memory", bus_lua_memory);
    add_generations(counts, &text);
    add_timers(counts, &text);
    add_refusal_lists(admin, &text);
    add_turn_list(&text, &total);
    admin_pools_json(admin->process->pools, &text);
    admin_cluster_json(admin->process->link, &text);
    if (admin->process->tls != NULL)
        buffer_printf(&text, "\"certificate_expires_at\":%" PRId64 ",",
                      tls_server_ends_at(admin->process->tls));
    struct log_figures log;
    log_figures(&log);
    buffer_printf(&text,
                  "\"log_lines_dropped\":%" PRIu64 ",\"output_lines_dropped\":%" PRIu64
                  ",\"log_lines_suppressed\":%" PRIu64 ",\"log_waiting_bytes\":%zu,",
                  log.dropped, log.output_dropped, log.suppressed, log.waiting);
    buffer_printf(
        &text, "\"generation\":%u,\"reloads\":%u,\"reload_failures\":%u,\"reload_pause_ms\":%.3f,",
        atomic_load(&admin->process->generation), atomic_load(&admin->process->reloads),
        atomic_load(&admin->process->reload_failures),
        (double)atomic_load(&admin->process->reload_pause_ns) / 1e6);
#define X(name, help) buffer_printf(&text, "\"%s\":%" PRIu64 ",", #name, total.name);
    STATS_COUNTERS(X)
    STATS_GAUGES(X)
#undef X
    buffer_printf(&text, "\"messages\":%" PRIu64 ",\"bytes\":%" PRIu64 ",", total.messages_received,
                  total.bytes_received);
    buffer_printf(&text, "\"errors\":%" PRIu64 ",", total.script_errors + total.decode_errors);
    buffer_printf(
        &text,
        "\"total_connections\":%" PRIu64 ",\"resident_bytes\":%" PRIu64 ",\"draining\":%s}\n",
        total.connections, resources_resident_bytes(), admin->draining ? "true" : "false");
    http_respond(http, 200, SAFE_HEADERS RESPONSE_JSON, buffer_start(&text), text.len);
    buffer_free(&text);
}

/* The server is unhealthy when a worker has not answered a ping for so long. */
static const double SILENCE_SECONDS = 5;

static void health(struct admin *admin, struct http *http) {
    unsigned worker;
    double silence = workers_ping(admin->workers, &worker);
    if (silence < SILENCE_SECONDS) {
        http_respond_text(http, 200, SAFE_HEADERS, "ok");
        return;
    }
    char why[96];
    snprintf(why, sizeof why,
             "worker %u has not answered for %.0f seconds: a script does not return", worker,
             silence);
    struct log_line line;
    log_begin_limited(&line, LOG_WARN, "unhealthy");
    log_str(&line, "why", why);
    log_end(&line);
    http_respond_text(http, 503, SAFE_HEADERS, why);
}

/* A machine without the others still serves its clients. */
static void ready(struct admin *admin, struct http *http) {
    char body[64];
    snprintf(body, sizeof body, "%s%s", admin->draining ? "draining" : "ready",
             admin_cluster_state(admin->process->link));
    http_respond_text(http, admin->draining ? 503 : 200, SAFE_HEADERS, body);
}

static void respond_stats(struct admin *admin) {
    struct generation_counts counts;
    workers_counts(admin->workers, &counts);
    for (size_t i = 0; i < admin->waiting_count; i++) {
        struct http *http = http_find(admin->http, admin->waiting[i]);
        if (http != NULL)
            stats_json(admin, http, &counts);
    }
    admin->waiting_count = 0;
    uv_timer_stop(&admin->count_timer);
}

static void on_count_timeout(uv_timer_t *timer) {
    respond_stats(timer->data);
}

/* The workers count their connections and timers by generation first. A worker whose script does
 * not return is left out. */
static void request_stats(struct admin *admin, const struct http *http) {
    admin->waiting =
        mem_realloc(admin->waiting, (admin->waiting_count + 1) * sizeof *admin->waiting);
    admin->waiting[admin->waiting_count++] = http_number(http);
    if (admin->waiting_count > 1)
        return;
    workers_start_count(admin->workers);
    uv_timer_start(&admin->count_timer, on_count_timeout, COUNT_MS, 0);
}

void admin_on_report(struct admin *admin) {
    struct generation_counts counts;
    if (admin != NULL && admin->waiting_count > 0 && workers_counts(admin->workers, &counts))
        respond_stats(admin);
}

/* Refuses a request that may come from a page in a browser. False: it does not. */
static bool refuse_page(struct admin *admin, struct http *http, const struct request *request) {
    char why[ADMIN_ACCESS_BYTES];
    bool over_unix = strcmp(http_remote(http), "unix") == 0;
    enum admin_access access =
        admin_access_check(request, &admin->process->admin_hosts, over_unix, why);
    if (access == ADMIN_ACCESS_GRANTED)
        return false;
    if (access == ADMIN_ACCESS_OTHER_HOST && !admin->warned) {
        admin->warned = true; /* monitoring may ask each second */
        log_event(LOG_WARN, "admin_hosts", why);
    }
    http_respond_refusal(http, 403, SAFE_HEADERS, why);
    return true;
}

static void on_request(void *user, struct http *http, const struct request *request, char *body,
                       size_t body_len) {
    (void)body;
    (void)body_len;
    struct admin *admin = user;
    if (refuse_page(admin, http, request))
        return;
    if (!slice_is(request->method, "GET") && !slice_is(request->method, "HEAD"))
        http_respond_refusal(http, 405, SAFE_HEADERS "Allow: GET, HEAD\r\n", "Only GET and HEAD.");
    else if (slice_is(request->path, "/healthz"))
        health(admin, http);
    else if (slice_is(request->path, "/readyz"))
        ready(admin, http);
    else if (slice_is(request->path, "/metrics"))
        metrics(admin, http);
    else if (slice_is(request->path, "/stats"))
        request_stats(admin, http);
    else
        http_respond_refusal(http, 404, SAFE_HEADERS,
                             "There are /healthz, /readyz, /metrics and /stats.");
}

static void open_admission(struct admission *admission) {
    admission_init(admission);
    atomic_store(&admission->connections.max, MAX_SOCKETS);
    atomic_store(&admission->uploads.max, MAX_UPLOADS);
    atomic_store(&admission->uploads.max_of_one, MAX_UPLOADS);
    atomic_store(&admission->responses.max, MAX_RESPONSES);
    atomic_store(&admission->responses.max_of_one, MAX_RESPONSES);
}

struct admin *admin_open(uv_loop_t *loop, struct process *process, struct workers *workers,
                         struct listen_set *set) {
    struct admin *admin = mem_zalloc(sizeof *admin);
    admin->transport = transport_new(loop, &admin->stats);
    open_admission(&admin->admission);
    struct http_options options = {.max_head_bytes = 16 * 1024,
                                   .max_body_bytes = 16 * 1024,
                                   .request_ms = 5000,
                                   .keep_alive_ms = KEEP_ALIVE_MS,
                                   .half_closed_ms = 10000,
                                   .send_ms = 30000,
                                   .admission = &admin->admission};
    admin->loop = loop;
    uv_timer_init(loop, &admin->count_timer);
    admin->count_timer.data = admin;
    admin->process = process;
    admin->workers = workers;
    admin->set = set;
    admin->http = http_server_new(loop, admin->transport, &admin->stats, &options);
    http_server_on_request(admin->http, on_request, admin);
    return admin;
}

void admin_start(struct admin *admin) {
    if (admin != NULL)
        admin->acceptor = acceptor_start(admin->loop, admin->set, 0, admin->http);
}

void admin_stop_accepting(struct admin *admin) {
    if (admin == NULL)
        return;
    acceptor_close(admin->acceptor);
    admin->acceptor = NULL;
    http_server_end_keep_alive(admin->http);
}

void admin_drain(struct admin *admin) {
    if (admin != NULL)
        admin->draining = true;
}

void admin_close(struct admin *admin) {
    if (admin == NULL)
        return;
    admin->waiting_count = 0;
    uv_close((uv_handle_t *)&admin->count_timer, NULL);
    acceptor_close(admin->acceptor);
    http_server_close(admin->http);
    transport_stop(admin->transport);
}

void admin_free(struct admin *admin) {
    if (admin == NULL)
        return;
    mem_free(admin->waiting);
    transport_free(admin->transport);
    http_server_free(admin->http);
    admission_close(&admin->admission);
    mem_free(admin);
}
