/* test_outq.c -- what goes into a queue leaves it in order, byte by byte, however it is written. */
#include "core/frames/outq.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SCRATCH = 128 * 1024 };

static unsigned char scratch[SCRATCH];

static uint32_t random_state = 20;

static uint32_t random_below(uint32_t limit) {
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % limit;
}

static struct spare_runs spare;

/* Sends text frames of one letter each: "abc". */
static void append(struct outq *queue, const char *letters) {
    for (; *letters != '\0'; letters++)
        outq_append(queue, OPCODE_TEXT, letters, 1, &spare);
}

static void push(struct outq *queue, const char *letters) {
    for (; *letters != '\0'; letters++)
        outq_push(queue, message_new(OPCODE_TEXT, letters, 1));
}

/* As at the end of a turn, so that references are where they belong. */
static void written(struct outq *queue, size_t len) {
    static struct ref_cache ref_cache;
    outq_written(queue, len, &ref_cache, &spare);
    ref_cache_flush(&ref_cache);
}

/* The letters of what outq_next() gives; `bytes_written` of it are then written. */
static void check_next(struct outq *queue, const char *letters, size_t bytes_written) {
    const unsigned char *bytes = NULL;
    size_t len = outq_next(queue, scratch, SCRATCH, &bytes);
    assert_int_equal(len, 3 * strlen(letters));
    for (size_t i = 0; letters[i] != '\0'; i++) {
        assert_int_equal(bytes[3 * i], 0x81);
        assert_int_equal(bytes[3 * i + 1], 1);
        assert_int_equal(bytes[3 * i + 2], letters[i]);
    }
    written(queue, bytes_written);
}

static void test_empty(void **state) {
    struct outq queue = {0};
    const unsigned char *bytes;
    assert_true(outq_empty(&queue));
    assert_int_equal(outq_next(&queue, scratch, SCRATCH, &bytes), 0);
    outq_drop_unsent(&queue);
    outq_clear(&queue);
    outq_clear(&queue);
    assert_int_equal(queue.bytes, 0);
}

/* Frames of both kinds, shared and for this client alone, keep their order and leave together. */
static void test_small_frames_leave_together(void **state) {
    struct outq queue = {0};
    push(&queue, "ab");
    append(&queue, "cd");
    push(&queue, "e");
    append(&queue, "f");
    assert_int_equal(queue.bytes, 6 * 3);
    check_next(&queue, "abcdef", 18);
    assert_true(outq_empty(&queue));
    assert_int_equal(queue.bytes, 0);
    for (int i = 0; i < 100; i++)
        push(&queue, "0123456789");
    const unsigned char *bytes;
    assert_int_equal(outq_next(&queue, scratch, SCRATCH, &bytes), 3000);
    written(&queue, 3000);
    for (int i = 0; i < 100; i++)
        append(&queue, "0123456789");
    assert_int_equal(outq_next(&queue, scratch, SCRATCH, &bytes), 3000);
    outq_clear(&queue);
    assert_int_equal(queue.bytes, 0);
}

static void test_nothing_is_forgotten_until_it_is_written(void **state) {
    struct outq queue = {0};
    push(&queue, "ab");
    check_next(&queue, "ab", 0);
    check_next(&queue, "ab", 3);
    check_next(&queue, "b", 0);
    append(&queue, "c");
    check_next(&queue, "bc", 6);
    assert_true(outq_empty(&queue));
    outq_clear(&queue);
}

