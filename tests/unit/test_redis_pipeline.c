/* test_redis_pipeline.c -- commands that wait for their answers: bytes, order, repetition, the end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cluster/redis/redis_pipeline.h"

#include <stdio.h>
#include <string.h>

static struct redis_pipeline pipeline;
static char told[256]; /* by the functions for answers: "a b lost:c" */

static void on_reply(void *context, const struct redisReply *reply) {
    size_t len = strlen(told);
    snprintf(told + len, sizeof told - len, "%s%s ", reply == NULL ? "lost:" : "",
             (const char *)context);
}

static int set_up(void **state) {
    (void)state;
    memset(&pipeline, 0, sizeof pipeline);
    told[0] = '\0';
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    redis_pipeline_close(&pipeline);
    return 0;
}

static void add(const char *word) {
    struct slice argv[] = {slice_of("E"), slice_of(word)};
    redis_pipeline_add(&pipeline, 2, argv, on_reply, (void *)(uintptr_t)word);
}

static void write_all(const char *expected) {
    char bytes[512] = "";
    for (const char *word = expected; *word != '\0'; word++)
        sprintf(bytes + strlen(bytes), "*2\r\n$1\r\nE\r\n$1\r\n%c\r\n", *word);
    struct slice unsent = redis_pipeline_unsent(&pipeline);
    assert_int_equal(unsent.len, strlen(bytes));
    if (unsent.len > 0)
        assert_memory_equal(unsent.bytes, bytes, unsent.len);
    redis_pipeline_wrote(&pipeline, unsent.len);
}

static void assert_first(const char *word) {
    assert_string_equal(redis_pipeline_first(&pipeline).context, word);
}

static void answer(const char *word) {
    assert_first(word);
    redis_pipeline_answered(&pipeline);
}

static void repeat(const char *word) {
    assert_first(word);
    assert_true(redis_pipeline_repeat(&pipeline));
}

static void prepare(void *owner) {
    assert_null(owner);
    add("l");
}

static void writes_in_pieces(void **state) {
    (void)state;
    struct slice argv[] = {{NULL, 0}, {"\r\n\0", 3}};
    redis_pipeline_add(&pipeline, 2, argv, on_reply, told);
    static const char bytes[] = "*2\r\n$0\r\n\r\n$3\r\n\r\n\0\r\n";
    for (size_t at = 0; at < sizeof bytes - 1; at++) {
        struct slice unsent = redis_pipeline_unsent(&pipeline);
        assert_int_equal(unsent.len, sizeof bytes - 1 - at);
        assert_int_equal(unsent.bytes[0], bytes[at]);
        assert_null(redis_pipeline_first(&pipeline).on_reply); /* an answer now is none */
        redis_pipeline_wrote(&pipeline, 1);
    }
    assert_non_null(redis_pipeline_first(&pipeline).on_reply);
    redis_pipeline_answered(&pipeline);
}

static void keeps_the_order(void **state) {
    (void)state;
    assert_null(redis_pipeline_first(&pipeline).on_reply);
    assert_false(redis_pipeline_waits(&pipeline));
    add("a");
    add("b");
    write_all("ab");
    answer("a");
    add("c");
    write_all("c");
    answer("b");
    answer("c");
    assert_false(redis_pipeline_waits(&pipeline));
    assert_int_equal(pipeline.bytes.len, 0);
    assert_null(pipeline.bytes.bytes);
}

static void repeats_before_what_is_later(void **state) {
    (void)state;
    add("a");
    add("b");
    add("c");
    write_all("abc");
    repeat("a");
    assert_false(redis_pipeline_may_repeat(&pipeline));
    add("d"); /* after the first failure: behind the repeated ones */
    write_all("");
    answer("b");
    repeat("c");
    assert_true(redis_pipeline_may_repeat(&pipeline));
    redis_pipeline_send_again(&pipeline, prepare, NULL);
    write_all("lacd");
    answer("l");
    answer("a");
    repeat("c");
    add("e");
    repeat("d");
    redis_pipeline_send_again(&pipeline, prepare, NULL);
    write_all("lcde");
    answer("l");
    assert_first("c");
    assert_false(redis_pipeline_repeat(&pipeline)); /* a third time */
    answer("c");
    answer("d");
    answer("e");
    assert_false(redis_pipeline_waits(&pipeline));
}

/* What was queued and not written when the first failure came is written as well: it is older. */
static void holds_only_what_is_later(void **state) {
    (void)state;
    add("a");
    write_all("a");
    add("b");
    repeat("a");
    add("c");
    write_all("b");
    answer("b");
    assert_true(redis_pipeline_may_repeat(&pipeline));
    redis_pipeline_send_again(&pipeline, prepare, NULL);
    write_all("lac");
}

static void loses_all_at_the_end(void **state) {
    (void)state;
    add("a");
    add("b");
    write_all("ab");
    repeat("a");
    add("c");
    redis_pipeline_close(&pipeline);
    assert_string_equal(told, "lost:a lost:b lost:c ");
}

static void forgets_what_was_written(void **state) {
    (void)state;
    pipeline.forgets = true;
    add("a");
    redis_pipeline_add(&pipeline, 1, (struct slice[]){slice_of("X")}, NULL, NULL);
    redis_pipeline_wrote(&pipeline, redis_pipeline_unsent(&pipeline).len);
    assert_int_equal(pipeline.bytes.len, 0);
    answer("a");
    assert_false(redis_pipeline_waits(&pipeline));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(writes_in_pieces, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keeps_the_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(repeats_before_what_is_later, set_up, tear_down),
        cmocka_unit_test_setup_teardown(holds_only_what_is_later, set_up, tear_down),
        cmocka_unit_test_setup_teardown(loses_all_at_the_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(forgets_what_was_written, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
