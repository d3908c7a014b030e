/* test_store.c -- small values under keys: what comes back, until when, and how much of it fits.
 * Threads are in test_shared.c. */
#include "core/store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROOMY = 1024 * 1024 };

/* ---- a small language for the tests ---- */

static uint64_t now;

static uint64_t now_ms(void *user) {
    (void)user;
    return now;
}

static struct store_clock clock_of_tests = {.now_ms = now_ms};
static struct store *store;

/* A new store on a clock that the test moves. */
static struct store *open_store(size_t max_bytes) {
    return store_new(slice_of("test"), max_bytes, &clock_of_tests);
}

static int set_up(void **state) {
    now = 1000000;
    clock_of_tests.sweep_at = STORE_NEVER;
    store = open_store(ROOMY);
    return 0;
}

static int tear_down(void **state) {
    store_free(store);
    return 0;
}

/* Replaces the store by a new one. */
static void make_smaller(size_t max_bytes) {
    store_free(store);
    store = open_store(max_bytes);
}

static struct store_value integer(int64_t number) {
    return (struct store_value){.type = STORE_INTEGER, .integer = number};
}

static struct store_value floating(double number) {
    return (struct store_value){.type = STORE_NUMBER, .number = number};
}

static struct store_value boolean(bool yes) {
    return (struct store_value){.type = STORE_BOOLEAN, .boolean = yes};
}

static struct store_value text(const char *bytes) {
    return (struct store_value){.type = STORE_TEXT, .text = slice_of(bytes)};
}

static enum store_result set(const char *key, struct store_value value, uint64_t ttl_ms) {
    return store_set(store, slice_of(key), &value, ttl_ms);
}

static enum store_result add(const char *key, struct store_value value, uint64_t ttl_ms) {
    return store_exchange(store, slice_of(key), NULL, &value, ttl_ms);
}

static bool remove_key(const char *key) {
    return store_delete(store, slice_of(key));
}

static bool expire(const char *key, uint64_t ttl_ms) {
    return store_expire(store, slice_of(key), ttl_ms);
}

static char buffer[64 * 1024];

static void check_value(const char *key, struct store_value want) {
    struct store_value value;
    assert_int_equal(store_get(store, slice_of(key), &value, buffer, sizeof buffer), STORE_OK);
    assert_int_equal(value.type, want.type);
    switch (want.type) {
    case STORE_BOOLEAN:
        assert_int_equal(value.boolean, want.boolean);
        break;
    case STORE_INTEGER:
        assert_true(value.integer == want.integer);
        break;
    case STORE_NUMBER:
        assert_true(value.number == want.number);
        break;
    case STORE_TEXT:
        assert_int_equal(value.text.len, want.text.len);
        assert_memory_equal(value.text.bytes, want.text.bytes, want.text.len);
        break;
    }
}

static void check_none(const char *key) {
    struct store_value value;
    assert_int_equal(store_get(store, slice_of(key), &value, buffer, sizeof buffer), STORE_NONE);
}

/* Adds, with a time for a key that this makes; the result must be OK. */
static struct store_value incr(const char *key, struct store_value by, struct store_value initial,
                               uint64_t ttl_ms) {
    struct store_value sum;
    assert_int_equal(store_incr(store, slice_of(key), &by, &initial, ttl_ms, &sum), STORE_OK);
    return sum;
}

static enum store_result try_incr(const char *key, struct store_value by) {
    struct store_value sum, initial = integer(0);
    return store_incr(store, slice_of(key), &by, &initial, 0, &sum);
}

static void count_one(void *count, struct slice key, const struct store_value *value) {
    ++*(size_t *)count;
}

static size_t count_keys(size_t max) {
    size_t count = 0;
    store_each(store, max, count_one, &count);
    return count;
}

/* ---- values ---- */

static void test_values_keep_their_kind(void **state) {
    set("integer", integer(INT64_MIN), 0);
    set("float", floating(1.0), 0);
    set("true", boolean(true), 0);
    set("false", boolean(false), 0);
    set("text", text("hello"), 0);
    set("empty", text(""), 0);
    set("", text("under the empty key"), 0);
    check_value("integer", integer(INT64_MIN));
    check_value("float", floating(1.0));
    check_value("true", boolean(true));
    check_value("false", boolean(false));
    check_value("text", text("hello"));
    check_value("empty", text(""));
    check_value("", text("under the empty key"));
    check_none("texts");
}

