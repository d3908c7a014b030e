/* test_buffer.c -- a buffer keeps its bytes in order while they are added and dropped. */
#include "base/buffer.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_adds(void **state) {
    struct buffer buffer = {0};
    buffer_add(&buffer, NULL, 0);
    assert_null(buffer.bytes);
    buffer_add(&buffer, "ab\0c", 4);
    memcpy(buffer_room(&buffer, 2), "de", 2);
    buffer.len += 2;
    assert_int_equal(buffer.len, 6);
    assert_memory_equal(buffer_start(&buffer), "ab\0cde", 6);
    buffer_free(&buffer);
    assert_int_equal(buffer.len, 0);
}

/* Each length once, so that the text's end falls on every place of the memory. */
static void test_prints(void **state) {
    struct buffer buffer = {0};
    char expected[4096] = "";
    for (int i = 0; i < 64; i++) {
        buffer_printf(&buffer, "%*d;", i, i);
        snprintf(expected + strlen(expected), sizeof expected - strlen(expected), "%*d;", i, i);
        assert_int_equal(buffer.len, strlen(expected));
        assert_memory_equal(buffer_start(&buffer), expected, buffer.len);
    }
    buffer_free(&buffer);
}

/* As a queue: what was dropped leaves its room to what comes, and memory does not grow for ever. */
static void test_drops(void **state) {
    struct buffer buffer = {0};
    unsigned char in = 0, out = 0;
    for (int i = 0; i < 10000; i++) {
        for (int j = 0; j < i % 7; j++, in++)
            buffer_add(&buffer, &in, 1);
        for (; buffer.len > 5; out++) {
            assert_int_equal((unsigned char)*buffer_start(&buffer), out);
            buffer_drop(&buffer, 1);
        }
    }
    assert_true(buffer.capacity < 64);
    buffer_free(&buffer);
}

static void test_takes_a_text(void **state) {
    struct buffer buffer = {0};
    char *text = buffer_take_text(&buffer);
    assert_string_equal(text, "");
    mem_free(text);
    buffer_add(&buffer, "one\0two", 7);
    buffer_drop(&buffer, 1);
    text = buffer_take_text(&buffer);
    assert_memory_equal(text, "ne\0two", 7);
    assert_int_equal(buffer.len, 0);
    assert_null(buffer.bytes);
    mem_free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adds),
        cmocka_unit_test(test_prints),
        cmocka_unit_test(test_drops),
        cmocka_unit_test(test_takes_a_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
