/* test_sent_ring.c -- what a session keeps of what it has sent: numbers, bytes, walks. */
#include "core/frames/outq.h"
#include "core/frames/sent_ring.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void append(struct sent_ring *sent, const char *text, size_t len) {
    size_t offset;
    struct message *run = sent_ring_append(sent, OPCODE_TEXT, text, len, &offset);
    assert_memory_equal(run->bytes + run->len - len, text, len);
    assert_int_equal(run->len - offset, message_frame_size(len));
}

static void push(struct sent_ring *sent, const char *text, const char *key) {
    sent_ring_push(sent, message_new_keyed(OPCODE_BINARY, text, strlen(text), slice_of(key)));
}

/* The first letters of all that is kept. */
static void expect(const struct sent_ring *sent, const char *letters) {
    struct sent_walk walk = {0};
    struct sent_frame frame;
    size_t count = 0, bytes = 0;
    for (; sent_ring_next(sent, &walk, &frame); count++) {
        assert_true(count < strlen(letters));
        assert_int_equal(frame.payload.bytes[0], letters[count]);
        assert_int_equal(frame.opcode, frame.message == NULL ? OPCODE_TEXT : OPCODE_BINARY);
        bytes += message_frame_size(frame.payload.len);
    }
    assert_int_equal(count, strlen(letters));
    assert_int_equal(sent->count, count);
    assert_int_equal(sent->bytes, bytes);
}

static void test_numbers(void **state) {
    struct sent_ring sent = {0};
    assert_true(sent_ring_reaches(&sent, 0));
    assert_false(sent_ring_reaches(&sent, 1));
    append(&sent, "a", 1);
    push(&sent, "b", "");
    append(&sent, "c", 1);
    append(&sent, "d", 1);
    push(&sent, "e", "");
    expect(&sent, "abcde");
    sent_ring_let_go(&sent, 3);
    expect(&sent, "de");
    assert_int_equal(sent_ring_oldest(&sent), 4);
    assert_false(sent_ring_reaches(&sent, 2));
    assert_true(sent_ring_reaches(&sent, 3));
    assert_true(sent_ring_reaches(&sent, 5));
    assert_false(sent_ring_reaches(&sent, 6));
    sent_ring_drop(&sent);
    expect(&sent, "e");
    sent_ring_let_go(&sent, UINT64_MAX);
    expect(&sent, "");
    append(&sent, "f", 1);
    assert_int_equal(sent.last, 6);
    sent_ring_clear(&sent);
    assert_int_equal(sent.last, 6);
    expect(&sent, "");
    sent_ring_clear(&sent);
}

static void test_keys(void **state) {
    struct sent_ring sent = {0};
    push(&sent, "a", "k");
    append(&sent, "x", 1);
    append(&sent, "y", 1);
    sent_ring_let_go(&sent, 0);
    push(&sent, "b", "k");
    push(&sent, "c", "other");
    struct message *newer = message_new_keyed(OPCODE_BINARY, "newer", 5, slice_of("k"));
    sent_ring_replace(&sent, sent_ring_find(&sent, 2, newer), newer);
    expect(&sent, "axync");
    newer = message_new_keyed(OPCODE_BINARY, "z", 1, slice_of("k"));
    assert_null(sent_ring_find(&sent, 5, newer));
    sent_ring_replace(&sent, sent_ring_find(&sent, 0, newer), newer);
    expect(&sent, "zxync");
    sent_ring_clear(&sent);
}

/* A queue that holds a run keeps its frames, whatever the ring lets go or adds, and the other way
 * round. */
static void test_shared_run(void **state) {
    struct sent_ring sent = {0};
    struct outq queue = {0};
    struct ref_cache cache = {0};
    struct spare_runs spare = {0};
    unsigned char scratch[256];
    const unsigned char *bytes;
    for (int i = 0; i < 3; i++) {
        size_t offset;
        struct message *run = sent_ring_append(&sent, OPCODE_TEXT, "abc" + i, 1, &offset);
        assert_true(outq_push_rest(&queue, run, offset));
    }
    assert_int_equal(outq_next(&queue, scratch, sizeof scratch, &bytes), 9);
    outq_written(&queue, 4, &cache, &spare);
    assert_int_equal(outq_counted(&queue), 2);
    outq_drop_unsent(&queue); /* what is written of a frame stays with the rest of it */
    assert_int_equal(queue.bytes, 2);
    assert_int_equal(outq_counted(&queue), 1);
    expect(&sent, "abc");
    sent_ring_let_go(&sent, 3);
    assert_int_equal(outq_next(&queue, scratch, sizeof scratch, &bytes), 2);
    assert_memory_equal(bytes, "\1b", 2);
    outq_written(&queue, 2, &cache, &spare);
    size_t offset;
    struct message *run = sent_ring_append(&sent, OPCODE_TEXT, "d", 1, &offset);
    assert_true(outq_push_rest(&queue, run, offset));
    sent_ring_seal(&sent);
    append(&sent, "e", 1); /* not into the run that the queue holds */
    assert_int_equal(outq_next(&queue, scratch, sizeof scratch, &bytes), 3);
    expect(&sent, "de");
    outq_clear(&queue);
    sent_ring_clear(&sent);
    ref_cache_flush(&cache);
    spare_runs_free(&spare);
}

/* Against a model: random lengths, random ends. */
static void test_random(void **state) {
    struct sent_ring sent = {0};
    char letters[4096];
    static char text[70000];
    size_t first = 0, end = 0;
    srand(7);
    for (int i = 0; i < 3000; i++) {
        text[0] = letters[end++] = (char)('a' + rand() % 26);
        if (rand() % 4 == 0)
            push(&sent, (char[]){text[0], '\0'}, "");
        else
            append(&sent, text,
                   rand() % 50 == 0 ? 1 + (size_t)rand() % 70000 : 1 + (size_t)rand() % 300);
        if (rand() % 3 == 0) {
            size_t to = first + (size_t)rand() % (end - first + 1);
            sent_ring_let_go(&sent, to);
            first = to > first ? to : first;
        }
        if (rand() % 100 == 0)
            sent_ring_seal(&sent);
        letters[end] = '\0';
        if (i % 10 == 0)
            expect(&sent, letters + first);
    }
    sent_ring_clear(&sent);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_shared_run),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
