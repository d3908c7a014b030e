/* cluster_link.c -- the link's thread. See cluster_link.h.
 *
 * A turn of its loop: events of sockets and timers, which call the node; then what workers have
 * done; then the end of the node's turn; then the commands are written. All of this stands in the
 * callback before the loop waits. Workers wake the loop when they push an item into an empty
 * queue. */
#include "cluster/link/cluster_link.h"

#include "base/log/log.h"
#include "base/mem.h"
#include "cluster/link/cluster_link_parts.h"
#include "cluster/node/partitions.h"

#include <stdio.h>
#include <string.h>

enum { FIGURES_MS = 500 };
/* The least limit on the bytes of items that wait for this thread. */
enum { BETWEEN_MIN = 16 * 1024 * 1024 };

/* What the main thread asks the link's thread for: bits. */
enum { ASK_STOP = 1, ASK_LEAVE = 2 };

struct cluster_link {
    struct bus *bus;
    char *prefix;
    uint64_t lease_ms;
    size_t backlog_max;
    struct redis_url urls[REDIS_SERVERS_MAX];
    unsigned count;
    void (*on_change)(void *user);
    void *user;

    uv_loop_t loop;
    uv_thread_t thread;
    uv_async_t wakeup; /* items, or something asked */
    uv_prepare_t prepare;
    uv_timer_t timer; /* of the node's next turn */
    bool has_thread;
    atomic_uint asked;
    atomic_uint tried;                   /* servers that have been up or down */
    atomic_uint leaves;                  /* calls of cluster_link_leave() */
    atomic_uint left;                    /* those that were done */
    unsigned leaving;                    /* those under way */
    uint64_t has_tried;                  /* bits: servers */
    uint64_t down_at[REDIS_SERVERS_MAX]; /* loop time of each outage; 0: the server is up */
    struct queue_memory memory;
    struct redis_servers *servers;
    struct node *node;

    uv_mutex_t lock; /* of the figures */
    struct cluster_figures figures;
    uint64_t figures_at; /* loop time */
};

/* ---- what servers report: first to the node ---- */

static void note_tried(struct cluster_link *link, unsigned server) {
    uint64_t bit = (uint64_t)1 << server;
    if (link->has_tried & bit)
        return;
    link->has_tried |= bit;
    atomic_fetch_add(&link->tried, 1);
    link->on_change(link->user);
}

static void log_up(struct cluster_link *link, unsigned server, const struct redis_facts *facts) {
    struct log_line line;
    log_begin(&line, LOG_INFO, "cluster_up");
    log_str(&line, "server", redis_servers_figures(link->servers, server).name);
    log_str(&line, "kind", facts->is_valkey ? "Valkey" : "Redis");
    log_str(&line, "version", facts->version);
    if (link->down_at[server] != 0)
        log_num(&line, "seconds", (double)(uv_now(&link->loop) - link->down_at[server]) / 1000);
    log_end(&line);
    link->down_at[server] = 0;
}

static void log_down(struct cluster_link *link, unsigned server, const char *why) {
    struct log_line line;
    log_begin(&line, LOG_WARN, "cluster_down");
    log_str(&line, "server", redis_servers_figures(link->servers, server).name);
    log_str(&line, "why", why);
    log_end(&line);
    link->down_at[server] = uv_now(&link->loop);
}

static void on_up(void *user, unsigned server, const struct redis_facts *facts) {
    struct cluster_link *link = user;
    struct redis_events events = node_events(link->node);
    log_up(link, server, facts);
    node_set_time(link->node, uv_now(&link->loop));
    events.up(events.user, server, facts);
    note_tried(link, server);
    link->figures_at = 0;
}

static void on_down(void *user, unsigned server, const char *why) {
    struct cluster_link *link = user;
    struct redis_events events = node_events(link->node);
    log_down(link, server, why);
    node_set_time(link->node, uv_now(&link->loop));
    events.down(events.user, server, why);
    note_tried(link, server);
    link->figures_at = 0;
}

static void on_subscribed(void *user, unsigned server, struct slice channel) {
    struct cluster_link *link = user;
    struct redis_events events = node_events(link->node);
    node_set_time(link->node, uv_now(&link->loop));
    events.subscribed(events.user, server, channel);
}

