/* bind_cosocket_pool.c -- tidewire.core: cosockets that are kept for later. */
#include "script/bind/bind_cosocket.h"

/* core.cosocket_keep(cosocket, key, seconds, most) -> true | nil, message: C has the cosocket from
 * then on, and nothing has its number. */
static int core_cosocket_keep(lua_State *L) {
    const struct cosocket_functions *functions = bind_cosockets(L);
    uint64_t number = bind_check_cosocket(L);
    struct slice key = bind_check_text(L, 2);
    lua_Number seconds = luaL_checknumber(L, 3);
    lua_Integer most = luaL_checkinteger(L, 4);
    luaL_argcheck(L, seconds >= 0 && seconds <= 1e9, 3, "0 to 1e9 expected");
    luaL_argcheck(L, most >= 1 && most <= INT32_MAX, 4, "1 or more expected");
    uint64_t idle_ms = seconds == 0 ? UINT64_MAX : (uint64_t)(seconds * 1000) + 1;
    return bind_cosocket_push_result(
        L, functions->keep(functions->user, number, key, idle_ms, (uint32_t)most));
}

/* core.cosocket_take(key) -> cosocket, times | nil: none is kept; times: how often it was taken */
static int core_cosocket_take(lua_State *L) {
    const struct cosocket_functions *functions = bind_cosockets(L);
    uint32_t times = 0;
    uint64_t number = functions->take(functions->user, bind_check_text(L, 1), &times);
    if (number == 0)
        return 0;
    lua_pushinteger(L, (lua_Integer)number);
    lua_pushinteger(L, times);
    return 2;
}

const luaL_Reg bind_cosocket_pool_functions[] = {
    {"cosocket_keep", core_cosocket_keep},
    {"cosocket_take", core_cosocket_take},
    {NULL, NULL},
};
