/* test_compressor.c -- messages through zlib and back, invalid data, limits; the compressed forms
 * of a message that threads share. */
#include "core/frames/compressor.h"
#include "core/frames/decompressor.h"
#include "core/frames/twin.h"

#include "base/mem.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct slice no_key = {NULL, 0};

static uint32_t random_state = 1;
static uint32_t random_number(uint32_t below) {
    random_state = random_state * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)(random_state >> 1) * below) >> 31);
}

/* Text that compresses, another for each number. */
static char *text_of(unsigned number, size_t len) {
    char *text = mem_alloc(len + 64);
    for (size_t at = 0; at < len; at += 16)
        snprintf(text + at, 64, "{\"id\":%6u,\"x\":%2zu}", number + (unsigned)at / 64, at % 7);
    return text;
}

static enum decompressor_result open_message(struct decompressor *in, const struct message *message,
                                             size_t max, char **out, size_t *len) {
    struct slice payload = message_payload(message);
    assert_int_equal(message_opcode(message), OPCODE_TEXT | OPCODE_COMPRESSED);
    return decompressor_run(in, payload.bytes, payload.len, max, out, len);
}

static void check_same(struct decompressor *in, const struct message *message, const char *text,
                       size_t len) {
    char *out;
    size_t out_len;
    assert_int_equal(open_message(in, message, len, &out, &out_len), DECOMPRESSOR_OK);
    assert_int_equal(out_len, len);
    assert_memory_equal(out, text, len);
    mem_free(out);
    assert_int_equal(open_message(in, message, len - 1, &out, &out_len), DECOMPRESSOR_TOO_BIG);
    assert_null(out);
}

static void test_all_windows(void **state) {
    static const size_t sizes[] = {40, 500, 3834, 3835, 5000, 70000, 300000};
    struct compressor_pool *pool = compressor_pool_new();
    for (unsigned bits = 9; bits <= 15; bits++) {
        struct decompressor *in = decompressor_new(bits, false);
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            char *text = text_of(bits, sizes[i]);
            for (int level = 1; level <= 9; level += 4) {
                struct message *message =
                    compressor_pool_run(pool, bits, level, OPCODE_TEXT, text, sizes[i], no_key);
                assert_non_null(message);
                assert_true(message->len < sizes[i]);
                check_same(in, message, text, sizes[i]);
                message_unref(message);
            }
            mem_free(text);
        }
        decompressor_free(in);
    }
    compressor_pool_free(pool);
}

/* What does not become shorter stays plain, and the next message is as good as ever. */
static void test_no_gain(void **state) {
    struct compressor_pool *pool = compressor_pool_new();
    struct decompressor *in = decompressor_new(15, true);
    struct compressor *own = compressor_new(15, 6);
    char noise[8000], *text = text_of(1, 2000);
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (char)random_number(256);
    for (size_t len = 0; len < 8000; len = len * 3 + 1) {
        assert_null(compressor_pool_run(pool, 15, 6, OPCODE_TEXT, noise, len, no_key));
        assert_null(compressor_run(own, OPCODE_TEXT, noise, len));
        char *out;
        size_t out_len;
        struct message *message = compressor_run(own, OPCODE_TEXT, text, 2000);
        assert_int_equal(open_message(in, message, 2000, &out, &out_len), DECOMPRESSOR_OK);
        assert_memory_equal(out, text, 2000);
        mem_free(out);
        message_unref(message);
    }
    mem_free(text);
    compressor_free(own);
    decompressor_free(in);
    compressor_pool_free(pool);
}

/* With a context a repeated message takes a few bytes; one that is lost on the way is no harm after
 * a reset. */
static void test_context(void **state) {
    struct compressor *own = compressor_new(15, 6);
    struct decompressor *in = decompressor_new(COMPRESSOR_CONTEXT_BITS, true);
    char *text = text_of(7, 1000);
    size_t lens[4];
    for (int i = 0; i < 4; i++) {
        struct message *message = compressor_run(own, OPCODE_TEXT, text, 1000);
        lens[i] = message->len;
        if (i == 2) {
            compressor_reset(own);
        } else {
            char *out;
            size_t len;
            assert_int_equal(open_message(in, message, 1000, &out, &len), DECOMPRESSOR_OK);
            assert_int_equal(len, 1000);
            assert_memory_equal(out, text, 1000);
            mem_free(out);
        }
        message_unref(message);
    }
    assert_true(lens[1] < 20);
    assert_int_equal(lens[3], lens[0]);
    mem_free(text);
    compressor_free(own);
    decompressor_free(in);
}

static void check_bytes(struct decompressor *in, const char *bytes, size_t len, size_t max,
                        enum decompressor_result expected, const char *content) {
    char *out;
    size_t out_len;
    assert_int_equal(decompressor_run(in, bytes, len, max, &out, &out_len), expected);
    if (expected == DECOMPRESSOR_OK) {
        assert_int_equal(out_len, strlen(content));
        assert_memory_equal(out == NULL ? "" : out, content, out_len);
    }
    mem_free(out);
}

