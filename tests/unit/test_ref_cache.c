/* test_ref_cache.c -- after a flush each message has the right number of references. */
#include "core/frames/ref_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { MESSAGES = 100, STEPS = 100000 };

static uint32_t random_state = 4711;

static uint32_t random_below(uint32_t limit) {
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % limit;
}

static unsigned count_of(struct message *message) {
    return atomic_load(&message->refs);
}

static void test_nothing_to_settle(void **state) {
    struct ref_cache ref_cache = {0};
    ref_cache_flush(&ref_cache);
    ref_cache_flush(&ref_cache);
}

static void test_what_was_taken_stays(void **state) {
    struct ref_cache ref_cache = {0};
    struct message *message = message_new(OPCODE_TEXT, "a", 1);
    for (int i = 0; i < 1000; i++)
        assert_ptr_equal(ref_cache_take(&ref_cache, message), message);
    assert_true(count_of(message) >= 1001);
    ref_cache_flush(&ref_cache);
    assert_int_equal(count_of(message), 1001);
    message_unref_many(message, 1001);
}

static void test_what_was_given_is_gone(void **state) {
    struct ref_cache ref_cache = {0};
    struct message *message = message_new(OPCODE_TEXT, "a", 1);
    message_ref_many(message, 1000);
    for (int i = 0; i < 1000; i++)
        ref_cache_release(&ref_cache, message);
    ref_cache_flush(&ref_cache);
    assert_int_equal(count_of(message), 1);
    message_unref(message);
}

/* The flush drops the last reference: a sanitizer sees it if not. */
static void test_the_last_one(void **state) {
    struct ref_cache ref_cache = {0};
    struct message *message = message_new(OPCODE_TEXT, "a", 1);
    ref_cache_take(&ref_cache, message);
    ref_cache_release(&ref_cache, message);
    ref_cache_release(&ref_cache, message);
    ref_cache_flush(&ref_cache);
}

/* More messages than slots, so that they push each other out. */
static void test_many_at_random(void **state) {
    struct ref_cache ref_cache = {0};
    struct message *messages[MESSAGES];
    unsigned held[MESSAGES] = {0};
    for (int i = 0; i < MESSAGES; i++)
        messages[i] = message_new(OPCODE_TEXT, "a", random_below(2));
    for (int step = 0; step < STEPS; step++) {
        uint32_t i = random_below(MESSAGES);
        if (held[i] > 0 && random_below(2) == 0) {
            ref_cache_release(&ref_cache, messages[i]);
            held[i]--;
        } else {
            ref_cache_take(&ref_cache, messages[i]);
            held[i]++;
        }
        if (random_below(1000) == 0)
            ref_cache_flush(&ref_cache);
    }
    ref_cache_flush(&ref_cache);
    for (int i = 0; i < MESSAGES; i++) {
        assert_int_equal(count_of(messages[i]), held[i] + 1);
        message_unref_many(messages[i], held[i] + 1);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_to_settle),      cmocka_unit_test(test_what_was_taken_stays),
        cmocka_unit_test(test_what_was_given_is_gone), cmocka_unit_test(test_the_last_one),
        cmocka_unit_test(test_many_at_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
