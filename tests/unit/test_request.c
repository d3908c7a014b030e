/* test_request.c -- which request heads are accepted, and which are refused with which status.
 *
 * Every text is parsed at once and byte by byte, each time from a fresh allocation of exactly the
 * bytes received, so that a sanitizer sees reads beyond them and slices into an old buffer. */
#include "net/http/request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_BYTES = 16384 };

static struct request request;
static char *buffer;

static int parse_prefix(const char *text, size_t len, size_t max_bytes) {
    free(buffer);
    buffer = malloc(len == 0 ? 1 : len);
    memcpy(buffer, text, len);
    return request_parse(&request, buffer, len, max_bytes);
}

/* Parses byte by byte until the result is known, then at once. Both results must be the same. */
static int parse_within(const char *text, size_t len, size_t max_bytes) {
    memset(&request, 0, sizeof(request));
    int dripped = 0;
    for (size_t i = 0; i <= len && dripped == 0; i++)
        dripped = parse_prefix(text, i, max_bytes);
    memset(&request, 0, sizeof(request));
    int whole = parse_prefix(text, len, max_bytes);
    assert_int_equal(dripped, whole);
    if (whole < 0)
        assert_non_null(request.error);
    return whole;
}

static int parse(const char *text) {
    return parse_within(text, strlen(text), MAX_BYTES);
}

static int drop_buffer(void **state) {
    free(buffer);
    buffer = NULL;
    return 0;
}

static void check_slice(struct slice s, const char *want) {
    if (!slice_is(s, want))
        fail_msg("\"%.*s\" instead of \"%s\"", (int)s.len, s.len == 0 ? "" : s.bytes, want);
}

/* The request line and a Host header before `headers`, each of which ends in CRLF. */
static int parse_with(const char *headers) {
    char text[4096];
    snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", headers);
    return parse(text);
}

static void check_refused(const char *text, int status) {
    int got = parse(text);
    if (got != -status)
        fail_msg("%d instead of %d for: %s", got, -status, text);
}

static void check_refused_with(const char *headers, int status) {
    int got = parse_with(headers);
    if (got != -status)
        fail_msg("%d instead of %d for: %s", got, -status, headers);
}

static void test_a_browsers_request(void **state) {
    const char *text = "GET /chat/room%201?token=a%26b&x=? HTTP/1.1\r\n"
                       "Host: example.com:8080\r\n"
                       "User-Agent:  Mozilla/5.0 (X11) \t\r\n"
                       "Cookie: a=1; b=\"2\"\r\n"
                       "X-Empty:\r\n"
                       "x-latin: caf\xE9\r\n"
                       "Connection: keep-alive, Upgrade\r\n"
                       "\r\n";
    assert_int_equal(parse(text), strlen(text));
    check_slice(request.head, text);
    check_slice(request.method, "GET");
    check_slice(request.target, "/chat/room%201?token=a%26b&x=?");
    check_slice(request.path, "/chat/room%201");
    check_slice(request.query, "token=a%26b&x=?");
    check_slice(request.host, "example.com:8080");
    assert_int_equal(request.minor, 1);
    assert_int_equal(request.content_length, -1);
    assert_false(request.chunked);
    assert_false(request.expect_continue);
    assert_int_equal(request.field_count, 6);
    check_slice(request.fields[1].name, "User-Agent");
    check_slice(request.fields[1].value, "Mozilla/5.0 (X11)");
    size_t count = 9;
    check_slice(*request_header(&request, "cookie", &count), "a=1; b=\"2\"");
    assert_int_equal(count, 1);
    check_slice(*request_header(&request, "X-EMPTY", NULL), "");
    check_slice(*request_header(&request, "X-Latin", NULL), "caf\xE9");
    assert_null(request_header(&request, "cook", &count));
    assert_int_equal(count, 0);
    assert_true(request_header_has(&request, "connection", "upgrade"));
    assert_false(request_header_has(&request, "connection", "close"));
}

static void test_bytes_behind_the_head_are_left_alone(void **state) {
    const char *head = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
    char text[256];
    snprintf(text, sizeof(text), "%shello\x81\x01", head);
    assert_int_equal(parse(text), strlen(head));
    assert_int_equal(request.content_length, 5);
    check_slice(request.head, head);
}