/* A large frame is not copied: it is pointed at where it is. */
static void test_large_frames(void **state) {
    struct outq queue = {0};
    enum { LARGE = 1000 * 1000 };
    char *payload = calloc(1, LARGE);
    struct message *large = message_new(OPCODE_BINARY, payload, LARGE);
    push(&queue, "ab");
    outq_push(&queue, message_ref(large));
    push(&queue, "c");
    check_next(&queue, "ab", 6);
    const unsigned char *bytes;
    assert_int_equal(outq_next(&queue, scratch, SCRATCH, &bytes), large->len);
    assert_ptr_equal(bytes, large->bytes);
    written(&queue, 17);
    assert_int_equal(queue.bytes, large->len - 17 + 3);
    assert_int_equal(outq_next(&queue, scratch, SCRATCH, &bytes), large->len - 17);
    assert_ptr_equal(bytes, large->bytes + 17);
    written(&queue, large->len - 17);
    check_next(&queue, "c", 3);
    assert_int_equal(atomic_load(&large->refs), 1);
    outq_clear(&queue);
    message_unref(large);
    free(payload);
}

/* One reference per queued message, released when it is written, dropped or cleared. */
static void test_references(void **state) {
    struct message *shared = message_new(OPCODE_TEXT, "x", 1);
    struct outq queues[3] = {{0}};
    for (int i = 0; i < 3; i++) {
        outq_push(&queues[i], message_ref(shared));
        append(&queues[i], "y"); /* never into a shared message */
        outq_push(&queues[i], message_ref(shared));
    }
    assert_int_equal(atomic_load(&shared->refs), 7);
    assert_int_equal(shared->len, 3);
    check_next(&queues[0], "xyx", 9);
    assert_int_equal(atomic_load(&shared->refs), 5);
    outq_drop_unsent(&queues[1]);
    assert_int_equal(atomic_load(&shared->refs), 3);
    outq_clear(&queues[2]);
    assert_int_equal(atomic_load(&shared->refs), 1);
    for (int i = 0; i < 3; i++)
        outq_clear(&queues[i]);
    message_unref(shared);
}

/* ---- spare runs ---- */

static const struct message *last_spare(void) {
    return spare.runs[spare.count - 1];
}

/* The memory of a written run serves the next one, of any queue. */
static void test_a_written_run_is_used_again(void **state) {
    struct outq one = {0}, other = {0};
    append(&one, "ab");
    check_next(&one, "ab", 6);
    assert_int_equal(spare.count, 1);
    const struct message *kept = last_spare();
    append(&other, "c");
    assert_ptr_equal(other.ring[other.first], kept);
    assert_int_equal(spare.count, 0);
    append(&one, "d"); /* there is none now */
    append(&other, "e");
    check_next(&one, "d", 1); /* not whole: the queue still has it */
    assert_int_equal(spare.count, 0);
    written(&one, 2);
    assert_int_equal(spare.count, 1);
    assert_int_equal(other.bytes, 6);
    assert_int_equal(other.overhead, OUTQ_MESSAGE_BYTES);
    check_next(&other, "ce", 6);
    assert_ptr_equal(last_spare(), kept);
    struct message *control = message_ref(message_control_new(OPCODE_PONG, "h", 1));
    outq_push(&one, control); /* its owner has a reference, and may change it */
    written(&one, control->len);
    assert_ptr_equal(last_spare(), kept);
    message_unref(control);
    spare_runs_free(&spare);
    outq_clear(&one);
    outq_clear(&other);
}

/* So that many clients that are written to in one turn leave little memory behind. */
static void test_spare_runs_are_limited(void **state) {
    struct outq queues[SPARE_RUNS + 2] = {0};
    for (size_t i = 0; i < SPARE_RUNS + 2; i++)
        append(&queues[i], "a");
    for (size_t i = 0; i < SPARE_RUNS + 2; i++)
        check_next(&queues[i], "a", 3);
    assert_int_equal(spare.count, SPARE_RUNS);
    spare_runs_free(&spare);
    char *large = calloc(1, 200000);
    const unsigned char *bytes;
    for (size_t i = 0; i < 4; i++)
        outq_append(&queues[i], OPCODE_BINARY, large, 100000, &spare);
    for (size_t i = 0; i < 4; i++)
        written(&queues[i], outq_next(&queues[i], scratch, SCRATCH, &bytes));
    assert_int_equal(spare.count, 2);
    assert_in_range(spare.bytes, 200000, 2 * MESSAGE_RUN_BYTES);
    spare_runs_free(&spare);
    outq_append(&queues[0], OPCODE_BINARY, large, 200000, &spare);
    written(&queues[0], outq_next(&queues[0], scratch, SCRATCH, &bytes));
    assert_int_equal(spare.count, 0); /* it is larger than a run of several frames may be */
    free(large);
    for (size_t i = 0; i < SPARE_RUNS + 2; i++)
        outq_clear(&queues[i]);
}

