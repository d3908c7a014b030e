/* test_frame_payload.c -- payloads are unmasked right, and reported as ASCII or not, at every
 * length, place in memory, cut and fragment. The reader takes payload in steps of several sizes:
 * each byte of each step must count. Rules are in test_frame_reader.c. */
#include "core/frames/frame_reader.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LENGTHS = 200, PLACES = 32, MAX = 1000 };

static const unsigned char mask[4] = {0x8d, 0x00, 0xff, 0x71};

/* Writes a masked frame. Returns its length. */
static size_t frame_of(char *out, unsigned first, const char *payload, size_t len) {
    size_t header = len < 126 ? 2 : 4;
    out[0] = (char)first;
    out[1] = (char)(0x80 | (len < 126 ? len : 126));
    if (len >= 126) {
        out[2] = (char)(len >> 8);
        out[3] = (char)len;
    }
    memcpy(out + header, mask, 4);
    for (size_t i = 0; i < len; i++)
        out[header + 4 + i] = (char)((unsigned char)payload[i] ^ mask[i % 4]);
    return header + 4 + len;
}

/* ASCII with all bits below 0x80. */
static void fill(char *payload, size_t len) {
    for (size_t i = 0; i < len; i++)
        payload[i] = (char)((i * 37 + 1) & 0x7f);
}

/* Passes bytes in memory of exactly their size, `place` bytes behind an address that malloc()
 * aligns. Returns the last kind before FRAME_MORE; FRAME_MORE: there was none. */
static enum frame_kind feed(struct frame_reader *reader, const char *bytes, size_t len,
                            size_t place, const char *want, size_t want_len, bool want_ascii) {
    const struct frame_limits limits = {MAX, MAX};
    char *memory = malloc(place + len), *at = memory + place;
    memcpy(at, bytes, len);
    enum frame_kind last = FRAME_MORE;
    struct frame frame;
    for (enum frame_kind kind;
         (kind = frame_reader_next(reader, &at, &len, &limits, &frame)) != FRAME_MORE;) {
        assert_int_not_equal(kind, FRAME_ERROR);
        last = kind;
        if (kind > FRAME_BINARY)
            continue;
        assert_int_equal(frame.len, want_len);
        assert_memory_equal(frame.payload, want, want_len);
        assert_int_equal(frame.is_ascii, want_ascii);
    }
    assert_int_equal(len, 0);
    free(memory);
    return last;
}

static void test_every_length_and_place(void **state) {
    char payload[LENGTHS], bytes[LENGTHS + 8];
    for (size_t len = 0; len <= LENGTHS; len++) {
        fill(payload, len);
        size_t size = frame_of(bytes, 0x81, payload, len);
        for (size_t place = 0; place < PLACES; place++) {
            struct frame_reader reader = {0};
            assert_int_equal(feed(&reader, bytes, size, place, payload, len, true), FRAME_TEXT);
        }
    }
}

/* One byte that is not ASCII, of the smallest and of the largest value, at each place of each
 * length. The next message is ASCII again. */
static void test_one_byte_that_is_not_ascii(void **state) {
    static const char others[] = {'\x80', '\xff'};
    char payload[LENGTHS], bytes[LENGTHS + 8];
    for (size_t len = 1; len <= LENGTHS; len++) {
        struct frame_reader reader = {0};
        for (size_t at = 0; at < len; at++) {
            fill(payload, len);
            size_t size = frame_of(bytes, 0x81, payload, len);
            feed(&reader, bytes, size, at % PLACES, payload, len, true);
            payload[at] = others[at % 2];
            size = frame_of(bytes, 0x81, payload, len);
            feed(&reader, bytes, size, at % PLACES, payload, len, false);
        }
    }
}

/* A frame in two reads, cut at each byte: the mask goes on where it was. */
static void test_every_cut(void **state) {
    char payload[LENGTHS], bytes[LENGTHS + 8];
    for (size_t len = 1; len <= LENGTHS; len++) {
        for (size_t cut = 1; cut < len + 6; cut++) {
            struct frame_reader reader = {0};
            for (int other = 0; other < 3; other++) { /* none; in the first read; in the second */
                fill(payload, len);
                if (other > 0)
                    payload[other == 1 ? 0 : len - 1] = '\xc3';
                size_t size = frame_of(bytes, 0x81, payload, len);
                assert_int_equal(feed(&reader, bytes, cut, cut % 3, NULL, 0, false), FRAME_MORE);
                assert_int_equal(
                    feed(&reader, bytes + cut, size - cut, cut % 5, payload, len, other == 0),
                    FRAME_TEXT);
            }
            frame_reader_reset(&reader);
        }
    }
}

/* Two fragments with a ping between them that is not ASCII itself, in one read and byte by byte. */
static void test_fragments(void **state) {
    char payload[LENGTHS], bytes[2 * LENGTHS];
    for (size_t len = 0; len <= 70; len++) {
        for (size_t first = 0; first <= len; first++) {
            struct frame_reader reader = {0};
            for (size_t other = 0; other <= len; other += 7) { /* at `len`: none */
                fill(payload, len);
                if (other < len)
                    payload[other] = '\xf4';
                size_t size = frame_of(bytes, 0x01, payload, first);
                size += frame_of(bytes + size, 0x89, "\xff\xfe", 2);
                size += frame_of(bytes + size, 0x80, payload + first, len - first);
                feed(&reader, bytes, size, other % 4, payload, len, other >= len);
                for (size_t i = 0; i < size; i++)
                    feed(&reader, bytes + i, 1, 0, payload, len, other >= len);
            }
            assert_int_equal(reader.messages, 2 * (len / 7 + 1));
            frame_reader_reset(&reader);
        }
    }
}

/* At 125 bytes the header has its short form for the last time; whole messages and cut ones follow
 * each other. */
static void test_around_the_short_header(void **state) {
    char payload[LENGTHS], bytes[4 * LENGTHS];
    for (size_t len = 120; len <= 130; len++) {
        fill(payload, len);
        size_t size = 0;
        for (int i = 0; i < 3; i++)
            size += frame_of(bytes + size, 0x82, payload, len);
        for (size_t cut = 1; cut < size; cut++) {
            struct frame_reader reader = {0};
            feed(&reader, bytes, cut, 0, payload, len, true);
            assert_int_equal(feed(&reader, bytes + cut, size - cut, 1, payload, len, true),
                             FRAME_BINARY);
            assert_int_equal(reader.messages, 3);
            frame_reader_reset(&reader);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_length_and_place),
        cmocka_unit_test(test_one_byte_that_is_not_ascii),
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_fragments),
        cmocka_unit_test(test_around_the_short_header),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
