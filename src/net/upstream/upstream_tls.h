/* upstream_tls.h -- the client's side of TLS for connections to other servers.
 *
 * libwebsockets makes the handshake and reads; here are the settings that it has no words for: the
 * trusted authorities, a certificate of the client, and the check of the server's name, which may
 * be an IP address. One thread at a time for each context. */
#ifndef TIDEWIRE_NET_UPSTREAM_UPSTREAM_TLS_H
#define TIDEWIRE_NET_UPSTREAM_UPSTREAM_TLS_H

#include "base/error_text.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct ssl_ctx_st; /* OpenSSL's SSL_CTX */
struct ssl_st;     /* OpenSSL's SSL */

/* What all connections of one worker have in common. */
struct upstream_tls_context;
/* The settings of one connection. */
struct upstream_tls;

struct upstream_tls_options {
    const char *host; /* the name for SNI and for the certificate, or an IP address */
    bool verify;
    const char *ca, *certificate, *key; /* files; NULL: the system's authorities, none, none */
};

/* The handshake of the socket's connection begins (`done` false: configure it now), or has
 * succeeded. */
typedef void (*upstream_tls_event_fn)(void *user, int fd, struct ssl_st *ssl, bool done);

struct upstream_tls_context *upstream_tls_context_new(upstream_tls_event_fn on_event, void *user);
void upstream_tls_context_free(struct upstream_tls_context *context); /* accepts NULL */
/* For libwebsockets; borrowed. */
struct ssl_ctx_st *upstream_tls_context_ssl(struct upstream_tls_context *context);

/* Reads the files, which blocks. NULL and a sentence if one of them cannot be used. */
struct upstream_tls *upstream_tls_new(struct upstream_tls_context *context,
                                      const struct upstream_tls_options *options,
                                      const struct error_text *error);
void upstream_tls_free(struct upstream_tls *tls); /* accepts NULL */

/* When the handshake begins. */
void upstream_tls_configure(struct upstream_tls *tls, struct ssl_st *ssl);
/* The sentence about a handshake that has failed; `ssl` may be NULL. */
void upstream_tls_describe(const struct upstream_tls *tls, struct ssl_st *ssl,
                           const struct error_text *error);

/* Is the handshake complete? */
bool upstream_tls_is_open(struct ssl_st *ssl);

enum { UPSTREAM_TLS_LATER = -1, UPSTREAM_TLS_BROKEN = -2 };
/* Return the number of bytes, 0 when the server has ended its direction, or one of the above. After
 * UPSTREAM_TLS_LATER the caller must repeat a write with the same bytes; more may follow them. */
ssize_t upstream_tls_read(struct ssl_st *ssl, void *bytes, size_t size);
ssize_t upstream_tls_write(struct ssl_st *ssl, const void *bytes, size_t len);

#endif
