/* http.c -- one HTTP request and its answer. See http.h.
 *
 * READING until the request is whole, WAITING while the handler thinks, WRITING the answer, ENDING
 * until the client has closed too: closing at once could reset the connection and destroy the
 * answer on its way. Each but WAITING has a deadline. */
#include "net/http.h"

#include "base/heap.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/slots.h"
#include "net/chunked.h"
#include "net/handshake.h"
#include "net/response.h"
#include "net/static.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { HEAD_ROOM = 16 * 1024, FILE_PIECE = 64 * 1024 };

/* Milliseconds: for the client to close after its answer; of standstill while it is written; between
 * two looks at the deadlines. */
enum { ENDING_MS = 2000, WRITING_MS = 30000, TICK_MS = 100 };

/* All requests together may hold this much, so that many large bodies at once are no danger. */
enum { MAX_HELD_BYTES = 64 * 1024 * 1024 };

enum http_state { HTTP_READING, HTTP_WAITING, HTTP_WRITING, HTTP_ENDING };

struct http_server {
    uv_loop_t *loop;
    struct transport *transport;
    struct http_options options;
    struct http_handler handler;
    struct slots open;
    size_t held_bytes; /* of all `in` */
    struct heap timers;
    uv_timer_t timer; /* runs while there are deadlines; they need no precision */
};

struct http {
    struct http_server *server;
    struct stream *stream;
    uint64_t number;
    enum http_state state;
    struct heap_node deadline;
    char *in; /* what has arrived of the request */
    size_t in_len, in_capacity;
    size_t head_len; /* 0: the head is not whole yet */
    size_t body_len; /* decoded so far */
    bool head_only;  /* a HEAD request: the answer has no body */
    bool wants_tls;  /* a client that speaks in plain is refused */
    struct request request;
    struct chunked chunks;
    char *out; /* what is still to be written, then `file` */
    size_t out_len, out_sent;
    struct static_file file;
    char remote[64];
};

static void on_tick(uv_timer_t *timer);

struct http_server *http_server_new(uv_loop_t *loop, struct transport *transport,
                                    const struct http_options *options,
                                    const struct http_handler *handler) {
    struct http_server *server = mem_zalloc(sizeof *server);
    server->loop = loop;
    server->transport = transport;
    server->options = *options;
    certificate_ref(options->certificate);
    server->handler = *handler;
    uv_timer_init(loop, &server->timer);
    server->timer.data = server;
    return server;
}

void http_server_change(struct http_server *server, const struct http_options *options) {
    certificate_ref(options->certificate);
    certificate_unref(server->options.certificate);
    server->options = *options;
}

void http_server_close(struct http_server *server) {
    uv_close((uv_handle_t *)&server->timer, NULL);
}

void http_server_free(struct http_server *server) {
    if (server == NULL)
        return;
    heap_close(&server->timers);
    slots_close(&server->open);
    certificate_unref(server->options.certificate);
    mem_free(server);
}

static void deadline_in(struct http *http, uint64_t ms) {
    struct http_server *server = http->server;
    heap_set(&server->timers, &http->deadline, uv_now(server->loop) + ms);
    if (!uv_is_active((uv_handle_t *)&server->timer) &&
        !uv_is_closing((uv_handle_t *)&server->timer))
        uv_timer_start(&server->timer, on_tick, TICK_MS, TICK_MS);
}

static void forget_request(struct http *http) {
    http->server->held_bytes -= http->in_capacity;
    http->in_capacity = 0;
    mem_free(http->in);
    http->in = NULL;
}

static void release(struct http *http) {
    heap_remove(&http->server->timers, &http->deadline);
    slots_remove(&http->server->open, http->number);
    static_close(&http->file);
    forget_request(http);
    mem_free(http->out);
    mem_free(http);
}

/* ---- writing the answer ---- */

static void finish(struct http *http) {
    http->state = HTTP_ENDING;
    stream_shutdown(http->stream);
    deadline_in(http, ENDING_MS);
}

