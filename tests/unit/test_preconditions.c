/* test_preconditions.c -- when a client has the current file, and which bytes of it a range means.
 */
#include "net/http/preconditions.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define ETAG    "\"12-ab,c\""
#define DATE    "Sun, 06 Nov 1994 08:49:37 GMT"
#define LATER   "Sun, 06 Nov 1994 08:49:38 GMT"
#define EARLIER "Sun, 06 Nov 1994 08:49:36 GMT"

static const time_t MODIFIED = 784111777; /* DATE */

static char text[2048];
static struct request request;

static void parse(const char *headers) {
    int len = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", headers);
    memset(&request, 0, sizeof(request));
    assert_int_equal(request_parse(&request, text, (size_t)len, sizeof(text)), len);
}

static void check_unchanged(const char *headers, bool want) {
    parse(headers);
    if (preconditions_not_modified(&request, ETAG, MODIFIED) != want)
        fail_msg("%s by: %s", want ? "changed" : "unchanged", headers);
}

static void test_entity_tags(void **state) {
    check_unchanged("", false);
    check_unchanged("If-None-Match: " ETAG "\r\n", true);
    check_unchanged("If-None-Match: W/" ETAG "\r\n", true);
    check_unchanged("If-None-Match: \"a,b\" ,W/\"c\", " ETAG "\r\n", true);
    check_unchanged("If-None-Match: \"a\"\r\nIf-None-Match: " ETAG "\r\n", true);
    check_unchanged("If-None-Match: *\r\n", true);
    check_unchanged("If-None-Match: \"12-ab\"\r\n", false);
    check_unchanged("If-None-Match: \"\"\r\n", false);
    check_unchanged("If-None-Match: 12-ab,c\r\n", false);
    check_unchanged("If-None-Match: \"12-ab,c\r\n", false);
    check_unchanged("If-None-Match: W/\r\n", false);
    check_unchanged("If-None-Match: \"a\"" ETAG "\r\n", false);
    check_unchanged("If-None-Match:\r\n", false);
    check_unchanged("If-None-Match: \"a\",\r\n", false);
    check_unchanged("If-None-Match: ,, \"a\",, " ETAG "\r\n", true);
}

static void test_dates(void **state) {
    check_unchanged("If-Modified-Since: " DATE "\r\n", true);
    check_unchanged("If-Modified-Since: " LATER "\r\n", true);
    check_unchanged("If-Modified-Since: " EARLIER "\r\n", false);
    check_unchanged("If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT\r\n", true);
    check_unchanged("If-Modified-Since: Sun Nov  6 08:49:36 1994\r\n", false);
    check_unchanged("If-Modified-Since: yesterday\r\n", false);
    check_unchanged("If-Modified-Since: " DATE "\r\nIf-Modified-Since: " DATE "\r\n", false);
    /* The tag alone decides where there is one. */
    check_unchanged("If-None-Match: \"x\"\r\nIf-Modified-Since: " DATE "\r\n", false);
    check_unchanged("If-None-Match: " ETAG "\r\nIf-Modified-Since: " EARLIER "\r\n", true);
}

static void check_fails(const char *headers, bool want) {
    parse(headers);
    if (preconditions_fail(&request, ETAG, MODIFIED) != want)
        fail_msg("%s by: %s", want ? "goes on" : "fails", headers);
}

static void test_preconditions(void **state) {
    check_fails("", false);
    check_fails("If-Match: *\r\n", false);
    check_fails("If-Match: " ETAG "\r\n", false);
    check_fails("If-Match: , ,\"a,b\" ,, " ETAG " ,\r\n", false);
    check_fails("If-Match: \"a\"\r\nIf-Match: " ETAG "\r\n", false);
    check_fails("If-Match: W/" ETAG "\r\n", true);
    check_fails("If-Match: \"other\"\r\n", true);
    check_fails("If-Match:\r\n", true);
    check_fails("If-Match: nonsense\r\n", true);
    check_fails("If-Unmodified-Since: " DATE "\r\n", false);
    check_fails("If-Unmodified-Since: " LATER "\r\n", false);
    check_fails("If-Unmodified-Since: " EARLIER "\r\n", true);
    check_fails("If-Unmodified-Since: Sunday, 06-Nov-94 08:49:36 GMT\r\n", true);
    check_fails("If-Unmodified-Since: Sun Nov  6 08:49:36 1994\r\n", true);
    check_fails("If-Unmodified-Since: yesterday\r\n", false);
    check_fails("If-Unmodified-Since: " EARLIER "\r\nIf-Unmodified-Since: " EARLIER "\r\n", false);
    /* The tag alone decides where there is one. */
    check_fails("If-Match: " ETAG "\r\nIf-Unmodified-Since: " EARLIER "\r\n", false);
    check_fails("If-Match: \"x\"\r\nIf-Unmodified-Since: " DATE "\r\n", true);
}

static enum preconditions_range ask(const char *headers, int64_t size, int64_t *offset,
                                    int64_t *length) {
    parse(headers);
    *offset = *length = -1;
    return preconditions_range(&request, ETAG, MODIFIED, size, offset, length);
}

