/* test_proxy_header.c -- the header of the PROXY protocol: each valid form, each malformed one.
 *
 * Every text is parsed at once and byte by byte, each time from a fresh allocation of exactly the
 * bytes received, so that a sanitizer sees reads beyond them. */
#include "net/socket/proxy_header.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct proxy_header header;

static int parse_prefix(const char *bytes, size_t len) {
    char *copy = malloc(len == 0 ? 1 : len);
    memcpy(copy, bytes, len);
    int result = proxy_header_parse(copy, len, &header);
    free(copy);
    return result;
}

/* Byte by byte until the result is known, then at once, then with bytes behind it. All results
 * must be the same. */
static int parse_bytes(const char *bytes, size_t len) {
    int dripped = 0;
    for (size_t i = 0; i <= len && dripped == 0; i++)
        dripped = parse_prefix(bytes, i);
    assert_int_equal(parse_prefix(bytes, len), dripped);
    if (dripped < 0)
        assert_non_null(header.error);
    if (dripped > 0) {
        char *more = malloc(len + 6000);
        memset(more, 'G', len + 6000);
        memcpy(more, bytes, len);
        assert_int_equal(proxy_header_parse(more, len + 6000, &header), dripped);
        free(more);
    }
    return dripped;
}

static int parse(const char *text) {
    return parse_bytes(text, strlen(text));
}

static void check_source(const char *want) {
    char text[IP_TEXT_BYTES];
    assert_true(header.has_source);
    assert_false(header.is_unix);
    assert_string_equal(ip_format(&header.source, text), want);
}

/* ---- version 1 ---- */

static void check_v1(const char *text, const char *want) {
    assert_int_equal(parse(text), strlen(text));
    if (want == NULL)
        assert_false(header.has_source);
    else
        check_source(want);
}

