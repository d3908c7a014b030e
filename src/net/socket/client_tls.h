/* client_tls.h -- the settings of TLS for connections to other servers.
 *
 * The trusted authorities, a certificate of the client, and the check of the server's name, which
 * may be an IP address. tls.c does the rest. One thread at a time for each context. */
#ifndef TIDEWIRE_NET_SOCKET_CLIENT_TLS_H
#define TIDEWIRE_NET_SOCKET_CLIENT_TLS_H

#include "base/error_text.h"
#include "base/slice.h"
#include "net/socket/tls.h"

#include <stdbool.h>

/* What all connections of one worker have in common. */
struct client_tls_context;
/* The settings of one connection. */
struct client_tls;

struct client_tls_options {
    /* The name for SNI and for the certificate, or an IP address. NULL: no SNI, and any name. */
    const char *host;
    bool verify;
    const char *ca, *certificate, *key;  /* files; NULL: the system's authorities, none, none */
    const char *password;                /* of the key; NULL: none */
    const char *ciphers, *cipher_suites; /* of TLS 1.2, of 1.3; NULL: OpenSSL's */
    unsigned min_minor, max_minor;       /* TLS 1.2 or 1.3: 2 or 3; 0: no limit */
    struct slice
        alpn; /* the protocols (RFC 7301), each behind its length; empty: none is offered */
    const char
        *plain_hint; /* added where the server does not speak TLS: "; should …?"; NULL: none */
};

struct client_tls_context *client_tls_context_new(void);
void client_tls_context_free(struct client_tls_context *context); /* accepts NULL */

/* Reads the files, which blocks. NULL and a sentence if one of them cannot be used. */
struct client_tls *client_tls_new(struct client_tls_context *context,
                                  const struct client_tls_options *options,
                                  const struct error_text *error);
void client_tls_free(struct client_tls *tls); /* accepts NULL */

/* TLS with these settings on a connected socket. */
struct tls *client_tls_begin(struct client_tls *settings, int fd);
/* Writes the sentence about a handshake that has failed. */
void client_tls_describe(const struct client_tls *settings, const struct tls *tls,
                         const struct error_text *error);

#endif
