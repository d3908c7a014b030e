/* test_forwarded.c -- the client that proxies name: X-Forwarded-… and Forwarded, from the right,
 * whatever a client has put before. */
#include "net/http/forwarded.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct request request;
static struct forwarded forwarded;
static char *head;
static struct trusted_proxies *proxies;

static int start(void **state) {
    const char *const texts[] = {"10.0.0.0/8", "fd00::/8", "unix"};
    proxies = trusted_proxies_new(texts, 3);
    return 0;
}

static int finish(void **state) {
    trusted_proxies_free(proxies);
    free(head);
    head = NULL;
    return 0;
}

/* Reads the headers, "Name: value\r\n" lines. */
static void read_by(enum forwarded_header which, const char *headers) {
    size_t size = strlen(headers) + 64;
    free(head);
    head = malloc(size);
    snprintf(head, size, "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", headers);
    memset(&request, 0, sizeof request);
    assert_true(request_parse(&request, head, strlen(head), 1 << 20) > 0);
    forwarded_read(&request, proxies, which, &forwarded);
}

/* `want`: the client; NULL: no proxy names one. */
static void check(enum forwarded_header which, const char *headers, const char *want) {
    char text[IP_TEXT_BYTES];
    read_by(which, headers);
    const char *got = forwarded.has_client ? ip_format(&forwarded.client, text) : "none";
    if (strcmp(got, want == NULL ? "none" : want) != 0)
        fail_msg("%s instead of %s: %s", got, want == NULL ? "none" : want, headers);
}

static void check_x(const char *value, const char *want) {
    char headers[1024];
    snprintf(headers, sizeof headers, "X-Forwarded-For: %s\r\n", value);
    check(FORWARDED_X, headers, want);
    check(FORWARDED_EITHER, headers, want);
    check(FORWARDED_RFC7239, headers, NULL);
}

static void check_rfc(const char *value, const char *want) {
    char headers[1024];
    snprintf(headers, sizeof headers, "Forwarded: %s\r\n", value);
    check(FORWARDED_RFC7239, headers, want);
    check(FORWARDED_EITHER, headers, want);
    check(FORWARDED_X, headers, NULL);
}

static void test_x_forwarded_for(void **state) {
    check_x("", NULL);
    check_x("192.0.2.1", "192.0.2.1");
    check_x("203.0.113.66, 192.0.2.1", "192.0.2.1"); /* the first is a claim of the client */
    check_x("203.0.113.66, 192.0.2.1, 10.1.1.1", "192.0.2.1");
    check_x("203.0.113.66,192.0.2.1 ,10.1.1.1,fd00::1", "192.0.2.1");
    check_x("10.2.2.2, 10.1.1.1", "10.2.2.2"); /* all are proxies: the first is the client */
    check_x(",, 192.0.2.1 ,,", "192.0.2.1");
    check_x("2001:db8::1", "2001:db8::1");
    check_x("::ffff:192.0.2.1, ::ffff:10.0.0.1", "192.0.2.1");
    check_x("192.0.2.1:5060", "192.0.2.1");
    check_x("[2001:db8::1]:443", "2001:db8::1");
    check_x("[2001:db8::1]", "2001:db8::1");
    check_x("192.0.2.1, unix:", "192.0.2.1"); /* nginx behind a Unix socket */
}

static void test_several_headers_are_one_list(void **state) {
    check(FORWARDED_EITHER,
          "X-Forwarded-For: 203.0.113.66, 192.0.2.1\r\nAccept: x\r\n"
          "x-forwarded-for: 10.1.1.1\r\nX-Forwarded-For:\r\n",
          "192.0.2.1");
    check(FORWARDED_EITHER, "Forwarded: for=192.0.2.1\r\nForwarded: for=10.0.0.1\r\n", "192.0.2.1");
}

static void test_garbage_stops_at_the_last_good_address(void **state) {
    static const char *const bad[] = {
        "unknown",         "_hidden",         "192.0.2.1:",
        "192.0.2.1:x",     "192.0.2.1:65536", "192.0.2.1:000080",
        "192.0.2.1:80:80", "[2001:db8::1",    "2001:db8::1]",
        "[2001:db8::1]x",  "[2001:db8::1]:",  "[192.0.2.1]",
        "192.0.2.256",     "192.0.2.1/24",    "fe80::1%eth0",
        "[fe80::1%eth0]",  "localhost",       "\"192.0.2.1",
        "192.0.2.1\"",     "for=192.0.2.1",   "192.0.2.1 192.0.2.2",
        "\xff\xfe",
    };
    char value[256];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        check_x(bad[i], NULL);
        snprintf(value, sizeof value, "203.0.113.66, %s", bad[i]);
        check_x(value, NULL);
        snprintf(value, sizeof value, "203.0.113.66, %s, 10.1.1.1", bad[i]);
        check_x(value, "10.1.1.1");
        snprintf(value, sizeof value, "%s, 192.0.2.9", bad[i]);
        check_x(value, "192.0.2.9");
    }
}

