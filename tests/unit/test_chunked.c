/* test_chunked.c -- bodies in chunks: the same bytes however they arrive, and strict limits. */
#include "net/http/chunked.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char result[65536]; /* the decoded body, NUL-terminated */
static size_t result_len;
static size_t consumed;

/* Decodes `text` in pieces of `piece` bytes, each in an allocation of exactly its size. */
static int decode_pieces(const char *text, size_t len, size_t piece, uint64_t max_body) {
    struct chunked c = {0};
    result_len = consumed = 0;
    int status = 0;
    for (size_t at = 0; at < len && status == 0; at += piece) {
        size_t n = len - at < piece ? len - at : piece;
        char *bytes = malloc(n);
        memcpy(bytes, text + at, n);
        size_t body = 0, used = 0;
        status = chunked_decode(&c, bytes, n, max_body, &body, &used);
        if (status >= 0) {
            assert_true(body <= used && used <= n);
            assert_true(status == 1 || used == n);
            assert_memory_equal(bytes + used, text + at + used, n - used);
            memcpy(result + result_len, bytes, body);
            result_len += body;
            consumed += used;
        } else {
            assert_non_null(c.error);
        }
        free(bytes);
    }
    result[result_len] = '\0';
    return status;
}

/* Decodes in pieces of every size; the result must be the same. */
static int decode_within(const char *text, size_t len, uint64_t max_body) {
    int first = decode_pieces(text, len, len == 0 ? 1 : len, max_body);
    char whole[sizeof(result)];
    memcpy(whole, result, result_len + 1);
    for (size_t piece = 1; piece < len; piece += piece < 16 ? 1 : 13) {
        assert_int_equal(decode_pieces(text, len, piece, max_body), first);
        if (first >= 0)
            assert_string_equal(result, whole);
    }
    return first;
}

static int decode(const char *text) {
    return decode_within(text, strlen(text), 1000);
}

static void check_body(const char *text, const char *body, size_t rest) {
    assert_int_equal(decode(text), 1);
    assert_string_equal(result, body);
    assert_int_equal(consumed, strlen(text) - rest);
}

static void check_refused(const char *text, int status) {
    int got = decode(text);
    if (got != -status)
        fail_msg("%d instead of %d for: %s", got, -status, text);
}

static void test_bodies(void **state) {
    check_body("0\r\n\r\n", "", 0);
    check_body("5\r\nhello\r\n0\r\n\r\n", "hello", 0);
    check_body("5\r\nhello\r\n1\r\n,\r\n6\r\n world\r\n00\r\n\r\n", "hello, world", 0);
    check_body("a\r\n0123456789\r\nA\r\nabc\r\n\r\nxyz\r\n0\r\n\r\n", "0123456789abc\r\n\r\nxyz",
               0);
    check_body("000000000000005\r\nhello\r\n0\r\n\r\n", "hello", 0);
    check_body("3;name=value;flag;q=\"a b\"\r\nabc\r\n0;last\r\n\r\n", "abc", 0);
    check_body("3\r\nabc\r\n0\r\nExpires: never\r\nX:\r\n\r\n", "abc", 0);
    check_body("3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\n", "abc", 16);
}

static void test_incomplete(void **state) {
    const char *text = "5;x\r\nhello\r\n0\r\nA: b\r\n\r\n";
    for (size_t len = 0; len < strlen(text); len++)
        assert_int_equal(decode_within(text, len, 1000), 0);
}

static void test_malformed(void **state) {
    check_refused("\r\n", 400);
    check_refused(" 5\r\nhello", 400);
    check_refused("-5\r\nhello", 400);
    check_refused("+5\r\nhello", 400);
    check_refused("0x5\r\nhello", 400);
    check_refused("5 \r\nhello", 400);
    check_refused("g\r\n", 400);
    check_refused(";x\r\n", 400);
    check_refused("5\nhello", 400);
    check_refused("5\r5", 400);
    check_refused("5;x\nhello", 400);
    check_refused("5;\x01\r\nhello", 400);
    check_refused("5\r\nhello!", 400);
    check_refused("5\r\nhello\n0", 400);
    check_refused("5\r\nhello\r0", 400);
    check_refused("5\r\nhello\r\n\r\n", 400);
    check_refused("0\r\n\n", 400);
    check_refused("0\r\n\r0", 400);
    check_refused("0\r\nA : b\r\n\r\n", 400);
    check_refused("0\r\n: b\r\n\r\n", 400);
    check_refused("0\r\n folded\r\n\r\n", 400);
    check_refused("0\r\nA: b\n\r\n", 400);
    check_refused("0\r\nA: \x7F\r\n\r\n", 400);
}

static void test_limits(void **state) {
    const char *text = "5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n";
    assert_int_equal(decode_within(text, strlen(text), 10), 1);
    assert_int_equal(decode_within(text, strlen(text), 9), -413);
    assert_int_equal(decode_within(text, strlen(text), 4), -413);
    assert_int_equal(decode_within("0\r\n\r\n", 5, 0), 1);
    /* Refused by its size, before any data. */
    check_refused("3e9\r\n", 413);
    check_refused("fffffffffffffff\r\n", 413);
    check_refused("ffffffffffffffff", 413);
    check_refused("10000000000000000", 413);
    /* Two sizes whose sum would wrap around. */
    struct chunked c = {0};
    char first[] = "fffffffffffffff\r\n";
    size_t body, used;
    assert_int_equal(chunked_decode(&c, first, strlen(first), UINT64_MAX, &body, &used), 0);
    assert_true(c.total == 0xFFFFFFFFFFFFFFFull);
}

/* Chunks of one byte with long extensions, and endless trailers, are refused. */
static void test_extensions_and_trailers_are_bounded(void **state) {
    static char text[60000];
    size_t len = 0;
    while (len < 50000)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "1;%0200d\r\na\r\n", 0);
    assert_int_equal(decode_pieces(text, len, 1000, 1000000), -431);
    len = (size_t)snprintf(text, sizeof(text), "0\r\n");
    while (len < 50000)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "Name: %0100d\r\n", 0);
    assert_int_equal(decode_pieces(text, len, 1000, 1000000), -431);
}

static uint32_t random_state = 5;

static uint32_t random_below(uint32_t limit) {
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % limit;
}

static void test_random_bodies(void **state) {
    static char text[8192], want[4096];
    for (int round = 0; round < 1000; round++) {
        size_t len = 0, body = 0;
        for (uint32_t chunks = random_below(8); chunks > 0; chunks--) {
            size_t n = 1 + random_below(40);
            len += (size_t)sprintf(text + len, random_below(2) ? "%zx\r\n" : "%zX;a=b\r\n", n);
            for (size_t i = 0; i < n; i++)
                text[len++] = want[body++] = "\r\n0;abcxyz"[random_below(10)];
            len += (size_t)sprintf(text + len, "\r\n");
        }
        len += (size_t)sprintf(text + len, "0\r\n\r\n");
        want[body] = '\0';
        assert_int_equal(decode_within(text, len, body), 1);
        assert_string_equal(result, want);
        if (body > 0)
            assert_int_equal(decode_within(text, len, body - 1), -413);
        /* One byte changed: any result, but no more than the allowed bytes, and the same for all
         * pieces. */
        text[random_below((uint32_t)len)] = (char)(1 + random_below(255));
        decode_within(text, len, body);
        assert_true(result_len <= body);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_incomplete),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_extensions_and_trailers_are_bounded),
        cmocka_unit_test(test_random_bodies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
