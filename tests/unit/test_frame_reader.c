/* test_frame_reader.c -- frames are read as they were sent, in pieces of every size; frames that
 * RFC 6455 forbids are errors.
 *
 * Random streams and garbage are in test_frame_random.c. */
#include "core/frames/frame_reader.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- reading ---- */

static const char *const kind_names[] = {[FRAME_TEXT] = "text",
                                         [FRAME_BINARY] = "binary",
                                         [FRAME_PING] = "ping",
                                         [FRAME_PONG] = "pong",
                                         [FRAME_CLOSE] = "close"};

/* The items that were read: "text(hi) ping[125] error(1002)". */
struct result {
    char text[4096];
    size_t len;
    bool failed;
};

static void note(struct result *result, enum frame_kind kind, const struct frame *frame) {
    char *end = result->text + result->len;
    size_t room = sizeof(result->text) - result->len;
    int n;
    const char *blank = result->len > 0 ? " " : "";
    if (kind == FRAME_ERROR) {
        assert_in_range(strlen(frame->why), 1, 123);
        result->failed = true;
        n = snprintf(end, room, "%serror(%u)", blank, frame->code);
    } else if (frame->len > 40) {
        n = snprintf(end, room, "%s%s[%zu]", blank, kind_names[kind], frame->len);
    } else {
        n = snprintf(end, room, "%s%s(%.*s)", blank, kind_names[kind], (int)frame->len,
                     frame->payload);
    }
    assert_in_range(n, 1, room - 1);
    result->len += (size_t)n;
}

static uint32_t max_fragments = 1 << 20;

/* Passes bytes to the reader, in memory of exactly their size. */
static void feed(struct frame_reader *reader, const char *bytes, size_t len, size_t max,
                 struct result *result) {
    char *piece = malloc(len), *at = piece;
    memcpy(piece, bytes, len);
    size_t left = len;
    struct frame frame;
    const struct frame_limits limits = {max, max_fragments};
    for (enum frame_kind kind; !result->failed;) {
        kind = frame_reader_next(reader, &at, &left, &limits, &frame);
        assert_ptr_equal(at + left, piece + len);
        if (kind == FRAME_MORE)
            break;
        note(result, kind, &frame);
    }
    assert_true(left == 0 || result->failed);
    free(piece);
}

enum { MAX = 1000 };

/* Reads `bytes` whole, in two pieces cut at each place, and byte by byte: always the same. */
static void check(const char *bytes, size_t len, const char *want) {
    for (size_t cut = 0; cut <= len; cut++) {
        struct frame_reader reader = {0};
        struct result result = {.len = 0};
        if (cut > 0)
            feed(&reader, bytes, cut, MAX, &result);
        if (!result.failed && cut < len)
            feed(&reader, bytes + cut, len - cut, MAX, &result);
        result.text[result.len] = '\0';
        assert_string_equal(result.text, want);
        frame_reader_reset(&reader);
    }
    struct frame_reader reader = {0};
    struct result result = {.len = 0};
    for (size_t i = 0; i < len && !result.failed; i++)
        feed(&reader, bytes + i, 1, MAX, &result);
    result.text[result.len] = '\0';
    assert_string_equal(result.text, want);
    frame_reader_reset(&reader);
}

/* ---- the rules of RFC 6455 sections 5.1 to 5.5 ---- */

/* With this mask a payload stays readable. */
#define M "\0\0\0\0"

struct rule {
    const char *bytes;
    size_t len;
    const char *want;
};

/* Versions of clang-format lay this out differently. */
/* clang-format off */
#define RULE(bytes, want) {bytes, sizeof(bytes) - 1, want}
/* clang-format on */

