/* tls.h -- the encryption of one connection: what its client and we say to each other, and back.
 *
 * The server's side of TLS 1.2 and 1.3, by OpenSSL. Bytes that came from the socket are handed in;
 * what goes out it writes to the socket itself, and keeps what that does not take: at most a record
 * of the caller's bytes and what TLS has to say. Knows no loop and no transport. Everything on the
 * worker's thread. */
#ifndef TIDEWIRE_NET_SOCKET_TLS_H
#define TIDEWIRE_NET_SOCKET_TLS_H

#include "net/socket/certificate.h"

#include <stdbool.h>
#include <stddef.h>

struct tls;

/* A record carries so much at most (RFC 8446 section 5.1). */
enum { TLS_RECORD_BYTES = 16 * 1024 };

enum tls_state {
    TLS_HANDSHAKE, /* the handshake is not over */
    TLS_OPEN,
    TLS_ENDED, /* the client has said that no more comes */
    TLS_BROKEN,
};

/* What all connections of a certificate share: an SSL_CTX with the versions (1.2, 1.3), the ciphers
 * and the protocols that the server accepts, as yet without a certificate. NULL: OpenSSL fails. */
struct ssl_ctx_st *tls_new_context(void);

/* On a connected, non-blocking socket that stays the caller's. */
struct tls *tls_new(struct certificate *certificate, int fd);
void tls_free(struct tls *tls); /* accepts NULL */
/* The connection has another descriptor from now on. */
void tls_set_fd(struct tls *tls, int fd);

enum tls_state tls_state(const struct tls *tls);
/* Why it is broken: a few words; lives with it. */
const char *tls_why(const struct tls *tls);

/* Takes bytes from the socket and gives what they say: at most `len` + TLS_RECORD_BYTES bytes, for
 * which there must be room in `out`. */
size_t tls_receive(struct tls *tls, const void *bytes, size_t len, void *out);

/* Writes; returns how many bytes were taken. Nothing is taken while something waits for the socket.
 * */
size_t tls_write(struct tls *tls, const void *bytes, size_t len);

/* Does something wait for the socket? Then call tls_flush() when it takes bytes again; true: all
 * has gone. */
bool tls_has_unsent(const struct tls *tls);
bool tls_flush(struct tls *tls);
size_t tls_unsent_bytes(const struct tls *tls);

/* Says that no more comes (close_notify). */
void tls_end(struct tls *tls);

#endif
