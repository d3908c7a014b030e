/* redis_server.c -- one Redis server. See redis_server.h.
 *
 * Both connections live and end together: while one of them is lost, the server is down, so its
 * user has one state to think about. */
#include "cluster/redis/redis_server.h"

#include "base/log/log.h"
#include "base/mem.h"
#include "cluster/redis/redis_channels.h"
#include "cluster/redis/redis_connection.h"
#include "cluster/redis/redis_info.h"
#include "cluster/redis/redis_scripts.h"

#include <stdio.h>
#include <stdlib.h>

enum { ARGUMENTS_ON_STACK = 64, SHA_LEN = 40 };

/* One of the two connections, which learns on which server it is. */
struct half {
    struct redis_server *server;
    struct redis_connection *connection;
    char run_id[64];
    bool ready;
};

struct redis_server {
    struct redis_shared *shared;
    unsigned number;
    struct redis_url url;
    struct half commands, subscriptions;
    struct redis_channels channels;
    char shas[REDIS_SCRIPTS][SHA_LEN + 1];
    enum redis_script loading; /* whose answer comes next */
    struct redis_facts facts;
    char replication_id[64];                       /* of the connection under way */
    char last_run_id[64], last_replication_id[64]; /* of the last time that it was up; "": never */
    bool up, told_down, stopped;
    unsigned attempts; /* since it was last up for long */
    uint64_t connects;
    uint64_t retry_ms, up_ms, role_ms; /* when to connect; since when it is up; when to ask */
    uint64_t now_ms;                   /* of the turn */
    char why[512];                     /* it is not up */
};

static void fail(struct half *half, const char *why) {
    redis_connection_fail(half->connection, "%s", why);
}

/* Is the reply of that type? Otherwise the connection fails. NULL: it has failed already. */
static bool expect(struct half *half, const struct redisReply *reply, int type,
                   const char *command) {
    if (reply == NULL || reply->type == type)
        return reply != NULL;
    struct slice text = redis_reply_text(reply);
    if (reply->type == REDIS_REPLY_ERROR)
        redis_connection_fail(half->connection, "it refuses %s: %.*s", command,
                              (int)(text.len < 200 ? text.len : 200), text.bytes);
    else
        redis_connection_fail(half->connection, "its answer to %s is malformed: is it Redis?",
                              command);
    return false;
}

/* ---- the handshake ---- */

static void on_server_info(void *context, const struct redisReply *reply) {
    struct half *half = context;
    struct redis_server *server = half->server;
    if (!expect(half, reply, REDIS_REPLY_STRING, "INFO server"))
        return;
    struct slice info = redis_reply_text(reply);
    redis_info_copy(info, "run_id", half->run_id, sizeof half->run_id);
    if (half == &server->commands)
        redis_info_server(info, &server->facts);
    else
        half->ready = true;
    struct slice version = redis_info_field(info, "redis_version");
    if (redis_info_is_old(info))
        redis_connection_fail(half->connection,
                              "it is version %.*s: Redis or Valkey 7.0 or later is needed",
                              (int)(version.len < 32 ? version.len : 32), version.bytes);
}

static void on_replication_info(void *context, const struct redisReply *reply) {
    struct half *half = context;
    struct redis_server *server = half->server;
    if (!expect(half, reply, REDIS_REPLY_STRING, "INFO replication"))
        return;
    struct slice info = redis_reply_text(reply);
    if (slice_is(redis_info_field(info, "role"), "master")) {
        redis_info_copy(info, "master_replid", server->replication_id,
                        sizeof server->replication_id);
        return;
    }
    struct slice host = redis_info_field(info, "master_host");
    struct slice port = redis_info_field(info, "master_port");
    redis_connection_fail(half->connection,
                          "it is a replica of %.*s:%.*s: name the master in the URL",
                          (int)(host.len < 200 ? host.len : 200), host.bytes,
                          (int)(port.len < 8 ? port.len : 8), port.bytes);
}

