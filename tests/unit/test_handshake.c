/* test_handshake.c -- which requests become WebSockets, and how the others are refused. */
#include "net/http/handshake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define KEY      "dGhlIHNhbXBsZSBub25jZQ==" /* of RFC 6455 §1.3 */
#define UPGRADE  "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define VERSION  "Sec-WebSocket-Version: 13\r\n"
#define WITH_KEY "Sec-WebSocket-Key: " KEY "\r\n"

static char text[4096];
static struct request request;
static struct handshake handshake;

static void parse_line(const char *line, const char *headers) {
    int len = snprintf(text, sizeof(text), "%s\r\n%s\r\n", line, headers);
    memset(&request, 0, sizeof(request));
    if (request_parse(&request, text, (size_t)len, sizeof(text)) != len)
        fail_msg("not even a request: %s", request.error);
}

static void parse(const char *headers) {
    char all[2048];
    snprintf(all, sizeof(all), "Host: a\r\n%s", headers);
    parse_line("GET /chat HTTP/1.1", all);
}

static void check_accepted(const char *headers) {
    parse(headers);
    assert_true(handshake_wanted(&request));
    if (handshake_check(&request, &handshake) != 0)
        fail_msg("refused with %d %s: %s", handshake.status, handshake.text, headers);
    assert_int_equal(handshake.status, 0);
    assert_string_equal(handshake.text, "");
    assert_string_equal(handshake.headers, "");
    assert_int_equal(handshake.key.len, HANDSHAKE_KEY_BYTES);
}

/* Each refusal has a sentence, and header lines that a response accepts. */
static void check_refusal(int status, const char *headers) {
    assert_true(handshake_wanted(&request));
    int got = handshake_check(&request, &handshake);
    if (got != status)
        fail_msg("%d instead of %d for: %s", got, status, text);
    assert_int_equal(handshake.status, status);
    assert_string_equal(handshake.headers, headers);
    assert_true(strlen(handshake.text) > 20);
    assert_null(handshake.key.bytes);
    size_t len = strlen(headers);
    assert_true(len == 0 || strcmp(headers + len - 2, "\r\n") == 0);
}

static void check_bad(const char *headers) {
    parse(headers);
    check_refusal(400, "");
}

static void test_what_browsers_send(void **state) {
    check_accepted("Connection: keep-alive, Upgrade\r\n"
                   "Pragma: no-cache\r\n"
                   "Cache-Control: no-cache\r\n"
                   "User-Agent: Mozilla/5.0\r\n"
                   "Upgrade: websocket\r\n"
                   "Origin: https://example.com\r\n"
                   "Sec-WebSocket-Version: 13\r\n"
                   "Accept-Encoding: gzip, deflate, br\r\n"
                   "Sec-WebSocket-Key: " KEY "\r\n"
                   "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n");
    assert_true(slice_is(handshake.key, KEY));
}

static void test_other_ways_to_say_it(void **state) {
    check_accepted(UPGRADE VERSION WITH_KEY);
    check_accepted("upgrade: WebSocket\r\nCONNECTION: UPGRADE\r\n" VERSION WITH_KEY);
    check_accepted("Upgrade: foo\r\nUpgrade: bar, websocket\r\nConnection: a\r\n"
                   "Connection: upgrade\r\n" VERSION WITH_KEY);
    check_accepted(UPGRADE VERSION WITH_KEY "Content-Length: 0\r\n");
    check_accepted(UPGRADE VERSION "Sec-WebSocket-Key:   AAAAAAAAAAAAAAAAAAAA+/==  \r\n");
}

static void test_what_asks_for_a_websocket(void **state) {
    parse("");
    assert_false(handshake_wanted(&request));
    parse("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n");
    assert_false(handshake_wanted(&request));
    parse("Connection: Upgrade\r\nUpgrade: foo\r\n");
    assert_false(handshake_wanted(&request));
    parse("Connection: Upgrade\r\nUpgrade: websockets\r\n");
    assert_false(handshake_wanted(&request));
    parse("Upgrade: websocket\r\n");
    assert_true(handshake_wanted(&request));
    parse(WITH_KEY);
    assert_true(handshake_wanted(&request));
}

static void test_method_and_http_version(void **state) {
    static const char *const methods[] = {"POST", "PUT", "HEAD", "OPTIONS", "get"};
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        char line[64];
        snprintf(line, sizeof(line), "%s / HTTP/1.1", methods[i]);
        parse_line(line, "Host: a\r\n" UPGRADE VERSION WITH_KEY);
        check_refusal(405, "Allow: GET\r\n");
    }
    parse_line("GET / HTTP/1.0", "Host: a\r\n" UPGRADE VERSION WITH_KEY);
    check_refusal(400, "");
    parse_line("GET / HTTP/1.1", "Host:\r\n" UPGRADE VERSION WITH_KEY);
    check_refusal(400, "");
}

