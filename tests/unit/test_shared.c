/* test_shared.c -- the stores of a process: their names, giving memory back, and many threads at
 * once. What one store does is in test_store.c. */
#include "core/store/shared.h"

#include "base/buffer.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <uv.h>

enum { ROOMY = 1024 * 1024 };

static uint64_t now;

static uint64_t now_ms(void *user) {
    (void)user;
    return now;
}

static struct shared *shared;
static struct store *store;

/* The store with that name and that limit. */
static struct store *open_store(const char *name, size_t max_bytes) {
    int number = shared_open(shared, slice_of(name), max_bytes);
    assert_true(number >= 0);
    struct store *found = shared_find(shared, number);
    assert_non_null(found);
    return found;
}

/* On a clock that the test moves. */
static int set_up(void **state) {
    now = 1000000;
    shared = shared_new(now_ms, NULL);
    store = open_store("test", ROOMY);
    return 0;
}

static int tear_down(void **state) {
    shared_free(shared);
    return 0;
}

static struct store_value integer(int64_t number) {
    return (struct store_value){.type = STORE_INTEGER, .integer = number};
}

static struct store_value floating(double number) {
    return (struct store_value){.type = STORE_NUMBER, .number = number};
}

static void set(const char *key, int64_t number, uint64_t ttl_ms) {
    struct store_value value = integer(number);
    assert_int_equal(store_set(store, slice_of(key), &value, ttl_ms), STORE_OK);
}

/* Keys "prefix 0" and so on, each with its number, and an end that ttl_ms of the number gives. */
static void set_many(const char *prefix, int count, uint64_t (*ttl_ms)(int number)) {
    for (int i = 0; i < count; i++) {
        char key[32];
        snprintf(key, sizeof key, "%s %d", prefix, i);
        set(key, i, ttl_ms(i));
    }
}

static uint64_t no_end(int number) {
    return 0;
}

static bool has(const char *key, struct store_value want) {
    struct store_value value;
    if (store_get(store, slice_of(key), &value, NULL, 0) != STORE_OK || value.type != want.type)
        return false;
    return value.type == STORE_INTEGER ? value.integer == want.integer
                                       : value.number == want.number;
}

/* Sweeps at each moment that shared_next_ms() names, until there is none; nothing else touches the
 * store. */
static void sweep_all(void) {
    int64_t wait;
    for (int rounds = 0; (wait = shared_next_ms(shared)) >= 0; rounds++) {
        assert_true(rounds < 1000000);
        now += (uint64_t)wait;
        shared_sweep(shared);
    }
}

/* ---- stores ---- */

static void test_stores_are_apart(void **state) {
    struct store *other = open_store("other", ROOMY);
    assert_ptr_not_equal(store, other);
    set("key", 1, 0);
    struct store_value value;
    assert_int_equal(store_get(other, slice_of("key"), &value, NULL, 0), STORE_NONE);
}

static void test_the_first_opener_decides(void **state) {
    assert_ptr_equal(open_store("test", 5), store);
    assert_int_equal(store_max_bytes(store), ROOMY);
}

static void test_numbers_of_no_store(void **state) {
    assert_ptr_equal(shared_find(shared, 0), store);
    assert_null(shared_find(shared, 1));
    assert_null(shared_find(shared, -1));
    assert_null(shared_find(shared, INT64_MAX));
    assert_null(shared_find(shared, INT64_C(1) << 32));
}

static void test_too_many_stores(void **state) {
    for (int i = 1; i < SHARED_MAX_STORES; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d", i);
        assert_int_equal(shared_open(shared, slice_of(name), ROOMY), i);
    }
    assert_int_equal(shared_open(shared, slice_of("one more"), ROOMY), -1);
    assert_ptr_equal(open_store("test", ROOMY), store);
    assert_non_null(shared_find(shared, SHARED_MAX_STORES - 1));
    assert_null(shared_find(shared, SHARED_MAX_STORES));
}

/* ---- giving memory back ---- */

static uint64_t in_five_seconds(int number) {
    return 1 + (uint64_t)number % 5000;
}

