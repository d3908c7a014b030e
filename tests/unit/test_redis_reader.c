/* test_redis_reader.c -- what Redis answers: cut anywhere, malformed, too large. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "cluster/redis/redis_reader.h"

#include <stdio.h>
#include <string.h>

enum { SMALL = 64 * 1024 };

static struct buffer said; /* all replies, as text */

static int tear_down(void **state) {
    (void)state;
    buffer_free(&said);
    return 0;
}

static void write_reply(const struct redisReply *reply) {
    switch (reply->type) {
    case REDIS_REPLY_INTEGER:
        buffer_printf(&said, "%lld ", reply->integer);
        break;
    case REDIS_REPLY_NIL:
        buffer_printf(&said, "nil ");
        break;
    case REDIS_REPLY_ARRAY:
        buffer_printf(&said, "[ ");
        for (size_t i = 0; i < reply->elements; i++)
            write_reply(reply->element[i]);
        buffer_printf(&said, "] ");
        break;
    default:
        assert_int_equal(reply->str[reply->len], '\0');
        buffer_printf(&said, "%d\"%.*s\" ", reply->type, (int)reply->len, reply->str);
    }
}

static bool on_reply(void *context, const struct redisReply *reply) {
    (void)context;
    write_reply(reply);
    return true;
}

/* Reads the text in pieces of that many bytes. Returns what redis_reader_feed() has. */
static const char *read_in_pieces(struct redis_reader *reader, struct slice text, size_t piece) {
    const char *why = NULL;
    while (text.len > 0 && why == NULL) {
        size_t len = text.len < piece ? text.len : piece;
        why = redis_reader_feed(reader, (struct slice){text.bytes, len}, on_reply, NULL);
        slice_skip(&text, len);
    }
    return why;
}

static void reads_replies_cut_anywhere(void **state) {
    static const char text[] = "+OK\r\n-ERR no\r\n:-12\r\n$0\r\n\r\n$5\r\na\r\nbc\r\n$-1\r\n*-1\r\n"
                               "*0\r\n*3\r\n$8\r\nsmessage\r\n*2\r\n:1\r\n$-1\r\n+x\r\n";
    static const char expected[] = "5\"OK\" 6\"ERR no\" -12 1\"\" 1\"a\r\nbc\" nil nil [ ] [ "
                                   "1\"smessage\" [ 1 nil ] 5\"x\" ] ";
    (void)state;
    for (size_t piece = 1; piece <= sizeof text; piece++) {
        struct redis_reader *reader = redis_reader_new(SMALL);
        assert_null(read_in_pieces(reader, slice_of(text), piece));
        assert_true(slice_is((struct slice){buffer_start(&said), said.len}, expected));
        redis_reader_free(reader);
        buffer_free(&said);
    }
}

/* At each byte at which a reply may end: nothing is reported before it is whole, nothing is lost.
 */
static void keeps_a_cut_reply(void **state) {
    static const char text[] = "*2\r\n$3\r\nabc\r\n*1\r\n:7\r\n";
    (void)state;
    for (size_t cut = 0; cut < sizeof text - 1; cut++) {
        struct redis_reader *reader = redis_reader_new(SMALL);
        assert_null(redis_reader_feed(reader, (struct slice){text, cut}, on_reply, NULL));
        assert_int_equal(said.len, 0);
        redis_reader_free(reader);
    }
}

static void refuses_what_is_no_reply(void **state) {
    static const char *const cases[] = {
        "HTTP/1.1 400 Bad Request\r\n",
        "\r\n",
        "x",
        "$x\r\n",
        "$-2\r\n",
        "*-2\r\n",
        ":x\r\n",
        ":99999999999999999999\r\n",
        "*9999999999999\r\n",
        "*2147483647\r\n",
        "*1000000\r\n",
        "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", /* too deep */
        "%1\r\n+a\r\n+b\r\n",
        "~1\r\n:1\r\n",
        "#t\r\n",
        ",1.5\r\n",
        "_\r\n",
        "(1\r\n",
        ">1\r\n+x\r\n",
        "=5\r\ntxt:a\r\n",
        "*2\r\n#t\r\n#f\r\n",
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct redis_reader *reader = redis_reader_new(SMALL);
        const char *why = redis_reader_feed(reader, slice_of(cases[i]), on_reply, NULL);
        if (why == NULL)
            fail_msg("%s was taken", cases[i]);
        /* and nothing after it */
        assert_non_null(redis_reader_feed(reader, slice_of("+OK\r\n"), on_reply, NULL));
        assert_int_equal(said.len, 0);
        redis_reader_free(reader);
    }
}