static void test_upgrade_and_connection(void **state) {
    check_bad("Upgrade: websocket\r\n" VERSION WITH_KEY);
    check_bad("Upgrade: websocket\r\nConnection: keep-alive\r\n" VERSION WITH_KEY);
    check_bad("Upgrade: websocket\r\nConnection: upgrades\r\n" VERSION WITH_KEY);
    /* A proxy has removed Upgrade. */
    check_bad("Connection: close\r\n" VERSION WITH_KEY);
    assert_non_null(strstr(handshake.text, "proxy"));
    check_bad("Connection: Upgrade\r\nUpgrade: h2c\r\n" VERSION WITH_KEY);
}

static void test_versions(void **state) {
    static const char *const versions[] = {"",
                                           "Sec-WebSocket-Version: 8\r\n",
                                           "Sec-WebSocket-Version: 14\r\n",
                                           "Sec-WebSocket-Version: 013\r\n",
                                           "Sec-WebSocket-Version: 13, 8\r\n",
                                           "Sec-WebSocket-Version:\r\n"};
    for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
        char headers[512];
        snprintf(headers, sizeof(headers), UPGRADE WITH_KEY "%s", versions[i]);
        parse(headers);
        check_refusal(426, "Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n");
    }
    check_bad(UPGRADE WITH_KEY VERSION VERSION);
}

static void test_keys(void **state) {
    check_bad(UPGRADE VERSION);
    check_bad(UPGRADE VERSION WITH_KEY WITH_KEY);
    static const char *const keys[] = {"",
                                       "x",
                                       "dGhlIHNhbXBsZSBub25jZQ=",
                                       "dGhlIHNhbXBsZSBub25jZQ===",
                                       "dGhlIHNhbXBsZSBub25jZQAA",
                                       "dGhlIHNhbXBsZSBub25jZQA=",
                                       "dGhlIHNhbXBsZSBub25j====",
                                       "dGhlIHNhbXBsZSBub25j*Q==",
                                       "dGhlIHNhbXBsZSBub25j Q==",
                                       "dGhlIHNhbXBsZSBub25j-_==",
                                       "dGhlIHNhbXBsZSBub25jZQ==, x",
                                       "\xC3\xA9hlIHNhbXBsZSBub25jZQ=="};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        char headers[512];
        snprintf(headers, sizeof(headers), UPGRADE VERSION "Sec-WebSocket-Key: %s\r\n", keys[i]);
        check_bad(headers);
    }
}

static void test_bodies_and_origins(void **state) {
    check_bad(UPGRADE VERSION WITH_KEY "Content-Length: 1\r\n");
    check_bad(UPGRADE VERSION WITH_KEY "Transfer-Encoding: chunked\r\n");
    check_bad(UPGRADE VERSION WITH_KEY "Origin: http://a\r\nOrigin: http://b\r\n");
}

static void test_subprotocols(void **state) {
#define PROTOCOLS(list) UPGRADE VERSION WITH_KEY "Sec-WebSocket-Protocol: " list "\r\n"
    check_accepted(PROTOCOLS("v1.chat"));
    check_accepted(PROTOCOLS("soap, v1.chat ,v2.chat"));
    check_accepted(PROTOCOLS("v1.chat") "Sec-WebSocket-Protocol: v2.chat\r\n");
    check_bad(PROTOCOLS(""));
    check_bad(PROTOCOLS(", ,"));
    check_bad(PROTOCOLS("chat/1"));
    check_bad(PROTOCOLS("a b"));
}

static void check_proof(const char *key, const char *proof) {
    char out[HANDSHAKE_ACCEPT_BYTES + 1];
    memset(out, 'x', sizeof(out));
    assert_true(handshake_accept(slice_of(key), out));
    assert_string_equal(out, proof);
    assert_int_equal(strlen(out), HANDSHAKE_ACCEPT_BYTES - 1);
    assert_int_equal(out[HANDSHAKE_ACCEPT_BYTES], 'x');
}

/* The first is the example of RFC 6455 section 1.3; the others were computed with Python's hashlib.
 * */
static void test_proofs(void **state) {
    check_proof("dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    check_proof("AAAAAAAAAAAAAAAAAAAAAA==", "ICX+Yqv66kxgM0FcWaLWlFLwTAI=");
    check_proof("/////////////////////w==", "XXpj4jYzLM2yUE0C7TIgMwTQh2g=");
    check_proof("AAECAwQFBgcICQoLDA0ODw==", "Bz3qJYTGdOe8gUSpLosEdiLKDrk=");
}

/* A key is a view of the request: the bytes behind it do not count. */
static void test_proof_of_a_view(void **state) {
    char out[HANDSHAKE_ACCEPT_BYTES];
    struct slice inner = {"x: dGhlIHNhbXBsZSBub25jZQ==\r\nHost: y" + 3, 24};
    assert_true(handshake_accept(inner, out));
    assert_string_equal(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_browsers_send),
        cmocka_unit_test(test_other_ways_to_say_it),
        cmocka_unit_test(test_what_asks_for_a_websocket),
        cmocka_unit_test(test_method_and_http_version),
        cmocka_unit_test(test_upgrade_and_connection),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_bodies_and_origins),
        cmocka_unit_test(test_subprotocols),
        cmocka_unit_test(test_proofs),
        cmocka_unit_test(test_proof_of_a_view),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
