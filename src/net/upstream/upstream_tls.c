/* upstream_tls.c -- the client's side of TLS. See upstream_tls.h.
 *
 * libwebsockets makes its SSL objects of a context of ours. OpenSSL calls on_info() before the
 * first byte of a handshake, where each connection gets its own settings, and when the handshake is
 * complete, which libwebsockets 4.1 does not say. */
#include "net/upstream/upstream_tls.h"

#include "base/clock.h"
#include "base/mem.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>

/* The system's authorities are read anew for the first connection after this time. */
enum { AUTHORITIES_SECONDS = 3600 };

struct upstream_tls_context {
    SSL_CTX *ssl;
    X509_STORE *authorities; /* the system's; NULL: not read yet */
    uint64_t authorities_ms; /* when they were read */
    upstream_tls_event_fn on_event;
    void *user;
};

struct upstream_tls {
    char *host;
    bool is_ip;
    bool verify;
    SSL_CTX *own; /* with the client's certificate; NULL: it has none */
    X509_STORE *authorities;
};

/* ---- the context ---- */

static void on_info(const SSL *ssl, int where, int result) {
    (void)result;
    const struct upstream_tls_context *context = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    if (context != NULL && (where & (SSL_CB_HANDSHAKE_START | SSL_CB_HANDSHAKE_DONE)) != 0)
        context->on_event(context->user, SSL_get_fd(ssl), (SSL *)(uintptr_t)ssl,
                          (where & SSL_CB_HANDSHAKE_DONE) != 0);
}

/* A message of TLS itself, such as a new key, ends a read: else a server could keep one going. */
static SSL_CTX *new_ssl_context(struct upstream_tls_context *context) {
    SSL_CTX *ssl = SSL_CTX_new(TLS_client_method());
    if (ssl == NULL)
        return NULL;
    SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION);
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_clear_mode(ssl, SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_info_callback(ssl, on_info);
    SSL_CTX_set_app_data(ssl, context);
    return ssl;
}

struct upstream_tls_context *upstream_tls_context_new(upstream_tls_event_fn on_event, void *user) {
    struct upstream_tls_context *context = mem_zalloc(sizeof *context);
    context->on_event = on_event;
    context->user = user;
    context->ssl = new_ssl_context(context);
    return context;
}

void upstream_tls_context_free(struct upstream_tls_context *context) {
    if (context == NULL)
        return;
    X509_STORE_free(context->authorities);
    SSL_CTX_free(context->ssl);
    mem_free(context);
}

struct ssl_ctx_st *upstream_tls_context_ssl(struct upstream_tls_context *context) {
    return context->ssl;
}

/* ---- the settings of a connection ---- */

static const char *openssl_reason(void) {
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    return reason == NULL ? "unknown reason" : reason;
}

/* The system's authorities: those of SSL_CERT_FILE and SSL_CERT_DIR, where they are set. */
static X509_STORE *system_authorities(struct upstream_tls_context *context) {
    uint64_t now = clock_monotonic_ms();
    if (context->authorities == NULL ||
        now - context->authorities_ms > AUTHORITIES_SECONDS * (uint64_t)1000) {
        X509_STORE_free(context->authorities);
        context->authorities = X509_STORE_new();
        X509_STORE_set_default_paths(context->authorities);
        context->authorities_ms = now;
    }
    X509_STORE_up_ref(context->authorities);
    return context->authorities;
}

static bool load_authorities(struct upstream_tls *tls, struct upstream_tls_context *context,
                             const char *file, const struct error_text *error) {
    if (file == NULL) {
        tls->authorities = system_authorities(context);
        return true;
    }
    tls->authorities = X509_STORE_new();
    return X509_STORE_load_file(tls->authorities, file) == 1 ||
           error_text_fail(error, "tls.ca: cannot use %s: %s", file, openssl_reason());
}

static bool load_certificate(struct upstream_tls *tls, struct upstream_tls_context *context,
                             const struct upstream_tls_options *options,
                             const struct error_text *error) {
    if (options->certificate == NULL)
        return true;
    tls->own = new_ssl_context(context);
    if (SSL_CTX_use_certificate_chain_file(tls->own, options->certificate) != 1)
        return error_text_fail(error, "tls.certificate: cannot use %s: %s", options->certificate,
                               openssl_reason());
    return SSL_CTX_use_PrivateKey_file(tls->own, options->key, SSL_FILETYPE_PEM) == 1 ||
           error_text_fail(error, "tls.key: cannot use %s: %s", options->key, openssl_reason());
}

