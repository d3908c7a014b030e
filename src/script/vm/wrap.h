/* wrap.h -- replacing functions of a library by our own, which call the originals.
 *
 * The original is the first upvalue of the function that replaces it. */
#ifndef TIDEWIRE_SCRIPT_VM_WRAP_H
#define TIDEWIRE_SCRIPT_VM_WRAP_H

#include <lua.h>

/* Calls the original with the arguments on the stack. Returns the number of its results. */
int wrap_call(lua_State *L);

/* Replaces the function of this name in the table on top. Does nothing if there is none, as in
 * other versions of the library. */
void wrap_function(lua_State *L, const char *name, lua_CFunction function);

/* The same for a method of a class, in the __index of the metatable that the registry has by this
 * name. */
void wrap_method(lua_State *L, const char *class, const char *name, lua_CFunction function);

#endif
