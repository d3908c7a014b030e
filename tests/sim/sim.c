/* sim.c -- the simulator of a cluster: many nodes (src/cluster/node) in one thread, without sockets
 * and clocks, against a model of Redis or a real one.
 *
 * The program is a Lua interpreter with the modules `sim_node` and `sim_redis`; tests/sim/main.lua
 * has the rest. Its arguments are that file's. */
#include "sim_node.h"
#include "sim_redis.h"

#include "base/log/log.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>

static int on_error(lua_State *lua) {
    luaL_traceback(lua, lua, luaL_tolstring(lua, 1, NULL), 1);
    return 1;
}

static void preload(lua_State *lua, const char *name, lua_CFunction open) {
    lua_getglobal(lua, "package");
    lua_getfield(lua, -1, "preload");
    lua_pushcfunction(lua, open);
    lua_setfield(lua, -2, name);
    lua_pop(lua, 2);
}

int main(int argc, char **argv) {
    log_set_level(LOG_ERROR); /* nodes tell of the losses that the test makes */
    lua_State *lua = luaL_newstate();
    luaL_openlibs(lua);
    preload(lua, "sim_node", sim_node_open);
    preload(lua, "sim_redis", sim_redis_open);
    lua_newtable(lua);
    for (int i = 1; i < argc; i++) {
        lua_pushstring(lua, argv[i]);
        lua_rawseti(lua, -2, i);
    }
    lua_setglobal(lua, "arg");
    lua_pushcfunction(lua, on_error);
    int status = luaL_loadfile(lua, "tests/sim/main.lua");
    if (status == LUA_OK)
        status = lua_pcall(lua, 0, 1, 1);
    if (status != LUA_OK)
        fprintf(stderr, "cluster_sim: %s\n", lua_tostring(lua, -1));
    int code = status == LUA_OK ? (int)lua_tointeger(lua, -1) : 2;
    lua_close(lua);
    return code;
}
