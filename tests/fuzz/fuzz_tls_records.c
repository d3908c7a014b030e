/* fuzz_tls_records.c -- what a client sends over TLS once the handshake is done: records with known
 * keys and any contents, spoiled records, and bytes that are no records.
 *
 * Input: one byte for the suite, two for the pieces in which the client's bytes arrive, one for
 * what the server writes; then items, each an enum item, a length and its bytes. Data and result
 * must not depend on the pieces, and only what was encrypted as data is data. */
#include "fuzz.h"

#include "base/clock.h"
#include "base/mem.h"
#include "net/socket/tls.h"
#include "net/socket/tls_budget.h"
#include "net/socket/tls_keys.h"
#include "net/socket/tls_out.h"
#include "net/socket/tls_records.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

enum item {
    ITEM_DATA,
    ITEM_RECORD,  /* of the type in its first byte */
    ITEM_LONG,    /* the length counts 128 bytes */
    ITEM_UPDATE,  /* a KeyUpdate; the client's keys change */
    ITEM_SPOILED, /* data with a changed byte; the length says which */
    ITEM_BYTES,   /* as they are */
    ITEM_COUNT
};

/* A connection whose handshake is done. Each input begins behind that. */
struct session {
    const char *suite;
    SSL *server, *client;
    struct tls_secrets secrets;
    EVP_CIPHER *cipher; /* of TLS 1.2 */
    uint8_t block[2 * 32 + 2 * 12];
};

static struct session sessions[] = {
    {.suite = "TLS_AES_128_GCM_SHA256"},
    {.suite = "TLS_CHACHA20_POLY1305_SHA256"},
    {.suite = "ECDHE-ECDSA-AES128-GCM-SHA256"},
    {.suite = "ECDHE-ECDSA-CHACHA20-POLY1305"},
};
enum { SESSIONS = sizeof sessions / sizeof sessions[0], MAX_BYTES = 256 * 1024 };

static bool is_tls13(const struct session *session) {
    return SSL_version(session->server) == TLS1_3_VERSION;
}

/* ---- the handshakes, once ---- */

static int digit(char c) {
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

static void on_secret(const SSL *ssl, const char *line) {
    struct session *session = SSL_get_app_data(ssl);
    uint8_t *secret =
        strncmp(line, "CLIENT_TRAFFIC_SECRET_0 ", 24) == 0   ? session->secrets.in_secret
        : strncmp(line, "SERVER_TRAFFIC_SECRET_0 ", 24) == 0 ? session->secrets.out_secret
                                                             : NULL;
    const char *hex = strrchr(line, ' ') + 1;
    for (size_t i = 0; secret != NULL && i < TLS_SECRET_BYTES && hex[2 * i] != '\0'; i++)
        secret[i] = (uint8_t)(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
}

static void use_certificate(SSL_CTX *context) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x509 = X509_new();
    X509_set_version(x509, X509_VERSION_3);
    X509_gmtime_adj(X509_getm_notBefore(x509), 0);
    X509_gmtime_adj(X509_getm_notAfter(x509), 1 << 30);
    X509_set_pubkey(x509, key);
    fuzz_check(X509_sign(x509, key, EVP_sha256()) > 0);
    fuzz_check(SSL_CTX_use_certificate(context, x509) == 1);
    fuzz_check(SSL_CTX_use_PrivateKey(context, key) == 1);
    X509_free(x509);
    EVP_PKEY_free(key);
}

/* The client's key and iv in TLS 1.2 (RFC 5246 section 6.3), derived here once more. */
static void derive_client_keys(struct session *session) {
    uint8_t master[SSL_MAX_MASTER_KEY_LENGTH], seed[64];
    size_t len =
        SSL_SESSION_get_master_key(SSL_get_session(session->server), master, sizeof master);
    bool has_salt = strstr(session->suite, "GCM") != NULL;
    session->cipher = EVP_CIPHER_fetch(NULL, has_salt ? "AES-128-GCM" : "ChaCha20-Poly1305", NULL);
    SSL_get_server_random(session->server, seed, 32);
    SSL_get_client_random(session->server, seed + 32, 32);
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "TLS1-PRF", NULL);
    EVP_KDF_CTX *context = EVP_KDF_CTX_new(kdf);
    OSSL_PARAM params[] = {
        OSSL_PARAM_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)"SHA256", 0),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_SECRET, master, len),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_SEED, (char *)"key expansion", 13),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_SEED, seed, sizeof seed),
        OSSL_PARAM_END,
    };
    size_t size = 2 * (size_t)EVP_CIPHER_get_key_length(session->cipher) + 2 * (has_salt ? 4 : 12);
    fuzz_check(EVP_KDF_derive(context, session->block, size, params) == 1);
    EVP_KDF_CTX_free(context);
    EVP_KDF_free(kdf);
}

