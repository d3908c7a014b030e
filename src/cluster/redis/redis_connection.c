/* redis_connection.c -- one connection to a Redis server. See redis_connection.h. */
#include "cluster/redis/redis_connection.h"

#include "base/clock.h"
#include "base/mem.h"
#include "cluster/redis/redis_pipeline.h"
#include "cluster/redis/redis_problem.h"
#include "cluster/redis/redis_socket.h"

#include <stdarg.h>
#include <stdio.h>

enum { ARGUMENTS_MAX = 8 }; /* of redis_connection_send() */

struct redis_connection {
    const struct redis_url *url;
    const struct redis_connection_events *events;
    void *owner;
    struct redis_socket *socket;
    struct redis_reader *reader;
    struct redis_pipeline pipeline;
    bool is_open, has_received, has_failed;
    bool subscribes;      /* messages come between the answers */
    bool tolerates;       /* no error of Redis ends the connection */
    uint64_t received_ms; /* when bytes last came, or the wait for an answer began */
    uint64_t ping_at_ms, pinged_ns;
    unsigned pings; /* that were not answered */
    uint64_t round_trip_us;
    uint64_t now_ms; /* of the turn */
    char why[512];
};

/* ---- failing ---- */

void redis_connection_fail(struct redis_connection *connection, const char *format, ...) {
    va_list arguments;
    if (connection->has_failed)
        return;
    connection->has_failed = true;
    va_start(arguments, format);
    vsnprintf(connection->why, sizeof connection->why, format, arguments);
    va_end(arguments);
    connection->events->turn_wanted(connection->owner);
}

bool redis_connection_failed(const struct redis_connection *connection) {
    return connection->has_failed;
}

const char *redis_connection_why(const struct redis_connection *connection) {
    return connection->why;
}

/* ---- out ---- */

void redis_connection_command(struct redis_connection *connection, unsigned argc,
                              const struct slice *argv, redis_reply_fn *on_reply, void *context) {
    if (!redis_pipeline_waits(&connection->pipeline))
        connection->received_ms = clock_monotonic_ms();
    redis_pipeline_add(&connection->pipeline, argc, argv, on_reply, context);
    if (connection->pipeline.bytes.len > REDIS_QUEUE_BYTES)
        redis_connection_fail(connection, "it takes the commands too slowly: %zu bytes wait",
                              connection->pipeline.bytes.len);
}

void redis_connection_send(struct redis_connection *connection, redis_reply_fn *on_reply,
                           void *context, ...) {
    struct slice argv[ARGUMENTS_MAX];
    unsigned argc = 0;
    va_list arguments;
    va_start(arguments, context);
    for (const char *text;
         (text = va_arg(arguments, const char *)) != NULL && argc < ARGUMENTS_MAX;)
        argv[argc++] = slice_of(text);
    va_end(arguments);
    redis_connection_command(connection, argc, argv, on_reply, context);
}

static void fail_closed(struct redis_connection *connection);

bool redis_connection_write(struct redis_connection *connection) {
    size_t sent;
    if (connection->has_failed)
        return false;
    enum redis_socket_state state =
        redis_socket_write(connection->socket, redis_pipeline_unsent(&connection->pipeline), &sent);
    redis_pipeline_wrote(&connection->pipeline, sent);
    if (state == REDIS_SOCKET_CLOSED)
        fail_closed(connection);
    return !connection->has_failed;
}

size_t redis_connection_queued(const struct redis_connection *connection) {
    return connection->pipeline.bytes.len;
}

/* ---- in ---- */

/* For a command that may be refused. */
static void on_ignored(void *context, const struct redisReply *reply) {
    (void)context, (void)reply;
}

/* Is it no answer to a command? */
static bool is_message(const struct redis_connection *connection, const struct redisReply *reply) {
    struct slice kind = redis_reply_text(redis_reply_at(reply, 0));
    return connection->subscribes && reply->type == REDIS_REPLY_ARRAY &&
           (slice_is(kind, "smessage") || slice_is(kind, "ssubscribe") ||
            slice_is(kind, "sunsubscribe"));
}

