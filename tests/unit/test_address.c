/* test_address.c -- listen addresses as people write them, and peers as the log writes them. */
#include "net/socket/address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>

#include <cmocka.h>

static struct address_list list;
static char error[ADDRESS_ERROR_BYTES];

static void parse(const char *text, size_t count) {
    if (!address_parse(text, &list, error, sizeof(error)))
        fail_msg("%s", error);
    assert_int_equal(list.count, count);
}

static void check_formatted(const struct address *a, const char *want) {
    char text[ADDRESS_TEXT_BYTES];
    assert_ptr_equal(address_format(a, text, sizeof(text)), text);
    assert_string_equal(text, want);
}

static void check_ip(const struct address *a, const char *want) {
    char text[ADDRESS_TEXT_BYTES];
    address_format_ip(a, text, sizeof(text));
    assert_string_equal(text, want);
}

/* One address that is written as it was read. */
static void check_plain(const char *text, const char *written) {
    parse(text, 1);
    check_formatted(&list.at[0], written);
    assert_false(list.at[0].dual_stack);
    assert_false(list.at[0].optional);
}

static void test_addresses_with_ports(void **state) {
    check_plain("127.0.0.1:8080", "127.0.0.1:8080");
    check_plain("0.0.0.0:80", "0.0.0.0:80");
    check_plain("192.168.1.20:0", "192.168.1.20:0");
    check_plain("127.0.0.1:65535", "127.0.0.1:65535");
    check_plain("[::1]:8080", "[::1]:8080");
    check_plain("[::]:8080", "[::]:8080");
    check_plain("[2001:DB8:0::1]:443", "[2001:db8::1]:443");
    check_plain("[::ffff:127.0.0.1]:80", "127.0.0.1:80");
    assert_int_equal(list.at[0].storage.ss_family, AF_INET);
    check_plain("[fe80::1%lo]:80", "[fe80::1%lo]:80");
    assert_int_equal(address_port(&list.at[0]), 80);
}

static void test_a_port_alone_is_this_machine_only(void **state) {
    check_plain("8080", "127.0.0.1:8080");
    check_plain("0", "127.0.0.1:0");
}

static void test_all_interfaces(void **state) {
    static const char *const texts[] = {":8080", "*:8080"};
    for (size_t i = 0; i < 2; i++) {
        parse(texts[i], 1);
        check_formatted(&list.at[0], "[::]:8080");
        assert_true(list.at[0].dual_stack);
        assert_false(list.at[0].optional);
        struct address plain = address_without_ipv6(&list.at[0]);
        check_formatted(&plain, "0.0.0.0:8080");
        assert_false(plain.dual_stack);
    }
}

static void test_localhost_is_both(void **state) {
    parse("localhost:8080", 2);
    check_formatted(&list.at[0], "127.0.0.1:8080");
    assert_false(list.at[0].optional);
    check_formatted(&list.at[1], "[::1]:8080");
    assert_true(list.at[1].optional);
    address_set_port(&list.at[1], 9);
    check_formatted(&list.at[1], "[::1]:9");
    address_set_port(&list.at[0], 65535);
    check_formatted(&list.at[0], "127.0.0.1:65535");
}

static void test_unix_sockets(void **state) {
    check_plain("unix:/run/app.sock", "unix:/run/app.sock");
    check_plain("unix:app.sock", "unix:app.sock");
    check_plain("unix:a:80", "unix:a:80");
    check_ip(&list.at[0], "unix");
    assert_int_equal(address_port(&list.at[0]), 0);
    address_set_port(&list.at[0], 80);
    check_formatted(&list.at[0], "unix:a:80");

    struct sockaddr_un sun;
    char text[256] = "unix:";
    memset(text + 5, 'a', sizeof(sun.sun_path) - 1);
    check_plain(text, text);
    text[strlen(text)] = 'a';
    assert_false(address_parse(text, &list, error, sizeof(error)));
    assert_non_null(strstr(error, "107"));

    /* The address that accept() returns for a client without a name. */
    struct address peer = {.len = sizeof(sa_family_t)};
    peer.storage.ss_family = AF_UNIX;
    check_formatted(&peer, "unix:");
    check_ip(&peer, "unix");
}