/* Gets the file's next piece into `out`. False: there is none. */
static bool next_piece(struct http *http) {
    struct static_file *file = &http->file;
    if (file->fd < 0 || file->length == 0)
        return false;
    size_t wanted = file->length < FILE_PIECE ? (size_t)file->length : FILE_PIECE;
    http->out = mem_realloc(http->out, FILE_PIECE);
    ssize_t n = pread(file->fd, http->out, wanted, file->offset);
    if (n <= 0) { /* the file has shrunk: the promised length cannot be kept */
        stream_kill(http->stream);
        return false;
    }
    file->offset += n;
    file->length -= n;
    http->out_len = (size_t)n;
    http->out_sent = 0;
    return true;
}

static void write_on(struct http *http) {
    do {
        while (http->out_sent < http->out_len) {
            size_t n = stream_write(http->stream, http->out + http->out_sent,
                                    http->out_len - http->out_sent);
            http->out_sent += n;
            if (n == 0) {
                stream_want_write(http->stream);
                return;
            }
            deadline_in(http, WRITING_MS); /* of standstill */
        }
    } while (next_piece(http));
    finish(http);
}

/* Sends a head of `head_len` bytes in `out`, and the body or file that follows it. */
static void start_writing(struct http *http) {
    http->state = HTTP_WRITING;
    http->out_sent = 0;
    forget_request(http);
    deadline_in(http, WRITING_MS);
    write_on(http);
}

/* Lines of a header block, one by one, so that a bad one costs only itself. */
static void add_lines(struct response *res, const char *lines, bool *has_type) {
    while (lines != NULL && *lines != '\0') {
        const char *end = strstr(lines, "\r\n");
        size_t len = end == NULL ? strlen(lines) : (size_t)(end - lines);
        const char *colon = memchr(lines, ':', len);
        struct slice name = {lines, colon == NULL ? len : (size_t)(colon - lines)};
        struct slice value = {lines + len, 0};
        if (colon != NULL) {
            const char *start = colon + 1;
            while (start < lines + len && *start == ' ')
                start++;
            value = (struct slice){start, (size_t)(lines + len - start)};
        }
        if (slice_is_nocase(name, "content-type"))
            *has_type = true;
        if (!response_add(res, name, value)) {
            struct log_line line;
            log_begin(&line, LOG_WARN, "bad_response_header");
            log_bytes(&line, "header", name.bytes, name.len);
            log_str(&line, "why", res->error);
            log_end(&line);
            response_forgive(res);
        }
        lines = end == NULL ? NULL : end + 2;
    }
}

void http_respond(struct http *http, int status, const char *headers, const char *body,
                  size_t len) {
    if (http->state > HTTP_WAITING)
        return; /* answered already */
    size_t room = HEAD_ROOM + (headers == NULL ? 0 : strlen(headers));
    mem_free(http->out);
    http->out = mem_alloc(room + len);
    struct response res;
    bool has_type = false;
    response_begin(&res, http->out, room, status, time(NULL));
    add_lines(&res, headers, &has_type);
    if (!has_type && len > 0)
        response_set(&res, "Content-Type", "text/plain; charset=utf-8");
    size_t head = response_end(&res, (int64_t)len);
    if (!http->head_only && len > 0 && status != 204 && status != 304) {
        memcpy(http->out + head, body, len);
        head += len;
    }
    http->out_len = head;
    start_writing(http);
}

void http_respond_text(struct http *http, int status, const char *headers, const char *text) {
    char body[512];
    int len = snprintf(body, sizeof body, "%s\n", text);
    http_respond(http, status, headers, body,
                 (size_t)len < sizeof body ? (size_t)len : sizeof body - 1);
}

