/* certificate.c -- a certificate with its key. See certificate.h.
 *
 * Each certificate has an OpenSSL context of its own, which tls.c makes. */
#include "net/socket/certificate.h"

#include "base/buffer.h"
#include "base/error_text.h"
#include "base/mem.h"
#include "net/socket/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct certificate {
    SSL_CTX *context;
    struct ocsp *ocsp;
    char *names;
    int64_t begins_at, ends_at;
    char subject[256];
};

/* Can the file be read at all? Then errors of OpenSSL are about its contents. */
static bool can_read(const char *file, const struct error_text *problem) {
    char byte;
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, &byte, 1);
    int reason = errno;
    if (fd >= 0)
        close(fd);
    if (n > 0)
        return true;
    return error_text_fail(problem, "cannot read %s: %s", file,
                           n == 0 ? "it is empty" : strerror(reason));
}

static const char *reason(void) {
    const char *text = ERR_reason_error_string(ERR_peek_last_error());
    return text == NULL ? "unknown reason" : text;
}

/* ---- the certificate ---- */

/* Seconds of Unix time. */
static int64_t seconds_of(const ASN1_TIME *time) {
    struct tm tm;
    return ASN1_TIME_to_tm(time, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static void add_name(struct buffer *names, const ASN1_STRING *name) {
    const unsigned char *bytes = ASN1_STRING_get0_data(name);
    size_t len = (size_t)ASN1_STRING_length(name);
    if (len == 0 || memchr(bytes, '\0', len) != NULL)
        return;
    buffer_add(names, bytes, len);
    buffer_add(names, "", 1);
}

/* The common name counts only where there are no alternative names (RFC 6125 section 6.4.4). */
static char *read_names(const X509 *x509) {
    struct buffer names = {0};
    GENERAL_NAMES *list = X509_get_ext_d2i(x509, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(list); i++) {
        int type;
        const ASN1_STRING *name = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(list, i), &type);
        if (type == GEN_DNS)
            add_name(&names, name);
    }
    X509_NAME *subject = X509_get_subject_name(x509);
    int at = list != NULL ? -1 : X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (at >= 0)
        add_name(&names, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    GENERAL_NAMES_free(list);
    return buffer_take_text(&names);
}

static void read_facts(struct certificate *certificate) {
    const X509 *x509 = SSL_CTX_get0_certificate(certificate->context);
    certificate->names = read_names(x509);
    certificate->begins_at = seconds_of(X509_get0_notBefore(x509));
    certificate->ends_at = seconds_of(X509_get0_notAfter(x509));
    BIO *out = BIO_new(BIO_s_mem());
    X509_NAME_print_ex(out, X509_get_subject_name(x509), 0, XN_FLAG_ONELINE & ~XN_FLAG_SPC_EQ);
    int len = BIO_read(out, certificate->subject, sizeof certificate->subject - 1);
    certificate->subject[len > 0 ? len : 0] = '\0';
    BIO_free(out);
}

static bool read_chain(struct certificate *certificate, const char *file,
                       const struct error_text *problem) {
    if (!can_read(file, problem))
        return false;
    if (SSL_CTX_use_certificate_chain_file(certificate->context, file) != 1) {
        if (ERR_GET_REASON(ERR_peek_error()) == PEM_R_NO_START_LINE)
            return error_text_fail(problem,
                                   "%s has no certificate: a file in PEM is expected, with a line "
                                   "\"-----BEGIN CERTIFICATE-----\"",
                                   file);
        return error_text_fail(problem, "%s is not a usable certificate: %s", file, reason());
    }
    read_facts(certificate);
    return true;
}

/* ---- the key ---- */

/* A server has no terminal to ask for a passphrase. */
static int on_passphrase(char *out, int size, int writing, void *asked) {
    (void)out;
    (void)size;
    (void)writing;
    *(bool *)asked = true;
    return -1;
}

static bool read_key(struct certificate *certificate, const char *file,
                     const struct error_text *problem) {
    if (!can_read(file, problem))
        return false;
    bool asked = false;
    SSL_CTX_set_default_passwd_cb(certificate->context, on_passphrase);
    SSL_CTX_set_default_passwd_cb_userdata(certificate->context, &asked);
    bool good = SSL_CTX_use_PrivateKey_file(certificate->context, file, SSL_FILETYPE_PEM) == 1;
    SSL_CTX_set_default_passwd_cb_userdata(certificate->context, NULL);
    if (good)
        return true;
    if (asked)
        return error_text_fail(
            problem,
            "the key in %s is encrypted with a passphrase, which the server cannot ask "
            "for: store it without one (openssl pkey -in KEY -out PLAIN)",
            file);
    int why = ERR_GET_REASON(ERR_peek_last_error()), first = ERR_GET_REASON(ERR_peek_error());
    if (why == X509_R_KEY_VALUES_MISMATCH || why == X509_R_KEY_TYPE_MISMATCH)
        return error_text_fail(problem, "the key in %s does not belong to the certificate", file);
    if (first == PEM_R_NO_START_LINE || first == ERR_R_UNSUPPORTED)
        return error_text_fail(problem,
                               "%s has no key: a file in PEM is expected, with a line "
                               "\"-----BEGIN PRIVATE KEY-----\"",
                               file);
    return error_text_fail(problem, "%s is not a usable key: %s", file, reason());
}

/* ---- life ---- */

static bool read_ocsp(struct certificate *certificate, const char *file,
                      const struct error_text *problem) {
    if (file == NULL)
        return true;
    certificate->ocsp = ocsp_load(file, SSL_CTX_get0_certificate(certificate->context), problem);
    if (certificate->ocsp != NULL)
        ocsp_use(certificate->ocsp, certificate->context);
    return certificate->ocsp != NULL;
}

struct certificate *certificate_load(const struct tls_certificate_options *options, size_t number,
                                     struct tls_problem *problem) {
    struct error_text text = {problem->text, sizeof problem->text};
    struct certificate *certificate = mem_zalloc(sizeof *certificate);
    ERR_clear_error();
    problem->number = number;
    problem->option = "certificate";
    certificate->context = tls_new_context();
    bool good = certificate->context != NULL ||
                error_text_fail(&text, "OpenSSL does not start: %s", reason());
    good = good && read_chain(certificate, options->certificate, &text);
    if (good) {
        problem->option = "key";
        good = read_key(certificate, options->key, &text);
    }
    if (good) {
        problem->option = "ocsp";
        good = read_ocsp(certificate, options->ocsp, &text);
    }
    ERR_clear_error();
    if (good)
        return certificate;
    certificate_free(certificate);
    return NULL;
}

void certificate_free(struct certificate *certificate) {
    if (certificate == NULL)
        return;
    SSL_CTX_free(certificate->context);
    ocsp_free(certificate->ocsp);
    mem_free(certificate->names);
    mem_free(certificate);
}

int64_t certificate_begins_at(const struct certificate *certificate) {
    return certificate->begins_at;
}

int64_t certificate_ends_at(const struct certificate *certificate) {
    return certificate->ends_at;
}

const char *certificate_subject(const struct certificate *certificate) {
    return certificate->subject;
}

const char *certificate_names(const struct certificate *certificate) {
    return certificate->names;
}

const struct ocsp *certificate_ocsp(const struct certificate *certificate) {
    return certificate->ocsp;
}

struct ssl_ctx_st *certificate_context(const struct certificate *certificate) {
    return certificate->context;
}
