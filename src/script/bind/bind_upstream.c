/* bind_upstream.c -- tidewire.core: WebSocket connections to other servers, known to Lua by an
 * integer.
 *
 * connect.lua makes tw.connect and its client of these functions. A task that waits is woken when
 * something has happened, and looks; C calls no function of Lua's. */
#include "script/bind/bind.h"

#include "core/frames/close_codes.h"
#include "core/upstream/upstream.h"

static const struct upstream_functions *functions_of(lua_State *L) {
    return &vm_of(L)->options.upstreams;
}

static uint64_t check_number(lua_State *L) {
    return (uint64_t)luaL_checkinteger(L, 1);
}

static void on_ready(void *vm, uint64_t task) {
    vm_wake(vm, task);
}

/* core.upstream_check_url(url) -> true | nil, message */
static int core_upstream_check_url(lua_State *L) {
    char error[256];
    bool is_good = functions_of(L)->check_url(luaL_checkstring(L, 1), error, sizeof error);
    return bind_push_result(L, is_good ? NULL : error);
}

/* Reads a list of strings, which the table keeps alive. Returns their number. */
static size_t read_list(lua_State *L, int index, const char **out, size_t max) {
    luaL_checktype(L, index, LUA_TTABLE);
    size_t count = (size_t)lua_rawlen(L, index);
    luaL_argcheck(L, count <= max, index, "too many");
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, index, (lua_Integer)i + 1);
        out[i] = luaL_checkstring(L, -1);
        lua_pop(L, 1);
    }
    return count;
}

static uint64_t check_ms(lua_State *L, int index) {
    lua_Number seconds = luaL_checknumber(L, index);
    luaL_argcheck(L, seconds >= 0 && seconds <= 1e9, index, "0 to 1e9 expected");
    return (uint64_t)(seconds * 1000);
}

static size_t check_bytes(lua_State *L, int index) {
    lua_Integer bytes = luaL_checkinteger(L, index);
    luaL_argcheck(L, bytes >= 0, index, "0 or more expected");
    return (size_t)bytes;
}

/* core.upstream_open(url, headers, subprotocols, timeout, ping_period, pong_period,
 *                    max_message_size, max_backlog, max_inbox, verify, ca|nil, certificate|nil,
 *                    key|nil, server_name|nil) -> upstream | nil, message
 * All are checked; headers and subprotocols are lists of strings. The caller must call
 * core.upstream_release. */
static int core_upstream_open(lua_State *L) {
    const char *headers[UPSTREAM_HEADERS_MAX], *subprotocols[UPSTREAM_SUBPROTOCOLS_MAX], *why_not;
    struct upstream_options options = {
        .url = luaL_checkstring(L, 1),
        .headers = headers,
        .header_count = read_list(L, 2, headers, UPSTREAM_HEADERS_MAX),
        .subprotocols = subprotocols,
        .subprotocol_count = read_list(L, 3, subprotocols, UPSTREAM_SUBPROTOCOLS_MAX),
        .timeout_ms = check_ms(L, 4),
        .ping_ms = check_ms(L, 5),
        .pong_ms = check_ms(L, 6),
        .max_message_size = check_bytes(L, 7),
        .max_backlog = check_bytes(L, 8),
        .max_inbox = check_bytes(L, 9),
        .verify = lua_toboolean(L, 10),
        .ca = luaL_optstring(L, 11, NULL),
        .certificate = luaL_optstring(L, 12, NULL),
        .key = luaL_optstring(L, 13, NULL),
        .server_name = luaL_optstring(L, 14, NULL),
    };
    const struct upstream_functions *functions = functions_of(L);
    uint64_t number = functions->open(functions->user, &options, &why_not);
    if (number == 0)
        return bind_push_failure(L, why_not);
    lua_pushinteger(L, (lua_Integer)number);
    return 1;
}

/* core.upstream_status(upstream) -> "connecting" | "open" | "closing", each with subprotocol|nil,
 * backlog | "closed", code, reason, problem|nil, HTTP status|nil | nothing: it is released */