static void test_any_bytes_in_keys_and_texts(void **state) {
    struct slice key = {"a\0b", 3}, other = {"a\0c", 3};
    struct store_value value = {.type = STORE_TEXT, .text = {"\xff\0\n", 3}};
    assert_int_equal(store_set(store, key, &value, 0), STORE_OK);
    assert_int_equal(store_get(store, other, &value, buffer, sizeof buffer), STORE_NONE);
    assert_int_equal(store_get(store, key, &value, buffer, sizeof buffer), STORE_OK);
    assert_int_equal(value.text.len, 3);
    assert_memory_equal(value.text.bytes, "\xff\0\n", 3);
}

/* What was put in and what came out are copies. */
static void test_copies(void **state) {
    char key[] = "key", bytes[] = "old";
    set(key, text(bytes), 0);
    key[0] = bytes[0] = '-';
    check_value("key", text("old"));
    struct store_value value;
    store_get(store, slice_of("key"), &value, buffer, sizeof buffer);
    set("key", text("new"), 0);
    assert_memory_equal(value.text.bytes, "old", 3);
}

static void test_text_longer_than_the_buffer(void **state) {
    set("key", text("0123456789"), 0);
    struct store_value value;
    memset(buffer, '-', 10);
    assert_int_equal(store_get(store, slice_of("key"), &value, buffer, 9), STORE_OK);
    assert_int_equal(value.text.len, 10);
    assert_null(value.text.bytes);
    assert_memory_equal(buffer, "----------", 10);
    assert_int_equal(store_get(store, slice_of("key"), &value, buffer, 10), STORE_OK);
    assert_memory_equal(value.text.bytes, "0123456789", 10);
}

static void test_set_replaces(void **state) {
    set("key", integer(1), 50);
    set("key", text("two"), 0);
    now += 50; /* the first one's time went with it */
    check_value("key", text("two"));
    assert_int_equal(count_keys(10), 1);
}

static void test_add_only_where_there_is_none(void **state) {
    assert_int_equal(add("key", boolean(false), 0), STORE_OK);
    assert_int_equal(add("key", integer(2), 0), STORE_EXISTS);
    check_value("key", boolean(false));
    assert_true(remove_key("key"));
    assert_int_equal(add("key", integer(2), 0), STORE_OK);
}

static void test_delete(void **state) {
    assert_false(remove_key("key"));
    set("key", integer(1), 0);
    set("other", integer(2), 0);
    assert_true(remove_key("key"));
    assert_false(remove_key("key"));
    check_none("key");
    check_value("other", integer(2));
}

/* ---- incr ---- */

static void test_incr(void **state) {
    assert_int_equal(incr("n", integer(5), integer(100), 0).integer, 105);
    assert_int_equal(incr("n", integer(-6), integer(100), 0).integer, 99);
    check_value("n", integer(99));
    struct store_value sum = incr("n", floating(0.5), integer(0), 0);
    assert_int_equal(sum.type, STORE_NUMBER);
    assert_true(sum.number == 99.5);
    sum = incr("n", integer(1), integer(0), 0); /* once a float, always a float, as in Lua */
    assert_int_equal(sum.type, STORE_NUMBER);
    check_value("n", floating(100.5));
    sum = incr("f", integer(1), floating(0), 0);
    assert_int_equal(sum.type, STORE_NUMBER);
    set("large", integer((INT64_C(1) << 53) + 1), 0); /* what no float holds */
    assert_true(incr("large", integer(2), integer(0), 0).integer == (INT64_C(1) << 53) + 3);
}

static void test_incr_does_not_wrap(void **state) {
    set("most", integer(INT64_MAX - 1), 0);
    set("least", integer(INT64_MIN), 0);
    assert_int_equal(try_incr("most", integer(1)), STORE_OK);
    assert_int_equal(try_incr("most", integer(1)), STORE_OVERFLOW);
    assert_int_equal(try_incr("least", integer(-1)), STORE_OVERFLOW);
    check_value("most", integer(INT64_MAX));
    check_value("least", integer(INT64_MIN));
    struct store_value sum, by = integer(1), initial = integer(INT64_MAX);
    assert_int_equal(store_incr(store, slice_of("new"), &by, &initial, 0, &sum), STORE_OVERFLOW);
    check_none("new");
}

