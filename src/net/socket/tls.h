/* tls.h -- TLS on one connection: its versions, ciphers, records.
 *
 * The server's side of connections that the server accepts, the client's side of those that scripts
 * open (net/upstream), where "client" below is the other server. TLS 1.2 and 1.3, by OpenSSL. The
 * caller reads from the socket and passes the bytes in. Bytes for the client are written to the
 * socket here; what it does not take is kept: at most a record of the caller's bytes, and the
 * messages of TLS itself. Knows no loop and no transport. Everything on the worker's thread. */
#ifndef TIDEWIRE_NET_SOCKET_TLS_H
#define TIDEWIRE_NET_SOCKET_TLS_H

#include "base/slice.h"
#include "net/socket/tls_server.h"

#include <stdbool.h>
#include <stddef.h>

struct tls;
struct ssl_st; /* OpenSSL's SSL */

/* Bytes of data in one record at most (RFC 8446 section 5.1). */
enum { TLS_RECORD_BYTES = 16 * 1024 };

enum tls_state {
    TLS_NEW,       /* the client has sent nothing */
    TLS_HANDSHAKE, /* the handshake has begun */
    TLS_OPEN,      /* data passes both ways */
    TLS_ENDED,     /* the client has ended its direction (close_notify) */
    TLS_BROKEN,    /* nothing passes any more; tls_why() is the reason */
};

/* A context for a certificate: an SSL_CTX with the versions (1.2, 1.3), the ciphers
 * and the protocols that the server accepts, as yet without a certificate. NULL: OpenSSL fails. */
struct ssl_ctx_st *tls_new_context(void);

/* Begins TLS on a connected, non-blocking socket, which stays the caller's. */
struct tls *tls_new(struct tls_server *server, int fd);
/* The client's side, with the settings of `ssl`, which is the callee's from now on. The first call
 * of tls_receive(), with no bytes, begins the handshake. */
struct tls *tls_new_client(struct ssl_st *ssl, int fd);
void tls_free(struct tls *tls); /* accepts NULL */

enum tls_state tls_state(const struct tls *tls);
/* Why it is broken: a few words; valid as long as `tls`. */
const char *tls_why(const struct tls *tls);
/* Which kind of reason ended the handshake of a server; see stream_tls_refusal(). NULL: none. */
const char *tls_refusal(const struct tls *tls);

/* What is known of it once the handshake is done: valid as long as `tls`. NULL before, and for
 * clients. */
const struct tls_facts *tls_facts(const struct tls *tls);

/* The protocol that a client and its server have agreed on (ALPN); empty: none. */
struct slice tls_client_alpn(const struct tls *tls);
/* The facts of a client's connection that is open; in them, `client` is the server's certificate.
 * The caller frees them by tls_facts_free(). */
struct tls_facts *tls_client_facts_new(const struct tls *tls);

/* Takes bytes from the socket and writes the decrypted ones to `out`. Returns their number, which
 * is at most `len` plus TLS_RECORD_BYTES: `out` must have room for that. */
size_t tls_receive(struct tls *tls, const void *bytes, size_t len, void *out);

/* Encrypts and writes. Returns how many bytes were taken: none while tls_has_unsent(). */
size_t tls_write(struct tls *tls, const void *bytes, size_t len);

/* Does it keep bytes that the socket did not take? Then call tls_flush() when the socket takes
 * bytes again, which returns true when all are sent. */
bool tls_has_unsent(const struct tls *tls);
bool tls_flush(struct tls *tls);
size_t tls_unsent_bytes(const struct tls *tls);

/* Takes the socket nothing any more? Then what is written is dropped, but what the client has sent
 * is still decrypted. */
bool tls_socket_is_broken(const struct tls *tls);

/* Is it open without OpenSSL's object, which takes some 14 KB? See docs/decisions/tls.md. */
bool tls_is_small(const struct tls *tls);

/* Ends our direction (close_notify). */
void tls_end(struct tls *tls);

#endif
