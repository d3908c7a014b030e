/* fuzz_json.c -- JSON: a text that is read can be written, and is read again as the same value. */
#include "fuzz.h"

#include "base/utf8.h"
#include "script/json/json_c.h"

#include <lauxlib.h>

static lua_State *L;

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    L = luaL_newstate();
    luaL_requiref(L, "tidewire.json_c", luaopen_tidewire_json_c, 0);
    lua_settop(L, 0);
    return 0;
}

/* The order of an object's members may differ, the bytes in all may not. */
static void count_bytes(const char *bytes, size_t len, size_t counts[256]) {
    for (size_t i = 0; i < len; i++)
        counts[(unsigned char)bytes[i]]++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = fuzz_copy(data, size);
    size_t len = 0, again = 0, first[256] = {0}, second[256] = {0};
    if (json_c_push(L, text, size)) {
        fuzz_check(lua_gettop(L) == 1 && utf8_valid(text, size));
        const char *bytes = json_c_bytes(L, 1, &len);
        fuzz_check(bytes != NULL && utf8_valid(bytes, len));
        count_bytes(bytes, len, first);
        char *copy = fuzz_copy(bytes, len);
        fuzz_check(json_c_push(L, copy, len));
        bytes = json_c_bytes(L, 2, &again);
        fuzz_check(bytes != NULL && again == len);
        count_bytes(bytes, again, second);
        fuzz_check(memcmp(first, second, sizeof first) == 0);
        free(copy);
    } else {
        fuzz_check(lua_gettop(L) == 1 && strstr(lua_tostring(L, 1), "at byte ") != NULL);
    }
    lua_settop(L, 0);
    lua_gc(L, LUA_GCCOLLECT);
    free(text);
    return 0;
}