static void test_an_empty_line_before_the_request(void **state) {
    assert_int_equal(parse("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 29);
    check_slice(request.head, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    check_refused("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    check_refused("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
}

static void test_moving_the_buffer_after_success(void **state) {
    const char *text = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_int_equal(parse(text), strlen(text));
    assert_int_equal(parse_prefix(text, strlen(text), MAX_BYTES), strlen(text));
    check_slice(request.path, "/x");
    assert_int_equal(request.field_count, 1);
}

static void check_target(const char *target, const char *host, const char *path,
                         const char *query) {
    char text[512];
    snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: header\r\n\r\n", target);
    assert_int_equal(parse(text), strlen(text));
    check_slice(request.host, host);
    check_slice(request.path, path);
    check_slice(request.query, query);
}

static void test_targets(void **state) {
    check_target("/", "header", "/", "");
    check_target("/?", "header", "/", "");
    check_target("/a?b?c", "header", "/a", "b?c");
    check_target("//other/x", "header", "//other/x", "");
    check_target("/a:b@c|{}\\", "header", "/a:b@c|{}\\", "");
    check_target("http://host:81/p?q", "host:81", "/p", "q");
    check_target("HTTPS://host", "host", "/", "");
    check_target("ws://[::1]:80?q=/", "[::1]:80", "/", "q=/");
    check_target("wss://host/?http://x", "host", "/", "http://x");

    const char options[] = "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_int_equal(parse(options), strlen(options));
    check_slice(request.path, "*");
    check_slice(request.host, "a");
    check_refused("OPTIONS *x HTTP/1.1\r\nHost: a\r\n\r\n", 400);

    const char *const bad[] = {"*",
                               "host:80",
                               "a/b",
                               "http://",
                               "http:///a",
                               "http://u@host/",
                               "ftp://host/",
                               "?q",
                               "http://a b/",
                               "http://[::1/",
                               "/a#b",
                               "/caf\xC3\xA9",
                               "/\x7F",
                               "http://h:80a/",
                               "http://h,i/",
                               "/a\tb",
                               "",
                               "http://?q",
                               "http://[]/"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char text[512];
        snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", bad[i]);
        check_refused(text, 400);
    }
}

static void test_request_lines(void **state) {
    assert_true(parse("M-SEARCH!#$%&'*+.^_`|~9 / HTTP/1.1\r\nHost: a\r\n\r\n") > 0);
    assert_true(parse("GET / HTTP/1.9\r\nHost: a\r\n\r\n") > 0);
    assert_int_equal(request.minor, 1);
    assert_true(parse("GET / HTTP/1.0\r\n\r\n") > 0);
    assert_int_equal(request.minor, 0);
    check_slice(request.host, "");

    check_refused("GET /\r\n", 400);
    check_refused("GET / \r\n", 400);
    check_refused("GET  / HTTP/1.1\r\n", 400);
    check_refused("GET /  HTTP/1.1\r\n", 400);
    check_refused("GET / HTTP/1.1 \r\n", 400);
    check_refused("GET\t/ HTTP/1.1\r\n", 400);
    check_refused(" GET / HTTP/1.1\r\n", 400);
    check_refused("G(T / HTTP/1.1\r\n", 400);
    check_refused("GET / http/1.1\r\n", 400);
    check_refused("GET / HTTP/1.11\r\n", 400);
    check_refused("GET / HTTP/11\r\n", 400);
    check_refused("GET / HTTP/1.\r\n", 400);
    check_refused("GET / HTTP/1.1\n", 400);
    check_refused("GET / HTTP/1.1\rX", 400);
    check_refused("GET / HTTP/2.0\r\n", 505);
    check_refused("GET / HTTP/0.9\r\n", 505);
    check_refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505);
    check_refused("AMETHODOFTHIRTYTWOBYTESANDONEMORE / HTTP/1.1\r\n", 501);
}

/* Refused without waiting for a blank line that never comes. */
static void test_what_is_not_http_is_refused_at_once(void **state) {
    assert_int_equal(parse_within("\x16\x03\x01", 3, MAX_BYTES), -400);
    assert_non_null(strstr(request.error, "TLS"));
    for (int c = 0; c < 256; c++) {
        char byte = (char)c;
        bool fine = request_token_byte((unsigned char)c) || c == '\r';
        assert_int_equal(parse_within(&byte, 1, MAX_BYTES), fine ? 0 : -400);
    }
    check_refused("GET /\x01", 400);
    check_refused("GET / HTTQ", 400);
    check_refused("GET / HTTP/1.1\r\n ", 400);
    check_refused("GET / HTTP/1.1\r\nName ", 400);
}

static void test_header_lines(void **state) {
    assert_true(parse_with("A:b\r\nA: \t \r\n!x: a:b,c;d=\"e\"\r\n") > 0);
    size_t count;
    check_slice(*request_header(&request, "a", &count), "b");
    assert_int_equal(count, 2);
    check_slice(request.fields[2].value, "");

    check_refused_with("Name : value\r\n", 400);
    check_refused_with("Name\r\n", 400);
    check_refused_with(": value\r\n", 400);
    check_refused_with("Na me: value\r\n", 400);
    check_refused_with("N\xC3\xA9: value\r\n", 400);
    check_refused_with("A: b\r\n folded\r\n", 400);
    check_refused_with("A: b\r\n\tfolded\r\n", 400);
    check_refused_with(" A: b\r\n", 400);
    check_refused_with("A: b\n", 400);
    check_refused_with("A: b\rC: d\r\n", 400);
    check_refused_with("A: b\r\r\n", 400);
    check_refused_with("A: \x01\r\n", 400);
    check_refused_with("A: \x7F\r\n", 400);
    check_refused_with("A: b\r\n\n", 400);
    const char nul[] = "GET / HTTP/1.1\r\nHost: a\r\nA: b\0c\r\n\r\n";
    assert_int_equal(parse_within(nul, sizeof(nul) - 1, MAX_BYTES), -400);
}

static void test_hosts(void **state) {
    const char *const good[] = {"a", "a.example", "127.0.0.1:8080",    "[::1]", "[::1]:80", "h:",
                                "",  "a_b-c.d~e", "[fe80::1%25eth0]:1"};
    const char *const bad[] = {"a b",  "a/b",    "u@h", "a,b", "h:80a", ":80",
                               "[::1", "[::1]x", "a\"", "::1", "[g h]"};
    char text[256];
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", good[i]);
        assert_int_equal(parse(text), strlen(text));
        check_slice(request.host, good[i]);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", bad[i]);
        check_refused(text, 400);
    }
    check_refused("GET / HTTP/1.1\r\n\r\n", 400);
    check_refused("GET http://a/ HTTP/1.1\r\n\r\n", 400);
    check_refused_with("Host: a\r\n", 400);
    check_refused_with("hOST: b\r\n", 400);
}

/* When two parsers disagree on the length of a body, requests can be smuggled. */
static void test_body_lengths(void **state) {
    assert_true(parse_with("Content-Length: 0\r\n") > 0);
    assert_int_equal(request.content_length, 0);
    assert_true(parse_with("Content-Length: 007\r\ncontent-length: 7\r\n") > 0);
    assert_int_equal(request.content_length, 7);
    assert_true(parse_with("Content-Length: 999999999999999999\r\n") > 0);
    assert_true(request.content_length == INT64_C(999999999999999999));
    assert_true(parse_with("Transfer-Encoding: Chunked\r\n") > 0);
    assert_true(request.chunked);
    assert_int_equal(request.content_length, -1);

    check_refused_with("Content-Length:\r\n", 400);
    check_refused_with("Content-Length: -1\r\n", 400);
    check_refused_with("Content-Length: +1\r\n", 400);
    check_refused_with("Content-Length: 1 2\r\n", 400);
    check_refused_with("Content-Length: 0x10\r\n", 400);
    check_refused_with("Content-Length: 5, 5\r\n", 400);
    check_refused_with("Content-Length: 5\r\nContent-Length: 6\r\n", 400);
    check_refused_with("Content-Length: 18446744073709551617\r\n", 413);
    check_refused_with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400);
    check_refused_with("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", 400);
    check_refused_with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400);
    check_refused_with("Transfer-Encoding: identity\r\n", 501);
    check_refused_with("Transfer-Encoding: gzip, chunked\r\n", 501);
    check_refused_with("Transfer-Encoding: chunked, chunked\r\n", 501);
    check_refused_with("Transfer-Encoding: xchunked\r\n", 501);
    check_refused_with("Transfer-Encoding:\r\n", 501);
    check_refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
}

