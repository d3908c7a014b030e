/* client_tls.c -- the settings of TLS for connections to other servers. See client_tls.h. */
#include "net/socket/client_tls.h"

#include "base/clock.h"
#include "base/mem.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>

/* The system's authorities are read anew for the first connection after this time. */
enum { AUTHORITIES_SECONDS = 3600 };

struct client_tls_context {
    X509_STORE *authorities; /* the system's; NULL: not read yet */
    uint64_t authorities_ms; /* when they were read */
};

struct client_tls {
    char *host, *alpn;
    size_t alpn_len;
    const char *plain_hint;
    bool is_ip, verify;
    SSL_CTX *context;
    long verified; /* X509_V_OK, or why the last certificate was refused */
};

struct client_tls_context *client_tls_context_new(void) {
    return mem_zalloc(sizeof(struct client_tls_context));
}

void client_tls_context_free(struct client_tls_context *context) {
    if (context == NULL)
        return;
    X509_STORE_free(context->authorities);
    mem_free(context);
}

/* ---- the settings of a connection ---- */

static const char *openssl_reason(void) {
    unsigned long code = ERR_peek_error();
    if (ERR_SYSTEM_ERROR(code))
        return strerror(ERR_GET_REASON(code));
    const char *reason = ERR_reason_error_string(code);
    return reason == NULL ? "unknown reason" : reason;
}

/* The system's authorities: those of SSL_CERT_FILE and SSL_CERT_DIR, where they are set. */
static X509_STORE *system_authorities(struct client_tls_context *context) {
    uint64_t now = clock_monotonic_ms();
    if (context->authorities == NULL ||
        now - context->authorities_ms > AUTHORITIES_SECONDS * (uint64_t)1000) {
        X509_STORE_free(context->authorities);
        context->authorities = X509_STORE_new();
        X509_STORE_set_default_paths(context->authorities);
        context->authorities_ms = now;
    }
    return context->authorities;
}

static bool load_authorities(struct client_tls *tls, struct client_tls_context *context,
                             const char *file, const struct error_text *error) {
    if (file == NULL) {
        SSL_CTX_set1_cert_store(tls->context, system_authorities(context));
        return true;
    }
    return SSL_CTX_load_verify_locations(tls->context, file, NULL) == 1 ||
           error_text_fail(error, "tls.ca: cannot use %s: %s", file, openssl_reason());
}

/* Never asks at the terminal. */
static int on_password(char *out, int size, int is_encrypting, void *password) {
    (void)is_encrypting;
    size_t len = password == NULL ? 0 : strlen(password);
    if (len == 0 || len > (size_t)size)
        return -1;
    memcpy(out, password, len);
    return (int)len;
}

static bool load_certificate(struct client_tls *tls, const struct client_tls_options *options,
                             const struct error_text *error) {
    if (options->certificate == NULL)
        return true;
    SSL_CTX_set_default_passwd_cb(tls->context, on_password);
    SSL_CTX_set_default_passwd_cb_userdata(tls->context, (void *)(uintptr_t)options->password);
    if (SSL_CTX_use_certificate_chain_file(tls->context, options->certificate) != 1)
        return error_text_fail(error, "tls.certificate: cannot use %s: %s", options->certificate,
                               openssl_reason());
    bool good = SSL_CTX_use_PrivateKey_file(tls->context, options->key, SSL_FILETYPE_PEM) == 1;
    SSL_CTX_set_default_passwd_cb_userdata(tls->context, NULL); /* it is the caller's */
    return good ||
           error_text_fail(error, "tls.key: cannot use %s: %s", options->key, openssl_reason());
}

static int version_of(unsigned minor) {
    return minor == 3 ? TLS1_3_VERSION : minor == 2 ? TLS1_2_VERSION : 0;
}

