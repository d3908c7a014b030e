/* test_http_keep.c -- several requests on one connection: which connections are kept, requests that
 * come ahead, and the ends. With a fake stream; the loop is real. */
#include "fake_http.h"

#include <stdio.h>
#include <stdlib.h>

static struct http_options options;

/* What the handlers have seen, and what they do. */
static struct {
    int requests, handshakes;
    char target[256], ahead[256];
    uint64_t number;
    bool silent, refuse_handshakes;
    const char *headers;
} seen;

/* Answers with the request's target. */
static void on_request(void *user, struct http *http, const struct request *request, char *body,
                       size_t body_len) {
    (void)user;
    (void)body;
    seen.requests++;
    snprintf(seen.target, sizeof seen.target, "%.*s+%zu", (int)request->target.len,
             request->target.bytes, body_len);
    seen.number = http_number(http);
    if (!seen.silent)
        http_respond(http, 200, seen.headers, seen.target, strlen(seen.target));
}

static void on_handshake(void *user, struct http *http, const struct request *request, char *ahead,
                         size_t ahead_len) {
    (void)user;
    (void)request;
    seen.handshakes++;
    snprintf(seen.ahead, sizeof seen.ahead, "%.*s", (int)ahead_len, ahead);
    if (seen.refuse_handshakes) {
        http_respond_refusal(http, 403, NULL, "No.");
        return;
    }
    struct permit permit = http_take_permit(http);
    http_detach(http);
    admission_release(&admission, &permit);
}

static int start(void **state) {
    (void)state;
    memset(&seen, 0, sizeof seen);
    options = (struct http_options){.max_head_bytes = 4000,
                                    .max_body_bytes = 100000,
                                    .request_ms = 60000,
                                    .keep_alive_ms = 7500,
                                    .half_closed_ms = 60000,
                                    .send_ms = 60000,
                                    .admission = &admission};
    fake_http_start(&options, 1 << 20);
    http_server_on_request(server, on_request, NULL);
    http_server_on_handshake(server, on_handshake, NULL);
    return 0;
}

/* Forgets what was written. */
static void clear(struct stream *stream) {
    stream->len = 0;
    if (stream->bytes != NULL)
        stream->bytes[0] = '\0';
}

static bool has(const struct stream *stream, const char *text) {
    return stream->bytes != NULL && strstr(stream->bytes, text) != NULL;
}

