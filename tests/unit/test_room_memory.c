/* test_room_memory.c -- what rooms remember, with a clock moved by hand: limits, replays, changed
 * rules; and as bytes and back, damaged ones among them (room_memory_save.c). */
#include "core/bus/room_memory.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct room_memory memory;
static struct memory_time now;

static const struct room_rule rules[] = {
    {"chat:*", {{3, 100, 1000}, {0, 0, 0}}, false},
    {"price:*", {{0, 0, 0}, {2, 100, 0}}, false},
    {"*:both", {{3, 100, 0}, {2, 100, 0}}, false},
    {"huge:*", {{1000000, 1 << 20, 0}, {0, 0, 0}}, false},
};

static int setup(void **state) {
    room_memory_init(&memory);
    now = (struct memory_time){1000000, 1700000000000};
    room_memory_set(&memory, rules, 4, SIZE_MAX);
    return 0;
}

/* Nothing is left behind. */
static int teardown(void **state) {
    struct room_rule none = {"", {{0, 0, 0}, {0, 0, 0}}, false};
    room_memory_set(&memory, &none, 0, SIZE_MAX);
    while (!room_memory_sweep(&memory, &now, 10))
        ;
    assert_int_equal(memory.rooms, 0);
    assert_int_equal(memory.messages, 0);
    assert_int_equal(memory.bytes, 0);
    room_memory_close(&memory);
    return 0;
}

static void pass(uint64_t ms) {
    now.monotonic_ms += ms;
    now.wall_ms += (int64_t)ms;
}

/* Broadcasts a text in two codecs, to all but one connection. */
static uint64_t add_to(const char *room, const char *text, const char *key, conn_id except) {
    struct slice key_slice = {key, key == NULL ? 0 : strlen(key)};
    struct message *one = message_new_keyed(OPCODE_TEXT, text, strlen(text), key_slice);
    struct message *other = message_new_keyed(OPCODE_BINARY, text, strlen(text), key_slice);
    struct encoding encodings[] = {{CODEC_TEXT, one}, {5, NULL}, {CODEC_CUSTOM + 1, other}};
    struct broadcast broadcast = {slice_of(room), ANY_ENDPOINT, except, encodings, 3, NULL};
    uint64_t offset = room_memory_add(&memory, &broadcast, &now);
    message_unref(one);
    message_unref(other);
    return offset;
}

static uint64_t add(const char *room, const char *text) {
    return add_to(room, text, NULL, 0);
}

static char found[1000];

static void expect_replay(const char *room, struct replay_request request, const char *expected) {
    struct replay replay;
    size_t len = 0;
    room_memory_replay(&memory, slice_of(room), &request, &now, &replay);
    for (uint32_t i = 0; i < replay.count; i++) {
        struct slice payload = message_payload(replay.messages[i]);
        len += (size_t)snprintf(found + len, sizeof found - len, "%.*s ", (int)payload.len,
                                payload.bytes);
    }
    snprintf(found + len, sizeof found - len, "@%u%s", (unsigned)replay.offset,
             replay.recovered ? " recovered" : "");
    replay_free(&replay);
    assert_string_equal(found, expected);
}

static uint64_t epoch_of(const char *room) {
    uint64_t epoch, offset;
    assert_true(room_memory_position(&memory, slice_of(room), &now, &epoch, &offset));
    return epoch;
}

#define HISTORY(n)                                                                                 \
    (struct replay_request) {                                                                      \
        .has_history = true, .history = (n)                                                        \
    }
#define AFTER(n)                                                                                   \
    (struct replay_request) {                                                                      \
        .has_after = true, .after = (n)                                                            \
    }
#define RETAINED                                                                                   \
    (struct replay_request) {                                                                      \
        .retained = true                                                                           \
    }

