/* test_observe.c -- the line of a Lua state is observed from another thread: exactly, where the
 * state stands still, and without harm, whatever it does meanwhile. Run it under the sanitizers,
 * too.
 */
#include "script/vm/observe.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <uv.h>

#include <cmocka.h>

/* The other thread runs `code`, which calls wait() or ends when done() is true. */
static struct other {
    uv_thread_t thread;
    const char *code;
    _Atomic(lua_State *) running; /* a coroutine of the state, perhaps one that has ended */
    atomic_bool done;
    uv_sem_t waits, go_on;
} other;

static int note_running(lua_State *L) {
    atomic_store(&other.running, L);
    return 0;
}

static int is_done(lua_State *L) {
    lua_pushboolean(L, atomic_load(&other.done));
    return 1;
}

static int wait_for_test(lua_State *L) {
    note_running(L);
    uv_sem_post(&other.waits);
    uv_sem_wait(&other.go_on);
    return 0;
}

static void run_code(void *argument) {
    (void)argument;
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    lua_register(L, "note", note_running);
    lua_register(L, "done", is_done);
    lua_register(L, "wait", wait_for_test);
    note_running(L);
    if (luaL_loadbuffer(L, other.code, strlen(other.code), "@app.lua") != LUA_OK ||
        lua_pcall(L, 0, 0, 0) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
    lua_close(L);
}

static void start(const char *code) {
    other.code = code;
    atomic_store(&other.done, false);
    uv_sem_init(&other.waits, 0);
    uv_sem_init(&other.go_on, 0);
    assert_int_equal(uv_thread_create(&other.thread, run_code, NULL), 0);
}

static void finish(void) {
    atomic_store(&other.done, true);
    uv_thread_join(&other.thread);
    uv_sem_destroy(&other.waits);
    uv_sem_destroy(&other.go_on);
}

/* ---- a state that stands still ---- */

static void test_waiting_calls(void **state) {
    (void)state;
    /* The expected line is in the text; the function between has a name of Lua's own. */
    static const char code[] = "local function library(f) f() end\n"
                               "wait()\n"
                               "local function f(...)\n"
                               "  wait()\n"
                               "end\n"
                               "f(1, 2, 3)\n"
                               "pcall(pcall, f)\n"
                               "string.gsub('x', 'x', f)\n"
                               "table.sort({ 1, 2 }, f)\n"
                               "coroutine.wrap(f)()\n"
                               "local function deep(n) if n > 0 then deep(n - 1) end\n"
                               "  if n == 0 then f() end end deep(1000)\n"
                               "load(\"\\n\\nwait()\", '@' .. ('x'):rep(300) .. 'end')()\n"
                               "load('wait()')()\n";
    static const struct {
        const char *file;
        int line;
    } expected[] = {{"app.lua", 2}, {"app.lua", 4}, {"app.lua", 4}, {"app.lua", 4}, {"app.lua", 4},
                    {"app.lua", 4}, {"app.lua", 4}, {"end", 3},     {"[string]", 1}};
    start(code);
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        struct script_line at;
        uv_sem_wait(&other.waits);
        assert_true(read_calls(atomic_load(&other.running), &at));
        size_t len = strlen(at.file), end = strlen(expected[i].file);
        assert_true(len >= end);
        assert_string_equal(at.file + len - end, expected[i].file);
        assert_true(len < sizeof at.file);
        assert_int_equal(at.line, expected[i].line);
        uv_sem_post(&other.go_on);
    }
    finish();
}

/* ---- a state that changes ---- */

enum { OBSERVATIONS = 20000 };

/* Stacks grow and shrink, coroutines and functions come and go. */
static const char churn[] =
    "local function deep(n) note() if n > 0 then return 1 + deep(n - 1) end return 0 end\n"
    "local round = 0\n"
    "while not done() do\n"
    "  round = round + 1\n"
    "  deep(round * 37 % 2000)\n"
    "  local co = coroutine.create(function(n) deep(n) coroutine.yield() deep(n) error('x') end)\n"
    "  coroutine.resume(co, round % 300) note()\n"
    "  if round % 2 == 0 then coroutine.resume(co) end\n"
    "  coroutine.close(co) co = nil\n"
    "  pcall(coroutine.wrap(function() note() local t = nil; t.x = 1 end))\n"
    "  pcall(string.rep, 'x', -1, function() end)\n"
    "  ; ('abc'):gsub('.', function() note() deep(3) end)\n"
    "  table.sort({ 3, 2, 1 }, function(a, b) note() return a < b end)\n"
    "  load('note() ' .. ('\\n'):rep(round % 300) .. 'note()', '@' .. ('y'):rep(round % 500))()\n"
    "  setmetatable({}, { __gc = function() note() deep(5) end })\n"
    "  if round % 10 == 0 then collectgarbage() end\n"
    "end\n"
    "collectgarbage()\n";

static void test_running_calls(void **state) {
    (void)state;
    start(churn);
    for (int i = 0; i < OBSERVATIONS; i++) {
        struct script_line at;
        read_calls(atomic_load(&other.running), &at);
        assert_true(strnlen(at.file, sizeof at.file) < sizeof at.file);
    }
    finish();
}

/* ---- nonsense ---- */

static void test_nonsense(void **state) {
    (void)state;
    static char bytes[8192];
    uint32_t number = 1;
    struct script_line at;
    assert_false(read_calls(NULL, &at));
    assert_false(read_calls((const void *)(uintptr_t)16, &at));
    for (int i = 0; i < OBSERVATIONS; i++) {
        for (size_t at_word = 0; at_word < sizeof bytes / sizeof(void *); at_word++) {
            number = number * 1664525u + 1013904223u; /* addresses in `bytes`, and small numbers */
            uintptr_t word = number >> 28 < 12 ? (uintptr_t)bytes + (number >> 8) % sizeof bytes
                                               : (number >> 8) % 300;
            memcpy(bytes + at_word * sizeof word, &word, sizeof word);
            if (i % 20 != 0 && at_word > 64)
                break;
        }
        read_calls(bytes, &at);
        assert_true(strnlen(at.file, sizeof at.file) < sizeof at.file);
    }
}

static int open_observing(void **state) {
    (void)state;
    return observe_open() ? 0 : -1;
}

static int close_observing(void **state) {
    (void)state;
    observe_close();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waiting_calls),
        cmocka_unit_test(test_running_calls),
        cmocka_unit_test(test_nonsense),
    };
    return cmocka_run_group_tests(tests, open_observing, close_observing);
}
