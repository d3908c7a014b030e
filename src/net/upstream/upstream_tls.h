/* upstream_tls.h -- the settings of TLS for connections to other servers.
 *
 * The trusted authorities, a certificate of the client, and the check of the server's name, which
 * may be an IP address. tls.c does the rest. One thread at a time for each context. */
#ifndef TIDEWIRE_NET_UPSTREAM_UPSTREAM_TLS_H
#define TIDEWIRE_NET_UPSTREAM_UPSTREAM_TLS_H

#include "base/error_text.h"
#include "net/socket/tls.h"

#include <stdbool.h>

/* What all connections of one worker have in common. */
struct upstream_tls_context;
/* The settings of one connection. */
struct upstream_tls;

struct upstream_tls_options {
    const char *host; /* the name for SNI and for the certificate, or an IP address */
    bool verify;
    const char *ca, *certificate, *key; /* files; NULL: the system's authorities, none, none */
};

struct upstream_tls_context *upstream_tls_context_new(void);
void upstream_tls_context_free(struct upstream_tls_context *context); /* accepts NULL */

/* Reads the files, which blocks. NULL and a sentence if one of them cannot be used. */
struct upstream_tls *upstream_tls_new(struct upstream_tls_context *context,
                                      const struct upstream_tls_options *options,
                                      const struct error_text *error);
void upstream_tls_free(struct upstream_tls *tls); /* accepts NULL */

/* TLS with these settings on a connected socket. */
struct tls *upstream_tls_begin(struct upstream_tls *settings, int fd);
/* Writes the sentence about a handshake that has failed. */
void upstream_tls_describe(const struct upstream_tls *settings, const struct tls *tls,
                           const struct error_text *error);

#endif
