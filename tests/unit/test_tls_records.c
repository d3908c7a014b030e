/* test_tls_records.c -- TLS after the handshake, which is the server's own, against OpenSSL's
 * client: every suite, new keys, padding, alerts, and records that break the rules. Of tls_keys.c
 * as well. */
#include "net/socket/tls_records.h"

#include "tls_pair.h"

#include "net/socket/tls_keys.h"

#include <openssl/err.h>
#include <openssl/kdf.h>

/* Messages of many sizes, both ways. */
static void talk(void) {
    static char text[70000];
    fill(text, sizeof text, 5);
    for (size_t len = 1; len <= sizeof text; len = len * 3 + 2) {
        received_len = 0;
        for (size_t sent = 0, n; sent < len; sent += n) {
            assert_int_equal(SSL_write_ex(client, text + sent, len - sent, &n), 1);
            receive(5000);
        }
        assert_int_equal(received_len, len);
        assert_memory_equal(received, text, len);
        for (size_t sent = 0, n; sent < len; sent += n) {
            n = tls_write(tls, text + sent, len - sent);
            check_client_reads(text + sent, n);
        }
    }
    assert_int_equal(tls_state(tls), TLS_OPEN);
}

static void use_session(const char *suite, SSL_SESSION *session) {
    finish(NULL);
    start(NULL);
    if (session != NULL)
        SSL_set_session(client, session);
    if (strncmp(suite, "TLS_", 4) == 0) {
        assert_int_equal(SSL_set_ciphersuites(client, suite), 1);
    } else {
        SSL_set_max_proto_version(client, TLS1_2_VERSION);
        assert_int_equal(SSL_set_cipher_list(client, suite), 1);
    }
    shake_hands(65536);
    assert_string_equal(SSL_get_cipher_name(client), suite);
}

static void use(const char *suite) {
    use_session(suite, NULL);
}

static const char *const suites[] = {
    "TLS_AES_128_GCM_SHA256",        "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",  "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305",
};
enum { SUITES = sizeof suites / sizeof suites[0] };

static void carries_data_in_every_suite(void **state) {
    for (size_t i = 0; i < SUITES; i++) {
        use(suites[i]);
        talk();
        assert_true(tls_is_small(tls));
    }
}

static void ends_in_every_suite(void **state) {
    for (size_t i = 0; i < SUITES; i++) {
        char byte;
        use(suites[i]);
        tls_end(tls);
        tls_end(tls);
        assert_int_equal(SSL_read(client, &byte, 1), 0);
        assert_int_equal(SSL_get_error(client, 0), SSL_ERROR_ZERO_RETURN);
        assert_true(SSL_shutdown(client) == 1);
        receive(65536);
        assert_int_equal(tls_state(tls), TLS_ENDED);
    }
}

/* A session that is resumed has other keys and another number of tickets. */
static void carries_data_in_resumed_sessions(void **state) {
    for (size_t i = 0; i < SUITES; i++) {
        use(suites[i]);
        talk();
        SSL_SESSION *session = SSL_get1_session(client);
        SSL_shutdown(client); /* OpenSSL resumes no session that was cut */
        use_session(suites[i], session);
        assert_true(SSL_session_reused(client));
        talk();
        SSL_SESSION_free(session);
    }
}

static void renews_keys_as_often_as_the_client_asks(void **state) {
    for (size_t i = 0; i < 3; i++) {
        use(suites[i]);
        for (int round = 0; round < 10; round++) {
            bool asks = round % 2 == 0;
            SSL_key_update(client, asks ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED);
            assert_int_equal(SSL_do_handshake(client), 1);
            talk();
        }
    }
}

static void takes_padding_away(void **state) {
    use(suites[0]);
    SSL_set_block_padding(client, 512);
    talk();
}

static void keeps_to_short_records(void **state) {
    for (size_t i = 2; i < 4; i++) {
        finish(NULL);
        start(NULL);
        SSL_set_max_proto_version(client, i == 2 ? TLS1_3_VERSION : TLS1_2_VERSION);
        SSL_set_tlsext_max_fragment_length(client, TLSEXT_max_fragment_length_512);
        shake_hands(65536);
        talk();
    }
}

