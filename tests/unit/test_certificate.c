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
static struct tls_problem problem;

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

static struct certificate *load(const char *certificate, const char *key) {
    const struct tls_certificate_options options = {.certificate = (char *)certificate,
                                                    .key = (char *)key};
    memset(&problem, 0, sizeof problem);
    return certificate_load(&options, 3, &problem);
}

static void tells_its_facts(void **state) {
    int64_t before = time(NULL);
    struct certificate *certificate = load(ada.certificate, ada.key);
    assert_non_null(certificate);
    assert_string_equal(certificate_subject(certificate), "CN=ada");
    assert_memory_equal(certificate_names(certificate), "ada\0", 5);
    assert_true(certificate_begins_at(certificate) <= before);
    assert_int_equal(certificate_ends_at(certificate) - certificate_begins_at(certificate), 1000);
    assert_null(certificate_ocsp(certificate));
    certificate_free(certificate);
    certificate_free(NULL);
}

static void expect(const char *certificate, const char *key, const char *option, const char *file,
                   const char *why) {
    assert_null(load(certificate, key));
    if (strstr(problem.text, file) == NULL || strstr(problem.text, why) == NULL)
        fail_msg("expected \"%s\" and \"%s\" in: %s", file, why, problem.text);
    assert_string_equal(problem.option, option);
    assert_int_equal(problem.number, 3);
}

static void says_what_is_wrong(void **state) {
    expect("/nowhere.pem", ada.key, "certificate", "/nowhere.pem", "No such file");
    expect(ada.certificate, "/nowhere.key", "key", "/nowhere.key", "No such file");
    expect(folder, ada.key, "certificate", folder, "Is a directory");
    expect(ada.certificate, bob.key, "key", bob.key, "does not belong to the certificate");
    expect(ada.key, ada.key, "certificate", ada.key, "has no certificate");
    expect(ada.certificate, ada.certificate, "key", ada.certificate, "has no key");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_its_facts),
        cmocka_unit_test(says_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, start, finish);
}
