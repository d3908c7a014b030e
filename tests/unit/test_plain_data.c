/* test_plain_data.c -- values of Lua as bytes and back: what comes back, what is refused, and bytes
 * that are none. */
#include "script/plain/plain_data.h"

#include "base/mem.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PLENTY = 1 << 20 };

static lua_State *L;
static char text[512];
static const struct error_text problem = {text, sizeof text};

static int set_up(void **state) {
    (void)state;
    L = luaL_newstate();
    luaL_openlibs(L);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    lua_close(L);
    return 0;
}

/* Pushes the value of an expression. */
static void push(const char *expression) {
    char source[1024];
    snprintf(source, sizeof source, "return %s", expression);
    if (luaL_dostring(L, source) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
    assert_int_equal(lua_gettop(L), 1);
}

/* Are the values at 1 and 2 the same, in kind and content? */
static void assert_same(const char *of) {
    static const char source[] =
        "local function same(a, b)\n"
        "  if type(a) ~= type(b) or math.type(a) ~= math.type(b) then return false end\n"
        "  if type(a) ~= 'table' then\n"
        "    return a == b and (a ~= 0 or 1/a == 1/b) or a ~= a and b ~= b\n"
        "  end\n"
        "  for k, v in pairs(a) do if not same(v, b[k]) then return false end end\n"
        "  for k in pairs(b) do if a[k] == nil then return false end end\n"
        "  return true\n"
        "end\n"
        "return same(...)";
    assert_int_equal(luaL_loadstring(L, source), LUA_OK);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    lua_call(L, 2, 1);
    if (!lua_toboolean(L, -1))
        fail_msg("%s came back as another value", of);
}

static void check_round_trip(const char *expression) {
    struct buffer bytes = {0};
    push(expression);
    if (!plain_data_write(L, 1, PLENTY, &bytes, &problem))
        fail_msg("%s: %s", expression, text);
    assert_int_equal(lua_gettop(L), 1);
    const char *start = buffer_start(&bytes);
    const char *end = plain_data_read(L, start, start + bytes.len);
    assert_ptr_equal(end, start + bytes.len);
    assert_int_equal(lua_gettop(L), 2);
    assert_same(expression);
    lua_settop(L, 0);
    buffer_free(&bytes);
}

static void test_round_trips(void **state) {
    (void)state;
    static const char *const expressions[] = {
        "nil",
        "true",
        "false",
        "0",
        "-1",
        "63",
        "64",
        "-64",
        "-65",
        "math.maxinteger",
        "math.mininteger",
        "0.0",
        "-0.0",
        "1.0",
        "1.5",
        "1e300",
        "math.huge",
        "-math.huge",
        "0/0",
        "''",
        "'text'",
        "('x'):rep(100000)",
        "'\\0\\255'",
        "{}",
        "{1, 2, 3}",
        "{1, nil, 3}",
        "{nil, nil, 3}",
        "{a = 1, b = {c = {d = 'e'}}}",
        "{1, 2, x = 'y', [10] = 3}",
        "{[0] = 'a', [-1] = 'b', [1.5] = 'c', [true] = 'd', [math.huge] = 'e'}",
        "(function() local t = {} for i = 1, 5000 do t[i] = i end return t end)()",
        "(function() local t = {} for i = 1, 5000 do t['k' .. i] = {i} end return t end)()",
        "(function() local t = {} for i = 2, 100 do t = {t, x = t} if i > 8 then t = {t[1]} end end"
        " return t end)()",
        "(function() local x = {1} return {x, x, y = x} end)()",
    };
    for (size_t i = 0; i < sizeof expressions / sizeof expressions[0]; i++)
        check_round_trip(expressions[i]);
}

static void check_refused(const char *expression, const char *expected) {
    struct buffer bytes = {0};
    push(expression);
    assert_false(plain_data_write(L, 1, PLENTY, &bytes, &problem));
    assert_int_equal(lua_gettop(L), 1);
    if (strstr(text, expected) == NULL)
        fail_msg("%s: %s", expression, text);
    lua_settop(L, 0);
    buffer_free(&bytes);
}

static void test_other_values(void **state) {
    (void)state;
    check_refused("print", " is a function");
    check_refused("io.stdout", " is a userdata, FILE*");
    check_refused("coroutine.create(print)", " is a coroutine");
    check_refused("{a = {{}, {b = print}}}", ".a[2].b is a function");
    check_refused("{['a b'] = print}", "[\"a b\"] is a function");
    check_refused("{[1.5] = print}", "[1.5] is a function");
    check_refused("{[true] = print}", "[true] is a function");
    check_refused("{[print] = 1}", "[function] is a function, as a key");
    check_refused("{x = {[{}] = {[print] = 1}}}", ".x[table][function] is a function, as a key");
    check_refused("setmetatable({}, {__kind = 'a room'})", " is a room");
    check_refused("(function() local t = {} t.x = {t} return t end)()",
                  ".x[1] is a table that contains itself");
    check_refused("(function() local t = {} for i = 1, 100 do t = {t} end return t end)()",
                  "is too deep: 100 tables in tables are the most");
    check_refused("('x'):rep(2^20)", " is too large");
    check_refused("(function() local t = {} for i = 1, 2^20 do t[i] = true end return t end)()",
                  "is too large");
    check_refused("(function() local t = print for i = 1, 90 do t = {['a_long_name_' .. i] = t} end"
                  " return t end)()",
                  "is a function");
}

static void test_deepest(void **state) {
    (void)state;
    check_round_trip("(function() local t = {} for i = 1, 99 do t = {t} end return t end)()");
}

/* Every beginning of good bytes is refused, and leaves nothing on the stack. */
static void test_truncated(void **state) {
    (void)state;
    struct buffer bytes = {0};
    push("{1, 2.5, 'text', {a = {true, false}, [3] = 'x'}, ('y'):rep(300)}");
    assert_true(plain_data_write(L, 1, PLENTY, &bytes, &problem));
    lua_settop(L, 0);
    for (size_t len = 0; len < bytes.len; len++) {
        char *copy = mem_alloc(len + 1); /* so that a sanitizer sees a read beyond the end */
        memcpy(copy, buffer_start(&bytes), len);
        char *exact = realloc(copy, len == 0 ? 1 : len);
        assert_null(plain_data_read(L, exact, exact + len));
        assert_int_equal(lua_gettop(L), 0);
        free(exact);
    }
    buffer_free(&bytes);
}

static void check_none(const char *bytes, size_t len) {
    assert_null(plain_data_read(L, bytes, bytes + len));
    assert_int_equal(plain_data_read_all(L, bytes, len), -1);
    assert_int_equal(lua_gettop(L), 0);
}

static void test_no_values(void **state) {
    (void)state;
#define NONE(bytes) check_none(bytes, sizeof(bytes) - 1)
    NONE("\x07");                                                 /* an unknown tag */
    NONE("\x05\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");         /* a string of 2^64 - 1 */
    NONE("\x05\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f");         /* more than 64 bits */
    NONE("\x05\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80"); /* no end of a number */
    NONE("\x06\xff\xff\xff\xff\x0f\x01");                         /* a long list of nothing */
    NONE("\x06\x00\x04\x00\x00\x00\x00\x00\x00\xf8\x7f\x01\x00"); /* NaN as a key */
    NONE("\x06\x00\x01");                                         /* a key without a value */
#undef NONE
    char deep[2 * PLAIN_DATA_DEPTH + 2]; /* lists in lists, deeper than any that is written */
    for (int i = 0; i < PLAIN_DATA_DEPTH + 1; i++) {
        deep[2 * i] = 6;
        deep[2 * i + 1] = 1;
    }
    check_none(deep, sizeof deep);
    char fields[4 * 4096]; /* the same in fields: {true = {true = ... */
    for (size_t i = 0; i < sizeof fields; i += 3)
        memcpy(fields + i, "\x06\x00\x02", i + 3 <= sizeof fields ? 3 : sizeof fields - i);
    check_none(fields, sizeof fields);
}

/* Random changes of good bytes: a value or none, and no harm. */
static void test_random_changes(void **state) {
    (void)state;
    struct buffer bytes = {0};
    push("{1, -7, 2.5, 'text', {a = {true, false}, [3] = 'x', b = {{{}}}}, ('y'):rep(40)}");
    assert_true(plain_data_write(L, 1, PLENTY, &bytes, &problem));
    lua_settop(L, 0);
    srand(7);
    for (int i = 0; i < 20000; i++) {
        size_t len = (size_t)rand() % bytes.len + 1;
        char *copy = mem_alloc(len);
        memcpy(copy, buffer_start(&bytes), len);
        for (int change = rand() % 4; change >= 0; change--)
            copy[(size_t)rand() % len] = (char)rand();
        int count = plain_data_read_all(L, copy, len);
        assert_int_equal(lua_gettop(L), count < 0 ? 0 : count);
        lua_settop(L, 0);
        mem_free(copy);
    }
    buffer_free(&bytes);
}

static void test_several(void **state) {
    (void)state;
    struct buffer bytes = {0};
    plain_data_write_text(&bytes, "one", 3);
    lua_pushnil(L);
    assert_true(plain_data_write(L, 1, PLENTY, &bytes, &problem));
    lua_settop(L, 0);
    assert_int_equal(plain_data_read_all(L, buffer_start(&bytes), bytes.len), 2);
    assert_string_equal(lua_tostring(L, 1), "one");
    assert_true(lua_isnil(L, 2));
    lua_settop(L, 0);
    assert_int_equal(plain_data_read_all(L, NULL, 0), 0);
    buffer_free(&bytes);
}

/* ---- what is no plain data is left out ---- */

static void note_left_out(void *names, const char *path, const char *what) {
    buffer_printf(names, "%s %s\n", path, what);
}

/* Packs the value of an expression, and pushes what comes back. Returns what was left out. */
static char *repack(const char *expression) {
    struct buffer bytes = {0}, names = {0};
    struct buffer_sink sink = buffer_sink_of(&bytes);
    struct plain_data_left_out omits = {note_left_out, &names};
    push(expression);
    plain_data_pack(L, 1, &sink.sink, &omits);
    assert_int_equal(lua_gettop(L), 1);
    assert_true(plain_data_is_one((struct slice){buffer_start(&bytes), bytes.len}));
    assert_false(plain_data_is_one((struct slice){buffer_start(&bytes), bytes.len - 1}));
    assert_non_null(plain_data_read(L, buffer_start(&bytes), buffer_start(&bytes) + bytes.len));
    buffer_free(&bytes);
    return buffer_take_text(&names);
}

static void test_left_out(void **state) {
    (void)state;
    static const struct {
        const char *value, *expected, *left_out;
    } cases[] = {
        {"{ 1, 'a', { b = true } }", "{ 1, 'a', { b = true } }", ""},
        {"{ 1, print, 3 }", "{ 1, nil, 3 }", "[2] is a function\n"},
        {"{ a = { b = { c = print, d = 1 } } }", "{ a = { b = { d = 1 } } }",
         ".a.b.c is a function\n"},
        {"{ { { x = coroutine.create(print) } } }", "{ { {} } }", "[1][1].x is a coroutine\n"},
        {"{ [print] = 1, y = 2 }", "{ y = 2 }", "[function] is a function, as a key\n"},
        {"(function() local t = { n = 1 }; t.t = t; return t end)()", "{ n = 1 }",
         ".t is a table that contains itself\n"},
        {"(function() local t = {}; return { t, t } end)()", "{ {}, {} }", ""},
        {"setmetatable({ x = 1 }, { __kind = 'a room' })", "nil", " is a room\n"},
        {"print", "nil", " is a function\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *names = repack(cases[i].value);
        assert_string_equal(names, cases[i].left_out);
        mem_free(names);
        char source[256];
        snprintf(source, sizeof source, "return %s", cases[i].expected);
        assert_int_equal(luaL_dostring(L, source), LUA_OK);
        lua_replace(L, 1);
        assert_same(cases[i].value);
        lua_settop(L, 0);
    }
}

static void test_too_deep_is_left_out(void **state) {
    (void)state;
    char *names =
        repack("(function() local t = {} for i = 1, 150 do t = { t } end return t end)()");
    assert_non_null(strstr(names, "is too deep"));
    mem_free(names);
    lua_settop(L, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_other_values),
        cmocka_unit_test(test_deepest),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_no_values),
        cmocka_unit_test(test_random_changes),
        cmocka_unit_test(test_several),
        cmocka_unit_test(test_left_out),
        cmocka_unit_test(test_too_deep_is_left_out),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
