/* certificate_files.h -- a certificate and its key in files, for tests of TLS.
 *
 * Made by OpenSSL, one for each name, in a folder that the test gives and removes. */
#ifndef TESTS_UNIT_CERTIFICATE_FILES_H
#define TESTS_UNIT_CERTIFICATE_FILES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/http/tls_options.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

struct certificate_files {
    char certificate[256], key[256];
};

/* Holds from now on for `seconds`. */
static inline void certificate_files_make(struct certificate_files *files, const char *folder,
                                          const char *name, long seconds) {
    snprintf(files->certificate, sizeof files->certificate, "%s/%s.pem", folder, name);
    snprintf(files->key, sizeof files->key, "%s/%s.key", folder, name);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x509 = X509_new();
    X509_set_version(x509, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x509), 1);
    X509_gmtime_adj(X509_getm_notBefore(x509), 0);
    X509_gmtime_adj(X509_getm_notAfter(x509), seconds);
    X509_NAME *subject = X509_get_subject_name(x509);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1,
                               0);
    X509_set_issuer_name(x509, subject);
    X509_set_pubkey(x509, key);
    assert_true(X509_sign(x509, key, EVP_sha256()) > 0);
    FILE *out = fopen(files->certificate, "w");
    assert_non_null(out);
    assert_int_equal(PEM_write_X509(out, x509), 1);
    fclose(out);
    out = fopen(files->key, "w");
    assert_non_null(out);
    assert_int_equal(PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(out);
    X509_free(x509);
    EVP_PKEY_free(key);
}

static inline void certificate_files_remove(const struct certificate_files *files) {
    remove(files->certificate);
    remove(files->key);
}

/* The options of TLS with these certificates; the first is the default. The caller frees
 * `certificates`. */
static inline struct tls_options certificate_files_options(struct certificate_files *files,
                                                           size_t count) {
    struct tls_options options = {.certificate_count = count};
    options.certificates = calloc(count, sizeof *options.certificates);
    for (size_t i = 0; i < count; i++) {
        options.certificates[i].certificate = files[i].certificate;
        options.certificates[i].key = files[i].key;
    }
    return options;
}

#endif
