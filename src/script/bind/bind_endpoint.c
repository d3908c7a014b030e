/* bind_endpoint.c -- tidewire.core: endpoints, known to Lua by a number. endpoints.lua uses these.
 */
#include "script/bind/bind.h"

#include "base/mem.h"

#include <math.h>
#include <string.h>

/* The number of an endpoint. Throws for other integers, those of more than 32 bits as well. */
static uint32_t check_number(lua_State *L, int index) {
    luaL_argcheck(L, bind_find_endpoint(L, index) != NULL, index, "no such endpoint");
    return (uint32_t)lua_tointeger(L, index);
}

/* ---- the fields of an endpoint: those of the table at index 1, which options.lua has checked ----
 */

static lua_Integer integer_field(lua_State *L, const char *name) {
    lua_getfield(L, 1, name);
    lua_Integer value = lua_tointeger(L, -1);
    lua_pop(L, 1);
    return value;
}

static lua_Number seconds_field(lua_State *L, const char *name) {
    lua_getfield(L, 1, name);
    lua_Number seconds = lua_tonumber(L, -1);
    lua_pop(L, 1);
    return seconds;
}

static uint64_t ms_field(lua_State *L, const char *name) {
    lua_Number seconds = seconds_field(L, name);
    return seconds <= 0 ? 0 : (uint64_t)ceil(seconds * 1000);
}

static uint64_t ns_field(lua_State *L, const char *name) {
    lua_Number seconds = seconds_field(L, name);
    return seconds >= 1e9 ? (uint64_t)1e18 : (uint64_t)(seconds * 1e9);
}

static bool flag_field(lua_State *L, const char *name) {
    lua_getfield(L, 1, name);
    bool value = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return value;
}

/* The index of the field's text among the names, which end with NULL; their number for any other
 * text. */
static int name_field(lua_State *L, const char *name, const char *const names[]) {
    lua_getfield(L, 1, name);
    const char *text = luaL_checkstring(L, -1);
    int i = 0;
    while (names[i] != NULL && strcmp(names[i], text) != 0)
        i++;
    lua_pop(L, 1);
    return i;
}

/* The same. Throws for any other text. */
static int choice_field(lua_State *L, const char *name, const char *const names[]) {
    int i = name_field(L, name, names);
    return names[i] != NULL ? i : luaL_error(L, "no endpoint can have this %s", name);
}

static const char *const heartbeats[] = {
    [HEARTBEAT_FRAME] = "frame",
    [HEARTBEAT_JSON] = "json",
    NULL,
};
static const char *const slow_clients[] = {
    [SLOW_CLIENT_CLOSE] = "close",
    [SLOW_CLIENT_DROP] = "drop",
    [SLOW_CLIENT_CONFLATE] = "conflate",
    NULL,
};

static const char *const rate_actions[] = {
    [RATE_CLOSE] = "close",
    [RATE_DROP] = "drop",
    [RATE_PAUSE] = "pause",
    NULL,
};