/* Bytes that begin with `head` and never end. */
static void assert_too_large(const char *head, const char *more, size_t max) {
    struct redis_reader *reader = redis_reader_new(max);
    const char *why = redis_reader_feed(reader, slice_of(head), on_reply, NULL);
    size_t fed = 0;
    for (; why == NULL && fed < 4 * max + 4 * REDIS_LINE_BYTES; fed += strlen(more))
        why = redis_reader_feed(reader, slice_of(more), on_reply, NULL);
    assert_non_null(why);
    assert_non_null(strstr(why, "too l"));
    redis_reader_free(reader);
}

static void has_ceilings(void **state) {
    char many[4097];
    (void)state;
    memset(many, '1', sizeof many - 1);
    many[sizeof many - 1] = '\0';
    assert_too_large("$100000000\r\n", many, SMALL);
    assert_too_large("+", many, 100 * SMALL);
    assert_too_large("$", many, 100 * SMALL);
    assert_too_large("*", many, 100 * SMALL);
    assert_too_large("*4000\r\n", "$8\r\nabcdefgh\r\n", SMALL);
    assert_too_large("*4000\r\n", ":1\r\n", SMALL);
    assert_too_large("*4000\r\n", "*0\r\n", SMALL);
}

/* A reply at the ceiling uses memory that the next one does not need. */
static void reads_large_replies_again_and_again(void **state) {
    struct redis_reader *reader = redis_reader_new(3 * SMALL);
    char head[32];
    (void)state;
    for (int i = 0; i < 20; i++) {
        struct buffer text = {0};
        snprintf(head, sizeof head, "$%d\r\n", SMALL);
        buffer_add(&text, head, strlen(head));
        memset(buffer_room(&text, SMALL + 2), 'x', SMALL);
        text.len += SMALL;
        buffer_add(&text, "\r\n:5\r\n", 6);
        assert_null(read_in_pieces(reader, (struct slice){buffer_start(&text), text.len}, 1000));
        assert_int_equal(said.len, SMALL + 6);
        buffer_free(&text);
        buffer_free(&said);
    }
    redis_reader_free(reader);
}

static bool stop_at_second(void *context, const struct redisReply *reply) {
    (void)reply;
    return ++*(int *)context < 2;
}

static void stops_when_asked(void **state) {
    struct redis_reader *reader = redis_reader_new(SMALL);
    int count = 0;
    (void)state;
    assert_null(redis_reader_feed(reader, slice_of(":1\r\n:2\r\n:3\r\n"), stop_at_second, &count));
    assert_int_equal(count, 2);
    redis_reader_free(reader);
}

static void looks_at_replies(void **state) {
    (void)state;
    char a[] = "a";
    struct redisReply text = {.type = REDIS_REPLY_STRING, .str = a, .len = 1};
    struct redisReply *elements[] = {&text};
    struct redisReply array = {.type = REDIS_REPLY_ARRAY, .elements = 1, .element = elements};
    assert_true(slice_is(redis_reply_text(redis_reply_at(&array, 0)), "a"));
    assert_null(redis_reply_at(&array, 1));
    assert_null(redis_reply_at(&text, 0));
    assert_null(redis_reply_at(NULL, 0));
    assert_int_equal(redis_reply_text(NULL).len, 0);
    assert_int_equal(redis_reply_text(&array).len, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(reads_replies_cut_anywhere, tear_down),
        cmocka_unit_test_teardown(keeps_a_cut_reply, tear_down),
        cmocka_unit_test_teardown(refuses_what_is_no_reply, tear_down),
        cmocka_unit_test_teardown(has_ceilings, tear_down),
        cmocka_unit_test_teardown(reads_large_replies_again_and_again, tear_down),
        cmocka_unit_test_teardown(stops_when_asked, tear_down),
        cmocka_unit_test_teardown(looks_at_replies, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