static void test_incr_of_what_is_no_number(void **state) {
    set("text", text("7"), 0);
    set("flag", boolean(true), 0);
    assert_int_equal(try_incr("text", integer(1)), STORE_NO_NUMBER);
    assert_int_equal(try_incr("flag", integer(1)), STORE_NO_NUMBER);
    check_value("text", text("7"));
    check_value("flag", boolean(true));
}

/* A window that begins with the first hit: later ones do not put off its end. */
static void test_incr_gives_time_only_to_what_it_makes(void **state) {
    incr("hits", integer(1), integer(0), 100);
    now += 60;
    assert_int_equal(incr("hits", integer(1), integer(0), 100).integer, 2);
    now += 40;
    check_none("hits");
    assert_int_equal(incr("hits", integer(1), integer(0), 100).integer, 1);
}

/* ---- time ---- */

/* Gone to the millisecond, for every call, though nothing has swept. */
static void test_over_means_gone(void **state) {
    const char *keys[] = {"get", "set", "add", "incr", "delete", "expire"};
    for (int i = 0; i < 6; i++)
        assert_int_equal(set(keys[i], integer(i + 10), 100), STORE_OK);
    now += 99;
    assert_int_equal(count_keys(10), 6);
    check_value("get", integer(10));
    assert_int_equal(add("add", integer(0), 0), STORE_EXISTS);
    now += 1;
    assert_int_equal(count_keys(10), 0);
    check_none("get");
    assert_int_equal(add("add", integer(1), 0), STORE_OK);
    assert_int_equal(incr("incr", integer(1), integer(0), 0).integer, 1);
    assert_false(remove_key("delete"));
    assert_false(expire("expire", 1000));
    assert_int_equal(set("set", integer(1), 0), STORE_OK);
    now += 1000000;
    assert_int_equal(count_keys(10), 3); /* those made since have no time */
}

static void test_expire(void **state) {
    assert_false(expire("key", 100));
    set("key", integer(1), 0);
    assert_true(expire("key", 100));
    now += 99;
    assert_true(expire("key", 200)); /* longer */
    now += 199;
    check_value("key", integer(1));
    assert_true(expire("key", 0)); /* for ever */
    now += 1000000;
    check_value("key", integer(1));
    assert_true(expire("key", 500));
    assert_true(expire("key", 5)); /* shorter */
    now += 5;
    check_none("key");
}

static void test_the_longest_time(void **state) {
    set("key", integer(1), UINT64_MAX);
    now += UINT64_C(1) << 50;
    check_value("key", integer(1));
}

/* ---- the limit ---- */

static void test_full(void **state) {
    size_t each = store_entry_bytes() + 1 + 10;
    make_smaller(3 * each);
    assert_int_equal(set("a", text("0123456789"), 0), STORE_OK);
    assert_int_equal(set("b", text("0123456789"), 0), STORE_OK);
    assert_int_equal(set("c", text("0123456789"), 0), STORE_OK);
    assert_int_equal(store_bytes(store), 3 * each);
    assert_int_equal(set("d", text(""), 0), STORE_FULL);
    assert_int_equal(add("d", text(""), 0), STORE_FULL);
    assert_int_equal(try_incr("d", integer(1)), STORE_FULL);
    assert_int_equal(set("a", text("0123456789+"), 0), STORE_FULL);
    check_none("d");
    check_value("a", text("0123456789"));                        /* what was there stays */
    assert_int_equal(set("a", text("9876543210"), 0), STORE_OK); /* takes no more than before */
    assert_int_equal(set("a", text(""), 0), STORE_OK);
    assert_int_equal(set("b", text("0123456789-123456789"), 0), STORE_OK);
    assert_true(remove_key("b"));
    assert_int_equal(try_incr("d", integer(1)), STORE_OK);
    assert_true(remove_key("a") && remove_key("c") && remove_key("d"));
    assert_int_equal(store_bytes(store), 0);
}