static void refuses_another_handshake(void **state) {
    use(suites[3]);
    assert_int_equal(SSL_renegotiate(client), 1);
    SSL_do_handshake(client);
    receive(65536);
    assert_int_equal(tls_state(tls), TLS_OPEN);
    assert_true(SSL_do_handshake(client) != 1);
    assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_NO_RENEGOTIATION);
    ERR_clear_error();
}

/* What the client has sent as one record. */
static size_t take_record(uint8_t *record, size_t size) {
    ssize_t n = read(fds[0], record, size);
    assert_true(n > TLS_HEADER_BYTES);
    return (size_t)n;
}

static void pass(const uint8_t *bytes, size_t len) {
    static char out[65536 + TLS_RECORD_BYTES];
    received_len = tls_receive(tls, bytes, len, out);
    memcpy(received, out, received_len);
}

/* The client gets this alert. */
static void check_alert(int alert) {
    char byte;
    ERR_clear_error();
    assert_true(SSL_read(client, &byte, 1) <= 0);
    assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_AD_REASON_OFFSET + alert);
    ERR_clear_error();
}

static void refuses_a_record_that_was_changed(void **state) {
    for (size_t i = 0; i < SUITES; i++) {
        uint8_t record[256];
        use(suites[i]);
        SSL_write(client, "hello", 5);
        size_t len = take_record(record, sizeof record);
        record[len - 18] ^= 1;
        pass(record, len);
        assert_int_equal(received_len, 0);
        assert_int_equal(tls_state(tls), TLS_BROKEN);
        assert_non_null(strstr(tls_why(tls), "bad record mac"));
        check_alert(SSL_AD_BAD_RECORD_MAC);
    }
}

static void refuses_a_record_that_comes_twice(void **state) {
    for (size_t i = 0; i < SUITES; i++) {
        uint8_t record[256];
        use(suites[i]);
        SSL_write(client, "hello", 5);
        size_t len = take_record(record, sizeof record);
        pass(record, len);
        assert_int_equal(received_len, 5);
        pass(record, len);
        assert_int_equal(received_len, 0);
        assert_int_equal(tls_state(tls), TLS_BROKEN);
    }
}

static void refuses_records_of_other_forms(void **state) {
    static const struct {
        uint8_t header[TLS_HEADER_BYTES];
        int alert;
    } bad[] = {
        {{20, 3, 3, 0, 1}, SSL_AD_UNEXPECTED_MESSAGE},  /* change_cipher_spec after Finished */
        {{22, 3, 3, 0, 40}, SSL_AD_UNEXPECTED_MESSAGE}, /* a handshake that is not encrypted */
        {{21, 3, 3, 0, 2}, SSL_AD_UNEXPECTED_MESSAGE},  /* an alert that is not encrypted */
        {{23, 4, 3, 0, 40}, SSL_AD_UNEXPECTED_MESSAGE}, /* another version of TLS */
        {{23, 3, 3, 0x41, 1}, SSL_AD_RECORD_OVERFLOW},  /* longer than a record may be */
        {{23, 3, 3, 0xff, 0xff}, SSL_AD_RECORD_OVERFLOW},
        {{23, 3, 3, 0, 0}, SSL_AD_BAD_RECORD_MAC}, /* too short for a tag */
        {{23, 3, 3, 0, 16}, SSL_AD_BAD_RECORD_MAC},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        static uint8_t record[70000];
        use(suites[0]);
        memcpy(record, bad[i].header, TLS_HEADER_BYTES);
        size_t len = tls_keys_record_length(record);
        for (size_t at = 0; at < len && tls_state(tls) == TLS_OPEN; at += 3)
            pass(record + at, len - at < 3 ? len - at : 3);
        assert_int_equal(tls_state(tls), TLS_BROKEN);
        check_alert(bad[i].alert);
    }
}

static void says_which_alert_the_client_sent(void **state) {
    use(suites[0]);
    /* the client refuses a record, and says so */
    uint8_t record[4096];
    assert_int_equal(tls_write(tls, "hello", 5), 5);
    ssize_t n = read(fds[1], record, sizeof record);
    record[n - 1] ^= 1;
    assert_int_equal(write(fds[0], record, (size_t)n), n);
    SSL_read(client, record, sizeof record);
    receive(65536);
    assert_int_equal(tls_state(tls), TLS_BROKEN);
    assert_string_equal(tls_why(tls), "bad record mac");
    ERR_clear_error();
}

/* ---- a Finished of TLS 1.2 in several records ---- */

