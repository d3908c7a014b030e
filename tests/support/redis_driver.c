/* redis_driver.c -- the connections to Redis of src/cluster/redis, driven by lines of text.
 *
 *   redis_driver URL…        reads commands from its standard input, a line each, words by blanks:
 *     command SERVER WORD…   a command; the answer is a line "reply …"
 *     flood SERVER COUNT     so many ECHOs of a number; says whether all answers came in order
 *     subscribe SERVER CHANNEL, unsubscribe SERVER CHANNEL, figures SERVER
 *
 * Prints an event a line: up, down, subscribed, message. Ends with its standard input. Server tests
 * use it to see what a node sees. */
#include "base/buffer.h"
#include "cluster/redis/redis_reader.h"
#include "cluster/redis/redis_servers.h"
#include "net/cosocket/cosockets.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS_MAX = 64, URLS_MAX = 8 };

static uv_loop_t loop;
static struct redis_servers *servers;
static struct redis_functions redis;
static uv_pipe_t input;
static uv_prepare_t prepare;
static struct buffer line;
static char piece[64 * 1024];

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    fflush(stdout);
}

/* ---- events ---- */

static void on_up(void *user, unsigned server, const struct redis_facts *facts) {
    say("up %u %s %s %s %d", server, facts->same_run ? "same" : "new",
        facts->is_valkey ? "valkey" : "redis", facts->version, facts->time_ms > 0);
}

static void on_down(void *user, unsigned server, const char *why) {
    say("down %u %s", server, why);
}

static void on_subscribed(void *user, unsigned server, struct slice channel) {
    say("subscribed %u %.*s", server, (int)channel.len, channel.bytes);
}

static void on_message(void *user, unsigned server, struct slice channel, struct slice payload) {
    say("message %u %.*s %.*s", server, (int)channel.len, channel.bytes, (int)payload.len,
        payload.bytes);
}

/* ---- commands ---- */

static void print_reply(const struct redisReply *reply) {
    switch (reply->type) {
    case REDIS_REPLY_INTEGER:
        printf(" %lld", reply->integer);
        break;
    case REDIS_REPLY_NIL:
        printf(" nil");
        break;
    case REDIS_REPLY_ARRAY:
        printf(" [");
        for (size_t i = 0; i < reply->elements; i++)
            print_reply(reply->element[i]);
        printf(" ]");
        break;
    default:
        printf(" %s", reply->str);
    }
}

static void on_reply(void *context, const struct redisReply *reply) {
    printf("reply");
    if (reply == NULL)
        printf(" lost");
    else
        print_reply(reply);
    putchar('\n');
    fflush(stdout);
}

/* A flood: the number of the answer that comes next. */
static struct {
    unsigned long next, count, lost;
    bool is_in_order;
} flood;

static void on_flood(void *context, const struct redisReply *reply) {
    if (reply == NULL)
        flood.lost++;
    else if (strtoul(reply->str, NULL, 10) != (uintptr_t)context ||
             (uintptr_t)context != flood.next)
        flood.is_in_order = false;
    if (++flood.next == flood.count)
        say("flood %s lost=%lu", flood.is_in_order ? "in order" : "out of order", flood.lost);
}

static void begin_flood(unsigned server, unsigned long count) {
    flood.next = flood.lost = 0;
    flood.count = count;
    flood.is_in_order = true;
    for (unsigned long i = 0; i < count; i++) {
        char number[24];
        snprintf(number, sizeof number, "%lu", i);
        struct slice argv[] = {slice_of("ECHO"), slice_of(number)};
        redis.command(redis.user, server, 2, argv, on_flood, (void *)i);
    }
}

static void show_figures(unsigned server) {
    struct redis_figures figures = redis_servers_figures(servers, server);
    say("figures %u up=%d channels=%u connects=%lu queued=%zu rtt=%d name=%s why=%s", server,
        figures.up, figures.channels, (unsigned long)figures.connects, figures.queued,
        figures.round_trip_us > 0, figures.name, figures.why);
}

