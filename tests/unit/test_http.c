/* test_http.c -- one request and its response on an accepted connection, in pieces of every size.
 * With a fake stream; the loop is real, for the deadlines. */
#include "fake_http.h"

#include "net/http/static.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The last request of the handler, and how the handler answers. */
static struct {
    int requests, handshakes;
    char method[16], target[256], remote[64];
    char body[8192]; /* its beginning */
    size_t body_len;
    bool has_body;
    char ahead[256];
    size_t ahead_len;
    uint64_t number;
    bool silent; /* does not answer */
    int status;
    const char *headers, *text;
    const char *root;
    struct stream *taken;
} seen;

static void copy_text(char *out, size_t size, struct slice text) {
    snprintf(out, size, "%.*s", (int)text.len, text.bytes);
}

static void on_request(void *user, struct http *http, const struct request *request, char *body,
                       size_t body_len) {
    assert_ptr_equal(user, &seen);
    seen.requests++;
    copy_text(seen.method, sizeof seen.method, request->method);
    copy_text(seen.target, sizeof seen.target, request->target);
    snprintf(seen.remote, sizeof seen.remote, "%s", http_remote(http));
    seen.has_body = body != NULL;
    seen.body_len = body_len;
    if (body_len > 0)
        memcpy(seen.body, body, body_len < sizeof seen.body ? body_len : sizeof seen.body);
    seen.number = http_number(http);
    if (seen.silent)
        return;
    if (seen.root != NULL)
        assert_int_equal(http_respond_file(http, seen.root, "/file.txt"), 0);
    else
        http_respond(http, seen.status, seen.headers, seen.text, strlen(seen.text));
}

static void on_handshake(void *user, struct http *http, const struct request *request, char *ahead,
                         size_t ahead_len) {
    seen.handshakes++;
    copy_text(seen.target, sizeof seen.target, request->target);
    seen.ahead_len = ahead_len;
    if (ahead_len > 0)
        memcpy(seen.ahead, ahead, ahead_len);
    seen.taken = http_stream(http);
    struct permit permit = http_take_permit(http);
    http_detach(http);
    admission_release(&admission, &permit);
}

enum { MAX_HEAD = 4000, MAX_BODY = 1000000 };

static struct http_options options_with(uint64_t request_ms) {
    return (struct http_options){.max_head_bytes = MAX_HEAD,
                                 .max_body_bytes = MAX_BODY,
                                 .request_ms = request_ms,
                                 .half_closed_ms = request_ms,
                                 .send_ms = request_ms,
                                 .admission = &admission};
}

static void make_server(uint64_t request_ms, bool handshakes) {
    memset(&seen, 0, sizeof seen);
    seen.status = 200;
    seen.text = "hello";
    const struct http_options options = options_with(request_ms);
    fake_http_start(&options, 64 << 20);
    http_server_on_request(server, on_request, &seen);
    if (handshakes)
        http_server_on_handshake(server, on_handshake, &seen);
}

static int start(void **state) {
    make_server(60000, true);
    return 0;
}

/* Is the response whole and ended, with this status and this body? */
static void check_answer(const struct stream *stream, int status, const char *body) {
    char want[32];
    snprintf(want, sizeof want, "HTTP/1.1 %d ", status);
    if (stream->bytes == NULL || strncmp(stream->bytes, want, strlen(want)) != 0)
        fail_msg("%sexpected, got: %s", want, stream->bytes == NULL ? "nothing" : stream->bytes);
    const char *end = strstr(stream->bytes, "\r\n\r\n");
    assert_non_null(end);
    assert_non_null(strstr(stream->bytes, "\r\nConnection: close\r\n"));
    if (body != NULL)
        assert_string_equal(end + 4, body);
    assert_true(stream->shut);
}

/* Sends a request in pieces of every size; checks the answer and what the handler saw. */
static void check(const char *request, size_t len, int status, const char *body,
                  const char *target) {
    for (size_t piece = 1; piece <= len; piece += piece < 8 ? 1 : len / 7 + 1) {
        seen.requests = 0;
        struct stream *stream = accept_one();
        for (size_t at = 0; at < len; at += piece)
            fake_stream_gives(stream, request + at, len - at < piece ? len - at : piece);
        check_answer(stream, status, NULL);
        assert_int_equal(seen.requests, target != NULL);
        if (target != NULL) {
            assert_string_equal(seen.target, target);
            assert_int_equal(seen.has_body, body != NULL);
            assert_int_equal(seen.body_len, body == NULL ? 0 : strlen(body));
            assert_memory_equal(seen.body, body == NULL ? "" : body, seen.body_len);
        }
        fake_stream_closes(stream);
    }
}

