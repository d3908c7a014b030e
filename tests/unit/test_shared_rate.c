/* test_shared_rate.c -- a rate that all clients share. */
#include "net/socket/shared_rate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void limits_and_refills(void **state) {
    struct shared_rate *rate = shared_rate_new();
    for (int i = 0; i < 1000; i++)
        assert_true(shared_rate_take(rate, 5)); /* no limit */
    shared_rate_set(rate, (struct token_rate){.per_ms = 0.1, .burst = 2});
    assert_true(shared_rate_take(rate, 10));
    assert_true(shared_rate_take(rate, 10));
    assert_false(shared_rate_take(rate, 10));
    assert_false(shared_rate_take(rate, 9)); /* a thread whose time is behind */
    assert_false(shared_rate_take(rate, 19));
    assert_true(shared_rate_take(rate, 20));
    assert_false(shared_rate_take(rate, 20));
    shared_rate_set(rate, (struct token_rate){0});
    assert_true(shared_rate_take(rate, 20));
    shared_rate_free(rate);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(limits_and_refills)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