void http_respond_file(struct http *http, const struct static_root *root, const char *path) {
    if (http->state > HTTP_WAITING)
        return;
    /* a script may have taken its time: the request's slices are still those of `in` */
    static_find(root, &http->request, slice_of(path), &http->file);
    mem_free(http->out);
    http->out = mem_alloc(HEAD_ROOM);
    struct response res;
    response_begin(&res, http->out, HEAD_ROOM, http->file.status, time(NULL));
    static_headers(&http->file, &res);
    const char *text = http->file.text;
    size_t text_len = strlen(text);
    int64_t length = text_len > 0 ? (int64_t)text_len + 1 : (int64_t)http->file.length;
    if (text_len > 0)
        response_set(&res, "Content-Type", "text/plain; charset=utf-8");
    http->out_len = response_end(&res, length);
    if (http->head_only) {
        http->file.length = 0;
    } else if (text_len > 0) {
        http->out_len +=
            (size_t)snprintf(http->out + http->out_len, HEAD_ROOM - http->out_len, "%s\n", text);
    }
    start_writing(http);
}

struct stream *http_stream(const struct http *http) {
    return http->stream;
}

void http_let_go(struct http *http) {
    release(http);
}

/* ---- reading the request ---- */

static void refuse(struct http *http, int status, const char *text) {
    http->head_only = false;
    http_respond_text(http, status, NULL, text);
}

static void hand_over(struct http *http, char *body, size_t body_len, char *ahead,
                      size_t ahead_len) {
    struct http_server *server = http->server;
    http->state = HTTP_WAITING;
    http->head_only = slice_is(http->request.method, "HEAD");
    heap_remove(&server->timers, &http->deadline);
    if (!handshake_wanted(&http->request))
        server->handler.request(server->handler.user, http, &http->request, body, body_len);
    else if (server->handler.upgrade != NULL)
        server->handler.upgrade(server->handler.user, http, &http->request, ahead, ahead_len);
    else
        refuse(http, 404, "There is no WebSocket here.");
}

/* Is the body whole? It stands decoded behind the head. Answers when it is refused. */
static bool body_whole(struct http *http) {
    const struct request *r = &http->request;
    if (r->content_length >= 0) {
        http->body_len = http->in_len - http->head_len;
        if (http->body_len < (size_t)r->content_length)
            return false;
        http->body_len = (size_t)r->content_length;
        return true;
    }
    size_t raw = http->head_len + http->body_len, decoded, used;
    int end = chunked_decode(&http->chunks, http->in + raw, http->in_len - raw,
                             http->server->options.max_body_bytes, &decoded, &used);
    if (end < 0) {
        refuse(http, -end, http->chunks.error);
        return false;
    }
    http->body_len += decoded;
    http->in_len = raw + decoded;
    return end == 1;
}

static void on_head(struct http *http) {
    const struct request *r = &http->request;
    if (http->wants_tls && !stream_is_secure(http->stream)) {
        refuse(http, 400, "TLS is spoken here: write https:// or wss:// in the address.");
        return;
    }
    if (handshake_wanted(r)) {
        hand_over(http, NULL, 0, http->in + http->head_len, http->in_len - http->head_len);
        return;
    }
    if (r->content_length <= 0 && !r->chunked) {
        hand_over(http, NULL, 0, NULL, 0);
        return;
    }
    if (r->content_length > (int64_t)http->server->options.max_body_bytes) {
        refuse(http, 413, "The body is too large.");
        return;
    }
    if (r->expect_continue && http->in_len == http->head_len) {
        static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
        stream_write(http->stream, go_on, sizeof go_on - 1);
    }
    if (body_whole(http))
        hand_over(http, http->in + http->head_len, http->body_len, NULL, 0);
}

/* Makes room for more of the request. The head's slices point into `in`: when it moves they are made
 * anew. False, and answered: too much is held already. */
