/* test_token_bucket.c -- rates: tokens that are taken, and that time brings back. */
#include "base/token_bucket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* 20 in a second, 40 at once. */
static const struct token_rate twenty = {.per_ms = 0.02, .burst = 40};

static unsigned take_all(struct token_bucket *bucket, const struct token_rate *rate) {
    unsigned taken = 0;
    for (; token_bucket_has(bucket, rate, 1); taken++)
        token_bucket_take(bucket, rate, 1);
    return taken;
}

static void test_has_its_burst_and_then_its_rate(void **state) {
    struct token_bucket bucket = {0};
    assert_int_equal(take_all(&bucket, &twenty), 40);
    token_bucket_refill(&bucket, &twenty, 49);
    assert_int_equal(take_all(&bucket, &twenty), 0);
    token_bucket_refill(&bucket, &twenty, 1);
    assert_int_equal(take_all(&bucket, &twenty), 1);
    token_bucket_refill(&bucket, &twenty, 1000);
    assert_int_equal(take_all(&bucket, &twenty), 20);
    token_bucket_refill(&bucket, &twenty, 1000000);
    assert_int_equal(take_all(&bucket, &twenty), 40);
}

/* However small the steps, nothing is lost to rounding. */
static void test_adds_up(void **state) {
    static const struct token_rate odd = {.per_ms = 7.0 / 3000, .burst = 7};
    struct token_bucket bucket = {0};
    take_all(&bucket, &odd);
    unsigned taken = 0;
    for (int ms = 0; ms < 3000000; ms++) {
        token_bucket_refill(&bucket, &odd, 1);
        taken += take_all(&bucket, &odd);
    }
    assert_in_range(taken, 6999, 7000);
}

static void test_waits_until_the_tokens_are_there(void **state) {
    struct token_bucket bucket = {0};
    assert_int_equal(token_bucket_wait_ms(&bucket, &twenty, 1), 0);
    take_all(&bucket, &twenty);
    assert_int_equal(token_bucket_wait_ms(&bucket, &twenty, 1), 50);
    assert_int_equal(token_bucket_wait_ms(&bucket, &twenty, 40), 2000);
    assert_int_equal(token_bucket_wait_ms(&bucket, &twenty, 1000), 2000);
    token_bucket_refill(&bucket, &twenty, 50);
    assert_int_equal(token_bucket_wait_ms(&bucket, &twenty, 1), 0);
    assert_true(token_bucket_has(&bucket, &twenty, 1));
}

/* A message that is larger than the bucket is owed. */
static void test_more_than_the_burst_is_owed(void **state) {
    struct token_bucket bucket = {0};
    token_bucket_take(&bucket, &twenty, 100);
    assert_int_equal(token_bucket_wait_ms(&bucket, &twenty, 1), 3050);
}

/* Timers that are always 5 ms late lower no rate: one at once, 100 in a second. */
static void test_late_timers_lower_no_rate(void **state) {
    static const struct token_rate fast = {.per_ms = 0.1, .burst = 1};
    struct token_bucket bucket = {0};
    unsigned taken = take_all(&bucket, &fast);
    for (unsigned now = 0; now < 10000;) {
        unsigned wait = (unsigned)token_bucket_wait_ms(&bucket, &fast, 1);
        now += wait + 5;
        token_bucket_refill_late(&bucket, &fast, wait + 5, 5);
        taken += take_all(&bucket, &fast);
    }
    assert_in_range(taken, 995, 1002);
    token_bucket_refill_late(&bucket, &fast, 100000, 5);
    assert_int_equal(take_all(&bucket, &fast), 1); /* no more than the late time brings */
}

static void test_without_a_rate_there_is_no_limit(void **state) {
    static const struct token_rate none;
    struct token_bucket bucket = {0};
    for (int i = 0; i < 1000; i++) {
        assert_true(token_bucket_has(&bucket, &none, 1e18));
        token_bucket_take(&bucket, &none, 1e18);
    }
    assert_int_equal(token_bucket_wait_ms(&bucket, &none, 1e18), 0);
    token_bucket_refill(&bucket, &none, 1000);
    assert_true(token_bucket_has(&bucket, &twenty, 40)); /* after a reload */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_has_its_burst_and_then_its_rate),
        cmocka_unit_test(test_adds_up),
        cmocka_unit_test(test_waits_until_the_tokens_are_there),
        cmocka_unit_test(test_more_than_the_burst_is_owed),
        cmocka_unit_test(test_late_timers_lower_no_rate),
        cmocka_unit_test(test_without_a_rate_there_is_no_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