static void on_message(void *user, unsigned server, struct slice channel, struct slice payload) {
    struct cluster_link *link = user;
    struct redis_events events = node_events(link->node);
    node_set_time(link->node, uv_now(&link->loop));
    events.message(events.user, server, channel, payload);
}

/* ---- the turn ---- */

static void log_dropped(uint64_t count) {
    struct log_line line;
    log_begin(&line, LOG_WARN, "cluster_behind");
    log_int(&line, "lost", (int64_t)count);
    log_str(&line, "why",
            "limits.cluster_backlog is reached before the link's thread takes what "
            "workers publish: other machines miss the oldest messages");
    log_end(&line);
}

static void take_items(struct cluster_link *link) {
    uint64_t dropped;
    struct link_item *item = bus_take_items(link->bus, &dropped);
    if (dropped > 0) {
        log_dropped(dropped);
        uv_mutex_lock(&link->lock);
        link->figures.dropped += dropped;
        uv_mutex_unlock(&link->lock);
    }
    for (struct link_item *next; item != NULL; item = next) {
        next = item->next;
        node_take(link->node, item);
        link_item_free(item);
    }
}

static void copy_text(char *to, size_t size, const char *from) {
    snprintf(to, size, "%s", from == NULL ? "" : from);
}

static void note_figures(struct cluster_link *link) {
    uint64_t now = uv_now(&link->loop);
    if (link->figures_at != 0 && now < link->figures_at + FIGURES_MS)
        return;
    link->figures_at = now;
    uv_mutex_lock(&link->lock);
    node_figures(link->node, &link->figures.node);
    link->figures.servers = link->count;
    for (unsigned i = 0; i < link->count; i++) {
        struct cluster_server *server = &link->figures.server[i];
        struct redis_figures redis = redis_servers_figures(link->servers, i);
        server->is_up = redis.up;
        server->is_valkey = redis.is_valkey;
        server->round_trip_us = redis.round_trip_us;
        server->connects = redis.connects;
        server->queued = redis.queued;
        server->channels = redis.channels;
        copy_text(server->name, sizeof server->name, redis.name);
        copy_text(server->version, sizeof server->version, redis.version);
        copy_text(server->why, sizeof server->why, redis.why);
    }
    uv_mutex_unlock(&link->lock);
}

static void on_left(void *user) {
    struct cluster_link *link = user;
    atomic_store(&link->left, link->leaving);
    link->on_change(link->user);
}

static void do_asked(struct cluster_link *link) {
    unsigned asked = atomic_exchange(&link->asked, 0);
    if (asked & ASK_STOP)
        uv_stop(&link->loop);
    if (asked & ASK_LEAVE) {
        link->leaving = atomic_load(&link->leaves);
        node_leave(link->node, on_left, link);
    }
}

static void on_timer(uv_timer_t *timer) {
    (void)timer; /* on_prepare() */
}

static void on_wakeup(uv_async_t *wakeup) {
    (void)wakeup; /* the same */
}

static void on_prepare(uv_prepare_t *prepare) {
    struct cluster_link *link = prepare->data;
    uint64_t now = uv_now(&link->loop);
    node_set_time(link->node, now);
    take_items(link);
    do_asked(link);
    node_turn(link->node, now);
    redis_servers_write(link->servers);
    note_figures(link);
    uint64_t next = node_next_ms(link->node);
    if (next == UINT64_MAX)
        uv_timer_stop(&link->timer);
    else
        uv_timer_start(&link->timer, on_timer, next > now ? next - now : 0, 0);
}

/* ---- life ---- */

static void never_over(void *user) {
    (void)user;
}

static void run(void *argument) {
    struct cluster_link *link = argument;
    const struct redis_events events = {on_up, on_down, on_subscribed, on_message, link};
    link->memory = (struct queue_memory){
        .bytes = bus_link_backlog(link->bus), .quota = INT64_MAX, .look = never_over};
    queue_memory_begin(&link->memory);
    uv_update_time(&link->loop);
    redis_servers_start(link->servers, &events);
    uv_run(&link->loop, UV_RUN_DEFAULT);
    queue_memory_begin(NULL);
}

static void wake(void *user) {
    struct cluster_link *link = user;
    uv_async_send(&link->wakeup);
}