static void do_line(char *text) {
    char *words[WORDS_MAX], *rest = text;
    unsigned count = 0;
    for (char *word; count < WORDS_MAX && (word = strtok_r(rest, " ", &rest)) != NULL;)
        words[count++] = word;
    if (count < 2)
        return;
    unsigned server = (unsigned)atoi(words[1]);
    if (strcmp(words[0], "command") == 0) {
        struct slice argv[WORDS_MAX];
        for (unsigned i = 2; i < count; i++)
            argv[i - 2] = slice_of(words[i]);
        redis.command(redis.user, server, count - 2, argv, on_reply, NULL);
    } else if (strcmp(words[0], "flood") == 0 && count > 2) {
        begin_flood(server, strtoul(words[2], NULL, 10));
    } else if (strcmp(words[0], "subscribe") == 0 && count > 2) {
        redis.subscribe(redis.user, server, slice_of(words[2]));
    } else if (strcmp(words[0], "unsubscribe") == 0 && count > 2) {
        redis.unsubscribe(redis.user, server, slice_of(words[2]));
    } else {
        show_figures(server);
    }
}

/* ---- the loop ---- */

static void on_room(uv_handle_t *handle, size_t size, uv_buf_t *out) {
    *out = uv_buf_init(piece, sizeof piece);
}

static void on_input(uv_stream_t *stream, ssize_t n, const uv_buf_t *bytes) {
    if (n < 0) {
        uv_close((uv_handle_t *)stream, NULL);
        uv_close((uv_handle_t *)&prepare, NULL);
        redis_servers_stop(servers);
        return;
    }
    buffer_add(&line, bytes->base, (size_t)n);
    for (char *end; line.len > 0 && (end = memchr(buffer_start(&line), '\n', line.len)) != NULL;) {
        char *text = buffer_start(&line);
        *end = '\0';
        do_line(text);
        buffer_drop(&line, (size_t)(end + 1 - text));
    }
}

static void on_prepare(uv_prepare_t *handle) {
    redis_servers_write(servers);
}

int main(int argc, char **argv) {
    static struct stats stats;
    static struct limit limit;
    struct redis_url urls[URLS_MAX];
    char why[300];
    const struct error_text error = {why, sizeof why};
    unsigned count = 0;
    for (; count < URLS_MAX && (int)count + 1 < argc; count++)
        if (!redis_url_parse(argv[count + 1], &urls[count], &error)) {
            say("invalid %s", why);
            redis_url_close(&urls[count]);
            return 2;
        }
    uv_loop_init(&loop);
    struct cosockets *sockets = cosockets_new(&loop, &stats, &limit);
    struct redis_servers_options options = {.loop = &loop,
                                            .sockets = cosockets_functions(sockets),
                                            .urls = urls,
                                            .count = count,
                                            .client_name = "driver",
                                            .prefix = "tw"};
    struct redis_events events = {on_up, on_down, on_subscribed, on_message, NULL};
    servers = redis_servers_new(&options);
    redis = redis_servers_functions(servers);
    redis_servers_start(servers, &events);
    uv_pipe_init(&loop, &input, 0);
    uv_pipe_open(&input, 0);
    uv_read_start((uv_stream_t *)&input, on_room, on_input);
    uv_prepare_init(&loop, &prepare);
    uv_prepare_start(&prepare, on_prepare);
    uv_run(&loop, UV_RUN_DEFAULT);
    cosockets_stop(sockets);
    uv_run(&loop, UV_RUN_DEFAULT);
    redis_servers_free(servers);
    cosockets_free(sockets);
    for (unsigned i = 0; i < count; i++)
        redis_url_close(&urls[i]);
    buffer_free(&line);
    say("closed %d", uv_loop_close(&loop));
    return 0;
}
