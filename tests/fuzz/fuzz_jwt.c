/* fuzz_jwt.c -- tokens: arbitrary ones, and signed ones with arbitrary claims (fuzz_jwt.lua). */
#include "fuzz_lua.h"

static lua_State *L;

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    L = fuzz_lua_open("tests/fuzz/fuzz_jwt.lua", argc, argv);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_lua_call(L, data, size);
    return 0;
}
