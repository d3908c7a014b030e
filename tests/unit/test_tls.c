/* test_tls.c -- TLS of one connection, against OpenSSL's own client over a pair of sockets: in
 * pieces of every size, and with sockets that take few bytes. */
#include "tls_pair.h"

static void carries_bytes_both_ways(void **state) {
    static char text[100000];
    fill(text, sizeof text, 1);
    shake_hands(sizeof received / 64);
    for (size_t len = 1; len <= sizeof text; len = len * 3 + 1) {
        size_t n = 0;
        received_len = 0;
        for (size_t sent = 0; sent < len; sent += n) {
            n = 0;
            SSL_write_ex(client, text + sent, len - sent, &n);
            receive(16384);
        }
        assert_int_equal(received_len, len);
        assert_memory_equal(received, text, len);
        for (size_t sent = 0; sent < len; sent += n) {
            n = tls_write(tls, text + sent, len - sent);
            check_client_reads(text + sent, n);
        }
    }
}

/* Connects a client that knows only these suites of TLS 1.2. Returns the chosen one, or NULL. */
static const char *shake_hands_with(const char *ciphers) {
    finish(NULL);
    start(NULL);
    SSL_set_max_proto_version(client, TLS1_2_VERSION);
    SSL_set_security_level(client, 0);
    if (SSL_set_cipher_list(client, ciphers) != 1)
        return NULL; /* this OpenSSL does not have it */
    bool good = false;
    for (int i = 0; i < 10 && !good && tls_state(tls) != TLS_BROKEN; i++) {
        good = SSL_do_handshake(client) == 1;
        receive(16384);
    }
    return good ? SSL_get_cipher_name(client) : NULL;
}

