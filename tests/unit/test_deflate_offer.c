/* test_deflate_offer.c -- the negotiation of permessage-deflate (RFC 7692 section 7, RFC 6455
 * section 9.1). */
#include "net/ws/deflate_offer.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static bool read_request(const char *fields, struct deflate_offer *offer) {
    static char head[4096];
    struct request request = {.scan = {0}};
    int len = snprintf(head, sizeof head, "GET / HTTP/1.1\r\nHost: x\r\n%s\r\n", fields);
    assert_int_equal(request_parse(&request, head, (size_t)len, sizeof head), len);
    return deflate_offer_read(&request, offer);
}

static bool read_offers(const char *value, struct deflate_offer *offer) {
    char field[2048];
    snprintf(field, sizeof field, "Sec-WebSocket-Extensions: %s\r\n", value);
    return read_request(field, offer);
}

#define NONE "; server_no_context_takeover; client_no_context_takeover"

/* Offers, and the answer without and with contexts; NULL: declined. */
static const struct {
    const char *offers, *answer, *with_context;
} accepted[] = {
    {"permessage-deflate", NONE, ""},
    {"permessage-deflate; client_max_window_bits", NONE, "; client_max_window_bits=12"},
    {"permessage-deflate;client_max_window_bits=15", NONE, "; client_max_window_bits=12"},
    {"permessage-deflate; client_max_window_bits=10", NONE, "; client_max_window_bits=10"},
    {"permessage-deflate; client_max_window_bits=8", NONE, "; client_max_window_bits=8"},
    {"permessage-deflate; server_max_window_bits=15", NONE "; server_max_window_bits=15",
     "; server_max_window_bits=15"},
    {"permessage-deflate; server_max_window_bits=9", NONE "; server_max_window_bits=9",
     "; server_max_window_bits=9"},
    {"permessage-deflate; server_max_window_bits=\"10\"", NONE "; server_max_window_bits=10",
     "; server_max_window_bits=10"},
    {"permessage-deflate; server_max_window_bits=\"1\\0\"", NONE "; server_max_window_bits=10",
     "; server_max_window_bits=10"},
    {"permessage-deflate; server_no_context_takeover", NONE, "; server_no_context_takeover"},
    {"permessage-deflate; client_no_context_takeover", NONE, "; client_no_context_takeover"},
    {"permessage-deflate ; client_no_context_takeover ;server_no_context_takeover ; "
     "server_max_window_bits = 12;client_max_window_bits",
     NONE "; server_max_window_bits=12", NONE "; server_max_window_bits=12"},
    /* the first acceptable one of several */
    {"permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=11",
     NONE "; server_max_window_bits=11", "; server_max_window_bits=11"},
    {"foo, permessage-deflate; server_max_window_bits=10, permessage-deflate",
     NONE "; server_max_window_bits=10", "; server_max_window_bits=10"},
    {"foo; bar=\"baz\"; x, permessage-deflate, x-webkit-deflate-frame", NONE, ""},
    {"permessage-deflate; unknown, permessage-deflate", NONE, ""},
    {",, permessage-deflate ,", NONE, ""},
    /* none */
    {"", NULL, NULL},
    {"foo", NULL, NULL},
    {"x-webkit-deflate-frame", NULL, NULL},
    {"permessage-deflates", NULL, NULL},
    {"permessage-deflate; unknown", NULL, NULL},
    {"permessage-deflate; unknown=1", NULL, NULL},
    {"permessage-deflate; server_max_window_bits", NULL, NULL},
    {"permessage-deflate; server_max_window_bits=8", NULL, NULL},
    {"permessage-deflate; server_max_window_bits=7", NULL, NULL},
    {"permessage-deflate; server_max_window_bits=16", NULL, NULL},
    {"permessage-deflate; server_max_window_bits=010", NULL, NULL},
    {"permessage-deflate; server_max_window_bits=10x", NULL, NULL},
    {"permessage-deflate; server_max_window_bits=+10", NULL, NULL},
    {"permessage-deflate; server_max_window_bits=100000000000000000000010", NULL, NULL},
    {"permessage-deflate; client_max_window_bits=7", NULL, NULL},
    {"permessage-deflate; client_max_window_bits=08", NULL, NULL},
    {"permessage-deflate; client_max_window_bits=16", NULL, NULL},
    {"permessage-deflate; client_max_window_bits=x", NULL, NULL},
    {"permessage-deflate; client_max_window_bits; client_max_window_bits", NULL, NULL},
    {"permessage-deflate; client_max_window_bits=10; client_max_window_bits=10", NULL, NULL},
    {"permessage-deflate; server_max_window_bits=10; server_max_window_bits=10", NULL, NULL},
    {"permessage-deflate; server_no_context_takeover; server_no_context_takeover", NULL, NULL},
    {"permessage-deflate; client_no_context_takeover; client_no_context_takeover", NULL, NULL},
    {"permessage-deflate; server_no_context_takeover=1", NULL, NULL},
    {"permessage-deflate; client_no_context_takeover=true", NULL, NULL},
};

