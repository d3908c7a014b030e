/* test_census.c -- which code connections and hooks hold, added up over workers. */
#include "server/census.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

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
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