static void test_forwarded(void **state) {
    check_rfc("for=192.0.2.1", "192.0.2.1");
    check_rfc("For=\"192.0.2.1\"", "192.0.2.1");
    check_rfc("for=\"[2001:db8::1]:4711\"", "2001:db8::1");
    check_rfc("for=[2001:db8::1]", "2001:db8::1"); /* the quotes are missing */
    check_rfc("for=\"192.0.2.1:_port\"", "192.0.2.1");
    check_rfc("for=192.0.2.1;proto=https;by=10.0.0.1;host=example.com", "192.0.2.1");
    check_rfc("proto=http; for=192.0.2.1 ; by=_a", "192.0.2.1");
    check_rfc("for=203.0.113.66, for=192.0.2.1, for=10.0.0.1", "192.0.2.1");
    check_rfc("for=\"a, b\", for=192.0.2.1", "192.0.2.1");
    check_rfc("for=192.0.2.1;extension=\"x, y; z\", for=10.0.0.1", "192.0.2.1");
    check_rfc("for=unknown", NULL);
    check_rfc("for=_hidden, for=10.0.0.1", "10.0.0.1");
    check_rfc("for=\"_hidden\"", NULL);
    check_rfc("proto=https", NULL);
    check_rfc("for=192.0.2.1;for=192.0.2.2", NULL); /* twice: no meaning */
    check_rfc("for", NULL);
    check_rfc("for=", NULL);
    check_rfc("=192.0.2.1", NULL);
    check_rfc("for =192.0.2.1", NULL);
    check_rfc("for=192.0.2.1 proto=http", NULL);
    check_rfc("for=\"192.0.2.1\\\"", NULL);
    check_rfc("for=\"192.0.2.1\"x", NULL);
    check_rfc("192.0.2.1", NULL);
}

/* An open quote of the client must not swallow what the proxy appends. */
static void test_a_client_cannot_hide_what_a_proxy_appends(void **state) {
    check_rfc("for=\", for=192.0.2.1", "192.0.2.1");
    check_rfc("for=\"\\, for=192.0.2.1;proto=http", "192.0.2.1");
    check_rfc("for=\"x\\\", for=\"[2001:db8::1]\"", "2001:db8::1");
    check_rfc(";;;\"\"\"==, for=192.0.2.1", "192.0.2.1");
    check_x("\"203.0.113.66, 192.0.2.1", "192.0.2.1");
}

static void test_which_header_counts(void **state) {
    static const char both[] = "Forwarded: for=192.0.2.7;proto=https;host=f.example\r\n"
                               "X-Forwarded-For: 192.0.2.8\r\n";
    check(FORWARDED_X, both, "192.0.2.8");
    check(FORWARDED_EITHER, both, "192.0.2.8");
    assert_false(forwarded.has_scheme); /* nothing of Forwarded counts then */
    assert_int_equal(forwarded.host.len, 0);
    check(FORWARDED_RFC7239, both, "192.0.2.7");
    assert_true(forwarded.has_scheme && forwarded.secure);
    check(FORWARDED_RFC7239, "X-Forwarded-Proto: https\r\nForwarded: for=192.0.2.7\r\n",
          "192.0.2.7");
    assert_false(forwarded.has_scheme);
    check(FORWARDED_EITHER, "X-Forwarded-Proto: https\r\nForwarded: for=192.0.2.7\r\n",
          "192.0.2.7");
    assert_true(forwarded.secure);
    check(FORWARDED_EITHER, "X-Forwarded-Proto: https\r\nForwarded: for=192.0.2.7;proto=http\r\n",
          "192.0.2.7");
    assert_true(forwarded.has_scheme && !forwarded.secure);
}

static void check_facts(const char *headers, int scheme, const char *host) {
    read_by(FORWARDED_EITHER, headers);
    assert_int_equal(forwarded.has_scheme, scheme >= 0);
    if (scheme >= 0)
        assert_int_equal(forwarded.secure, scheme);
    if (!slice_is(forwarded.host, host))
        fail_msg("host \"%.*s\" instead of \"%s\": %s", (int)forwarded.host.len,
                 forwarded.host.len == 0 ? "" : forwarded.host.bytes, host, headers);
}

