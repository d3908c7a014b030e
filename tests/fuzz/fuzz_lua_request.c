/* fuzz_lua_request.c -- what the library in Lua reads in a request: the query, cookies, fields,
 * lists, the origin (fuzz_lua_request.lua). */
#include "fuzz_lua.h"

static lua_State *L;

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    L = fuzz_lua_open("tests/fuzz/fuzz_lua_request.lua", argc, argv);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_lua_call(L, data, size);
    return 0;
}