static const struct rule rules[] = {
    /* allowed */
    RULE("", ""),
    RULE("\x81\x80" M, "text()"),
    RULE("\x81\x82" M "hi", "text(hi)"),
    RULE("\x82\x82" M "hi", "binary(hi)"),
    RULE("\x81\x81" M "a\x81\x81" M "b", "text(a) text(b)"),
    RULE("\x89\x80" M, "ping()"),
    RULE("\x89\x82" M "hi", "ping(hi)"),
    RULE("\x8a\x82" M "hi", "pong(hi)"),
    RULE("\x88\x80" M, "close()"),
    RULE("\x88\x84" M "\x30\x39no", "close(09no)"),
    RULE("\x01\x81" M "a\x80\x81" M "b", "text(ab)"),
    RULE("\x02\x81" M "a\x00\x81" M "b\x80\x81" M "c", "binary(abc)"),
    RULE("\x01\x80" M "\x00\x80" M "\x80\x80" M, "text()"),
    RULE("\x01\x80" M "\x80\x81" M "x", "text(x)"),
    RULE("\x01\x81" M "x\x80\x80" M, "text(x)"),
    RULE("\x02\x81" M "a\x89\x81" M "p\x00\x81" M "b\x8a\x80" M "\x80\x80" M,
         "ping(p) pong() binary(ab)"),
    RULE("\x01\x81" M "a\x88\x80" M, "close()"),
    RULE("\x01\x81" M "a\x80\x80" M "\x01\x81" M "b\x80\x80" M, "text(a) text(b)"),
    /* section 5.3: the example of section 5.7 */
    RULE("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", "text(Hello)"),
    /* the rest is not whole */
    RULE("\x81", ""),
    RULE("\x81\x82", ""),
    RULE("\x81\x82" M "h", ""),
    RULE("\x81\xfe\x01", ""),
    RULE("\x01\x82" M "hi", ""),
    RULE("\x89\x82" M "h", ""),
    /* reserved bits */
    RULE("\xc1\x80" M, "error(1002)"),
    RULE("\xa1\x80" M, "error(1002)"),
    RULE("\x91\x80" M, "error(1002)"),
    RULE("\xc9\x80" M, "error(1002)"),
    RULE("\x01\x80" M "\xc0\x80" M, "error(1002)"),
    RULE("\x81\x81" M "a\xf1\x80" M, "text(a) error(1002)"),
    /* no mask */
    RULE("\x81\x02hi", "error(1002)"),
    RULE("\x81\x00", "error(1002)"),
    RULE("\x81\x7e\x00\x7e", "error(1002)"),
    RULE("\x89\x00", "error(1002)"),
    RULE("\x88\x00", "error(1002)"),
    /* opcodes without a meaning */
    RULE("\x83\x80" M, "error(1002)"),
    RULE("\x84\x80" M, "error(1002)"),
    RULE("\x85\x80" M, "error(1002)"),
    RULE("\x86\x80" M, "error(1002)"),
    RULE("\x87\x80" M, "error(1002)"),
    RULE("\x8b\x80" M, "error(1002)"),
    RULE("\x8c\x80" M, "error(1002)"),
    RULE("\x8d\x80" M, "error(1002)"),
    RULE("\x8e\x80" M, "error(1002)"),
    RULE("\x8f\x80" M, "error(1002)"),
    /* control frames: never in fragments, 125 bytes at most, refused by their header */
    RULE("\x08\x80" M, "error(1002)"),
    RULE("\x09\x80" M, "error(1002)"),
    RULE("\x0a\x80" M, "error(1002)"),
    RULE("\x89\xfe\x00\x7e" M, "error(1002)"),
    RULE("\x88\xfe\x00\x7e" M, "error(1002)"),
    RULE("\x8a\xff\0\0\0\0\0\1\0\0" M, "error(1002)"),
    /* fragments out of order */
    RULE("\x80\x80" M, "error(1002)"),
    RULE("\x00\x81" M "a", "error(1002)"),
    RULE("\x81\x81" M "a\x80\x81" M "b", "text(a) error(1002)"),
    RULE("\x89\x80" M "\x80\x80" M, "ping() error(1002)"),
    RULE("\x01\x81" M "a\x81\x81" M "b", "error(1002)"),
    RULE("\x01\x81" M "a\x02\x81" M "b", "error(1002)"),
    RULE("\x01\x80" M "\x82\x80" M, "error(1002)"),
    RULE("\x01\x81" M "a\x80\x81" M "b\x80\x81" M "c", "text(ab) error(1002)"),
    /* lengths: the shortest form, 63 bits */
    RULE("\x81\xfe\x00\x7d" M, "error(1002)"),
    RULE("\x81\xfe\x00\x00" M, "error(1002)"),
    RULE("\x81\xff\0\0\0\0\0\0\xff\xff" M, "error(1002)"),
    RULE("\x81\xff\0\0\0\0\0\0\0\x7d" M, "error(1002)"),
    RULE("\x81\xff\x80\0\0\0\0\0\0\0" M, "error(1002)"),
    RULE("\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff" M, "error(1002)"),
    /* more than 1,000 bytes: refused by the header */
    RULE("\x82\xfe\x03\xe9" M, "error(1009)"),
    RULE("\x81\xff\0\0\0\0\0\1\0\0" M, "error(1009)"),
    RULE("\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff" M, "error(1009)"),
    RULE("\x01\xff\x7f\xff\xff\xff\xff\xff\xff\xff" M, "error(1009)"),
    RULE("\x01\x81" M "a\x80\xff\x7f\xff\xff\xff\xff\xff\xff\xff" M, "error(1009)"),
    RULE("\x02\x81" M "a\x80\xfe\x03\xe8" M, "error(1009)"),
};

