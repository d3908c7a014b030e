/* certificate.c -- a certificate with its key. See certificate.h.
 *
 * One OpenSSL context each. TLS 1.2 and 1.3; sessions are resumed by tickets alone, which the
 * server need not remember. Of the protocols above TLS (ALPN, RFC 7301) there is "http/1.1"; a
 * client that offers others only is refused, as the RFC asks. */
#include "net/socket/certificate.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct certificate {
    atomic_uint count;
    SSL_CTX *context;
    int64_t begins_at, ends_at;
    char subject[256];
};

struct complaint {
    char *text;
    size_t size;
};

__attribute__((format(printf, 2, 3))) static bool fail(const struct complaint *complaint,
                                                       const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(complaint->text, complaint->size, format, args);
    va_end(args);
    return false;
}

/* Can the file be read at all? Then what OpenSSL says of it is about what stands in it. */
static bool can_read(const char *file, const struct complaint *complaint) {
    char byte;
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, &byte, 1);
    int reason = errno;
    if (fd >= 0)
        close(fd);
    if (n > 0)
        return true;
    return fail(complaint, "cannot read %s: %s", file, n == 0 ? "it is empty" : strerror(reason));
}

static const char *reason(void) {
    const char *text = ERR_reason_error_string(ERR_peek_last_error());
    return text == NULL ? "unknown reason" : text;
}

/* ---- the certificate ---- */

/* In seconds of Unix time. */
static int64_t seconds_of(const ASN1_TIME *time) {
    struct tm tm;
    return ASN1_TIME_to_tm(time, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static void note_facts(struct certificate *certificate) {
    const X509 *x509 = SSL_CTX_get0_certificate(certificate->context);
    certificate->begins_at = seconds_of(X509_get0_notBefore(x509));
    certificate->ends_at = seconds_of(X509_get0_notAfter(x509));
    BIO *out = BIO_new(BIO_s_mem());
    X509_NAME_print_ex(out, X509_get_subject_name(x509), 0, XN_FLAG_ONELINE & ~XN_FLAG_SPC_EQ);
    int len = BIO_read(out, certificate->subject, sizeof certificate->subject - 1);
    certificate->subject[len > 0 ? len : 0] = '\0';
    BIO_free(out);
}

static bool read_chain(struct certificate *certificate, const char *file,
                       const struct complaint *complaint) {
    if (!can_read(file, complaint))
        return false;
    if (SSL_CTX_use_certificate_chain_file(certificate->context, file) != 1) {
        if (ERR_GET_REASON(ERR_peek_error()) == PEM_R_NO_START_LINE)
            return fail(complaint,
                        "%s has no certificate: a file in PEM is expected, with a line "
                        "\"-----BEGIN CERTIFICATE-----\"",
                        file);
        return fail(complaint, "%s is no certificate that can be used: %s", file, reason());
    }
    note_facts(certificate);
    return true;
}

/* ---- the key ---- */

/* Nobody is there to be asked. */
static int on_passphrase(char *out, int size, int writing, void *asked) {
    (void)out;
    (void)size;
    (void)writing;
    *(bool *)asked = true;
    return -1;
}

static bool read_key(struct certificate *certificate, const char *file,
                     const struct complaint *complaint) {
    if (!can_read(file, complaint))
        return false;
    bool asked = false;
    SSL_CTX_set_default_passwd_cb(certificate->context, on_passphrase);
    SSL_CTX_set_default_passwd_cb_userdata(certificate->context, &asked);
    bool good = SSL_CTX_use_PrivateKey_file(certificate->context, file, SSL_FILETYPE_PEM) == 1;
    SSL_CTX_set_default_passwd_cb_userdata(certificate->context, NULL);
    if (good)
        return true;
    if (asked)
        return fail(complaint,
                    "the key in %s is locked with a passphrase, which nobody is there to type: "
                    "store it without (openssl pkey -in KEY -out PLAIN)",
                    file);
    int why = ERR_GET_REASON(ERR_peek_last_error()), first = ERR_GET_REASON(ERR_peek_error());
    if (why == X509_R_KEY_VALUES_MISMATCH || why == X509_R_KEY_TYPE_MISMATCH)
        return fail(complaint, "the key in %s does not belong to the certificate", file);
    if (first == PEM_R_NO_START_LINE || first == ERR_R_UNSUPPORTED)
        return fail(complaint,
                    "%s has no key: a file in PEM is expected, with a line "
                    "\"-----BEGIN PRIVATE KEY-----\"",
                    file);
    return fail(complaint, "%s is no key that can be used: %s", file, reason());
}

/* ---- how it is spoken ---- */

static int on_alpn(SSL *ssl, const unsigned char **chosen, unsigned char *chosen_len,
                   const unsigned char *offered, unsigned offered_len, void *user) {
    static const unsigned char ours[] = "\x08http/1.1";
    (void)ssl;
    (void)user;
    unsigned char *out;
    int result =
        SSL_select_next_proto(&out, chosen_len, ours, sizeof ours - 1, offered, offered_len);
    *chosen = out;
    return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* Of TLS 1.2 only what encrypts and authenticates in one step and keeps past sessions secret, as
 * all of 1.3 does; that is what clients of the last ten years choose. Nothing with CBC, without
 * forward secrecy, or with an old cipher. */
static const char tls12_ciphers[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                                    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
                                    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";

/* Buffers of idle connections are given back. What was begun to be written may be gone on with from
 * another place in memory, a record at a time. */
static SSL_CTX *new_context(void) {
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (context == NULL)
        return NULL;
    if (SSL_CTX_set_cipher_list(context, tls12_ciphers) != 1) {
        SSL_CTX_free(context);
        return NULL;
    }
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(context, 1);
    SSL_CTX_set_alpn_select_cb(context, on_alpn, NULL);
    return context;
}

/* ---- life ---- */

struct certificate *certificate_load(const char *chain_file, const char *key_file, char *error,
                                     size_t error_size) {
    struct complaint complaint = {error, error_size};
    struct certificate *certificate = mem_zalloc(sizeof *certificate);
    ERR_clear_error();
    certificate->count = 1;
    certificate->context = new_context();
    bool good =
        certificate->context != NULL || fail(&complaint, "OpenSSL does not start: %s", reason());
    good = good && read_chain(certificate, chain_file, &complaint) &&
           read_key(certificate, key_file, &complaint);
    ERR_clear_error();
    if (good)
        return certificate;
    certificate_unref(certificate);
    return NULL;
}

struct certificate *certificate_ref(struct certificate *certificate) {
    if (certificate != NULL)
        atomic_fetch_add_explicit(&certificate->count, 1, memory_order_relaxed);
    return certificate;
}

void certificate_unref(struct certificate *certificate) {
    if (certificate == NULL ||
        atomic_fetch_sub_explicit(&certificate->count, 1, memory_order_acq_rel) > 1)
        return;
    SSL_CTX_free(certificate->context);
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

struct ssl_ctx_st *certificate_context(const struct certificate *certificate) {
    return certificate->context;
}