/* Each error names the text and says what is wrong with it. */
static void test_errors(void **state) {
    static const struct {
        const char *text, *part;
    } wrong[] = {
        {"", "port is missing"},
        {"http://127.0.0.1:3000", "write \"127.0.0.1:3000\""},
        {"ws://localhost:3000/chat?a=b", "write \"localhost:3000\""},
        {"http://[::1]:80/", "write \"[::1]:80\""},
        {"http://[::1]", "write \"[::1]:8080\""},
        {"http://localhost", "write \"localhost:8080\""},
        {"wss://0.0.0.0:443", "write \"0.0.0.0:443\"; TLS comes with --tls-certificate"},
        {"https://localhost/", "write \"localhost:8080\"; TLS comes with"},
        {"127.0.0.1:80/chat", "neither a scheme nor a path: write \"127.0.0.1:80\""},
        {"/run/app.sock", "written \"unix:/run/app.sock\""},
        {"./app.sock", "written \"unix:./app.sock\""},
        {"127.0.0.1", "port is missing"},
        {"localhost", "port is missing"},
        {"[::1]", "port is missing"},
        {"[::1]8080", "port is missing"},
        {"127.0.0.1:", "number from 0 to 65535"},
        {"127.0.0.1:http", "number from 0 to 65535"},
        {"127.0.0.1:65536", "number from 0 to 65535"},
        {"127.0.0.1:-1", "number from 0 to 65535"},
        {"127.0.0.1:+1", "number from 0 to 65535"},
        {"127.0.0.1: 80", "number from 0 to 65535"},
        {"127.0.0.1:000080", "number from 0 to 65535"},
        {"99999999999999999999", "number from 0 to 65535"},
        {"[::1]:x", "number from 0 to 65535"},
        {"[fe80::1%0]:80", "no network interface \"0\""},
        {"[fe80::1%4294967297]:80", "no network interface \"4294967297\""},
        {"::1", "in brackets"},
        {"::1:8080", "in brackets"},
        {"fe80::1:80", "in brackets"},
        {"[::1:80", "in brackets"},
        {"::1]:80", "in brackets"},
        {"[]:80", "IPv6 address"},
        {"[127.0.0.1]:80", "IPv6 address"},
        {"[::g]:80", "IPv6 address"},
        {"[localhost]:80", "IPv6 address"},
        {"[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]:80", "IPv6 address"},
        {"[fe80::1%no-such-nic]:80", "no-such-nic"},
        {"[fe80::1%]:80", "interface"},
        {"127.0.0:80", "not an IP address"},
        {"256.0.0.1:80", "not an IP address"},
        {"0x7f.1:80", "not an IP address"},
        {"example.com:8080", "\":8080\" for all interfaces"},
        {" 127.0.0.1:80", "not an IP address"},
        {"unix:", "path must follow"},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char start[128];
        snprintf(start, sizeof(start), "listen address \"%s\": ", wrong[i].text);
        if (address_parse(wrong[i].text, &list, error, sizeof(error)))
            fail_msg("accepted: %s", wrong[i].text);
        if (strncmp(error, start, strlen(start)) != 0 || strstr(error, wrong[i].part) == NULL)
            fail_msg("\"%s\" should say \"%s\"", error, wrong[i].part);
    }
    char text[1024]; /* a host longer than any address */
    memset(text, '1', sizeof(text));
    strcpy(text + sizeof(text) - 4, ":80");
    assert_false(address_parse(text, &list, error, sizeof(error)));
    assert_int_equal(strlen(error), sizeof(error) - 1);
    assert_false(address_parse("nonsense", &list, NULL, 0));
    char small[12];
    assert_false(address_parse("nonsense", &list, small, sizeof(small)));
    assert_string_equal(small, "listen addr");
}

static struct address peer6(const char *ip) {
    struct sockaddr_in6 sin6 = {.sin6_family = AF_INET6, .sin6_port = htons(5000)};
    assert_int_equal(inet_pton(AF_INET6, ip, &sin6.sin6_addr), 1);
    struct address a = {.len = sizeof(sin6)};
    memcpy(&a.storage, &sin6, sizeof(sin6));
    return a;
}

static void test_peers(void **state) {
    struct address mapped = peer6("::ffff:192.0.2.7");
    check_formatted(&mapped, "192.0.2.7:5000");
    check_ip(&mapped, "192.0.2.7");
    struct address six = peer6("2001:db8::7");
    check_formatted(&six, "[2001:db8::7]:5000");
    check_ip(&six, "2001:db8::7");
    struct address strange = {.any.sa_family = AF_UNSPEC, .len = sizeof strange.any};
    char text[ADDRESS_TEXT_BYTES];
    assert_string_equal(address_format_ip(&strange, text, sizeof(text)), "unknown");
}

static void test_random_texts(void **state) {
    static const char letters[] = "01289:.[]*%aflocalhostunix/ \x80";
    uint32_t seed = 3;
    for (int round = 0; round < 200000; round++) {
        seed = seed * 1664525u + 1013904223u;
        size_t len = (seed >> 8) % 24;
        char *text = malloc(len + 1);
        for (size_t i = 0; i < len; i++) {
            seed = seed * 1664525u + 1013904223u;
            text[i] = letters[(seed >> 8) % (sizeof(letters) - 1)];
        }
        text[len] = '\0';
        error[0] = '\0';
        if (address_parse(text, &list, error, sizeof(error))) {
            assert_in_range(list.count, 1, ADDRESS_LIST_MAX);
            /* An accepted address is formatted and parsed again as the same. */
            char written[ADDRESS_TEXT_BYTES], again[ADDRESS_TEXT_BYTES];
            const struct address *a = &list.at[0];
            address_format(a, written, sizeof(written));
            assert_true(address_parse(written, &list, error, sizeof(error)));
            address_format(a, again, sizeof(again));
            assert_string_equal(written, again);
        } else {
            assert_true(strlen(error) > 20);
        }
        free(text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses_with_ports),
        cmocka_unit_test(test_a_port_alone_is_this_machine_only),
        cmocka_unit_test(test_all_interfaces),
        cmocka_unit_test(test_localhost_is_both),
        cmocka_unit_test(test_unix_sockets),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_peers),
        cmocka_unit_test(test_random_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