/* A sweep frees memory though no call touches the store; entries without a time-to-live stay. */
static void test_sweeping(void **state) {
    store = open_store("large", 64 * ROOMY);
    assert_int_equal(shared_next_ms(shared), -1);
    set("stays", 1, 0);
    assert_int_equal(shared_next_ms(shared), -1);
    size_t bytes = store_bytes(store);
    set_many("goes", 30000, in_five_seconds);
    assert_in_range(shared_next_ms(shared), 1, 1100); /* soon after the first of them is over */
    sweep_all();
    assert_int_equal(store_bytes(store), bytes);
    assert_true(now <= 1000000 + 5000 + 1100); /* and soon after the last */
    assert_true(has("stays", integer(1)));
}

static uint64_t in_ten_ms(int number) {
    return 10;
}

/* A long sweep does not delay a worker: it goes on soon, but not at once, and other stores get
 * their turn. */
static void test_a_sweep_is_bounded(void **state) {
    struct store *small = store;
    set("goes", 1, 10);
    store = open_store("large", 64 * ROOMY);
    set_many("goes", 50000, in_ten_ms);
    struct store *large = store;
    store = open_store("last", ROOMY);
    set("goes", 1, 10);
    size_t before = store_bytes(large);
    now += (uint64_t)shared_next_ms(shared);
    shared_sweep(shared);
    assert_true(store_bytes(large) < before && store_bytes(large) > before / 2);
    assert_int_equal(store_bytes(small), 0);
    assert_int_equal(store_bytes(store), 0);
    assert_in_range(shared_next_ms(shared), 1, 100);
    sweep_all();
    assert_int_equal(store_bytes(large), 0);
}

/* Many short-lived keys do not make for a sweep each. */
static void test_sweeping_is_not_more_often_than_once_a_second(void **state) {
    for (int i = 0; i < 5000; i++) {
        char key[32];
        snprintf(key, sizeof key, "%d", i);
        set(key, i, 5);
        now++;
        shared_sweep(shared);
        if (i % 1000 == 998)
            assert_true(store_bytes(store) > 500 * store_entry_bytes());
    }
    assert_true(store_bytes(store) < 1010 * (store_entry_bytes() + 4));
}

/* Each store is swept, and one that ends earlier moves the moment of the next sweep. */
static void test_sweeping_all_stores(void **state) {
    struct store *first = store;
    set("key", 1, 60000);
    int64_t late = shared_next_ms(shared);
    store = open_store("other", ROOMY);
    set("key", 1, 3000);
    assert_true(shared_next_ms(shared) < late);
    now += (uint64_t)shared_next_ms(shared);
    shared_sweep(shared);
    assert_int_equal(store_bytes(store), 0);
    assert_int_not_equal(store_bytes(first), 0);
    now += (uint64_t)shared_next_ms(shared);
    shared_sweep(shared);
    assert_int_equal(store_bytes(first), 0);
    assert_int_equal(shared_next_ms(shared), -1);
}

/* ---- threads ---- */

enum { THREADS = 4, ROUNDS = 20000, WINNERS = 500 };

/* What the threads of one test do, each with its number. */
struct crew {
    void (*work)(int thread);
    int thread;
};

static void run_one(void *argument) {
    const struct crew *crew = argument;
    crew->work(crew->thread);
}

/* cmocka's asserts belong to the main thread: the others count what is wrong. */
static _Atomic int wrong;

