/* test_redis_url.c -- URLs of Redis servers: all their forms, and what is wrong with others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cluster/redis/redis_url.h"

#include <string.h>

static struct redis_url url;
static char why[300];

static bool parse(const char *text) {
    const struct error_text error = {why, sizeof why};
    redis_url_close(&url);
    why[0] = '\0';
    return redis_url_parse(text, &url, &error);
}

static int tear_down(void **state) {
    (void)state;
    redis_url_close(&url);
    return 0;
}

static void assert_text(const char *text, const char *expected) {
    if (expected == NULL)
        assert_null(text);
    else
        assert_string_equal(text, expected);
}

static void takes_all_forms(void **state) {
    static const struct {
        const char *text, *host;
        unsigned port;
        const char *user, *password;
        unsigned database;
        bool tls, is_unix;
        const char *name;
    } cases[] = {
        {"redis://h", "h", 6379, NULL, NULL, 0, false, false, "redis://h:6379"},
        {"REDIS://h", "h", 6379, NULL, NULL, 0, false, false, "redis://h:6379"},
        {"valkey://h:1/", "h", 1, NULL, NULL, 0, false, false, "redis://h:1"},
        {"redis://h:65535/15", "h", 65535, NULL, NULL, 15, false, false, "redis://h:65535/15"},
        {"redis://h:/3/", "h", 6379, NULL, NULL, 3, false, false, "redis://h:6379/3"},
        {"redis://:pw@h", "h", 6379, NULL, "pw", 0, false, false, "redis://h:6379"},
        {"redis://u:pw@h:7", "h", 7, "u", "pw", 0, false, false, "redis://h:7"},
        {"redis://u:p%40%2f%23%25w@h", "h", 6379, "u", "p@/#%w", 0, false, false, "redis://h:6379"},
        {"redis://u:p@w:x@h", "h", 6379, "u", "p@w:x", 0, false, false, "redis://h:6379"},
        {"redis://u@h?password=%20x", "h", 6379, "u", " x", 0, false, false, "redis://h:6379"},
        {"redis://h?username=u&password=p&db=9", "h", 6379, "u", "p", 9, false, false,
         "redis://h:6379/9"},
        {"rediss://h/1", "h", 6379, NULL, NULL, 1, true, false, "rediss://h:6379/1"},
        {"valkeys://h", "h", 6379, NULL, NULL, 0, true, false, "rediss://h:6379"},
        {"redis://[::1]", "::1", 6379, NULL, NULL, 0, false, false, "redis://[::1]:6379"},
        {"redis://:p@[fe80::1%25eth0]:8", "fe80::1%eth0", 8, NULL, "p", 0, false, false,
         "redis://[fe80::1%eth0]:8"},
        {"redis://", "localhost", 6379, NULL, NULL, 0, false, false, "redis://localhost:6379"},
        {"redis://:8", "localhost", 8, NULL, NULL, 0, false, false, "redis://localhost:8"},
        {"redis:///2", "localhost", 6379, NULL, NULL, 2, false, false, "redis://localhost:6379/2"},
        {"redis+unix:///a/b%20c", "/a/b c", 0, NULL, NULL, 0, false, true, "redis+unix:///a/b c"},
        {"unix:///a.sock?db=4", "/a.sock", 0, NULL, NULL, 4, false, true,
         "redis+unix:///a.sock?db=4"},
        {"unix:/a", "/a", 0, NULL, NULL, 0, false, true, "redis+unix:///a"},
        {"unix://u:p@/a", "/a", 0, "u", "p", 0, false, true, "redis+unix:///a"},
        {"redis://h?decode_responses=True&max_connections=3&protocol=2", "h", 6379, NULL, NULL, 0,
         false, false, "redis://h:6379"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (!parse(cases[i].text))
            fail_msg("%s: %s", cases[i].text, why);
        assert_string_equal(url.host, cases[i].host);
        assert_string_equal(url.name, cases[i].name);
        assert_int_equal(url.port, cases[i].port);
        assert_int_equal(url.database, cases[i].database);
        assert_int_equal(url.tls, cases[i].tls);
        assert_int_equal(url.is_unix, cases[i].is_unix);
        assert_text(url.user, cases[i].user);
        assert_text(url.password, cases[i].password);
        assert_true(url.verify && url.check_host);
    }
}

static void takes_options(void **state) {
    (void)state;
    assert_true(parse("rediss://h?ssl_cert_reqs=none&ssl_check_hostname=false&ssl_ca_certs=/ca"
                      "&ssl_certfile=/c&ssl_keyfile=/k&ssl_password=x&client_name=me"
                      "&socket_timeout=1.5&socket_connect_timeout=2"));
    assert_false(url.verify || url.check_host);
    assert_string_equal(url.ca, "/ca");
    assert_string_equal(url.certificate, "/c");
    assert_string_equal(url.key, "/k");
    assert_string_equal(url.key_password, "x");
    assert_string_equal(url.client_name, "me");
    assert_int_equal(url.timeout_ms, 1500);
    assert_int_equal(url.connect_timeout_ms, 2000);
    struct redis_url copy = redis_url_copy(&url);
    assert_string_equal(copy.ca, "/ca");
    assert_ptr_not_equal(copy.ca, url.ca);
    redis_url_close(&copy);
}

static void says_what_is_wrong(void **state) {
    static const char *const cases[][2] = {
        {"", "begin with redis://"},
        {"h:6379", "begin with redis://"},
        {"http://h", "begin with redis://"},
        {"redis:/h", "begin with redis://"},
        {"redis://h:0", "port must be"},
        {"redis://h:65536", "port must be"},
        {"redis://h:6379x", "port must be"},
        {"redis://::1", "in brackets"},
        {"redis://[::1", "not closed"},
        {"redis://[::1]6379", "must follow the bracket"},
        {"redis://[]", "not a name"},
        {"redis://h/x", "database must be a number"},
        {"redis://h/-1", "database must be a number"},
        {"redis://h/99999999999", "database must be a number"},
        {"redis://h?db=x", "database must be a number"},
        {"redis://h a", "blank"},
        {"redis://h\n", "blank"},
        {"redis://a%zz", "\"%\""},
        {"redis://a%00", "\"%\""},
        {"redis://u@h", "no password"},
        {"redis://h?ssl_cert_req=none", "no option \"ssl_cert_req\""},
        {"redis://h?ssl_cert_reqs=maybe", "required or none"},
        {"redis://h?ssl_check_hostname=maybe", "true or false"},
        {"redis://h?socket_timeout=0", "number of seconds"},
        {"redis://h?socket_timeout=nan", "number of seconds"},
        {"redis://h?protocol=3", "RESP2"},
        {"redis://h#x", "percent-encoded"},
        {"unix://a/b", "absolute"},
        {"unix:a", "absolute"},
        {"unix://", "path of the socket is missing"},
        {"redis://\"h\"", "not a name"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (parse(cases[i][0]))
            fail_msg("%s: taken", cases[i][0]);
        if (strstr(why, cases[i][1]) == NULL)
            fail_msg("%s: %s", cases[i][0], why);
    }
}

/* Whatever stands in the place of the password, no sentence has a part of it. */
static void never_shows_the_password(void **state) {
    static const char *const urls[] = {
        "redis://u:SEC/RET@h",
        "redis://u:SEC?RET@h",
        "redis://u:SEC#RET@h",
        "redis://:1/SECRET@h",
        "redis://:1?SECRET@h",
        "redis://:1?SECRET=RET@h",
        "redis://u:SECRET@h:x",
        "redis://u:SECRET@h/x",
        "redis://u:SECRET@",
        "redis://u:SECRET@h h",
        "redis://u:SEC%RET@h",
        "redis://u:SECRET@h?x=1",
        "redis://u:SECRET@[::1",
        "unix://u:SECRET@a",
        "http://u:SECRET@h",
        "redis://:1?a=1&SECRET@h",
        "redis://SECRET@h",
        "redis://h?password=%SECRET",
        "redis://h/1?password=SECRET&db=x",
        "redis://u:p@SEC?RET@h",
        "redis://u:p@SEC?db=1&RET@h",
        "redis://:1/?SECRET#@h",
    };
    (void)state;
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        if (parse(urls[i]) ? strstr(url.name, "SEC") != NULL || strstr(url.name, "RET") != NULL
                           : strstr(why, "SEC") != NULL || strstr(why, "RET") != NULL)
            fail_msg("%s: %s", urls[i], why);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(takes_all_forms, tear_down),
        cmocka_unit_test_teardown(takes_options, tear_down),
        cmocka_unit_test_teardown(says_what_is_wrong, tear_down),
        cmocka_unit_test_teardown(never_shows_the_password, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
