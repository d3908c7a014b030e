/* bind.h -- tidewire.core: the C functions that Lua calls.
 *
 * core_NAME in C is core.NAME in Lua, and stands in a table of the bind_*.c that it belongs to;
 * lua/types/core.lua has its types. A connection, a timer, a task, a store and a request are
 * integers for Lua. Each function checks its arguments, acts, and pushes results, in this order:
 * any Lua call may longjmp.
 *
 * bind.c makes the table of the functions that vm/ calls (script/vm/vm_bindings.h). */
#ifndef TIDEWIRE_SCRIPT_BIND_BIND_H
#define TIDEWIRE_SCRIPT_BIND_BIND_H

#include "base/utf8.h"
#include "script/vm/vm_internal.h"

/* ---- the tables of functions ---- */

extern const luaL_Reg bind_children_functions[], bind_conn_functions[], bind_cosocket_functions[],
    bind_cosocket_options_functions[], bind_cosocket_receive_functions[],
    bind_cosocket_tls_functions[], bind_cosocket_pool_functions[], bind_endpoint_functions[],
    bind_cluster_functions[], bind_files_functions[], bind_http_client_functions[],
    bind_memory_functions[], bind_pool_functions[], bind_process_functions[], bind_room_functions[],
    bind_server_functions[], bind_sessions_functions[], bind_shared_functions[],
    bind_state_functions[], bind_task_functions[], bind_timers_functions[],
    bind_upstream_functions[];

/* The names of the codecs that are no script's own, by enum codec. The last is NULL. */
extern const char *const bind_conn_codecs[];

/* ---- other fields of tidewire.core ---- */

/* Pushes core.senders: a table of the C functions that are conn.send, by the name of the codec. */
void bind_conn_push_senders(lua_State *L);
/* Pushes core.conn_key: the key under which a conn object keeps its integer. */
void bind_conn_push_key(lua_State *L);
/* Pushes core.guarded: a table of functions that replace Lua's own. It is one table further away
 * than other functions of `core`, so that tracebacks call them by the names that scripts know. */
void bind_guarded_push(lua_State *L);
/* Add functions to that table, which is on top. */
void bind_finalizers_add_functions(lua_State *L);
void bind_process_add_functions(lua_State *L);

/* ---- others ---- */

/* In the new state. */
void bind_finalizers_open(lua_State *L);
void bind_finalizers_run(struct vm *vm);
/* Ends the programs that scripts run, and frees what is kept of them when no handle is open. */
void bind_children_end_all(struct vm *vm);
void bind_children_close(struct vm *vm);
/* Makes the class of core.file_read's jobs. */
void bind_files_open(lua_State *L);
/* Cancels the requests that have not ended. Others may be sent afterwards. */
void bind_http_client_cancel_all(struct vm *vm);
/* Replaces luv's functions and makes `require "luv"` return luv on the worker's loop. */
void bind_luv_open(lua_State *L);
bool bind_pool_has_calls(const struct vm *vm);
/* Drops the calls, and makes no pools any more. The loop must run once more. */
void bind_pool_close(struct vm *vm);
/* Makes tidewire.core in the state of a pool's thread. */
void bind_pool_thread_open(lua_State *L);
/* Replaces io.popen and os.execute of a thread's own state. */
void bind_process_guard_children(lua_State *L);
/* Before the Lua state is made. */
void bind_timers_open(struct vm *vm);
void bind_timers_run(struct vm *vm);
void bind_timers_arm(struct vm *vm);
void bind_timers_each(struct vm *vm, void (*f)(void *user, unsigned generation, const char *where),
                      void *user);
/* Cancels all timers. Others may be started afterwards. */
void bind_timers_cancel_all(struct vm *vm);
/* When the Lua state is closed. The loop must run once more. */
void bind_timers_close(struct vm *vm);

/* ---- arguments and results ---- */

static inline conn_id bind_check_conn(lua_State *L, int index) {
    return (conn_id)luaL_checkinteger(L, index);
}

/* The endpoint whose number is the integer at the index. NULL: there is none. */
static inline const struct endpoint *bind_find_endpoint(lua_State *L, int index) {
    lua_Integer number = luaL_checkinteger(L, index);
    return number < 0 || number > UINT32_MAX ? NULL : hub_endpoint(vm_of(L)->hub, (uint32_t)number);
}

/* The bytes of the string at the index, borrowed from it. */
static inline struct slice bind_check_text(lua_State *L, int index) {
    struct slice text;
    text.bytes = luaL_checklstring(L, index, &text.len);
    return text;
}

/* The same; NULL and 0 for nil or no argument. */
static inline struct slice bind_opt_text(lua_State *L, int index) {
    return lua_isnoneornil(L, index) ? (struct slice){NULL, 0} : bind_check_text(L, index);
}

/* Is the text UTF-8? Not checked again if it is the message whose hook runs. */
static inline bool bind_is_utf8(lua_State *L, const char *bytes, size_t len) {
    const struct task *task = vm_current(vm_of(L));
    return (task != NULL && bytes == task->valid_text) || utf8_valid(bytes, len);
}

/* Pushes nil and a message. Returns the number of results. */
static inline int bind_push_failure(lua_State *L, const char *message) {
    luaL_pushfail(L);
    lua_pushstring(L, message);
    return 2;
}

/* Pushes true, or nil and the message if it is not NULL. Returns the number of results. */
static inline int bind_push_result(lua_State *L, const char *message) {
    if (message != NULL)
        return bind_push_failure(L, message);
    lua_pushboolean(L, 1);
    return 1;
}

/* Pushes the results of core.send. Returns their number. */
static inline int bind_push_send_result(lua_State *L, enum send_result result) {
    return bind_push_result(L, result == SEND_OK       ? NULL
                               : result == SEND_CLOSED ? "closed"
                                                       : "backlog");
}

#endif
