/* test_lua_memory.c -- blocks keep their bytes whatever Lua does with them, and memory of freed
 * ones is used again, up to a limit. */
#include "script/vm/lua_memory.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static struct lua_memory memory = {.limit = SIZE_MAX, .bound = SIZE_MAX, .mark = SIZE_MAX};

static int close_memory(void **state) {
    lua_memory_close(&memory);
    assert_int_equal(memory.kept, 0);
    return 0;
}

static void *alloc(void *block, size_t old_size, size_t size) {
    return lua_memory_alloc(&memory, block, old_size, size);
}

/* ---- any order of calls ---- */

enum { BLOCKS = 200, STEPS = 100000 };

static uint32_t random_state = 4711;

static uint32_t random_below(uint32_t limit) {
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % limit;
}

/* Mostly sizes that have a list; 0 frees the block. */
static size_t random_size(void) {
    switch (random_below(4)) {
    case 0:
        return 0;
    case 1:
        return random_below(3 * LUA_MEMORY_LARGEST);
    default:
        return random_below(200);
    }
}

static void check_bytes(const unsigned char *bytes, size_t len, unsigned char expected) {
    for (size_t i = 0; i < len; i++)
        assert_int_equal(bytes[i], expected);
}

static void test_bytes_stay(void **state) {
    struct {
        unsigned char *bytes;
        size_t size;
    } blocks[BLOCKS] = {0};
    for (int step = 0; step < STEPS; step++) {
        uint32_t i = random_below(BLOCKS);
        size_t old_size = blocks[i].size, size = random_size();
        /* Lua passes a kind of object in place of the size of a new block */
        blocks[i].bytes = alloc(blocks[i].bytes, old_size == 0 ? i % 9 : old_size, size);
        assert_int_equal(blocks[i].bytes == NULL, size == 0);
        check_bytes(blocks[i].bytes, old_size < size ? old_size : size, (unsigned char)i);
        if (size > 0)
            memset(blocks[i].bytes, (int)i, size);
        blocks[i].size = size;
    }
    for (uint32_t i = 0; i < BLOCKS; i++) {
        check_bytes(blocks[i].bytes, blocks[i].size, (unsigned char)i);
        alloc(blocks[i].bytes, blocks[i].size, 0);
    }
}

/* ---- the lists ---- */

static void test_used_again(void **state) {
    void *one = alloc(NULL, 0, 100), *other = alloc(NULL, 0, 1000);
    alloc(one, 100, 0);
    alloc(other, 1000, 0);
    assert_int_equal(memory.kept, LARGEST == 0 ? 0 : 104 + 1000);
    if (LARGEST > 0) { /* nothing is kept with a sanitizer */
        assert_ptr_equal(alloc(NULL, 0, 993), other);
        assert_ptr_equal(alloc(NULL, 0, 104), one);
        assert_int_equal(memory.kept, 0);
        alloc(one, 104, 0);
        alloc(other, 993, 0);
    }
}

/* Malloc's blocks are multiples of 16 bytes, of which its header takes 8: more room would take
 * another 16. */
static void test_rooms_fill_blocks_of_malloc(void **state) {
    for (size_t size = 1; size <= LUA_MEMORY_LARGEST; size++) {
        size_t room = room_of(steps_of(size));
        assert_in_range(room, size, size + 15);
        assert_int_equal((room + 8) % 16, 0);
    }
}

static void test_large_blocks_are_not_kept(void **state) {
    alloc(alloc(NULL, 0, LUA_MEMORY_LARGEST + 1), LUA_MEMORY_LARGEST + 1, 0);
    assert_int_equal(memory.kept, 0);
}

static void test_limit(void **state) {
    enum { COUNT = MOST_KEPT / LUA_MEMORY_LARGEST + 10 };
    static void *blocks[COUNT];
    for (int i = 0; i < COUNT; i++)
        blocks[i] = alloc(NULL, 0, LUA_MEMORY_LARGEST);
    for (int i = 0; i < COUNT; i++)
        alloc(blocks[i], LUA_MEMORY_LARGEST, 0);
    size_t most = LARGEST == 0 ? 0 : MOST_KEPT;
    assert_in_range(memory.kept, most, most + LUA_MEMORY_LARGEST);
}

/* ---- full stacks ---- */

static int full; /* stacks that are full now */

static void on_full_stack(void *user, bool is_full) {
    assert_ptr_equal(user, &full);
    full += is_full ? 1 : -1;
}

/* As Lua does: a stack grows to its limit and beyond it, into a new block or in place. In
 * both sizes it is full: an overflow is handled in the second, where finalizers have no room. */
static void test_full_stacks(void **state) {
    const size_t size = (LUAI_MAXSTACK + 5) * 16, beyond = size + 200 * 16;
    memory.on_full_stack = on_full_stack;
    memory.user = &full;
    void *block = alloc(NULL, 0, size / 2);
    assert_int_equal(full, 0);
    void *other = alloc(NULL, 0, size);
    assert_int_equal(full, 1);
    alloc(block, size / 2, 0);
    block = alloc(NULL, 0, beyond);
    assert_int_equal(full, 2);
    alloc(other, size, 0);
    assert_int_equal(full, 1);
    block = alloc(block, beyond, size);
    assert_int_equal(full, 1);
    block = alloc(block, size, beyond);
    assert_int_equal(full, 1);
    alloc(block, beyond, 0);
    assert_int_equal(full, 0);
    memory.on_full_stack = NULL;
}