static void test_expect(void **state) {
    assert_true(parse_with("Expect: 100-Continue\r\nContent-Length: 3\r\n") > 0);
    assert_true(request.expect_continue);
    check_refused_with("Expect: tea\r\n", 417);
    assert_true(parse("GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n") > 0);
    assert_false(request.expect_continue);
}

static void test_lists(void **state) {
    assert_true(request_list_has(slice_of("Upgrade"), "upgrade"));
    assert_true(request_list_has(slice_of("keep-alive, Upgrade"), "upgrade"));
    assert_true(request_list_has(slice_of(" ,,\tupgrade\t, "), "upgrade"));
    assert_false(request_list_has(slice_of("upgrades"), "upgrade"));
    assert_false(request_list_has(slice_of("not upgrade"), "upgrade"));
    assert_false(request_list_has(slice_of(""), "upgrade"));
    assert_false(request_list_has(slice_of(",,"), ""));
    assert_false(request_list_has((struct slice){NULL, 0}, "upgrade"));

    struct slice list = slice_of("a, b c ,,d"), item;
    assert_true(request_list_next(&list, &item));
    check_slice(item, "a");
    assert_true(request_list_next(&list, &item));
    check_slice(item, "b c");
    assert_true(request_list_next(&list, &item));
    check_slice(item, "d");
    assert_false(request_list_next(&list, &item));
}