/* A queue that waits has no more than twice the memory of its frames. */
static void test_a_queue_that_waits_has_little_memory(void **state) {
    struct outq queue = {0};
    struct message *shared = message_new(OPCODE_TEXT, "s", 1);
    outq_fit(&queue);
    char large[50000] = {0};
    outq_append(&queue, OPCODE_BINARY, large, sizeof large, &spare);
    const unsigned char *bytes;
    written(&queue, outq_next(&queue, scratch, SCRATCH, &bytes));
    append(&queue, "abc");
    assert_in_range(queue.ring[queue.first]->capacity, 50000, MESSAGE_RUN_BYTES);
    check_next(&queue, "abc", 4);
    outq_fit(&queue);
    assert_int_equal(queue.ring[queue.first]->capacity, 9);
    append(&queue, "d");
    assert_in_range(queue.ring[queue.first]->capacity, 12, 24);
    assert_int_equal(outq_next(&queue, scratch, SCRATCH, &bytes), 8);
    assert_memory_equal(bytes, "\1b\x81\1c\x81\1d", 8);
    written(&queue, 8);
    outq_push(&queue, shared); /* others have it as well */
    struct message *control = message_ref(message_control_new(OPCODE_PONG, "p", 1));
    outq_push(&queue, control); /* its owner may put a longer one in its place */
    outq_fit(&queue);
    assert_ptr_equal(queue.ring[queue.first + 1], control);
    assert_int_equal(control->capacity, 2 + 125);
    assert_true(outq_rewrite(&queue, control, OPCODE_PONG, large, 125));
    assert_int_equal(queue.bytes, 3 + 127);
    written(&queue, 3 + 127);
    message_unref(control);
    spare_runs_free(&spare);
    outq_clear(&queue);
}

/* ---- dropping ---- */

/* Queues `letters`, capital ones as shared messages, small ones for this client; writes `sent`
 * bytes, drops the rest: `left` letters (the first one perhaps begun) stay. */
static void check_drop(const char *letters, size_t sent, size_t left) {
    struct outq queue = {0};
    for (size_t i = 0; letters[i] != '\0'; i++)
        (letters[i] < 'a' ? push : append)(&queue, (char[]){letters[i], '\0'});
    check_next(&queue, letters, sent);
    outq_drop_unsent(&queue);
    size_t begun = sent % 3;
    assert_int_equal(queue.bytes, left * 3 - begun);
    assert_int_equal(outq_empty(&queue), left == 0);
    append(&queue, "z");
    const unsigned char *bytes;
    size_t len = outq_next(&queue, scratch, SCRATCH, &bytes);
    assert_int_equal(len, left * 3 - begun + 3);
    if (left > 0) {
        const unsigned char frame[] = {0x81, 1, (unsigned char)letters[sent / 3]};
        assert_memory_equal(bytes, frame + begun, 3 - begun);
    }
    assert_memory_equal(bytes + len - 3, "\x81\x01z", 3);
    outq_clear(&queue);
}

static void test_dropping_cuts_no_frame(void **state) {
    static const char *const mixes[] = {"ABCD", "abcd", "AbcD", "abCD", "aBcd", "ABcd"};
    for (size_t i = 0; i < sizeof(mixes) / sizeof(mixes[0]); i++)
        for (size_t sent = 0; sent <= 12; sent++)
            check_drop(mixes[i], sent, sent % 3 == 0 ? 0 : 1);
}

/* ---- replacing ---- */

static struct message *keyed(const char *key, const char *text) {
    return message_new_keyed(OPCODE_TEXT, text, strlen(text), slice_of(key));
}