static void check_range(const char *range, int64_t size, enum preconditions_range want,
                        int64_t want_offset, int64_t want_length) {
    char headers[256];
    int64_t offset, length;
    snprintf(headers, sizeof(headers), "Range: %s\r\n", range);
    enum preconditions_range got = ask(headers, size, &offset, &length);
    if (got != want)
        fail_msg("%d instead of %d for %s", got, want, range);
    if (want == RANGE_PART) {
        assert_int_equal(offset, want_offset);
        assert_int_equal(length, want_length);
    }
}

static void test_parts(void **state) {
    check_range("bytes=0-0", 1000, RANGE_PART, 0, 1);
    check_range("bytes=0-", 1000, RANGE_PART, 0, 1000);
    check_range("bytes=10-19", 1000, RANGE_PART, 10, 10);
    check_range("BYTES= 10-19", 1000, RANGE_PART, 10, 10);
    check_range("bytes=990-5000", 1000, RANGE_PART, 990, 10);
    check_range("bytes=999-999", 1000, RANGE_PART, 999, 1);
    check_range("bytes=-1", 1000, RANGE_PART, 999, 1);
    check_range("bytes=-5000", 1000, RANGE_PART, 0, 1000);
    check_range("bytes=0-99999999999999999999999", 1000, RANGE_PART, 0, 1000);
    check_range("bytes=0-9223372036854775807", 1000, RANGE_PART, 0, 1000);
}

static void test_parts_that_are_not_there(void **state) {
    check_range("bytes=1000-", 1000, RANGE_UNSATISFIABLE, 0, 0);
    check_range("bytes=1000-2000", 1000, RANGE_UNSATISFIABLE, 0, 0);
    check_range("bytes=99999999999999999999999-", 1000, RANGE_UNSATISFIABLE, 0, 0);
    check_range("bytes=-0", 1000, RANGE_UNSATISFIABLE, 0, 0);
    check_range("bytes=0-", 0, RANGE_UNSATISFIABLE, 0, 0);
    check_range("bytes=-5", 0, RANGE_UNSATISFIABLE, 0, 0);
}

static void test_ranges_that_mean_the_whole(void **state) {
    static const char *const ranges[] = {"",           "bytes",     "bytes=",        "bytes=-",
                                         "bytes=5",    "bytes=5-4", "bytes=0-1,5-6", "bytes=a-b",
                                         "bytes=0-1x", "items=0-1", "bytes=--1",     "bytes=0 - 1",
                                         "0-1",        "bytes=+0-1"};
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
        check_range(ranges[i], 1000, RANGE_WHOLE, 0, 0);
    int64_t offset, length;
    assert_int_equal(ask("", 1000, &offset, &length), RANGE_WHOLE);
    assert_int_equal(ask("Range: bytes=0-1\r\nRange: bytes=0-1\r\n", 1000, &offset, &length),
                     RANGE_WHOLE);
}

static void check_if_range(const char *version, enum preconditions_range want) {
    char headers[256];
    int64_t offset, length;
    snprintf(headers, sizeof(headers), "Range: bytes=0-1\r\nIf-Range: %s\r\n", version);
    if (ask(headers, 1000, &offset, &length) != want)
        fail_msg("not %d for If-Range: %s", want, version);
}

static void test_a_part_of_the_version_the_client_has(void **state) {
    check_if_range(ETAG, RANGE_PART);
    check_if_range(DATE, RANGE_PART);
    check_if_range("W/" ETAG, RANGE_WHOLE);
    check_if_range("\"other\"", RANGE_WHOLE);
    check_if_range(LATER, RANGE_WHOLE);
    check_if_range(EARLIER, RANGE_WHOLE);
    check_if_range("", RANGE_WHOLE);
}

/* Each part lies within the file. */
static void test_random_ranges(void **state) {
    static const char letters[] = "0123459---, x";
    uint32_t seed = 11;
    int parts = 0;
    for (int round = 0; round < 100000; round++) {
        char headers[64] = "Range: bytes=";
        size_t len = strlen(headers);
        seed = seed * 1664525u + 1013904223u;
        for (uint32_t n = (seed >> 8) % 8; n > 0; n--) {
            seed = seed * 1664525u + 1013904223u;
            headers[len++] = letters[(seed >> 8) % (sizeof(letters) - 1)];
        }
        memcpy(headers + len, "\r\n", 3);
        int64_t size = (seed >> 4) % 40, offset, length;
        if (ask(headers, size, &offset, &length) == RANGE_PART) {
            parts++;
            assert_true(offset >= 0 && length > 0 && offset + length <= size);
        }
    }
    assert_true(parts > 1000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entity_tags),
        cmocka_unit_test(test_dates),
        cmocka_unit_test(test_preconditions),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_parts_that_are_not_there),
        cmocka_unit_test(test_ranges_that_mean_the_whole),
        cmocka_unit_test(test_a_part_of_the_version_the_client_has),
        cmocka_unit_test(test_random_ranges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