static bool set_ciphers(struct client_tls *tls, const struct client_tls_options *options,
                        const struct error_text *error) {
    if (options->ciphers != NULL && SSL_CTX_set_cipher_list(tls->context, options->ciphers) != 1)
        return error_text_fail(error, "tls.ciphers: OpenSSL knows none of %s", options->ciphers);
    return options->cipher_suites == NULL ||
           SSL_CTX_set_ciphersuites(tls->context, options->cipher_suites) == 1 ||
           error_text_fail(error, "tls.cipher_suites: OpenSSL does not know %s",
                           options->cipher_suites);
}

static bool is_ip(const char *host) {
    ASN1_OCTET_STRING *ip = a2i_IPADDRESS(host);
    ASN1_OCTET_STRING_free(ip);
    return ip != NULL;
}

struct client_tls *client_tls_new(struct client_tls_context *context,
                                  const struct client_tls_options *options,
                                  const struct error_text *error) {
    struct client_tls *tls = mem_zalloc(sizeof *tls);
    tls->host = options->host == NULL ? NULL : mem_strdup(options->host);
    tls->is_ip = options->host != NULL && is_ip(options->host);
    tls->alpn = options->alpn.len == 0 ? NULL : mem_strndup(options->alpn.bytes, options->alpn.len);
    tls->alpn_len = options->alpn.len;
    tls->plain_hint = options->plain_hint == NULL ? "" : options->plain_hint;
    tls->verify = options->verify;
    tls->verified = X509_V_OK;
    ERR_clear_error();
    tls->context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(tls->context,
                                  version_of(options->min_minor == 0 ? 2 : options->min_minor));
    SSL_CTX_set_max_proto_version(tls->context, version_of(options->max_minor));
    SSL_CTX_set_options(tls->context, SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(tls->context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                       SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(tls->context, SSL_SESS_CACHE_OFF);
    bool good = load_authorities(tls, context, options->ca, error) &&
                load_certificate(tls, options, error) && set_ciphers(tls, options, error);
    ERR_clear_error();
    if (good)
        return tls;
    client_tls_free(tls);
    return NULL;
}

void client_tls_free(struct client_tls *tls) {
    if (tls == NULL)
        return;
    SSL_CTX_free(tls->context);
    mem_free(tls->host);
    mem_free(tls->alpn);
    mem_free(tls);
}

/* ---- the handshake ---- */

static int on_verified(int is_good, X509_STORE_CTX *chain) {
    SSL *ssl = X509_STORE_CTX_get_ex_data(chain, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct client_tls *tls = SSL_get_app_data(ssl);
    if (!tls->verify)
        return 1;
    if (!is_good)
        tls->verified = X509_STORE_CTX_get_error(chain);
    return is_good;
}

/* A server that is named by its IP address gets no SNI (RFC 6066 section 3). */
struct tls *client_tls_begin(struct client_tls *settings, int fd) {
    SSL *ssl = SSL_new(settings->context);
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    SSL_set_app_data(ssl, settings);
    SSL_set_verify(ssl, SSL_VERIFY_PEER, on_verified);
    if (settings->alpn != NULL)
        SSL_set_alpn_protos(ssl, (const unsigned char *)settings->alpn,
                            (unsigned)settings->alpn_len);
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (settings->is_ip) {
        X509_VERIFY_PARAM_set1_ip_asc(param, settings->host);
    } else if (settings->host != NULL) {
        SSL_set_tlsext_host_name(ssl, settings->host);
        X509_VERIFY_PARAM_set1_host(param, settings->host, 0);
    }
    settings->verified = X509_V_OK;
    return tls_new_client(ssl, fd);
}

void client_tls_describe(const struct client_tls *settings, const struct tls *tls,
                         const struct error_text *error) {
    if (settings->verified != X509_V_OK)
        error_text_fail(error, "certificate: %s",
                        X509_verify_cert_error_string(settings->verified));
    else if (tls_state(tls) != TLS_BROKEN)
        error_text_fail(error, "TLS: the server ended the connection");
    else if (strcmp(tls_why(tls), "wrong version number") == 0)
        error_text_fail(error, "TLS: the server does not speak it%s", settings->plain_hint);
    else
        error_text_fail(error, "TLS: %s", tls_why(tls));
}