static void test_replacing(void **state) {
    struct outq queue = {0};
    append(&queue, "a");
    outq_push(&queue, keyed("k", "b"));
    outq_push(&queue, keyed("kk", "c"));
    struct message *shared = keyed("k", "B");
    assert_true(outq_replace(&queue, message_ref(shared), SIZE_MAX));
    assert_int_equal(queue.bytes, 9);
    check_next(&queue, "aBc", 0); /* where the old one was */
    assert_int_equal(atomic_load(&shared->refs), 2);
    message_unref(shared);
    shared = keyed("other", "x");
    assert_false(outq_replace(&queue, shared, SIZE_MAX));
    assert_int_equal(atomic_load(&shared->refs), 1);
    message_unref(shared);
    shared = message_new(OPCODE_TEXT, "x", 1);
    assert_false(outq_replace(&queue, shared, SIZE_MAX)); /* no key is not a key */
    message_unref(shared);
    check_next(&queue, "aBc", 9);
    shared = keyed("k", "x");
    assert_false(outq_replace(&queue, shared, SIZE_MAX)); /* nothing waits */
    message_unref(shared);
    outq_clear(&queue);
}

/* The limit on the queue, to the byte. */
static void test_replacing_within_a_ceiling(void **state) {
    struct outq queue = {0};
    outq_push(&queue, keyed("k", "old"));
    append(&queue, "a");
    struct message *larger = keyed("k", "larger");
    assert_false(outq_replace(&queue, larger, 10));
    assert_int_equal(atomic_load(&larger->refs), 1);
    assert_int_equal(queue.bytes, 8);
    assert_true(outq_replace(&queue, larger, 11));
    assert_int_equal(queue.bytes, 11);
    outq_clear(&queue);
}

/* Other sizes; and never the one whose first byte is written. */
static void test_replacing_counts_bytes(void **state) {
    struct outq queue = {0};
    outq_push(&queue, keyed("k", "old"));
    outq_push(&queue, keyed("l", "x"));
    assert_true(outq_replace(&queue, keyed("k", "much longer than before"), SIZE_MAX));
    assert_int_equal(queue.bytes, 2 + 23 + 3);
    assert_true(outq_replace(&queue, keyed("k", ""), SIZE_MAX));
    assert_int_equal(queue.bytes, 2 + 3);
    const unsigned char *bytes;
    assert_int_equal(outq_next(&queue, scratch, SCRATCH, &bytes), 5);
    written(&queue, 1);
    struct message *late = keyed("k", "too late");
    assert_false(outq_replace(&queue, late, SIZE_MAX));
    message_unref(late);
    assert_true(outq_replace(&queue, keyed("l", "y"), SIZE_MAX));
    assert_int_equal(outq_next(&queue, scratch, SCRATCH, &bytes), 4);
    assert_memory_equal(bytes, "\x00\x81\x01y", 4);
    outq_clear(&queue);
}

/* ---- a long life ---- */

struct stream {
    unsigned char *bytes;
    size_t len, capacity, at; /* at: how much of it has been seen to leave */
    size_t *ends;             /* of the frames that have not left */
    size_t end_count;
};

static void expect_frame(struct stream *stream, const struct message *message) {
    if (stream->len + message->len > stream->capacity) {
        stream->capacity = (stream->len + message->len) * 2;
        stream->bytes = realloc(stream->bytes, stream->capacity);
    }
    memcpy(stream->bytes + stream->len, message->bytes, message->len);
    stream->len += message->len;
    stream->ends = realloc(stream->ends, (stream->end_count + 1) * sizeof(*stream->ends));
    stream->ends[stream->end_count++] = stream->len;
}

