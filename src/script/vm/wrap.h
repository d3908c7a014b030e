/* wrap.h -- functions of ours in the place of those of a library, which they call.
 *
 * The one that is replaced is the upvalue of the one that takes its place. */
#ifndef TIDEWIRE_SCRIPT_VM_WRAP_H
#define TIDEWIRE_SCRIPT_VM_WRAP_H

#include <lua.h>

/* Calls the function in the first upvalue with what is on the stack. Returns how many results there
 * are. */
int wrap_call(lua_State *L);

/* Puts a function in the place of that of this name in the table on top; where there is none, as in
 * other versions of the library, it does nothing. */
void wrap_function(lua_State *L, const char *name, lua_CFunction function);

/* The same for a method of a class: of the __index of the metatable that the registry has by this
 * name. */
void wrap_method(lua_State *L, const char *class, const char *name, lua_CFunction function);

#endif
