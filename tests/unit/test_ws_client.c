/* test_ws_client.c -- the client's side of the protocol: URLs, the request and the response of the
 * handshake, frames that the server's side reads, and frames of servers. */
#include "net/client/ws_client.h"

#include "base/mem.h"
#include "core/frames/frame_reader.h"
#include "net/client/url.h"
#include "net/http/handshake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- URLs ---- */

static void test_urls(void **state) {
    static const struct {
        const char *text, *host, *port, *authority, *target;
        bool secure;
    } urls[] = {
        {"ws://example.com", "example.com", "80", "example.com", "/", false},
        {"wss://example.com/a?b=c", "example.com", "443", "example.com", "/a?b=c", true},
        {"WSS://Example.com/", "Example.com", "443", "Example.com", "/", true},
        {"ws://example.com:8080?x", "example.com", "8080", "example.com:8080", "/?x", false},
        {"http://[::1]:9/", "::1", "9", "[::1]:9", "/", false},
        {"https://[fe80::1]", "fe80::1", "443", "[fe80::1]", "/", true},
        {"localhost:8080/chat", "localhost", "8080", "localhost:8080", "/chat", false},
        {":8080", "127.0.0.1", "8080", "127.0.0.1:8080", "/", false},
        {"unix:/run/a.sock", "/run/a.sock", "", "localhost", "/", false},
        {"ws+unix:/run/a.sock:/chat?x=1", "/run/a.sock", "", "localhost", "/chat?x=1", false},
    };
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        struct url url;
        char error[256] = "";
        if (!url_parse(urls[i].text, &url, error, sizeof error))
            fail_msg("%s: %s", urls[i].text, error);
        assert_string_equal(url.host, urls[i].host);
        assert_string_equal(url.port, urls[i].port);
        assert_string_equal(url.authority, urls[i].authority);
        assert_string_equal(url.target, urls[i].target);
        assert_int_equal(url.secure, urls[i].secure);
        url_close(&url);
    }
}

