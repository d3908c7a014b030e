/* test_ip.c -- addresses, networks, and the list of trusted proxies. */
#include "net/socket/ip.h"
#include "net/socket/trusted_proxies.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char error[IP_ERROR_BYTES];

/* `want`: NULL: it is no address. */
static void check_ip(const char *text, const char *want) {
    struct ip ip;
    char got[IP_TEXT_BYTES];
    if (!ip_parse(slice_of(text), &ip))
        assert_null(want);
    else
        assert_string_equal(ip_format(&ip, got), want == NULL ? "no address" : want);
}

static void test_addresses(void **state) {
    check_ip("192.0.2.1", "192.0.2.1");
    check_ip("255.255.255.255", "255.255.255.255");
    check_ip("2001:DB8:0:0::0001", "2001:db8::1");
    check_ip("::", "::");
    check_ip("::ffff:192.0.2.1", "192.0.2.1");
    check_ip("::FFFF:c000:201", "192.0.2.1");
    check_ip("::192.0.2.1", "::192.0.2.1");
    static const char *const wrong[] = {
        "",
        " ",
        "192.0.2",
        "192.0.2.1 ",
        " 192.0.2.1",
        "192.0.2.256",
        "192.0.2.01",
        "192.0.2.1:80",
        "0x7f.0.0.1",
        "1",
        "[::1]",
        "::1%lo",
        "fe80::1%1",
        ":::",
        "1::2::3",
        "12345::",
        "localhost",
        "192.0.2.1/24",
        "::ffff:192.0.2.1.5",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        check_ip(wrong[i], NULL);
    struct ip ip;
    assert_false(ip_parse((struct slice){"127.0.0.1\0x", 11}, &ip));
    assert_false(ip_parse((struct slice){NULL, 0}, &ip));
}

static bool has(const char *network_text, const char *text) {
    struct ip_network network;
    struct ip ip;
    if (!ip_network_parse(network_text, &network, error, sizeof error))
        fail_msg("%s", error);
    assert_true(ip_parse(slice_of(text), &ip));
    return ip_network_has(&network, &ip);
}

static void test_networks(void **state) {
    assert_true(has("10.0.0.0/8", "10.255.0.1"));
    assert_false(has("10.0.0.0/8", "11.0.0.0"));
    assert_true(has("10.9.8.7/8", "10.1.1.1")); /* bits behind the prefix do not count */
    assert_true(has("192.0.2.128/25", "192.0.2.255"));
    assert_false(has("192.0.2.128/25", "192.0.2.127"));
    assert_true(has("192.0.2.1", "192.0.2.1"));
    assert_false(has("192.0.2.1", "192.0.2.0"));
    assert_true(has("192.0.2.0/31", "192.0.2.1"));
    assert_true(has("0.0.0.0/0", "203.0.113.9"));
    assert_false(has("0.0.0.0/0", "::1"));
    assert_true(has("::/0", "2001:db8::1"));
    assert_false(has("::/0", "192.0.2.1"));
    assert_false(has("::/0", "::ffff:192.0.2.1"));
    assert_true(has("2001:db8::/33", "2001:db8:7fff::1"));
    assert_false(has("2001:db8::/33", "2001:db8:8000::1"));
    assert_true(has("::1", "::1"));
    assert_false(has("::1", "::2"));
    assert_true(has("::ffff:10.0.0.0/104", "10.1.2.3"));
    assert_true(has("10.0.0.0/8", "::ffff:10.1.2.3"));
    assert_true(has("::ffff:127.0.0.1", "127.0.0.1"));
    assert_false(has("::ffff:0:0/95", "127.0.0.1"));
}

static void check_error(const char *text, const char *part) {
    struct ip_network network;
    assert_false(ip_network_parse(text, &network, error, sizeof error));
    assert_non_null(strstr(error, text));
    if (strstr(error, part) == NULL)
        fail_msg("\"%s\" is not in %s", part, error);
}

static void test_errors(void **state) {
    check_error("10.0.0.0/33", "from 0 to 32");
    check_error("10.0.0.0/", "from 0 to 32");
    check_error("10.0.0.0/-1", "from 0 to 32");
    check_error("10.0.0.0/8 ", "from 0 to 32");
    check_error("10.0.0.0/255.0.0.0", "from 0 to 32");
    check_error("2001:db8::/129", "from 0 to 128");
    check_error("2001:db8::/1000", "from 0 to 128");
    check_error("localhost", "names are not looked up");
    check_error("127.0.0.1:8080", "without a port");
    check_error("[::1]", "write it as in");
    check_error("", "write it as in");
    check_error("/8", "write it as in");
    check_error("*", "write it as in");
}

static void test_trusted_proxies(void **state) {
    const char *const texts[] = {"10.0.0.0/8", "::1", "fe80::/10", "unix:"};
    struct trusted_proxies *proxies = trusted_proxies_new(texts, 4);
    assert_true(trusted_proxies_has_peer(proxies, "10.1.2.3"));
    assert_true(trusted_proxies_has_peer(proxies, "::1"));
    assert_true(trusted_proxies_has_peer(proxies, "fe80::1%lo"));
    assert_true(trusted_proxies_has_peer(proxies, "unix"));
    assert_false(trusted_proxies_has_peer(proxies, "127.0.0.1"));
    assert_false(trusted_proxies_has_peer(proxies, "unknown"));
    assert_false(trusted_proxies_has_peer(proxies, ""));
    trusted_proxies_free(proxies);
    proxies = trusted_proxies_new(texts, 3);
    assert_false(trusted_proxies_has_peer(proxies, "unix"));
    trusted_proxies_free(proxies);
    assert_null(trusted_proxies_new(NULL, 0));
    assert_false(trusted_proxies_has_peer(NULL, "127.0.0.1"));
    assert_false(trusted_proxies_has_peer(NULL, "unix"));
    trusted_proxies_free(NULL);
    assert_true(trusted_proxies_check("unix", error, sizeof error));
    assert_true(trusted_proxies_check("10.0.0.0/8", error, sizeof error));
    assert_false(trusted_proxies_check("unix:/run/app.sock", error, sizeof error));
    assert_non_null(strstr(error, "write \"unix\""));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_networks),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_trusted_proxies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