static struct message_rate message_rate_field(lua_State *L) {
    struct message_rate rate = {0};
    lua_getfield(L, 1, "rate");
    if (lua_istable(L, -1)) {
        rate.messages = app_rate(L, "messages", "burst");
        rate.bytes = app_rate(L, "bytes", "burst_bytes");
        lua_getfield(L, -1, "action");
        rate.action = (enum rate_action)luaL_checkoption(L, -1, NULL, rate_actions);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return rate;
}

static struct token_rate control_rate_field(lua_State *L) {
    lua_getfield(L, 1, "control_rate");
    struct token_rate rate = app_rate(L, "frames", "burst");
    lua_pop(L, 1);
    return rate;
}

/* ---- for Lua ---- */

/* core.endpoint({...}, number|nil) -> its number and that of its codec: adds an endpoint, or
 * changes the one with this number. The fields are those of struct endpoint; periods are in
 * seconds, the codec is a name (codecs.lua), of which any but bind_conn_codecs is one of the
 * script's own. */
static int core_endpoint(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    struct vm *vm = vm_of(L);
    struct endpoint endpoint = {
        .ping_ms = ms_field(L, "ping_period"),
        .pong_ms = ms_field(L, "pong_period"),
        .handler_timeout_ns = ns_field(L, "handler_timeout"),
        .message_ms = ms_field(L, "message_timeout"),
        .max_fragments = (uint32_t)integer_field(L, "max_fragments"),
        .max_message_size = (size_t)integer_field(L, "max_message_size"),
        .max_backlog = (size_t)integer_field(L, "max_backlog"),
        .max_connections = (uint32_t)integer_field(L, "max_connections"),
        .codec = (enum codec)name_field(L, "codec", bind_conn_codecs),
        .heartbeat = (enum heartbeat)choice_field(L, "heartbeat", heartbeats),
        .slow_client = (enum slow_client)choice_field(L, "slow_client", slow_clients),
        .rate = message_rate_field(L),
        .control_rate = control_rate_field(L),
        .compresses = flag_field(L, "compresses"),
        .keeps_context = flag_field(L, "keeps_context"),
        .compress_level = (uint8_t)integer_field(L, "compress_level"),
        .compress_min = (size_t)integer_field(L, "compress_min"),
        .has_message = flag_field(L, "has_message"),
        .has_ping = flag_field(L, "has_ping"),
        .has_timeout = flag_field(L, "has_timeout"),
        .has_drain = flag_field(L, "has_drain"),
        .has_reload = flag_field(L, "has_reload"),
        .resume_ms = ms_field(L, "resume_seconds"),
        .resume_messages = (uint32_t)integer_field(L, "resume_messages"),
        .resume_bytes = (size_t)integer_field(L, "resume_bytes"),
        .resume_sessions = (uint32_t)integer_field(L, "resume_sessions"),
        .user_connections = (uint32_t)integer_field(L, "user_connections"),
        .user_replaces = flag_field(L, "user_replaces"),
        .generation = vm_generation(vm),
    };
    bool is_known = !lua_isnoneornil(L, 2);
    uint32_t number = is_known ? check_number(L, 2) : 0;
    lua_getfield(L, 1, "json_name");
    lua_getfield(L, 1, "path");
    const char *json_name = luaL_checkstring(L, -2), *path = luaL_optstring(L, -1, NULL);
    endpoint.json_name = mem_strdup(json_name);
    endpoint.path = mem_strdup(path);
    budget_lower(vm, endpoint.handler_timeout_ns);
    if (is_known)
        vm_load_count_closed(vm, hub_activate_endpoint(vm->hub, number, &endpoint));
    else
        number = hub_add_endpoint(vm->hub, &endpoint);
    lua_pushinteger(L, number);
    lua_pushinteger(L, hub_endpoint(vm->hub, number)->codec);
    return 2;
}

/* core.close_endpoint(number, code, reason): closes all its connections. */
static int core_close_endpoint(lua_State *L) {
    uint32_t number = check_number(L, 1);
    unsigned code = (unsigned)luaL_checkinteger(L, 2);
    hub_close_endpoint(vm_of(L)->hub, number, code, luaL_checkstring(L, 3));
    return 0;
}

/* core.endpoint_full(number) -> boolean: has it max_connections connections, or is it none? */
static int core_endpoint_full(lua_State *L) {
    const struct endpoint *endpoint = bind_find_endpoint(L, 1);
    lua_pushboolean(L, endpoint == NULL || limit_full(endpoint->limit));
    return 1;
}

/* core.session_exists(number, secret) -> boolean: has the endpoint such a session on this worker?
 */
static int core_session_exists(lua_State *L) {
    uint32_t number = check_number(L, 1);
    lua_pushboolean(L, hub_session_exists(vm_of(L)->hub, number, bind_check_text(L, 2)));
    return 1;
}

/* core.is_first(subject, number or nil) -> boolean: is this worker the first to ask about a subject
 * ("subprotocols", "origins") of an endpoint, or of none? A warning is then logged once. */
static int core_is_first(lua_State *L) {
    static const char *const names[] = {"subprotocols", "origins", NULL};
    static const enum bus_subject subjects[] = {BUS_SUBPROTOCOLS, BUS_ORIGINS};
    enum bus_subject subject = subjects[luaL_checkoption(L, 1, NULL, names)];
    uint32_t number = lua_isnoneornil(L, 2) ? BUS_NO_ENDPOINT : check_number(L, 2);
    lua_pushboolean(L, hub_is_first(vm_of(L)->hub, number, subject));
    return 1;
}

/* core.endpoint_taken(number) -> its connections over all workers, those in their handshake
 * included */
static int core_endpoint_taken(lua_State *L) {
    lua_pushinteger(L, limit_taken(hub_endpoint(vm_of(L)->hub, check_number(L, 1))->limit));
    return 1;
}

static void add_conn(void *L, struct conn *conn) {
    vm_push_object(L, conn);
    if (lua_isnil(L, -1))
        lua_pop(L, 1); /* its handshake has no answer yet */
    else
        lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
}

/* core.endpoint_conns(number) -> a list of the objects of this worker's connections, in no order */
static int core_endpoint_conns(lua_State *L) {
    uint32_t number = check_number(L, 1);
    lua_newtable(L);
    hub_conns_of(vm_of(L)->hub, number, add_conn, L);
    return 1;
}

/* core.fast_path(number, f|nil): f handles messages of this endpoint; nil: dispatch.lua does. */
static int core_fast_path(lua_State *L) {
    uint32_t number = check_number(L, 1);
    int function = LUA_NOREF;
    if (!lua_isnoneornil(L, 2)) {
        luaL_checktype(L, 2, LUA_TFUNCTION);
        lua_settop(L, 2);
        function = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    fast_path_set(vm_of(L), number, function);
    return 0;
}

const luaL_Reg bind_endpoint_functions[] = {
    {"endpoint", core_endpoint},
    {"endpoint_conns", core_endpoint_conns},
    {"endpoint_full", core_endpoint_full},
    {"session_exists", core_session_exists},
    {"is_first", core_is_first},
    {"endpoint_taken", core_endpoint_taken},
    {"fast_path", core_fast_path},
    {"close_endpoint", core_close_endpoint},
    {NULL, NULL},
};
