/* fuzz_lua.h -- targets whose code is Lua: the embedded library in a state of its own, and a file
 * that returns a function of one input. An error of that function is a fault.
 *
 * libFuzzer sees the lines of Lua that run as it sees places in C. */
#ifndef TESTS_FUZZ_FUZZ_LUA_H
#define TESTS_FUZZ_FUZZ_LUA_H

#include "fuzz.h"

#include "script/json/json_c.h"
#include "script/jwt/jwt_c.h"
#include "script/vm/library.h"

#include <lauxlib.h>

/* One for each line of Lua, by its number and its file. Linux's linker joins them with libFuzzer's
 * own. */
#ifdef __clang__
__attribute__((section("__libfuzzer_extra_counters")))
#endif
static uint8_t fuzz_lua_lines[8192];

static inline void fuzz_lua_on_line(lua_State *L, lua_Debug *at) {
    lua_getinfo(L, "S", at);
    uint32_t hash = (uint32_t)at->currentline;
    for (const char *name = at->short_src; *name != '\0'; name++)
        hash = hash * 31 + (unsigned char)*name;
    fuzz_lua_lines[hash % sizeof fuzz_lua_lines]++;
}

/* The state, with the function at index 1. The file is read from the top folder of the tree. */
static inline lua_State *fuzz_lua_open(const char *file, int *argc, char ***argv) {
    fuzz_no_leak_check(argc, argv);
    lua_State *L = luaL_newstate();
    library_open(L, "tidewire.base.uri");
    luaL_requiref(L, "tidewire.json_c", luaopen_tidewire_json_c, 0);
    luaL_requiref(L, "tidewire.jwt_c", luaopen_tidewire_jwt_c, 0);
    lua_settop(L, 0);
    if (luaL_dofile(L, file) != LUA_OK) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        abort();
    }
    lua_sethook(L, fuzz_lua_on_line, LUA_MASKLINE, 0);
    return L;
}

static inline void fuzz_lua_call(lua_State *L, const uint8_t *data, size_t size) {
    lua_pushvalue(L, 1);
    lua_pushlstring(L, (const char *)data, size);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        fprintf(stderr, "%s\n", lua_tostring(L, -1));
        abort();
    }
}

#endif
