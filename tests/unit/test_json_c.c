/* test_json_c.c -- the codec as the C core uses it: bytes without a NUL behind them, a level stack,
 * and an allocator that says no. What JSON becomes is tests/lua/json_spec.lua's. */
#include "script/json/json_c.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Allocations that may still grow memory; negative: any number. */
static long allowed = -1;
static size_t in_use;

static void *counting_alloc(void *ud, void *p, size_t old, size_t size) {
    if (!p)
        old = 0; /* it says what kind of thing is wanted */
    if (size == 0) {
        in_use -= old;
        free(p);
        return NULL;
    }
    if (allowed == 0 && size > old)
        return NULL;
    if (allowed > 0 && size > old)
        allowed--;
    in_use += size - old;
    return realloc(p, size);
}

static lua_State *new_state(void) {
    allowed = -1;
    lua_State *L = lua_newstate(counting_alloc, NULL);
    assert_non_null(L);
    luaL_openlibs(L);
    luaL_requiref(L, "tidewire.json_c", luaopen_tidewire_json_c, 0);
    lua_settop(L, 0);
    return L;
}

static void reads_bytes_that_end_nowhere(void **state) {
    lua_State *L = new_state();
    static const char bytes[] = {'[', '1', ',', '2', ']', '3'};
    char *copy = malloc(5); /* so that a sanitizer sees a step too far */
    memcpy(copy, bytes, 5);
    lua_pushliteral(L, "below");
    assert_true(json_c_push(L, copy, 5));
    assert_int_equal(lua_gettop(L), 2);
    assert_int_equal(luaL_len(L, 2), 2);
    for (size_t len = 0; len < 5; len++) {
        char *cut = malloc(len + 1);
        memcpy(cut + 1, bytes, len);
        assert_false(json_c_push(L, cut + 1, len));
        assert_int_equal(lua_gettop(L), 3);
        assert_non_null(strstr(lua_tostring(L, -1), " at byte "));
        lua_pop(L, 1);
        free(cut);
    }
    assert_string_equal(lua_tostring(L, 1), "below");
    free(copy);
    lua_close(L);
}

static void writes_bytes_and_leaves_the_stack_level(void **state) {
    lua_State *L = new_state();
    size_t len;
    assert_true(json_c_push(L, "{\"a\":[1,null,\"x\"]}", 18));
    const char *bytes = json_c_bytes(L, -1, &len);
    assert_int_equal(len, 18);
    assert_memory_equal(bytes, "{\"a\":[1,null,\"x\"]}", 18);
    assert_int_equal(lua_gettop(L), 1);

    lua_pushcfunction(L, luaopen_tidewire_json_c);
    lua_setfield(L, 1, "f");
    assert_null(json_c_bytes(L, 1, &len));
    assert_int_equal(lua_gettop(L), 2);
    assert_non_null(strstr(lua_tostring(L, -1), "value.f is a function"));
    lua_close(L);
}

static void gives_a_large_buffer_back(void **state) {
    lua_State *L = new_state();
    size_t len;
    lua_getglobal(L, "string");
    lua_getfield(L, -1, "rep");
    lua_pushliteral(L, "x");
    lua_pushinteger(L, 4 << 20);
    lua_call(L, 2, 1);
    assert_non_null(json_c_bytes(L, -1, &len));
    assert_int_equal(len, (4 << 20) + 2);
    lua_settop(L, 0);
    lua_gc(L, LUA_GCCOLLECT);
    assert_true(in_use > 4 << 20);
    lua_pushboolean(L, true);
    assert_non_null(json_c_bytes(L, -1, &len)); /* the next call lets go of it */
    assert_true(in_use < 1 << 20);
    lua_close(L);
    assert_int_equal(in_use, 0);
}

static void survives_a_second_load(void **state) {
    lua_State *L = new_state();
    assert_true(json_c_push(L, "[null,[]]", 9));
    luaL_requiref(L, "again", luaopen_tidewire_json_c, 0);
    lua_getfield(L, -1, "null");
    lua_rawgeti(L, 1, 1);
    assert_true(lua_rawequal(L, -1, -2));
    lua_close(L);
}

static const char text[] = "{\"list\":[1,2.5,\"plain\",\"with \\u00e9 escapes \\n\",[],{}],"
                           "\"long\":\"0123456789012345678901234567890123456789012345678901\"}";

static int there_and_back(lua_State *L) {
    size_t len;
    lua_settop(L, 0);
    if (!json_c_push(L, text, sizeof text - 1))
        return luaL_error(L, "refused");
    if (!json_c_bytes(L, 1, &len))
        return luaL_error(L, "not written");
    lua_pushboolean(L, json_c_push(L, "[1,", 3));
    lua_pushcfunction(L, there_and_back);
    lua_pushboolean(L, json_c_bytes(L, -1, &len) != NULL);
    return 0;
}

/* Memory may end at any step: it must be a Lua error, and everything be freed with the state. */
static void survives_the_end_of_memory(void **state) {
    bool done = false;
    long steps = 0;
    for (; !done; steps++) {
        lua_State *L = new_state();
        lua_pushcfunction(L, there_and_back);
        allowed = steps;
        int status = lua_pcall(L, 0, 0, 0);
        allowed = -1;
        done = status == LUA_OK;
        if (!done)
            assert_string_equal(lua_tostring(L, -1), "not enough memory");
        /* The state is as good as before. */
        lua_settop(L, 0);
        assert_true(json_c_push(L, text, sizeof text - 1));
        lua_close(L);
    }
    assert_true(steps > 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_bytes_that_end_nowhere),
        cmocka_unit_test(writes_bytes_and_leaves_the_stack_level),
        cmocka_unit_test(gives_a_large_buffer_back),
        cmocka_unit_test(survives_a_second_load),
        cmocka_unit_test(survives_the_end_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
