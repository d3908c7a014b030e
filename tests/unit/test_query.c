/* test_query.c -- values of a request's query, in all spellings. */
#include "net/http/query.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void check(const char *query, const char *want) {
    char value[8];
    size_t len;
    bool found = query_find(slice_of(query), "name", value, sizeof value, &len);
    assert_int_equal(found, want != NULL);
    if (want == NULL)
        return;
    assert_int_equal(len, strlen(want));
    assert_memory_equal(value, want, len < sizeof value ? len : sizeof value);
}

static void test_values(void **state) {
    check("name=value", "value");
    check("a=1&name=value&b=2", "value");
    check("&&name=value&&", "value");
    check("name=", "");
    check("name", "");
    check("name=a=b", "a=b");
    check("name=1&name=2", "2");
    check("name=1&name", "");
}

static void test_absent(void **state) {
    check("", NULL);
    check("&", NULL);
    check("=name", NULL);
    check("names=1", NULL);
    check("nam=1", NULL);
    check("a=name", NULL);
    check("Name=1", NULL);
}

static void test_encoded(void **state) {
    check("name=%41%7e", "A~");
    check("%6eame=1", "1");
    check("name=a+b", "a b");
    check("name=%26%3D", "&=");
    check("name=%", "%");
    check("name=%4", "%4");
    check("name=%4g", "%4g");
    check("name%3D=1", NULL);
}

/* The length is that of the whole value. */
static void test_long(void **state) {
    check("name=12345678", "12345678");
    check("name=1234567890", "1234567890");
    check("name=1234567890&name=1", "1");
    assert_false(query_find((struct slice){NULL, 0}, "name", NULL, 0, &(size_t){0}));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_absent),
        cmocka_unit_test(test_encoded),
        cmocka_unit_test(test_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
