/* calls.h -- visiting the active calls of a coroutine, each in constant time.
 *
 * lua_getstack() steps through all calls above the one that it returns, so that a visit of a deep
 * recursion takes quadratic time. luaL_traceback() steps through them some thirty times. */
#ifndef TIDEWIRE_SCRIPT_VM_CALLS_H
#define TIDEWIRE_SCRIPT_VM_CALLS_H

#include <lua.h>
#include <stdbool.h>

/* Before the other functions; in any state. May raise errors. */
void calls_open(lua_State *L);

/* for (bool more = calls_first(&calls, co); more; more = calls_next(&calls)): from the innermost
 * call on. */
struct calls {
    lua_State *co;
    int level;
    lua_Debug activation; /* for lua_getinfo() and lua_getlocal() */
};

bool calls_first(struct calls *calls, lua_State *co);
bool calls_next(struct calls *calls);

/* Like luaL_traceback(): pushes a text onto L, of the message, unless it is NULL, and the calls of
 * `co` from the level on. */
void calls_traceback(lua_State *L, lua_State *co, const char *message, int level);

#endif
