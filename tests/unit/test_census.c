/* test_census.c -- which code connections and hooks hold, added up over workers. */
#include "server/census.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_rows(void **state) {
    struct census census = {0};
    census_row(&census, 2)->connections++;
    census_row(&census, 5)->connections++;
    census_row(&census, 3)->waiting++;
    census_row(&census, 2)->connections++;
    assert_int_equal(census.count, 3);
    assert_int_equal(census.rows[0].generation, 5);
    assert_int_equal(census.rows[1].generation, 3);
    assert_int_equal(census.rows[1].waiting, 1);
    assert_int_equal(census.rows[2].generation, 2);
    assert_int_equal(census.rows[2].connections, 2);
}

static void test_add(void **state) {
    struct census one = {0}, other = {0};
    census_row(&one, 1)->connections = 10;
    census_row(&one, 2)->waiting = 1;
    census_row(&other, 2)->waiting = 2;
    census_row(&other, 4)->connections = 7;
    census_add(&one, &other);
    assert_int_equal(one.count, 3);
    assert_int_equal(census_row(&one, 1)->connections, 10);
    assert_int_equal(census_row(&one, 2)->waiting, 3);
    assert_int_equal(census_row(&one, 4)->connections, 7);
}

static void test_timers(void **state) {
    struct census one = {0}, other = {0};
    char place[200];
    census_timers(&one, "app.lua:3", 1, 2);
    census_timers(&one, "app.lua:3", 2, 1);
    census_timers(&other, "app.lua:3", 1, 5);
    census_add(&one, &other);
    assert_int_equal(one.place_count, 2);
    assert_string_equal(one.places[0].where, "app.lua:3");
    assert_int_equal(one.places[0].timers, 7);
    for (int i = 0; i < 40; i++) {
        snprintf(place, sizeof place, "app.lua:%d", 100 + i);
        census_timers(&one, place, 1, 1);
    }
    assert_int_equal(one.place_count, CENSUS_MOST_PLACES);
    assert_int_equal(one.elsewhere, 40 - (CENSUS_MOST_PLACES - 2));
    snprintf(place, sizeof place, "%0150d.lua:77", 0);
    census_timers(&other, place, 1, 1);
    assert_int_equal(strlen(other.places[1].where), CENSUS_PLACE_BYTES - 1);
    assert_non_null(strstr(other.places[1].where, ".lua:77"));
}

/* What is too old for a row of its own counts as the oldest there is. */
static void test_many(void **state) {
    struct census census = {0};
    for (unsigned i = 100; i > 0; i--)
        census_row(&census, i)->connections++;
    assert_int_equal(census.count, CENSUS_MOST);
    assert_int_equal(census.rows[0].generation, 100);
    assert_int_equal(census.rows[CENSUS_MOST - 1].connections, 100 - CENSUS_MOST + 1);
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