/* The last answer of the handshake. */
static void on_time(void *context, const struct redisReply *reply) {
    struct half *half = context;
    if (!expect(half, reply, REDIS_REPLY_ARRAY, "TIME"))
        return;
    half->ready = true;
    half->server->facts.time_ms = atoll(redis_reply_text(redis_reply_at(reply, 0)).bytes) * 1000 +
                                  atoll(redis_reply_text(redis_reply_at(reply, 1)).bytes) / 1000;
}

static void on_probe(void *context, const struct redisReply *reply) {
    expect(context, reply, REDIS_REPLY_STATUS, "SET");
}

/* Skips scripts that the binary has not. */
static void skip_missing_scripts(struct redis_server *server) {
    while (server->loading < REDIS_SCRIPTS && redis_scripts_text(server->loading).len == 0)
        server->loading++;
}

static void on_script(void *context, const struct redisReply *reply) {
    struct half *half = context;
    struct redis_server *server = half->server;
    if (reply == NULL)
        return;
    skip_missing_scripts(server);
    enum redis_script script = server->loading++;
    struct slice sha = redis_reply_text(reply);
    if (reply->type == REDIS_REPLY_STRING && sha.len == SHA_LEN)
        memcpy(server->shas[script], sha.bytes, sha.len);
    else
        redis_connection_fail(half->connection, "it does not load the script %s: %.*s",
                              redis_scripts_name(script), (int)(sha.len < 300 ? sha.len : 300),
                              sha.bytes);
}

static void load_scripts(void *owner) {
    struct half *half = owner;
    half->server->loading = 0;
    for (int script = 0; script < REDIS_SCRIPTS; script++) {
        struct slice argv[] = {slice_of("SCRIPT"), slice_of("LOAD"),
                               redis_scripts_text((enum redis_script)script)};
        if (argv[2].len > 0)
            redis_connection_command(half->connection, 3, argv, on_script, half);
    }
}

/* All in one write: the first that is refused ends the connection. */
static void on_opened(void *owner) {
    struct half *half = owner;
    struct redis_server *server = half->server;
    struct redis_connection *connection = half->connection;
    redis_connection_hello(connection, server->shared->client_name);
    redis_connection_send(connection, on_server_info, half, "INFO", "server", NULL);
    if (half == &server->subscriptions) {
        redis_connection_subscribes(connection);
        return;
    }
    redis_connection_send(connection, on_replication_info, half, "INFO", "replication", NULL);
    /* A server whose memory is full or whose disk has failed says so here. */
    redis_connection_send(connection, on_probe, half, "SET", server->shared->probe_key, "", "PX",
                          "1000", NULL);
    load_scripts(half);
    redis_connection_send(connection, on_time, half, "TIME", NULL);
}

/* ---- messages ---- */

static void on_message(void *owner, const struct redisReply *reply) {
    struct half *half = owner;
    struct redis_server *server = half->server;
    const struct redis_events *events = &server->shared->events;
    struct slice kind = redis_reply_text(redis_reply_at(reply, 0));
    struct slice channel = redis_reply_text(redis_reply_at(reply, 1));
    if (slice_is(kind, "smessage"))
        events->message(events->user, server->number, channel,
                        redis_reply_text(redis_reply_at(reply, 2)));
    else if (slice_is(kind, "sunsubscribe") && !redis_channels_unsubscribed(&server->channels))
        fail(half, "it has ended a subscription: it is one server of a Redis Cluster");
    else if (slice_is(kind, "ssubscribe") && redis_channels_subscribed(&server->channels, channel))
        events->subscribed(events->user, server->number, channel);
}

static void on_turn_wanted(void *owner) {
    struct redis_shared *shared = ((struct half *)owner)->server->shared;
    shared->turn_wanted(shared->owner);
}

/* ---- up and down ---- */

static const struct redis_connection_events connection_events = {
    .turn_wanted = on_turn_wanted,
    .opened = on_opened,
    .message = on_message,
    .load_scripts = load_scripts,
};

