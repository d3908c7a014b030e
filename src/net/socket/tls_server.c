/* tls_server.c -- what all encrypted connections of a server share. See tls_server.h.
 *
 * Each certificate has an OpenSSL context. A connection begins with that of the first certificate,
 * and gets another one when it has named its server. Everything but the certificate is the same in
 * all contexts. */
#include "net/socket/tls_server.h"

#include "base/mem.h"
#include "net/socket/sni.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct tls_server {
    atomic_uint count;
    bool refuse_unknown_names;
    struct sni names;
    size_t certificate_count;
    struct certificate *certificates[];
};

__attribute__((format(printf, 4, 5))) static bool
fail(struct tls_problem *problem, const char *option, size_t number, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(problem->text, sizeof problem->text, format, args);
    va_end(args);
    problem->option = option;
    problem->number = number;
    return false;
}

static const char *openssl_reason(void) {
    unsigned long code = ERR_peek_error();
    if (ERR_SYSTEM_ERROR(code))
        return strerror(ERR_GET_REASON(code));
    const char *text = ERR_reason_error_string(code);
    return text == NULL ? "unknown reason" : text;
}

/* ---- the name that the client asks for ---- */

static int on_server_name(SSL *ssl, int *alert, void *user) {
    const struct tls_server *server = user;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    if (name == NULL)
        return SSL_TLSEXT_ERR_NOACK;
    const struct certificate *certificate = sni_find(&server->names, name);
    if (certificate != NULL && SSL_set_SSL_CTX(ssl, certificate_context(certificate)) == NULL) {
        *alert = SSL_AD_INTERNAL_ERROR; /* no memory: the first certificate would be another's */
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    if (certificate != NULL)
        return SSL_TLSEXT_ERR_OK;
    if (!server->refuse_unknown_names)
        return SSL_TLSEXT_ERR_OK;
    *alert = SSL_AD_UNRECOGNIZED_NAME;
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static void add_names(struct tls_server *server, struct certificate *certificate,
                      const struct tls_certificate_options *options) {
    for (size_t i = 0; i < options->name_count; i++)
        sni_add(&server->names, options->names[i], certificate);
    if (options->name_count == 0)
        for (const char *name = certificate_names(certificate); *name != '\0';
             name += strlen(name) + 1)
            sni_add(&server->names, name, certificate);
}

/* ---- ciphers ---- */

/* OpenSSL leaves out names that it does not know. Calls `set` for each name of the list by itself,
 * then for all. */
static bool set_ciphers(SSL_CTX *context, const char *list, const char *option,
                        bool (*set)(SSL_CTX *, const char *), struct tls_problem *problem) {
    char copy[2048];
    if (list == NULL)
        return true;
    if (strlen(list) >= sizeof copy)
        return fail(problem, option, 0, "the list is too long");
    snprintf(copy, sizeof copy, "%s", list);
    char *rest = copy;
    for (char *name; (name = strsep(&rest, ":, ")) != NULL;) {
        if (*name == '\0' || strchr("!-+@", *name) != NULL)
            continue;
        if (!set(context, name))
            return fail(problem, option, 0, "OpenSSL has no cipher \"%.100s\"", name);
    }
    return set(context, list) || fail(problem, option, 0, "no cipher remains of \"%.100s\"", list);
}

static bool set_tls12(SSL_CTX *context, const char *list) {
    return SSL_CTX_set_cipher_list(context, list) == 1;
}

/* A list without any known suite is none for OpenSSL, and no error. */
static bool set_tls13(SSL_CTX *context, const char *list) {
    if (SSL_CTX_set_ciphersuites(context, list) != 1)
        return false;
    STACK_OF(SSL_CIPHER) *ciphers = SSL_CTX_get_ciphers(context);
    for (int i = 0; i < sk_SSL_CIPHER_num(ciphers); i++)
        if (strcmp(SSL_CIPHER_get_version(sk_SSL_CIPHER_value(ciphers, i)), "TLSv1.3") == 0)
            return true;
    return false;
}

/* ---- the certificates of clients ---- */

static bool read_authorities(const struct tls_options *options, X509_STORE **store,
                             STACK_OF(X509_NAME) * *names, struct tls_problem *problem) {
    const char *file = options->client_ca;
    FILE *in = fopen(file, "re");
    if (in == NULL)
        return fail(problem, "client_ca", 0, "cannot read %s: %s", file, strerror(errno));
    fclose(in);
    *store = X509_STORE_new();
    *names = SSL_load_client_CA_file(file);
    if (*names != NULL && sk_X509_NAME_num(*names) > 0 && X509_STORE_load_file(*store, file) == 1)
        return true;
    return fail(problem, "client_ca", 0,
                "%s has no certificates of authorities: a file in PEM is expected, with lines "
                "\"-----BEGIN CERTIFICATE-----\" (%s)",
                file, openssl_reason());
}

/* A ticket is valid only where the same authorities are asked for in the same way, so that no
 * session gets past them after a reload. */
static void set_session_context(SSL_CTX *context, const struct tls_options *options,
                                const STACK_OF(X509_NAME) * names, X509_STORE *store) {
    unsigned char id[EVP_MAX_MD_SIZE], digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    EVP_DigestInit_ex(hash, EVP_sha256(), NULL);
    EVP_DigestUpdate(hash,
                     names == NULL              ? "none"
                     : options->client_required ? "require"
                                                : "optional",
                     4);
    STACK_OF(X509_OBJECT) *objects = store == NULL ? NULL : X509_STORE_get0_objects(store);
    for (int i = 0; i < sk_X509_OBJECT_num(objects); i++) {
        const X509 *x509 = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, i));
        if (x509 != NULL && X509_digest(x509, EVP_sha256(), digest, &len) == 1)
            EVP_DigestUpdate(hash, digest, len);
    }
    EVP_DigestFinal_ex(hash, id, &len);
    EVP_MD_CTX_free(hash);
    SSL_CTX_set_session_id_context(context, id, len);
}

