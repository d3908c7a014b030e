/* test_deadlines.c -- deadlines come out in order, whatever was put in, moved and taken out before.
 */
#include "base/deadlines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

enum { OWNERS = 2000 };

struct owner {
    int id;
    struct deadline deadline;
    uint64_t want; /* the model: its deadline, 0 = not set */
};

/* A small generator of our own, so that a failure comes back with the same numbers. */
static uint32_t random_state = 12345;

static uint32_t random_below(uint32_t limit) {
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % limit;
}

static void test_empty(void **state) {
    struct deadlines heap = {0};
    struct deadline node = {0};
    assert_null(deadlines_peek(&heap));
    assert_false(deadlines_contains(&node));
    deadlines_remove(&heap, &node);
    assert_int_equal(heap.count, 0);
    deadlines_close(&heap);
}

static void test_smallest_first(void **state) {
    struct deadlines heap = {0};
    struct owner owners[5] = {{.id = 0}, {.id = 1}, {.id = 2}, {.id = 3}, {.id = 4}};
    const uint64_t keys[5] = {UINT64_MAX, 0, 17, 3, 17};
    const uint64_t order[5] = {0, 3, 17, 17, UINT64_MAX};
    for (int i = 0; i < 5; i++)
        deadlines_set(&heap, &owners[i].deadline, keys[i]);
    for (int i = 0; i < 5; i++) {
        struct deadline *first = deadlines_peek(&heap);
        struct owner *owner = DEADLINE_OWNER(first, struct owner, deadline);
        assert_int_equal(first->key, order[i]);
        assert_int_equal(keys[owner->id], order[i]);
        deadlines_remove(&heap, first);
        assert_false(deadlines_contains(first));
    }
    assert_null(deadlines_peek(&heap));
    deadlines_close(&heap);
}

static void test_moving_a_deadline(void **state) {
    struct deadlines heap = {0};
    struct deadline a = {0}, b = {0}, c = {0};
    deadlines_set(&heap, &a, 10);
    deadlines_set(&heap, &b, 20);
    deadlines_set(&heap, &c, 30);
    deadlines_set(&heap, &a, 40); /* later */
    assert_ptr_equal(deadlines_peek(&heap), &b);
    deadlines_set(&heap, &c, 5); /* earlier */
    assert_ptr_equal(deadlines_peek(&heap), &c);
    deadlines_set(&heap, &c, 5); /* the same */
    assert_ptr_equal(deadlines_peek(&heap), &c);
    assert_int_equal(heap.count, 3);
    deadlines_remove(&heap, &c);
    deadlines_remove(&heap, &b);
    assert_ptr_equal(deadlines_peek(&heap), &a);
    deadlines_close(&heap);
}

static uint64_t model_smallest(const struct owner *owners) {
    uint64_t smallest = 0;
    for (int i = 0; i < OWNERS; i++)
        if (owners[i].want != 0 && (smallest == 0 || owners[i].want < smallest))
            smallest = owners[i].want;
    return smallest;
}

/* Sets, moves and removes at random, and compares with a plain search after each step. */
static void test_against_a_model(void **state) {
    struct deadlines heap = {0};
    struct owner *owners = calloc(OWNERS, sizeof(*owners));
    uint32_t count = 0;
    for (int step = 0; step < 30000; step++) {
        struct owner *owner = &owners[random_below(OWNERS)];
        /* Mostly filling in the first half, mostly emptying in the second. */
        if (random_below(10) < (step < 15000 ? 8u : 2u)) {
            count += owner->want == 0;
            owner->want = 1 + random_below(5000);
            deadlines_set(&heap, &owner->deadline, owner->want);
        } else {
            count -= owner->want != 0;
            owner->want = 0;
            deadlines_remove(&heap, &owner->deadline);
        }
        assert_int_equal(heap.count, count);
        assert_int_equal(deadlines_contains(&owner->deadline), owner->want != 0);
        struct deadline *first = deadlines_peek(&heap);
        if (step % 16 == 0 || first == NULL)
            assert_int_equal(first == NULL ? 0 : first->key, model_smallest(owners));
    }
    uint64_t last = 0;
    for (struct deadline *node; (node = deadlines_peek(&heap)) != NULL; count--) {
        assert_true(node->key >= last);
        assert_int_equal(node->key, DEADLINE_OWNER(node, struct owner, deadline)->want);
        last = node->key;
        deadlines_remove(&heap, node);
    }
    assert_int_equal(count, 0);
    deadlines_close(&heap);
    free(owners);
}

static void test_memory_is_given_back(void **state) {
    enum { MANY = 100000 };
    struct deadlines heap = {0};
    struct deadline *nodes = calloc(MANY, sizeof(*nodes));
    for (uint32_t i = 0; i < MANY; i++)
        deadlines_set(&heap, &nodes[i], random_below(1000000));
    uint32_t full = heap.capacity;
    assert_true(full >= MANY);
    for (uint32_t i = 10; i < MANY; i++)
        deadlines_remove(&heap, &nodes[i]);
    assert_true(heap.capacity < full / 100);
    assert_int_equal(heap.count, 10);
    deadlines_close(&heap);
    free(nodes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_smallest_first),
        cmocka_unit_test(test_moving_a_deadline),
        cmocka_unit_test(test_against_a_model),
        cmocka_unit_test(test_memory_is_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