static void test_version_1(void **state) {
    check_v1("PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n", "192.0.2.1");
    check_v1("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255");
    check_v1("PROXY TCP4 192.0.2.1 198.51.100.7 0 0\r\n", "192.0.2.1");
    check_v1("PROXY TCP6 2001:db8::1 ::1 56324 443\r\n", "2001:db8::1");
    check_v1("PROXY TCP6 ::ffff:192.0.2.1 ::1 56324 443\r\n", "192.0.2.1");
    check_v1("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
             "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe 65535 65535\r\n",
             "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    check_v1("PROXY UNKNOWN\r\n", NULL);
    check_v1("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
             "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
             NULL); /* the longest line: 107 bytes */
}

static void test_malformed_version_1(void **state) {
    static const char *const wrong[] = {
        "GET / HTTP/1.1\r\n\r\n",
        "PROXYTCP4 192.0.2.1 198.51.100.7 56324 443\r\n",
        "proxy TCP4 192.0.2.1 198.51.100.7 56324 443\r\n",
        "PROXY  TCP4 192.0.2.1 198.51.100.7 56324 443\r\n",
        "PROXY TCP4  192.0.2.1 198.51.100.7 56324 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443 \r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443 1\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 56324\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 56324 \r\n",
        "PROXY TCP4 192.0.2.1\r\n",
        "PROXY TCP4\r\n",
        "PROXY \r\n",
        "PROXY tcp4 192.0.2.1 198.51.100.7 56324 443\r\n",
        "PROXY TCP5 192.0.2.1 198.51.100.7 56324 443\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY TCP4 2001:db8::1 ::1 56324 443\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.7 56324 443\r\n",
        "PROXY TCP6 2001:db8::1 198.51.100.7 56324 443\r\n",
        "PROXY TCP4 192.0.2.256 198.51.100.7 56324 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100 56324 443\r\n",
        "PROXY TCP6 [2001:db8::1] ::1 56324 443\r\n",
        "PROXY TCP6 fe80::1%lo ::1 56324 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 65536 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 056324 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 -1 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 56324 99999\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\r\n",
        "PROXY TCP4 192.0.2.1\n198.51.100.7 56324 443\r\n",
        /* 108 bytes */
        "PROXY UNKNOWN fffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        if (parse(wrong[i]) != -1)
            fail_msg("accepted: %s", wrong[i]);
    }
    char line[200]; /* an endless line ends at its 107th byte */
    memset(line, 'x', sizeof line);
    memcpy(line, "PROXY UNKNOWN ", 14);
    assert_int_equal(parse_prefix(line, PROXY_HEADER_MAX_V1 - 1), 0);
    assert_int_equal(parse_prefix(line, PROXY_HEADER_MAX_V1), -1);
    const char nul[] = "PROXY TCP4 192.0.2.1\0 198.51.100.7 56324 443\r\n";
    assert_int_equal(parse_bytes(nul, sizeof nul - 1), -1);
}

/* ---- version 2 ---- */

static char packet[70000];

/* A packet with this command and family, and a length of its own. */
static size_t make(int command, int family, const void *rest, size_t len) {
    memcpy(packet, "\r\n\r\n\0\r\nQUIT\n", 12);
    packet[12] = (char)command;
    packet[13] = (char)family;
    packet[14] = (char)(len >> 8);
    packet[15] = (char)len;
    memcpy(packet + 16, rest, len);
    return 16 + len;
}

static int parse_v2(int command, int family, const void *rest, size_t len) {
    size_t total = make(command, family, rest, len);
    int result = parse_bytes(packet, total);
    if (result > 0)
        assert_int_equal(result, total);
    return result;
}

static const char ipv4[] = "\xc0\x00\x02\x01\xc6\x33\x64\x07\xdc\x04\x01\xbb";

static void test_version_2(void **state) {
    assert_true(parse_v2(0x21, 0x11, ipv4, 12) > 0);
    check_source("192.0.2.1");
    assert_false(header.secure);
    char ipv6[36] = "\x20\x01\x0d\xb8";
    ipv6[15] = 1;
    assert_true(parse_v2(0x21, 0x21, ipv6, 36) > 0);
    check_source("2001:db8::1");
    char mapped[36] = {[10] = '\xff', [11] = '\xff', [12] = 10, [15] = 9};
    assert_true(parse_v2(0x21, 0x21, mapped, 36) > 0);
    check_source("10.0.0.9");
    char paths[216] = "/run/client.sock";
    assert_true(parse_v2(0x21, 0x31, paths, 216) > 0);
    assert_true(header.has_source && header.is_unix);
}

static void test_version_2_without_a_source(void **state) {
    assert_true(parse_v2(0x20, 0x00, "", 0) > 0);
    assert_false(header.has_source);
    assert_true(parse_v2(0x20, 0x11, ipv4, 12) > 0); /* LOCAL: the proxy's own connection */
    assert_false(header.has_source);
    assert_true(parse_v2(0x20, 0xff, "anything", 8) > 0);
    assert_false(header.has_source);
    assert_true(parse_v2(0x21, 0x00, "anything", 8) > 0); /* UNSPEC */
    assert_false(header.has_source);
    assert_true(parse_v2(0x21, 0x10, ipv4, 12) > 0);
    assert_false(header.has_source);
}

static int parse_with_tlvs(const char *tlvs, size_t len) {
    char rest[200];
    memcpy(rest, ipv4, 12);
    memcpy(rest + 12, tlvs, len);
    return parse_v2(0x21, 0x11, rest, 12 + len);
}

static void test_tlvs(void **state) {
    assert_true(parse_with_tlvs("\x04\x00\x00", 3) > 0); /* NOOP */
    assert_true(parse_with_tlvs("\x01\x00\x02h2\xe0\x00\x03xyz", 11) > 0);
    check_source("192.0.2.1");
    assert_false(header.secure);
    assert_true(parse_with_tlvs("\x20\x00\x05\x01\x00\x00\x00\x00", 8) > 0);
    assert_true(header.secure);
    assert_true(parse_with_tlvs("\x20\x00\x0d\x05\x00\x00\x00\x00\x21\x00\x05TLS12", 16) > 0);
    assert_true(header.secure);
    assert_true(parse_with_tlvs("\x20\x00\x05\x00\x00\x00\x00\x01", 8) > 0);
    assert_false(header.secure);
    assert_int_equal(parse_with_tlvs("\x04", 1), -1);
    assert_int_equal(parse_with_tlvs("\x04\x00", 2), -1);
    assert_int_equal(parse_with_tlvs("\x04\x00\x01", 3), -1);
    assert_int_equal(parse_with_tlvs("\x04\xff\xffx", 4), -1);
    assert_int_equal(parse_with_tlvs("\x04\x00\x00\x05\x00\x02x", 7), -1);
    assert_int_equal(parse_with_tlvs("\x20\x00\x04\x01\x00\x00\x00", 7), -1);
}

static void test_malformed_version_2(void **state) {
    assert_int_equal(parse_v2(0x21, 0x11, ipv4, 11), -1);
    static const char zeros[216];
    assert_int_equal(parse_v2(0x21, 0x21, zeros, 35), -1);
    assert_int_equal(parse_v2(0x21, 0x31, zeros, 215), -1);
    static const int commands[] = {0x00, 0x01, 0x11, 0x22, 0x2f, 0x31, 0xa1};
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        assert_int_equal(parse_v2(commands[i], 0x11, ipv4, 12), -1);
    static const int families[] = {0x12, 0x22, 0x32, 0x13, 0x41, 0xf1, 0x1f, 0xff};
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++)
        assert_int_equal(parse_v2(0x21, families[i], ipv4, 12), -1);
    assert_int_equal(parse("\r\n\r\nGET / HTTP/1.1\r\n"), -1);
    assert_int_equal(parse_bytes("\r\n\r\n\0\r\nQUIT\r", 12), -1);
}