static void open_session(struct session *session, SSL_CTX *server, SSL_CTX *client) {
    BIO *a, *b;
    fuzz_check(BIO_new_bio_pair(&a, 0, &b, 0) == 1);
    session->server = SSL_new(server);
    session->client = SSL_new(client);
    SSL_set_app_data(session->server, session);
    SSL_set_bio(session->server, a, a);
    SSL_set_bio(session->client, b, b);
    SSL_set_accept_state(session->server);
    SSL_set_connect_state(session->client);
    if (strncmp(session->suite, "TLS_", 4) == 0) {
        fuzz_check(SSL_set_ciphersuites(session->client, session->suite) == 1);
    } else {
        SSL_set_max_proto_version(session->client, TLS1_2_VERSION);
        fuzz_check(SSL_set_cipher_list(session->client, session->suite) == 1);
    }
    for (int i = 0; i < 10; i++) {
        SSL_do_handshake(session->client);
        SSL_do_handshake(session->server);
    }
    fuzz_check(SSL_is_init_finished(session->server) && SSL_is_init_finished(session->client));
    if (!is_tls13(session)) {
        session->secrets.received = session->secrets.sent = 1; /* Finished */
        derive_client_keys(session);
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    fuzz_no_leak_check(argc, argv);
    SSL_CTX *server = SSL_CTX_new(TLS_server_method()), *client = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_keylog_callback(server, on_secret);
    use_certificate(server);
    for (size_t i = 0; i < SESSIONS; i++)
        open_session(&sessions[i], server, client);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
    return 0;
}

/* ---- the client ---- */

struct client {
    struct session *session;
    struct tls_keys *in, *out; /* of TLS 1.3 */
    uint64_t number;           /* of the next record of TLS 1.2 */
    size_t len, data_len;
    bool is_clean;    /* only data so far, in records that are allowed */
    unsigned updates; /* records without data */
    uint8_t bytes[MAX_BYTES], data[MAX_BYTES];
};

/* One record of TLS 1.2 (RFC 5288, RFC 7905). */
static size_t encrypt_12(struct client *client, uint8_t type, const uint8_t *bytes, size_t len,
                         uint8_t *record) {
    const struct session *session = client->session;
    size_t key_len = (size_t)EVP_CIPHER_get_key_length(session->cipher);
    bool has_salt = key_len == 16;
    size_t before = has_salt ? 8 : 0, body = before + len + TLS_TAG_BYTES;
    uint8_t number[8], nonce[12], more[13];
    for (int i = 0; i < 8; i++)
        number[i] = (uint8_t)(client->number >> (56 - 8 * i));
    client->number++;
    const uint8_t *iv = session->block + 2 * key_len;
    memcpy(nonce, iv, has_salt ? 4 : 12);
    for (int i = 0; i < 8; i++)
        nonce[4 + i] = has_salt ? number[i] : iv[4 + i] ^ number[i];
    memcpy(record, (uint8_t[]){type, 3, 3, (uint8_t)(body >> 8), (uint8_t)body}, 5);
    memcpy(record + 5, number, before);
    memcpy(more, number, 8);
    memcpy(more + 8, (uint8_t[]){type, 3, 3, (uint8_t)(len >> 8), (uint8_t)len}, 5);
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    uint8_t *at = record + 5 + before;
    int n;
    fuzz_check(EVP_EncryptInit_ex(context, session->cipher, NULL, session->block, nonce) == 1);
    fuzz_check(EVP_EncryptUpdate(context, NULL, &n, more, sizeof more) == 1);
    fuzz_check(len == 0 || EVP_EncryptUpdate(context, at, &n, bytes, (int)len) == 1);
    fuzz_check(EVP_EncryptFinal_ex(context, at + len, &n) == 1);
    fuzz_check(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, TLS_TAG_BYTES, at + len) == 1);
    EVP_CIPHER_CTX_free(context);
    return 5 + body;
}

