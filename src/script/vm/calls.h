/* calls.h -- the calls that are under way in a coroutine, each seen in constant time.
 *
 * lua_getstack() goes through all calls above the one that is asked for: quadratic time to see all
 * of a deep recursion, and luaL_traceback() goes through them some thirty times. */
#ifndef TIDEWIRE_SCRIPT_VM_CALLS_H
#define TIDEWIRE_SCRIPT_VM_CALLS_H

#include <lua.h>
#include <stdbool.h>

/* Once, before any other; in any state. May raise errors. */
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

/* luaL_traceback(): pushes onto L a message, or none if it is NULL, and the calls of co from the
 * level on. */
void calls_traceback(lua_State *L, lua_State *co, const char *message, int level);

#endif