static void test_limits(void **state) {
    assert_int_equal(add("other", "x"), 0);
    assert_int_equal(add("chat:a", "1"), 1);
    assert_int_equal(add("chat:a", "2"), 2);
    pass(500);
    assert_int_equal(add("chat:a", "3"), 3);
    assert_int_equal(add("chat:a", "4"), 4);
    expect_replay("chat:a", HISTORY(9), "2 3 4 @4");
    expect_replay("chat:a", HISTORY(2), "3 4 @4");
    expect_replay("chat:a", HISTORY(0), "@4");
    pass(499);
    expect_replay("chat:a", HISTORY(9), "2 3 4 @4");
    pass(1); /* "2" is a second old */
    expect_replay("chat:a", HISTORY(9), "3 4 @4");
    uint64_t epoch = epoch_of("chat:a");
    pass(500);
    expect_replay("chat:a", HISTORY(9), "@0");
    assert_int_equal(memory.rooms, 0);
    assert_true(epoch_of("chat:a") != epoch);
    char large[101] = {0};
    memset(large, 'x', 100);
    add("chat:a", "1");
    add("chat:a", large);
    add("chat:b", "1");
    expect_replay("chat:a", AFTER(1),
                  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx @2 recovered");
    expect_replay("chat:b", HISTORY(9), "1 @1");
}

static void test_positions(void **state) {
    for (int i = 1; i <= 5; i++)
        add("chat:a", (char[]){(char)('0' + i), '\0'});
    expect_replay("chat:a", AFTER(5), "@5 recovered");
    expect_replay("chat:a", AFTER(3), "4 5 @5 recovered");
    expect_replay("chat:a", AFTER(2), "3 4 5 @5 recovered");
    expect_replay("chat:a", AFTER(1), "3 4 5 @5");
    expect_replay("chat:a", AFTER(6), "3 4 5 @5");
    expect_replay("chat:a", AFTER(UINT64_MAX), "3 4 5 @5");
    struct replay_request request = AFTER(3);
    request.has_epoch = true;
    request.epoch = epoch_of("chat:a");
    expect_replay("chat:a", request, "4 5 @5 recovered");
    request.epoch++;
    expect_replay("chat:a", request, "3 4 5 @5");
    request = AFTER(2);
    request.has_history = true;
    request.history = 2;
    expect_replay("chat:a", request, "4 5 @5");
    request.history = 3;
    expect_replay("chat:a", request, "3 4 5 @5 recovered");
    request = AFTER(2);
    request.before = 5; /* waits in the mailbox */
    expect_replay("chat:a", request, "3 4 @4 recovered");
    request.codec = CODEC_JSON;
    expect_replay("chat:a", request, "@4");
    expect_replay("chat:none", AFTER(0), "@0 recovered");
    expect_replay("chat:none", AFTER(1), "@0");
    expect_replay("other", AFTER(0), "@0");
}

static void test_receivers(void **state) {
    add_to("chat:a", "mine", NULL, 77);
    add_to("chat:a", "other", NULL, 78);
    struct replay_request request = AFTER(0);
    request.id = 77;
    expect_replay("chat:a", request, "other @2 recovered");
    request.codec = CODEC_CUSTOM + 1;
    request.id = 1;
    expect_replay("chat:a", request, "mine other @2 recovered");
}

static void test_keys(void **state) {
    add_to("price:a", "a1", "a", 0);
    add_to("price:a", "b1", "b", 0);
    add_to("price:b", "x1", "a", 0);
    add_to("price:a", "a2", "a", 0);
    expect_replay("price:a", RETAINED, "b1 a2 @3");
    expect_replay("price:a", AFTER(2), "a2 @3 recovered");
    add_to("price:a", "c1", "c", 0);
    expect_replay("price:a", RETAINED, "a2 c1 @4");
    expect_replay("price:a", AFTER(1), "a2 c1 @4");
    expect_replay("price:b", RETAINED, "x1 @1");
    struct slice key = slice_of("a");
    room_memory_clear(&memory, slice_of("price:a"), &key, &now);
    expect_replay("price:a", RETAINED, "c1 @4");
    room_memory_clear(&memory, slice_of("price:b"), &key, &now);
    assert_int_equal(memory.rooms, 1);
    add("price:a", "none");
    add("price:a", "none 2");
    expect_replay("price:a", RETAINED, "c1 none 2 @6");
}

static void test_both(void **state) {
    add_to("x:both", "a1", "a", 0);
    add_to("x:both", "b1", "b", 0);
    add_to("x:both", "b2", "b", 0);
    add_to("x:both", "b3", "b", 0);
    add_to("x:both", "b4", "b", 0);
    expect_replay("x:both", HISTORY(9), "b2 b3 b4 @5");
    struct replay_request request = HISTORY(2);
    request.retained = true;
    expect_replay("x:both", request, "a1 b3 b4 @5");
}

static void test_ceiling(void **state) {
    char text[16], room[32];
    size_t max = 200 * 1000;
    room_memory_set(&memory, rules, 4, max);
    for (int i = 0; i < 2000; i++) {
        snprintf(text, sizeof text, "%d", i);
        snprintf(room, sizeof room, i < 100 ? "huge:%d" : "huge:one", i);
        add(room, text);
        assert_true(memory.bytes <= max);
    }
    assert_true(memory.bytes > max / 2);
    assert_int_equal(memory.rooms, 101); /* the small ones stay */
    assert_true(memory.evicted > 1000);
    expect_replay("huge:7", HISTORY(1), "7 @1");
    expect_replay("huge:one", HISTORY(1), "1999 @1900");
    room_memory_set(&memory, rules, 4, 1000);
    while (!room_memory_sweep(&memory, &now, 7))
        ;
    assert_true(memory.bytes <= 1000);
}

static void test_changed_rules(void **state) {
    for (int i = 1; i <= 3; i++) {
        add("chat:a", (char[]){(char)('0' + i), '\0'});
        add("huge:a", (char[]){(char)('0' + i), '\0'});
        add("price:a", "x");
    }
    struct room_rule changed[] = {
        {"chat:*", {{2, 100, 0}, {0, 0, 0}}, false},
        {"huge:*", {{0, 0, 0}, {5, 100, 0}}, false},
    };
    assert_false(room_memory_set(&memory, rules, 4, SIZE_MAX));
    assert_true(room_memory_set(&memory, changed, 2, SIZE_MAX));
    assert_false(room_memory_set(&memory, changed, 2, SIZE_MAX));
    expect_replay("chat:a", AFTER(1), "2 3 @3 recovered");
    assert_int_equal(room_memory_sweep_at(&memory), 0);
    while (!room_memory_sweep(&memory, &now, 1))
        ;
    assert_int_equal(memory.rooms, 1);
    assert_int_equal(memory.messages, 2);
    pass(100000000);
    expect_replay("chat:a", HISTORY(9), "2 3 @3");
    assert_int_equal(room_memory_sweep_at(&memory), UINT64_MAX);
}

static void test_sweep(void **state) {
    for (int i = 0; i < 100; i++) {
        char room[32];
        snprintf(room, sizeof room, "chat:%d", i);
        add(room, "x");
        pass(1);
    }
    uint64_t at = room_memory_sweep_at(&memory);
    assert_in_range(at, now.monotonic_ms + 900, now.monotonic_ms + 1900);
    pass(at - now.monotonic_ms - 1);
    assert_true(memory.rooms == 100);
    pass(1);
    while (!room_memory_sweep(&memory, &now, 3))
        ;
    assert_true(memory.rooms < 100);
    pass(2000);
    while (!room_memory_sweep(&memory, &now, 3))
        ;
    assert_int_equal(memory.rooms, 0);
}

/* A step under the lock has an end, also where many messages of one room are too old at once. */
static void test_sweep_of_one_room(void **state) {
    const struct room_rule rule = {"*", {{1000, 1000, 1000}, {0, 0, 0}}, false};
    room_memory_set(&memory, &rule, 1, SIZE_MAX);
    for (int i = 0; i < 50; i++)
        add("one", "x");
    pass(3000);
    for (uint64_t before = memory.messages; !room_memory_sweep(&memory, &now, 8);) {
        assert_in_range(memory.messages, before - 8, before - 1);
        before = memory.messages;
    }
    assert_int_equal(memory.rooms, 0);
}

/* ---- as bytes ---- */

static const char *path_of(void *user, uint32_t endpoint) {
    return endpoint == 1 ? "/one" : NULL;
}

static uint32_t endpoint_of(void *user, struct slice path) {
    return slice_is(path, "/one") && user == NULL ? 1 : ANY_ENDPOINT;
}

static void test_saved(void **state) {
    struct endpoint_paths paths = {path_of, endpoint_of, NULL};
    struct buffer bytes = {0};
    struct buffer_sink sink = buffer_sink_of(&bytes);
    for (int i = 1; i <= 5; i++) {
        add("chat:a", (char[]){(char)('0' + i), '\0'});
        pass(100);
    }
    add_to("price:a", "a1", "a", 77);
    add_to("price:a", "b1", "b", 0);
    add("x:both", "both");
    uint64_t epoch = epoch_of("chat:a"), none = epoch_of("chat:none");
    room_memory_save(&memory, &paths, &sink.sink);
    struct slice saved = {buffer_start(&bytes), bytes.len};
    assert_true(room_memory_is_one(saved));

    /* another process, whose clock begins anew, a quarter of a second later */
    teardown(state);
    room_memory_init(&memory);
    now.monotonic_ms = (uint64_t)1 << 42;
    now.wall_ms += 250;
    assert_true(room_memory_restore(&memory, &paths, saved, &now));
    room_memory_set(&memory, rules, 4, SIZE_MAX);
    assert_true(epoch_of("chat:none") == none);
    assert_true(epoch_of("chat:a") == epoch);
    expect_replay("chat:a", AFTER(2), "3 4 5 @5 recovered");
    expect_replay("chat:a", AFTER(1), "3 4 5 @5");
    struct replay_request request = RETAINED;
    request.codec = CODEC_CUSTOM + 1;
    expect_replay("price:a", request, "a1 b1 @2");
    add_to("price:a", "a2", "a", 0);
    expect_replay("price:a", RETAINED, "b1 a2 @3");
    expect_replay("x:both", HISTORY(9), "both @1");
    pass(450); /* "3" is a second old */
    expect_replay("chat:a", AFTER(3), "4 5 @5 recovered");
    assert_int_equal(add("chat:a", "6"), 6);

    /* what is there counts; endpoints that are gone have no messages */
    assert_true(room_memory_restore(&memory, &paths, saved, &now));
    expect_replay("chat:a", HISTORY(1), "6 @6");
    struct slice name = slice_of("price:a");
    room_memory_clear(&memory, name, NULL, &now);
    paths.user = &paths;
    assert_true(room_memory_restore(&memory, &paths, saved, &now));
    request.codec = CODEC_CUSTOM + 1;
    expect_replay("price:a", request, "@2");
    expect_replay("price:a", RETAINED, "a1 b1 @2");

    for (size_t len = 0; len < saved.len; len++) {
        assert_false(room_memory_is_one((struct slice){saved.bytes, len}));
        assert_false(room_memory_restore(&memory, &paths, (struct slice){saved.bytes, len}, &now));
    }
    for (size_t i = 0; i < saved.len * 8; i++) { /* nothing more is promised than no fault */
        bytes.bytes[i / 8] ^= (char)(1 << i % 8);
        struct room_memory other;
        room_memory_init(&other);
        room_memory_restore(&other, &paths, saved, &now);
        room_memory_set(&other, rules, 4, SIZE_MAX);
        while (!room_memory_sweep(&other, &now, 100))
            ;
        room_memory_close(&other);
        bytes.bytes[i / 8] ^= (char)(1 << i % 8);
    }
    buffer_free(&bytes);
}

/* What two encodings share they share in the next process, too. */
static void test_saved_once(void **state) {
    struct endpoint_paths paths = {path_of, endpoint_of, NULL};
    struct buffer bytes = {0};
    struct buffer_sink sink = buffer_sink_of(&bytes);
    struct message *one = message_new(OPCODE_TEXT, "shared", 6);
    struct encoding encodings[] = {{CODEC_TEXT, one}, {CODEC_JSON, one}};
    struct broadcast broadcast = {slice_of("chat:a"), ANY_ENDPOINT, 0, encodings, 2, NULL};
    room_memory_add(&memory, &broadcast, &now);
    message_unref(one);
    size_t before = memory.bytes;
    room_memory_save(&memory, &paths, &sink.sink);
    teardown(state);
    room_memory_init(&memory);
    struct slice saved = {buffer_start(&bytes), bytes.len};
    assert_true(room_memory_restore(&memory, &paths, saved, &now));
    room_memory_set(&memory, rules, 4, SIZE_MAX);
    assert_int_equal(memory.bytes, before);
    struct replay_request request = HISTORY(9);
    request.codec = CODEC_JSON;
    expect_replay("chat:a", request, "shared @1");
    buffer_free(&bytes);
}

/* ---- numbered by a server ---- */

/* Adds what a server has numbered, so many ms ago. */
static void add_numbered(const char *room, uint64_t epoch, uint64_t offset, const char *text,
                         uint64_t age_ms) {
    struct message *message = message_new(OPCODE_TEXT, text, strlen(text));
    struct encoding encoding = {CODEC_TEXT, message};
    struct broadcast broadcast = {.room = slice_of(room),
                                  .endpoint = ANY_ENDPOINT,
                                  .encodings = &encoding,
                                  .encoding_count = 1};
    struct memory_position position = {.epoch = epoch,
                                       .offset = offset,
                                       .wall_ms = 5,
                                       .age_ms = age_ms,
                                       .kinds = 1u << MEMORY_HISTORY | 1u << MEMORY_RETAINED};
    room_memory_add_numbered(&memory, &broadcast, &position, &now);
    message_unref(message);
}

static void expect_position(const char *room, uint64_t epoch, uint64_t offset) {
    uint64_t found_epoch, found_offset;
    assert_true(room_memory_position(&memory, slice_of(room), &now, &found_epoch, &found_offset));
    assert_int_equal(found_epoch, epoch);
    assert_int_equal(found_offset, offset);
}

static void test_numbered(void **state) {
    room_memory_reset(&memory, slice_of("chat:a"), 70, 40, 0, &now);
    expect_position("chat:a", 70, 40);
    add_numbered("chat:a", 70, 41, "1", 0);
    add_numbered("chat:a", 70, 42, "2", 0);
    add_numbered("chat:a", 70, 42, "again", 0);
    expect_position("chat:a", 70, 42);
    expect_replay("chat:a", AFTER(40), "1 2 @42 recovered");
    expect_replay("chat:a", AFTER(39), "1 2 @42");
    /* the position stays when nothing is left */
    pass(1000);
    expect_replay("chat:a", HISTORY(9), "@42");
    expect_position("chat:a", 70, 42);
    add_numbered("chat:a", 70, 43, "3", 900);
    pass(100);
    expect_replay("chat:a", HISTORY(9), "@43");
    room_memory_reset(&memory, slice_of("chat:a"), 0, 0, 0, &now);
    assert_int_equal(memory.rooms, 0);
    room_memory_reset(&memory, slice_of("other"), 70, 0, 0, &now);
    add_numbered("other", 70, 1, "x", 0);
    assert_int_equal(memory.rooms, 0);
}

static void test_own_numbers(void **state) {
    room_memory_reset(&memory, slice_of("chat:a"), 70, 4, 0, &now);
    add_numbered("chat:a", 70, 5, "5", 0);
    assert_int_equal(add("chat:a", "6"), 6);
    assert_true(epoch_of("chat:a") != 70);
    uint64_t own = epoch_of("chat:a");
    assert_int_equal(add("chat:a", "7"), 7);
    assert_int_equal(epoch_of("chat:a"), own);
    expect_replay("chat:a", AFTER(5), "6 7 @7 recovered");
    /* the server again */
    add_numbered("chat:a", 71, 9, "9", 0);
    expect_position("chat:a", 71, 9);
    expect_replay("chat:a", HISTORY(9), "9 @9");
    assert_true(room_memory_sweep(&memory, &now, 100));
    room_memory_clear(&memory, slice_of("chat:a"), NULL, &now);
    assert_int_equal(memory.rooms, 0);
}

static void test_numbered_ceiling(void **state) {
    room_memory_reset(&memory, slice_of("chat:a"), 70, 0, 0, &now);
    add_numbered("chat:a", 70, 1, "1", 0);
    room_memory_set(&memory, rules, 4, 1);
    while (!room_memory_sweep(&memory, &now, 1))
        ;
    assert_int_equal(memory.rooms, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_positions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_receivers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(test_both, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ceiling, setup, teardown),
        cmocka_unit_test_setup_teardown(test_changed_rules, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sweep, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sweep_of_one_room, setup, teardown),
        cmocka_unit_test_setup_teardown(test_saved, setup, teardown),
        cmocka_unit_test_setup_teardown(test_saved_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_numbered, setup, teardown),
        cmocka_unit_test_setup_teardown(test_own_numbers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_numbered_ceiling, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