enum { FINISHED_BYTES = 16, KEY_BYTES = 16, SALT_BYTES = 4, NUMBER_BYTES = 8 };
enum { FINISHED_RECORD_BYTES = TLS_HEADER_BYTES + NUMBER_BYTES + FINISHED_BYTES + TLS_TAG_BYTES };

/* The key block of ECDHE-ECDSA-AES128-GCM-SHA256. */
static void make_key_block(uint8_t *block, size_t len) {
    uint8_t master[SSL_MAX_MASTER_KEY_LENGTH], seed[2 * SSL3_RANDOM_SIZE];
    size_t master_len = SSL_SESSION_get_master_key(SSL_get_session(client), master, sizeof master);
    SSL_get_server_random(client, seed, SSL3_RANDOM_SIZE);
    SSL_get_client_random(client, seed + SSL3_RANDOM_SIZE, SSL3_RANDOM_SIZE);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_id(EVP_PKEY_TLS1_PRF, NULL);
    EVP_PKEY_derive_init(context);
    EVP_PKEY_CTX_set_tls1_prf_md(context, EVP_sha256());
    EVP_PKEY_CTX_set1_tls1_prf_secret(context, master, (int)master_len);
    EVP_PKEY_CTX_add1_tls1_prf_seed(context, (const uint8_t *)"key expansion", 13);
    EVP_PKEY_CTX_add1_tls1_prf_seed(context, seed, sizeof seed);
    assert_int_equal(EVP_PKEY_derive(context, block, &len), 1);
    EVP_PKEY_CTX_free(context);
}

/* The server receives a record of the client with this number. */
static void send_numbered(uint8_t number, uint8_t type, const void *bytes, size_t len) {
    uint8_t block[2 * KEY_BYTES + 2 * SALT_BYTES], nonce[SALT_BYTES + NUMBER_BYTES] = {0};
    uint8_t record[256] = {type, 3, 3, 0, (uint8_t)(NUMBER_BYTES + len + TLS_TAG_BYTES)};
    uint8_t more[] = {0, 0, 0, 0, 0, 0, 0, number, type, 3, 3, 0, (uint8_t)len};
    uint8_t *at = record + TLS_HEADER_BYTES + NUMBER_BYTES;
    int n;
    make_key_block(block, sizeof block);
    memcpy(nonce, block + 2 * KEY_BYTES, SALT_BYTES);
    memset(nonce + SALT_BYTES, 0x80 + number, NUMBER_BYTES); /* any that is used once */
    memcpy(at - NUMBER_BYTES, nonce + SALT_BYTES, NUMBER_BYTES);
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    EVP_EncryptInit_ex(context, EVP_aes_128_gcm(), NULL, block, nonce);
    EVP_EncryptUpdate(context, NULL, &n, more, sizeof more);
    EVP_EncryptUpdate(context, at, &n, bytes, (int)len);
    EVP_EncryptFinal_ex(context, at + len, &n);
    EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, TLS_TAG_BYTES, at + len);
    EVP_CIPHER_CTX_free(context);
    pass(record, tls_keys_record_length(record));
}

/* As in RFC 5246 section 6.2.1. Each record has a number. */
static void takes_a_finished_in_parts(void **state) {
    uint8_t flight[4096], finished[FINISHED_RECORD_BYTES];
    struct tls_keys *in, *out;
    size_t len;
    SSL_set_max_proto_version(client, TLS1_2_VERSION);
    assert_int_equal(SSL_set_cipher_list(client, suites[3]), 1);
    SSL_do_handshake(client);
    receive(65536);
    SSL_do_handshake(client);
    size_t n = take_record(flight, sizeof flight) - FINISHED_RECORD_BYTES;
    pass(flight, n);
    assert_true(tls_keys_derive(client, &(struct tls_secrets){.received = 0}, &in, &out));
    assert_int_equal(tls_keys_decrypt(in, flight + n, FINISHED_RECORD_BYTES, finished, &len),
                     TLS_RECORD_HANDSHAKE);
    assert_int_equal(len, FINISHED_BYTES);
    send_numbered(0, TLS_RECORD_HANDSHAKE, finished, 3);
    send_numbered(1, TLS_RECORD_HANDSHAKE, finished + 3, FINISHED_BYTES - 3);
    assert_int_equal(tls_state(tls), TLS_OPEN);
    assert_true(tls_is_small(tls));
    send_numbered(2, TLS_RECORD_DATA, "hello", 5);
    assert_int_equal(received_len, 5);
    assert_int_equal(SSL_do_handshake(client), 1);
    assert_int_equal(tls_write(tls, "answer", 6), 6);
    check_client_reads("answer", 6);
    tls_keys_free(in);
    tls_keys_free(out);
}