static void test_rules(void **state) {
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
        check(rules[i].bytes, rules[i].len, rules[i].want);
}

/* A frame of zeros: first byte, payload length. Returns its length. */
static size_t zero_frame(char *out, unsigned first, size_t len) {
    size_t header = len < 126 ? 2 : len < 65536 ? 4 : 10;
    out[0] = (char)first;
    out[1] = (char)(0x80 | (len < 126 ? len : len < 65536 ? 126 : 127));
    for (size_t i = 2; i < header; i++)
        out[i] = (char)((uint64_t)len >> 8 * (header - 1 - i));
    memset(out + header, 0, 4 + len);
    return header + 4 + len;
}

static void test_sizes_at_their_limits(void **state) {
    char bytes[3000];
    size_t len = zero_frame(bytes, 0x89, 125);
    check(bytes, len, "ping[125]");
    len = zero_frame(bytes, 0x81, 125);
    check(bytes, len, "text[125]");
    len = zero_frame(bytes, 0x81, 126);
    check(bytes, len, "text[126]");
    len = zero_frame(bytes, 0x82, MAX);
    check(bytes, len, "binary[1000]");
    for (size_t max = 124; max < MAX; max += MAX - 125) { /* refused also when all of it is there */
        struct frame_reader reader = {0};
        struct result result = {.len = 0};
        feed(&reader, bytes, zero_frame(bytes, 0x82, max + 1), max, &result);
        assert_string_equal(result.text, "error(1009)");
    }
    len = zero_frame(bytes, 0x02,
                     600); /* fragments add up; control frames between them do not count */
    len += zero_frame(bytes + len, 0x89, 125);
    len += zero_frame(bytes + len, 0x80, 400);
    len += zero_frame(bytes + len, 0x81, 50);
    check(bytes, len, "ping[125] binary[1000] text[50]");
    len = zero_frame(bytes, 0x02, 600);
    zero_frame(bytes + len, 0x80, 401);
    check(bytes, len + 8, "error(1009)"); /* the header is enough */
}

/* A lower limit is for the next message, also when control frames come between fragments. */
static void test_a_ceiling_that_changes(void **state) {
    struct frame_reader reader = {0};
    struct result result = {.len = 0};
    feed(&reader, "\x01\x83\0\0\0\0abc\x89\x80\0\0\0\0", 15, MAX, &result);
    feed(&reader, "\x00\x83\0\0\0\0def\x80\x83\0\0\0\0ghi", 18, 2, &result);
    feed(&reader, "\x81\x82\0\0\0\0ab\x01\x82\0\0\0\0ab\x80\x81\0\0\0\0c", 23, 2, &result);
    result.text[result.len] = '\0';
    assert_string_equal(result.text, "ping() text(abcdefghi) text(ab) error(1009)");
    frame_reader_reset(&reader);
}

static void test_large_frames(void **state) {
    static const size_t sizes[] = {65535, 65536, 65537, 1000000};
    char *bytes = malloc(1000100);
    for (size_t i = 0; i < 4; i++) {
        size_t len = zero_frame(bytes, 0x82, sizes[i]);
        for (size_t piece = 1 << 13; piece <= 1 << 21; piece <<= 1) {
            struct frame_reader reader = {0};
            struct result result = {.len = 0};
            for (size_t at = 0; at < len; at += piece)
                feed(&reader, bytes + at, len - at < piece ? len - at : piece, sizes[i], &result);
            char want[40];
            snprintf(want, sizeof(want), "binary[%zu]", sizes[i]);
            assert_string_equal(result.text, want);
            frame_reader_reset(&reader);
        }
    }
    free(bytes);
}

/* ---- memory ---- */