static bool is_ip(const char *host) {
    ASN1_OCTET_STRING *ip = a2i_IPADDRESS(host);
    ASN1_OCTET_STRING_free(ip);
    return ip != NULL;
}

struct upstream_tls *upstream_tls_new(struct upstream_tls_context *context,
                                      const struct upstream_tls_options *options,
                                      const struct error_text *error) {
    struct upstream_tls *tls = mem_zalloc(sizeof *tls);
    tls->host = mem_strdup(options->host);
    tls->is_ip = is_ip(options->host);
    tls->verify = options->verify;
    ERR_clear_error();
    bool good = load_authorities(tls, context, options->ca, error) &&
                load_certificate(tls, context, options, error);
    ERR_clear_error();
    if (good)
        return tls;
    upstream_tls_free(tls);
    return NULL;
}

void upstream_tls_free(struct upstream_tls *tls) {
    if (tls == NULL)
        return;
    X509_STORE_free(tls->authorities);
    SSL_CTX_free(tls->own);
    mem_free(tls->host);
    mem_free(tls);
}

/* ---- the handshake ---- */

static int accept_any(int is_good, X509_STORE_CTX *chain) {
    (void)is_good;
    X509_STORE_CTX_set_error(chain, X509_V_OK); /* libwebsockets looks at the result, too */
    return 1;
}

/* libwebsockets has set a name, a check and ALPN of its own. A server that is named by its IP
 * address gets no SNI (RFC 6066 section 3). */
void upstream_tls_configure(struct upstream_tls *tls, struct ssl_st *ssl) {
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    SSL_set_alpn_protos(ssl, NULL, 0);
    SSL_set_tlsext_host_name(ssl, tls->is_ip ? NULL : tls->host);
    SSL_set_verify(ssl, SSL_VERIFY_PEER, tls->verify ? NULL : accept_any);
    SSL_set1_verify_cert_store(ssl, tls->authorities);
    X509_VERIFY_PARAM_set1_host(param, NULL, 0);
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (tls->verify && tls->is_ip)
        X509_VERIFY_PARAM_set1_ip_asc(param, tls->host);
    else if (tls->verify)
        X509_VERIFY_PARAM_set1_host(param, tls->host, 0);
    if (tls->own != NULL)
        SSL_set_SSL_CTX(ssl, tls->own);
}

void upstream_tls_describe(const struct upstream_tls *tls, struct ssl_st *ssl,
                           const struct error_text *error) {
    long verified = ssl == NULL || !tls->verify ? X509_V_OK : SSL_get_verify_result(ssl);
    unsigned long code = ERR_peek_error();
    const char *reason = ERR_reason_error_string(code);
    if (verified != X509_V_OK)
        error_text_fail(error, "certificate: %s", X509_verify_cert_error_string(verified));
    else if (ERR_GET_REASON(code) == SSL_R_WRONG_VERSION_NUMBER)
        error_text_fail(error, "TLS: the server does not speak TLS; should wss:// be ws://?");
    else
        error_text_fail(error, "TLS: %s",
                        reason == NULL ? "the server ended the connection" : reason);
}

bool upstream_tls_is_open(struct ssl_st *ssl) {
    return ssl != NULL && SSL_is_init_finished(ssl);
}

/* ---- bytes ---- */

static ssize_t result_of(SSL *ssl, int result) {
    if (result > 0)
        return result;
    switch (SSL_get_error(ssl, result)) {
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return UPSTREAM_TLS_LATER;
    default:
        return UPSTREAM_TLS_BROKEN;
    }
}

ssize_t upstream_tls_read(struct ssl_st *ssl, void *bytes, size_t size) {
    ERR_clear_error();
    return result_of(ssl, SSL_read(ssl, bytes, (int)size));
}

ssize_t upstream_tls_write(struct ssl_st *ssl, const void *bytes, size_t len) {
    enum { PIECE = 16 * 1024 };
    ERR_clear_error();
    return result_of(ssl, SSL_write(ssl, bytes, (int)(len < PIECE ? len : PIECE)));
}
