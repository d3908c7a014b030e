/* library.h -- the embedded library without a worker, in Lua states of their own.
 *
 * For code that is not on the way of a connection: the command line, --watch, messages of a start
 * that has failed. One thread for each state. */
#ifndef TIDEWIRE_SCRIPT_VM_LIBRARY_H
#define TIDEWIRE_SCRIPT_VM_LIBRARY_H

#include <stddef.h>

struct lua_State;

/* Makes an empty state for the library alone. Without memory the process ends, as by mem_alloc():
 * not for code of scripts. The caller closes it. */
struct lua_State *library_new_state(void);
/* Makes the library's modules available to `require`. May raise errors. */
void library_preload(struct lua_State *L);
/* Modules of the library that are loaded from now on have a copy of the globals for themselves:
 * scripts may change theirs, while the library still loads modules. May raise errors. */
void library_keep_globals(struct lua_State *L);
/* Pushes the value of a module, in a state of its own, which gets Lua's libraries and luv first.
 * May raise errors. */
void library_open(struct lua_State *L, const char *module);

/* Calls the function that a module returns with two texts, the second of which may be NULL, and
 * writes the text that it returns; "" after an error, which was logged. */
void library_call(const char *module, const char *one, const char *other, char *result,
                  size_t size);

#endif