static void check_answer(const struct deflate_offer *offer, bool context, const char *parameters) {
    char line[DEFLATE_OFFER_ANSWER_BYTES], expected[256];
    struct compression agreed;
    deflate_offer_answer(offer, context, true, &agreed, line);
    snprintf(expected, sizeof expected, "Sec-WebSocket-Extensions: permessage-deflate%s\r\n",
             parameters);
    assert_string_equal(line, expected);
    assert_int_equal(agreed.server_context, context && strstr(line, "server_no") == NULL);
    assert_int_equal(agreed.client_context, context && strstr(line, "client_no") == NULL);
    assert_in_range(agreed.server_bits, 9, 15);
    assert_in_range(agreed.client_bits, 8, 15);
}

static void test_offers(void **state) {
    for (size_t i = 0; i < sizeof accepted / sizeof accepted[0]; i++) {
        struct deflate_offer offer;
        if (!read_offers(accepted[i].offers, &offer))
            fail_msg("taken for malformed: %s", accepted[i].offers);
        if (offer.is_acceptable != (accepted[i].answer != NULL))
            fail_msg("accepted or declined by mistake: %s", accepted[i].offers);
        if (!offer.is_acceptable)
            continue;
        check_answer(&offer, false, accepted[i].answer);
        check_answer(&offer, true, accepted[i].with_context);
    }
}

/* Where only the client's context may be kept. */
static void test_no_context_of_ours(void **state) {
    struct deflate_offer offer;
    struct compression agreed;
    char line[DEFLATE_OFFER_ANSWER_BYTES];
    assert_true(read_offers("permessage-deflate", &offer));
    deflate_offer_answer(&offer, true, false, &agreed, line);
    assert_string_equal(
        line, "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n");
    assert_false(agreed.server_context);
    assert_true(agreed.client_context);
}

/* The longest answer fits. */
static void test_longest_answer(void **state) {
    struct deflate_offer offer = {true, true, false, 15, true, 15};
    struct compression agreed;
    char line[DEFLATE_OFFER_ANSWER_BYTES];
    deflate_offer_answer(&offer, true, true, &agreed, line);
    assert_non_null(strstr(line, "\r\n"));
    deflate_offer_answer(&offer, false, true, &agreed, line);
    assert_non_null(strstr(line, "\r\n"));
}

