/* tls_keys.c -- the keys of one direction of a TLS connection. See tls_keys.h.
 *
 * The nonce of each record is the number of the record: combined with a secret part that the keys
 * have (`iv`), and in TLS 1.2 with AES-GCM written before the encrypted bytes. No number is used
 * twice, because each call counts one further, also where it fails. OpenSSL's own records of TLS
 * 1.2 with AES-GCM, of which there is one (Finished), have a random nonce of 64 bits instead. */
#include "net/socket/tls_keys.h"

#include "base/mem.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/ssl.h>
#include <string.h>
#include <uv.h>

enum { IV_BYTES = 12, SALT_BYTES = 4, NUMBER_BYTES = 8, MAX_KEY_BYTES = 32, RANDOM_BYTES = 32 };

struct tls_keys {
    EVP_CIPHER_CTX *context; /* NULL: the keys cannot be used any more */
    const EVP_MD *digest;    /* of the suite */
    uint64_t number;         /* of the next record */
    bool is_tls13;
    bool has_salt; /* the nonce is `iv`'s first bytes and the number: AES-GCM in TLS 1.2 */
    uint8_t iv[IV_BYTES];
    uint8_t secret[TLS_SECRET_BYTES]; /* TLS 1.3 */
};

/* ---- the ciphers ---- */

struct cipher {
    int nid;
    const char *name;
    size_t key_bytes;
    EVP_CIPHER *evp;
};

static struct cipher ciphers[] = {
    {NID_aes_128_gcm, "AES-128-GCM", 16, NULL},
    {NID_aes_256_gcm, "AES-256-GCM", 32, NULL},
    {NID_chacha20_poly1305, "ChaCha20-Poly1305", 32, NULL},
};
static uv_once_t ciphers_once = UV_ONCE_INIT;

/* For the life of the process: to look one up costs more than a handshake's share of a worker. */
static void fetch_ciphers(void) {
    for (size_t i = 0; i < sizeof ciphers / sizeof ciphers[0]; i++)
        ciphers[i].evp = EVP_CIPHER_fetch(NULL, ciphers[i].name, NULL);
}

static const struct cipher *find_cipher(int nid) {
    uv_once(&ciphers_once, fetch_ciphers);
    for (size_t i = 0; i < sizeof ciphers / sizeof ciphers[0]; i++)
        if (ciphers[i].nid == nid && ciphers[i].evp != NULL)
            return &ciphers[i];
    return NULL;
}

/* ---- TLS 1.3 ---- */

/* HKDF-Expand-Label of RFC 8446 section 7.1 without a context. No output here is longer than the
 * digest, so one step of HKDF-Expand (RFC 5869 section 2.3) makes it. */
static bool expand(const struct tls_keys *keys, const char *label, uint8_t *out, size_t len) {
    uint8_t info[64], digest[EVP_MAX_MD_SIZE];
    size_t label_len = strlen(label), n = 0;
    info[n++] = 0;
    info[n++] = (uint8_t)len;
    info[n++] = (uint8_t)(6 + label_len);
    memcpy(info + n, "tls13 ", 6);
    memcpy(info + n + 6, label, label_len);
    n += 6 + label_len;
    info[n++] = 0; /* the length of the context */
    info[n++] = 1; /* the number of the step */
    unsigned digest_len = 0;
    bool good = HMAC(keys->digest, keys->secret, EVP_MD_get_size(keys->digest), info, n, digest,
                     &digest_len) != NULL &&
                digest_len >= len;
    if (good)
        memcpy(out, digest, len);
    OPENSSL_cleanse(digest, sizeof digest);
    return good;
}

/* Derives key and iv from the secret. The caller gives the keys up where this fails: their numbers
 * begin anew, so the old key must not encrypt anything more. */
static bool use_secret(struct tls_keys *keys) {
    uint8_t key[MAX_KEY_BYTES];
    size_t len = (size_t)EVP_CIPHER_CTX_get_key_length(keys->context);
    bool good = expand(keys, "key", key, len) && expand(keys, "iv", keys->iv, IV_BYTES) &&
                EVP_CipherInit_ex(keys->context, NULL, NULL, key, NULL, -1) == 1;
    OPENSSL_cleanse(key, sizeof key);
    keys->number = 0;
    return good;
}

bool tls_keys_update(struct tls_keys *keys) {
    uint8_t next[TLS_SECRET_BYTES] = {0};
    bool good = expand(keys, "traffic upd", next, (size_t)EVP_MD_get_size(keys->digest));
    memcpy(keys->secret, next, sizeof next);
    OPENSSL_cleanse(next, sizeof next);
    if (good && use_secret(keys))
        return true;
    EVP_CIPHER_CTX_free(keys->context);
    keys->context = NULL;
    return false;
}

/* ---- TLS 1.2 ---- */