/* The length in a header takes no memory; bytes that have arrived do. */
static void test_memory_grows_with_what_arrives(void **state) {
    struct frame_reader reader = {0};
    struct result result = {.len = 0};
    feed(&reader, "\x82\xff\0\0\0\0\x10\0\0\0" M "0123456789", 24, SIZE_MAX, &result);
    assert_false(result.failed);
    assert_in_range(reader.kept_capacity, 10, 100);
    frame_reader_reset(&reader);
    feed(&reader, "\x02\xff\0\0\0\0\x10\0\0\0" M "0123456789", 24, SIZE_MAX, &result);
    assert_in_range(reader.kept_capacity, 10, 100);
    frame_reader_reset(&reader);
    feed(&reader, "\x82\xff\x3f\xff\xff\xff\xff\xff\xff\xff" M, 14, SIZE_MAX, &result);
    assert_true(result.failed); /* no memory could hold it */
    frame_reader_reset(&reader);
}

static void test_memory_is_given_back(void **state) {
    struct frame_reader reader = {0};
    struct result result = {.len = 0};
    feed(&reader, "\x01\x82" M "ab\x89\x82" M "p", 15, MAX, &result);
    assert_true(reader.kept != NULL && reader.control != NULL);
    feed(&reader, "q\x80\x82" M "cd", 9, MAX, &result); /* the message is read, then forgotten */
    assert_string_equal(result.text, "ping(pq) text(abcd)");
    assert_null(reader.kept);
    assert_null(reader.control);
    feed(&reader, "\x01\x82" M "ab\x89\x82" M "p", 15, MAX, &result);
    frame_reader_reset(&reader);
    const struct frame_reader new = {0};
    assert_memory_equal(&reader, &new, sizeof(new)); /* as for a new connection */
    feed(&reader, "\x81\x81" M "x", 7, MAX, &result);
    assert_string_equal(result.text, "ping(pq) text(abcd) text(x)");
    frame_reader_reset(&reader);
    frame_reader_reset(&reader);
}

/* The payload of a message in pieces is valid until the next call, as of other messages. */
static void test_payloads_are_valid_until_the_next_call(void **state) {
    struct frame_reader reader = {0};
    const struct frame_limits limits = {MAX, 10};
    struct frame frame;
    char first[] = "\x81\x84" M "ab", second[] = "cd\x89\x81" M "p";
    char *at = first;
    size_t len = 8;
    assert_int_equal(frame_reader_next(&reader, &at, &len, &limits, &frame), FRAME_MORE);
    memset(first, 'x', sizeof(first));
    at = second;
    len = 9;
    assert_int_equal(frame_reader_next(&reader, &at, &len, &limits, &frame), FRAME_TEXT);
    assert_int_equal(frame.len, 4);
    assert_memory_equal(frame.payload, "abcd", 4);
    memcpy(frame.payload, "ABCD", 4); /* the caller may write there */
    assert_int_equal(frame_reader_next(&reader, &at, &len, &limits, &frame), FRAME_PING);
    assert_memory_equal(frame.payload, "p", 1);
    assert_int_equal(frame_reader_next(&reader, &at, &len, &limits, &frame), FRAME_MORE);
    assert_int_equal(len, 0);
    frame_reader_reset(&reader);
}

/* ---- fragments without end ---- */

/* Passes up to `count` fragments of `size` bytes; returns how many the reader accepted. */
static size_t feed_fragments(struct frame_reader *reader, size_t size, size_t count,
                             struct result *result) {
    char frame[256];
    for (size_t i = 0; i < count; i++) {
        size_t len = zero_frame(frame, i == 0 ? 0x01 : 0x00, size);
        feed(reader, frame, len, SIZE_MAX, result);
        if (result->failed)
            return i;
    }
    return count;
}

static void test_endless_fragments(void **state) {
    struct frame_reader reader = {0};
    struct result result = {.len = 0};
    assert_int_equal(feed_fragments(&reader, 0, 100000, &result), FRAME_EMPTY_MAX);
    assert_string_equal(result.text, "error(1008)");
    frame_reader_reset(&reader);
}

/* Fragments of a few bytes, as from a client that sends single keystrokes: max_fragments of them,
 * and no more memory than the limit of the message. */
static void test_small_fragments(void **state) {
    enum { COUNT = 20000 };
    for (size_t size = 1; size <= 4; size++) {
        struct frame_reader reader = {0};
        struct result result = {.len = 0};
        assert_int_equal(feed_fragments(&reader, size, COUNT, &result), COUNT);
        assert_in_range(frame_reader_held(&reader), COUNT * size, 2 * COUNT * size);
        feed(&reader, "\x80\x80" M, 6, SIZE_MAX, &result);
        assert_string_equal(strchr(result.text, '['), size == 1   ? "[20000]"
                                                      : size == 2 ? "[40000]"
                                                      : size == 3 ? "[60000]"
                                                                  : "[80000]");
        max_fragments = 100;
        assert_int_equal(feed_fragments(&reader, size, 1000, &result), 100);
        assert_non_null(strstr(result.text, "error(1008)"));
        max_fragments = 1 << 20;
        frame_reader_reset(&reader);
    }
}