/* ---- records that OpenSSL's client does not send ---- */

static struct tls_secrets secrets; /* with the client's secret for both directions */
static struct tls_keys *client_keys, *unused_keys;

static void on_keys(const SSL *ssl, const char *line) {
    if (strncmp(line, "CLIENT_TRAFFIC_SECRET_0 ", 24) != 0)
        return;
    const char *hex = strrchr(line, ' ') + 1;
    for (size_t i = 0; i < TLS_SECRET_BYTES && hex[2 * i] != '\0'; i++)
        sscanf(hex + 2 * i, "%2hhx", &secrets.out_secret[i]);
    memcpy(secrets.in_secret, secrets.out_secret, TLS_SECRET_BYTES);
}

/* Connects, and has the keys with which the client encrypts. */
static void take_keys(void) {
    finish(NULL);
    start(NULL);
    SSL_CTX_set_keylog_callback(client_context, on_keys);
    shake_hands(65536);
    assert_true(tls_keys_derive(client, &secrets, &unused_keys, &client_keys));
}

static void drop_keys(void) {
    tls_keys_free(client_keys);
    tls_keys_free(unused_keys);
}

/* The server receives a record of the client. */
static void send_own(uint8_t type, const void *bytes, size_t len) {
    static uint8_t record[TLS_PLAIN_BYTES + TLS_OVERHEAD_BYTES];
    size_t n = tls_keys_encrypt(client_keys, type, bytes, len, record);
    assert_true(n > 0);
    pass(record, n);
}

static void takes_data_of_every_length(void **state) {
    static char bytes[TLS_PLAIN_BYTES];
    take_keys();
    fill(bytes, sizeof bytes, 9);
    send_own(TLS_RECORD_DATA, bytes, sizeof bytes);
    assert_int_equal(received_len, sizeof bytes);
    assert_memory_equal(received, bytes, sizeof bytes);
    send_own(TLS_RECORD_DATA, "", 0);
    assert_int_equal(received_len, 0);
    send_own(TLS_RECORD_DATA, "\0\0\0", 3);
    assert_int_equal(received_len, 3);
    assert_int_equal(tls_state(tls), TLS_OPEN);
    drop_keys();
}

static void takes_a_key_update_in_parts(void **state) {
    take_keys();
    send_own(TLS_RECORD_HANDSHAKE, "\x18\0", 2);
    send_own(TLS_RECORD_HANDSHAKE, "\0\1", 2);
    send_own(TLS_RECORD_HANDSHAKE, "\1", 1);
    assert_int_equal(tls_state(tls), TLS_OPEN);
    assert_true(tls_keys_update(client_keys));
    send_own(TLS_RECORD_DATA, "hello", 5);
    assert_int_equal(received_len, 5);
    assert_int_equal(tls_write(tls, "answer", 6), 6); /* with the next keys of the server */
    check_client_reads("answer", 6);
    drop_keys();
}

