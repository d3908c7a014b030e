/* test_slots.c -- a number finds its thing while that is there, and never another one. */
#include "base/slots.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static uint32_t random_state = 4711;

static uint32_t random_below(uint32_t limit) {
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % limit;
}

static void test_empty(void **state) {
    struct slots slots = {0};
    uint32_t at = 0;
    assert_int_equal(slots_count(&slots), 0);
    assert_null(slots_find(&slots, 0));
    assert_null(slots_find(&slots, 1));
    assert_null(slots_find(&slots, UINT64_MAX));
    assert_null(slots_next(&slots, &at));
    slots_remove(&slots, 1);
    slots_close(&slots);
}

static void test_a_number_finds_its_thing(void **state) {
    struct slots slots = {0};
    int a, b;
    uint64_t first = slots_add(&slots, &a), second = slots_add(&slots, &b);
    assert_true(first != 0 && second != 0 && first != second);
    assert_true(first >> 56 == 0 && second >> 56 == 0);
    assert_ptr_equal(slots_find(&slots, first), &a);
    assert_ptr_equal(slots_find(&slots, second), &b);
    /* what stands above 2^56 is its user's */
    assert_ptr_equal(slots_find(&slots, first | UINT64_C(0x7f) << 56), &a);
    assert_int_equal(slots_count(&slots), 2);
    slots_remove(&slots, first);
    assert_null(slots_find(&slots, first));
    assert_ptr_equal(slots_find(&slots, second), &b);
    assert_int_equal(slots_count(&slots), 1);
    slots_remove(&slots, first); /* once more does nothing */
    assert_int_equal(slots_count(&slots), 1);
    first = slots_add(&slots, &a);
    assert_int_not_equal(first, slots_add(&slots, &b));
    assert_ptr_equal(slots_find(&slots, first), &a);
    slots_close(&slots);
}

static void test_an_old_number_never_finds_the_next_thing(void **state) {
    struct slots slots = {0};
    int a, b;
    enum { ROUNDS = 1000 };
    uint64_t old[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        old[i] = slots_add(&slots, &a);
        slots_remove(&slots, old[i]);
    }
    uint64_t now = slots_add(&slots, &b);
    for (int i = 0; i < ROUNDS; i++) {
        assert_int_not_equal(old[i], now);
        assert_null(slots_find(&slots, old[i]));
        slots_remove(&slots, old[i]); /* harms no other item */
    }
    assert_ptr_equal(slots_find(&slots, now), &b);
    assert_int_equal(slots_count(&slots), 1);
    slots_close(&slots);
}

/* The numbers of a slot are used up one day. Then it is left out: no number comes twice. */
static void test_a_slot_whose_numbers_are_used_up(void **state) {
    struct slots slots = {.first_epoch = UINT32_MAX - 3};
    enum { ROUNDS = 200 }; /* more than the first table has slots for */
    uint64_t given[ROUNDS];
    int a;
    for (int i = 0; i < ROUNDS; i++) {
        given[i] = slots_add(&slots, &a);
        assert_true(given[i] >> 24 != 0 && given[i] >> 56 == 0);
        for (int before = 0; before < i; before++)
            assert_int_not_equal(given[i], given[before]);
        assert_ptr_equal(slots_find(&slots, given[i]), &a);
        assert_int_equal(slots_count(&slots), 1);
        slots_remove(&slots, given[i]);
        assert_int_equal(slots_count(&slots), 0);
        for (int before = 0; before <= i; before++)
            assert_null(slots_find(&slots, given[before]));
    }
    assert_int_equal(given[0] >> 24, UINT32_MAX - 2);
    assert_int_equal(given[2] >> 24, UINT32_MAX);
    assert_int_equal(given[0] & 0xffffff, given[2] & 0xffffff);
    assert_int_not_equal(given[2] & 0xffffff, given[3] & 0xffffff);
    uint32_t at = 0;
    assert_null(slots_next(&slots, &at));
    slots_close(&slots);
}

/* The last use of a slot is a use like any other. */
static void test_the_last_number_of_a_slot(void **state) {
    struct slots slots = {.first_epoch = UINT32_MAX - 1};
    int a, b;
    uint64_t last = slots_add(&slots, &a), other = slots_add(&slots, &b);
    slots_remove(&slots, other);
    slots_remove(&slots, other); /* once more does nothing */
    assert_ptr_equal(slots_find(&slots, last), &a);
    uint32_t at = 0;
    assert_ptr_equal(slots_next(&slots, &at), &a);
    assert_null(slots_next(&slots, &at));
    slots_close(&slots);
}

static void test_full(void **state) {
    /* a full table, without the 16 million things in it */
    struct slots slots = {.size = SLOTS_MAX, .count = SLOTS_MAX};
    int a;
    assert_int_equal(slots_add(&slots, &a), 0);
    assert_int_equal(slots_count(&slots), SLOTS_MAX);
}

struct thing {
    uint64_t number; /* 0: not in the table */
    int seen;
};

static void test_against_a_model(void **state) {
    enum { THINGS = 3000 };
    struct slots slots = {0};
    struct thing *things = calloc(THINGS, sizeof(*things));
    uint64_t stale = 0;
    uint32_t count = 0;
    for (int step = 0; step < 100000; step++) {
        struct thing *thing = &things[random_below(THINGS)];
        if (thing->number == 0 && random_below(10) < (step < 50000 ? 9u : 3u)) {
            thing->number = slots_add(&slots, thing);
            count++;
        } else if (thing->number != 0) {
            assert_ptr_equal(slots_find(&slots, thing->number), thing);
            if (random_below(2) == 0)
                continue;
            slots_remove(&slots, thing->number);
            stale = thing->number;
            thing->number = 0;
            count--;
        }
        assert_null(slots_find(&slots, stale));
        assert_int_equal(slots_count(&slots), count);
    }
    for (int i = 0; i < THINGS; i++)
        if (things[i].number != 0)
            assert_ptr_equal(slots_find(&slots, things[i].number), &things[i]);
    slots_close(&slots);
    free(things);
}

/* A walk returns each item once, even if the caller removes each. */
static void test_walk(void **state) {
    enum { THINGS = 500 };
    struct slots slots = {0};
    struct thing things[THINGS] = {{0}};
    for (int i = 0; i < THINGS; i++)
        things[i].number = slots_add(&slots, &things[i]);
    for (int i = 0; i < THINGS; i += 3)
        slots_remove(&slots, things[i].number);
    uint32_t at = 0;
    for (struct thing *thing; (thing = slots_next(&slots, &at)) != NULL;) {
        thing->seen++;
        slots_remove(&slots, thing->number);
    }
    for (int i = 0; i < THINGS; i++)
        assert_int_equal(things[i].seen, i % 3 != 0);
    assert_int_equal(slots_count(&slots), 0);
    assert_null(slots_next(&slots, &at));
    slots_close(&slots);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_a_number_finds_its_thing),
        cmocka_unit_test(test_an_old_number_never_finds_the_next_thing),
        cmocka_unit_test(test_a_slot_whose_numbers_are_used_up),
        cmocka_unit_test(test_the_last_number_of_a_slot),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_against_a_model),
        cmocka_unit_test(test_walk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
