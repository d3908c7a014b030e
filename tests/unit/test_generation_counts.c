/* test_generation_counts.c -- the counts of connections and hooks by generation, of all workers. */
#include "server/workers/generation_counts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_rows(void **state) {
    struct generation_counts counts = {0};
    generation_counts_row(&counts, 2)->connections++;
    generation_counts_row(&counts, 5)->connections++;
    generation_counts_row(&counts, 3)->waiting++;
    generation_counts_row(&counts, 2)->connections++;
    assert_int_equal(counts.count, 3);
    assert_int_equal(counts.rows[0].generation, 5);
    assert_int_equal(counts.rows[1].generation, 3);
    assert_int_equal(counts.rows[1].waiting, 1);
    assert_int_equal(counts.rows[2].generation, 2);
    assert_int_equal(counts.rows[2].connections, 2);
}

static void test_add(void **state) {
    struct generation_counts one = {0}, other = {0};
    generation_counts_row(&one, 1)->connections = 10;
    generation_counts_row(&one, 2)->waiting = 1;
    generation_counts_row(&other, 2)->waiting = 2;
    generation_counts_row(&other, 4)->connections = 7;
    generation_counts_add(&one, &other);
    assert_int_equal(one.count, 3);
    assert_int_equal(generation_counts_row(&one, 1)->connections, 10);
    assert_int_equal(generation_counts_row(&one, 2)->waiting, 3);
    assert_int_equal(generation_counts_row(&one, 4)->connections, 7);
}

static void test_timers(void **state) {
    struct generation_counts one = {0}, other = {0};
    char place[200];
    generation_counts_add_timers(&one, "app.lua:3", 1, 2);
    generation_counts_add_timers(&one, "app.lua:3", 2, 1);
    generation_counts_add_timers(&other, "app.lua:3", 1, 5);
    generation_counts_add(&one, &other);
    assert_int_equal(one.place_count, 2);
    assert_string_equal(one.places[0].where, "app.lua:3");
    assert_int_equal(one.places[0].timers, 7);
    for (int i = 0; i < 40; i++) {
        snprintf(place, sizeof place, "app.lua:%d", 100 + i);
        generation_counts_add_timers(&one, place, 1, 1);
    }
    assert_int_equal(one.place_count, GENERATION_COUNTS_MOST_PLACES);
    assert_int_equal(one.elsewhere, 40 - (GENERATION_COUNTS_MOST_PLACES - 2));
    snprintf(place, sizeof place, "%0150d.lua:77", 0);
    generation_counts_add_timers(&other, place, 1, 1);
    assert_int_equal(strlen(other.places[1].where), GENERATION_COUNTS_PLACE_BYTES - 1);
    assert_non_null(strstr(other.places[1].where, ".lua:77"));
}

/* A generation too old for a row counts in the oldest row. */
static void test_many(void **state) {
    struct generation_counts counts = {0};
    for (unsigned i = 100; i > 0; i--)
        generation_counts_row(&counts, i)->connections++;
    assert_int_equal(counts.count, GENERATION_COUNTS_MOST);
    assert_int_equal(counts.rows[0].generation, 100);
    assert_int_equal(counts.rows[GENERATION_COUNTS_MOST - 1].connections,
                     100 - GENERATION_COUNTS_MOST + 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_add),
        cmocka_unit_test(test_timers),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
