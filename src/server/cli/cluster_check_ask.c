/* cluster_check_ask.c -- commands to a Redis server, each waited for. See cluster_check_parts.h.
 *
 * A loop of its own, which runs while an answer is waited for. */
#include "base/clock.h"
#include "base/mem.h"
#include "net/cosocket/cosockets.h"
#include "server/cli/cluster_check_parts.h"

#include <stdarg.h>
#include <stdio.h>

enum { TICK_MS = 50, WORDS_MAX = 16 };

struct cluster_ask {
    uv_loop_t loop;
    uv_timer_t tick; /* looks at timeouts */
    struct stats stats;
    struct limit limit;
    struct cosockets *sockets;
    struct cosocket_functions functions;
    struct redis_url url;
    struct redis_connection *connection;
    bool opened, answered;
    uint64_t messages;
    struct cluster_answer answer;
};

/* ---- answers ---- */

static void add_text(struct buffer *text, const struct redisReply *reply) {
    if (reply->type == REDIS_REPLY_INTEGER)
        buffer_printf(text, "%lld", reply->integer);
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++) {
        add_text(text, reply->element[i]);
        buffer_add(text, "\n", 1);
    }
    struct slice own = redis_reply_text(reply);
    buffer_add(text, own.bytes, own.len);
}

static void begin_answer(struct cluster_ask *ask) {
    buffer_free(&ask->answer.text);
    ask->answer = (struct cluster_answer){.lost = false};
    ask->answered = false;
}

static void end_answer(struct cluster_ask *ask) {
    buffer_add(&ask->answer.text, "", 1);
    ask->answer.text.len--;
    ask->answered = true;
}

static void on_reply(void *context, const struct redisReply *reply) {
    struct cluster_ask *ask = context;
    if (reply == NULL)
        return;
    ask->answer.is_error = reply->type == REDIS_REPLY_ERROR;
    ask->answer.integer = reply->type == REDIS_REPLY_INTEGER ? reply->integer : 0;
    add_text(&ask->answer.text, reply);
    end_answer(ask);
}

static void on_message(void *owner, const struct redisReply *reply) {
    struct cluster_ask *ask = owner;
    ask->messages += slice_is(redis_reply_text(redis_reply_at(reply, 0)), "smessage");
    if (!ask->answered)
        on_reply(ask, reply);
}

/* ---- the loop ---- */

static void on_opened(void *owner) {
    struct cluster_ask *ask = owner;
    ask->opened = true;
}

static void on_nothing(void *owner) {
    (void)owner;
}

static void on_tick(uv_timer_t *timer) {
    (void)timer; /* the loop returns */
}

static const struct redis_connection_events events = {
    .turn_wanted = on_nothing,
    .opened = on_opened,
    .message = on_message,
    .load_scripts = on_nothing,
};

/* Runs the loop once. False: the connection has failed. */
static bool step(struct cluster_ask *ask) {
    if (!redis_connection_write(ask->connection))
        return false;
    uv_run(&ask->loop, UV_RUN_ONCE);
    return redis_connection_turn(ask->connection, clock_monotonic_ms());
}

static const struct cluster_answer *wait_for_answer(struct cluster_ask *ask) {
    while (!ask->answered && step(ask))
        continue;
    if (!ask->answered) {
        ask->answer.lost = ask->answer.is_error = true;
        buffer_printf(&ask->answer.text, "%s", redis_connection_why(ask->connection));
        end_answer(ask);
    }
    return &ask->answer;
}

const struct cluster_answer *cluster_ask_command(struct cluster_ask *ask, unsigned argc,
                                                 const struct slice *argv) {
    begin_answer(ask);
    redis_connection_command(ask->connection, argc, argv, on_reply, ask);
    return wait_for_answer(ask);
}

const struct cluster_answer *cluster_ask(struct cluster_ask *ask, ...) {
    struct slice argv[WORDS_MAX];
    unsigned argc = 0;
    va_list words;
    va_start(words, ask);
    for (const char *word; argc < WORDS_MAX && (word = va_arg(words, const char *)) != NULL;)
        argv[argc++] = slice_of(word);
    va_end(words);
    return cluster_ask_command(ask, argc, argv);
}

const struct cluster_answer *cluster_ask_subscribe(struct cluster_ask *ask, const char *channel) {
    begin_answer(ask);
    redis_connection_subscribes(ask->connection);
    redis_connection_send(ask->connection, NULL, NULL, "SSUBSCRIBE", channel, NULL);
    return wait_for_answer(ask);
}

bool cluster_ask_publish(struct cluster_ask *ask, struct cluster_ask *subscriber,
                         const char *channel) {
    uint64_t before = subscriber->messages;
    if (cluster_ask(ask, "SPUBLISH", channel, "check", NULL)->is_error)
        return false;
    while (subscriber->messages == before && step(subscriber))
        continue;
    return subscriber->messages > before;
}

/* ---- life ---- */

struct cluster_ask *cluster_ask_open(const struct redis_url *url, char *why, size_t size) {
    struct cluster_ask *ask = mem_zalloc(sizeof *ask);
    uv_loop_init(&ask->loop);
    uv_timer_init(&ask->loop, &ask->tick);
    uv_timer_start(&ask->tick, on_tick, TICK_MS, TICK_MS);
    ask->sockets = cosockets_new(&ask->loop, &ask->stats, &ask->limit);
    ask->functions = cosockets_functions(ask->sockets);
    ask->url = redis_url_copy(url);
    ask->connection = redis_connection_new(&ask->loop, &ask->functions, &ask->url, &events, ask);
    while (!ask->opened && step(ask))
        continue;
    if (ask->opened) {
        redis_connection_hello(ask->connection, "tidewire-check");
        cluster_ask(ask, "PING", NULL); /* the first refusal of the handshake counts */
    }
    if (!redis_connection_failed(ask->connection)) {
        redis_connection_tolerate(ask->connection);
        return ask;
    }
    snprintf(why, size, "%s", redis_connection_why(ask->connection));
    cluster_ask_close(ask);
    return NULL;
}

void cluster_ask_close(struct cluster_ask *ask) {
    if (ask == NULL)
        return;
    redis_connection_free(ask->connection);
    cosockets_stop(ask->sockets);
    uv_close((uv_handle_t *)&ask->tick, NULL);
    uv_run(&ask->loop, UV_RUN_DEFAULT);
    cosockets_free(ask->sockets);
    uv_loop_close(&ask->loop);
    buffer_free(&ask->answer.text);
    redis_url_close(&ask->url);
    mem_free(ask);
}
