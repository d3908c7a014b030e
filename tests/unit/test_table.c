/* test_table.c -- a name finds the thing that was put in under it, and no other. */
#include "base/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint32_t random_state = 90210;

static uint32_t random_below(uint32_t limit) {
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % limit;
}

struct thing {
    int before; /* so that the entry is not at the owner's address */
    struct table_entry entry;
    char key[24];
    bool is_in;
};

static void set_key(struct thing *thing, const char *bytes, size_t len) {
    memcpy(thing->key, bytes, len);
    thing->entry.key = (struct slice){thing->key, len};
}

/* Looks up a copy of the key: what counts is the bytes, not where they are. */
static struct thing *find(const struct table *table, struct slice key) {
    char *copy = malloc(key.len + 1); /* of its size, so that one byte more is seen */
    memcpy(copy, key.bytes, key.len);
    struct table_entry *found = table_find(table, (struct slice){copy, key.len});
    free(copy);
    return found == NULL ? NULL : TABLE_OWNER(found, struct thing, entry);
}

static void test_empty(void **state) {
    struct table table = {0};
    assert_null(table_find(&table, slice_of("name")));
    assert_null(table_find(&table, (struct slice){NULL, 0}));
    table_close(&table);
    table_close(&table);
}

/* Some are others' beginnings; the last ones are pairs that a common hash without a secret, FNV-1a,
 * takes for the same. */
static void test_any_bytes_are_a_key(void **state) {
    static const struct slice keys[] = {
        {"", 0},
        {"\0", 1},
        {"\0\0", 2},
        {"a", 1},
        {"a\0", 2},
        {"a\0b", 3},
        {"a\0c", 3},
        {"\xff", 1},
        {"A", 1},
        {"ab", 2},
        {"costarring", 10},
        {"liquid", 6},
        {"sefukl", 6},
        {"eaxswr", 6},
        {"\xcc\x24\x31\xc4", 4},
        {"\xcc\x24\x31\xc4\0", 5},
    };
    enum { KEYS = sizeof(keys) / sizeof(keys[0]) };
    struct thing things[KEYS] = {0};
    struct table table = {0};
    for (size_t i = 0; i < KEYS; i++) {
        set_key(&things[i], keys[i].bytes, keys[i].len);
        assert_null(find(&table, keys[i]));
        table_add(&table, &things[i].entry);
    }
    assert_int_equal(table.count, KEYS);
    for (size_t i = 0; i < KEYS; i++)
        assert_ptr_equal(find(&table, keys[i]), &things[i]);
    assert_null(find(&table, slice_of("b")));
    for (size_t i = 0; i < KEYS; i++) {
        table_remove(&table, &things[i].entry);
        assert_null(find(&table, keys[i]));
    }
    assert_int_equal(table.count, 0);
    table_close(&table);
}

/* A table that was closed is an empty one, and can be filled again. */
static void test_close(void **state) {
    struct table table = {0};
    struct thing thing = {0};
    for (int i = 0; i < 3; i++) {
        set_key(&thing, "name", 4);
        table_add(&table, &thing.entry);
        assert_ptr_equal(find(&table, slice_of("name")), &thing);
        table_close(&table);
        assert_int_equal(table.count, 0);
        assert_null(find(&table, slice_of("name")));
    }
}

enum { THINGS = 3000 };

/* Keys of several lengths, many of which share their beginning or their end. */
static struct thing *many_things(void) {
    struct thing *things = calloc(THINGS, sizeof(*things));
    for (int i = 0; i < THINGS; i++) {
        char key[24];
        int len = i % 3 == 0   ? snprintf(key, sizeof(key), "room %d", i)
                  : i % 3 == 1 ? snprintf(key, sizeof(key), "%d's room", i)
                               : snprintf(key, sizeof(key), "%x", (unsigned)i * 2654435761u);
        set_key(&things[i], key, (size_t)len);
    }
    return things;
}

static void test_against_a_model(void **state) {
    struct table table = {0};
    struct thing *things = many_things();
    uint32_t count = 0;
    for (int step = 0; step < 200000; step++) {
        /* in turn mostly growing and mostly shrinking */
        bool grows = step / 20000 % 2 == 0;
        struct thing *thing = &things[random_below(THINGS)];
        assert_ptr_equal(find(&table, thing->entry.key), thing->is_in ? thing : NULL);
        if (!thing->is_in && (grows || random_below(4) == 0)) {
            table_add(&table, &thing->entry);
            thing->is_in = true;
            count++;
        } else if (thing->is_in && (!grows || random_below(4) == 0)) {
            table_remove(&table, &thing->entry);
            thing->is_in = false;
            count--;
        }
        assert_int_equal(table.count, count);
    }
    for (int i = 0; i < THINGS; i++) {
        assert_ptr_equal(find(&table, things[i].entry.key), things[i].is_in ? &things[i] : NULL);
        if (things[i].is_in)
            table_remove(&table, &things[i].entry);
    }
    assert_int_equal(table.count, 0);
    table_close(&table);
    free(things);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_any_bytes_are_a_key),
        cmocka_unit_test(test_close),
        cmocka_unit_test(test_against_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