static void test_limits(void **state) {
    /* As many headers as allowed, and one more. */
    for (size_t extra = 0; extra <= 1; extra++) {
        char text[8192] = "GET / HTTP/1.1\r\nHost: a\r\n";
        for (size_t i = 0; i < REQUEST_MAX_HEADERS - 1 + extra; i++)
            strcat(text, "A: b\r\n");
        strcat(text, "\r\n");
        int got = parse(text);
        if (extra == 0)
            assert_int_equal(request.field_count, REQUEST_MAX_HEADERS);
        assert_int_equal(got, extra == 0 ? (int)strlen(text) : -431);
    }
    /* Exactly the allowed bytes, and one less. */
    const char *text = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    size_t len = strlen(text);
    assert_int_equal(parse_within(text, len, len), len);
    assert_int_equal(parse_within(text, len, len - 1), -431);
    assert_int_equal(parse_within(text, len, 17), -431);
    assert_int_equal(parse_within(text, len, 10), -414);
}

static void test_long_targets_and_headers(void **state) {
    static char text[MAX_BYTES + 100];
    memset(text, 'a', sizeof(text));
    memcpy(text, "GET /", 5);
    memset(&request, 0, sizeof(request));
    assert_int_equal(parse_prefix(text, MAX_BYTES - 1, MAX_BYTES), 0);
    assert_int_equal(parse_prefix(text, MAX_BYTES, MAX_BYTES), -414);
    const char *start = "GET / HTTP/1.1\r\nCookie: ";
    memcpy(text, start, strlen(start));
    memset(&request, 0, sizeof(request));
    assert_int_equal(parse_prefix(text, MAX_BYTES + 100, MAX_BYTES), -431);
}

static uint32_t random_state = 99;

static uint32_t random_below(uint32_t limit) {
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % limit;
}

/* True of every accepted head. */
static void check_accepted(int length, size_t len) {
    assert_true(length > 0 && (size_t)length <= len);
    assert_true(request_is_token(request.method));
    assert_true(request.path.len > 0 && request.path.bytes[0] == '/');
    assert_true(request.field_count <= REQUEST_MAX_HEADERS);
    assert_false(request.chunked && request.content_length >= 0);
    const char *end = request.head.bytes + request.head.len;
    assert_memory_equal(end - 4, "\r\n\r\n", 4);
    for (size_t i = 0; i < request.field_count; i++) {
        assert_true(request_is_token(request.fields[i].name));
        struct slice value = request.fields[i].value;
        assert_true(value.bytes >= request.head.bytes && value.bytes + value.len < end);
        assert_true(value.len == 0 || memchr(value.bytes, '\n', value.len) == NULL);
    }
}

/* Good requests with bytes changed, removed and doubled: any result, the same byte by byte and at
 * once. */
static void test_random_damage(void **state) {
    static const char *const seeds[] = {
        "GET /chat?x=1 HTTP/1.1\r\nHost: a:80\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "POST http://h/p HTTP/1.1\r\nHost: h\r\nContent-Length: 12\r\nExpect: 100-continue\r\n\r\n",
        "PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"};
    static const char telling[] = "\r\n\t :,/?#*\0\x7F\x80\xFF"
                                  "0a";
    int accepted = 0, refused = 0;
    for (int round = 0; round < 20000; round++) {
        char text[512];
        const char *seed = seeds[random_below(3)];
        size_t len = strlen(seed);
        memcpy(text, seed, len);
        for (uint32_t n = random_below(3); n > 0; n--) {
            size_t at = random_below((uint32_t)len);
            size_t run = random_below(6);
            switch (random_below(3)) {
            case 0:
                text[at] = telling[random_below(sizeof(telling) - 1)];
                break;
            case 1: /* cut out */
                run = run > len - at - 1 ? 0 : run;
                memmove(text + at, text + at + run, len - at - run);
                len -= run;
                break;
            default: /* double */
                run = run > len - at ? 0 : run;
                memmove(text + at + run, text + at, len - at);
                len += run;
            }
        }
        int got = parse_within(text, len, random_below(8) == 0 ? 40 : MAX_BYTES);
        if (got > 0)
            check_accepted(got, len);
        accepted += got > 0;
        refused += got < 0;
    }
    assert_true(accepted > 1000 && refused > 1000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_browsers_request),
        cmocka_unit_test(test_bytes_behind_the_head_are_left_alone),
        cmocka_unit_test(test_an_empty_line_before_the_request),
        cmocka_unit_test(test_moving_the_buffer_after_success),
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_request_lines),
        cmocka_unit_test(test_what_is_not_http_is_refused_at_once),
        cmocka_unit_test(test_header_lines),
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_body_lengths),
        cmocka_unit_test(test_expect),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_long_targets_and_headers),
        cmocka_unit_test(test_random_damage),
    };
    return cmocka_run_group_tests(tests, NULL, drop_buffer);
}