static void connect_half(struct half *half) {
    struct redis_shared *shared = half->server->shared;
    half->ready = false;
    half->connection = redis_connection_new(shared->loop, &shared->sockets, &half->server->url,
                                            &connection_events, half);
}

static void begin(struct redis_server *server) {
    memset(server->shas, 0, sizeof server->shas);
    server->facts = (struct redis_facts){.time_ms = 0};
    connect_half(&server->commands);
    connect_half(&server->subscriptions);
}

/* Somewhere between the half and the whole: machines that have lost the same server do not all
 * come back at once. */
static uint64_t jitter(struct redis_shared *shared, uint64_t ms) {
    shared->random = shared->random * 6364136223846793005u + 1442695040888963407u;
    return ms / 2 + (shared->random >> 33) % (ms / 2 + 1);
}

static uint64_t retry_delay(const struct redis_server *server) {
    uint64_t ms = REDIS_RETRY_MIN_MS;
    for (unsigned i = 0; i < server->attempts && ms < REDIS_RETRY_MAX_MS; i++)
        ms *= 2;
    return jitter(server->shared, ms < REDIS_RETRY_MAX_MS ? ms : REDIS_RETRY_MAX_MS);
}

static void close_halves(struct redis_server *server) {
    struct redis_connection *commands = server->commands.connection;
    struct redis_connection *subscriptions = server->subscriptions.connection;
    server->commands.connection = server->subscriptions.connection = NULL;
    redis_connection_free(commands);
    redis_connection_free(subscriptions);
}

/* The first reason of an outage goes to the owner, others only to the log. */
static void tell_down(struct redis_server *server, const char *why) {
    const struct redis_events *events = &server->shared->events;
    bool is_new = strcmp(server->why, why) != 0;
    snprintf(server->why, sizeof server->why, "%s", why);
    if (!server->told_down) {
        server->told_down = true;
        events->down(events->user, server->number, server->why);
    } else if (is_new) {
        struct log_line line;
        log_begin(&line, LOG_WARN, "cluster_retry");
        log_str(&line, "server", server->url.name);
        log_str(&line, "why", server->why);
        log_end(&line);
    }
}

static void go_down(struct redis_server *server) {
    const struct half *failed = redis_connection_failed(server->commands.connection)
                                    ? &server->commands
                                    : &server->subscriptions;
    if (server->up && server->now_ms - server->up_ms >= REDIS_STABLE_MS)
        server->attempts = 0;
    server->retry_ms = server->now_ms + retry_delay(server);
    server->attempts++;
    server->up = false;
    redis_channels_lost(&server->channels);
    tell_down(server, redis_connection_why(failed->connection));
    close_halves(server);
}

static void go_up(struct redis_server *server) {
    const struct redis_events *events = &server->shared->events;
    struct redis_facts *facts = &server->facts;
    facts->same_run = strcmp(server->last_run_id, facts->run_id) == 0 &&
                      strcmp(server->last_replication_id, server->replication_id) == 0;
    snprintf(server->last_run_id, sizeof server->last_run_id, "%s", facts->run_id);
    snprintf(server->last_replication_id, sizeof server->last_replication_id, "%s",
             server->replication_id);
    server->up = true;
    server->told_down = false;
    server->why[0] = '\0';
    server->connects++;
    server->up_ms = server->now_ms;
    server->role_ms = server->now_ms + REDIS_ROLE_MS;
    events->up(events->user, server->number, facts);
}

static void advance(struct redis_server *server) {
    struct half *commands = &server->commands, *subscriptions = &server->subscriptions;
    if (server->up) {
        if (server->now_ms < server->role_ms)
            return;
        server->role_ms = server->now_ms + REDIS_ROLE_MS;
        redis_connection_send(commands->connection, on_replication_info, commands, "INFO",
                              "replication", NULL);
    } else if (commands->ready && subscriptions->ready) {
        if (strcmp(commands->run_id, subscriptions->run_id) != 0)
            fail(commands, "its address leads to several servers: name each of them in `cluster`");
        else if (redis_channels_settled(&server->channels))
            go_up(server);
    }
}

