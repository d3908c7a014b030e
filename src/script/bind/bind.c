/* bind.c -- tidewire.core as a whole: its tables of functions, and constants that C and Lua share.
 *
 * C declares each constant; Lua reads it here and does not repeat the number. */
#include "script/bind/bind.h"

#include "core/bus/sessions.h"
#include "core/frames/close_codes.h"
#include "core/frames/message.h"
#include "core/store/shared.h"
#include "core/store/store.h"
#include "core/upstream/upstream.h"
#include "script/bind/bind_luv.h"
#include "script/bind/bindings.h"
#include "tidewire_version.h"

struct constant {
    const char *name;
    int value;
};

static const struct constant close_codes[] = {
    {"normal", CLOSE_NORMAL},
    {"going_away", CLOSE_GOING_AWAY},
    {"bad_payload", CLOSE_BAD_PAYLOAD},
    {"script_error", CLOSE_SCRIPT_ERROR},
    {"restart", CLOSE_RESTART},
    {"first_private", CLOSE_FIRST_PRIVATE},
    {"timed_out", CLOSE_TIMED_OUT},
    {"last", CLOSE_LAST},
    {NULL, 0},
};

static const struct constant limits[] = {
    {"close_reason_bytes", CLOSE_REASON_MAX},
    {"message_key_bytes", MESSAGE_KEY_MAX},
    {"session_secret_min", SESSION_SECRET_MIN},
    {"session_secret_max", SESSION_SECRET_MAX},
    {"store_key_bytes", STORE_MAX_KEY_BYTES},
    {"stores", SHARED_MAX_STORES},
    {"user_name_bytes", USER_NAME_MAX},
    {"upstream_headers", UPSTREAM_HEADERS_MAX},
    {"upstream_subprotocols", UPSTREAM_SUBPROTOCOLS_MAX},
    {NULL, 0},
};

static void push_constants(lua_State *L, const struct constant *constant) {
    lua_newtable(L);
    for (; constant->name != NULL; constant++) {
        lua_pushinteger(L, constant->value);
        lua_setfield(L, -2, constant->name);
    }
}

static const luaL_Reg *const tables[] = {
    bind_children_functions,      bind_conn_functions,
    bind_cosocket_functions,      bind_cosocket_options_functions,
    bind_cosocket_pool_functions, bind_cosocket_receive_functions,
    bind_cosocket_tls_functions,  bind_endpoint_functions,
    bind_files_functions,         bind_http_client_functions,
    bind_memory_functions,        bind_pool_functions,
    bind_process_functions,       bind_room_functions,
    bind_server_functions,        bind_sessions_functions,
    bind_shared_functions,        bind_state_functions,
    bind_task_functions,          bind_timers_functions,
    bind_upstream_functions,      bind_cluster_functions,
};

static int open_core(lua_State *L) {
    lua_newtable(L); /* core */
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
        luaL_setfuncs(L, tables[i], 0);
    push_constants(L, close_codes);
    lua_setfield(L, -2, "close_codes");
    push_constants(L, limits);
    lua_setfield(L, -2, "limits");
    bind_conn_push_senders(L);
    lua_setfield(L, -2, "senders");
    bind_guarded_push(L);
    lua_setfield(L, -2, "guarded");
    bind_conn_push_key(L);
    lua_setfield(L, -2, "conn_key");
    vm_push_wait_marker(L);
    lua_setfield(L, -2, "wait_marker");
    lua_pushlstring(L, USER_ROOM_PREFIX, USER_ROOM_PREFIX_LEN);
    lua_setfield(L, -2, "user_room");
    vm_push_exit_marker(L);
    lua_setfield(L, -2, "exit_marker");
    lua_pushliteral(L, TIDEWIRE_VERSION);
    lua_setfield(L, -2, "version");
    lua_pushinteger(L, vm_of(L)->options.worker);
    lua_setfield(L, -2, "worker");
    return 1;
}

static void open_bindings(lua_State *L) {
    bind_finalizers_open(L);
    bind_luv_open(L);
    bind_files_open(L);
    luaL_requiref(L, "tidewire.core", open_core, 0);
    lua_pop(L, 1);
}

static void close_handles(struct vm *vm) {
    bind_timers_cancel_all(vm);
    bind_http_client_cancel_all(vm);
    bind_children_end_all(vm);
    bind_pool_close(vm);
    bind_luv_close_handles(vm->L);
}

static void close_bindings(struct vm *vm) {
    bind_http_client_cancel_all(vm); /* finalizers may have sent requests */
    bind_children_close(vm);
    bind_timers_close(vm);
}

const struct vm_bindings bindings = {
    .prepare = bind_timers_open,
    .open = open_bindings,
    .open_thread = bind_pool_thread_open,
    .close_handles = close_handles,
    .close = close_bindings,
    .run_timers = bind_timers_run,
    .arm_timers = bind_timers_arm,
    .each_timer = bind_timers_each,
    .has_pool_calls = bind_pool_has_calls,
    .run_finalizers = bind_finalizers_run,
    .threads_running = bind_luv_threads_running,
    .join_threads = bind_luv_threads_join,
};