/* ---- the limit on all blocks ---- */

static size_t limit_now_result;

static size_t on_limit_now(void *user) {
    (void)user;
    return limit_now_result;
}

static void test_limit_of_all(void **state) {
    enum { LIMIT = 100000 };
    lua_memory_set_limit(&memory, LIMIT);
    memory.limit_now = on_limit_now;
    limit_now_result = LIMIT;
    void *one = alloc(NULL, 0, LIMIT - 5000);
    assert_non_null(one);
    assert_null(alloc(NULL, 0, 6000));
    assert_true(memory.refused);
    assert_int_equal(memory.refused_bytes, 6000);
    assert_null(alloc(one, LIMIT - 5000, LIMIT + 1));
    one = alloc(one, LIMIT - 5000, 50000); /* shrinks */
    assert_int_equal(lua_memory_used(&memory), 50000);
    void *other = alloc(NULL, 0, 45000);
    assert_non_null(other);
    limit_now_result = LIMIT + 10000; /* a task with a reserve */
    void *reserved = alloc(NULL, 0, 14000);
    assert_non_null(reserved);
    limit_now_result = SIZE_MAX; /* code that nothing protects */
    void *exempt = alloc(NULL, 0, 200000);
    assert_non_null(exempt);
    alloc(exempt, 200000, 0);
    alloc(reserved, 14000, 0);
    alloc(other, 45000, 0);
    alloc(one, 50000, 0);
    assert_int_equal(lua_memory_used(&memory), 0);
    lua_memory_set_limit(&memory, SIZE_MAX);
}

/* A collection has to free more than the block, or the same block is refused again. */
static void test_again_with_a_margin(void **state) {
    enum { LIMIT = 320000 };
    lua_memory_set_limit(&memory, LIMIT);
    memory.limit_now = on_limit_now;
    limit_now_result = LIMIT;
    void *one = alloc(NULL, 0, LIMIT - 20000), *other = alloc(NULL, 0, 15000);
    assert_null(alloc(NULL, 0, 6000));
    alloc(other, 15000, 0);
    other = alloc(NULL, 0, 6000); /* asked again */
    assert_non_null(other);
    alloc(other, 6000, 0);
    other = alloc(NULL, 0, 15000);
    assert_null(alloc(NULL, 0, 6000));
    one = alloc(one, LIMIT - 20000, LIMIT - 22000); /* frees too little */
    assert_null(alloc(NULL, 0, 6000));
    alloc(other, 15000, 0);
    alloc(one, LIMIT - 22000, 0);
    lua_memory_set_limit(&memory, SIZE_MAX);
}

static int collections; /* that were asked for */

static void on_collect_soon(void *user) {
    assert_ptr_equal(user, &collections);
    collections++;
}

/* A buffer of a C function gets an error at the limit, though garbage would make room: so garbage
 * is collected before, but not for each block. */
static void test_collects_early(void **state) {
    enum { LIMIT = 3200000, SIZE = 10000, COUNT = LIMIT / SIZE };
    void *blocks[COUNT];
    lua_memory_set_limit(&memory, LIMIT);
    memory.limit_now = on_limit_now;
    memory.collect_soon = on_collect_soon;
    memory.user = &collections;
    limit_now_result = LIMIT;
    for (int round = 0; round < 2; round++) {
        collections = 0;
        int asked_at = 0;
        for (int i = 0; i < COUNT - 1; i++) {
            assert_non_null(blocks[i] = alloc(NULL, 0, SIZE));
            if (collections == 1 && asked_at == 0)
                asked_at = i;
        }
        assert_in_range(asked_at, COUNT * 3 / 4, COUNT * 15 / 16);
        assert_in_range(collections, 2, 4);
        int before = collections;
        for (int i = 0; i < 100; i++) { /* is full: the collections of refusals are enough */
            assert_null(alloc(NULL, 0, 2 * SIZE + i));
            alloc(alloc(NULL, 0, SIZE - i), SIZE - i, 0);
        }
        assert_int_equal(collections, before);
        for (int i = 0; i < COUNT - 1; i++)
            alloc(blocks[i], SIZE, 0);
    }
    memory.collect_soon = NULL;
    lua_memory_set_limit(&memory, SIZE_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_bytes_stay, close_memory),
        cmocka_unit_test_teardown(test_used_again, close_memory),
        cmocka_unit_test_teardown(test_rooms_fill_blocks_of_malloc, close_memory),
        cmocka_unit_test_teardown(test_large_blocks_are_not_kept, close_memory),
        cmocka_unit_test_teardown(test_limit, close_memory),
        cmocka_unit_test(test_full_stacks),
        cmocka_unit_test_teardown(test_limit_of_all, close_memory),
        cmocka_unit_test_teardown(test_again_with_a_margin, close_memory),
        cmocka_unit_test_teardown(test_collects_early, close_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