/* An error in place of messages, or bytes of a server that is no Redis. */
static void take_unasked(struct redis_connection *connection, const struct redisReply *reply) {
    struct slice text = redis_reply_text(reply);
    char sentence[400];
    if (reply->type == REDIS_REPLY_ERROR && connection->tolerates)
        connection->events->message(connection->owner, reply);
    else if (reply->type == REDIS_REPLY_ERROR && redis_problem_of(text, sentence, sizeof sentence))
        redis_connection_fail(connection, "%s", sentence);
    else
        redis_connection_fail(connection, "it answers a command that was not sent (%.*s)",
                              (int)(text.len < 100 ? text.len : 100), text.bytes);
}

/* A script is called that Redis has not: it was not executed. */
static bool is_noscript(struct slice error) {
    return error.len >= 8 && memcmp(error.bytes, "NOSCRIPT", 8) == 0;
}

/* An error that says that this server cannot be used ends the connection: its owner must know. */
static bool take_reply(void *context, const struct redisReply *reply) {
    struct redis_connection *connection = context;
    struct redis_pipeline *pipeline = &connection->pipeline;
    struct slice error = {"", 0};
    char sentence[400];
    if (is_message(connection, reply)) {
        connection->events->message(connection->owner, reply);
        return !connection->has_failed;
    }
    struct redis_awaited awaited = redis_pipeline_first(pipeline);
    if (reply->type == REDIS_REPLY_ERROR && awaited.on_reply != on_ignored &&
        !connection->tolerates)
        error = redis_reply_text(reply);
    if (awaited.on_reply == NULL) {
        take_unasked(connection, reply);
    } else if (is_noscript(error) && redis_pipeline_repeat(pipeline)) {
        /* when the answers to those before it have come */
    } else if (error.len > 0 && redis_problem_of(error, sentence, sizeof sentence)) {
        redis_connection_fail(connection, "%s", sentence); /* its function is called at the end */
    } else {
        redis_pipeline_answered(pipeline);
        awaited.on_reply(awaited.context, reply);
    }
    if (redis_pipeline_may_repeat(pipeline) && !connection->has_failed)
        redis_pipeline_send_again(pipeline, connection->events->load_scripts, connection->owner);
    return !connection->has_failed;
}

static bool take_bytes(void *owner, struct slice bytes) {
    struct redis_connection *connection = owner;
    connection->received_ms = connection->now_ms;
    connection->has_received = true;
    const char *fault = redis_reader_feed(connection->reader, bytes, take_reply, connection);
    if (fault != NULL)
        redis_connection_fail(connection, "%s: is it Redis?", fault);
    return !connection->has_failed;
}

/* ---- does it answer? ---- */

static void on_pong(void *context, const struct redisReply *reply) {
    struct redis_connection *connection = context;
    if (reply == NULL)
        return;
    connection->pings--;
    connection->round_trip_us = (clock_monotonic_ns() - connection->pinged_ns) / 1000;
}

static void ping(struct redis_connection *connection, uint64_t now_ms) {
    if (connection->pings > 0 || now_ms < connection->ping_at_ms)
        return;
    connection->ping_at_ms = now_ms + REDIS_PING_MS;
    connection->pinged_ns = clock_monotonic_ns();
    connection->pings++;
    redis_connection_send(connection, on_pong, connection, "PING", NULL);
}

static unsigned timeout_of(const struct redis_connection *connection) {
    unsigned ms = connection->url->timeout_ms;
    return ms == 0 ? REDIS_SILENCE_MS : ms;
}

/* The connection was ended by Redis, or never was. */
static void fail_closed(struct redis_connection *connection) {
    const char *why = redis_socket_why(connection->socket), *hint = "";
    if (connection->is_open && !connection->has_received && !connection->url->tls)
        hint = "; does it expect TLS (rediss://)?";
    else if (connection->subscribes && connection->has_received)
        hint = "; was this machine too slow for its client-output-buffer-limit pubsub?";
    redis_connection_fail(connection, "%s%s", why, hint);
}