#define CHECK(request, status, body, target)                                                       \
    check(request, sizeof(request) - 1, status, body, target)

/* ---- requests ---- */

static void test_plain(void **state) {
    CHECK("GET /a?b HTTP/1.1\r\nHost: x\r\n\r\n", 200, NULL, "/a?b");
    assert_string_equal(seen.method, "GET");
    assert_string_equal(seen.remote, "192.0.2.1");
    struct stream *stream = accept_one();
    give(stream, "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /again HTTP/1.1\r\nHost: x\r\n\r\n");
    give(stream, "noise");
    assert_int_equal(seen.requests, 2); /* one response each connection */
    assert_string_equal(seen.target, "/");
    check_answer(stream, 200, "hello");
    assert_non_null(strstr(stream->bytes, "Content-Length: 5\r\n"));
    assert_non_null(strstr(stream->bytes, "Content-Type: text/plain"));
    fake_stream_closes(stream);
}

static void test_bodies(void **state) {
    CHECK("POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\nhello world", 200,
          "hello world", "/p");
    CHECK("POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello and more", 200, "hello",
          "/p");
    CHECK("POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 200, NULL, "/p");
    CHECK("POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
          "5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n",
          200, "hello world", "/c");
}

/* The request's slices stay valid while the body's memory moves. */
static void test_large_body(void **state) {
    static char body[MAX_BODY];
    memset(body, 'b', sizeof body);
    char head[128];
    snprintf(head, sizeof head, "POST /large HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n",
             MAX_BODY);
    struct stream *stream = accept_one();
    give(stream, head);
    for (size_t at = 0; at < sizeof body; at += 50000)
        fake_stream_gives(stream, body + at, 50000);
    check_answer(stream, 200, "hello");
    assert_int_equal(seen.body_len, MAX_BODY);
    assert_string_equal(seen.target, "/large");
    fake_stream_closes(stream);
}

/* A request is checked once, against the limits of when its connection was accepted. */
static void test_limits_that_change_meanwhile(void **state) {
    static char head[3000], body[20000];
    int len = snprintf(head, sizeof head, "POST /mine HTTP/1.1\r\nHost: x\r\nX-Padding: ");
    memset(head + len, 'p', 2500);
    snprintf(head + len + 2500, sizeof head - (size_t)len - 2500, "\r\nContent-Length: %zu\r\n\r\n",
             sizeof body);
    memset(body, 'b', sizeof body);
    struct http_options narrow = options_with(60000);
    narrow.max_head_bytes = 512;
    narrow.max_body_bytes = 100;
    struct stream *in_body = accept_one(), *in_head = accept_one(), *in_chunks = accept_one();
    give(in_body, head);
    fake_stream_gives(in_body, body, 100);
    fake_stream_gives(in_head, head, 1000);
    give(in_chunks,
         "POST /chunks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe");
    http_server_change(server, &narrow);
    for (size_t at = 100; at < sizeof body; at += 100)
        fake_stream_gives(in_body, body + at, 100);
    check_answer(in_body, 200, "hello");
    assert_string_equal(seen.target, "/mine");
    assert_int_equal(seen.body_len, sizeof body);
    seen.target[0] = '\0';
    give(in_head, head + 1000);
    fake_stream_gives(in_head, body, sizeof body);
    check_answer(in_head, 200, "hello");
    assert_string_equal(seen.target, "/mine");
    give(in_chunks, "llo\r\nc8\r\n");
    fake_stream_gives(in_chunks, body, 200);
    give(in_chunks, "\r\n0\r\n\r\n");
    check_answer(in_chunks, 200, "hello");
    assert_int_equal(seen.body_len, 205);
    struct stream *later = accept_one();
    give(later, head);
    check_answer(later, 431, NULL);
    fake_stream_closes(in_body);
    fake_stream_closes(in_head);
    fake_stream_closes(in_chunks);
    fake_stream_closes(later);
}

static void test_refusals(void **state) {
    CHECK("nonsense\r\n\r\n", 400, NULL, NULL);
    CHECK("GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400, NULL, NULL);
    CHECK("GET / HTTP/3.0\r\nHost: x\r\n\r\n", 505, NULL, NULL);
    CHECK("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000001\r\n\r\n", 413, NULL, NULL);
    CHECK("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400, NULL,
          NULL);
    CHECK("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n", 413, NULL,
          NULL);
    struct stream *stream = accept_one();
    static char line[MAX_HEAD + 100] = "GET / HTTP/1.1\r\nX: ";
    memset(line + strlen(line), 'x', MAX_HEAD);
    fake_stream_gives(stream, line, MAX_HEAD + 50);
    check_answer(stream, 431, NULL);
    fake_stream_closes(stream);
}

static void test_expect_continue(void **state) {
    struct stream *stream = accept_one();
    give(stream,
         "POST /e HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    assert_string_equal(stream->bytes, "HTTP/1.1 100 Continue\r\n\r\n");
    give(stream, "hi");
    assert_int_equal(seen.body_len, 2);
    assert_non_null(strstr(stream->bytes, "\r\n\r\nHTTP/1.1 200 OK\r\n"));
    fake_stream_closes(stream);
    stream = accept_one(); /* a client that sends the body at once */
    give(stream,
         "POST /e HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nhi");
    check_answer(stream, 200, "hello");
    fake_stream_closes(stream);
    stream = accept_one(); /* it need not begin */
    give(stream,
         "POST /e HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\nExpect: 100-continue\r\n\r\n");
    check_answer(stream, 413, NULL);
    fake_stream_closes(stream);
}

/* Also when the socket takes few bytes of it, and when the response follows before it has taken
 * all. */
static void test_expect_continue_to_a_full_socket(void **state) {
    static const char both[] = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n";
    for (size_t room = 0; room < 26; room++) {
        for (int late = 0; late < 2; late++) {
            struct stream *stream = accept_one();
            stream->room = room;
            give(stream, "POST /e HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
                         "Expect: 100-continue\r\n\r\n");
            if (!late)
                fake_stream_takes(stream, SIZE_MAX);
            give(stream, "hi");
            if (late)
                fake_stream_takes(stream, SIZE_MAX);
            assert_memory_equal(stream->bytes, both, sizeof both - 1);
            assert_true(stream->shut);
            fake_stream_closes(stream);
        }
    }
}

#define HANDSHAKE                                                                                  \
    "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"                 \
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

static void test_upgrades(void **state) {
    struct stream *stream = accept_one();
    give(stream, HANDSHAKE "ahead");
    assert_int_equal(seen.handshakes, 1);
    assert_int_equal(seen.requests, 0);
    assert_string_equal(seen.target, "/ws");
    assert_int_equal(seen.ahead_len, 5);
    assert_memory_equal(seen.ahead, "ahead", 5);
    assert_ptr_equal(seen.taken, stream);
    assert_int_equal(http_server_count(server), 0); /* the new owner has the stream */
    assert_int_equal(stream->len, 0);
    mem_free(stream);
}

static void test_no_upgrades(void **state) {
    fake_http_finish(state);
    make_server(60000, false);
    CHECK(HANDSHAKE, 404, NULL, NULL);
}

/* ---- responses ---- */

static void test_headers(void **state) {
    seen.headers = "X-One: 1\r\nContent-Type: application/json\r\nBad Name: x\r\nX-Two:2\r\n"
                   "Content-Length: 999\r\nno colon\r\nX-Three: 3\r\n";
    struct stream *stream = accept_one();
    give(stream, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    check_answer(stream, 200, "hello");
    assert_non_null(strstr(stream->bytes, "\r\nX-One: 1\r\n"));
    assert_non_null(strstr(stream->bytes, "\r\nX-Two: 2\r\n"));
    assert_non_null(
        strstr(stream->bytes, "\r\nX-Three: 3\r\n")); /* a bad header does not spoil the others */
    assert_non_null(strstr(stream->bytes, "\r\nContent-Type: application/json\r\n"));
    assert_null(strstr(stream->bytes, "text/plain"));
    assert_null(strstr(stream->bytes, "Bad Name"));
    assert_null(strstr(stream->bytes, "999"));
    assert_null(strstr(stream->bytes, "no colon"));
    fake_stream_closes(stream);
}

static void test_answers_without_a_body(void **state) {
    struct stream *stream = accept_one();
    give(stream, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    check_answer(stream, 200, "");
    assert_non_null(strstr(stream->bytes, "Content-Length: 5\r\n")); /* as of GET */
    fake_stream_closes(stream);
    seen.status = 204;
    stream = accept_one();
    give(stream, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    check_answer(stream, 204, "");
    fake_stream_closes(stream);
}

static void test_answers_that_come_later(void **state) {
    seen.silent = true;
    struct stream *one = accept_one();
    give(one, "GET /1 HTTP/1.1\r\nHost: x\r\n\r\n");
    uint64_t first = seen.number;
    struct stream *two = accept_one();
    give(two, "GET /2 HTTP/1.1\r\nHost: x\r\n\r\n");
    uint64_t second = seen.number;
    assert_true(first != second);
    fake_stream_closes(one);
    assert_null(http_find(server, first)); /* the client has gone */
    struct http *http = http_find(server, second);
    two->room = 10;
    http_respond_text(http, 503, "Retry-After: 1\r\n", "Later.");
    http_respond(http, 200, NULL, "twice", 5); /* it has a response */
    http_respond_file(http, NULL, "/");
    fake_stream_takes(two, SIZE_MAX);
    check_answer(two, 503, "Later.\n");
    fake_stream_closes(two);
    assert_null(http_find(server, second));
    struct stream *three = accept_one(); /* numbers are never used again */
    give(three, "GET /3 HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_true(seen.number != first && seen.number != second);
    fake_stream_closes(three);
}

/* The client gets the same bytes, however few the socket takes at a time. */
static void test_a_slow_reader(void **state) {
    static char text[300000];
    for (size_t i = 0; i + 1 < sizeof text; i++)
        text[i] = (char)('a' + i % 23);
    seen.text = text;
    uint32_t seed = 5;
    struct stream *stream = accept_one();
    stream->room = 10;
    give(stream, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    while (!stream->shut) {
        assert_true(stream->wants_write);
        seed = seed * 1664525u + 1013904223u;
        fake_stream_takes(stream, (seed >> 8) % 9000);
    }
    check_answer(stream, 200, text);
    fake_stream_closes(stream);
    stream = accept_one(); /* a client that closes in the middle leaves no memory behind */
    stream->room = 1000;
    give(stream, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    fake_stream_closes(stream);
}

static void test_options_of_the_server(void **state) {
    static const char *const requests[] = {
        "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "OPTIONS * HTTP/1.0\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"};
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        struct stream *stream = accept_one();
        give(stream, requests[i]);
        check_answer(stream, 200, "");
        assert_non_null(strstr(stream->bytes, "\r\nContent-Length: 0\r\n"));
        assert_non_null(strstr(stream->bytes, "\r\nAllow: GET, HEAD, POST"));
        fake_stream_closes(stream);
    }
    assert_int_equal(seen.requests, 0);
}

static char folder[64], path[96];
static char content[200000];

static void make_folder(void) {
    strcpy(folder, "/tmp/tidewire-http-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/file.txt", folder);
    for (size_t i = 0; i < sizeof content; i++)
        content[i] = (char)('A' + i % 29);
    FILE *file = fopen(path, "wb");
    assert_int_equal(fwrite(content, 1, sizeof content, file), sizeof content);
    fclose(file);
    seen.root = folder;
}

static void remove_folder(void) {
    unlink(path);
    rmdir(folder);
    seen.root = NULL;
}

/* The socket of a fast client is never full: a turn of the loop has a limit of bytes. */
static void test_a_fast_reader(void **state) {
    static char text[3000000];
    memset(text, 't', sizeof text - 1);
    seen.text = text;
    make_folder();
    const char *root = seen.root;
    for (int file = 0; file < 2; file++) {
        seen.root = file ? root : NULL;
        if (file)
            assert_int_equal(truncate(path, sizeof text), 0);
        struct stream *stream = accept_one();
        give(stream, "GET /file.txt HTTP/1.1\r\nHost: x\r\n\r\n");
        while (!stream->shut) {
            size_t before = stream->len;
            assert_true(stream->wants_write);
            fake_stream_takes(stream, SIZE_MAX);
            assert_in_range(stream->len - before, 1, 1 << 19);
        }
        check_answer(stream, 200, NULL);
        assert_true(stream->len > sizeof text);
        fake_stream_closes(stream);
    }
    remove_folder();
}

/* A client that has sent its request and ends its direction gets its response; others are closed.
 */
static void test_clients_that_end_their_direction(void **state) {
    seen.silent = true;
    struct stream *waiting = accept_one();
    give(waiting, "GET /1 HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_true(fake_stream_ends(waiting));
    http_respond(http_find(server, seen.number), 200, NULL, "late", 4);
    check_answer(waiting, 200, "late");
    assert_false(fake_stream_ends(waiting));
    seen.silent = false;
    struct stream *writing = accept_one();
    writing->room = 10;
    give(writing, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_true(fake_stream_ends(writing));
    fake_stream_takes(writing, SIZE_MAX);
    check_answer(writing, 200, "hello");
    fake_stream_closes(writing);
    struct stream *reading = accept_one();
    give(reading, "GET / HT");
    assert_false(fake_stream_ends(reading));
}

/* The end of an encrypted response that the socket has not taken is not cut off. */
static void test_answers_that_wait_inside_the_stream(void **state) {
    struct stream *stream = accept_one();
    stream->unflushed = true;
    give(stream, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_false(stream->shut);
    stream->unflushed = false;
    fake_stream_takes(stream, SIZE_MAX);
    check_answer(stream, 200, "hello");
    fake_stream_closes(stream);
}

/* ---- files ---- */

static void test_files(void **state) {
    make_folder();
    uint32_t seed = 9;
    struct stream *stream = accept_one();
    stream->room = 100;
    give(stream, "GET /file.txt HTTP/1.1\r\nHost: x\r\n\r\n");
    while (!stream->shut) {
        seed = seed * 1664525u + 1013904223u;
        fake_stream_takes(stream, (seed >> 8) % 100000);
    }
    check_answer(stream, 200, NULL);
    const char *body = strstr(stream->bytes, "\r\n\r\n") + 4;
    assert_int_equal(stream->bytes + stream->len - body, sizeof content);
    assert_memory_equal(body, content, sizeof content);
    fake_stream_closes(stream);
    stream = accept_one();
    give(stream, "HEAD /file.txt HTTP/1.1\r\nHost: x\r\n\r\n");
    check_answer(stream, 200, "");
    assert_non_null(strstr(stream->bytes, "Content-Length: 200000\r\n"));
    fake_stream_closes(stream);
    stream = accept_one();
    give(stream, "GET /file.txt HTTP/1.1\r\nHost: x\r\nRange: bytes=1000-1004\r\n\r\n");
    check_answer(stream, 206, NULL);
    body = strstr(stream->bytes, "\r\n\r\n") + 4;
    assert_int_equal(strlen(body), 5);
    assert_memory_equal(body, content + 1000, 5);
    fake_stream_closes(stream);
    remove_folder();
}

/* The length of the response cannot be kept: the connection is killed. */
static void test_a_file_that_shrinks(void **state) {
    make_folder();
    struct stream *stream = accept_one();
    stream->room = 70000;
    give(stream, "GET /file.txt HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(truncate(path, 80000), 0);
    for (int i = 0; i < 10 && !stream->shut && !stream->killed; i++)
        fake_stream_takes(stream, 100000);
    assert_true(stream->killed);
    fake_stream_closes(stream);
    remove_folder();
}

static int open_descriptors(void) {
    int count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void test_files_are_closed(void **state) {
    make_folder();
    int before = open_descriptors();
    struct stream *stream = accept_one();
    stream->room = 1000;
    give(stream, "GET /file.txt HTTP/1.1\r\nHost: x\r\n\r\n");
    fake_stream_closes(stream); /* in the middle */
    assert_int_equal(open_descriptors(), before);
    remove_folder();
}

/* ---- limits and ends ---- */

/* Many large bodies at once are refused before they take much memory; later ones are accepted. */
static void test_bodies_of_all_together(void **state) {
    enum { MANY = 150 };
    static char body[900000];
    struct stream *streams[MANY];
    int refused = 0, waiting = 0;
    for (int i = 0; i < MANY; i++) {
        streams[i] = accept_one();
        give(streams[i], "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 950000\r\n\r\n");
        fake_stream_gives(streams[i], body, sizeof body);
        if (streams[i]->len == 0)
            waiting++;
        else
            refused++;
    }
    assert_in_range(waiting, 10, 80);
    for (int i = 0; i < MANY; i++) {
        if (streams[i]->len > 0) {
            check_answer(streams[i], 503, NULL);
            assert_non_null(strstr(streams[i]->bytes, "Retry-After: "));
        }
        fake_stream_closes(streams[i]);
    }
    assert_true(refused > 0);
    struct stream *stream = accept_one();
    give(stream, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n");
    fake_stream_gives(stream, body, sizeof body);
    check_answer(stream, 200, "hello");
    fake_stream_closes(stream);
}

/* Bodies of one address have a share; a body counts only the bytes that have arrived. */
static void test_bodies_of_one_address(void **state) {
    static char body[600000];
    static const char head[] = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 600000\r\n\r\n";
    atomic_store(&admission.uploads.max_of_one, 1000000);
    struct stream *one = accept_one(), *two = accept_one();
    give(one, head);
    fake_stream_gives(one, body, 500000);
    assert_int_equal(one->len, 0);
    assert_int_equal(admission.uploads.taken, 600000);
    give(two, head);
    fake_stream_gives(two, body, 500000);
    check_answer(two, 429, NULL);
    assert_int_equal(stats_read(&stats.requests_refused), 1);
    assert_int_equal(admission.uploads.taken, 600000);
    fake_stream_gives(one, body, 100000);
    check_answer(one, 200, "hello");
    assert_int_equal(admission.uploads.taken, 0);
    fake_stream_closes(one);
    fake_stream_closes(two);
}

/* A socket over a limit gets an answer that says so, whatever it requests, and counts until it is
 * closed. */
static void test_sockets_beyond_a_limit(void **state) {
    atomic_store(&admission.connections.max, 1);
    struct stream *first = accept_one(), *plain = accept_one(), *upgrade = accept_one();
    give(plain, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    check_answer(plain, 503, NULL);
    give(upgrade, HANDSHAKE);
    check_answer(upgrade, 503, NULL);
    assert_non_null(strstr(upgrade->bytes, "Retry-After: "));
    assert_int_equal(seen.requests + seen.handshakes, 0);
    assert_int_equal(stats_read(&stats.connections_refused), 2);
    assert_int_equal(limit_taken(&admission.refusals), 2);
    fake_stream_closes(plain);
    fake_stream_closes(upgrade);
    atomic_store(&admission.connections.max, 0);
    atomic_store(&admission.per_address, 1);
    struct stream *second = accept_one();
    give(second, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    check_answer(second, 429, NULL);
    fake_stream_closes(second);
    give(first, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    check_answer(first, 200, "hello");
    fake_stream_closes(first);
}

/* Responses that wait for their clients have a limit, for all and for one address. */
static void test_answers_of_all_together(void **state) {
    static char text[400000];
    memset(text, 't', sizeof text - 1);
    seen.text = text;
    for (int i = 0; i < 2; i++) {
        atomic_store(i == 0 ? &admission.responses.max : &admission.responses.max_of_one, 1000000);
        struct stream *streams[4];
        for (int k = 0; k < 4; k++) {
            streams[k] = accept_one();
            streams[k]->room = 300;
            give(streams[k], "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
            if (k >= 2)
                fake_stream_takes(streams[k], SIZE_MAX);
        }
        assert_in_range(admission.responses.taken, 700000, 1000000);
        check_answer(streams[2], i == 0 ? 503 : 429, NULL);
        check_answer(streams[3], i == 0 ? 503 : 429, NULL);
        assert_int_equal(stats_read(&stats.requests_refused), 2 * (i + 1));
        while (!streams[0]->shut)
            fake_stream_takes(streams[0], SIZE_MAX);
        check_answer(streams[0], 200, text);
        for (int k = 0; k < 4; k++)
            fake_stream_closes(streams[k]);
        assert_int_equal(admission.responses.taken, 0);
        atomic_store(&admission.responses.max, 64 << 20);
    }
}

/* Runs the loop until the stream is shut down or killed. */
static void run_until_over(const struct stream *stream) {
    uint64_t deadline = uv_hrtime() + UINT64_C(60000000000);
    while (!stream->shut && !stream->killed) {
        assert_true(uv_hrtime() < deadline);
        uv_run(&loop, UV_RUN_ONCE);
    }
}

static void test_requests_that_do_not_arrive(void **state) {
    fake_http_finish(state);
    make_server(0, true);
    struct stream *half = accept_one();
    give(half, "GET / HTTP/1.1\r\nHo");
    struct stream *none = accept_one();
    run_until_over(half);
    check_answer(half, 408, NULL);
    run_until_over(none);
    assert_true(none->killed); /* without a request it gets no response */
    assert_int_equal(none->len, 0);
    fake_stream_closes(half);
    fake_stream_closes(none);
    seen.silent = true; /* the client's deadline does not limit the handler */
    struct stream *waits = accept_one();
    give(waits, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    struct stream *other = accept_one();
    run_until_over(other);
    assert_false(waits->shut || waits->killed);
    assert_true(
        fake_stream_ends(waits)); /* the client may be gone, so the handler has limited time */
    run_until_over(waits);
    assert_true(waits->killed);
    fake_stream_closes(waits);
    fake_stream_closes(other);
}

/* After its response a client has limited time to close. */
static void test_a_client_that_does_not_hang_up(void **state) {
    struct stream *stream = accept_one();
    give(stream, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_true(stream->shut && !stream->killed);
    uint64_t deadline = uv_hrtime() + UINT64_C(60000000000);
    while (!stream->killed) {
        assert_true(uv_hrtime() < deadline);
        uv_run(&loop, UV_RUN_ONCE);
    }
    fake_stream_closes(stream);
}

/* The bytes that the client has acknowledged count, not those that the kernel has taken. */
static void test_slow_readers(void **state) {
    static char text[1000000];
    memset(text, 't', sizeof text - 1);
    fake_http_finish(state);
    make_server(60000, true);
    seen.text = text;
    struct http_options options = options_with(60000);
    options.send_ms = 0; /* checked at each tick */
    options.min_send_rate = 0;
    http_server_change(server, &options);
    struct stream *stream = accept_one();
    stream->room = 100000;
    stream->waiting = 100000; /* the client has acknowledged nothing */
    give(stream, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    stream->waiting = 90000;
    uv_run(&loop, UV_RUN_ONCE);
    assert_false(stream->killed); /* it takes some bytes */
    stream->waiting = 89999;
    uv_run(&loop, UV_RUN_ONCE);
    assert_false(stream->killed);
    run_until_over(stream);
    assert_true(stream->reset);
    assert_int_equal(stats_read(&stats.slow_readers), 1);
    fake_stream_closes(stream);
    options.min_send_rate = 1 << 30;
    http_server_change(server, &options);
    stream = accept_one();
    stream->room = 100000;
    stream->waiting = 100000;
    give(stream, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    stream->waiting = 99000; /* these are too few */
    run_until_over(stream);
    assert_true(stream->reset);
    fake_stream_closes(stream);
}

/* Connections without a request are closed; the others get their response. */
static void test_drain(void **state) {
    seen.silent = true;
    struct stream *idle = accept_one(), *reading = accept_one(), *waiting = accept_one();
    give(reading, "GET / HT");
    give(waiting, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(http_server_count(server), 3);
    http_server_drain(server);
    assert_true(idle->killed);
    assert_false(reading->killed || waiting->killed);
    http_server_kill_all(server);
    assert_true(reading->killed && waiting->killed);
    fake_stream_closes(idle);
    fake_stream_closes(reading);
    fake_stream_closes(waiting);
}

static void test_a_socket_that_cannot_be_adopted(void **state) {
    fake_adopt_fails = true;
    http_accept(server, 7, "192.0.2.1");
    fake_adopt_fails = false;
    assert_int_equal(http_server_count(server), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, fake_http_finish)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_plain),
        TEST(test_bodies),
        TEST(test_large_body),
        TEST(test_limits_that_change_meanwhile),
        TEST(test_refusals),
        TEST(test_expect_continue),
        TEST(test_expect_continue_to_a_full_socket),
        TEST(test_upgrades),
        TEST(test_no_upgrades),
        TEST(test_headers),
        TEST(test_answers_without_a_body),
        TEST(test_answers_that_come_later),
        TEST(test_a_slow_reader),
        TEST(test_options_of_the_server),
        TEST(test_a_fast_reader),
        TEST(test_clients_that_end_their_direction),
        TEST(test_answers_that_wait_inside_the_stream),
        TEST(test_files),
        TEST(test_a_file_that_shrinks),
        TEST(test_files_are_closed),
        TEST(test_bodies_of_all_together),
        TEST(test_bodies_of_one_address),
        TEST(test_sockets_beyond_a_limit),
        TEST(test_answers_of_all_together),
        TEST(test_slow_readers),
        TEST(test_requests_that_do_not_arrive),
        TEST(test_a_client_that_does_not_hang_up),
        TEST(test_drain),
        TEST(test_a_socket_that_cannot_be_adopted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