/* Returns where the record begins. */
static uint8_t *add_record(struct client *client, uint8_t type, const uint8_t *bytes, size_t len) {
    uint8_t *record = client->bytes + client->len;
    client->len += client->out != NULL ? tls_keys_encrypt(client->out, type, bytes, len, record)
                                       : encrypt_12(client, type, bytes, len, record);
    fuzz_check(client->bytes + client->len > record);
    if (client->out != NULL && type == 0) { /* the contents have the type, and this is padding */
        while (len > 0 && bytes[len - 1] == 0)
            len--;
        type = len > 0 ? bytes[--len] : 0;
    }
    client->updates += len == 0;
    if (type != TLS_RECORD_DATA || len > TLS_PLAIN_BYTES) {
        client->is_clean = false;
        return record;
    }
    memcpy(client->data + client->data_len, bytes, len);
    client->data_len += len;
    return record;
}

static void add_update(struct client *client, bool asks) {
    uint8_t update[] = {24, 0, 0, 1, asks};
    bool is_clean = client->is_clean;
    add_record(client, TLS_RECORD_HANDSHAKE, update, sizeof update);
    client->updates++;
    if (client->out == NULL)
        return;
    fuzz_check(tls_keys_update(client->out));
    client->is_clean = is_clean;
}

static void add_item(struct client *client, struct fuzz_input *input) {
    static uint8_t large[256 * 128];
    enum item item = fuzz_below(input, ITEM_COUNT);
    size_t number = fuzz_byte(input), len = number < input->left ? number : input->left;
    uint8_t *bytes = (uint8_t *)fuzz_copy(input->at, len), *record;
    switch (item) {
    case ITEM_RECORD:
        add_record(client, len > 0 ? bytes[0] : 0, bytes + (len > 0), len - (len > 0));
        break;
    case ITEM_LONG:
        len = number * 128 + 1 < TLS_PLAIN_BYTES + 8 ? number * 128 + 1 : TLS_PLAIN_BYTES;
        add_record(client, TLS_RECORD_DATA, large, len);
        len = 0;
        break;
    case ITEM_UPDATE:
        add_update(client, number & 1);
        len = 0;
        break;
    case ITEM_SPOILED:
        record = add_record(client, TLS_RECORD_DATA, bytes, len);
        record[number % (size_t)(client->bytes + client->len - record)] ^= 1 + number % 255;
        client->is_clean = false;
        break;
    case ITEM_BYTES:
        memcpy(client->bytes + client->len, bytes, len);
        client->len += len;
        client->is_clean = client->is_clean && len == 0;
        break;
    default:
        add_record(client, TLS_RECORD_DATA, bytes, len);
    }
    free(bytes);
    input->at += len;
    input->left -= len;
}

/* ---- the server ---- */

struct outcome {
    size_t len;
    bool ended;
    const char *failure;
    uint8_t data[MAX_BYTES];
};

/* Checks the records that the server has sent. */
static void check_sent(struct client *client, int fd) {
    static uint8_t bytes[1 << 20], out[TLS_PLAIN_BYTES + 1];
    ssize_t got = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    for (size_t at = 0, n; at < (size_t)(got < 0 ? 0 : got); at += n) {
        size_t len = 0;
        n = tls_keys_record_length(bytes + at);
        fuzz_check(at + n <= (size_t)got);
        if (client->in == NULL)
            continue;
        int type = tls_keys_decrypt(client->in, bytes + at, n, out, &len);
        fuzz_check(type > 0);
        if (type == TLS_RECORD_HANDSHAKE)
            fuzz_check(tls_keys_update(client->in));
    }
}

