/* warning.h -- Lua's warnings as lines of the log: what `warn` is called with, and what finalizers
 * that Lua runs itself have thrown. Lua would write them to the standard error, or nowhere. */
#ifndef TIDEWIRE_SCRIPT_VM_WARNING_H
#define TIDEWIRE_SCRIPT_VM_WARNING_H

#include <lua.h>

/* For a state that is used by one thread. */
void warning_open(lua_State *L);

#endif
