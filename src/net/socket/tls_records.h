/* tls_records.h -- a server's TLS connection after its handshake: its records and what they mean.
 *
 * OpenSSL makes the handshake; its object takes some 14 KB, a connection here 2.8. See
 * docs/decisions/tls.md. Alerts and new keys (KeyUpdate) are handled here. Used by tls.c alone, on
 * the worker's thread. */
#ifndef TIDEWIRE_NET_SOCKET_TLS_RECORDS_H
#define TIDEWIRE_NET_SOCKET_TLS_RECORDS_H

#include "net/socket/tls_budget.h"
#include "net/socket/tls_out.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ssl_st; /* OpenSSL's SSL */
struct tls_records;

struct tls_secrets;

/* Takes a connection over whose handshake is done, and of which `ssl` has read no further byte;
 * `ssl` is no longer needed then. `out` and `budget` are borrowed. NULL: OpenSSL must go on. */
struct tls_records *tls_records_new(struct ssl_st *ssl, const struct tls_secrets *secrets,
                                    struct tls_out *out, struct tls_budget *budget);
void tls_records_free(struct tls_records *records); /* accepts NULL */

/* As tls_receive(). Stops at the peer's close_notify and where the connection fails. */
size_t tls_records_receive(struct tls_records *records, const uint8_t *bytes, size_t len,
                           uint8_t *out);
/* As tls_write(). */
size_t tls_records_write(struct tls_records *records, const uint8_t *bytes, size_t len);
/* Ends our direction (close_notify), once. */
void tls_records_end(struct tls_records *records);

/* The peer has ended its direction. */
bool tls_records_ended(const struct tls_records *records);
/* Why the connection has failed: a static text; NULL: it has not. */
const char *tls_records_failure(const struct tls_records *records);

#endif
