/* json_c.c -- the Lua module `tidewire.json_c`: JSON text to Lua values and back, without a tree
 * between.
 *
 * json_c_read.c decodes and json_c_write.c encodes. This file has the functions that Lua and C
 * call, the two special values (null and the mark of arrays) and the scratch buffer. The registry
 * of the Lua state keeps these, so that each worker has its own. Runs on the thread of its Lua
 * state. */
#include "script/json/json_c_parts.h"

#include <assert.h>
#include <lauxlib.h>
#include <lua.h>

/* Addresses that serve as registry keys; the contents are never read. */
static const char scratch_key, null_key, array_key;

/* --- the scratch buffer ----------------------------------------------------------------------- */

enum {
    SCRATCH_FIRST = 1024,
    SCRATCH_KEPT = 256 * 1024, /* the next call frees a larger one */
};

static void scratch_resize(lua_State *L, struct json_c_scratch *s, size_t cap) {
    void *ud;
    lua_Alloc alloc = lua_getallocf(L, &ud);
    char *data = alloc(ud, s->data, s->cap, cap);
    if (!data && cap > 0) {
        lua_pushliteral(L, "not enough memory");
        lua_error(L);
    }
    s->data = data;
    s->cap = cap;
}

void json_c_scratch_grow(lua_State *L, struct json_c_scratch *s, size_t more) {
    size_t wanted = s->len + more;
    scratch_resize(L, s, s->cap * 2 < wanted ? wanted : s->cap * 2);
}

struct json_c_scratch *json_c_scratch(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &scratch_key);
    struct json_c_scratch *s = lua_touserdata(L, -1);
    assert(s && "luaopen_tidewire_json_c has not run in this state");
    lua_pop(L, 1);
    if (s->cap == 0 || s->cap > SCRATCH_KEPT)
        scratch_resize(L, s, SCRATCH_FIRST);
    s->len = 0;
    return s;
}

static int scratch_gc(lua_State *L) {
    scratch_resize(L, lua_touserdata(L, 1), 0);
    return 0;
}

static void new_scratch(lua_State *L) {
    struct json_c_scratch *s = lua_newuserdatauv(L, sizeof *s, 0); /* scratch */
    *s = (struct json_c_scratch){0};
    lua_createtable(L, 0, 1); /* scratch metatable */
    lua_pushcfunction(L, scratch_gc);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2); /* scratch */
    lua_rawsetp(L, LUA_REGISTRYINDEX, &scratch_key);
}

/* --- null and arrays -------------------------------------------------------------------------- */

void json_c_push_null(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &null_key);
}

void json_c_push_array_mark(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &array_key);
}

static int null_tostring(lua_State *L) {
    lua_pushliteral(L, "null");
    return 1;
}

static void new_null(lua_State *L) {
    lua_newuserdatauv(L, 0, 0); /* null */
    lua_createtable(L, 0, 3);   /* null metatable */
    lua_pushliteral(L, "null");
    lua_setfield(L, -2, "__name");
    lua_pushcfunction(L, null_tostring);
    lua_setfield(L, -2, "__tostring");
    /* The state has only one: a script that changed it would change every null. */
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2); /* null */
    lua_rawsetp(L, LUA_REGISTRYINDEX, &null_key);
}

static void new_array_mark(lua_State *L) {
    lua_createtable(L, 0, 1); /* mark */
    lua_pushliteral(L, "array");
    lua_setfield(L, -2, "__name");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &array_key);
}

/* --- functions for Lua ------------------------------------------------------------------------ */

/* decode(text) -> value | nil, message */
static int decode(lua_State *L) {
    luaL_checktype(L, 1, LUA_TSTRING); /* a number must not pass for its digits */
    lua_settop(L, 1);
    size_t len;
    const char *text = lua_tolstring(L, 1, &len);
    if (json_c_push(L, text, len))
        return 1;
    lua_pushnil(L);
    lua_insert(L, -2); /* text nil message */
    return 2;
}

/* encode(value) -> text; throws */
static int encode(lua_State *L) {
    luaL_checkany(L, 1);
    lua_settop(L, 1);
    size_t len;
    const char *bytes = json_c_bytes(L, 1, &len);
    if (bytes) {
        lua_pushlstring(L, bytes, len);
        return 1;
    }
    luaL_where(L, 1); /* value message where */
    lua_insert(L, -2);
    lua_concat(L, 2);
    return lua_error(L);
}

/* array([t]) -> t, marked */
static int array(lua_State *L) {
    if (lua_isnoneornil(L, 1)) {
        lua_settop(L, 0);
        lua_newtable(L);
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    json_c_push_array_mark(L); /* t mark */
    if (lua_getmetatable(L, 1)) {
        luaL_argcheck(L, lua_rawequal(L, -1, -2), 1, "it has a metatable of its own");
        lua_pop(L, 1);
    }
    lua_setmetatable(L, 1);
    return 1;
}

int luaopen_tidewire_json_c(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"decode", decode},
        {"encode", encode},
        {"array", array},
        {NULL, NULL},
    };
    /* When the module is loaded again in a state, the special values stay the same. */
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &scratch_key) == LUA_TNIL) {
        new_scratch(L);
        new_null(L);
        new_array_mark(L);
    }
    luaL_newlib(L, functions); /* module */
    json_c_push_null(L);
    lua_setfield(L, -2, "null");
    return 1;
}

/* --- functions for C -------------------------------------------------------------------------- */

bool json_c_push(lua_State *L, const char *bytes, size_t len) {
    int top = lua_gettop(L);
    luaL_checkstack(L, LUA_MINSTACK, NULL);
    lua_pushnil(L); /* the place of the result */
    bool good = json_c_read(L, bytes, len);
    lua_replace(L, top + 1);
    lua_settop(L, top + 1);
    return good;
}

const char *json_c_bytes(lua_State *L, int index, size_t *len) {
    index = lua_absindex(L, index);
    int top = lua_gettop(L);
    luaL_checkstack(L, LUA_MINSTACK, NULL);
    struct json_c_scratch *out = json_c_scratch(L);
    if (json_c_write(L, index, out)) {
        lua_settop(L, top);
        *len = out->len;
        return out->data;
    }
    lua_replace(L, top + 1);
    lua_settop(L, top + 1);
    return NULL;
}