/* The key block of RFC 5246 section 6.3: keys of the client and the server, then their ivs. */
static bool make_key_block(SSL *ssl, const EVP_MD *digest, uint8_t *block, size_t len) {
    uint8_t master[SSL_MAX_MASTER_KEY_LENGTH], server[RANDOM_BYTES], client[RANDOM_BYTES];
    size_t master_len = SSL_SESSION_get_master_key(SSL_get_session(ssl), master, sizeof master);
    SSL_get_server_random(ssl, server, sizeof server);
    SSL_get_client_random(ssl, client, sizeof client);
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "TLS1-PRF", NULL);
    EVP_KDF_CTX *context = EVP_KDF_CTX_new(kdf);
    EVP_KDF_free(kdf);
    OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)EVP_MD_get0_name(digest), 0),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_SECRET, master, master_len),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_SEED, (char *)"key expansion", 13),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_SEED, server, sizeof server),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_SEED, client, sizeof client),
        OSSL_PARAM_END,
    };
    bool good = context != NULL && EVP_KDF_derive(context, block, len, params) == 1;
    EVP_KDF_CTX_free(context);
    OPENSSL_cleanse(master, sizeof master);
    return good;
}

static bool use_master_secret(SSL *ssl, size_t key_bytes, struct tls_keys *in,
                              struct tls_keys *out) {
    uint8_t block[2 * MAX_KEY_BYTES + 2 * IV_BYTES];
    size_t iv_bytes = in->has_salt ? SALT_BYTES : IV_BYTES;
    bool good = make_key_block(ssl, in->digest, block, 2 * key_bytes + 2 * iv_bytes);
    if (good) {
        const uint8_t *ivs = block + 2 * key_bytes;
        memcpy(in->iv, ivs, iv_bytes);
        memcpy(out->iv, ivs + iv_bytes, iv_bytes);
        good = EVP_CipherInit_ex(in->context, NULL, NULL, block, NULL, -1) == 1 &&
               EVP_CipherInit_ex(out->context, NULL, NULL, block + key_bytes, NULL, -1) == 1;
    }
    OPENSSL_cleanse(block, sizeof block);
    return good;
}

/* ---- life ---- */

static struct tls_keys *new_keys(SSL *ssl, const struct cipher *cipher, bool encrypts,
                                 const uint8_t *secret) {
    struct tls_keys *keys = mem_zalloc(sizeof *keys);
    keys->is_tls13 = SSL_version(ssl) == TLS1_3_VERSION;
    keys->has_salt = !keys->is_tls13 && cipher->nid != NID_chacha20_poly1305;
    keys->digest = SSL_CIPHER_get_handshake_digest(SSL_get_current_cipher(ssl));
    keys->context = EVP_CIPHER_CTX_new();
    if (keys->context == NULL ||
        EVP_CipherInit_ex(keys->context, cipher->evp, NULL, NULL, NULL, encrypts) != 1) {
        tls_keys_free(keys);
        return NULL;
    }
    if (keys->is_tls13)
        memcpy(keys->secret, secret, sizeof keys->secret);
    return keys;
}

bool tls_keys_derive(struct ssl_st *ssl, const struct tls_secrets *secrets, struct tls_keys **in,
                     struct tls_keys **out) {
    const SSL_CIPHER *suite = SSL_get_current_cipher(ssl);
    const struct cipher *cipher =
        suite == NULL ? NULL : find_cipher(SSL_CIPHER_get_cipher_nid(suite));
    if (cipher == NULL || SSL_CIPHER_get_handshake_digest(suite) == NULL ||
        SSL_version(ssl) < TLS1_2_VERSION)
        return false;
    struct tls_keys *read = new_keys(ssl, cipher, false, secrets->in_secret);
    struct tls_keys *write = new_keys(ssl, cipher, true, secrets->out_secret);
    bool good = read != NULL && write != NULL;
    if (good)
        good = read->is_tls13 ? use_secret(read) && use_secret(write)
                              : use_master_secret(ssl, cipher->key_bytes, read, write);
    if (!good) {
        tls_keys_free(read);
        tls_keys_free(write);
        return false;
    }
    read->number = secrets->received;
    write->number = secrets->sent;
    *in = read;
    *out = write;
    return true;
}

void tls_keys_free(struct tls_keys *keys) {
    if (keys == NULL)
        return;
    EVP_CIPHER_CTX_free(keys->context);
    OPENSSL_cleanse(keys, sizeof *keys);
    mem_free(keys);
}

uint64_t tls_keys_count(const struct tls_keys *keys) {
    return keys->number;
}

/* ---- records ---- */

static void put_number(uint8_t *out, uint64_t number) {
    for (int i = NUMBER_BYTES - 1; i >= 0; i--, number >>= 8)
        out[i] = (uint8_t)number;
}

/* Begins a record: sets its nonce, and what is authenticated besides it. `explicit_number` is what
 * stands before the encrypted bytes in TLS 1.2 with AES-GCM. */
