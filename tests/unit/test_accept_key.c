/* test_accept_key.c -- the proof in a handshake's answer, against keys whose proof is known. */
#include "net/accept_key.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void check(const char *key, const char *proof) {
    char out[ACCEPT_KEY_BYTES + 1];
    memset(out, 'x', sizeof(out));
    accept_key(slice_of(key), out);
    assert_string_equal(out, proof);
    assert_int_equal(strlen(out), ACCEPT_KEY_BYTES - 1);
    assert_int_equal(out[ACCEPT_KEY_BYTES], 'x');
}

/* The first is the example of RFC 6455 section 1.3; the others were computed with Python's hashlib. */
static void test_known_keys(void **state) {
    check("dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    check("AAAAAAAAAAAAAAAAAAAAAA==", "ICX+Yqv66kxgM0FcWaLWlFLwTAI=");
    check("/////////////////////w==", "XXpj4jYzLM2yUE0C7TIgMwTQh2g=");
    check("AAECAwQFBgcICQoLDA0ODw==", "Bz3qJYTGdOe8gUSpLosEdiLKDrk=");
}

/* A key is a view of the request: what stands behind it does not count. */
static void test_a_view(void **state) {
    char out[ACCEPT_KEY_BYTES];
    accept_key((struct slice){"x: dGhlIHNhbXBsZSBub25jZQ==\r\nHost: y" + 3, 24}, out);
    assert_string_equal(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_keys),
        cmocka_unit_test(test_a_view),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
