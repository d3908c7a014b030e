/* bind_cluster.c -- tidewire.core: requests to the link to other machines. cluster.lua waits for
 * their answers. bind_room.c sends to other machines. */
#include "script/bind/bind.h"

/* core.has_cluster() -> boolean: is the machine one of a cluster? */
static int core_has_cluster(lua_State *L) {
    lua_pushboolean(L, hub_has_cluster(vm_of(L)->hub));
    return 1;
}

static void on_answer(void *vm, uint64_t task) {
    vm_wake(vm, task);
}

/* core.cluster_request(kind, body, task) -> request | nil: there is no cluster, or too many
 * requests wait. Wakes the task when the answer has come. The caller must call
 * core.cluster_forget. */
static int core_cluster_request(lua_State *L) {
    /* in the sequence of enum link_request */
    static const char *const kinds[] = {"room_sync", "shared", "session", NULL};
    struct vm *vm = vm_of(L);
    enum link_request kind = (enum link_request)luaL_checkoption(L, 1, NULL, kinds);
    struct slice body = bind_check_text(L, 2);
    uint64_t task = (uint64_t)luaL_checkinteger(L, 3);
    uint64_t number = hub_cluster_request(vm->hub, kind, body, on_answer, vm, task);
    if (number == 0)
        lua_pushnil(L);
    else
        lua_pushinteger(L, (lua_Integer)number);
    return 1;
}

/* core.cluster_answer(request) -> "ok" | "unreachable" | "timeout" | "refused", each with the
 * answer's body | nothing: it has not come */
static int core_cluster_answer(lua_State *L) {
    static const char *const names[] = {"ok", "unreachable", "timeout", "refused"};
    enum link_status status;
    struct slice body;
    if (!hub_cluster_answer(vm_of(L)->hub, (uint64_t)luaL_checkinteger(L, 1), &status, &body))
        return 0;
    lua_pushstring(L, names[status]);
    lua_pushlstring(L, body.bytes == NULL ? "" : body.bytes, body.len);
    return 2;
}

/* core.cluster_forget(request) */
static int core_cluster_forget(lua_State *L) {
    hub_cluster_forget(vm_of(L)->hub, (uint64_t)luaL_checkinteger(L, 1));
    return 0;
}

/* core.room_must_sync(room) -> boolean: does a join have to wait for "room_sync"? */
static int core_room_must_sync(lua_State *L) {
    lua_pushboolean(L, hub_room_must_sync(vm_of(L)->hub, bind_check_text(L, 1)));
    return 1;
}

static void set_figure(void *context, const char *name, uint64_t value) {
    lua_State *L = context;
    lua_pushinteger(L, (lua_Integer)value);
    lua_setfield(L, -2, name);
}

/* core.cluster_figures() -> a new table: each figure of the link (NODE_COUNTERS, NODE_GAUGES) by
 * its name; empty where there is no cluster */
static int core_cluster_figures(lua_State *L) {
    lua_newtable(L);
    hub_cluster_figures(vm_of(L)->hub, set_figure, L);
    return 1;
}

const luaL_Reg bind_cluster_functions[] = {
    {"has_cluster", core_has_cluster},
    {"cluster_request", core_cluster_request},
    {"cluster_answer", core_cluster_answer},
    {"cluster_forget", core_cluster_forget},
    {"room_must_sync", core_room_must_sync},
    {"cluster_figures", core_cluster_figures},
    {NULL, NULL},
};