static void test_length_of_version_2(void **state) {
    static char rest[65535];
    memcpy(rest, ipv4, 12);
    size_t room = PROXY_HEADER_MAX - 16;
    rest[12] = 0x04; /* one TLV that fills it */
    rest[13] = (char)((room - 15) >> 8);
    rest[14] = (char)(room - 15);
    assert_int_equal(parse_v2(0x21, 0x11, rest, room), PROXY_HEADER_MAX);
    assert_int_equal(parse_v2(0x21, 0x11, rest, room + 1), -1);
    assert_int_equal(parse_v2(0x20, 0x00, rest, 65535), -1);
    make(0x21, 0x11, rest, 65535); /* refused before the bytes have arrived */
    assert_int_equal(parse_prefix(packet, 15), 0);
    assert_int_equal(parse_prefix(packet, 16), -1);
}

static void test_beginnings(void **state) {
    assert_true(proxy_header_begins("PROXY TCP", 9));
    assert_true(proxy_header_begins("\r\n\r\n\0\r\nQUIT\n!", 13));
    assert_false(proxy_header_begins("PROXY", 5));
    assert_false(proxy_header_begins("\r\n\r\n", 4));
    assert_false(proxy_header_begins("GET / HTTP/1.1", 14));
    assert_false(proxy_header_begins(NULL, 0));
}

/* Valid packets with bytes changed at random: the result is one of three, and never reads beyond
 * the bytes. */
static void test_changed_bytes(void **state) {
    unsigned seed = 20240229;
    for (int round = 0; round < 20000; round++) {
        size_t len = make(0x21, 0x11,
                          "\xc0\x00\x02\x01\xc6\x33\x64\x07\xdc\x04\x01\xbb"
                          "\x20\x00\x05\x01\x00\x00\x00\x00",
                          20);
        for (int i = 0; i < 3; i++) {
            seed = seed * 1103515245 + 12345;
            packet[12 + (seed >> 16) % (len - 12)] ^= (char)(1 << (seed >> 28 & 7));
        }
        int result = parse_bytes(packet, len);
        assert_true(result == -1 || result == 0 || (result >= 16 && result <= PROXY_HEADER_MAX));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version_1),
        cmocka_unit_test(test_malformed_version_1),
        cmocka_unit_test(test_version_2),
        cmocka_unit_test(test_version_2_without_a_source),
        cmocka_unit_test(test_tlvs),
        cmocka_unit_test(test_malformed_version_2),
        cmocka_unit_test(test_length_of_version_2),
        cmocka_unit_test(test_beginnings),
        cmocka_unit_test(test_changed_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
