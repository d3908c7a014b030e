/* admin_cluster.c -- the figures of the link to other machines. See admin_cluster.h.
 *
 * Names of servers are URLs without user and password. They come from the app, and are escaped for
 * labels and for JSON alike. */
#include "server/admin_cluster.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

/* The numbers of a server: the name in /stats, the metric, its type, its help. */
struct number {
    const char *name, *metric, *type, *help;
    uint64_t (*of)(const struct cluster_server *server);
};

static uint64_t is_up(const struct cluster_server *server) {
    return server->is_up;
}

static uint64_t connects(const struct cluster_server *server) {
    return server->connects;
}

static uint64_t queued(const struct cluster_server *server) {
    return server->queued;
}

static uint64_t channels(const struct cluster_server *server) {
    return server->channels;
}

static const struct number numbers[] = {
    {"up", "server_up", "gauge", "Can this machine use the Redis server: 1 or 0", is_up},
    {"connects", "server_connects_total", "counter", "Times the Redis server came up", connects},
    {"queue_bytes", "server_queue_bytes", "gauge", "Bytes of commands that wait to be written",
     queued},
    {"subscriptions", "server_subscriptions", "gauge",
     "Channels that this machine has subscribed on the Redis server", channels},
};

enum { NUMBERS = sizeof numbers / sizeof numbers[0] };

/* A text in quotes: control characters become "?". */
static void add_quoted(struct buffer *text, const char *bytes) {
    buffer_printf(text, "\"");
    for (const char *at = bytes; *at != '\0'; at++)
        buffer_printf(text, *at == '\\' || *at == '"' ? "\\%c" : "%c",
                      (unsigned char)*at < 0x20 ? '?' : *at);
    buffer_printf(text, "\"");
}

/* What the bus has dropped never came to the node. */
static void read_figures(struct cluster_link *link, struct cluster_figures *figures) {
    cluster_link_figures(link, figures);
    figures->node.dropped += figures->dropped;
}

/* ---- /metrics ---- */

static void begin_metric(struct buffer *text, const char *name, const char *type,
                         const char *help) {
    buffer_printf(text, "# HELP tidewire_cluster_%s %s.\n# TYPE tidewire_cluster_%s %s\n", name,
                  help, name, type);
}

static void begin_sample(struct buffer *text, const char *name,
                         const struct cluster_server *server) {
    buffer_printf(text, "tidewire_cluster_%s{server=", name);
    add_quoted(text, server->name);
    buffer_printf(text, "} ");
}

void admin_cluster_metrics(struct cluster_link *link, struct buffer *text) {
    struct cluster_figures figures;
    if (link == NULL)
        return;
    read_figures(link, &figures);
#define X(name, help)                                                                              \
    begin_metric(text, #name "_total", "counter", help);                                           \
    buffer_printf(text, "tidewire_cluster_" #name "_total %" PRIu64 "\n", figures.node.name);
    NODE_COUNTERS(X)
#undef X
#define X(name, help)                                                                              \
    begin_metric(text, #name, "gauge", help);                                                      \
    buffer_printf(text, "tidewire_cluster_" #name " %" PRIu64 "\n", figures.node.name);
    NODE_GAUGES(X)
#undef X
    for (int i = 0; i < NUMBERS; i++) {
        const struct number *number = &numbers[i];
        begin_metric(text, number->metric, number->type, number->help);
        for (unsigned server = 0; server < figures.servers; server++) {
            begin_sample(text, number->metric, &figures.server[server]);
            buffer_printf(text, "%" PRIu64 "\n", number->of(&figures.server[server]));
        }
    }
    begin_metric(text, "server_round_trip_seconds", "gauge",
                 "The round trip of the last PING to the Redis server");
    for (unsigned server = 0; server < figures.servers; server++) {
        begin_sample(text, "server_round_trip_seconds", &figures.server[server]);
        buffer_printf(text, "%.6f\n", (double)figures.server[server].round_trip_us / 1e6);
    }
}

/* ---- /stats ---- */

static void add_server(struct buffer *text, const struct cluster_server *server) {
    buffer_printf(text, "{\"server\":");
    add_quoted(text, server->name);
    for (int i = 0; i < NUMBERS; i++)
        buffer_printf(text, ",\"%s\":%" PRIu64, numbers[i].name, numbers[i].of(server));
    buffer_printf(text,
                  ",\"round_trip_seconds\":%.6f,\"version\":", (double)server->round_trip_us / 1e6);
    add_quoted(text, server->version);
    if (!server->is_up) {
        buffer_printf(text, ",\"why\":");
        add_quoted(text, server->why);
    }
    buffer_printf(text, "}");
}

static const char *state_of(const struct cluster_figures *figures) {
    return figures->node.servers_up == figures->servers ? "up" : "down";
}

void admin_cluster_json(struct cluster_link *link, struct buffer *text) {
    struct cluster_figures figures;
    if (link == NULL)
        return;
    read_figures(link, &figures);
    buffer_printf(text, "\"cluster\":\"%s\",", state_of(&figures));
#define X(name, help) buffer_printf(text, "\"cluster_" #name "\":%" PRIu64 ",", figures.node.name);
    NODE_COUNTERS(X)
    NODE_GAUGES(X)
#undef X
    buffer_printf(text, "\"cluster_servers\":[");
    for (unsigned server = 0; server < figures.servers; server++) {
        buffer_printf(text, "%s", server == 0 ? "" : ",");
        add_server(text, &figures.server[server]);
    }
    buffer_printf(text, "],");
}

const char *admin_cluster_state(struct cluster_link *link) {
    struct cluster_figures figures;
    if (link == NULL)
        return "";
    cluster_link_figures(link, &figures);
    return strcmp(state_of(&figures), "up") == 0 ? " cluster=up" : " cluster=down";
}

void admin_cluster_each(void *link, bus_figure_fn *add, void *context) {
    struct cluster_figures figures;
    read_figures(link, &figures);
#define X(name, help) add(context, #name, figures.node.name);
    NODE_COUNTERS(X)
    NODE_GAUGES(X)
#undef X
}
