/* wrap.c -- replacing functions of a library by our own. See wrap.h. */
#include "script/vm/wrap.h"

#include <lauxlib.h>

int wrap_call(lua_State *L) {
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

void wrap_function(lua_State *L, const char *name, lua_CFunction function) {
    if (lua_getfield(L, -1, name) == LUA_TNIL) {
        lua_pop(L, 1);
        return;
    }
    lua_pushcclosure(L, function, 1);
    lua_setfield(L, -2, name);
}

void wrap_method(lua_State *L, const char *class, const char *name, lua_CFunction function) {
    int top = lua_gettop(L);
    if (luaL_getmetatable(L, class) == LUA_TTABLE && lua_getfield(L, -1, "__index") == LUA_TTABLE)
        wrap_function(L, name, function);
    lua_settop(L, top);
}
