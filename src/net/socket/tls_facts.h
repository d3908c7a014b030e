/* tls_facts.h -- what scripts may know of an encrypted connection: struct tls_facts, filled from
 * OpenSSL's object when the handshake is done. Used by tls.c alone. */
#ifndef TIDEWIRE_NET_SOCKET_TLS_FACTS_H
#define TIDEWIRE_NET_SOCKET_TLS_FACTS_H

#include "core/http/tls_options.h"

struct ssl_st; /* OpenSSL's SSL */

/* NULL: OpenSSL has no memory. */
/* NULL: OpenSSL cannot read the client's certificate, for example for want of memory. */
struct tls_facts *tls_facts_new(struct ssl_st *ssl);
void tls_facts_free(struct tls_facts *facts); /* accepts NULL */

#endif
