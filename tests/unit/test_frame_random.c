/* test_frame_random.c -- random streams of frames in random pieces against a model, and garbage,
 * which is an error at most. The same numbers in each run. The rules are in test_frame_reader.c. */
#include "core/frames/frame_reader.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint32_t random_state = 6455;

static uint32_t random_next(void) {
    random_state = random_state * 1664525u + 1013904223u;
    return random_state >> 8;
}

static uint32_t random_below(uint32_t limit) {
    return random_next() % limit;
}

/* ---- random streams ---- */

struct bytes {
    char *at;
    size_t len, capacity;
};

static void append(struct bytes *bytes, const void *more, size_t len) {
    if (bytes->len + len > bytes->capacity) {
        bytes->capacity = (bytes->len + len) * 2;
        bytes->at = realloc(bytes->at, bytes->capacity);
    }
    if (len > 0)
        memcpy(bytes->at + bytes->len, more, len);
    bytes->len += len;
}

struct item {
    enum frame_kind kind;
    size_t at, len; /* of its payload in the plain bytes */
    bool is_ascii;
};

/* A stream of frames, and the items that must be read from it. */
struct stream {
    struct bytes wire, plain;
    struct item items[64];
    size_t count;
};

static void add_frame(struct stream *stream, unsigned first, const char *payload, size_t len) {
    unsigned char header[14] = {(unsigned char)first};
    size_t n = len < 126 ? 2 : len < 65536 ? 4 : 10;
    header[1] = (unsigned char)(0x80 | (len < 126 ? len : len < 65536 ? 126 : 127));
    for (size_t i = 2; i < n; i++)
        header[i] = (unsigned char)((uint64_t)len >> 8 * (n - 1 - i));
    for (size_t i = 0; i < 4; i++)
        header[n + i] = (unsigned char)random_next();
    append(&stream->wire, header, n + 4);
    size_t start = stream->wire.len;
    append(&stream->wire, payload, len);
    for (size_t i = 0; i < len; i++)
        stream->wire.at[start + i] = (char)(payload[i] ^ (char)header[n + i % 4]);
}

/* Adds an item: one frame, or for a message perhaps more, with other items between them. */
static void add_item(struct stream *stream, uint32_t max, bool control) {
    static const unsigned opcodes[] = {[FRAME_TEXT] = 1,
                                       [FRAME_BINARY] = 2,
                                       [FRAME_PING] = 9,
                                       [FRAME_PONG] = 10,
                                       [FRAME_CLOSE] = 8};
    enum frame_kind kind = control ? FRAME_PING + random_below(3) : FRAME_TEXT + random_below(2);
    size_t len = random_below(control ? 126 : random_below(4) == 0 ? max + 1 : 40);
    char *payload = malloc(len + 1);
    bool is_ascii = true, mostly = random_below(2) == 0;
    for (size_t i = 0; i < len; i++) {
        payload[i] = (char)(random_next() & (mostly && random_below(100) > 0 ? 0x7f : 0xff));
        is_ascii = is_ascii && (payload[i] & 0x80) == 0;
    }
    size_t done = 0;
    unsigned opcode = opcodes[kind];
    while (!control && random_below(2) == 0) { /* a fragment */
        size_t part = random_below((uint32_t)(len - done) + 1);
        add_frame(stream, opcode, payload + done, part);
        opcode = 0;
        done += part;
        if (random_below(3) == 0 && stream->count < 50)
            add_item(stream, max, true);
    }
    add_frame(stream, 0x80 | opcode, payload + done, len - done);
    stream->items[stream->count++] = (struct item){kind, stream->plain.len, len, is_ascii};
    append(&stream->plain, payload, len);
    free(payload);
}

static void free_stream(struct stream *stream) {
    free(stream->wire.at);
    free(stream->plain.at);
}

static size_t random_piece(size_t left) {
    static const uint32_t limits[] = {1, 3, 20, 200, 5000, 1 << 20};
    size_t piece = 1 + random_below(limits[random_below(6)]);
    return piece < left ? piece : left;
}

