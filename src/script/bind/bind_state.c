/* bind_state.c -- tidewire.core: the state that outlives the process. */
#include "script/bind/bind.h"

#include "script/plain/plain_data.h"

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
    state->end_keep(state->user);
    return 0;
}

const luaL_Reg bind_state_functions[] = {
    {"state_take", core_state_take},
    {"state_keep", core_state_keep},
    {"state_save_keep", core_state_save_keep},
    {NULL, NULL},
};
