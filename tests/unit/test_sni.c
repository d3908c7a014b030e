/* test_sni.c -- which certificate a server name gets. */
#include "net/socket/sni.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static int one, two, three;

static void finds_by_name(void **state) {
    struct sni sni = {0};
    assert_null(sni_find(&sni, "a.example"));
    sni_add(&sni, "A.example", &one);
    sni_add(&sni, "*.example", &two);
    sni_add(&sni, "*.deep.example.", &three);
    sni_add(&sni, "a.example", &three); /* the first counts */
    assert_ptr_equal(sni_find(&sni, "a.example"), &one);
    assert_ptr_equal(sni_find(&sni, "a.EXAMPLE."), &one);
    assert_ptr_equal(sni_find(&sni, "b.example"), &two);
    assert_ptr_equal(sni_find(&sni, "deep.example"), &two);
    assert_ptr_equal(sni_find(&sni, "x.deep.example"), &three);
    assert_null(sni_find(&sni, "y.x.deep.example"));
    assert_null(sni_find(&sni, "example"));
    sni_close(&sni);
}

static void bears_names_of_every_form(void **state) {
    struct sni sni = {0};
    char text[600];
    sni_add(&sni, "*.example", &one);
    sni_add(&sni, "", &one);
    sni_add(&sni, ".", &one);
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = '\0';
    sni_add(&sni, text, &one);
    assert_null(sni_find(&sni, text));
    static const char *const bad[] = {"", ".", "..", ".example", "*.example", "*", "**.example"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_null(sni_find(&sni, bad[i]));
    for (size_t len = 1; len < 300; len++) {
        snprintf(text, sizeof text, "%.*s.example", (int)len,
                 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                 "aaaaaaa"
                 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                 "aaaaaaa"
                 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                 "aaaaaaa"
                 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
        assert_ptr_equal(sni_find(&sni, text), strlen(text) <= 255 ? &one : NULL);
    }
    sni_close(&sni);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_by_name),
        cmocka_unit_test(bears_names_of_every_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
