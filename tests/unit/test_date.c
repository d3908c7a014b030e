/* test_date.c -- HTTP dates, written and read. */
#include "net/http/date.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_known_dates(void **state) {
    static const struct {
        time_t when;
        const char *text;
    } known[] = {{0, "Thu, 01 Jan 1970 00:00:00 GMT"},
                 {784111777, "Sun, 06 Nov 1994 08:49:37 GMT"},
                 {951782400, "Tue, 29 Feb 2000 00:00:00 GMT"},
                 {1798761599, "Thu, 31 Dec 2026 23:59:59 GMT"},
                 {-1, "Wed, 31 Dec 1969 23:59:59 GMT"},
                 {253402300799, "Fri, 31 Dec 9999 23:59:59 GMT"}};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        char text[DATE_BYTES];
        date_format(known[i].when, text);
        assert_string_equal(text, known[i].text);
        time_t when = 42;
        assert_true(date_parse(slice_of(text), &when));
        assert_true(when == known[i].when);
    }
}

static void test_there_and_back(void **state) {
    for (time_t when = 0; when < 4102444800; when += 12345677) {
        char text[DATE_BYTES];
        date_format(when, text);
        time_t back = -1;
        assert_true(date_parse(slice_of(text), &back));
        assert_true(back == when);
    }
}

static void test_times_beyond_reason(void **state) {
    char text[DATE_BYTES];
    date_format(253402300800, text); /* the year 10000 */
    assert_string_equal(text, "Thu, 01 Jan 1970 00:00:00 GMT");
    date_format((time_t)INT64_MAX, text);
    assert_string_equal(text, "Thu, 01 Jan 1970 00:00:00 GMT");
    date_format((time_t)INT64_MIN, text);
    assert_string_equal(text, "Thu, 01 Jan 1970 00:00:00 GMT");
}

static void check(const char *text, time_t want) {
    time_t when = -1;
    if (!date_parse(slice_of(text), &when))
        fail_msg("no date: %s", text);
    if (when != want)
        fail_msg("%lld instead of %lld for %s", (long long)when, (long long)want, text);
}

static void test_obsolete_forms(void **state) {
    check("Sunday, 06-Nov-94 08:49:37 GMT", 784111777);
    check("Sun Nov  6 08:49:37 1994", 784111777);
    check("Sun Nov 06 08:49:37 1994", 784111777);
    check("Thursday, 31-Dec-99 23:59:59 GMT", 946684799);
    check("Tuesday, 29-Feb-00 00:00:00 GMT", 951782400);
    check("Tue Feb 29 00:00:00 2000", 951782400);
    check("Wednesday, 30-Jun-04 23:59:60 GMT", 1088640000);
}

/* A year more than fifty ahead means the one 100 before (RFC 9110 section 5.6.7). */
static void test_years_of_two_digits(void **state) {
    time_t now = time(NULL);
    struct tm tm;
    gmtime_r(&now, &tm);
    int this_year = tm.tm_year + 1900;
    for (int ahead = -49; ahead <= 50; ahead++) {
        char text[64], full[64];
        time_t want;
        snprintf(text, sizeof(text), "Monday, 01-Mar-%02d 00:00:00 GMT", (this_year + ahead) % 100);
        snprintf(full, sizeof(full), "Mon, 01 Mar %04d 00:00:00 GMT", this_year + ahead);
        assert_true(date_parse(slice_of(full), &want));
        check(text, want);
    }
}

static void test_what_is_no_date(void **state) {
    const char *const bad[] = {"",
                               "0",
                               "Sunday, 06-Nov-1994 08:49:37 GMT",
                               "Sun, 06-Nov-94 08:49:37 GMT",
                               "Sunday, 06-Nov-94 08:49:37",
                               "Sunday, 6-Nov-94 08:49:37 GMT",
                               "Sunday, 06 Nov 94 08:49:37 GMT",
                               "Someday, 06-Nov-94 08:49:37 GMT",
                               "Sunday, 31-Feb-94 08:49:37 GMT",
                               "Sun Nov 6 08:49:37 1994",
                               "Sun Nov  6 08:49:37 94",
                               "Sun Nov  6 08:49:37 1994 GMT",
                               "Sun Nov 31 08:49:37 1994",
                               "Sun Nov    08:49:37 1994",
                               "Sun",
                               "Sunday,",
                               "Xyz, 06 Nov 1994 08:49:37 GMT",
                               "Sun, 29 Feb 1993 08:49:37 GMT",
                               "Sun, 06 Nov 1994 08:49:37 UTC",
                               "Sun, 06 Nov 1994 08:49:37 GMT ",
                               "Sun, 06 Nov 1994 08:49:37 GM",
                               "Sun, 06 Nuv 1994 08:49:37 GMT",
                               "Sun, 00 Nov 1994 08:49:37 GMT",
                               "Sun, 32 Nov 1994 08:49:37 GMT",
                               "Sun, 06 Nov 1994 24:49:37 GMT",
                               "Sun, 06 Nov 1994 08:60:37 GMT",
                               "Sun, 06 Nov 1994 08:49:61 GMT",
                               "Sun, +6 Nov 1994 08:49:37 GMT",
                               "Sun, 06 Nov -994 08:49:37 GMT"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        time_t when = 42;
        if (date_parse(slice_of(bad[i]), &when))
            fail_msg("taken for a date: %s", bad[i]);
        assert_true(when == 42);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_dates),         cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_times_beyond_reason), cmocka_unit_test(test_obsolete_forms),
        cmocka_unit_test(test_years_of_two_digits), cmocka_unit_test(test_what_is_no_date),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
