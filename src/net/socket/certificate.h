/* certificate.h -- a certificate with its key, and how connections are encrypted under it.
 *
 * Read from two files in PEM, once; when the files change, another is loaded and takes its place
 * for connections to come. Counted, and never changed after its birth, so all workers share it: a
 * client that comes back to another worker resumes its session there. Any thread. */
#ifndef TIDEWIRE_NET_SOCKET_CERTIFICATE_H
#define TIDEWIRE_NET_SOCKET_CERTIFICATE_H

#include <stddef.h>
#include <stdint.h>

struct certificate;
struct ssl_ctx_st; /* OpenSSL's SSL_CTX */

enum { CERTIFICATE_ERROR_BYTES = 1024 };

/* Reads the certificate, with the chain to its authority behind it, and its key. NULL with a
 * sentence in `error` that names the file. Counted once, for the caller. */
struct certificate *certificate_load(const char *chain_file, const char *key_file, char *error,
                                     size_t error_size);

struct certificate *certificate_ref(struct certificate *certificate); /* accepts NULL */
void certificate_unref(struct certificate *certificate);              /* accepts NULL */

/* Between which moments it holds, in seconds of Unix time. */
int64_t certificate_begins_at(const struct certificate *certificate);
int64_t certificate_ends_at(const struct certificate *certificate);
/* Whom it is for, as "CN=example.com, O=…"; lives with it. */
const char *certificate_subject(const struct certificate *certificate);

/* For tls.c. */
struct ssl_ctx_st *certificate_context(const struct certificate *certificate);

#endif
