/* saves.c -- calls lua/tidewire/watch. See saves.h. */
#include "script/vm/saves.h"

#include "base/log/log.h"
#include "base/mem.h"
#include "script/vm/library.h"

#include <lauxlib.h>
#include <luv/luv.h>

struct saves {
    lua_State *L; /* its stack: the object, and results of the last call */
};

/* The part of saves_new() that may raise errors. (since) -> the object */
static int open_library(lua_State *L) {
    library_open(L, "tidewire.watch.saves");
    lua_getfield(L, -1, "new");
    lua_pushvalue(L, 1);
    lua_call(L, 1, 1);
    return 1;
}

/* Calls a function with `arguments` values, which are popped. */
static void call(lua_State *L, int arguments, int results) {
    if (lua_pcall(L, arguments, results, 0) != LUA_OK) {
        log_event(LOG_ERROR, "internal_error", lua_tostring(L, -1));
        lua_settop(L, 1);
    }
}

/* Pushes a method and the object. */
static void push_method(struct saves *saves, const char *name) {
    lua_settop(saves->L, 1);
    lua_getfield(saves->L, 1, name);
    lua_pushvalue(saves->L, 1);
}

struct saves *saves_new(uv_loop_t *loop, double since) {
    struct saves *saves = mem_zalloc(sizeof *saves);
    saves->L = library_new_state();
    luv_set_loop(saves->L, loop);
    lua_pushcfunction(saves->L, open_library);
    lua_pushnumber(saves->L, since);
    call(saves->L, 1, 1);
    return saves;
}

void saves_free(struct saves *saves) {
    lua_close(saves->L);
    mem_free(saves);
}

void saves_set_sources(struct saves *saves, const char *sources) {
    push_method(saves, "set_sources");
    lua_pushstring(saves->L, sources);
    call(saves->L, 2, 0);
}

void saves_before_load(struct saves *saves, double since) {
    push_method(saves, "before_load");
    lua_pushnumber(saves->L, since);
    call(saves->L, 2, 0);
}

struct saves_result saves_look(struct saves *saves, uint64_t now_ms) {
    push_method(saves, "look");
    lua_pushinteger(saves->L, (lua_Integer)now_ms);
    call(saves->L, 2, 3);
    return (struct saves_result){
        .is_changing = lua_toboolean(saves->L, 2),
        .file = lua_tostring(saves->L, 3),
        .others = lua_tointeger(saves->L, 4),
    };
}
