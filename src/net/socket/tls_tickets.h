/* tls_tickets.h -- the keys of session tickets (RFC 5077, RFC 8446 section 4.6.1).
 *
 * A client that comes back with a ticket saves the exchange of certificates. The keys belong to the
 * process and not to a certificate, so tickets stay valid through reloads and on all workers. An
 * upgrade passes them to the next process. They change each hour; a ticket is valid for two. Any
 * thread. */
#ifndef TIDEWIRE_NET_SOCKET_TLS_TICKETS_H
#define TIDEWIRE_NET_SOCKET_TLS_TICKETS_H

#include <stdbool.h>

struct ssl_ctx_st; /* OpenSSL's SSL_CTX */
struct tls_tickets;

struct tls_tickets *tls_tickets_new(void);
void tls_tickets_free(struct tls_tickets *tickets); /* accepts NULL */

/* Connections of the context use these keys, which are borrowed. */
void tls_tickets_use(struct tls_tickets *tickets, struct ssl_ctx_st *context);

/* Sends the keys through a socket to another process, and receives them there. Never waits. False:
 * the socket does not take or have them whole, or they are another version's. Both accept NULL. */
bool tls_tickets_send(struct tls_tickets *tickets, int socket);
bool tls_tickets_receive(struct tls_tickets *tickets, int socket);

#endif
