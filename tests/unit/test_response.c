/* test_response.c -- response heads: complete, and no argument breaks out of its line. */
#include "net/http/response.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const time_t NOW = 784111777; /* Sun, 06 Nov 1994 08:49:37 GMT */

static char out[1024];

static void check_out(size_t len, const char *want) {
    assert_true(len > 0 && len < sizeof(out));
    out[len] = '\0';
    assert_string_equal(out, want);
}

static void test_a_whole_head(void **state) {
    struct response res;
    response_begin(&res, out, sizeof(out), 200, NOW);
    assert_true(response_set(&res, "Content-Type", "text/html"));
    assert_true(response_set(&res, "Set-Cookie", "a=1"));
    assert_true(response_set(&res, "Set-Cookie", "b=\xC3\xA9\t2"));
    assert_true(response_set(&res, "X-Empty", ""));
    check_out(response_end(&res, 1234, RESPONSE_CLOSE), "HTTP/1.1 200 OK\r\n"
                                                        "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                                                        "Content-Type: text/html\r\n"
                                                        "Set-Cookie: a=1\r\n"
                                                        "Set-Cookie: b=\xC3\xA9\t2\r\n"
                                                        "X-Empty: \r\n"
                                                        "Content-Length: 1234\r\n"
                                                        "Connection: close\r\n"
                                                        "\r\n");
}

static void end_of(int status, int64_t length) {
    struct response res;
    response_begin(&res, out, sizeof(out), status, NOW);
    size_t len = response_end(&res, length, RESPONSE_CLOSE);
    assert_true(len > 0);
    out[len] = '\0';
}

static void test_where_the_body_ends(void **state) {
    end_of(200, 0);
    assert_non_null(strstr(out, "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"));
    static const int without_length[][2] = {{200, -1}, {101, 0}, {204, 0}, {304, 0}, {304, 5}};
    for (size_t i = 0; i < sizeof(without_length) / sizeof(without_length[0]); i++) {
        end_of(without_length[i][0], without_length[i][1]);
        assert_null(strstr(out, "Content-Length"));
        assert_non_null(strstr(out, "\r\nConnection: close\r\n\r\n"));
    }
}

static void test_upgrade_is_named_in_connection(void **state) {
    struct response res;
    response_begin(&res, out, sizeof(out), 426, NOW);
    assert_true(response_set(&res, "Upgrade", "websocket"));
    check_out(response_end(&res, 0, RESPONSE_CLOSE), "HTTP/1.1 426 Upgrade Required\r\n"
                                                     "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                                                     "Upgrade: websocket\r\n"
                                                     "Content-Length: 0\r\n"
                                                     "Connection: Upgrade, close\r\n"
                                                     "\r\n");
}

static void refuse(const char *name, struct slice value) {
    struct response res;
    response_begin(&res, out, sizeof(out), 200, NOW);
    assert_false(response_add(&res, slice_of(name), value));
    assert_non_null(res.error);
    assert_false(response_set(&res, "X-Later", "1")); /* the first failure stays */
    assert_int_equal(response_end(&res, 0, RESPONSE_CLOSE), 0);
}

static void test_nothing_breaks_out_of_its_line(void **state) {
    refuse("X", slice_of("a\r\nSet-Cookie: evil=1"));
    refuse("X", slice_of("a\n"));
    refuse("X", slice_of("a\r"));
    refuse("X", slice_of("\x7F"));
    refuse("X", (struct slice){"a\0b", 3});
    refuse("X\r\nY", slice_of("a"));
    refuse("X: a", slice_of("a"));
    refuse("X ", slice_of("a"));
    refuse("", slice_of("a"));
    refuse("caf\xC3\xA9", slice_of("a"));
    refuse("content-length", slice_of("5"));
    refuse("TRANSFER-ENCODING", slice_of("chunked"));
    refuse("Connection", slice_of("keep-alive"));
    refuse("Date", slice_of("today"));
    refuse("Trailer", slice_of("X"));
}

static void test_going_on_without_a_refused_header(void **state) {
    struct response res;
    response_begin(&res, out, sizeof(out), 200, NOW);
    assert_false(response_set(&res, "X", "a\nb"));
    response_forgive(&res);
    assert_true(response_set(&res, "Y", "c"));
    size_t len = response_end(&res, 0, RESPONSE_CLOSE);
    assert_true(len > 0);
    out[len] = '\0';
    assert_null(strstr(out, "X:"));
    assert_non_null(strstr(out, "\r\nY: c\r\n"));
}

static size_t head_into(char *buffer, size_t cap) {
    struct response res;
    response_begin(&res, buffer, cap, 404, NOW);
    response_set(&res, "X", "y");
    return response_end(&res, 5, RESPONSE_CLOSE);
}

/* Each buffer that is too small: no byte behind it is written, and the result says so. */
static void test_small_buffers(void **state) {
    size_t whole = head_into(out, sizeof(out));
    assert_true(whole > 0);
    for (size_t cap = 0; cap <= whole; cap++) {
        char *small = malloc(cap == 0 ? 1 : cap);
        assert_int_equal(head_into(small, cap), cap == whole ? whole : 0);
        free(small);
    }
    struct response res;
    response_begin(&res, out, 10, 200, NOW);
    assert_non_null(res.error);
    response_forgive(&res);
    assert_non_null(res.error);
    assert_int_equal(response_end(&res, 0, RESPONSE_CLOSE), 0);
    /* A header without room cannot be forgiven: half of it may be written. */
    response_begin(&res, out, 60, 200, NOW);
    assert_null(res.error);
    assert_false(response_set(&res, "X", "a long value"));
    response_forgive(&res);
    assert_non_null(res.error);
}

static void test_statuses(void **state) {
    assert_string_equal(response_reason(404), "Not Found");
    assert_string_equal(response_reason(101), "Switching Protocols");
    assert_string_equal(response_reason(499), "Client Error");
    assert_string_equal(response_reason(299), "Success");
    assert_string_equal(response_reason(999), "Unknown");
    assert_string_equal(response_reason(-5), "Unknown");
    for (int status = 0; status <= 1000; status += status < 100 ? 33 : 1) {
        struct response res;
        response_begin(&res, out, sizeof(out), status, NOW);
        bool fine = status >= 100 && status <= 999;
        assert_int_equal(res.error == NULL, fine);
        response_forgive(&res);
        assert_int_equal(response_end(&res, 0, RESPONSE_CLOSE) > 0, fine);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_whole_head),
        cmocka_unit_test(test_where_the_body_ends),
        cmocka_unit_test(test_upgrade_is_named_in_connection),
        cmocka_unit_test(test_nothing_breaks_out_of_its_line),
        cmocka_unit_test(test_going_on_without_a_refused_header),
        cmocka_unit_test(test_small_buffers),
        cmocka_unit_test(test_statuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