static void run_threads(void (*work)(int thread)) {
    uv_thread_t threads[THREADS];
    struct crew crews[THREADS];
    wrong = 0;
    for (int i = 0; i < THREADS; i++) {
        crews[i] = (struct crew){work, i};
        assert_int_equal(uv_thread_create(&threads[i], run_one, &crews[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        uv_thread_join(&threads[i]);
    assert_int_equal(wrong, 0);
}

static void work_counting(int thread) {
    struct store_value by = integer(thread + 1), half = floating(0.5), initial = integer(0), sum;
    int64_t last = INT64_MIN;
    for (int i = 0; i < ROUNDS; i++) {
        store_incr(store, slice_of("sum"), &by, &initial, 0, &sum);
        wrong += sum.integer <= last; /* it only grows */
        last = sum.integer;
        store_incr(store, slice_of("float"), &half, &initial, 0, &sum);
    }
}

static void test_threads_lose_no_incr(void **state) {
    run_threads(work_counting);
    assert_true(has("sum", integer((int64_t)ROUNDS * (1 + 2 + 3 + 4))));
    assert_true(has("float", floating(ROUNDS * THREADS * 0.5)));
}

static _Atomic int added[WINNERS], deleted[WINNERS];

static void count_one(void *count, struct slice key, const struct store_value *value) {
    ++*(size_t *)count;
}

static void work_racing(int thread) {
    struct store_value value = integer(thread);
    for (int i = 0; i < WINNERS; i++) {
        char key[32];
        snprintf(key, sizeof key, "%d", i);
        added[i] += store_exchange(store, slice_of(key), NULL, &value, 0) == STORE_OK;
    }
    for (int i = 0; i < WINNERS; i++) {
        char key[32];
        snprintf(key, sizeof key, "made %d", i);
        deleted[i] += store_delete(store, slice_of(key));
    }
}

static void test_threads_one_adds_and_one_deletes(void **state) {
    set_many("made", WINNERS, no_end);
    for (int i = 0; i < WINNERS; i++)
        added[i] = deleted[i] = 0;
    run_threads(work_racing);
    for (int i = 0; i < WINNERS; i++) {
        assert_int_equal(added[i], 1);
        assert_int_equal(deleted[i], 1);
    }
    size_t count = 0;
    store_each(store, SIZE_MAX, count_one, &count);
    assert_int_equal(count, WINNERS);
}

static int guarded; /* plain: only the thread that has added "lock" touches it */

static void work_in_turn(int thread) {
    struct store_value value = integer(thread);
    for (int i = 0; i < ROUNDS / 20; i++) {
        while (store_exchange(store, slice_of("lock"), NULL, &value, 0) != STORE_OK)
            ;
        guarded++;
        wrong += !store_delete(store, slice_of("lock"));
    }
}

/* add and delete make a lock, and what one thread did before delete another sees after add. */
static void test_threads_add_is_a_lock(void **state) {
    guarded = 0;
    run_threads(work_in_turn);
    assert_int_equal(guarded, ROUNDS / 20 * THREADS);
}

/* Texts of one letter, of all lengths, some for a millisecond: what is read is never a mixture, and
 * never of another key. All calls at once, and a limit that is reached. */
static void work_all(int thread) {
    uint32_t random = (uint32_t)thread + 1;
    char bytes[3000], read[3000];
    for (int i = 0; i < ROUNDS; i++) {
        random = random * 1664525u + 1013904223u;
        char letter = (char)('a' + (random >> 8) % 26);
        struct slice key = {&letter, 1};
        struct store_value value = {.type = STORE_TEXT,
                                    .text = {bytes, (random >> 16) % sizeof bytes}};
        size_t count;
        memset(bytes, letter, value.text.len);
        switch ((random >> 13) % 8) {
        case 0:
        case 1:
            store_set(store, key, &value, (random >> 29) == 0);
            break;
        case 2:
            store_exchange(store, key, NULL, &value, 0);
            break;
        case 3:
            store_delete(store, key);
            break;
        case 4:
            store_expire(store, key, 1);
            break;
        case 5:
            count = 0;
            store_each(store, 100, count_one, &count);
            wrong += count > 26;
            shared_sweep(shared);
            break;
        default:
            if (store_get(store, key, &value, read, sizeof read) == STORE_OK)
                for (size_t at = 0; at < value.text.len; at++)
                    wrong += value.text.bytes[at] != letter;
        }
        wrong += store_bytes(store) > store_max_bytes(store);
    }
}

static void test_threads_see_whole_values(void **state) {
    shared_free(shared);
    shared = shared_new(NULL, NULL); /* on the system's clock */
    store = open_store("threads", 20000);
    run_threads(work_all);
    for (char letter = 'a'; letter <= 'z'; letter++)
        store_delete(store, (struct slice){&letter, 1});
    assert_int_equal(store_bytes(store), 0);
}

static _Atomic int opened[WINNERS / 5]; /* the number of each, and 1 */

static void work_opening(int thread) {
    for (int i = 0; i < WINNERS / 5; i++) {
        char name[32];
        snprintf(name, sizeof name, "%d", i);
        int number = shared_open(shared, slice_of(name), 1000), first = 0;
        if (!atomic_compare_exchange_strong(&opened[i], &first, number + 1))
            wrong += first != number + 1;
        struct store *mine = shared_find(shared, number);
        wrong += mine == NULL || store_max_bytes(mine) != 1000;
    }
}

static void test_threads_open_the_same_stores(void **state) {
    memset(opened, 0, sizeof opened);
    run_threads(work_opening);
    assert_non_null(shared_find(shared, WINNERS / 5));
    assert_null(shared_find(shared, WINNERS / 5 + 1));
}

/* ---- packed stores ---- */

/* Packs the first store, with the wall clock at 5000000 ms. */
static struct slice pack(struct buffer *bytes, size_t expected) {
    struct buffer_sink sink = buffer_sink_of(bytes);
    assert_int_equal(shared_pack(shared, 0, 5000000, &sink.sink), expected);
    return (struct slice){buffer_start(bytes), bytes->len};
}

static void replace_shared(void) {
    shared_free(shared);
    now = 77; /* the clock of another process */
    shared = shared_new(now_ms, NULL);
}

static void test_a_packed_store_comes_back(void **state) {
    struct buffer bytes = {0};
    struct store_unpacked result = {0};
    struct store_value yes = {.type = STORE_BOOLEAN, .boolean = true};
    struct store_value text = {.type = STORE_TEXT, .text = {"a\0b", 3}}, half = floating(0.5);
    set("ever", 7, 0);
    set("long", 8, 60000);
    set("short", 9, 1000);
    set("gone", 10, 1);
    now += 1;
    store_set(store, slice_of("yes"), &yes, 0);
    store_set(store, slice_of("text"), &text, 0);
    store_set(store, slice_of("half"), &half, 0);
    struct slice packed = pack(&bytes, 6);
    replace_shared();
    assert_true(shared_unpack(NULL, packed, 5001000, &result)); /* only reads */
    assert_int_equal(shared_count(shared), 0);
    result = (struct store_unpacked){0};
    assert_true(shared_unpack(shared, packed, 5001000, &result)); /* a second later */
    assert_int_equal(result.entries, 5);
    assert_int_equal(result.expired, 1);
    assert_int_equal(result.refused, 0);
    store = open_store("test", 2 * ROOMY); /* the script's limit counts */
    assert_int_equal(store_max_bytes(store), 2 * ROOMY);
    assert_int_equal(store_max_bytes(open_store("test", ROOMY)), 2 * ROOMY);
    assert_true(has("ever", integer(7)) && has("half", floating(0.5)) && has("long", integer(8)));
    now += 58998;
    assert_true(has("long", integer(8)));
    now += 1;
    assert_false(has("long", integer(8)));
    char buffer[8];
    struct store_value value;
    assert_int_equal(store_get(store, slice_of("text"), &value, buffer, sizeof buffer), STORE_OK);
    assert_int_equal(value.text.len, 3);
    assert_memory_equal(buffer, "a\0b", 3);
    buffer_free(&bytes);
}

static void test_a_packed_store_that_does_not_fit(void **state) {
    struct buffer bytes = {0};
    struct store_unpacked result = {0};
    set_many("key", 100, no_end);
    struct slice packed = pack(&bytes, 100);
    replace_shared();
    open_store("test", 10 * (store_entry_bytes() + 8));
    assert_true(shared_unpack(shared, packed, 5000000, &result));
    assert_in_range(result.entries, 5, 10);
    assert_int_equal(result.entries + result.refused, 100);
    for (size_t len = 0; len < packed.len; len++) { /* cut anywhere */
        char *cut = mem_alloc(len + 1);
        memcpy(cut, packed.bytes, len);
        assert_false(shared_unpack(NULL, (struct slice){cut, len}, 5000000, &result));
        mem_free(cut);
    }
    buffer_free(&bytes);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_a_packed_store_comes_back),
        TEST(test_a_packed_store_that_does_not_fit),
        TEST(test_stores_are_apart),
        TEST(test_the_first_opener_decides),
        TEST(test_numbers_of_no_store),
        TEST(test_too_many_stores),
        TEST(test_sweeping),
        TEST(test_a_sweep_is_bounded),
        TEST(test_sweeping_is_not_more_often_than_once_a_second),
        TEST(test_sweeping_all_stores),
        TEST(test_threads_lose_no_incr),
        TEST(test_threads_one_adds_and_one_deletes),
        TEST(test_threads_add_is_a_lock),
        TEST(test_threads_see_whole_values),
        TEST(test_threads_open_the_same_stores),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