/* It is refused by its length alone, and costs nothing that is there. */
static void test_a_value_larger_than_the_store(void **state) {
    make_smaller(1000);
    set("key", integer(1), 0);
    struct store_value value = {.type = STORE_TEXT, .text = {"", (size_t)1 << 45}};
    assert_int_equal(store_set(store, slice_of("key"), &value, 0), STORE_FULL);
    assert_int_equal(store_exchange(store, slice_of("key"), NULL, &value, 0), STORE_FULL);
    check_value("key", integer(1));
}

static void test_a_store_smaller_than_a_key(void **state) {
    make_smaller(10);
    assert_int_equal(set("key", integer(1), 0), STORE_FULL);
    assert_int_equal(try_incr("key", integer(1)), STORE_FULL);
    assert_int_equal(store_bytes(store), 0);
}

/* What is over makes room, first over first, and no more than is needed; what is not over stays. */
static void test_full_of_what_is_over(void **state) {
    size_t each = store_entry_bytes() + 1;
    make_smaller(4 * each);
    set("a", integer(1), 300);
    set("b", integer(2), 100);
    set("c", integer(3), 200);
    set("d", integer(4), 0);
    assert_int_equal(set("e", integer(5), 0), STORE_FULL);
    now += 250;
    assert_int_equal(set("e", integer(5), 0), STORE_OK);
    assert_int_equal(store_bytes(store), 4 * each);
    assert_int_equal(try_incr("f", integer(6)), STORE_OK);
    assert_int_equal(add("g", integer(7), 0), STORE_FULL);
    check_value("a", integer(1));
    check_value("d", integer(4));
    check_value("e", integer(5));
    check_value("f", integer(6));
}

/* ---- keys ---- */

/* Adds "key=value " to a text. */
static void note_entry(void *text, struct slice key, const struct store_value *value) {
    assert_true(value->type == STORE_INTEGER || value->type == STORE_TEXT);
    char *end = (char *)text + strlen(text);
    if (value->type == STORE_INTEGER)
        sprintf(end, "%.*s=%d ", (int)key.len, key.bytes, (int)value->integer);
    else
        sprintf(end, "%.*s=%.*s ", (int)key.len, key.bytes, (int)value->text.len,
                value->text.bytes);
}

static void test_each(void **state) {
    char noted[100] = "";
    store_each(store, 100, note_entry, noted);
    assert_string_equal(noted, "");
    set("a", integer(-1), 0);
    set("over", integer(1), 10);
    set("bcd", text("xyz"), 100);
    set("", integer(3), 0);
    now += 10;
    store_each(store, 100, note_entry, noted);
    assert_non_null(strstr(noted, "a=-1 "));
    assert_non_null(strstr(noted, "bcd=xyz "));
    assert_non_null(strstr(noted, "=3 "));
    assert_int_equal(strlen(noted), strlen("a=-1 bcd=xyz =3 "));
    assert_int_equal(count_keys(2), 2);
}

/* ---- exchange ---- */

static enum store_result exchange(const char *key, const struct store_value *expected,
                                  const struct store_value *value, uint64_t ttl_ms) {
    return store_exchange(store, slice_of(key), expected, value, ttl_ms);
}

static void test_exchange(void **state) {
    struct store_value one = integer(1), two = integer(2), as_float = floating(1),
                       abc = text("abc");
    assert_int_equal(exchange("k", &one, &two, 0), STORE_EXISTS); /* there is none */
    assert_int_equal(exchange("k", NULL, NULL, 0), STORE_OK);
    assert_int_equal(exchange("k", NULL, &one, 0), STORE_OK);
    assert_int_equal(exchange("k", NULL, &two, 0), STORE_EXISTS);
    assert_int_equal(exchange("k", &as_float, &two, 0), STORE_EXISTS); /* no integer */
    assert_int_equal(exchange("k", &one, &abc, 0), STORE_OK);
    check_value("k", abc);
    struct store_value abd = text("abd"), ab = text("ab"), empty = text("");
    assert_int_equal(exchange("k", &abd, &one, 0), STORE_EXISTS);
    assert_int_equal(exchange("k", &ab, &one, 0), STORE_EXISTS);
    assert_int_equal(exchange("k", &abc, &empty, 0), STORE_OK);
    assert_int_equal(exchange("k", &empty, NULL, 0), STORE_OK);
    assert_int_equal(exchange("k", NULL, NULL, 0), STORE_OK);
}

