/* tls_keys.h -- the keys of one direction of a TLS connection: encrypts or decrypts its records.
 *
 * For suites that encrypt and authenticate in one step (AEAD): AES-GCM and ChaCha20-Poly1305, in
 * TLS 1.3 (RFC 8446 section 5) and TLS 1.2 (RFC 5288, RFC 7905). OpenSSL computes the ciphers.
 * Knows the form of a record and nothing of what records mean. On the worker's thread. */
#ifndef TIDEWIRE_NET_SOCKET_TLS_KEYS_H
#define TIDEWIRE_NET_SOCKET_TLS_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TLS_HEADER_BYTES = 5,
    TLS_TAG_BYTES = 16,
    TLS_PLAIN_BYTES = 16 * 1024, /* of data in one record at most */
    TLS_SECRET_BYTES = 48,       /* of a traffic secret at most */
    /* What a record has at most besides its data: header, nonce (1.2) or type (1.3), tag. */
    TLS_OVERHEAD_BYTES = TLS_HEADER_BYTES + 8 + TLS_TAG_BYTES,
};

/* Types of records (RFC 8446 section 5.1) and alerts (section 6). */
enum { TLS_RECORD_ALERT = 21, TLS_RECORD_HANDSHAKE = 22, TLS_RECORD_DATA = 23 };
enum {
    TLS_ALERT_CLOSE_NOTIFY = 0,
    TLS_ALERT_UNEXPECTED_MESSAGE = 10,
    TLS_ALERT_BAD_RECORD_MAC = 20,
    TLS_ALERT_RECORD_OVERFLOW = 22,
    TLS_ALERT_ILLEGAL_PARAMETER = 47,
    TLS_ALERT_DECODE_ERROR = 50,
    TLS_ALERT_INTERNAL_ERROR = 80,
    TLS_ALERT_USER_CANCELED = 90,
    TLS_ALERT_NO_RENEGOTIATION = 100,
};

struct ssl_st; /* OpenSSL's SSL */
struct tls_keys;

/* From what the keys are derived, and how far OpenSSL has used them. */
struct tls_secrets {
    uint8_t in_secret[TLS_SECRET_BYTES], out_secret[TLS_SECRET_BYTES]; /* TLS 1.3: of the traffic */
    uint64_t received, sent; /* how many records, under the keys that go on */
};

/* The keys of both directions of a server's connection whose handshake is done, as TLS 1.3 derives
 * them from the traffic secrets and TLS 1.2 from the master secret. False: OpenSSL must go on, for
 * example because the suite is another; `in` and `out` are not set. */
bool tls_keys_derive(struct ssl_st *ssl, const struct tls_secrets *secrets, struct tls_keys **in,
                     struct tls_keys **out);
void tls_keys_free(struct tls_keys *keys); /* accepts NULL */

/* TLS 1.3: the next keys, after a KeyUpdate (RFC 8446 section 7.2). False: there is no memory, and
 * these keys encrypt and decrypt nothing any more. */
bool tls_keys_update(struct tls_keys *keys);
/* How many records these keys have encrypted or decrypted. */
uint64_t tls_keys_count(const struct tls_keys *keys);

/* Encrypts up to TLS_PLAIN_BYTES as one record; `record` has room for TLS_OVERHEAD_BYTES more.
 * Returns its length; 0: OpenSSL fails. */
size_t tls_keys_encrypt(struct tls_keys *keys, uint8_t type, const void *bytes, size_t len,
                        uint8_t *record);
/* The length of the record with this header; more than TLS_PLAIN_BYTES + TLS_OVERHEAD_BYTES is not
 * allowed. */
size_t tls_keys_record_length(const uint8_t *header);
/* Decrypts a whole record. `out` has room for the record's length less TLS_HEADER_BYTES and
 * TLS_TAG_BYTES. Returns its type, and the data's length in `out_len`; or an alert, negative. */
int tls_keys_decrypt(struct tls_keys *keys, const uint8_t *record, size_t len, uint8_t *out,
                     size_t *out_len);

#endif