/* The number of responses that say this. */
static int count(const struct stream *stream, const char *text) {
    int found = 0;
    for (const char *at = stream->bytes; at != NULL && (at = strstr(at, text)) != NULL; at++)
        found++;
    return found;
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"

static void test_two_requests(void **state) {
    (void)state;
    struct stream *stream = accept_one();
    give(stream, GET("/one"));
    assert_true(has(stream, "Connection: keep-alive\r\nKeep-Alive: timeout=7\r\n\r\n/one+0"));
    uint64_t number = seen.number;
    assert_null(http_find(server, number));
    clear(stream);
    give(stream, "POST /two HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhel");
    give(stream, "lo");
    assert_true(has(stream, "/two+5"));
    assert_true(seen.number != number);
    clear(stream);
    give(stream, "HEAD /three HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_true(has(stream, "Content-Length: 8\r\nConnection: close\r\n\r\n"));
    assert_false(has(stream, "/three"));
    assert_true(stream->shut);
    give(stream, GET("/four")); /* behind the last one */
    assert_int_equal(seen.requests, 3);
    fake_stream_closes(stream);
}

/* A script that answers late, or twice, does not answer the next request. */
static void test_responses_to_an_older_request(void **state) {
    (void)state;
    seen.silent = true;
    struct stream *stream = accept_one();
    give(stream, GET("/one"));
    uint64_t number = seen.number;
    http_respond(http_find(server, number), 204, NULL, NULL, 0);
    assert_true(has(stream, "HTTP/1.1 204 No Content\r\n"));
    assert_true(has(stream, "Connection: keep-alive\r\n"));
    give(stream, GET("/two"));
    assert_null(http_find(server, number));
    assert_non_null(http_find(server, seen.number));
    fake_stream_closes(stream);
}

static void check_kept(const char *request, bool kept) {
    struct stream *stream = accept_one();
    give(stream, request);
    assert_int_equal(has(stream, "Connection: keep-alive\r\nKeep-Alive: timeout=7\r\n"), kept);
    assert_int_equal(has(stream, "Connection: close\r\n"), !kept);
    assert_int_equal(stream->shut, !kept);
    fake_stream_closes(stream);
}

static void test_which_are_kept(void **state) {
    (void)state;
#define LINES(version, lines) "GET / HTTP/" version "\r\nHost: x\r\n" lines "\r\n"
    check_kept(LINES("1.1", ""), true);
    check_kept(LINES("1.1", "Connection: Keep-Alive\r\n"), true);
    check_kept(LINES("1.1", "Connection: close\r\n"), false);
    check_kept(LINES("1.1", "Connection: keep-alive, TE , CLOSE\r\n"), false);
    check_kept(LINES("1.1", "Connection: keep-alive\r\nConnection: close\r\n"), false);
    check_kept(LINES("1.1", "Connection: closed\r\n"), true);
    check_kept(LINES("1.0", ""), false);
    check_kept(LINES("1.0", "Connection: keep-alive\r\n"), true);
    check_kept(LINES("1.0", "Connection: close, keep-alive\r\n"), false);
    check_kept("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", true);
    seen.headers = "Upgrade: websocket\r\n";
    struct stream *stream = accept_one();
    give(stream, GET("/"));
    assert_true(has(stream, "Connection: Upgrade, keep-alive\r\n"));
    fake_stream_closes(stream);
    seen.headers = NULL;
    options.keep_alive_ms = 0;
    http_server_change(server, &options);
    check_kept(LINES("1.1", "Connection: keep-alive\r\n"), false);
    options.keep_alive_ms = 500;
    http_server_change(server, &options);
    stream = accept_one();
    give(stream, GET("/"));
    assert_true(has(stream, "Connection: keep-alive\r\n\r\n"));
    fake_stream_closes(stream);
}

/* What is refused ends the connection: nothing behind it is a request. */
static void test_refusals_of_later_requests(void **state) {
    (void)state;
    static const char *const wrong[] = {
        "GET / HTTP/1.1\nHost: x\n\n",
        "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\rA: b\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 6\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
        "0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
        "POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100001\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "hel(lo",
        "\x16\x03\x01",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        for (int ahead = 0; ahead < 2; ahead++) {
            char both[1024];
            seen.requests = 0;
            struct stream *stream = accept_one();
            snprintf(both, sizeof both, "%s%s%s", ahead ? GET("/one") : "", wrong[i], GET("/no"));
            if (!ahead)
                give(stream, GET("/one"));
            give(stream, both);
            uv_run(&loop, UV_RUN_NOWAIT);
            give(stream, GET("/neither"));
            uv_run(&loop, UV_RUN_NOWAIT);
            if (seen.requests != 1)
                fail_msg("taken: %s", wrong[i]);
            assert_int_equal(count(stream, "HTTP/1.1 "), 2);
            assert_int_equal(count(stream, "Connection: close\r\n"), 1);
            assert_true(stream->shut);
            assert_int_equal(admission.uploads.taken, 0);
            fake_stream_closes(stream);
        }
    }
}

/* ---- requests that come ahead ---- */

/* The body of each response is the target of its request, in their order. */
static void check_order(const struct stream *stream, int requests) {
    const char *at = stream->bytes;
    for (int i = 0; i < requests; i++) {
        char want[32];
        snprintf(want, sizeof want, "\r\n\r\n/%d+%d", i, i % 7 == 0 ? 5 : 0);
        at = strstr(at, "\r\n\r\n");
        assert_non_null(at);
        if (strncmp(at, want, strlen(want)) != 0)
            fail_msg("the response to request %d is: %.20s", i, at + 4);
        at += strlen(want);
    }
    assert_string_equal(at, "");
}

/* However the bytes are cut, and however little of the responses the socket takes at once. */
static void test_many_ahead(void **state) {
    (void)state;
    enum { REQUESTS = 3000 };
    char *bytes = malloc(REQUESTS * 100);
    size_t len = 0;
    for (int i = 0; i < REQUESTS; i++)
        len += (size_t)sprintf(bytes + len, "%s /%d HTTP/1.1\r\nHost: x\r\n%s",
                               i % 7 == 0 ? "POST" : "GET", i,
                               i % 7 == 0 ? "Content-Length: 5\r\n\r\nhello" : "\r\n");
    static const size_t pieces[] = {SIZE_MAX, 130000, 4096, 61};
    for (size_t p = 0; p < sizeof pieces / sizeof pieces[0]; p++) {
        struct stream *stream = accept_one();
        seen.requests = 0;
        stream->room = p % 2 == 0 ? SIZE_MAX : 100;
        size_t at = 0;
        while (seen.requests < REQUESTS || !has(stream, "/2999+0")) {
            if (at < len && !stream->paused) {
                size_t piece = len - at < pieces[p] ? len - at : pieces[p];
                fake_stream_gives(stream, bytes + at, piece);
                at += piece;
            }
            uv_run(&loop, UV_RUN_NOWAIT);
            if (stream->wants_write)
                fake_stream_takes(stream, 1000);
        }
        assert_false(stream->paused);
        assert_int_equal(admission.uploads.taken, 0);
        check_order(stream, REQUESTS);
        fake_stream_closes(stream);
    }
    free(bytes);
}

/* One turn of the loop takes one request of each connection. */
static void test_turns(void **state) {
    (void)state;
    struct stream *one = accept_one(), *two = accept_one();
    give(one, GET("/1") GET("/2") GET("/3") GET("/4"));
    assert_int_equal(seen.requests, 1);
    give(two, GET("/5") GET("/6"));
    assert_int_equal(seen.requests, 2);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_true(has(one, "/2") && !has(one, "/3") && has(two, "/6"));
    uv_run(&loop, UV_RUN_NOWAIT);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_true(has(one, "/4"));
    fake_stream_closes(one);
    give(two, GET("/7") GET("/8"));
    fake_stream_closes(two); /* with a request ahead */
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(seen.requests, 7);
}

/* While a request has no response, the bytes behind it are bounded. */
static void test_bytes_ahead(void **state) {
    (void)state;
    static char many[100000];
    memset(many, '\r', sizeof many);
    seen.silent = true;
    struct stream *stream = accept_one();
    give(stream, GET("/1"));
    give(stream, GET("/2"));
    assert_int_equal(seen.requests, 1);
    assert_false(stream->paused);
    size_t given = strlen(GET("/2"));
    while (!stream->paused && given < sizeof many) {
        fake_stream_gives(stream, many, 1000);
        given += 1000;
    }
    assert_true(stream->paused);
    assert_in_range(given, 1000, 40000);
    assert_int_equal(admission.uploads.taken, given);
    stream->events->broken(stream->owner); /* it is paused, so nobody else would close it */
    assert_true(stream->killed);
    fake_stream_closes(stream);
    assert_int_equal(admission.uploads.taken, 0);
    /* where the limit on all of them is reached, the present request is the last one */
    atomic_store(&admission.uploads.max, 5000);
    stream = accept_one();
    give(stream, GET("/3"));
    fake_stream_gives(stream, many, 4000);
    fake_stream_gives(stream, many, 4000);
    assert_int_equal(admission.uploads.taken, 0);
    http_respond(http_find(server, seen.number), 200, NULL, "late", 4);
    assert_true(has(stream, "Connection: close\r\n\r\nlate"));
    assert_true(stream->shut);
    fake_stream_closes(stream);
}

#define HANDSHAKE                                                                                  \
    "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"                 \
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"

static void test_handshakes_behind_requests(void **state) {
    (void)state;
    for (int ahead = 0; ahead < 2; ahead++) {
        struct stream *stream = accept_one();
        if (ahead) {
            give(stream, GET("/one") GET("/two") HANDSHAKE "frames" GET("/no"));
        } else {
            give(stream, GET("/one"));
            give(stream, GET("/two"));
            give(stream, HANDSHAKE "frames" GET("/no"));
        }
        for (int i = 0; i < 4; i++)
            uv_run(&loop, UV_RUN_NOWAIT);
        assert_int_equal(seen.handshakes, 1 + ahead);
        assert_string_equal(seen.ahead, "frames" GET("/no"));
        assert_int_equal(seen.requests, 2 + 2 * ahead);
        assert_int_equal(http_server_count(server), 0);
        mem_free(stream->bytes);
        mem_free(stream);
    }
    seen.refuse_handshakes = true; /* what follows may be frames */
    struct stream *stream = accept_one();
    give(stream, HANDSHAKE GET("/no"));
    assert_true(has(stream, "Connection: close\r\n"));
    assert_true(stream->shut);
    assert_int_equal(seen.requests, 4);
    fake_stream_closes(stream);
}

static void test_expect_continue_of_a_later_request(void **state) {
    (void)state;
    struct stream *stream = accept_one();
    give(stream, GET("/one"));
    clear(stream);
    give(stream, "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
                 "Expect: 100-continue\r\n\r\n");
    assert_string_equal(stream->bytes, "HTTP/1.1 100 Continue\r\n\r\n");
    give(stream, "hello" GET("/three"));
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_true(has(stream, "/p+5") && has(stream, "/three+0"));
    fake_stream_closes(stream);
}

/* ---- ends ---- */

/* All requests of a client that has ended its direction get their responses. */
static void test_clients_that_end_their_direction(void **state) {
    (void)state;
    struct stream *stream = accept_one();
    give(stream, GET("/1") GET("/2") GET("/3"));
    assert_true(fake_stream_ends(stream));
    for (int i = 0; i < 3; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(count(stream, "HTTP/1.1 200"), 3);
    assert_int_equal(count(stream, "Connection: close"), 1);
    assert_true(has(stream, "Connection: close\r\n\r\n/3+0"));
    assert_true(stream->shut);
    fake_stream_closes(stream);
    stream = accept_one(); /* the last one is cut off */
    give(stream, GET("/4") "GET /5 HT");
    assert_true(fake_stream_ends(stream));
    for (int i = 0; i < 2; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(count(stream, "HTTP/1.1 "), 1);
    assert_true(stream->killed);
    fake_stream_closes(stream);
    stream = accept_one();
    give(stream, GET("/6"));
    assert_false(fake_stream_ends(stream)); /* idle */
}

static void test_limit_on_requests(void **state) {
    (void)state;
    options.keep_alive_requests = 3;
    http_server_change(server, &options);
    struct stream *stream = accept_one();
    give(stream, GET("/1") GET("/2") GET("/3") GET("/4"));
    for (int i = 0; i < 4; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(seen.requests, 3);
    assert_int_equal(count(stream, "Connection: keep-alive"), 2);
    assert_true(has(stream, "Connection: close\r\n\r\n/3+0"));
    assert_true(stream->shut);
    fake_stream_closes(stream);
}

/* A reload lets each connection of before have one more request: none is lost. */
static void test_change_of_options(void **state) {
    (void)state;
    struct stream *stream = accept_one();
    give(stream, GET("/1"));
    http_server_change(server, &options);
    assert_false(stream->shut || stream->killed);
    give(stream, GET("/2"));
    assert_true(has(stream, "Connection: close\r\n\r\n/2+0"));
    fake_stream_closes(stream);
}

/* A socket that was accepted over the limit gets a place that is free when its request is there. */
static void test_a_place_that_becomes_free(void **state) {
    (void)state;
    atomic_store(&admission.connections.max, 1);
    seen.silent = true;
    struct stream *first = accept_one();
    give(first, GET("/1"));
    struct stream *second = accept_one(), *third = accept_one();
    give(third, GET("/3"));
    assert_true(has(third, "HTTP/1.1 503 "));
    http_respond(http_find(server, seen.number), 200, NULL, "idle", 4);
    seen.silent = false;
    give(second, GET("/2"));
    assert_true(has(second, "\r\n\r\n/2+0"));
    assert_int_equal(limit_taken(&admission.connections), 1);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_true(first->killed);
    assert_int_equal(stats_read(&stats.idle_evicted), 1);
    fake_stream_closes(first);
    fake_stream_closes(second);
    fake_stream_closes(third);
    assert_int_equal(limit_taken(&admission.refusals), 0);
}

static void test_drain(void **state) {
    (void)state;
    struct stream *idle = accept_one(), *waiting = accept_one(), *fresh = accept_one();
    struct stream *arrived = accept_one();
    give(idle, GET("/1"));
    give(arrived, GET("/1"));
    arrived->has_input = true; /* its next request was not read yet */
    seen.silent = true;
    give(waiting, GET("/2") GET("/3"));
    http_server_end_keep_alive(server);
    assert_true(idle->killed && idle->shut);
    assert_false(waiting->killed || fresh->killed);
    http_respond(http_find(server, seen.number), 200, NULL, "last", 4);
    assert_true(has(waiting, "Connection: close\r\n\r\nlast"));
    assert_true(waiting->shut);
    seen.silent = false;
    give(fresh, GET("/4"));
    assert_true(has(fresh, "Connection: close\r\n\r\n/4+0"));
    assert_false(arrived->killed);
    give(arrived, GET("/5"));
    assert_true(has(arrived, "Connection: close\r\n\r\n/5+0"));
    fake_stream_closes(arrived);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(seen.requests, 5);
    fake_stream_closes(idle);
    fake_stream_closes(waiting);
    fake_stream_closes(fresh);
}

static void run_until_over(const struct stream *stream) {
    uint64_t deadline = uv_hrtime() + UINT64_C(60000000000);
    while (!stream->shut && !stream->killed) {
        assert_true(uv_hrtime() < deadline);
        uv_run(&loop, UV_RUN_ONCE);
    }
}

static void test_deadlines(void **state) {
    (void)state;
    struct stream *idle = accept_one(), *slow = accept_one();
    give(slow, GET("/1"));
    options.keep_alive_ms = options.request_ms = 1; /* of what begins from now on */
    options.keep_alive_requests = 0;
    http_server_change(server, &options);
    struct stream *other = accept_one();
    give(other, GET("/2"));
    give(slow, "GET /3 HTTP/1.1\r\nHo");
    run_until_over(other);
    assert_true(other->killed && other->shut); /* without a response */
    assert_int_equal(count(other, "HTTP/1.1 "), 1);
    run_until_over(slow);
    assert_true(has(slow, "HTTP/1.1 408 Request Timeout\r\n"));
    assert_false(idle->killed); /* it has the time of when it was accepted */
    fake_stream_closes(idle);
    fake_stream_closes(slow);
    fake_stream_closes(other);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, fake_http_finish)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_two_requests),
        TEST(test_responses_to_an_older_request),
        TEST(test_which_are_kept),
        TEST(test_refusals_of_later_requests),
        TEST(test_many_ahead),
        TEST(test_turns),
        TEST(test_bytes_ahead),
        TEST(test_handshakes_behind_requests),
        TEST(test_expect_continue_of_a_later_request),
        TEST(test_clients_that_end_their_direction),
        TEST(test_limit_on_requests),
        TEST(test_change_of_options),
        TEST(test_a_place_that_becomes_free),
        TEST(test_drain),
        TEST(test_deadlines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