static void ask_for_certificates(SSL_CTX *context, const struct tls_options *options,
                                 X509_STORE *store, const STACK_OF(X509_NAME) * names) {
    SSL_CTX_set1_cert_store(context, store);
    SSL_CTX_set_client_CA_list(context, SSL_dup_CA_list(names));
    SSL_CTX_set_verify(
        context, SSL_VERIFY_PEER | (options->client_required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
        NULL);
}

/* ---- life ---- */

static bool configure(const struct tls_server *server, SSL_CTX *context,
                      const struct tls_options *options, struct tls_tickets *tickets,
                      struct tls_problem *problem) {
    if (!set_ciphers(context, options->ciphers, "ciphers", set_tls12, problem) ||
        !set_ciphers(context, options->cipher_suites, "cipher_suites", set_tls13, problem))
        return false;
    if (options->only_tls13)
        SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    if (tickets != NULL)
        tls_tickets_use(tickets, context);
    SSL_CTX_set_tlsext_servername_callback(context, on_server_name);
    SSL_CTX_set_tlsext_servername_arg(context, (void *)server);
    return true;
}

static bool load_certificates(struct tls_server *server, const struct tls_options *options,
                              struct tls_tickets *tickets, struct tls_problem *problem) {
    for (size_t i = 0; i < options->certificate_count; i++) {
        const struct tls_certificate_options *files = &options->certificates[i];
        struct certificate *certificate = certificate_load(files, i, problem);
        if (certificate == NULL)
            return false;
        server->certificates[server->certificate_count++] = certificate;
        add_names(server, certificate, files);
        if (!configure(server, certificate_context(certificate), options, tickets, problem))
            return false;
    }
    return true;
}

static bool load_clients(struct tls_server *server, const struct tls_options *options,
                         struct tls_problem *problem) {
    X509_STORE *store = NULL;
    STACK_OF(X509_NAME) *names = NULL;
    bool good = options->client_ca == NULL || read_authorities(options, &store, &names, problem);
    for (size_t i = 0; good && i < server->certificate_count; i++) {
        SSL_CTX *context = certificate_context(server->certificates[i]);
        set_session_context(context, options, names, store);
        if (store != NULL)
            ask_for_certificates(context, options, store, names);
    }
    sk_X509_NAME_pop_free(names, X509_NAME_free);
    X509_STORE_free(store);
    return good;
}

struct tls_server *tls_server_load(const struct tls_options *options, struct tls_tickets *tickets,
                                   struct tls_problem *problem) {
    struct tls_server *server =
        mem_zalloc(sizeof *server + options->certificate_count * sizeof(struct certificate *));
    server->count = 1;
    server->refuse_unknown_names = options->refuse_unknown_names;
    ERR_clear_error();
    bool good = load_certificates(server, options, tickets, problem) &&
                load_clients(server, options, problem);
    ERR_clear_error();
    if (good)
        return server;
    tls_server_unref(server);
    return NULL;
}

struct tls_server *tls_server_ref(struct tls_server *server) {
    if (server != NULL)
        atomic_fetch_add_explicit(&server->count, 1, memory_order_relaxed);
    return server;
}

void tls_server_unref(struct tls_server *server) {
    if (server == NULL || atomic_fetch_sub_explicit(&server->count, 1, memory_order_acq_rel) > 1)
        return;
    for (size_t i = 0; i < server->certificate_count; i++)
        certificate_free(server->certificates[i]);
    sni_close(&server->names);
    mem_free(server);
}

size_t tls_server_certificates(const struct tls_server *server) {
    return server->certificate_count;
}

const struct certificate *tls_server_certificate(const struct tls_server *server, size_t number) {
    return server->certificates[number];
}

int64_t tls_server_ends_at(const struct tls_server *server) {
    int64_t first = certificate_ends_at(server->certificates[0]);
    for (size_t i = 1; i < server->certificate_count; i++)
        if (certificate_ends_at(server->certificates[i]) < first)
            first = certificate_ends_at(server->certificates[i]);
    return first;
}

struct ssl_ctx_st *tls_server_context(const struct tls_server *server) {
    return certificate_context(server->certificates[0]);
}
