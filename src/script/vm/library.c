/* library.c -- the embedded library without a worker. See library.h. */
#include "script/vm/library.h"

#include "base/log/log.h"
#include "base/mem.h"
#include "script/vm/embedded.h"

#include <lauxlib.h>
#include <lualib.h>
#include <luv/luv.h>
#include <stdint.h>
#include <stdio.h>

/* A lua_Alloc that does not fail: luaL_newstate() returns NULL where malloc does. */
static void *allocate(void *user, void *block, size_t old_size, size_t size) {
    (void)user, (void)old_size;
    if (size > 0)
        return mem_realloc(block, size);
    mem_free(block);
    return NULL;
}

lua_State *library_new_state(void) {
    return lua_newstate(allocate, NULL);
}

/* Its address is the key of the library's globals in the registry, where they are its own. */
static const char globals_key;

/* Loads a module of the binary; the upvalue is its entry. */
static int load_embedded(lua_State *L) {
    const struct embedded_file *file = lua_touserdata(L, lua_upvalueindex(1));
    if (luaL_loadbufferx(L, (const char *)file->bytes, file->size, file->chunkname, "t") != LUA_OK)
        return lua_error(L);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &globals_key) == LUA_TTABLE)
        lua_setupvalue(L, -2, 1); /* _ENV */
    else
        lua_pop(L, 1);
    lua_pushstring(L, file->name);
    lua_call(L, 1, 1);
    return 1;
}

void library_preload(lua_State *L) {
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE); /* preload */
    for (const struct embedded_file *file = embedded_files; file->name != NULL; file++) {
        lua_pushlightuserdata(L, (void *)(uintptr_t)file);
        lua_pushcclosure(L, load_embedded, 1);
        lua_setfield(L, -2, file->name);
    }
    lua_pop(L, 1);
}

void library_keep_globals(lua_State *L) {
    lua_newtable(L); /* copy */
    lua_pushglobaltable(L);
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) { /* copy, globals, name, value */
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -5);
    }
    lua_pop(L, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &globals_key);
}

/* The module tidewire.templates: a list of the files of `tidewire new`. */
static int open_templates(lua_State *L) {
    lua_newtable(L);
    for (const struct embedded_file *file = embedded_templates; file->name != NULL; file++) {
        lua_newtable(L);
        lua_pushstring(L, file->name);
        lua_setfield(L, -2, "name");
        lua_pushlstring(L, (const char *)file->bytes, file->size);
        lua_setfield(L, -2, "bytes");
        lua_rawseti(L, -2, file - embedded_templates + 1);
    }
    return 1;
}

void library_open(lua_State *L, const char *module) {
    luaL_openlibs(L);
    library_preload(L);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE); /* preload */
    lua_pushcfunction(L, luaopen_luv);
    lua_setfield(L, -2, "luv");
    lua_pushcfunction(L, open_templates);
    lua_setfield(L, -2, "tidewire.templates");
    lua_pop(L, 1);
    lua_getglobal(L, "require");
    lua_pushstring(L, module);
    lua_call(L, 1, 1);
}

/* (module, one, other) -> result */
static int call(lua_State *L) {
    library_open(L, lua_tostring(L, 1));
    lua_insert(L, 2); /* module, function, one, other */
    lua_call(L, 2, 1);
    return 1;
}

void library_call(const char *module, const char *one, const char *other, char *result,
                  size_t size) {
    lua_State *L = library_new_state();
    lua_pushcfunction(L, call);
    lua_pushstring(L, module);
    lua_pushstring(L, one);
    lua_pushstring(L, other);
    bool good = lua_pcall(L, 3, 1, 0) == LUA_OK;
    if (!good)
        log_event(LOG_ERROR, "internal_error", lua_tostring(L, -1));
    snprintf(result, size, "%s", good ? lua_tostring(L, -1) : "");
    lua_close(L);
}