static void test_malformed(void **state) {
    static const char *const malformed[] = {
        "permessage-deflate;",
        "permessage-deflate; ",
        ";",
        "=",
        "permessage-deflate; =1",
        "permessage-deflate; x=",
        "permessage-deflate; x=,",
        "permessage-deflate; x=\"",
        "permessage-deflate; x=\"\"",
        "permessage-deflate; x=\"a b\"",
        "permessage-deflate; x=\"a",
        "permessage-deflate; x=\"a\\",
        "permessage-deflate; x=\"a\"b",
        "permessage-deflate; x y",
        "permessage deflate",
        "permessage-deflate x",
        "permessage-deflate;; x",
        "foo, permessage-deflate; x=(1)",
        "perme\x01ssage",
        "permessage-deflate, foo; bar=\"",
        "\"permessage-deflate\"",
        "f\xc3\xbcr",
    };
    for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
        struct deflate_offer offer;
        if (strchr(malformed[i], '\x01') == NULL && read_offers(malformed[i], &offer))
            fail_msg("taken for well-formed: %s", malformed[i]);
    }
}

/* Several headers are one list (RFC 6455 section 9.1). */
static void test_several_headers(void **state) {
    struct deflate_offer offer;
    assert_true(read_request("Sec-WebSocket-Extensions: foo\r\n"
                             "sec-websocket-extensions: permessage-deflate; bad\r\n"
                             "SEC-WEBSOCKET-EXTENSIONS: permessage-deflate\r\n",
                             &offer));
    assert_true(offer.is_acceptable);
    assert_false(read_request("Sec-WebSocket-Extensions: permessage-deflate\r\n"
                              "Sec-WebSocket-Extensions: ;\r\n",
                              &offer));
    assert_true(read_request("", &offer));
    assert_false(offer.is_acceptable);
}

static void test_safari(void **state) {
#define MAC                                                                                        \
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)"
#define IPHONE(os)                                                                                 \
    "Mozilla/5.0 (iPhone; CPU iPhone OS " os " like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "  \
    "Gecko)"
    static const struct {
        const char *agent;
        bool is_served;
    } agents[] = {
        {MAC " Version/13.1 Safari/605.1.15", false},
        {MAC " Version/15.0 Safari/605.1.15", false},
        {MAC " Version/15.3 Safari/605.1.15", false},
        {MAC " Version/15.3.1 Safari/605.1.15", false},
        {MAC " Version/15.4 Safari/605.1.15", true},
        {MAC " Version/15.6.1 Safari/605.1.15", true},
        {MAC " Version/16.0 Safari/605.1.15", true},
        {MAC " Version/17.2 Safari/605.1.15", true},
        {IPHONE("15_2") " Version/15.2 Mobile/15E148 Safari/604.1", false},
        {IPHONE("15_3_1") " CriOS/97.0.4692.84 Mobile/15E148 Safari/604.1", false},
        {IPHONE("15_3") " Mobile/15E148", false},
        {IPHONE("15_4") " CriOS/100.0.4896.56 Mobile/15E148 Safari/604.1", true},
        {IPHONE("17_0") " Version/17.0 Mobile/15E148 Safari/604.1", true},
        {"Mozilla/5.0 (iPad; CPU OS 15_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
         "FxiOS/96.0 Mobile/15E148 Safari/605.1.15",
         false},
        {"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
         "Chrome/96.0.4664.110 Safari/537.36",
         true},
        {"Mozilla/5.0 (Linux; Android 9; SM) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 "
         "Chrome/83.0.4103.106 Mobile Safari/537.36",
         true},
        {"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:96.0) Gecko/20100101 Firefox/96.0", true},
        {"Python/3.11 websockets/10.4", true},
        {"AppleWebKit/ Version/", true},
        {"AppleWebKit/ Version/99999999999999999999.9", true},
        {"", true},
    };
    for (size_t i = 0; i < sizeof agents / sizeof agents[0]; i++) {
        char fields[1024];
        struct deflate_offer offer;
        snprintf(fields, sizeof fields,
                 "User-Agent: %s\r\nSec-WebSocket-Extensions: permessage-deflate\r\n",
                 agents[i].agent);
        assert_true(read_request(fields, &offer));
        if (offer.is_acceptable != agents[i].is_served)
            fail_msg("%s", agents[i].agent);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_offers),          cmocka_unit_test(test_no_context_of_ours),
        cmocka_unit_test(test_longest_answer),  cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_several_headers), cmocka_unit_test(test_safari),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
