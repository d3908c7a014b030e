/* redis_connection.c -- one connection to a Redis server. See redis_connection.h. */
#include "cluster/redis/redis_connection.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "base/mem.h"
#include "cluster/redis/redis_problem.h"
#include "cluster/redis/redis_socket.h"

#include <stdarg.h>
#include <stdio.h>

enum { ARGUMENTS_MAX = 8 }; /* of redis_connection_send() */
enum { COUNT_BYTES = 24 };  /* "*", a number, an end of line */

/* A command that was not answered. */
struct awaited {
    redis_reply_fn *on_reply;
    void *context;
};

struct redis_connection {
    const struct redis_url *url;
    const struct redis_connection_events *events;
    void *owner;
    struct redis_socket *socket;
    struct redis_reader *reader;
    struct buffer out;      /* commands that wait to be written */
    struct buffer awaiting; /* struct awaited, in the order of the commands */
    bool is_open, has_received, has_failed;
    bool subscribes;      /* messages come between the answers */
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

/* Writes "$12\r\n". Returns the end. */
static char *put_count(char *to, char mark, size_t count) {
    char digits[20];
    unsigned n = 0;
    do
        digits[n++] = (char)('0' + count % 10);
    while ((count /= 10) > 0);
    *to++ = mark;
    while (n > 0)
        *to++ = digits[--n];
    *to++ = '\r';
    *to++ = '\n';
    return to;
}

void redis_connection_command(struct redis_connection *connection, unsigned argc,
                              const struct slice *argv, redis_reply_fn *on_reply, void *context) {
    struct buffer *out = &connection->out;
    size_t room = COUNT_BYTES;
    for (unsigned i = 0; i < argc; i++)
        room += argv[i].len + COUNT_BYTES + 2;
    char *start = buffer_room(out, room), *to = put_count(start, '*', argc);
    for (unsigned i = 0; i < argc; i++) {
        to = put_count(to, '$', argv[i].len);
        if (argv[i].len > 0)
            memcpy(to, argv[i].bytes, argv[i].len);
        memcpy(to + argv[i].len, "\r\n", 2);
        to += argv[i].len + 2;
    }
    out->len += (size_t)(to - start);
    if (connection->awaiting.len == 0)
        connection->received_ms = clock_monotonic_ms();
    if (on_reply != NULL)
        buffer_add(&connection->awaiting, &(struct awaited){on_reply, context},
                   sizeof(struct awaited));
    if (out->len > REDIS_QUEUE_BYTES)
        redis_connection_fail(connection, "it takes the commands too slowly: %zu bytes wait",
                              out->len);
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
    if (!connection->has_failed &&
        redis_socket_write(connection->socket, &connection->out) == REDIS_SOCKET_CLOSED)
        fail_closed(connection);
    return !connection->has_failed;
}

size_t redis_connection_queued(const struct redis_connection *connection) {
    return connection->out.len;
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

/* An error that says that this server cannot be used ends the connection: its owner must know. */
static bool take_reply(void *context, const struct redisReply *reply) {
    struct redis_connection *connection = context;
    struct awaited awaited = {NULL, NULL};
    char sentence[400];
    if (is_message(connection, reply)) {
        connection->events->message(connection->owner, reply);
        return !connection->has_failed;
    }
    if (connection->awaiting.len > 0)
        memcpy(&awaited, buffer_start(&connection->awaiting), sizeof awaited);
    if (reply->type == REDIS_REPLY_ERROR && awaited.on_reply != on_ignored &&
        redis_problem_of(redis_reply_text(reply), sentence, sizeof sentence)) {
        redis_connection_fail(connection, "%s", sentence); /* its function is called at the end */
    } else if (awaited.on_reply != NULL) {
        buffer_drop(&connection->awaiting, sizeof awaited);
        awaited.on_reply(awaited.context, reply);
    } else {
        redis_connection_fail(connection, "it answers a command that was not sent (%.*s)",
                              (int)(reply->len < 100 ? reply->len : 100),
                              reply->str == NULL ? "" : reply->str);
    }
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
    return connection->now_ms - connection->received_ms >= timeout_of(connection) &&
           (connection->awaiting.len > 0 || connection->out.len > 0);
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
    buffer_free(&connection->out);
    while (connection->awaiting.len > 0) {
        struct awaited awaited;
        memcpy(&awaited, buffer_start(&connection->awaiting), sizeof awaited);
        buffer_drop(&connection->awaiting, sizeof awaited);
        awaited.on_reply(awaited.context, NULL);
    }
    buffer_free(&connection->awaiting);
    mem_free(connection);
}
