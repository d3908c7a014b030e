/* tls_tickets.c -- the keys of session tickets. See tls_tickets.h. */
#include "net/socket/tls_tickets.h"

#include "base/clock.h"
#include "base/mem.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <uv.h>

enum { HOUR_SECONDS = 3600, TICKET_SECONDS = 2 * HOUR_SECONDS, KEYS = 3, NAME_BYTES = 16 };

struct key {
    uint8_t name[NAME_BYTES]; /* in the ticket */
    uint8_t cipher[32], mac[32];
    uint64_t made_ms; /* 0: none */
};

struct tls_tickets {
    uv_mutex_t mutex;
    struct key keys[KEYS]; /* the newest first, which new tickets get */
};

struct tls_tickets *tls_tickets_new(void) {
    struct tls_tickets *tickets = mem_zalloc(sizeof *tickets);
    uv_mutex_init(&tickets->mutex);
    return tickets;
}

void tls_tickets_free(struct tls_tickets *tickets) {
    if (tickets == NULL)
        return;
    uv_mutex_destroy(&tickets->mutex);
    OPENSSL_cleanse(tickets, sizeof *tickets);
    mem_free(tickets);
}

/* A copy of the key for new tickets. False: there are no random numbers. */
static bool newest(struct tls_tickets *tickets, struct key *out) {
    uint64_t now = clock_monotonic_ms();
    bool good = true;
    uv_mutex_lock(&tickets->mutex);
    struct key *first = &tickets->keys[0];
    if (first->made_ms == 0 || now - first->made_ms >= HOUR_SECONDS * UINT64_C(1000)) {
        struct key key = {.made_ms = now > 0 ? now : 1};
        good = RAND_bytes(key.name, sizeof key.name) == 1 &&
               RAND_priv_bytes(key.cipher, sizeof key.cipher) == 1 &&
               RAND_priv_bytes(key.mac, sizeof key.mac) == 1;
        if (good) {
            memmove(first + 1, first, (KEYS - 1) * sizeof *first);
            *first = key;
        }
        OPENSSL_cleanse(&key, sizeof key);
    }
    *out = *first;
    uv_mutex_unlock(&tickets->mutex);
    return good;
}

/* A copy of the key with this name, if tickets of it can still be valid. */
static bool find(struct tls_tickets *tickets, const uint8_t *name, struct key *out) {
    uint64_t now = clock_monotonic_ms(), max = (HOUR_SECONDS + TICKET_SECONDS) * UINT64_C(1000);
    bool found = false;
    uv_mutex_lock(&tickets->mutex);
    for (int i = 0; i < KEYS && !found; i++) {
        const struct key *key = &tickets->keys[i];
        found = key->made_ms != 0 && now - key->made_ms < max &&
                memcmp(key->name, name, NAME_BYTES) == 0;
        if (found)
            *out = *key;
    }
    uv_mutex_unlock(&tickets->mutex);
    return found;
}

static int index_of_tickets;
static uv_once_t index_once = UV_ONCE_INIT;

static void make_index(void) {
    index_of_tickets = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

/* OpenSSL asks for a key: to encrypt a ticket, or to decrypt that of a client. Returns 1; 0: the
 * ticket is not ours, and the client gets a full handshake; -1: failure. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int encrypts) {
    struct tls_tickets *tickets = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), index_of_tickets);
    struct key key;
    if (encrypts) {
        if (!newest(tickets, &key) ||
            RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1)
            return -1;
        memcpy(name, key.name, NAME_BYTES);
    } else if (!find(tickets, name, &key)) {
        return 0;
    }
    OSSL_PARAM params[] = {
        OSSL_PARAM_octet_string(OSSL_MAC_PARAM_KEY, key.mac, sizeof key.mac),
        OSSL_PARAM_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0),
        OSSL_PARAM_END,
    };
    bool good = EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key.cipher, iv, encrypts) == 1 &&
                EVP_MAC_CTX_set_params(mac, params) == 1;
    OPENSSL_cleanse(&key, sizeof key);
    return good ? 1 : -1;
}

void tls_tickets_use(struct tls_tickets *tickets, struct ssl_ctx_st *context) {
    uv_once(&index_once, make_index);
    SSL_CTX_set_ex_data(context, index_of_tickets, tickets);
    SSL_CTX_set_timeout(context, TICKET_SECONDS);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_ticket);
}

/* ---- for another process of the same machine, whose monotonic clock is the same ---- */

bool tls_tickets_send(struct tls_tickets *tickets, int socket) {
    if (tickets == NULL)
        return false;
    uv_mutex_lock(&tickets->mutex);
    ssize_t sent = send(socket, tickets->keys, sizeof tickets->keys, MSG_DONTWAIT | MSG_NOSIGNAL);
    uv_mutex_unlock(&tickets->mutex);
    return sent == (ssize_t)sizeof tickets->keys;
}

bool tls_tickets_receive(struct tls_tickets *tickets, int socket) {
    struct key keys[KEYS + 1];
    bool good = tickets != NULL &&
                recv(socket, keys, sizeof keys, MSG_DONTWAIT) == (ssize_t)sizeof tickets->keys;
    for (int i = 0; i < KEYS && good; i++)
        good = keys[i].made_ms <= clock_monotonic_ms();
    if (good) {
        uv_mutex_lock(&tickets->mutex);
        memcpy(tickets->keys, keys, sizeof tickets->keys);
        uv_mutex_unlock(&tickets->mutex);
    }
    OPENSSL_cleanse(keys, sizeof keys);
    return good;
}