static void refuses_messages_out_of_place(void **state) {
    static const struct {
        uint8_t type;
        const char *bytes;
        size_t len;
        int alert;
    } bad[] = {
        {TLS_RECORD_HANDSHAKE, "", 0, SSL_AD_UNEXPECTED_MESSAGE},
        {TLS_RECORD_HANDSHAKE, "\x18\0\0\1\2", 5, SSL_AD_ILLEGAL_PARAMETER},
        {TLS_RECORD_HANDSHAKE, "\x18\0\0\2\0\0", 6, SSL_AD_UNEXPECTED_MESSAGE},
        {TLS_RECORD_HANDSHAKE, "\x18\0\0\1\0\x18", 6, SSL_AD_UNEXPECTED_MESSAGE},
        {TLS_RECORD_HANDSHAKE, "\1\0\0\1\0", 5, SSL_AD_UNEXPECTED_MESSAGE},   /* ClientHello */
        {TLS_RECORD_HANDSHAKE, "\x14\0\0\x20", 4, SSL_AD_UNEXPECTED_MESSAGE}, /* Finished */
        {TLS_RECORD_HANDSHAKE, "\4\0\0\0", 4, SSL_AD_UNEXPECTED_MESSAGE},     /* a ticket */
        {TLS_RECORD_ALERT, "", 0, SSL_AD_DECODE_ERROR},
        {TLS_RECORD_ALERT, "\1", 1, SSL_AD_DECODE_ERROR},
        {TLS_RECORD_ALERT, "\1\0\1\0", 4, SSL_AD_DECODE_ERROR},
        {20, "\1", 1, SSL_AD_UNEXPECTED_MESSAGE},      /* change_cipher_spec */
        {24, "\1\0\1x", 4, SSL_AD_UNEXPECTED_MESSAGE}, /* heartbeat */
        {0, "", 0, SSL_AD_UNEXPECTED_MESSAGE},         /* padding alone */
        {0, "\0\0\0", 3, SSL_AD_UNEXPECTED_MESSAGE},
        {255, "x", 1, SSL_AD_UNEXPECTED_MESSAGE},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        take_keys();
        send_own(bad[i].type, bad[i].bytes, bad[i].len);
        assert_int_equal(received_len, 0);
        if (tls_state(tls) != TLS_BROKEN)
            fail_msg("case %zu was taken", i);
        check_alert(bad[i].alert);
        drop_keys();
    }
    take_keys(); /* data inside a KeyUpdate */
    send_own(TLS_RECORD_HANDSHAKE, "\x18\0", 2);
    send_own(TLS_RECORD_DATA, "hello", 5);
    assert_int_equal(received_len, 0);
    assert_int_equal(tls_state(tls), TLS_BROKEN);
    drop_keys();
}

static void ends_with_an_alert_of_the_client(void **state) {
    for (int alert = 0; alert < 256; alert++) {
        uint8_t bytes[] = {alert % 3 == 0 ? 1 : 2, (uint8_t)alert}; /* the level means nothing */
        take_keys();
        send_own(TLS_RECORD_ALERT, bytes, sizeof bytes);
        enum tls_state expected = alert == TLS_ALERT_CLOSE_NOTIFY    ? TLS_ENDED
                                  : alert == TLS_ALERT_USER_CANCELED ? TLS_OPEN
                                                                     : TLS_BROKEN;
        assert_int_equal(tls_state(tls), expected);
        if (expected == TLS_ENDED) /* nothing behind it counts */
            send_own(TLS_RECORD_DATA, "hello", 5);
        if (expected != TLS_OPEN)
            assert_int_equal(received_len, 0);
        drop_keys();
    }
}

static void gives_up_on_empty_records(void **state) {
    take_keys();
    int i;
    for (i = 0; i < 1000 && tls_state(tls) == TLS_OPEN; i++)
        send_own(TLS_RECORD_DATA, "", 0);
    assert_int_equal(tls_state(tls), TLS_BROKEN);
    assert_in_range(i, 20, 200);
    drop_keys();
}

static void a_nonce_is_never_used_twice(void **state) {
    uint8_t one[64], two[64];
    use(suites[0]);
    assert_int_equal(tls_write(tls, "same", 4), 4);
    ssize_t n = read(fds[1], one, sizeof one);
    assert_int_equal(tls_write(tls, "same", 4), 4);
    assert_int_equal(read(fds[1], two, sizeof two), n);
    assert_memory_not_equal(one + TLS_HEADER_BYTES, two + TLS_HEADER_BYTES, 4);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, start, finish)
    const struct CMUnitTest tests[] = {
        CASE(carries_data_in_every_suite),
        CASE(ends_in_every_suite),
        CASE(carries_data_in_resumed_sessions),
        CASE(renews_keys_as_often_as_the_client_asks),
        CASE(takes_padding_away),
        CASE(keeps_to_short_records),
        CASE(refuses_another_handshake),
        CASE(refuses_a_record_that_was_changed),
        CASE(refuses_a_record_that_comes_twice),
        CASE(refuses_records_of_other_forms),
        CASE(says_which_alert_the_client_sent),
        CASE(takes_a_finished_in_parts),
        CASE(takes_data_of_every_length),
        CASE(takes_a_key_update_in_parts),
        CASE(refuses_messages_out_of_place),
        CASE(ends_with_an_alert_of_the_client),
        CASE(gives_up_on_empty_records),
        CASE(a_nonce_is_never_used_twice),
    };
    return cmocka_run_group_tests(tests, start_group, finish_group);
}
