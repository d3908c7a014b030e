/* fuzz_plain_data.c -- values of Lua as bytes: bytes that are read can be written, and are read
 * again as a value that takes as many bytes; and the check of bytes knows what can be read. */
#include "fuzz.h"

#include "script/plain/plain_data.h"

#include <lauxlib.h>

enum { PLENTY = 1 << 20 };

static lua_State *L;

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    L = luaL_newstate();
    return 0;
}

/* Writes the value on top. */
static size_t write_value(struct buffer *out) {
    char text[512];
    fuzz_check(plain_data_write(L, -1, PLENTY, out, &(struct error_text){text, sizeof text}));
    return out->len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *bytes = fuzz_copy(data, size);
    struct buffer first = {0}, second = {0};
    const char *end = plain_data_read(L, bytes, bytes + size);
    fuzz_check(plain_data_is_one((struct slice){bytes, size}) == (end == bytes + size));
    if (end != NULL) {
        fuzz_check(lua_gettop(L) == 1);
        size_t len = write_value(&first);
        char *copy = fuzz_copy(buffer_start(&first), len);
        fuzz_check(plain_data_read(L, copy, copy + len) == copy + len);
        fuzz_check(lua_gettop(L) == 2 && lua_type(L, 1) == lua_type(L, 2));
        fuzz_check(lua_type(L, 1) == LUA_TTABLE || write_value(&second) == len);
        free(copy);
    } else {
        fuzz_check(lua_gettop(L) == 0);
    }
    lua_settop(L, 0);
    fuzz_check(plain_data_read_all(L, bytes, size) == lua_gettop(L) || lua_gettop(L) == 0);
    lua_settop(L, 0);
    lua_gc(L, LUA_GCCOLLECT);
    buffer_free(&first);
    buffer_free(&second);
    free(bytes);
    return 0;
}
