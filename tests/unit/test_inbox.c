/* test_inbox.c -- what waits for a sleeping hook comes out as it went in; full means full. */
#include "core/hub/inbox.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void check_next(struct inbox *inbox, const char *bytes, size_t len, bool binary) {
    struct inbox_item *item = inbox_pop(inbox);
    assert_non_null(item);
    assert_int_equal(item->len, len);
    assert_memory_equal(item->bytes, bytes, len);
    assert_int_equal(item->binary, binary);
    mem_free(item);
}

static void test_no_inbox_is_an_empty_one(void **state) {
    assert_true(inbox_empty(NULL));
    assert_false(inbox_full(NULL));
    inbox_free(NULL);
}

static void test_order_and_copies(void **state) {
    struct inbox *inbox = inbox_new();
    char text[] = "one";
    assert_true(inbox_empty(inbox));
    assert_null(inbox_pop(inbox));
    inbox_push(inbox, text, 3, false);
    text[0] = 'x'; /* it was borrowed until the return */
    inbox_push(inbox, "a\0b", 3, true);
    inbox_push(inbox, NULL, 0, false);
    assert_false(inbox_empty(inbox));
    check_next(inbox, "one", 3, false);
    inbox_push(inbox, "last", 4, false);
    check_next(inbox, "a\0b", 3, true);
    check_next(inbox, "", 0, false);
    check_next(inbox, "last", 4, false);
    assert_true(inbox_empty(inbox));
    assert_null(inbox_pop(inbox));
    inbox_push(inbox, "again", 5, false);
    check_next(inbox, "again", 5, false);
    inbox_push(inbox, "left behind", 11, false);
    inbox_free(inbox);
}

/* Pushes items of `len` bytes until it is full, and returns how many that were. */
static size_t fill(struct inbox *inbox, size_t len) {
    char *bytes = calloc(1, len + 1);
    size_t count = 0;
    while (!inbox_full(inbox) && count < 1000000) {
        inbox_push(inbox, bytes, len, true);
        count++;
    }
    free(bytes);
    return count;
}

/* It is small, by bytes and by number, and it may go over by one message at most. */
static void test_full(void **state) {
    static const size_t sizes[] = {0, 1, 100, 1000, 16 * 1024, 64 * 1024, 1024 * 1024};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct inbox *inbox = inbox_new();
        size_t count = fill(inbox, sizes[i]);
        assert_in_range(count, 1, 64);
        assert_true((count - 1) * sizes[i] < 64 * 1024);
        mem_free(inbox_pop(inbox));
        assert_false(inbox_full(inbox));
        while (!inbox_empty(inbox))
            mem_free(inbox_pop(inbox));
        assert_int_equal(fill(inbox, sizes[i]), count); /* the count goes back to nothing */
        inbox_free(inbox);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_inbox_is_an_empty_one),
        cmocka_unit_test(test_order_and_copies),
        cmocka_unit_test(test_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
