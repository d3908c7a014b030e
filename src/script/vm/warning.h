/* warning.h -- Lua's warnings as lines of the log: texts that scripts give to `warn`, and errors of
 * finalizers that Lua runs itself. Lua would write them to the standard error, or nowhere. */
#ifndef TIDEWIRE_SCRIPT_VM_WARNING_H
#define TIDEWIRE_SCRIPT_VM_WARNING_H

#include <lua.h>

/* For a state that only one thread uses. */
void warning_open(lua_State *L);

#endif