/* Memory doubles up to the limit of the message, and never passes it. */
static void test_memory_has_the_limit_of_the_message(void **state) {
    struct frame_reader reader = {0};
    struct result result = {.len = 0};
    char frame[16];
    for (int i = 0; i < MAX; i++) {
        feed(&reader, frame, zero_frame(frame, i == 0 ? 0x01 : 0x00, 1), MAX, &result);
        assert_in_range(frame_reader_held(&reader), i + 1, MAX);
    }
    assert_true(frame_reader_unfinished(&reader) != 0);
    uint32_t number = frame_reader_unfinished(&reader);
    feed(&reader, "\x80\x80" M, 6, MAX, &result);
    assert_int_equal(frame_reader_unfinished(&reader), 0);
    assert_in_range(frame_reader_held(&reader), 0, 0);
    feed(&reader, "\x81", 1, MAX, &result);
    assert_true(frame_reader_unfinished(&reader) != 0 &&
                frame_reader_unfinished(&reader) != number);
    frame_reader_reset(&reader);
}

/* Many fragments with payload are a valid message; each message has its own count. */
static void test_many_fragments(void **state) {
    struct frame_reader reader = {0};
    struct result result = {.len = 0};
    assert_int_equal(feed_fragments(&reader, 100, 20000, &result), 20000);
    feed(&reader, "\x80\x80" M, 6, SIZE_MAX, &result);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(feed_fragments(&reader, 0, 500, &result), 500);
        feed(&reader, "\x80\x80" M, 6, SIZE_MAX, &result);
    }
    assert_string_equal(result.text, "text[2000000] text() text() text() text() text()");
    frame_reader_reset(&reader);
}

/* ---- Close frames ---- */

static bool close_valid(unsigned code, const char *reason) {
    char payload[130];
    payload[0] = (char)(code >> 8);
    payload[1] = (char)code;
    size_t len = strlen(reason), reason_len;
    memcpy(payload + 2, reason, len);
    unsigned found;
    const char *place;
    if (!frame_reader_close_valid(payload, len + 2, &found, &place, &reason_len))
        return false;
    assert_int_equal(found, code);
    assert_int_equal(reason_len, len);
    assert_memory_equal(place, reason, len);
    return true;
}

static void test_close_payloads(void **state) {
    unsigned code;
    const char *reason;
    size_t len;
    assert_true(frame_reader_close_valid(NULL, 0, &code, &reason, &len));
    assert_int_equal(code, 1005);
    assert_int_equal(len, 0);
    assert_false(frame_reader_close_valid("\x03\xe8", 1, &code, &reason, &len));
    static const unsigned good[] = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010,
                                    1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999};
    for (unsigned i = 0, sent = 0; sent <= 65535;
         sent++) { /* RFC 6455 section 7.4 and IANA's list */
        bool known = sent == good[i] || (sent >= 3000 && sent <= 4999);
        assert_int_equal(close_valid(sent, ""), known);
        if (sent == good[i] && i + 1 < sizeof(good) / sizeof(good[0]))
            i++;
    }
    assert_true(close_valid(1000, "bye"));
    assert_true(close_valid(1000, "gr\xc3\xbc\xc3\x9f"));
    assert_false(close_valid(1000, "\xc3"));
    assert_false(close_valid(1000, "a\xff"));
    assert_false(close_valid(1000, "\xed\xa0\x80"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_sizes_at_their_limits),
        cmocka_unit_test(test_a_ceiling_that_changes),
        cmocka_unit_test(test_large_frames),
        cmocka_unit_test(test_memory_grows_with_what_arrives),
        cmocka_unit_test(test_memory_is_given_back),
        cmocka_unit_test(test_payloads_are_valid_until_the_next_call),
        cmocka_unit_test(test_endless_fragments),
        cmocka_unit_test(test_small_fragments),
        cmocka_unit_test(test_memory_has_the_limit_of_the_message),
        cmocka_unit_test(test_many_fragments),
        cmocka_unit_test(test_close_payloads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
