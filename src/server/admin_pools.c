/* admin_pools.c -- the figures of tw.pool on the admin address. See admin_pools.h.
 *
 * The name of a module is what require() takes, so a label or a JSON string needs no more than "\\"
 * and "\"" escaped; control characters are left out. */
#include "server/admin_pools.h"

#include "base/utf8.h"
#include "script/pool/pool_figures.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

static const uint16_t bounds_ms[] = POOL_TIME_BOUNDS;

/* The numbers of a pool: the name in /stats, the rest of the metric's name, its type, its help. */
static const struct number {
    const char *name, *metric, *type, *help;
    size_t offset;
} numbers[] = {
    {"threads", "threads", "gauge", "Threads of a pool", offsetof(struct pool_figures, threads)},
    {"busy", "busy_threads", "gauge", "Threads that run a call",
     offsetof(struct pool_figures, busy)},
    {"queue", "queue_calls", "gauge", "Calls that wait for a thread",
     offsetof(struct pool_figures, queue)},
    {"queue_bytes", "queue_bytes", "gauge", "Bytes of the arguments of these calls",
     offsetof(struct pool_figures, queue_bytes)},
    {"calls", "calls_total", "counter", "Calls of functions in a pool",
     offsetof(struct pool_figures, calls)},
    {"errors", "errors_total", "counter", "Calls that have thrown",
     offsetof(struct pool_figures, errors)},
    {"timeouts", "timeouts_total", "counter", "Calls that took longer than their timeout",
     offsetof(struct pool_figures, timeouts)},
    {"refused", "refused_total", "counter", "Calls that found the queue full",
     offsetof(struct pool_figures, refused)},
};

/* The histograms of a pool. */
static const struct histogram {
    const char *name, *help;
    size_t offset;
} histograms[] = {
    {"wait_seconds", "Time of calls in the queue", offsetof(struct pool_figures, wait)},
    {"run_seconds", "Time of calls in a thread", offsetof(struct pool_figures, run)},
};

enum {
    NUMBERS = sizeof numbers / sizeof numbers[0],
    HISTOGRAMS = sizeof histograms / sizeof histograms[0],
};

static uint64_t number_of(const struct pool_figures *figures, const struct number *number) {
    uint64_t value;
    memcpy(&value, (const char *)figures + number->offset, sizeof value);
    return value;
}

static const struct pool_times *times_of(const struct pool_figures *figures,
                                         const struct histogram *histogram) {
    return (const void *)((const char *)figures + histogram->offset);
}

static void add_name(struct buffer *text, const char *name) {
    bool is_utf8 = utf8_valid(name, strlen(name));
    buffer_printf(text, "\"");
    for (const unsigned char *at = (const unsigned char *)name; *at != '\0'; at++)
        if (*at >= 0x20)
            buffer_printf(text, "%s%c", *at == '\\' || *at == '"' ? "\\" : "",
                          *at >= 0x80 && !is_utf8 ? '?' : *at);
    buffer_printf(text, "\"");
}

/* ---- /metrics ---- */

/* One metric of all pools. */
struct metric {
    struct buffer *text;
    const struct number *number; /* or else */
    const struct histogram *histogram;
    bool has_begun;
};

static void begin_metric(struct metric *metric) {
    const char *name = metric->number != NULL ? metric->number->metric : metric->histogram->name;
    if (metric->has_begun)
        return;
    metric->has_begun = true;
    buffer_printf(metric->text, "# HELP tidewire_pool_%s %s.\n# TYPE tidewire_pool_%s %s\n", name,
                  metric->number != NULL ? metric->number->help : metric->histogram->help, name,
                  metric->number != NULL ? metric->number->type : "histogram");
}

static void add_sample(void *user, const struct pool_figures *figures) {
    struct metric *metric = user;
    begin_metric(metric);
    buffer_printf(metric->text, "tidewire_pool_%s{pool=", metric->number->metric);
    add_name(metric->text, figures->name);
    buffer_printf(metric->text, "} %" PRIu64 "\n", number_of(figures, metric->number));
}

static void add_times(void *user, const struct pool_figures *figures) {
    struct metric *metric = user;
    struct buffer *text = metric->text;
    const char *name = metric->histogram->name;
    const struct pool_times *times = times_of(figures, metric->histogram);
    uint64_t count = 0;
    begin_metric(metric);
    for (int i = 0; i < POOL_TIME_BUCKETS; i++) {
        count += times->buckets[i];
        buffer_printf(text, "tidewire_pool_%s_bucket{pool=", name);
        add_name(text, figures->name);
        if (i < POOL_TIME_BUCKETS - 1)
            buffer_printf(text, ",le=\"%g\"} %" PRIu64 "\n", bounds_ms[i] / 1e3, count);
        else
            buffer_printf(text, ",le=\"+Inf\"} %" PRIu64 "\n", count);
    }
    buffer_printf(text, "tidewire_pool_%s_sum{pool=", name);
    add_name(text, figures->name);
    buffer_printf(text, "} %.6f\ntidewire_pool_%s_count{pool=", (double)times->sum_ns / 1e9, name);
    add_name(text, figures->name);
    buffer_printf(text, "} %" PRIu64 "\n", count);
}

void admin_pools_metrics(struct pools *pools, struct buffer *text) {
    for (int i = 0; i < NUMBERS; i++)
        pools_figures(pools, add_sample, &(struct metric){.text = text, .number = &numbers[i]});
    for (int i = 0; i < HISTOGRAMS; i++)
        pools_figures(pools, add_times,
                      &(struct metric){.text = text, .histogram = &histograms[i]});
}

/* ---- /stats ---- */

struct list_of_pools {
    struct buffer *text;
    unsigned count;
};

static void add_object(void *user, const struct pool_figures *figures) {
    struct list_of_pools *list = user;
    buffer_printf(list->text, "%s", list->count++ == 0 ? "" : ",");
    add_name(list->text, figures->name);
    buffer_printf(list->text, ":{");
    for (int i = 0; i < NUMBERS; i++)
        buffer_printf(list->text, "\"%s\":%" PRIu64 ",", numbers[i].name,
                      number_of(figures, &numbers[i]));
    for (int i = 0; i < HISTOGRAMS; i++)
        buffer_printf(list->text, "%s\"%s\":%.6f", i == 0 ? "" : ",", histograms[i].name,
                      (double)times_of(figures, &histograms[i])->sum_ns / 1e9);
    buffer_printf(list->text, "}");
}

void admin_pools_json(struct pools *pools, struct buffer *text) {
    buffer_printf(text, "\"pools\":{");
    pools_figures(pools, add_object, &(struct list_of_pools){.text = text});
    buffer_printf(text, "},");
}
