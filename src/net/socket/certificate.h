/* certificate.h -- a certificate with its key, in an OpenSSL context.
 *
 * Loaded once from two PEM files; when the files change, another certificate replaces it for new
 * connections. Reference-counted and immutable, so all workers share it: a client resumes its
 * session on any worker. Any thread. */
#ifndef TIDEWIRE_NET_SOCKET_CERTIFICATE_H
#define TIDEWIRE_NET_SOCKET_CERTIFICATE_H

#include <stddef.h>
#include <stdint.h>

struct certificate;
struct ssl_ctx_st; /* OpenSSL's SSL_CTX */

enum { CERTIFICATE_ERROR_BYTES = 1024 };

/* Loads the certificate, which its chain follows in the file, and its key. NULL, with a sentence in
 * `error` that names the file. The caller has the only reference. */
struct certificate *certificate_load(const char *chain_file, const char *key_file, char *error,
                                     size_t error_size);

struct certificate *certificate_ref(struct certificate *certificate); /* accepts NULL */
void certificate_unref(struct certificate *certificate);              /* accepts NULL */

/* The first and the last moment of its validity, in seconds of Unix time. */
int64_t certificate_begins_at(const struct certificate *certificate);
int64_t certificate_ends_at(const struct certificate *certificate);
/* Its subject, as "CN=example.com, O=…"; valid as long as the certificate. */
const char *certificate_subject(const struct certificate *certificate);

/* For tls.c. */
struct ssl_ctx_st *certificate_context(const struct certificate *certificate);

#endif