static void takes_only_suites_of_today(void **state) {
    static const char *const old[] = {
        "ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA",
        "ECDHE-ECDSA-AES256-SHA384:ECDHE-RSA-AES256-SHA384",
        "ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES256-SHA",
        "ECDHE-ECDSA-CAMELLIA128-SHA256:ECDHE-ECDSA-AES128-CCM8",
        "AES128-GCM-SHA256:AES256-GCM-SHA384",
        "AES128-SHA:AES256-SHA256",
        "DES-CBC3-SHA:ECDHE-ECDSA-DES-CBC3-SHA",
        "RC4-SHA:ECDHE-ECDSA-RC4-SHA",
        "DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-SHA",
        "aNULL:eNULL",
        "PSK:SRP",
    };
    for (size_t i = 0; i < sizeof old / sizeof old[0]; i++) {
        const char *chosen = shake_hands_with(old[i]);
        if (chosen != NULL)
            fail_msg("%s is spoken", chosen);
    }
    static const char *const good[] = {"ECDHE-ECDSA-AES128-GCM-SHA256",
                                       "ECDHE-ECDSA-AES256-GCM-SHA384",
                                       "ECDHE-ECDSA-CHACHA20-POLY1305"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_string_equal(shake_hands_with(good[i]), good[i]);
    assert_non_null(shake_hands_with("ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES128-GCM-SHA256"));
}

static void understands_bytes_that_come_one_by_one(void **state) {
    shake_hands(1);
    assert_int_equal(SSL_write(client, "hello", 5), 5);
    receive(1);
    assert_int_equal(received_len, 5);
    assert_memory_equal(received, "hello", 5);
}

static void renew_keys(void) {
    assert_int_equal(SSL_key_update(client, SSL_KEY_UPDATE_REQUESTED), 1);
    assert_int_equal(SSL_do_handshake(client), 1);
}

/* A client may change keys now and then, but not without end, in records of every size. */
static void bears_some_records_without_data(void **state) {
    shake_hands(65536);
    for (int i = 0; i < 20; i++)
        renew_keys();
    assert_int_equal(SSL_write(client, "hello", 5), 5);
    receive(65536);
    assert_int_equal(tls_state(tls), TLS_OPEN);
    assert_memory_equal(received, "hello", 5);
    static char much[16384];
    for (int i = 0; i < 200; i++) { /* a client that sends so much data may */
        received_len = 0;
        renew_keys();
        assert_int_equal(SSL_write(client, much, sizeof much), sizeof much);
        receive(65536);
        assert_int_equal(received_len, sizeof much);
        check_client_reads("", 0);
    }
    assert_int_equal(tls_state(tls), TLS_OPEN);
}

static void gives_up_on_records_without_data(void **state) {
    shake_hands(65536);
    int i;
    for (i = 0; i < 1000 && tls_state(tls) == TLS_OPEN; i++) {
        renew_keys();
        assert_int_equal(SSL_write(client, "x", 1), 1); /* too little data */
        receive(65536);
    }
    assert_int_equal(tls_state(tls), TLS_BROKEN);
    assert_non_null(strstr(tls_why(tls), "without data"));
    assert_in_range(i, 20, 200);
}

/* Several records in one piece, with the beginning of another. */
static void gives_all_that_is_whole(void **state) {
    char bytes[4096];
    shake_hands(65536);
    for (int i = 0; i < 10; i++)
        assert_int_equal(SSL_write(client, "hello", 5), 5);
    ssize_t n = read(fds[0], bytes, sizeof bytes);
    static char out[sizeof bytes + TLS_RECORD_BYTES];
    assert_int_equal(tls_receive(tls, bytes, (size_t)n - 1, out), 45);
    assert_int_equal(tls_receive(tls, bytes + n - 1, 1, out), 5);
}

/* Bytes that were taken are sent, whatever is written next: the queue above may have other bytes at
 * its front by then. */
static void what_was_taken_need_not_be_written_again(void **state) {
    static char first[400000], second[300];
    int small = 4096;
    fill(first, sizeof first, 2);
    fill(second, sizeof second, 3);
    shake_hands(65536);
    setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    size_t taken = tls_write(tls, first, sizeof first);
    assert_true(taken > 0 && taken < sizeof first);
    assert_true(tls_has_unsent(tls));
    assert_int_equal(tls_write(tls, second, sizeof second), 0); /* not before those are sent */
    assert_false(tls_flush(tls));
    check_client_reads(first, taken);
    assert_true(tls_flush(tls));
    assert_false(tls_has_unsent(tls));
    assert_int_equal(tls_write(tls, second, sizeof second), sizeof second);
    check_client_reads(second, sizeof second);
}

static void takes_nothing_before_the_handshake(void **state) {
    assert_int_equal(tls_write(tls, "hello", 5), 0);
    assert_int_equal(tls_state(tls), TLS_NEW);
    tls_end(tls);
    shake_hands(65536);
}

static void says_and_hears_the_end(void **state) {
    shake_hands(65536);
    SSL_write(client, "bye", 3);
    SSL_shutdown(client);
    receive(65536);
    assert_memory_equal(received, "bye", 3);
    assert_int_equal(tls_state(tls), TLS_ENDED);
    assert_int_equal(tls_write(tls, "you too", 7), 7);
    tls_end(tls);
    check_client_reads("you too", 7);
    char byte;
    assert_int_equal(SSL_read(client, &byte, 1), 0);
    assert_int_equal(SSL_get_error(client, 0), SSL_ERROR_ZERO_RETURN);
}

static void breaks_at_what_is_no_tls(void **state) {
    char out[64 + TLS_RECORD_BYTES];
    tls_receive(tls, "\x16\x03\x01\x00\x05hello, hello, hello", 24, out);
    assert_int_equal(tls_state(tls), TLS_BROKEN);
    assert_true(strlen(tls_why(tls)) > 0);
    assert_int_equal(tls_receive(tls, "more", 4, out), 0);
    assert_int_equal(tls_write(tls, "more", 4), 0);
    assert_false(tls_has_unsent(tls));
}

/* The client has sent something and is gone: writes are dropped, but its bytes are received. */
static void a_broken_socket_is_still_read(void **state) {
    shake_hands(65536);
    assert_int_equal(SSL_write(client, "goodbye", 7), 7);
    SSL_free(client);
    client = NULL;
    close(fds[1]);
    assert_false(tls_socket_is_broken(tls));
    assert_int_equal(tls_write(tls, "hello", 5), 5);
    assert_true(tls_socket_is_broken(tls));
    assert_false(tls_has_unsent(tls));
    receive(64);
    assert_int_equal(tls_state(tls), TLS_OPEN);
    assert_int_equal(received_len, 7);
    assert_memory_equal(received, "goodbye", 7);
}

/* Random bytes in a connection, and one that is cut, do no more than end it. */
static void survives_bytes_that_were_changed(void **state) {
    srand(20261126);
    for (int round = 0; round < 200; round++) {
        finish(NULL);
        start(NULL);
        int from = rand() % 3;
        if (from > 0)
            shake_hands(65536);
        else
            SSL_do_handshake(client);
        if (from > 0)
            SSL_write(client, "hello, hello, hello", 19);
        char bytes[8192];
        static char out[sizeof bytes + TLS_RECORD_BYTES];
        ssize_t n = read(fds[0], bytes, sizeof bytes);
        assert_true(n > 0);
        for (int i = rand() % 4; i >= 0; i--)
            bytes[rand() % n] = (char)rand();
        n -= rand() % n;
        size_t got = tls_receive(tls, bytes, (size_t)n, out);
        assert_true(got == 0 || (got == 19 && memcmp(out, "hello, hello, hello", 19) == 0));
    }
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, start, finish)
    const struct CMUnitTest tests[] = {
        CASE(carries_bytes_both_ways),
        CASE(takes_only_suites_of_today),
        CASE(understands_bytes_that_come_one_by_one),
        CASE(bears_some_records_without_data),
        CASE(gives_up_on_records_without_data),
        CASE(gives_all_that_is_whole),
        CASE(what_was_taken_need_not_be_written_again),
        CASE(takes_nothing_before_the_handshake),
        CASE(says_and_hears_the_end),
        CASE(breaks_at_what_is_no_tls),
        CASE(a_broken_socket_is_still_read),
        CASE(survives_bytes_that_were_changed),
    };
    return cmocka_run_group_tests(tests, start_group, finish_group);
}