static void test_scheme_and_host(void **state) {
    check_facts("", -1, "");
    check_facts("X-Forwarded-Proto: https\r\nX-Forwarded-Host: a.example:8443\r\n", 1,
                "a.example:8443");
    check_facts("X-Forwarded-Proto: WSS\r\n", 1, "");
    check_facts("X-Forwarded-Proto: http\r\n", 0, "");
    check_facts("X-Forwarded-Proto: ftp\r\nX-Forwarded-Host:\r\n", -1, "");
    /* the proxy's own element, not the client's before it */
    check_facts("X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https, http\r\n"
                "X-Forwarded-Host: evil.example, a.example\r\n",
                0, "a.example");
    /* two proxies: the outer one knows the client's */
    check_facts("X-Forwarded-For: 192.0.2.1, 10.0.0.2\r\nX-Forwarded-Proto: https, http\r\n"
                "X-Forwarded-Host: a.example, inner\r\n",
                1, "a.example");
    /* the inner one has replaced it */
    check_facts("X-Forwarded-For: 192.0.2.1, 10.0.0.2\r\nX-Forwarded-Proto: https\r\n", 1, "");
    check_facts("Forwarded: for=192.0.2.1;proto=https;host=\"a.example:80\"\r\n", 1,
                "a.example:80");
    check_facts("Forwarded: for=203.0.113.6;proto=https;host=evil, for=192.0.2.1;proto=http\r\n", 0,
                "");
    check_facts("Forwarded: for=_hidden;proto=https;host=a.example, for=10.0.0.1;proto=http\r\n", 1,
                "a.example");
    check_facts("X-Forwarded-Host: http://a.example/\r\n", -1, "");
    check_facts("X-Forwarded-Host: a.example b.example\r\n", -1, "");
    check_facts("X-Forwarded-Host: [2001:db8::1]:443\r\n", -1, "[2001:db8::1]:443");
    char headers[400] = "X-Forwarded-Host: ";
    memset(headers + 18, 'a', 300);
    strcpy(headers + 318, "\r\n");
    check_facts(headers, -1, "");
}

static void test_a_long_list_ends(void **state) {
    char value[20000] = "X-Forwarded-For: 192.0.2.1";
    for (int i = 0; i < 1000; i++)
        strcat(value, ", 10.0.0.1");
    strcat(value, "\r\n");
    check(FORWARDED_EITHER, value, "10.0.0.1");
}

/* Random elements before those of the proxies change nothing. */
static void test_random_claims(void **state) {
    static const char alphabet[] = "0123456789abcdef.:[]\"\\,;=_ -forprotohostunknown\t\xe9";
    unsigned seed = 7239;
    for (int round = 0; round < 20000; round++) {
        char claim[64], headers[256];
        size_t len = 0;
        for (seed = seed * 1103515245 + 12345; len < (seed >> 20) % 60; len++) {
            unsigned next = seed * 2654435761u + (unsigned)len * 40503u;
            claim[len] = alphabet[(next >> 16) % (sizeof alphabet - 1)];
        }
        claim[len] = '\0';
        snprintf(headers, sizeof headers, "X-Forwarded-For: %s, 192.0.2.1, 10.0.0.1\r\n", claim);
        check(FORWARDED_EITHER, headers, "192.0.2.1");
        snprintf(headers, sizeof headers, "Forwarded: %s, for=192.0.2.1;proto=https\r\n", claim);
        check(FORWARDED_EITHER, headers, "192.0.2.1");
        snprintf(headers, sizeof headers, "Forwarded: %s\r\nX-Forwarded-For: %s\r\n", claim, claim);
        read_by(FORWARDED_RFC7239, headers);
        read_by(FORWARDED_X, headers);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_x_forwarded_for),
        cmocka_unit_test(test_several_headers_are_one_list),
        cmocka_unit_test(test_garbage_stops_at_the_last_good_address),
        cmocka_unit_test(test_forwarded),
        cmocka_unit_test(test_a_client_cannot_hide_what_a_proxy_appends),
        cmocka_unit_test(test_which_header_counts),
        cmocka_unit_test(test_scheme_and_host),
        cmocka_unit_test(test_a_long_list_ends),
        cmocka_unit_test(test_random_claims),
    };
    return cmocka_run_group_tests(tests, start, finish);
}
