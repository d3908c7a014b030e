/* certificate.h -- a certificate with its key, in an OpenSSL context.
 *
 * Loaded once from PEM files, with the OCSP response that is stapled to it. Immutable; any thread.
 */
#ifndef TIDEWIRE_NET_SOCKET_CERTIFICATE_H
#define TIDEWIRE_NET_SOCKET_CERTIFICATE_H

#include "core/http/tls_options.h"
#include "net/socket/ocsp.h"

#include <stddef.h>
#include <stdint.h>

struct certificate;
struct ssl_ctx_st; /* OpenSSL's SSL_CTX */

/* Loads the certificate, which its chain follows in the file, and its key. NULL, with a sentence in
 * `problem` that names the file; `number` goes there too. */
struct certificate *certificate_load(const struct tls_certificate_options *options, size_t number,
                                     struct tls_problem *problem);
void certificate_free(struct certificate *certificate); /* accepts NULL */

/* The first and the last moment of its validity, in seconds of Unix time. */
int64_t certificate_begins_at(const struct certificate *certificate);
int64_t certificate_ends_at(const struct certificate *certificate);
/* Its subject, as "CN=example.com, O=…"; valid as long as the certificate. */
const char *certificate_subject(const struct certificate *certificate);

/* The names for which it was made, or its common name: each ends with a NUL, the list with another.
 */
const char *certificate_names(const struct certificate *certificate);
/* NULL: nothing is stapled. */
const struct ocsp *certificate_ocsp(const struct certificate *certificate);

/* For tls_server.c. */
struct ssl_ctx_st *certificate_context(const struct certificate *certificate);

#endif
