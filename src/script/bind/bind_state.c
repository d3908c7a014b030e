/* bind_state.c -- tidewire.core: the state that outlives the process. */
#include "script/bind/bind.h"

#include "script/plain/plain_data.h"

#include <string.h>

/* core.state_take(file) -> true | nil, why the server cannot start with this file. Takes the state
 * of the file, if no worker has taken it. */
static int core_state_take(lua_State *L) {
    const char *file = luaL_checkstring(L, 1);
    const struct vm_state_functions *state = &vm_of(L)->options.state;
    char why[512];
    bool good = state->user == NULL ||
                state->take(state->user, file, &(struct error_text){why, sizeof why});
    return bind_push_result(L, good ? NULL : why);
}

/* core.state_keep(index) -> name, table | nothing: this worker has kept no more. The first has the
 * index 0. */
static int core_state_keep(lua_State *L) {
    lua_Integer index = luaL_checkinteger(L, 1);
    const struct vm_options *options = &vm_of(L)->options;
    const struct vm_state_functions *state = &options->state;
    struct slice name, value;
    if (state->user == NULL ||
        !state->keep(state->user, options->worker, (size_t)index, &name, &value))
        return 0;
    lua_pushlstring(L, name.bytes, name.len);
    if (plain_data_read(L, value.bytes, value.bytes + value.len) == NULL)
        return 0;
    return 2;
}

/* core.state_save_keep(name, table): writes a table of tw.keep into the state. In the event
 * save_state. */
static int core_state_save_keep(lua_State *L) {
    struct slice name = bind_check_text(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    const struct vm_options *options = &vm_of(L)->options;
    const struct vm_state_functions *state = &options->state;
    if (state->user == NULL)
        return 0;
    struct sink *sink = state->begin_keep(state->user, options->worker, name);
    plain_data_pack(L, 2, sink, state->left_out(state->user));
    state->end_part(state->user);
    return 0;
}

static void add_session(void *L, struct conn *conn) {
    vm_push_object(L, conn);
    if (lua_isnil(L, -1))
        lua_pop(L, 1);
    else
        lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
}

/* core.sessions() -> a list of the objects of this worker's sessions that wait, in no order */
static int core_sessions(lua_State *L) {
    lua_newtable(L);
    hub_sessions(vm_of(L)->hub, add_session, L);
    return 1;
}

/* core.state_save_session(id, fields, rest): writes a session into the state; `rest` is what its
 * object has beside the fields of scripts. In the event save_state. */
static int core_state_save_session(lua_State *L) {
    struct vm *vm = vm_of(L);
    const struct vm_state_functions *state = &vm->options.state;
    struct conn *conn = hub_find(vm->hub, bind_check_conn(L, 1));
    luaL_checktype(L, 2, LUA_TTABLE);
    luaL_checktype(L, 3, LUA_TTABLE);
    if (state->user == NULL || conn == NULL)
        return 0;
    const char *path = hub_find_endpoint(vm->hub, hub_id_of(conn))->path;
    struct buffer bytes = {0};
    struct buffer_sink own = buffer_sink_of(&bytes);
    hub_session_save(vm->hub, conn, &own.sink);
    struct sink *sink = state->begin_session(state->user, slice_of(path == NULL ? "" : path));
    pack_text(sink, buffer_start(&bytes), bytes.len);
    buffer_free(&bytes);
    plain_data_pack(L, 2, sink, state->left_out(state->user));
    plain_data_pack(L, 3, sink, state->left_out(state->user));
    state->end_part(state->user);
    return 0;
}

/* core.state_values(values) -> all values that the light userdata has. In the event
 * restore_session. */
static int core_state_values(lua_State *L) {
    const struct slice *values = lua_touserdata(L, 1);
    luaL_argcheck(L, values != NULL, 1, "values expected");
    int count = plain_data_read_all(L, values->bytes, values->len);
    return count < 0 ? 0 : count;
}

const luaL_Reg bind_state_functions[] = {
    {"state_take", core_state_take},
    {"state_keep", core_state_keep},
    {"state_save_keep", core_state_save_keep},
    {"sessions", core_sessions},
    {"state_save_session", core_state_save_session},
    {"state_values", core_state_values},
    {NULL, NULL},
};
