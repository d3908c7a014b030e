/* test_admin_access.c -- the hosts and the pages that the admin address answers. */
#include "server/admin_access.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char why[ADMIN_ACCESS_BYTES];

static enum admin_access check_by(const char *headers, bool over_unix,
                                  const struct app_texts *hosts) {
    char head[1024];
    static struct request request;
    snprintf(head, sizeof head, "GET /metrics HTTP/1.0\r\n%s\r\n", headers);
    memset(&request, 0, sizeof request);
    assert_true(request_parse(&request, head, strlen(head), sizeof head) > 0);
    return admin_access_check(&request, hosts, over_unix, why);
}

static char prometheus[] = "prometheus.example", app_name[] = "app", star[] = "*";
static char *names[] = {prometheus, app_name};

static enum admin_access check(const char *headers) {
    struct app_texts hosts = {names, 2};
    return check_by(headers, false, &hosts);
}

static void test_hosts(void **state) {
    static const char *const good[] = {
        "Host: 127.0.0.1:9090\r\n",
        "Host: 192.0.2.1\r\n",
        "Host: [::1]:9090\r\n",
        "Host: [2001:db8::1]\r\n",
        "Host: localhost:9090\r\n",
        "Host: LocalHost\r\n",
        "Host: localhost.:9090\r\n",
        "Host: prometheus.example:9090\r\n",
        "Host: Prometheus.Example.\r\n",
        "Host: app\r\n",
        "",
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        if (check(good[i]) != ADMIN_ACCESS_GRANTED)
            fail_msg("refused: %s", good[i]);
    }
    static const char *const bad[] = {
        "Host: evil.example:9090\r\n",
        "Host: localhost.evil.example\r\n",
        "Host: evil-localhost\r\n",
        "Host: 127.0.0.1.evil.example\r\n",
        "Host: 0x7f.1\r\n",
        "Host: 2130706433\r\n",

        "Host: 127.1\r\n",
        "Host: x.prometheus.example\r\n",
        "Host: prometheus.example.evil\r\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (check(bad[i]) != ADMIN_ACCESS_OTHER_HOST)
            fail_msg("granted: %s", bad[i]);
    }
    assert_int_equal(check("Host: evil.example:9090\r\n"), ADMIN_ACCESS_OTHER_HOST);
    assert_non_null(strstr(why, "admin_hosts = { \"evil.example\" }"));
    check("Host: a~b\r\n");
    assert_non_null(strstr(why, "{ \"NAME\" }"));
    char long_name[600] = "Host: ";
    memset(long_name + 6, 'a', 500);
    strcpy(long_name + 506, "\r\n");
    check(long_name);
    assert_non_null(strstr(why, "{ \"NAME\" }"));
}

static void test_all_hosts_and_unix_sockets(void **state) {
    char *all[] = {star};
    struct app_texts any = {all, 1}, none = {NULL, 0};
    assert_int_equal(check_by("Host: x.example\r\n", false, &any), ADMIN_ACCESS_GRANTED);
    assert_int_equal(check_by("Host: x.example\r\n", true, &none), ADMIN_ACCESS_GRANTED);
    assert_int_equal(check_by("Host: x.example\r\n", false, &none), ADMIN_ACCESS_OTHER_HOST);
    assert_int_equal(check_by("Host: x.example\r\nSec-Fetch-Site: cross-site\r\n", true, &none),
                     ADMIN_ACCESS_OTHER_PAGE);
}

static void test_pages(void **state) {
    static const struct {
        const char *headers;
        enum admin_access access;
    } cases[] = {
        {"Origin: http://127.0.0.1:9090\r\n", ADMIN_ACCESS_GRANTED},
        {"Origin: HTTPS://127.0.0.1:9090\r\n", ADMIN_ACCESS_GRANTED},
        {"Sec-Fetch-Site: same-origin\r\n", ADMIN_ACCESS_GRANTED},
        {"Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\n", ADMIN_ACCESS_GRANTED},
        {"Origin: http://127.0.0.1:8080\r\n", ADMIN_ACCESS_OTHER_PAGE},
        {"Origin: http://127.0.0.1\r\n", ADMIN_ACCESS_OTHER_PAGE},
        {"Origin: http://evil.example\r\n", ADMIN_ACCESS_OTHER_PAGE},
        {"Origin: null\r\n", ADMIN_ACCESS_OTHER_PAGE},
        {"Origin:\r\n", ADMIN_ACCESS_OTHER_PAGE},
        {"Origin: http:/\r\n", ADMIN_ACCESS_OTHER_PAGE},
        {"Origin: http://127.0.0.1:9090\r\nOrigin: http://127.0.0.1:9090\r\n",
         ADMIN_ACCESS_OTHER_PAGE},
        {"Sec-Fetch-Site: cross-site\r\n", ADMIN_ACCESS_OTHER_PAGE},
        {"Sec-Fetch-Site: same-site\r\n", ADMIN_ACCESS_OTHER_PAGE},
        {"Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n", ADMIN_ACCESS_OTHER_PAGE},
        {"Origin: http://127.0.0.1:9090\r\nSec-Fetch-Site: cross-site\r\n",
         ADMIN_ACCESS_OTHER_PAGE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char headers[512];
        snprintf(headers, sizeof headers, "Host: 127.0.0.1:9090\r\n%s", cases[i].headers);
        if (check(headers) != cases[i].access)
            fail_msg("%s", headers);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_all_hosts_and_unix_sockets),
        cmocka_unit_test(test_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
