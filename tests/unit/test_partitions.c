/* test_partitions.c -- the partition of a room, its server, and the names of keys: every machine
 * must compute the same, in each version. */
#include "cluster/node/partitions.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* Another number here is another protocol: machines of two versions would not meet. */
static void test_fixed(void **state) {
    (void)state;
    assert_int_equal(partitions_of(slice_of("lobby")), 5);
    assert_int_equal(partitions_of(slice_of("chat:1")), 53);
    static const char user[] = "\0tidewire user\0ada";
    assert_int_equal(partitions_of((struct slice){user, sizeof user - 1}), 25);
}

static void test_even(void **state) {
    (void)state;
    unsigned counts[PARTITIONS] = {0};
    for (int i = 0; i < 128000; i++) {
        char name[32];
        snprintf(name, sizeof name, "room:%d", i);
        counts[partitions_of(slice_of(name))]++;
    }
    for (int i = 0; i < PARTITIONS; i++)
        assert_in_range(counts[i], 800, 1200);
}

static void test_servers(void **state) {
    (void)state;
    for (unsigned servers = 1; servers < 16; servers++) {
        unsigned moved = 0, counts[16] = {0};
        for (unsigned p = 0; p < PARTITIONS; p++) {
            unsigned before = partitions_server(p, servers);
            unsigned after = partitions_server(p, servers + 1);
            assert_true(before < servers);
            assert_true(after == before || after == servers);
            moved += after != before;
            counts[before]++;
        }
        assert_true(moved > 0 && moved < 2 * PARTITIONS / (servers + 1));
        for (unsigned i = 0; i < servers; i++)
            assert_true(counts[i] > 0);
    }
}

static void expect_key(struct slice key, const char *expected) {
    char *text = mem_strndup(key.bytes, key.len);
    assert_string_equal(text, expected);
    mem_free(text);
}

static void test_names(void **state) {
    (void)state;
    struct buffer buffer = {0};
    struct slice tw = slice_of("tw"), room;
    expect_key(partitions_key(&buffer, tw, 127, "c", slice_of("lobby")), "tw:{127}:c:lobby");
    expect_key(partitions_key(&buffer, tw, 0, "floor", (struct slice){NULL, 0}), "tw:{0}:floor");
    expect_key(partitions_common_key(&buffer, tw, "to", slice_of("x")), "tw:to:x");
    expect_key(partitions_common_key(&buffer, tw, "all", (struct slice){NULL, 0}), "tw:all");
    struct slice odd = {"a:{7}:c:\0b", 10};
    assert_true(partitions_room_of(partitions_key(&buffer, tw, 17, "c", odd), tw, &room));
    assert_true(slice_equal(room, odd));
    static const char *const others[] = {
        "", "t", "tw", "tw:all", "tw:{17}:h:x", "tw:{17}:c:", "tx:{17}:c:x", "tw:{17"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_false(partitions_room_of(slice_of(others[i]), tw, &room));
    buffer_free(&buffer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fixed),
        cmocka_unit_test(test_even),
        cmocka_unit_test(test_servers),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
