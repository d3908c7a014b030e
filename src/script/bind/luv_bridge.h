/* luv_bridge.h -- errors in Lua code that luv calls, its handles and its threads.
 *
 * luv_bridge.c, luv_threads.c and luv_thread_objects.c share this. */
#ifndef TIDEWIRE_SCRIPT_BIND_LUV_BRIDGE_H
#define TIDEWIRE_SCRIPT_BIND_LUV_BRIDGE_H

#include <lua.h>

/* Pushes a message handler; luv_log_error() understands what it makes of an error. */
void luv_push_handler(lua_State *L);
/* Logs the error on top of the stack, and pops it. */
void luv_log_error(lua_State *L, const char *hook);

/* Once in a state, with luv's table on top, before luv_close_handles(). */
void luv_closer_open(lua_State *L);
/* Closes every handle of luv's that is open in the state, forgotten ones as well. */
void luv_close_handles(lua_State *L);

/* Lets errors in threads that the functions of luv's table on top start become log lines. */
void luv_threads_open(lua_State *L);
/* Throws unless the text at the index is Lua: luv would tell it past the log. */
void luv_check_code(lua_State *L, int index, const char *name);
/* Throws if these are more arguments than luv passes on. */
void luv_check_count(lua_State *L, int count, const char *name);

/* Replaces what starts and joins threads, in luv's table on top. */
void luv_thread_objects_open(lua_State *L);
/* One has ended, and so has its state. */
void luv_thread_ended(void);
/* From now on the state starts none. May raise errors. */
void luv_refuse_threads(lua_State *L);

#endif