struct cluster_link *cluster_link_new(const struct cluster_link_options *options) {
    struct cluster_link *link = mem_zalloc(sizeof *link);
    link->bus = options->bus;
    link->prefix = mem_strdup(options->prefix);
    link->backlog_max = options->backlog_max;
    link->lease_ms = options->lease_ms;
    bus_set_remote_max(link->bus, options->members_max);
    link->count = options->count;
    for (unsigned i = 0; i < options->count; i++)
        link->urls[i] = redis_url_copy(&options->urls[i]);
    link->on_change = options->on_change;
    link->user = options->user;
    uv_mutex_init(&link->lock);
    uv_loop_init(&link->loop);
    return link;
}

uv_loop_t *cluster_link_loop(struct cluster_link *link) {
    return &link->loop;
}

static unsigned server_of(struct slice room, unsigned servers) {
    return partitions_server(partitions_of(room), servers);
}

bool cluster_link_start(struct cluster_link *link, const struct cosocket_functions *sockets,
                        int (*start)(uv_thread_t *thread, uv_thread_cb run, void *argument)) {
    char id[CONN_ID_LEN + 1], name[sizeof "tidewire-" + CONN_ID_LEN];
    conn_id_format(id, 0);
    id[CONN_ID_NODE_LEN] = '\0';
    snprintf(name, sizeof name, "tidewire-%s", id);
    uv_async_init(&link->loop, &link->wakeup, on_wakeup);
    uv_prepare_init(&link->loop, &link->prepare);
    link->prepare.data = link;
    uv_prepare_start(&link->prepare, on_prepare);
    uv_timer_init(&link->loop, &link->timer);
    link->servers = redis_servers_new(&(struct redis_servers_options){
        .loop = &link->loop,
        .sockets = *sockets,
        .urls = link->urls,
        .count = link->count,
        .client_name = name,
        .prefix = link->prefix,
    });
    const struct redis_functions redis = redis_servers_functions(link->servers);
    const struct node_bus bus = cluster_link_bus(link->bus);
    const struct node_options options = {
        .id = slice_of(id),
        .prefix = slice_of(link->prefix),
        .backlog_max = link->backlog_max,
        .lease_ms = link->lease_ms,
    };
    /* A small limit drops the oldest messages of the node, not those on their way to it. */
    size_t between = link->backlog_max < BETWEEN_MIN ? BETWEEN_MIN : link->backlog_max;
    bus_open_link(link->bus, between, link->count, server_of, wake, link);
    link->node = node_new(&options, &redis, &bus, uv_now(&link->loop));
    note_figures(link);
    link->has_thread = start(&link->thread, run, link) == 0;
    return link->has_thread;
}

bool cluster_link_has_tried(const struct cluster_link *link) {
    return atomic_load(&link->tried) == link->count;
}

static void ask(struct cluster_link *link, unsigned what) {
    atomic_fetch_or(&link->asked, what);
    uv_async_send(&link->wakeup);
}

void cluster_link_leave(struct cluster_link *link) {
    atomic_fetch_add(&link->leaves, 1);
    ask(link, ASK_LEAVE);
}

bool cluster_link_has_left(const struct cluster_link *link) {
    return atomic_load(&link->left) == atomic_load(&link->leaves);
}

void cluster_link_stop(struct cluster_link *link) {
    bus_close_link(link->bus);
    ask(link, ASK_STOP);
    if (link->has_thread)
        uv_thread_join(&link->thread);
    redis_servers_stop(link->servers);
    node_free(link->node);
    uv_close((uv_handle_t *)&link->wakeup, NULL);
    uv_close((uv_handle_t *)&link->prepare, NULL);
    uv_close((uv_handle_t *)&link->timer, NULL);
}

void cluster_link_free(struct cluster_link *link) {
    if (link == NULL)
        return;
    redis_servers_free(link->servers);
    uv_loop_close(&link->loop);
    uv_mutex_destroy(&link->lock);
    for (unsigned i = 0; i < link->count; i++)
        redis_url_close(&link->urls[i]);
    mem_free(link->prefix);
    mem_free(link);
}

void cluster_link_figures(struct cluster_link *link, struct cluster_figures *out) {
    uv_mutex_lock(&link->lock);
    *out = link->figures;
    uv_mutex_unlock(&link->lock);
}