static void check_stream(const struct stream *stream, size_t max) {
    struct frame_reader reader = {0};
    const struct frame_limits limits = {max, 1 << 20};
    size_t found = 0;
    for (size_t at = 0, n; at < stream->wire.len; at += n) {
        n = random_piece(stream->wire.len - at);
        char *piece = malloc(n), *p = piece;
        memcpy(piece, stream->wire.at + at, n);
        size_t left = n;
        struct frame frame;
        for (enum frame_kind kind;
             (kind = frame_reader_next(&reader, &p, &left, &limits, &frame)) != FRAME_MORE;) {
            assert_true(found < stream->count);
            const struct item *item = &stream->items[found++];
            assert_int_equal(kind, item->kind);
            assert_int_equal(frame.len, item->len);
            if (frame.len > 0)
                assert_memory_equal(frame.payload, stream->plain.at + item->at, frame.len);
            if (kind <= FRAME_BINARY)
                assert_int_equal(frame.is_ascii, item->is_ascii);
        }
        assert_int_equal(left, 0);
        free(piece);
    }
    assert_int_equal(found, stream->count);
    frame_reader_reset(&reader);
}

static void test_random_streams(void **state) {
    for (int round = 0; round < 3000; round++) {
        struct stream stream = {.count = 0};
        uint32_t max = round % 10 == 0 ? 200000 : 1000;
        for (uint32_t n = random_below(30) + 1; n > 0 && stream.count < 50; n--)
            add_item(&stream, max, random_below(3) == 0);
        for (int i = 0; i < 3; i++)
            check_stream(&stream, max);
        free_stream(&stream);
    }
}

/* ---- garbage ---- */

/* Reads to an error or to the end. No byte outside is read, no message is larger than its limit,
 * and memory stays in proportion to the bytes. */
static void read_garbage(const char *bytes, size_t len, size_t max) {
    struct frame_reader reader = {0};
    const struct frame_limits limits = {max, 1 << 20};
    enum frame_kind kind = FRAME_MORE;
    unsigned sum = 0;
    for (size_t at = 0, n; at < len && kind != FRAME_ERROR; at += n) {
        n = random_piece(len - at);
        char *piece = malloc(n), *p = piece;
        memcpy(piece, bytes + at, n);
        size_t left = n;
        struct frame frame;
        while ((kind = frame_reader_next(&reader, &p, &left, &limits, &frame)) != FRAME_MORE &&
               kind != FRAME_ERROR) {
            assert_in_range(kind, FRAME_TEXT, FRAME_CLOSE);
            assert_true(frame.len <= (kind >= FRAME_PING ? 125 : max));
            for (size_t i = 0; i < frame.len; i++)
                sum += (unsigned char)frame.payload[i];
        }
        if (kind == FRAME_ERROR)
            assert_true(frame.code == 1002 || frame.code == 1008 || frame.code == 1009);
        else
            assert_int_equal(left, 0);
        assert_true(reader.kept_len <= max && reader.kept_capacity <= max);
        free(piece);
    }
    frame_reader_reset(&reader);
    (void)sum;
}

enum { GARBAGE_CASES = 200000 };

static void test_garbage(void **state) {
    char bytes[256];
    for (int i = 0; i < GARBAGE_CASES / 2; i++) {
        size_t len = random_below(sizeof bytes) + 1;
        for (size_t j = 0; j < len; j++)
            bytes[j] = (char)random_next();
        for (size_t j = 0; j + 1 < len && random_below(2) == 0; j += 6 + random_below(20)) {
            /* often a possible header */
            bytes[j] = (char)(random_below(2) << 7 | random_below(random_below(4) == 0 ? 16 : 3));
            bytes[j + 1] = (char)(0x80 | random_below(random_below(4) == 0 ? 128 : 20));
        }
        read_garbage(bytes, len, random_below(300));
    }
}

/* Good streams with some bytes changed, and cut short anywhere. */
static void test_broken_streams(void **state) {
    for (int i = 0; i < GARBAGE_CASES / 2;) {
        struct stream stream = {.count = 0};
        for (uint32_t n = random_below(8) + 1; n > 0; n--)
            add_item(&stream, 300, random_below(3) == 0);
        for (int j = 0; j < 20; j++, i++) {
            char *copy = malloc(stream.wire.len);
            memcpy(copy, stream.wire.at, stream.wire.len);
            for (uint32_t n = random_below(4); n > 0; n--)
                copy[random_below((uint32_t)stream.wire.len)] ^= (char)(1 << random_below(8));
            read_garbage(copy, random_below((uint32_t)stream.wire.len) + 1, 300);
            free(copy);
        }
        free_stream(&stream);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_streams),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_broken_streams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
