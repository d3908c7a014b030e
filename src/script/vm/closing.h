/* closing.h -- closing coroutines that have not returned: those that sleep, have failed or have
 * unwound. */
#ifndef TIDEWIRE_SCRIPT_VM_CLOSING_H
#define TIDEWIRE_SCRIPT_VM_CLOSING_H

#include <lua.h>
#include <stdbool.h>

/* Calls the pending __close methods of `co`, which does not run and is not L. Inside of a run they
 * belong to that run; else they are a run of their own. Returns LUA_OK; or a status, and leaves the
 * error on the stack of `co`. The caller never runs `co` again, because state of the function that
 * did not return may stay set in it. `hooks_are_off`: an error that a hook raised has ended it. */
int closing_reset(lua_State *L, lua_State *co, bool hooks_are_off);

#endif
