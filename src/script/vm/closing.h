/* closing.h -- closing coroutines that have not come to their end: those that sleep, have failed,
 * or were ended. */
#ifndef TIDEWIRE_SCRIPT_VM_CLOSING_H
#define TIDEWIRE_SCRIPT_VM_CLOSING_H

#include <lua.h>
#include <stdbool.h>

/* Calls the pending __close methods of `co`, which does not run, and is not L. Inside of a run they
 * are part of it; else they are a run of their own. Returns LUA_OK, or a status and leaves the
 * error on co's stack. `co` must never run again: what it leaves set in Lua would be met by
 * whatever it ran next. `hooks_are_off`: an error that was raised in a hook has killed it. */
int closing_reset(lua_State *L, lua_State *co, bool hooks_are_off);

#endif
