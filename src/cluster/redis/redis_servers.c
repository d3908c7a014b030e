/* redis_servers.c -- the Redis servers of a cluster. See redis_servers.h. */
#include "cluster/redis/redis_servers.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/siphash.h"

/* A command to a server that is not up: its function is called with NULL, later. */
struct lost {
    redis_reply_fn *on_reply;
    void *context;
};

struct redis_servers {
    struct redis_shared shared;
    struct redis_server **servers;
    unsigned count;
    uv_check_t check; /* behind the events of a turn */
    uv_idle_t idle;   /* started: the loop does not wait before the check */
    uv_timer_t timer;
    uint64_t timer_ms; /* when it fires; 0: it does not */
    bool wanted, stopped;
    struct buffer lost;
};

/* ---- turns ---- */

static void on_idle(uv_idle_t *idle) {
    (void)idle; /* the check does the work */
}

static void want_turn(void *owner) {
    struct redis_servers *servers = owner;
    if (!servers->wanted && !servers->stopped)
        uv_idle_start(&servers->idle, on_idle);
    servers->wanted = true;
}

static void report_lost(struct redis_servers *servers) {
    struct buffer lost = servers->lost;
    servers->lost = (struct buffer){0};
    for (size_t at = 0; at < lost.len; at += sizeof(struct lost)) {
        struct lost one;
        memcpy(&one, buffer_start(&lost) + at, sizeof one);
        one.on_reply(one.context, NULL);
    }
    buffer_free(&lost);
}

static void on_timer(uv_timer_t *timer);

static void turn(struct redis_servers *servers) {
    uint64_t now = clock_monotonic_ms(), next = UINT64_MAX;
    if (servers->wanted)
        uv_idle_stop(&servers->idle);
    servers->wanted = false;
    report_lost(servers);
    for (unsigned i = 0; i < servers->count && !servers->stopped; i++) {
        uint64_t due = redis_server_turn(servers->servers[i], now);
        next = due < next ? due : next;
    }
    if (servers->stopped || next == UINT64_MAX ||
        (servers->timer_ms != 0 && servers->timer_ms <= next))
        return;
    servers->timer_ms = next;
    uv_update_time(servers->shared.loop);
    uv_timer_start(&servers->timer, on_timer, next > now ? next - now : 0, 0);
}

static void on_timer(uv_timer_t *timer) {
    struct redis_servers *servers = timer->data;
    servers->timer_ms = 0;
    turn(servers);
}

static void on_check(uv_check_t *check) {
    struct redis_servers *servers = check->data;
    if (servers->wanted)
        turn(servers);
}

void redis_servers_write(struct redis_servers *servers) {
    for (unsigned i = 0; i < servers->count && !servers->stopped; i++)
        redis_server_write(servers->servers[i]);
}

/* ---- the functions for the node ---- */

static void lose(struct redis_servers *servers, redis_reply_fn *on_reply, void *context) {
    if (on_reply == NULL)
        return;
    buffer_add(&servers->lost, &(struct lost){on_reply, context}, sizeof(struct lost));
    want_turn(servers);
}

static void command(void *user, unsigned server, unsigned argc, const struct slice *argv,
                    redis_reply_fn *on_reply, void *context) {
    struct redis_servers *servers = user;
    if (!redis_server_command(servers->servers[server], argc, argv, on_reply, context))
        lose(servers, on_reply, context);
}

static void call(void *user, unsigned server, enum redis_script script, struct slice key,
                 unsigned argc, const struct slice *argv, redis_reply_fn *on_reply, void *context) {
    struct redis_servers *servers = user;
    if (!redis_server_call(servers->servers[server], script, key, argc, argv, on_reply, context))
        lose(servers, on_reply, context);
}

static void subscribe(void *user, unsigned server, struct slice channel) {
    struct redis_servers *servers = user;
    redis_server_subscribe(servers->servers[server], channel);
}

static void unsubscribe(void *user, unsigned server, struct slice channel) {
    struct redis_servers *servers = user;
    redis_server_unsubscribe(servers->servers[server], channel);
}

struct redis_functions redis_servers_functions(struct redis_servers *servers) {
    return (struct redis_functions){
        .count = servers->count,
        .command = command,
        .call = call,
        .subscribe = subscribe,
        .unsubscribe = unsubscribe,
        .user = servers,
    };
}

struct redis_figures redis_servers_figures(const struct redis_servers *servers, unsigned server) {
    return redis_server_figures(servers->servers[server]);
}

/* ---- life ---- */

struct redis_servers *redis_servers_new(const struct redis_servers_options *options) {
    struct redis_servers *servers = mem_zalloc(sizeof *servers);
    struct redis_shared *shared = &servers->shared;
    uint64_t random[2];
    siphash_draw_key(random);
    shared->loop = options->loop;
    shared->sockets = options->sockets;
    shared->client_name = mem_strdup(options->client_name);
    shared->probe_key = mem_concat(options->prefix, ":probe");
    shared->random = random[0];
    shared->turn_wanted = want_turn;
    shared->owner = servers;
    servers->count = options->count;
    servers->servers = mem_alloc(options->count * sizeof(struct redis_server *));
    for (unsigned i = 0; i < options->count; i++)
        servers->servers[i] = redis_server_new(shared, i, &options->urls[i]);
    uv_check_init(options->loop, &servers->check);
    uv_idle_init(options->loop, &servers->idle);
    uv_timer_init(options->loop, &servers->timer);
    servers->check.data = servers->timer.data = servers;
    return servers;
}

void redis_servers_start(struct redis_servers *servers, const struct redis_events *events) {
    servers->shared.events = *events;
    uv_check_start(&servers->check, on_check);
    uv_unref((uv_handle_t *)&servers->check);
    want_turn(servers);
}

void redis_servers_stop(struct redis_servers *servers) {
    if (servers->stopped)
        return;
    servers->stopped = true;
    for (unsigned i = 0; i < servers->count; i++)
        redis_server_stop(servers->servers[i]);
    while (servers->lost.len > 0)
        report_lost(servers);
    uv_close((uv_handle_t *)&servers->check, NULL);
    uv_close((uv_handle_t *)&servers->idle, NULL);
    uv_close((uv_handle_t *)&servers->timer, NULL);
}

void redis_servers_free(struct redis_servers *servers) {
    if (servers == NULL)
        return;
    for (unsigned i = 0; i < servers->count; i++)
        redis_server_free(servers->servers[i]);
    mem_free(servers->servers);
    mem_free(servers->shared.client_name);
    mem_free(servers->shared.probe_key);
    mem_free(servers);
}
