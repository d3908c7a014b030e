/* test_ip_counts.c -- how many connections each address has, also when there are very many. */
#include "net/socket/ip_counts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static uint32_t random_state = 99;

static uint32_t random_below(uint32_t limit) {
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % limit;
}

static void test_counts(void **state) {
    struct ip_counts *counts = ip_counts_new();
    assert_int_equal(ip_counts_get(counts, "192.0.2.1"), 0);
    struct ip_count *a = ip_counts_add(counts, "192.0.2.1", 0);
    struct ip_count *b = ip_counts_add(counts, "192.0.2.1", 0);
    struct ip_count *c = ip_counts_add(counts, "2001:db8::1", 0);
    struct ip_count *d = ip_counts_add(counts, "unix", 0);
    assert_int_equal(ip_counts_get(counts, "192.0.2.1"), 2);
    assert_int_equal(ip_counts_get(counts, "2001:db8::1"), 1);
    assert_int_equal(ip_counts_get(counts, "unix"), 1);
    assert_int_equal(ip_counts_get(counts, "192.0.2.10"), 0);
    assert_int_equal(ip_counts_get(counts, "192.0.2."), 0);
    assert_int_equal(ip_counts_get(counts, ""), 0);
    ip_counts_remove(a);
    assert_int_equal(ip_counts_get(counts, "192.0.2.1"), 1);
    ip_counts_remove(b);
    assert_int_equal(ip_counts_get(counts, "192.0.2.1"), 0);
    assert_int_equal(ip_counts_get(counts, "2001:db8::1"), 1);
    a = ip_counts_add(counts, "192.0.2.1", 0); /* the address connects again */
    assert_int_equal(ip_counts_get(counts, "192.0.2.1"), 1);
    ip_counts_remove(c);
    ip_counts_remove(a);
    ip_counts_remove(d);
    assert_int_equal(ip_counts_get(counts, "2001:db8::1"), 0);
    ip_counts_free(counts);
    ip_counts_free(NULL);
}

/* The address is copied: its text may change after the call. */
static void test_the_text_is_copied(void **state) {
    struct ip_counts *counts = ip_counts_new();
    char text[64] = "198.51.100.7";
    struct ip_count *entry = ip_counts_add(counts, text, 0);
    snprintf(text, sizeof(text), "203.0.113.9");
    assert_int_equal(ip_counts_get(counts, "198.51.100.7"), 1);
    assert_int_equal(ip_counts_get(counts, "203.0.113.9"), 0);
    ip_counts_remove(entry);
    ip_counts_free(counts);
}

/* These two addresses have the same FNV-1a hash of 32 bits; their counts differ. */
static void test_equal_hashes(void **state) {
    struct ip_counts *counts = ip_counts_new();
    struct ip_count *a = ip_counts_add(counts, "10.2.219.40", 0);
    assert_int_equal(ip_counts_get(counts, "10.0.107.237"), 0);
    struct ip_count *b = ip_counts_add(counts, "10.0.107.237", 0);
    struct ip_count *c = ip_counts_add(counts, "10.0.107.237", 0);
    assert_int_equal(ip_counts_get(counts, "10.2.219.40"), 1);
    assert_int_equal(ip_counts_get(counts, "10.0.107.237"), 2);
    ip_counts_remove(a);
    assert_int_equal(ip_counts_get(counts, "10.2.219.40"), 0);
    assert_int_equal(ip_counts_get(counts, "10.0.107.237"), 2);
    ip_counts_remove(b);
    ip_counts_remove(c);
    ip_counts_free(counts);
}

enum { ADDRESSES = 12000, CONNECTIONS = 30000 };

static void address_text(uint32_t number, char text[64]) {
    if (number % 3 == 0)
        snprintf(text, 64, "2001:db8::%x", number);
    else
        snprintf(text, 64, "10.%u.%u.%u", number >> 16, number >> 8 & 255, number & 255);
}

static void check_counts(struct ip_counts *counts, const uint32_t *want) {
    char text[64];
    for (uint32_t i = 0; i < ADDRESSES; i++) {
        address_text(i, text);
        assert_int_equal(ip_counts_get(counts, text), want[i]);
    }
}

/* Many addresses with a few connections each, which close in another order than they came. */
static void test_many(void **state) {
    struct ip_counts *counts = ip_counts_new();
    struct ip_count **entries = calloc(CONNECTIONS, sizeof(struct ip_count *));
    uint32_t *of = calloc(CONNECTIONS, sizeof(*of)), *want = calloc(ADDRESSES, sizeof(*want));
    char text[64];
    for (uint32_t i = 0; i < CONNECTIONS; i++) {
        of[i] = i < ADDRESSES ? i : random_below(ADDRESSES);
        address_text(of[i], text);
        entries[i] = ip_counts_add(counts, text, 0);
        want[of[i]]++;
        assert_int_equal(ip_counts_get(counts, text), want[of[i]]);
    }
    check_counts(counts, want);
    for (uint32_t left = CONNECTIONS; left > 0; left--) {
        uint32_t i = random_below(left);
        ip_counts_remove(entries[i]);
        want[of[i]]--;
        address_text(of[i], text);
        assert_int_equal(ip_counts_get(counts, text), want[of[i]]);
        entries[i] = entries[left - 1];
        of[i] = of[left - 1];
        if (left % 10000 == 0)
            check_counts(counts, want);
    }
    check_counts(counts, want);
    ip_counts_free(counts);
    free(entries);
    free(of);
    free(want);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_the_text_is_copied),
        cmocka_unit_test(test_equal_hashes),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