static void test_no_urls(void **state) {
    static const struct {
        const char *text, *part;
    } wrong[] = {
        {"", "host is missing"},
        {"ws:///chat", "host is missing"},
        {"ftp://a/", "ws:// or wss://"},
        {"ws://a/b c", "percent-encoded"},
        {"ws://a/b#c", "percent-encoded"},
        {"ws://a/\x7f", "percent-encoded"},
        {"ws://\xc3\xa9/", "Punycode"},
        {"ws://a/\xc3\xa9", "percent-encoded"},
        {"ws://u:p@a/", "Authorization"},
        {"ws://a:0/", "1 to 65535"},
        {"ws://a:65536/", "1 to 65535"},
        {"ws://a:/", "1 to 65535"},
        {"ws://a:8a/", "1 to 65535"},
        {"ws://[::1/", "not closed"},
        {"ws://[::1]8/", "follow the bracket"},
        {"ws://a`b/", "not a name or an address"},
        {"ws://a,b:1/", "not a name or an address"},
        {"ws://[]:80/", "not a name or an address"},
        {"unix:", "path of the socket"},
        {"ws://a\r\nX: y/", "percent-encoded"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct url url;
        char error[256] = "";
        if (url_parse(wrong[i].text, &url, error, sizeof error))
            fail_msg("taken: %s", wrong[i].text);
        if (strstr(error, wrong[i].part) == NULL)
            fail_msg("%s: %s", wrong[i].text, error);
        url_close(&url);
    }
}

/* ---- the handshake ---- */

static const char *const protocols[] = {"v2", "v1"};
static const struct ws_client_options nothing = {0}, two = {NULL, 0, protocols, 2};

static void test_request(void **state) {
    static const char *const headers[] = {"X-Token: secret", "Origin: https://a.example"};
    struct ws_client_options options = {headers, 2, protocols, 2};
    struct url url;
    char error[64], key[WS_CLIENT_KEY_BYTES], other[WS_CLIENT_KEY_BYTES], expected[512];
    assert_true(url_parse("ws://a.example:81/chat?x=1", &url, error, sizeof error));
    char *request = ws_client_write_request(&url, &options, key);
    assert_int_equal(strlen(key), 24);
    snprintf(expected, sizeof expected,
             "GET /chat?x=1 HTTP/1.1\r\nHost: a.example:81\r\nUpgrade: websocket\r\n"
             "Connection: Upgrade\r\nSec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n"
             "Sec-WebSocket-Protocol: v2, v1\r\nX-Token: secret\r\n"
             "Origin: https://a.example\r\n\r\n",
             key);
    assert_string_equal(request, expected);
    mem_free(request);
    static const char *const host[] = {"host: b"};
    struct ws_client_options own_host = {host, 1, NULL, 0};
    request = ws_client_write_request(&url, &own_host, other);
    assert_string_not_equal(key, other);
    assert_null(strstr(request, "Host: a.example"));
    assert_non_null(strstr(request, "host: b\r\n\r\n"));
    mem_free(request);
    url_close(&url);
}

static const char KEY[] = "dGhlIHNhbXBsZSBub25jZQ=="; /* of RFC 6455 section 1.3 */
#define PROOF  "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
#define STATUS "HTTP/1.1 101 Switching Protocols\r\n"
#define UP     "Upgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"

static struct ws_client_response read_answer(const char *text,
                                             const struct ws_client_options *options) {
    struct ws_client_response answer;
    size_t len = strlen(text);
    char *exact = malloc(len);
    memcpy(exact, text, len);
    for (size_t some = 1; some < len; some++) /* in pieces of any size */
        ws_client_read_response(exact, some, KEY, options, &answer);
    if (!ws_client_read_response(exact, len, KEY, options, &answer))
        fail_msg("not whole: %s", text);
    free(exact);
    return answer;
}

static void test_answers(void **state) {
    struct ws_client_response answer = read_answer(STATUS UP PROOF "\r\n\x81\x02hi", &nothing);
    assert_null(answer.fault);
    assert_int_equal(answer.status, 101);
    assert_int_equal(answer.head_len, strlen(STATUS UP PROOF "\r\n"));
    assert_null(read_answer(STATUS UP PROOF "Sec-WebSocket-Protocol: v1\r\n\r\n", &two).fault);
    assert_null(read_answer("HTTP/1.1 101\r\n" UP PROOF "\r\n", &nothing).fault);
    answer = read_answer("HTTP/1.1 401 No\r\nContent-Length: 12\r\nLocation: /x\r\n\r\n", &nothing);
    assert_null(answer.fault);
    assert_int_equal(answer.status, 401);
    assert_int_equal(answer.content_length, 12);
    static const struct {
        const char *text, *part;
    } wrong[] = {
        {STATUS UP "\r\n", "Accept"},
        {STATUS UP "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK-xOo=\r\n\r\n", "Accept"},
        {STATUS PROOF "\r\n", "does not upgrade"},
        {STATUS "Upgrade: h2c\r\nConnection: Upgrade\r\n" PROOF "\r\n", "does not upgrade"},
        {STATUS UP PROOF "Sec-WebSocket-Protocol: v1\r\n\r\n", "subprotocol"},
        {STATUS UP PROOF "Sec-WebSocket-Extensions: x\r\n\r\n", "extension"},
        {"HTTP/2 101\r\n\r\n", "status line"},
        {"HTTP/1.1 1x1 OK\r\n\r\n", "status line"},
        {"\x15\x03\x01\x02\x02\x16", "does not speak HTTP"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        answer = read_answer(wrong[i].text, &nothing);
        if (answer.fault == NULL || strstr(answer.fault, wrong[i].part) == NULL)
            fail_msg("%s: %s", wrong[i].text, answer.fault == NULL ? "taken" : answer.fault);
    }
}

/* ---- frames ---- */

static void test_frames(void **state) {
    static const size_t sizes[] = {0, 1, 125, 126, 127, 65535, 65536, 70001};
    const struct frame_limits limits = {1 << 20, 1000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t len = sizes[i];
        char *payload = malloc(len + 1);
        for (size_t at = 0; at < len; at++)
            payload[at] = (char)(at * 7);
        unsigned char *out = malloc(len + WS_CLIENT_HEADER_BYTES);
        size_t size = ws_client_frame(out, OPCODE_BINARY, payload, len);
        struct frame_reader reader = {0};
        struct frame frame;
        char *at = (char *)out;
        assert_int_equal(frame_reader_next(&reader, &at, &size, &limits, &frame), FRAME_BINARY);
        assert_int_equal(size, 0);
        assert_int_equal(frame.len, len);
        assert_memory_equal(frame.payload, payload, len);
        frame_reader_reset(&reader);
        free(out);
        free(payload);
    }
}

/* Each passes the bytes in pieces of every size. */
static enum frame_kind read_frame(const char *bytes, size_t len, struct frame *frame, char *text) {
    enum frame_kind kind = FRAME_MORE;
    for (size_t piece = 1; piece <= len; piece++) {
        const struct frame_limits limits = {100, 1000};
        struct frame_reader reader = {.from_server = true};
        kind = FRAME_MORE;
        for (size_t from = 0; from < len && kind == FRAME_MORE; from += piece) {
            size_t left = len - from < piece ? len - from : piece;
            char *copy = malloc(left), *at = copy;
            memcpy(copy, bytes + from, left);
            kind = frame_reader_next(&reader, &at, &left, &limits, frame);
            if (kind != FRAME_MORE && kind != FRAME_ERROR)
                snprintf(text, 64, "%.*s", (int)frame->len, frame->payload);
            free(copy);
        }
        frame_reader_reset(&reader);
    }
    return kind;
}

static void test_what_servers_say(void **state) {
    struct frame frame;
    char text[64];
    assert_int_equal(read_frame("\x81\x05hello", 7, &frame, text), FRAME_TEXT);
    assert_string_equal(text, "hello");
    assert_int_equal(read_frame("\x01\x02he\x80\x03llo", 9, &frame, text), FRAME_TEXT);
    assert_string_equal(text, "hello");
    assert_int_equal(read_frame("\x89\x01p", 3, &frame, text), FRAME_PING);
    assert_int_equal(read_frame("\x82\x00", 2, &frame, text), FRAME_BINARY);
    assert_int_equal(read_frame("\x81\x81\1\2\3\4h", 7, &frame, text), FRAME_ERROR);
    assert_int_equal(frame.code, 1002); /* masked */
    assert_int_equal(read_frame("\x81\x7e\x01\x00", 4, &frame, text), FRAME_ERROR);
    assert_int_equal(frame.code, 1009);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_urls),    cmocka_unit_test(test_no_urls),
        cmocka_unit_test(test_request), cmocka_unit_test(test_answers),
        cmocka_unit_test(test_frames),  cmocka_unit_test(test_what_servers_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