static void test_exchange_keeps_the_end(void **state) {
    struct store_value one = integer(1), two = integer(2);
    assert_int_equal(exchange("made", NULL, &one, 20), STORE_OK);
    set("there", one, 20);
    set("for ever", one, 0);
    now += 10;
    assert_int_equal(exchange("made", &one, &two, 100), STORE_OK);
    assert_int_equal(exchange("there", &one, &two, 100), STORE_OK);
    assert_int_equal(exchange("for ever", &one, &two, 1), STORE_OK);
    now += 10;
    assert_int_equal(exchange("made", &two, &one, 0), STORE_EXISTS); /* it is over */
    assert_int_equal(exchange("there", NULL, &one, 0), STORE_OK);
    check_value("for ever", two);
}

static void test_exchange_in_a_full_store(void **state) {
    struct store_value one = integer(1);
    static char large[8 * 1024 * 1024];
    struct store_value too_large = {.type = STORE_TEXT, .text = {large, sizeof large}};
    size_t before = store_bytes(store);
    set("k", one, 0);
    assert_int_equal(exchange("k", &one, &too_large, 0), STORE_FULL);
    check_value("k", one);
    assert_int_equal(exchange("k", &one, NULL, 0), STORE_OK);
    assert_int_equal(store_bytes(store), before);
}

/* ---- against a model ---- */

static uint32_t random_state = 4711;

static uint32_t random_below(uint32_t limit) {
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % limit;
}

enum { MODEL_KEYS = 40, MODEL_STEPS = 200000 };

static void test_against_a_model(void **state) {
    struct {
        bool there;
        int64_t value;
        uint64_t end; /* 0: none */
    } model[MODEL_KEYS] = {0};
    for (int step = 0; step < MODEL_STEPS; step++) {
        uint32_t i = random_below(MODEL_KEYS);
        char key[8];
        snprintf(key, sizeof key, "%u", i);
        uint64_t ttl = random_below(2) ? 0 : 1 + random_below(50);
        bool there = model[i].there && (model[i].end == 0 || model[i].end > now);
        bool made = false;
        switch (random_below(7)) {
        case 0:
            assert_int_equal(set(key, integer(step), ttl), STORE_OK);
            made = true;
            break;
        case 1:
            assert_int_equal(add(key, integer(step), ttl), there ? STORE_EXISTS : STORE_OK);
            made = !there;
            break;
        case 2:
            assert_int_equal(incr(key, integer(3), integer(step - 3), ttl).integer,
                             there ? model[i].value + 3 : step);
            model[i].value += 3;
            made = !there;
            break;
        case 3:
            assert_int_equal(remove_key(key), there);
            model[i].there = false;
            break;
        case 4:
            assert_int_equal(expire(key, ttl), there);
            if (there)
                model[i].end = ttl == 0 ? 0 : now + ttl;
            break;
        case 5:
            if (there)
                check_value(key, integer(model[i].value));
            else
                check_none(key);
            break;
        default:
            now += random_below(3);
            assert_true(store_sweep(store));
        }
        if (made) {
            model[i].there = true;
            model[i].value = step;
            model[i].end = ttl == 0 ? 0 : now + ttl;
        }
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_values_keep_their_kind),
        TEST(test_any_bytes_in_keys_and_texts),
        TEST(test_copies),
        TEST(test_text_longer_than_the_buffer),
        TEST(test_set_replaces),
        TEST(test_add_only_where_there_is_none),
        TEST(test_delete),
        TEST(test_incr),
        TEST(test_incr_does_not_wrap),
        TEST(test_incr_of_what_is_no_number),
        TEST(test_incr_gives_time_only_to_what_it_makes),
        TEST(test_over_means_gone),
        TEST(test_expire),
        TEST(test_the_longest_time),
        TEST(test_full),
        TEST(test_a_value_larger_than_the_store),
        TEST(test_a_store_smaller_than_a_key),
        TEST(test_full_of_what_is_over),
        TEST(test_each),
        TEST(test_exchange),
        TEST(test_exchange_keeps_the_end),
        TEST(test_exchange_in_a_full_store),
        TEST(test_against_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
