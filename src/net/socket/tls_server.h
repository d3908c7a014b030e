/* tls_server.h -- what all encrypted connections of a server share: certificates with their names,
 * versions, ciphers, the authorities of clients, the keys of tickets.
 *
 * Loaded from the app's options; when files or options change, another one replaces it for new
 * connections. Reference-counted and immutable, so all workers share it. Any thread. */
#ifndef TIDEWIRE_NET_SOCKET_TLS_SERVER_H
#define TIDEWIRE_NET_SOCKET_TLS_SERVER_H

#include "core/http/tls_options.h"
#include "net/socket/certificate.h"
#include "net/socket/tls_tickets.h"

#include <stddef.h>
#include <stdint.h>

struct tls_server;
struct ssl_ctx_st; /* OpenSSL's SSL_CTX */

/* `tickets` are borrowed; NULL: the server has keys of its own. NULL, with the reason in `problem`.
 * The caller has the only reference. */
struct tls_server *tls_server_load(const struct tls_options *options, struct tls_tickets *tickets,
                                   struct tls_problem *problem);
struct tls_server *tls_server_ref(struct tls_server *server); /* accepts NULL */
void tls_server_unref(struct tls_server *server);             /* accepts NULL */

size_t tls_server_certificates(const struct tls_server *server);
const struct certificate *tls_server_certificate(const struct tls_server *server, size_t number);
/* When the first of its certificates expires, in Unix time. */
int64_t tls_server_ends_at(const struct tls_server *server);

/* For tls.c: the context with which a connection begins. */
struct ssl_ctx_st *tls_server_context(const struct tls_server *server);

#endif