uint64_t redis_server_turn(struct redis_server *server, uint64_t now_ms) {
    server->now_ms = now_ms;
    if (server->stopped)
        return UINT64_MAX;
    if (server->commands.connection == NULL) {
        if (now_ms < server->retry_ms)
            return server->retry_ms;
        begin(server);
    }
    bool good = redis_connection_turn(server->commands.connection, now_ms) &&
                redis_connection_turn(server->subscriptions.connection, now_ms);
    if (good)
        advance(server);
    if (!good || redis_connection_failed(server->commands.connection) ||
        redis_connection_failed(server->subscriptions.connection)) {
        go_down(server);
        return server->retry_ms;
    }
    return now_ms + REDIS_PING_MS / 2;
}

void redis_server_write(struct redis_server *server) {
    struct redis_connection *subscriptions = server->subscriptions.connection;
    if (server->commands.connection == NULL)
        return;
    if (server->subscriptions.ready)
        redis_channels_send(&server->channels, subscriptions);
    redis_connection_write(server->commands.connection);
    redis_connection_write(subscriptions);
}

/* ---- for the node ---- */

static void on_unwanted(void *context, const struct redisReply *reply) {
    (void)context, (void)reply;
}

bool redis_server_command(struct redis_server *server, unsigned argc, const struct slice *argv,
                          redis_reply_fn *on_reply, void *context) {
    if (!server->up || redis_connection_failed(server->commands.connection))
        return false;
    redis_connection_command(server->commands.connection, argc, argv,
                             on_reply == NULL ? on_unwanted : on_reply, context);
    return true;
}

bool redis_server_call(struct redis_server *server, enum redis_script script, struct slice key,
                       unsigned argc, const struct slice *argv, redis_reply_fn *on_reply,
                       void *context) {
    struct slice few[ARGUMENTS_ON_STACK + 4], *all = few;
    if (server->shas[script][0] == '\0')
        return false;
    if (argc > ARGUMENTS_ON_STACK)
        all = mem_alloc((argc + 4) * sizeof *all);
    all[0] = slice_of("EVALSHA");
    all[1] = (struct slice){server->shas[script], SHA_LEN};
    all[2] = slice_of("1");
    all[3] = key;
    if (argc > 0)
        memcpy(all + 4, argv, argc * sizeof *argv);
    bool sent = redis_server_command(server, argc + 4, all, on_reply, context);
    if (all != few)
        mem_free(all);
    return sent;
}

void redis_server_subscribe(struct redis_server *server, struct slice channel) {
    redis_channels_add(&server->channels, channel);
}

void redis_server_unsubscribe(struct redis_server *server, struct slice channel) {
    redis_channels_remove(&server->channels, channel);
}

struct redis_figures redis_server_figures(const struct redis_server *server) {
    const struct redis_connection *commands = server->commands.connection;
    return (struct redis_figures){
        .up = server->up,
        .round_trip_us = commands == NULL ? 0 : redis_connection_round_trip_us(commands),
        .queued = commands == NULL ? 0 : redis_connection_queued(commands),
        .channels = server->channels.table.count,
        .connects = server->connects,
        .name = server->url.name,
        .version = server->facts.version,
        .why = server->why,
        .is_valkey = server->facts.is_valkey,
    };
}

/* ---- life ---- */

struct redis_server *redis_server_new(struct redis_shared *shared, unsigned number,
                                      const struct redis_url *url) {
    struct redis_server *server = mem_zalloc(sizeof *server);
    server->shared = shared;
    server->number = number;
    server->url = redis_url_copy(url);
    server->commands.server = server->subscriptions.server = server;
    redis_channels_init(&server->channels);
    return server;
}

void redis_server_stop(struct redis_server *server) {
    server->stopped = true;
    server->up = false;
    close_halves(server);
}

void redis_server_free(struct redis_server *server) {
    redis_channels_close(&server->channels);
    redis_url_close(&server->url);
    mem_free(server);
}
