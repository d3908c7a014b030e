/* test_message.c -- frames ready for the wire (RFC 6455 section 5.2), their counts, and runs of
 * them. */
#include "core/frames/message.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const size_t sizes[] = {0, 1, 2, 125, 126, 127, 255, 256, 65535, 65536, 65537};
enum { SIZES = sizeof(sizes) / sizeof(sizes[0]) };

static char payload[65537];

static int fill_payload(void **state) {
    for (size_t i = 0; i < sizeof(payload); i++)
        payload[i] = (char)(i * 7 + (i >> 8));
    return 0;
}

/* Is this the one right frame around `len` bytes? Returns its whole length. */
static size_t check_frame(const unsigned char *frame, unsigned opcode, const char *content,
                          size_t len) {
    assert_int_equal(frame[0], 0x80 | opcode); /* FIN, no reserved bits */
    size_t header = 2;
    if (len < 126) {
        assert_int_equal(frame[1], len);
    } else if (len < 65536) {
        assert_int_equal(frame[1], 126);
        assert_int_equal(frame[2] << 8 | frame[3], len);
        header = 4;
    } else {
        assert_int_equal(frame[1], 127);
        uint64_t told = 0;
        for (int i = 0; i < 8; i++)
            told = told << 8 | frame[2 + i];
        assert_int_equal(told, len);
        header = 10;
    }
    if (len > 0)
        assert_memory_equal(frame + header, content, len);
    return header + len;
}

static void test_frames(void **state) {
    static const enum opcode opcodes[] = {OPCODE_TEXT, OPCODE_BINARY, OPCODE_CLOSE, OPCODE_PING,
                                          OPCODE_PONG};
    static const unsigned numbers[] = {1, 2, 8, 9, 10}; /* RFC 6455 section 5.2 */
    for (size_t k = 0; k < 5; k++) {
        for (size_t i = 0; i < SIZES && (k < 2 || sizes[i] <= 125); i++) {
            struct message *message = message_new(opcodes[k], payload, sizes[i]);
            assert_int_equal(check_frame(message->bytes, numbers[k], payload, sizes[i]),
                             message->len);
            assert_int_equal(message_frame_size(sizes[i]), message->len);
            assert_int_equal(message->capacity, 0);
            message_unref(message);
        }
    }
    struct message *empty = message_new(OPCODE_TEXT, NULL, 0);
    assert_int_equal(empty->len, 2);
    message_unref(empty);
}

static void test_keys(void **state) {
    struct message *message = message_new_keyed(OPCODE_TEXT, "hi", 2, slice_of("pos:17"));
    /* the key is not sent */
    assert_int_equal(check_frame(message->bytes, 1, "hi", 2), message->len);
    assert_true(slice_is(message_key(message), "pos:17"));
    message_unref(message);
    message = message_new(OPCODE_TEXT, "hi", 2);
    assert_null(message_key(message).bytes);
    message_unref(message);
}

static void test_counts(void **state) {
    struct message *message = message_new(OPCODE_TEXT, "hi", 2);
    assert_int_equal(atomic_load(&message->refs), 1);
    assert_ptr_equal(message_ref(message), message);
    message_ref(message);
    assert_int_equal(atomic_load(&message->refs), 3);
    message_unref(message);
    message_unref(message);
    check_frame(message->bytes, 1, "hi", 2); /* still there */
    assert_int_equal(atomic_load(&message->refs), 1);
    message_unref(message);
}

enum { ROUNDS = 100000 };

static void *share(void *message) {
    for (int i = 0; i < ROUNDS; i++)
        message_unref(message_ref(message));
    message_unref(message);
    return NULL;
}

/* Threads take and drop references of one message; the last one frees it. */
static void test_counts_between_threads(void **state) {
    struct message *message = message_new(OPCODE_TEXT, "shared", 6);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, share, message_ref(message)), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&message->refs), 1);
    message_unref(message);
}

/* ---- runs ---- */

static struct message *add(struct message *run, enum opcode opcode, const void *bytes, size_t len) {
    run = message_run_reserve(run, message_frame_size(len));
    message_run_add(run, opcode, bytes, len);
    return run;
}

/* A run of one frame of each size; ends[i] is where its i-th frame ends. */
static struct message *run_of_all_sizes(size_t ends[SIZES]) {
    struct message *run = NULL;
    for (size_t i = 0; i < SIZES; i++) {
        run = i == 0 ? message_run_new(OPCODE_TEXT, payload, sizes[i], 0)
                     : add(run, OPCODE_BINARY, payload, sizes[i]);
        ends[i] = run->len;
    }
    return run;
}

static void test_runs(void **state) {
    size_t ends[SIZES], at = 0;
    struct message *run = run_of_all_sizes(ends);
    for (size_t i = 0; i < SIZES; i++) {
        at += check_frame(run->bytes + at, i == 0 ? 1 : 2, payload, sizes[i]);
        assert_int_equal(ends[i], at);
    }
    assert_true(run->capacity >= run->len);
    message_unref(run);
}

/* At each offset: the frame that holds it stays whole, those that begin there or behind it go. */
static void test_cutting_a_run(void **state) {
    size_t ends[SIZES];
    message_unref(run_of_all_sizes(ends));
    for (size_t offset = 0, step; offset <= ends[SIZES - 1]; offset += step) {
        /* each of the small frames' bytes; of the large ones those around their ends, and some */
        step = offset < 1500 ? 1 : 997;
        for (size_t i = 0; i < SIZES; i++)
            if (offset + 3 + step > ends[i] && offset < ends[i] + 20)
                step = 1;
        struct message *run = run_of_all_sizes(ends);
        message_run_cut(run, offset);
        size_t want = 0;
        for (size_t i = 0; i < SIZES && want < offset; i++)
            want = ends[i];
        assert_int_equal(run->len, want);
        message_unref(run);
    }
}

/* What was cut may be followed by other frames. */
static void test_adding_after_a_cut(void **state) {
    struct message *run = message_run_new(OPCODE_TEXT, "one", 3, 0);
    run = add(run, OPCODE_TEXT, "two", 3);
    message_run_cut(run, 1);
    run = add(run, OPCODE_CLOSE, "\x03\xe8", 2);
    assert_int_equal(run->len, 5 + 4);
    check_frame(run->bytes, 1, "one", 3);
    check_frame(run->bytes + 5, 8, "\x03\xe8", 2);
    message_unref(run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_counts_between_threads),
        cmocka_unit_test(test_runs),
        cmocka_unit_test(test_cutting_a_run),
        cmocka_unit_test(test_adding_after_a_cut),
    };
    return cmocka_run_group_tests(tests, fill_payload, NULL);
}
