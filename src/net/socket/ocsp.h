/* ocsp.h -- what the authority of a certificate says about it, read from a file, which the server
 * passes on to clients (OCSP stapling, RFC 6066 section 8).
 *
 * The file has a response in DER, as `openssl ocsp -respout` writes it. Read-only once loaded; any
 * thread. */
#ifndef TIDEWIRE_NET_SOCKET_OCSP_H
#define TIDEWIRE_NET_SOCKET_OCSP_H

#include "base/error_text.h"

#include <stdbool.h>
#include <stdint.h>

struct ocsp;
struct ssl_ctx_st; /* OpenSSL's SSL_CTX */
struct x509_st;    /* OpenSSL's X509 */

/* NULL: the file is no response about this certificate; `problem` has a sentence that names it. */
struct ocsp *ocsp_load(const char *file, const struct x509_st *certificate,
                       const struct error_text *problem);
void ocsp_free(struct ocsp *ocsp); /* accepts NULL */

/* Connections of the context pass the response on, while it is valid. It is borrowed. */
void ocsp_use(struct ocsp *ocsp, struct ssl_ctx_st *context);

/* When the authority has a newer one, in Unix time; 0: it does not say. */
int64_t ocsp_ends_at(const struct ocsp *ocsp);
/* Why it is not passed on at this time, or why clients will not accept it: static; NULL: it is
 * good. */
const char *ocsp_fault(const struct ocsp *ocsp, int64_t now);

#endif
