/* bind_endpoint.c -- tidewire.core: endpoints, known to Lua by a number. endpoints.lua uses these.
 */
#include "script/bind/bind.h"

#include "base/mem.h"

#include <math.h>
#include <string.h>

static lua_Integer integer_field(lua_State *L, const char *name) {
    lua_getfield(L, 1, name);
    lua_Integer value = lua_tointeger(L, -1);
    lua_pop(L, 1);
    return value;
}

static uint64_t ms_field(lua_State *L, const char *name) {
    lua_getfield(L, 1, name);
    lua_Number seconds = lua_tonumber(L, -1);
    lua_pop(L, 1);
    return seconds <= 0 ? 0 : (uint64_t)ceil(seconds * 1000);
}

static uint64_t ns_field(lua_State *L, const char *name) {
    lua_getfield(L, 1, name);
    lua_Number seconds = lua_tonumber(L, -1);
    lua_pop(L, 1);
    return seconds >= 1e9 ? (uint64_t)1e18 : (uint64_t)(seconds * 1e9);
}

static bool flag_field(lua_State *L, const char *name) {
    lua_getfield(L, 1, name);
    bool value = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return value;
}

static bool field_is(lua_State *L, const char *name, const char *value) {
    lua_getfield(L, 1, name);
    const char *text = lua_tostring(L, -1);
    bool same = text != NULL && strcmp(text, value) == 0;
    lua_pop(L, 1);
    return same;
}

/* The codec of a name (codecs.lua): "text", "binary", "json", else one of the script's own. */
static enum codec codec_field(lua_State *L) {
    return field_is(L, "codec", "text")     ? CODEC_TEXT
           : field_is(L, "codec", "binary") ? CODEC_BINARY
           : field_is(L, "codec", "json")   ? CODEC_JSON
                                            : CODEC_CUSTOM;
}

/* core.endpoint({...}, number|nil) -> its number and that of its codec: a new endpoint, or what one
 * that is there is from now on. The fields are those of struct endpoint, periods in seconds, the
 * codec by name, checked by options.lua before. */
static int core_endpoint(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    struct endpoint endpoint = {
        .ping_ms = ms_field(L, "ping_period"),
        .pong_ms = ms_field(L, "pong_period"),
        .handler_timeout_ns = ns_field(L, "handler_timeout"),
        .message_ms = ms_field(L, "message_timeout"),
        .max_fragments = (uint32_t)integer_field(L, "max_fragments"),
        .max_message_size = (size_t)integer_field(L, "max_message_size"),
        .max_backlog = (size_t)integer_field(L, "max_backlog"),
        .max_connections = (uint32_t)integer_field(L, "max_connections"),
        .codec = codec_field(L),
        .heartbeat = field_is(L, "heartbeat", "json") ? HEARTBEAT_JSON : HEARTBEAT_FRAME,
        .slow_client = field_is(L, "slow_client", "drop")       ? SLOW_CLIENT_DROP
                       : field_is(L, "slow_client", "conflate") ? SLOW_CLIENT_CONFLATE
                                                                : SLOW_CLIENT_CLOSE,
        .has_message = flag_field(L, "has_message"),
        .has_ping = flag_field(L, "has_ping"),
        .has_timeout = flag_field(L, "has_timeout"),
        .has_drain = flag_field(L, "has_drain"),
        .has_reload = flag_field(L, "has_reload"),
        .generation = vm_generation(vm_of(L)),
    };
    struct hub *hub = vm_of(L)->hub;
    bool is_known = !lua_isnoneornil(L, 2);
    uint32_t number = is_known ? (uint32_t)luaL_checkinteger(L, 2) : 0;
    luaL_argcheck(L, !is_known || hub_endpoint(hub, number) != NULL, 2, "no such endpoint");
    lua_getfield(L, 1, "json_name");
    lua_getfield(L, 1, "path");
    const char *json_name = luaL_checkstring(L, -2), *path = luaL_optstring(L, -1, NULL);
    endpoint.json_name = mem_strdup(json_name);
    endpoint.path = mem_strdup(path);
    budget_lower(vm_of(L), endpoint.handler_timeout_ns);
    if (is_known)
        vm_load_count_closed(vm_of(L), hub_activate_endpoint(hub, number, &endpoint));
    else
        number = hub_add_endpoint(hub, &endpoint);
    lua_pushinteger(L, number);
    lua_pushinteger(L, hub_endpoint(hub, number)->codec);
    return 2;
}

/* core.close_endpoint(number, code, reason): closes all its connections. */
static int core_close_endpoint(lua_State *L) {
    struct hub *hub = vm_of(L)->hub;
    uint32_t number = (uint32_t)luaL_checkinteger(L, 1);
    luaL_argcheck(L, hub_endpoint(hub, number) != NULL, 1, "no such endpoint");
    hub_close_endpoint(hub, number, (unsigned)luaL_checkinteger(L, 2), luaL_checkstring(L, 3));
    return 0;
}

/* core.endpoint_full(number) -> boolean: has it as many connections as it may? */
static int core_endpoint_full(lua_State *L) {
    const struct endpoint *endpoint =
        hub_endpoint(vm_of(L)->hub, (uint32_t)luaL_checkinteger(L, 1));
    lua_pushboolean(L, endpoint == NULL || limit_full(endpoint->limit));
    return 1;
}

/* core.endpoint_is_first(number) -> boolean: is this worker the first to ask? So a warning is given
 * once. */
static int core_endpoint_is_first(lua_State *L) {
    struct hub *hub = vm_of(L)->hub;
    uint32_t number = (uint32_t)luaL_checkinteger(L, 1);
    luaL_argcheck(L, hub_endpoint(hub, number) != NULL, 1, "no such endpoint");
    lua_pushboolean(L, hub_is_first(hub, number));
    return 1;
}

/* core.endpoint_taken(number) -> how many connections it has, over all workers, handshakes included
 * */
static int core_endpoint_taken(lua_State *L) {
    const struct endpoint *endpoint =
        hub_endpoint(vm_of(L)->hub, (uint32_t)luaL_checkinteger(L, 1));
    luaL_argcheck(L, endpoint != NULL, 1, "no such endpoint");
    lua_pushinteger(L, limit_taken(endpoint->limit));
    return 1;
}

const luaL_Reg bind_endpoint_functions[] = {
    {"endpoint", core_endpoint},
    {"endpoint_full", core_endpoint_full},
    {"endpoint_is_first", core_endpoint_is_first},
    {"endpoint_taken", core_endpoint_taken},
    {"fast_path", core_fast_path},
    {"close_endpoint", core_close_endpoint},
    {NULL, NULL},
};