static void add_random(struct outq *queue, struct stream *stream) {
    static const uint32_t limits[] = {4, 140, 3000, 20000, 70000, 300000};
    size_t len = random_below(limits[random_below(random_below(8) == 0 ? 6 : 4)]);
    enum opcode opcode = random_below(2) ? OPCODE_TEXT : OPCODE_BINARY;
    char *payload = malloc(len + 1);
    for (size_t i = 0; i < len; i++)
        payload[i] = (char)random_below(256);
    struct message *message = message_new(opcode, payload, len);
    expect_frame(stream, message);
    if (random_below(2)) {
        outq_push(queue, message);
    } else {
        outq_append(queue, opcode, payload, len, random_below(3) ? &spare : NULL);
        message_unref(message);
    }
    free(payload);
}

static void write_random(struct outq *queue, struct stream *stream) {
    size_t capacity = 16 * 1024 + random_below(112 * 1024);
    unsigned char *place =
        malloc(capacity); /* of exactly its size, so that one byte more is seen */
    const unsigned char *bytes = NULL;
    size_t len = outq_next(queue, place, capacity, &bytes);
    assert_int_equal(len == 0, stream->at == stream->len);
    assert_true(len <= stream->len - stream->at);
    if (len > 0)
        assert_memory_equal(bytes, stream->bytes + stream->at, len);
    size_t part = random_below(3) == 0 ? len : len == 0 ? 0 : random_below((uint32_t)len + 1);
    written(queue, part);
    stream->at += part;
    free(place);
}

/* Everything behind the frame that was begun is gone from the model as well. */
static void drop(struct outq *queue, struct stream *stream) {
    outq_drop_unsent(queue);
    size_t end = 0, count = 0;
    while (end < stream->at)
        end = stream->ends[count++];
    stream->end_count = count;
    stream->len = end;
}

static void test_against_a_model(void **state) {
    for (int life = 0; life < 60; life++) {
        struct outq queue = {0};
        struct stream stream = {0};
        for (int step = 0; step < 400; step++) {
            uint32_t what = random_below(100);
            if (what < 60)
                add_random(&queue, &stream);
            else if (what < 98)
                write_random(&queue, &stream);
            else
                drop(&queue, &stream);
            assert_int_equal(queue.bytes, stream.len - stream.at);
            assert_int_equal(outq_empty(&queue), stream.len == stream.at);
        }
        while (stream.at < stream.len)
            write_random(&queue, &stream);
        assert_true(outq_empty(&queue));
        if (life % 2 == 0)
            add_random(&queue, &stream); /* dropped at the end */
        outq_clear(&queue);
        free(stream.bytes);
        free(stream.ends);
    }
}

/* ---- bundles ---- */

enum { SHARED = 3 };

/* Queues the same messages in both; returns them. */
static struct message **share(struct outq *one, struct outq *other) {
    static struct message *messages[SHARED];
    for (int i = 0; i < SHARED; i++) {
        messages[i] = message_new(OPCODE_TEXT, &"abc"[i], 1);
        outq_push(one, message_ref(messages[i]));
        outq_push(other, message_ref(messages[i]));
    }
    return messages;
}

static void check_counts(struct message **messages, unsigned refs) {
    for (int i = 0; i < SHARED; i++)
        assert_int_equal(atomic_load(&messages[i]->refs), refs);
}

static void drop_all(struct message **messages) {
    for (int i = 0; i < SHARED; i++)
        message_unref(messages[i]);
}

static void test_a_bundle_serves_the_next_queue(void **state) {
    struct outq one = {0}, other = {0}, third = {0};
    struct outq_bundle bundle = {0};
    struct message **messages = share(&one, &other);
    const unsigned char *bytes;
    assert_false(outq_is_bundle(&one, &bundle));
    size_t len = outq_next(&one, scratch, SCRATCH, &bytes);
    assert_true(outq_give_bundle(&one, &bundle, len));
    assert_true(outq_empty(&one));
    assert_int_equal(one.bytes, 0);
    assert_true(outq_is_bundle(&other, &bundle));
    assert_true(outq_give_bundle(&other, &bundle, bundle.bytes));
    assert_true(outq_empty(&other));
    check_counts(messages, 1 + 2);

    push(&third, "abc"); /* the same bytes, but other messages */
    assert_false(outq_is_bundle(&third, &bundle));
    outq_drop_bundle(&bundle);
    check_counts(messages, 1);
    assert_false(outq_is_bundle(&one, &bundle)); /* no bundle, and an empty queue */
    push(&one, "d");
    check_next(&one, "d", 3);
    drop_all(messages);
    outq_clear(&one);
    outq_clear(&other);
    outq_clear(&third);
}