static bool reserve(struct http *http, size_t more) {
    if (http->in_len + more <= http->in_capacity)
        return true;
    size_t wanted = (http->in_len + more) * 2;
    size_t growth = wanted - http->in_capacity;
    if (http->head_len > 0 && http->server->held_bytes + growth > MAX_HELD_BYTES) {
        http->head_only = false;
        http_respond_text(http, 503, "Retry-After: 5\r\n",
                          "The server is busy with other uploads.");
        return false;
    }
    http->server->held_bytes += growth;
    http->in_capacity = wanted;
    http->in = mem_realloc(http->in, wanted);
    if (http->head_len > 0) {
        memset(&http->request.scan, 0, sizeof http->request.scan);
        request_parse(&http->request, http->in, http->head_len,
                      http->server->options.max_head_bytes);
    }
    return true;
}

static void on_received(void *owner, char *bytes, size_t len) {
    struct http *http = owner;
    if (http->state != HTTP_READING)
        return; /* a second request, or noise: we answer one */
    if (!reserve(http, len))
        return;
    memcpy(http->in + http->in_len, bytes, len);
    http->in_len += len;
    if (http->head_len > 0) {
        if (body_whole(http))
            hand_over(http, http->in + http->head_len, http->body_len, NULL, 0);
        return;
    }
    int result =
        request_parse(&http->request, http->in, http->in_len, http->server->options.max_head_bytes);
    if (result < 0)
        refuse(http, -result, http->request.error);
    else if (result > 0) {
        http->head_len = (size_t)result;
        on_head(http);
    }
}

static void on_writable(void *owner) {
    write_on(owner);
}

static void on_closed(void *owner) {
    release(owner);
}

static const struct stream_events stream_events = {on_received, on_writable, on_closed};

void http_accept(struct http_server *server, int fd, const char *remote) {
    struct http *http = mem_zalloc(sizeof *http);
    http->server = server;
    http->file.fd = -1;
    snprintf(http->remote, sizeof http->remote, "%s", remote);
    http->number = slots_add(&server->open, http);
    struct certificate *certificate =
        strcmp(remote, "unix") == 0 ? NULL : server->options.certificate;
    http->wants_tls = certificate != NULL;
    http->stream = http->number == 0
                       ? NULL
                       : stream_adopt(server->transport, fd, certificate, &stream_events, http);
    if (http->number == 0)
        close(fd);
    if (http->stream == NULL) {
        release(http);
        return;
    }
    deadline_in(http, server->options.request_ms);
}

/* ---- deadlines, lookups, the end ---- */

static void on_tick(uv_timer_t *timer) {
    struct http_server *server = timer->data;
    uint64_t now = uv_now(server->loop);
    for (struct heap_node *node; (node = heap_peek(&server->timers)) != NULL && node->key <= now;) {
        struct http *http = HEAP_OWNER(node, struct http, deadline);
        heap_remove(&server->timers, node);
        if (http->state == HTTP_READING && http->in_len > 0)
            refuse(http, 408, "The request did not arrive in time.");
        else
            stream_kill(http->stream);
    }
    if (heap_peek(&server->timers) == NULL)
        uv_timer_stop(timer);
}

uint32_t http_server_count(const struct http_server *server) {
    return slots_count(&server->open);
}

bool http_server_is_asked(const struct http_server *server) {
    uint32_t at = 0;
    for (const struct http *http; (http = slots_next(&server->open, &at)) != NULL;)
        if (http->state == HTTP_READING)
            return true;
    return false;
}

void http_server_drain(struct http_server *server) {
    uint32_t at = 0;
    for (struct http *http; (http = slots_next(&server->open, &at)) != NULL;)
        if (http->state == HTTP_READING && http->in_len == 0)
            stream_kill(http->stream);
}

void http_server_kill_all(struct http_server *server) {
    uint32_t at = 0;
    for (struct http *http; (http = slots_next(&server->open, &at)) != NULL;)
        stream_kill(http->stream);
}

uint64_t http_number(const struct http *http) {
    return http->number;
}

struct http *http_find(struct http_server *server, uint64_t number) {
    return slots_find(&server->open, number);
}

const char *http_remote(const struct http *http) {
    return http->remote;
}
