/* luv_bridge.h -- what luv_bridge.c and luv_threads.c share: errors in Lua code that luv calls, and
 * its threads. */
#ifndef TIDEWIRE_SCRIPT_LUV_BRIDGE_H
#define TIDEWIRE_SCRIPT_LUV_BRIDGE_H

#include <lua.h>

/* Pushes a message handler; luv_log_error() understands what it makes of an error. */
void luv_push_handler(lua_State *L);
/* Logs the error on top of the stack, and pops it. */
void luv_log_error(lua_State *L, const char *hook);

/* Lets errors in threads that the functions of luv's table on top start become log lines. */
void luv_threads_open(lua_State *L);
/* How many threads of all states have not ended. */
int luv_running_threads(void);
/* Waits for the end of those that this state has started. */
void luv_join_threads(lua_State *L);

#endif
