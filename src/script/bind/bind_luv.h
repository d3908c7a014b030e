/* bind_luv.h -- functions that the bind_luv*.c share: errors in Lua code that luv calls, its
 * handles, its threads.
 *
 * bind_luv.c is luv on a worker's loop, bind_luv_threads.c the functions that start and join
 * threads, bind_luv_states.c the Lua states of those threads. */
#ifndef TIDEWIRE_SCRIPT_BIND_BIND_LUV_H
#define TIDEWIRE_SCRIPT_BIND_BIND_LUV_H

#include <lua.h>
#include <stdbool.h>

/* luv has room for so many arguments and results, and looks at one more. */
enum { BIND_LUV_MAX_VALUES = 9 };

/* ---- bind_luv.c ---- */

/* Pushes a message handler, whose result bind_luv_log_error() takes. */
void bind_luv_push_handler(lua_State *L);
/* Logs the error on top of the stack, and pops it. `hook`: the kind of call that has failed, "luv
 * callback". */
void bind_luv_log_error(lua_State *L, const char *hook);

/* Replaces the functions that make handles: those have memory for all of a handle, or make none.
 * Once in a state, that of a worker or of a thread, with luv's table on top. May raise errors. */
void bind_luv_guard_handles(lua_State *L, bool is_worker);
/* Once in a state, with luv's table on top, before bind_luv_close_handles(). */
void bind_luv_prepare_close(lua_State *L);
/* Closes every open handle of luv's in the state, forgotten ones as well. Logs errors. */
void bind_luv_close_handles(lua_State *L);

/* ---- bind_luv_states.c ---- */

/* From now on luv takes the states of threads from here. Any number of times, in any thread. */
void bind_luv_states_open(void);
/* Any thread: does limits.memory allow the state of one more thread? */
bool bind_luv_states_have_room(void);
/* Counts a work that is to be queued, with the arguments on top of the stack. Returns its bytes; 0:
 * works that wait have all the memory that limits.memory allows them. */
size_t bind_luv_states_add_work(lua_State *L, int arguments);
/* The work of so many bytes was not queued. */
void bind_luv_states_remove_work(size_t bytes);

/* ---- bind_luv_threads.c ---- */

/* Replaces the functions of luv's that start and join threads and works; luv's table is on top. */
void bind_luv_threads_open(lua_State *L);
/* From now on the state starts no threads. May raise errors. */
void bind_luv_threads_refuse(lua_State *L);
/* A thread has ended, and its state is closed. */
void bind_luv_threads_ended(void);

/* Any thread: how many threads of all states have not ended. */
int bind_luv_threads_running(void);
/* Waits for the end of those that this state has started. May raise errors. */
void bind_luv_threads_join(lua_State *L);

#endif
