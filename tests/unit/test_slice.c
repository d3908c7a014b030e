/* test_slice.c -- views of bytes are compared whole, and only ASCII letters have two cases. */
#include "base/slice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_is(void **state) {
    assert_int_equal(slice_of("abc").len, 3);
    assert_true(slice_is(slice_of("abc"), "abc"));
    assert_false(slice_is(slice_of("abc"), "abcd"));
    assert_false(slice_is(slice_of("abcd"), "abc"));
    assert_false(slice_is(slice_of("abc"), "Abc"));
    assert_false(slice_is((struct slice){"abc\0", 4}, "abc"));
    assert_true(slice_is((struct slice){"abcdef" + 2, 2}, "cd"));
}

static void test_is_nocase(void **state) {
    assert_true(slice_is_nocase(slice_of("WebSocket"), "websocket"));
    assert_true(slice_is_nocase((struct slice){"Close, x", 5}, "close"));
    assert_false(slice_is_nocase(slice_of("websocket"), "websockets"));
    assert_false(slice_is_nocase(slice_of("a@b"), "a`b")); /* 0x40 and 0x60 are no letters */
    assert_false(slice_is_nocase(slice_of("\xc4"), "\xe4"));
}

static void test_nothing(void **state) {
    struct slice none = {NULL, 0};
    assert_true(slice_is(none, ""));
    assert_true(slice_is_nocase(none, ""));
    assert_false(slice_is(none, "a"));
    assert_false(slice_is_nocase(none, "a"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_is),
        cmocka_unit_test(test_is_nocase),
        cmocka_unit_test(test_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
