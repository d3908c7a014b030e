/* jwt_c.h -- the loader of the Lua module `tidewire.jwt_c` (lua/tidewire/jwt.lua is its only user).
 * */
#ifndef TIDEWIRE_SCRIPT_JWT_JWT_C_H
#define TIDEWIRE_SCRIPT_JWT_JWT_C_H

#include <lua.h>

int luaopen_tidewire_jwt_c(lua_State *L);

#endif
