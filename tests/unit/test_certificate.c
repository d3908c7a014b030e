/* test_certificate.c -- the facts of a certificate, and the errors of files that cannot be used.
 * The server's specs try more of those. */
#include "certificate_files.h"

#include "net/socket/certificate.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char folder[] = "/tmp/tidewire-certificate-XXXXXX";
static struct certificate_files ada, bob;
static char error[CERTIFICATE_ERROR_BYTES];

static int start(void **state) {
    assert_non_null(mkdtemp(folder));
    certificate_files_make(&ada, folder, "ada", 1000);
    certificate_files_make(&bob, folder, "bob", 1000);
    return 0;
}

static int finish(void **state) {
    certificate_files_remove(&ada);
    certificate_files_remove(&bob);
    return rmdir(folder);
}

static void tells_its_facts(void **state) {
    int64_t before = time(NULL);
    struct certificate *certificate =
        certificate_load(ada.certificate, ada.key, error, sizeof error);
    assert_non_null(certificate);
    assert_string_equal(certificate_subject(certificate), "CN=ada");
    assert_true(certificate_begins_at(certificate) <= before);
    assert_int_equal(certificate_ends_at(certificate) - certificate_begins_at(certificate), 1000);
    certificate_unref(certificate);
}

static void lives_as_long_as_somebody_holds_it(void **state) {
    struct certificate *certificate =
        certificate_load(ada.certificate, ada.key, error, sizeof error);
    assert_ptr_equal(certificate_ref(certificate), certificate);
    certificate_unref(certificate);
    assert_string_equal(certificate_subject(certificate), "CN=ada");
    certificate_unref(certificate);
    assert_null(certificate_ref(NULL));
    certificate_unref(NULL);
}

static void expect(const char *certificate, const char *key, const char *file, const char *why) {
    error[0] = '\0';
    assert_null(certificate_load(certificate, key, error, sizeof error));
    if (strstr(error, file) == NULL || strstr(error, why) == NULL)
        fail_msg("expected \"%s\" and \"%s\" in: %s", file, why, error);
}

static void says_what_is_wrong(void **state) {
    expect("/nowhere.pem", ada.key, "/nowhere.pem", "No such file");
    expect(ada.certificate, "/nowhere.key", "/nowhere.key", "No such file");
    expect(folder, ada.key, folder, "Is a directory");
    expect(ada.certificate, bob.key, bob.key, "does not belong to the certificate");
    expect(ada.key, ada.key, ada.key, "has no certificate");
    expect(ada.certificate, ada.certificate, ada.certificate, "has no key");
}

static void cuts_what_does_not_fit(void **state) {
    char small[16];
    assert_null(certificate_load("/nowhere.pem", ada.key, small, sizeof small));
    assert_string_equal(small, "cannot read /no");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_its_facts),
        cmocka_unit_test(lives_as_long_as_somebody_holds_it),
        cmocka_unit_test(says_what_is_wrong),
        cmocka_unit_test(cuts_what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, start, finish);
}