static void serve(struct client *client, struct fuzz_pieces pieces, unsigned writes,
                  struct outcome *out) {
    const struct session *session = client->session;
    struct tls_budget budget;
    int fds[2];
    fuzz_check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
    struct tls_out to_client = {.fd = fds[0]};
    tls_budget_init(&budget);
    struct tls_records *records =
        tls_records_new(session->server, &session->secrets, &to_client, &budget);
    fuzz_check(records != NULL);
    out->len = 0;
    for (size_t at = 0, n; at < client->len; at += n) {
        n = fuzz_next_piece(&pieces, client->len - at);
        uint8_t *piece = (uint8_t *)fuzz_copy(client->bytes + at, n);
        uint8_t *plain = malloc(n + TLS_RECORD_BYTES);
        size_t got = tls_records_receive(records, piece, n, plain);
        fuzz_check(got <= n + TLS_RECORD_BYTES && out->len + got <= MAX_BYTES);
        memcpy(out->data + out->len, plain, got);
        out->len += got;
        free(plain);
        free(piece);
        if (writes & 1 && tls_records_failure(records) == NULL)
            tls_records_write(records, client->data, writes);
        if (writes == 255)
            tls_records_end(records);
        check_sent(client, fds[1]);
    }
    out->ended = tls_records_ended(records);
    out->failure = tls_records_failure(records);
    tls_records_free(records);
    tls_out_close(&to_client);
    close(fds[0]);
    close(fds[1]);
}

static void close_keys(struct client *client) {
    tls_keys_free(client->in);
    tls_keys_free(client->out);
    client->in = client->out = NULL;
}

/* As the server derives them, with the directions changed. */
static void open_keys(struct client *client) {
    const struct session *session = client->session;
    struct tls_secrets secrets = {.received = 0};
    memcpy(secrets.in_secret, session->secrets.out_secret, TLS_SECRET_BYTES);
    memcpy(secrets.out_secret, session->secrets.in_secret, TLS_SECRET_BYTES);
    if (is_tls13(session))
        fuzz_check(tls_keys_derive(session->server, &secrets, &client->in, &client->out));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct client client;
    static struct outcome whole, parts;
    struct fuzz_input input = {data, size};
    uint64_t began = clock_monotonic_ns();
    client.session = &sessions[fuzz_below(&input, SESSIONS)];
    client.number = 1; /* Finished was 0 */
    client.len = client.data_len = 0;
    client.is_clean = true;
    client.updates = 0;
    struct fuzz_pieces pieces = fuzz_pieces_of(&input);
    unsigned writes = fuzz_byte(&input);
    open_keys(&client);
    while (input.left > 0 && client.len < MAX_BYTES - 2 * 32 * 1024)
        add_item(&client, &input);
    serve(&client, (struct fuzz_pieces){0}, writes, &whole);
    close_keys(&client);
    open_keys(&client); /* the server's records begin anew */
    serve(&client, client.len > 8192 && pieces.how == 1 ? (struct fuzz_pieces){7, 7} : pieces,
          writes, &parts);
    close_keys(&client);
    fuzz_check(whole.len <= client.data_len && memcmp(whole.data, client.data, whole.len) == 0);
    fuzz_check(parts.len <= client.data_len && memcmp(parts.data, client.data, parts.len) == 0);
    if (client.is_clean && client.updates < 32)
        fuzz_check(whole.failure == NULL && !whole.ended && whole.len == client.data_len);
    if (clock_monotonic_ns() - began > 900 * UINT64_C(1000000))
        return 0; /* a second allows one more record without data */
    fuzz_check(whole.len == parts.len && whole.ended == parts.ended);
    fuzz_check(whole.failure == parts.failure);
    return 0;
}
