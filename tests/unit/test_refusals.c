/* test_refusals.c -- counts of refusals, and the endpoint of a path. */
#include "core/bus/refusals.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct seen {
    char text[4096];
    unsigned entries;
};

static void note(void *user, const struct refusal *r) {
    struct seen *seen = user;
    size_t len = strlen(seen->text);
    seen->entries++;
    snprintf(seen->text + len, sizeof seen->text - len, "%d %u %s %s %llu\n", (int)r->kind, r->code,
             r->reason, r->endpoint, (unsigned long long)r->count);
}

static struct seen look(struct refusals *refusals) {
    struct seen seen = {.entries = 0};
    refusals_each(refusals, note, &seen);
    return seen;
}

static void test_counts_each_combination(void **state) {
    struct refusals *refusals = refusals_new();
    for (int i = 0; i < 3; i++)
        refusals_count(refusals, REFUSAL_CLOSE, 1008, "slow client", "/chat");
    refusals_count(refusals, REFUSAL_CLOSE, 1008, "slow client", "/game");
    refusals_count(refusals, REFUSAL_CLOSE, 1002, "Text is not valid UTF-8.", "/chat");
    refusals_count(refusals, REFUSAL_REQUEST, 1008, "slow client", NULL);
    refusals_count(NULL, REFUSAL_REQUEST, 400, "nobody counts", NULL);
    assert_string_equal(look(refusals).text, "1 1008 slow_client /chat 3\n"
                                             "1 1008 slow_client /game 1\n"
                                             "1 1002 text_is_not_valid_utf_8 /chat 1\n"
                                             "0 1008 slow_client  1\n");
    refusals_free(refusals);
    refusals_free(NULL);
}

static void test_the_number_of_entries_has_a_limit(void **state) {
    struct refusals *refusals = refusals_new();
    char path[2000];
    memset(path, 'x', sizeof path);
    path[sizeof path - 1] = '\0';
    for (unsigned i = 0; i < REFUSALS_MAX * 2; i++) {
        snprintf(path, 32, "/%u", i);
        path[31] = i % 2 == 0 ? 'x' : '\0';
        refusals_count(refusals, REFUSAL_REQUEST, 403, "validate", path);
        refusals_count(refusals, REFUSAL_CLOSE, 1008, "rate limit", path);
    }
    assert_in_range(look(refusals).entries, REFUSALS_MAX, REFUSALS_MAX + 3);
    refusals_free(refusals);
}

static void check_path(struct refusals *refusals, const char *path, const char *expected) {
    char line[128];
    static unsigned status;
    refusals_count_path(refusals, ++status, "x", slice_of(path));
    snprintf(line, sizeof line, "0 %u x %s 1\n", status, expected);
    assert_non_null(strstr(look(refusals).text, line));
}

static void test_finds_the_endpoint_of_a_path(void **state) {
    struct refusals *refusals = refusals_new();
    check_path(refusals, "/chat", "");
    for (int workers = 0; workers < 2; workers++) {
        refusals_add_endpoint(refusals, "/files/*");
        refusals_add_endpoint(refusals, "/game/:room");
        refusals_add_endpoint(refusals, "/chat");
        refusals_add_endpoint(refusals, "/game/lobby");
        refusals_add_endpoint(refusals, "/");
        refusals_add_endpoint(refusals, "/:x/deep/*");
        refusals_add_endpoint(refusals, NULL);
    }
    check_path(refusals, "/chat", "/chat");
    check_path(refusals, "/chat/", "");
    check_path(refusals, "/cha", "");
    check_path(refusals, "/chatter", "");
    check_path(refusals, "/", "/");
    check_path(refusals, "", "");
    check_path(refusals, "x", "");
    check_path(refusals, "/game/7", "/game/:room");
    check_path(refusals, "/game/lobby", "/game/lobby");
    check_path(refusals, "/game/", "");
    check_path(refusals, "/game", "");
    check_path(refusals, "/game/7/x", "");
    check_path(refusals, "/files/a/b", "/files/*");
    check_path(refusals, "/files/", "/files/*");
    check_path(refusals, "/files", "");
    check_path(refusals, "/a/deep/b", "/:x/deep/*");
    refusals_add_endpoint(refusals, "/*");
    check_path(refusals, "/any", "/*");
    check_path(refusals, "/game/7", "/game/:room");
    refusals_free(refusals);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts_each_combination),
        cmocka_unit_test(test_the_number_of_entries_has_a_limit),
        cmocka_unit_test(test_finds_the_endpoint_of_a_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
