/* test_ip_rates.c -- rates of addresses, also when there are very many addresses. */
#include "net/socket/ip_rates.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

/* One in a second, three at once. */
static const struct token_rate slow = {.per_ms = 0.001, .burst = 3};

static struct ip_rates *start(void) {
    struct ip_rates *rates = ip_rates_new();
    ip_rates_set(rates, IP_RATE_CONNECTIONS, slow);
    return rates;
}

static uint64_t connects(struct ip_rates *rates, const char *address, uint64_t now_ms) {
    return ip_rates_take(rates, IP_RATE_CONNECTIONS, address, now_ms);
}

static void test_each_address_has_its_burst(void **state) {
    struct ip_rates *rates = start();
    for (int i = 0; i < 3; i++) {
        assert_int_equal(connects(rates, "192.0.2.1", 1000), 0);
        assert_int_equal(connects(rates, "192.0.2.2", 1000), 0);
    }
    assert_int_equal(connects(rates, "192.0.2.1", 1000), 1000);
    assert_int_equal(connects(rates, "192.0.2.1", 1600), 400);
    assert_int_equal(connects(rates, "192.0.2.1", 1500), 400); /* another thread's clock */
    assert_int_equal(connects(rates, "192.0.2.1", 2000), 0);
    assert_int_equal(connects(rates, "192.0.2.1", 2000), 1000);
    ip_rates_free(rates);
}

static void test_ipv6_counts_by_its_network(void **state) {
    struct ip_rates *rates = start();
    assert_int_equal(connects(rates, "2001:db8:1:2::1", 0), 0);
    assert_int_equal(connects(rates, "2001:db8:1:2:ffff::9", 0), 0);
    assert_int_equal(connects(rates, "2001:db8:1:2:3:4:5:6", 0), 0);
    assert_int_equal(connects(rates, "2001:db8:1:2::1", 0), 1000);
    assert_int_equal(connects(rates, "2001:db8:1:3::1", 0), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(connects(rates, "fe80::1%eth0", 0), 0);
    assert_int_equal(connects(rates, "fe80::1%eth1", 0), 1000);
    for (int i = 0; i < 3; i++)
        assert_int_equal(connects(rates, "::ffff:192.0.2.1", 0), 0);
    assert_int_equal(connects(rates, "192.0.2.1", 0), 1000);
    ip_rates_free(rates);
}

static void test_the_rates_are_apart(void **state) {
    struct ip_rates *rates = start();
    for (int i = 0; i < 10; i++)
        assert_int_equal(ip_rates_take(rates, IP_RATE_REQUESTS, "192.0.2.1", 0), 0);
    assert_int_equal(ip_rates_count(rates), 0); /* it is not set */
    ip_rates_set(rates, IP_RATE_REQUESTS, (struct token_rate){.per_ms = 1, .burst = 1});
    assert_int_equal(ip_rates_take(rates, IP_RATE_REQUESTS, "192.0.2.1", 0), 0);
    assert_int_equal(ip_rates_take(rates, IP_RATE_REQUESTS, "192.0.2.1", 0), 1);
    assert_int_equal(connects(rates, "192.0.2.1", 0), 0);
    ip_rates_free(rates);
}

static void test_what_is_no_address_has_no_rate(void **state) {
    struct ip_rates *rates = start();
    for (int i = 0; i < 10; i++) {
        assert_int_equal(connects(rates, "unix", 0), 0);
        assert_int_equal(connects(rates, "", 0), 0);
    }
    assert_int_equal(ip_rates_count(rates), 0);
    ip_rates_free(rates);
    ip_rates_free(NULL);
}

static void test_expired_entries_go(void **state) {
    struct ip_rates *rates = start();
    char address[32];
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(address, sizeof address, "10.0.%u.%u", i / 250, i % 250);
        connects(rates, address, 0);
    }
    assert_int_equal(ip_rates_count(rates), 1000);
    for (unsigned i = 0; i < 1000; i++)
        connects(rates, "192.0.2.1", 2000 + i);
    assert_int_equal(ip_rates_count(rates), 1);
    ip_rates_free(rates);
}

/* Of more addresses than there are entries, the ones used last are known. */
static void test_entries_have_a_limit(void **state) {
    struct ip_rates *rates = start();
    char address[32];
    for (unsigned i = 0; i < IP_RATES_MAX + 1000; i++) {
        snprintf(address, sizeof address, "10.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
        for (int n = 0; n < 3; n++)
            assert_int_equal(connects(rates, address, 0), 0);
        assert_int_equal(connects(rates, address, 0), 1000);
        assert_true(ip_rates_count(rates) <= IP_RATES_MAX);
    }
    assert_int_equal(connects(rates, "10.0.0.1", 0), 0);
    ip_rates_free(rates);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_address_has_its_burst),
        cmocka_unit_test(test_ipv6_counts_by_its_network),
        cmocka_unit_test(test_the_rates_are_apart),
        cmocka_unit_test(test_what_is_no_address_has_no_rate),
        cmocka_unit_test(test_expired_entries_go),
        cmocka_unit_test(test_entries_have_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