static void test_what_is_no_bundle(void **state) {
    struct outq one = {0}, other = {0};
    struct outq_bundle bundle = {0};
    struct message **messages = share(&one, &other);
    const unsigned char *bytes;
    size_t len = outq_next(&one, scratch, SCRATCH, &bytes);
    assert_false(outq_give_bundle(&one, &bundle, len - 1)); /* not all of it is written */
    written(&one, 1);
    len = outq_next(&one, scratch, SCRATCH, &bytes);
    assert_false(outq_give_bundle(&one, &bundle, len)); /* the first one began before */
    written(&one, len);

    append(&other, "d"); /* a run is this queue's alone */
    len = outq_next(&other, scratch, SCRATCH, &bytes);
    assert_false(outq_give_bundle(&other, &bundle, len));
    written(&other, len);
    check_counts(messages, 1);
    drop_all(messages);
    outq_clear(&one);
    outq_clear(&other);
}

static void test_a_bundle_and_what_comes_before_or_behind(void **state) {
    struct outq one = {0}, other = {0};
    struct outq_bundle bundle = {0};
    struct message **messages = share(&one, &other);
    const unsigned char *bytes;
    size_t len = outq_next(&one, scratch, SCRATCH, &bytes);
    assert_true(outq_give_bundle(&one, &bundle, len));
    push(&other, "d");
    assert_false(outq_is_bundle(&other, &bundle));
    check_next(&other, "abcd", 3); /* the socket took one: what is left is no bundle either */
    assert_false(outq_is_bundle(&other, &bundle));
    outq_drop_bundle(&bundle);
    check_next(&other, "bcd", 9);
    check_counts(messages, 1);
    drop_all(messages);
    outq_clear(&one);
    outq_clear(&other);
}

/* Longer than a bundle, and than a ring that is kept. */
static void test_too_many_for_a_bundle(void **state) {
    struct outq queue = {0};
    struct outq_bundle bundle = {0};
    const unsigned char *bytes;
    for (int i = 0; i < OUTQ_BUNDLE_MESSAGES; i++)
        push(&queue, "a");
    size_t len = outq_next(&queue, scratch, SCRATCH, &bytes);
    assert_true(outq_give_bundle(&queue, &bundle, len));
    assert_int_equal(queue.capacity, 0);
    outq_drop_bundle(&bundle);
    for (int i = 0; i <= OUTQ_BUNDLE_MESSAGES; i++)
        push(&queue, "a");
    len = outq_next(&queue, scratch, SCRATCH, &bytes);
    assert_false(outq_give_bundle(&queue, &bundle, len));
    outq_clear(&queue);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_small_frames_leave_together),
        cmocka_unit_test(test_nothing_is_forgotten_until_it_is_written),
        cmocka_unit_test(test_large_frames),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_a_written_run_is_used_again),
        cmocka_unit_test(test_spare_runs_are_limited),
        cmocka_unit_test(test_a_queue_that_waits_has_little_memory),
        cmocka_unit_test(test_dropping_cuts_no_frame),
        cmocka_unit_test(test_replacing),
        cmocka_unit_test(test_replacing_within_a_ceiling),
        cmocka_unit_test(test_replacing_counts_bytes),
        cmocka_unit_test(test_against_a_model),
        cmocka_unit_test(test_a_bundle_serves_the_next_queue),
        cmocka_unit_test(test_what_is_no_bundle),
        cmocka_unit_test(test_a_bundle_and_what_comes_before_or_behind),
        cmocka_unit_test(test_too_many_for_a_bundle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