#define CHECK(in, bytes, max, expected, content)                                                   \
    check_bytes(in, bytes, sizeof(bytes) - 1, max, expected, content)

/* The examples of RFC 7692 section 7.2.3, and what is like them. */
static void test_examples(void **state) {
    for (int keeps = 0; keeps < 2; keeps++) {
        struct decompressor *in = decompressor_new(15, keeps);
        CHECK(in, "\xf2\x48\xcd\xc9\xc9\x07\x00", 5, DECOMPRESSOR_OK, "Hello");
        CHECK(in, "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", 5, DECOMPRESSOR_OK, "Hello");
        /* a final block, and what may follow it */
        CHECK(in, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00", 5, DECOMPRESSOR_OK, "Hello");
        CHECK(in, "\xf3\x48\xcd\xc9\xc9\x07\x00", 5, DECOMPRESSOR_OK, "Hello");
        CHECK(in, "\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x48\xcd\xc9\xc9\x07\x00", 10, DECOMPRESSOR_OK,
              "HelloHello");
        CHECK(in, "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", 5, DECOMPRESSOR_OK,
              "Hello");
        CHECK(in, "\x00", 5, DECOMPRESSOR_OK, ""); /* an empty message */
        CHECK(in, "", 5, DECOMPRESSOR_OK, "");
        CHECK(in, "\x02\x00", 5, DECOMPRESSOR_OK, "");
        CHECK(in, "\xf2\x48\xcd\xc9\xc9\x07\x00", 5, DECOMPRESSOR_OK, "Hello");
        if (keeps)
            CHECK(in, "\xf2\x00\x11\x00\x00", 5, DECOMPRESSOR_OK, "Hello");
        decompressor_free(in);
    }
}

static void test_invalid(void **state) {
    struct decompressor *in = decompressor_new(15, false);
    CHECK(in, "\xf2\x00\x11\x00\x00", 5, DECOMPRESSOR_INVALID, ""); /* refers to what was before */
    CHECK(in, "\xff\xff\xff", 100, DECOMPRESSOR_INVALID, "");
    CHECK(in, "\x06", 100, DECOMPRESSOR_INVALID, ""); /* a block of a type that does not exist */
    CHECK(in, "\xf2\x48\xcd\xc9", 100, DECOMPRESSOR_INVALID, "");
    CHECK(in, "\xf2\x48\xcd", 100, DECOMPRESSOR_INVALID, "");
    CHECK(in, "\x00\x05\x00\xfa\xff\x48\x65", 100, DECOMPRESSOR_INVALID, "");
    CHECK(in, "\x00\x05\x00", 100, DECOMPRESSOR_INVALID, "");
    CHECK(in, "\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff", 100, DECOMPRESSOR_INVALID, "");
    /* too big, by one byte and by many */
    CHECK(in, "\xf2\x48\xcd\xc9\xc9\x07\x00", 4, DECOMPRESSOR_TOO_BIG, "");
    CHECK(in, "\xf2\x48\xcd\xc9\xc9\x07\x00", 0, DECOMPRESSOR_TOO_BIG, "");
    CHECK(in, "\xf2\x48\xcd\xc9\xc9\x07\x00", 5, DECOMPRESSOR_OK, "Hello"); /* as good as new */
    decompressor_free(in);
}

/* Truncated messages, at every byte, and random ones: never more bytes than allowed, never a
 * shorter message for a longer one, and the stream is good afterwards. */
static void test_random(void **state) {
    struct compressor_pool *pool = compressor_pool_new();
    struct decompressor *in = decompressor_new(15, false);
    char *text = text_of(3, 3000), *out;
    size_t out_len;
    struct message *message = compressor_pool_run(pool, 15, 6, OPCODE_TEXT, text, 3000, no_key);
    struct slice payload = message_payload(message);
    for (size_t len = 1; len < payload.len; len++) {
        assert_int_not_equal(decompressor_run(in, payload.bytes, len, 100000, &out, &out_len),
                             DECOMPRESSOR_OK);
        assert_null(out);
    }
    for (int i = 0; i < 20000; i++) {
        char bytes[64];
        size_t len = random_number(sizeof bytes), max = random_number(2000);
        for (size_t k = 0; k < len; k++)
            bytes[k] = i % 2 == 0 ? (char)random_number(256) : payload.bytes[k];
        if (i % 2 == 1 && len > 0)
            bytes[random_number((uint32_t)len)] ^= (char)(1 << random_number(8));
        if (decompressor_run(in, bytes, len, max, &out, &out_len) == DECOMPRESSOR_OK)
            assert_true(out_len <= max);
        mem_free(out);
    }
    check_same(in, message, text, 3000);
    message_unref(message);
    mem_free(text);
    decompressor_free(in);
    compressor_pool_free(pool);
}

/* 1 MiB of zeros is 1 KiB: no more memory than the limit. */
static void test_bomb(void **state) {
    struct compressor_pool *pool = compressor_pool_new();
    struct decompressor *in = decompressor_new(15, false);
    char *zeros = mem_zalloc(1 << 20);
    struct message *message = compressor_pool_run(pool, 15, 9, OPCODE_TEXT, zeros, 1 << 20, no_key);
    assert_true(message->len < 1200);
    check_same(in, message, zeros, 1 << 20);
    message_unref(message);
    mem_free(zeros);
    decompressor_free(in);
    compressor_pool_free(pool);
}

/* ---- twins ---- */

static void test_twins(void **state) {
    struct compressor_pool *pool = compressor_pool_new();
    char *text = text_of(1, 6000);
    bool made;
    struct message *message =
        message_new_keyed(OPCODE_TEXT, text, 6000, (struct slice){"the key", 7});
    struct message *twin = twin_of(message, pool, 15, 6, &made);
    assert_true(made && twin != message);
    assert_int_equal(message_opcode(twin), OPCODE_TEXT | OPCODE_COMPRESSED);
    assert_int_equal(message_key(twin).len, 7);
    assert_ptr_equal(twin_of(message, pool, 15, 6, &made), twin);
    assert_false(made);
    struct message *other = twin_of(message, pool, 10, 6, &made);
    assert_true(made && other != twin);
    assert_ptr_not_equal(twin_of(message, pool, 15, 1, &made), twin);
    message_ref(twin); /* as of a queue */
    message_unref(message);
    struct decompressor *in = decompressor_new(15, false);
    check_same(in, twin, text, 6000);
    message_unref(twin);
    /* a short one is the same for all windows from 12 bits on */
    message = message_new(OPCODE_TEXT, text, 2000);
    twin = twin_of(message, pool, 15, 6, &made);
    assert_ptr_equal(twin_of(message, pool, 13, 6, &made), twin);
    assert_false(made);
    message_unref(message);
    /* one that does not become shorter is tried once */
    message = message_new(OPCODE_TEXT, "abcdefg", 7);
    assert_ptr_equal(twin_of(message, pool, 15, 6, &made), message);
    assert_true(made);
    assert_ptr_equal(twin_of(message, pool, 15, 6, &made), message);
    assert_false(made);
    message_unref(message);
    mem_free(text);
    decompressor_free(in);
    compressor_pool_free(pool);
}

/* The forms of a message that rooms remember count with these, and with queues afterwards. */
static void test_kept_twins(void **state) {
    struct compressor_pool *pool = compressor_pool_new();
    char *text = text_of(1, 6000);
    bool made;
    struct message *message = message_new(OPCODE_TEXT, text, 6000);
    message->is_kept = true;
    message_hold(message); /* as of a room's history, … */
    message_hold(message); /* and of its retained messages */
    size_t size = message_memory(twin_of(message, pool, 15, 6, &made));
    assert_int_equal(twin_kept_bytes(), size);
    size += message_memory(twin_of(message, pool, 10, 6, &made));
    message_release(message);
    assert_int_equal(twin_kept_bytes(), size);
    message_release(message); /* a queue still holds it */
    assert_int_equal(twin_kept_bytes(), 0);
    twin_of(message, pool, 15, 1, &made);
    assert_true(made);
    assert_int_equal(twin_kept_bytes(), 0);
    message_unref(message);
    message = message_new(OPCODE_TEXT, text, 6000); /* what goes with the room's reference */
    message->is_kept = true;
    message_hold(message);
    message_unref(message);
    twin_of(message, pool, 15, 6, &made);
    message_release(message);
    assert_int_equal(twin_kept_bytes(), 0);
    mem_free(text);
    compressor_pool_free(pool);
}

enum { THREADS = 4, MESSAGES = 200 };
static struct message *shared[MESSAGES];
static atomic_int made_count, long_count;
static pthread_barrier_t barrier;

static void *need_twins(void *unused) {
    struct compressor_pool *pool = compressor_pool_new();
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < MESSAGES; i++) {
        bool made;
        struct message *twin = message_ref(twin_of(shared[i], pool, 15, 6, &made));
        atomic_fetch_add(&made_count, made);
        message_unref(shared[i]);
        atomic_fetch_add(&long_count, twin->len >= 2000);
        message_unref(twin);
    }
    compressor_pool_free(pool);
    return NULL;
}

/* Each message is compressed once, whichever thread needs it first, and freed once. */
static void test_threads(void **state) {
    pthread_t threads[THREADS];
    pthread_barrier_init(&barrier, NULL, THREADS);
    char *text = text_of(1, 2000);
    for (int i = 0; i < MESSAGES; i++) {
        shared[i] = message_new(OPCODE_TEXT, text, 2000);
        message_ref_many(shared[i], THREADS - 1);
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, need_twins, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&made_count), MESSAGES);
    assert_int_equal(atomic_load(&long_count), 0);
    pthread_barrier_destroy(&barrier);
    mem_free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_windows), cmocka_unit_test(test_no_gain),
        cmocka_unit_test(test_context),     cmocka_unit_test(test_examples),
        cmocka_unit_test(test_invalid),     cmocka_unit_test(test_random),
        cmocka_unit_test(test_bomb),        cmocka_unit_test(test_twins),
        cmocka_unit_test(test_kept_twins),  cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
