/* calls.c -- visiting the active calls of a coroutine. See calls.h. */
#include "script/vm/calls.h"

#include <lauxlib.h>
#include <stdatomic.h>
#include <string.h>

/* ---- one after the other ---- */

/* In Lua's record of a call there is a pointer to its caller's, this many bytes from the begin.
 * calls_open() finds it by comparing the results of lua_getstack() for a few calls. 0: it was not
 * found, and lua_getstack() is called for each call. */
static _Atomic size_t caller_at;

enum { COMPARED = 5, POINTERS_COMPARED = 5 };

static struct CallInfo *pointer_at(const struct CallInfo *call, size_t place) {
    struct CallInfo *pointer;
    memcpy(&pointer, (const char *)call + place, sizeof pointer);
    return pointer;
}

bool calls_first(struct calls *calls, lua_State *co) {
    *calls = (struct calls){.co = co};
    return lua_getstack(co, 0, &calls->activation) == 1;
}

bool calls_next(struct calls *calls) {
    size_t place = atomic_load_explicit(&caller_at, memory_order_relaxed);
    calls->level++;
    if (place == 0)
        return lua_getstack(calls->co, calls->level, &calls->activation) == 1;
    struct CallInfo *caller = pointer_at(calls->activation.i_ci, place);
    if (caller == NULL || pointer_at(caller, place) == NULL)
        return false; /* that is the record of the coroutine itself */
    calls->activation.i_ci = caller;
    return true;
}

/* (depth): calls itself up to COMPARED deep, where it returns the place, if it finds that. */
static int find_place(lua_State *L) {
    lua_Integer depth = luaL_checkinteger(L, 1);
    if (depth < COMPARED) {
        lua_pushcfunction(L, find_place);
        lua_pushinteger(L, depth + 1);
        lua_call(L, 1, 1);
        return 1;
    }
    lua_Debug calls[COMPARED];
    for (int level = 0; level < COMPARED; level++)
        if (lua_getstack(L, level, &calls[level]) != 1)
            return 0;
    for (size_t i = 1; i < POINTERS_COMPARED; i++) {
        size_t place = i * sizeof(void *);
        int level = 1;
        while (level < COMPARED && pointer_at(calls[level - 1].i_ci, place) == calls[level].i_ci)
            level++;
        if (level == COMPARED) {
            lua_pushinteger(L, (lua_Integer)place);
            return 1;
        }
    }
    return 0;
}

void calls_open(lua_State *L) {
    lua_pushcfunction(L, find_place);
    lua_pushinteger(L, 1);
    lua_call(L, 1, 1);
    atomic_store_explicit(&caller_at, (size_t)lua_tointeger(L, -1), memory_order_relaxed);
    lua_pop(L, 1);
}

/* ---- tracebacks ---- */

/* Of a deep stack only the first and the last calls are shown, as Lua does. */
enum { DEEP = 1000, FIRST_SHOWN = 10, LAST_SHOWN = 11 };

static void add_call(luaL_Buffer *buffer, lua_State *co, lua_Debug *call) {
    lua_State *L = buffer->L;
    lua_getinfo(co, "Slnt", call);
    lua_pushfstring(L, "\n\t%s:", call->short_src);
    luaL_addvalue(buffer);
    if (call->currentline > 0) {
        lua_pushfstring(L, "%d:", call->currentline);
        luaL_addvalue(buffer);
    }
    if (strcmp(call->namewhat, "global") == 0)
        lua_pushfstring(L, " in function '%s'", call->name);
    else if (call->namewhat[0] != '\0')
        lua_pushfstring(L, " in %s '%s'", call->namewhat, call->name);
    else if (call->what[0] == 'm')
        lua_pushliteral(L, " in main chunk");
    else if (call->what[0] == 'C')
        lua_pushliteral(L, " in ?");
    else
        lua_pushfstring(L, " in function <%s:%d>", call->short_src, call->linedefined);
    luaL_addvalue(buffer);
    if (call->istailcall)
        luaL_addstring(buffer, "\n\t(...tail calls...)");
}

void calls_traceback(lua_State *L, lua_State *co, const char *message, int level) {
    lua_Debug beyond;
    if (lua_getstack(co, level + DEEP, &beyond) != 1) {
        luaL_traceback(L, co, message, level);
        return;
    }
    luaL_Buffer buffer;
    struct CallInfo *last[LAST_SHOWN];
    struct calls calls;
    luaL_buffinit(L, &buffer);
    if (message != NULL) {
        luaL_addstring(&buffer, message);
        luaL_addchar(&buffer, '\n');
    }
    luaL_addstring(&buffer, "stack traceback:");
    for (bool more = calls_first(&calls, co); more; more = calls_next(&calls)) {
        last[calls.level % LAST_SHOWN] = calls.activation.i_ci;
        if (calls.level >= level && calls.level < level + FIRST_SHOWN)
            add_call(&buffer, co, &calls.activation);
    }
    lua_pushfstring(L, "\n\t...\t(skipping %d levels)",
                    calls.level - level - FIRST_SHOWN - LAST_SHOWN);
    luaL_addvalue(&buffer);
    for (int shown = calls.level - LAST_SHOWN; shown < calls.level; shown++) {
        lua_Debug call = {.i_ci = last[shown % LAST_SHOWN]};
        add_call(&buffer, co, &call);
    }
    luaL_pushresult(&buffer);
}