static int core_upstream_status(lua_State *L) {
    static const char *const names[] = {"connecting", "open", "closing", "closed"};
    const struct upstream_functions *functions = functions_of(L);
    struct upstream_status status;
    if (!functions->status(functions->user, check_number(L), &status))
        return 0;
    lua_pushstring(L, names[status.state]);
    if (status.state != UPSTREAM_CLOSED) {
        lua_pushstring(L, status.subprotocol);
        lua_pushinteger(L, (lua_Integer)status.backlog);
        return 3;
    }
    lua_pushinteger(L, status.code);
    lua_pushlstring(L, status.reason.bytes, status.reason.len);
    lua_pushstring(L, status.problem);
    if (status.http_status == 0)
        return 4;
    lua_pushinteger(L, status.http_status);
    return 5;
}

/* core.upstream_send(upstream, payload, binary) -> true | nil, "closed" | nil, "backlog"
 *      | nil, "too large" | nil, "utf8" */
static int core_upstream_send(lua_State *L) {
    const struct upstream_functions *functions = functions_of(L);
    uint64_t number = check_number(L);
    struct slice payload = bind_check_text(L, 2);
    switch (functions->send(functions->user, number, lua_toboolean(L, 3), payload)) {
    case UPSTREAM_SENT:
        return bind_push_result(L, NULL);
    case UPSTREAM_SEND_BACKLOG:
        return bind_push_failure(L, "backlog");
    case UPSTREAM_SEND_TOO_LARGE:
        return bind_push_failure(L, "too large");
    case UPSTREAM_SEND_BAD_UTF8:
        return bind_push_failure(L, "utf8");
    default:
        return bind_push_failure(L, "closed");
    }
}

/* core.upstream_receive(upstream) -> payload, binary | nothing: none waits */
static int core_upstream_receive(lua_State *L) {
    const struct upstream_functions *functions = functions_of(L);
    bool binary;
    struct slice payload;
    if (!functions->receive(functions->user, check_number(L), &binary, &payload))
        return 0;
    lua_pushlstring(L, payload.bytes, payload.len);
    lua_pushboolean(L, binary);
    return 2;
}

/* core.upstream_wait(upstream, event, task|nil): wakes the task once, when the state changes, or a
 * message arrives, or (event "flushed") nothing waits to be sent; nil: no task waits any more. */
static int core_upstream_wait(lua_State *L) {
    const struct upstream_functions *functions = functions_of(L);
    static const char *const events[] = {"message", "flushed", NULL};
    enum upstream_event event = (enum upstream_event)luaL_checkoption(L, 2, NULL, events);
    uint64_t task = (uint64_t)luaL_optinteger(L, 3, 0);
    functions->wait(functions->user, check_number(L), event, task == 0 ? NULL : on_ready, vm_of(L),
                    task);
    return 0;
}

/* core.upstream_close(upstream, code, reason): begins to close; both are checked. */
static int core_upstream_close(lua_State *L) {
    const struct upstream_functions *functions = functions_of(L);
    lua_Integer code = luaL_checkinteger(L, 2);
    struct slice reason = bind_check_text(L, 3);
    luaL_argcheck(L, close_code_is_valid(code), 2, "no code of a Close frame");
    luaL_argcheck(L, reason.len <= CLOSE_REASON_MAX, 3, "too long");
    functions->close(functions->user, check_number(L), (unsigned)code, reason);
    return 0;
}

/* core.upstream_release(upstream): closes it with 1001 if it is open, and forgets the number. */
static int core_upstream_release(lua_State *L) {
    const struct upstream_functions *functions = functions_of(L);
    functions->release(functions->user, check_number(L));
    return 0;
}

const luaL_Reg bind_upstream_functions[] = {
    {"upstream_check_url", core_upstream_check_url},
    {"upstream_open", core_upstream_open},
    {"upstream_status", core_upstream_status},
    {"upstream_send", core_upstream_send},
    {"upstream_receive", core_upstream_receive},
    {"upstream_wait", core_upstream_wait},
    {"upstream_close", core_upstream_close},
    {"upstream_release", core_upstream_release},
    {NULL, NULL},
};