/* Is it silent although it has something to answer? */
static bool is_silent(const struct redis_connection *connection) {
    /* A command of this turn may have begun the wait after `now_ms`. */
    return connection->now_ms >= connection->received_ms + timeout_of(connection) &&
           (redis_pipeline_waits(&connection->pipeline) || connection->pipeline.bytes.len > 0);
}

bool redis_connection_turn(struct redis_connection *connection, uint64_t now_ms) {
    if (connection->has_failed)
        return false;
    connection->now_ms = now_ms;
    /* This machine may have been stopped itself: what has come meanwhile is read first. */
    bool look = connection->is_open && is_silent(connection);
    enum redis_socket_state state =
        redis_socket_turn(connection->socket, look, take_bytes, connection);
    if (connection->has_failed)
        return false;
    if (state == REDIS_SOCKET_CLOSED) {
        fail_closed(connection);
    } else if (state == REDIS_SOCKET_OPEN && !connection->is_open) {
        connection->is_open = true;
        connection->received_ms = now_ms;
        connection->ping_at_ms = now_ms + REDIS_PING_MS;
        connection->events->opened(connection->owner);
    } else if (state == REDIS_SOCKET_OPEN && is_silent(connection)) {
        redis_connection_fail(connection,
                              "it has answered nothing for %g s: it is frozen, or busy with a slow "
                              "command (SLOWLOG GET), or the network is cut",
                              timeout_of(connection) / 1000.0);
    } else if (state == REDIS_SOCKET_OPEN) {
        ping(connection, now_ms);
    }
    return !connection->has_failed;
}

/* ---- the handshake ---- */

static void on_required(void *context, const struct redisReply *reply) {
    if (redis_reply_is(reply, REDIS_REPLY_ERROR))
        redis_connection_fail(context, "it refuses the connection: %s", reply->str);
}

void redis_connection_hello(struct redis_connection *connection, const char *client_name) {
    const struct redis_url *url = connection->url;
    char database[16];
    if (url->user != NULL)
        redis_connection_send(connection, on_required, connection, "AUTH", url->user, url->password,
                              NULL);
    else if (url->password != NULL)
        redis_connection_send(connection, on_required, connection, "AUTH", url->password, NULL);
    if (url->database > 0) {
        snprintf(database, sizeof database, "%u", url->database);
        redis_connection_send(connection, on_required, connection, "SELECT", database, NULL);
    }
    redis_connection_send(connection, on_ignored, NULL, "CLIENT", "SETNAME",
                          url->client_name == NULL ? client_name : url->client_name, NULL);
}

void redis_connection_subscribes(struct redis_connection *connection) {
    connection->subscribes = true;
    redis_pipeline_forget(&connection->pipeline);
}

void redis_connection_tolerate(struct redis_connection *connection) {
    connection->tolerates = true;
}

/* ---- life ---- */

uint64_t redis_connection_round_trip_us(const struct redis_connection *connection) {
    return connection->round_trip_us;
}

struct redis_connection *redis_connection_new(uv_loop_t *loop,
                                              const struct cosocket_functions *sockets,
                                              const struct redis_url *url,
                                              const struct redis_connection_events *events,
                                              void *owner) {
    struct redis_connection *connection = mem_zalloc(sizeof *connection);
    unsigned timeout = url->connect_timeout_ms == 0 ? REDIS_CONNECT_MS : url->connect_timeout_ms;
    connection->url = url;
    connection->events = events;
    connection->owner = owner;
    connection->reader = redis_reader_new(REDIS_REPLY_BYTES);
    connection->socket = redis_socket_new(loop, sockets, url, clock_monotonic_ms() + timeout,
                                          events->turn_wanted, owner);
    return connection;
}

void redis_connection_free(struct redis_connection *connection) {
    if (connection == NULL)
        return;
    redis_socket_free(connection->socket);
    redis_reader_free(connection->reader);
    connection->has_failed = true;
    redis_pipeline_close(&connection->pipeline);
    mem_free(connection);
}
