/* bind_limits.c -- tidewire.core: the close codes and the limits that both C and Lua judge by.
 *
 * C declares each of them, and Lua reads it here instead of writing the number once more. */
#include "core/frames/close_codes.h"
#include "core/frames/message.h"
#include "core/store/shared.h"
#include "core/store/store.h"
#include "script/vm/vm_internal.h"

struct constant {
    const char *name;
    int value;
};

static const struct constant close_codes[] = {
    {"normal", CLOSE_NORMAL},
    {"bad_payload", CLOSE_BAD_PAYLOAD},
    {"script_error", CLOSE_SCRIPT_ERROR},
    {"restart", CLOSE_RESTART},
    {"first_private", CLOSE_FIRST_PRIVATE},
    {"timed_out", CLOSE_TIMED_OUT},
    {"last", CLOSE_LAST},
};

static const struct constant limits[] = {
    {"close_reason_bytes", CLOSE_REASON_MAX},
    {"message_key_bytes", MESSAGE_KEY_MAX},
    {"store_key_bytes", STORE_MAX_KEY_BYTES},
    {"stores", SHARED_MAX_STORES},
};

static void push(lua_State *L, const struct constant *all, int count) {
    lua_createtable(L, 0, count);
    for (int i = 0; i < count; i++) {
        lua_pushinteger(L, all[i].value);
        lua_setfield(L, -2, all[i].name);
    }
}

void bind_limits_push_close_codes(lua_State *L) {
    push(L, close_codes, sizeof close_codes / sizeof close_codes[0]);
}

void bind_limits_push(lua_State *L) {
    push(L, limits, sizeof limits / sizeof limits[0]);
}

/* core.close_code_is_valid(code) -> boolean: may a Close frame carry it? */
static int core_close_code_is_valid(lua_State *L) {
    lua_pushboolean(L, close_code_is_valid(luaL_checkinteger(L, 1)));
    return 1;
}

const luaL_Reg bind_limits_functions[] = {
    {"close_code_is_valid", core_close_code_is_valid},
    {NULL, NULL},
};