static bool begin(struct tls_keys *keys, const uint8_t *header, const uint8_t *explicit_number,
                  size_t plain_len) {
    uint8_t nonce[IV_BYTES], number[NUMBER_BYTES], more[NUMBER_BYTES + TLS_HEADER_BYTES];
    int n = 0;
    put_number(number, keys->number++);
    memcpy(nonce, keys->iv, sizeof nonce);
    if (keys->has_salt)
        memcpy(nonce + SALT_BYTES, explicit_number, NUMBER_BYTES);
    else
        for (int i = 0; i < NUMBER_BYTES; i++)
            nonce[IV_BYTES - NUMBER_BYTES + i] ^= number[i];
    if (keys->context == NULL || EVP_CipherInit_ex(keys->context, NULL, NULL, NULL, nonce, -1) != 1)
        return false;
    if (keys->is_tls13)
        return EVP_CipherUpdate(keys->context, NULL, &n, header, TLS_HEADER_BYTES) == 1;
    memcpy(more, number, NUMBER_BYTES);
    memcpy(more + NUMBER_BYTES, header, TLS_HEADER_BYTES - 2);
    more[sizeof more - 2] = (uint8_t)(plain_len >> 8);
    more[sizeof more - 1] = (uint8_t)plain_len;
    return EVP_CipherUpdate(keys->context, NULL, &n, more, sizeof more) == 1;
}

size_t tls_keys_encrypt(struct tls_keys *keys, uint8_t type, const void *bytes, size_t len,
                        uint8_t *record) {
    size_t before = keys->has_salt ? NUMBER_BYTES : 0, inner = len + (keys->is_tls13 ? 1 : 0);
    size_t body = before + inner + TLS_TAG_BYTES;
    uint8_t *at = record + TLS_HEADER_BYTES + before;
    int n = 0;
    record[0] = keys->is_tls13 ? TLS_RECORD_DATA : type;
    record[1] = record[2] = 3; /* 1.2, also for 1.3 */
    record[3] = (uint8_t)(body >> 8);
    record[4] = (uint8_t)body;
    if (keys->has_salt)
        put_number(record + TLS_HEADER_BYTES, keys->number);
    bool good =
        begin(keys, record, record + TLS_HEADER_BYTES, inner) &&
        (len == 0 || EVP_CipherUpdate(keys->context, at, &n, bytes, (int)len) == 1) &&
        (!keys->is_tls13 || EVP_CipherUpdate(keys->context, at + len, &n, &type, 1) == 1) &&
        EVP_CipherFinal_ex(keys->context, at + inner, &n) == 1 &&
        EVP_CIPHER_CTX_ctrl(keys->context, EVP_CTRL_AEAD_GET_TAG, TLS_TAG_BYTES, at + inner) == 1;
    return good ? TLS_HEADER_BYTES + body : 0;
}

size_t tls_keys_record_length(const uint8_t *header) {
    return TLS_HEADER_BYTES + ((size_t)header[3] << 8 | header[4]);
}

/* TLS 1.3: the type is the last byte that is not zero; the zeros behind it are padding. */
static int take_type(const uint8_t *out, size_t *len) {
    size_t n = *len;
    while (n > 0 && out[n - 1] == 0)
        n--;
    if (n == 0)
        return -TLS_ALERT_UNEXPECTED_MESSAGE;
    *len = n - 1;
    return out[n - 1];
}

int tls_keys_decrypt(struct tls_keys *keys, const uint8_t *record, size_t len, uint8_t *out,
                     size_t *out_len) {
    size_t before = keys->has_salt ? NUMBER_BYTES : 0;
    const uint8_t *body = record + TLS_HEADER_BYTES;
    int n = 0;
    if (keys->is_tls13 && record[0] != TLS_RECORD_DATA)
        return -TLS_ALERT_UNEXPECTED_MESSAGE;
    if (len < TLS_HEADER_BYTES + before + TLS_TAG_BYTES)
        return -TLS_ALERT_BAD_RECORD_MAC;
    size_t inner = len - TLS_HEADER_BYTES - before - TLS_TAG_BYTES;
    if (inner > TLS_PLAIN_BYTES + (keys->is_tls13 ? 1 : 0))
        return -TLS_ALERT_RECORD_OVERFLOW;
    uint8_t tag[TLS_TAG_BYTES];
    memcpy(tag, record + len - TLS_TAG_BYTES, sizeof tag);
    bool good =
        begin(keys, record, body, inner) &&
        (inner == 0 || EVP_CipherUpdate(keys->context, out, &n, body + before, (int)inner) == 1) &&
        EVP_CIPHER_CTX_ctrl(keys->context, EVP_CTRL_AEAD_SET_TAG, sizeof tag, tag) == 1 &&
        EVP_CipherFinal_ex(keys->context, out + inner, &n) == 1;
    if (!good)
        return -TLS_ALERT_BAD_RECORD_MAC;
    *out_len = inner;
    return keys->is_tls13 ? take_type(out, out_len) : record[0];
}
