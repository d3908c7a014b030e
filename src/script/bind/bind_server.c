/* bind_server.c -- tidewire.core: the server around the connections: its log, statistics, checks of
 * the app's options, and responses to plain HTTP requests. */
#include "script/bind/bind.h"

#include "base/clock.h"
#include "base/log/log.h"
#include "script/vm/app_tls.h"
#include "script/vm/embedded.h"
#include "script/vm/trace.h"
#include "script/vm/vm_thread.h"

#include <string.h>
#include <unistd.h>

extern char **environ;

/* ---- the log ---- */

static enum log_level check_level(lua_State *L, int index) {
    enum log_level level = LOG_DEBUG;
    luaL_argcheck(L, log_level_parse(luaL_checkstring(L, index), &level), index,
                  "a level of the log is needed");
    return level;
}

/* Adds the value at index key + 1 to the line. `why`: the message of a script's error, which a
 * traceback repeats; NULL for other events. */
static void log_field(struct log_line *line, lua_State *L, int key, const char *why) {
    const char *name = lua_tostring(L, key);
    int value = key + 1;
    size_t len;
    if (lua_isinteger(L, value)) {
        log_int(line, name, lua_tointeger(L, value));
    } else if (lua_type(L, value) == LUA_TNUMBER) {
        log_num(line, name, lua_tonumber(L, value));
    } else if (lua_isboolean(L, value)) {
        log_bool(line, name, lua_toboolean(L, value));
    } else if (lua_type(L, value) == LUA_TSTRING) {
        const char *text = lua_tolstring(L, value, &len);
        if (why != NULL && strcmp(name, "traceback") == 0)
            trace_log(line, vm_sources(vm_of(L)), why, text);
        else
            log_bytes(line, name, text, len);
    }
}

/* Names the connection, its endpoint and the generation of the code that logs: that of the running
 * code, but no newer than the endpoint's, as a removed endpoint keeps its code. */
static void log_conn_fields(struct log_line *line, const struct vm *vm, conn_id conn) {
    const struct endpoint *endpoint = hub_find_endpoint(vm->hub, conn);
    unsigned generation = vm_current_generation(vm);
    if (endpoint != NULL && endpoint->generation < generation)
        generation = endpoint->generation;
    log_path(line, endpoint == NULL ? NULL : endpoint->path);
    log_conn(line, conn);
    log_int(line, "generation", generation);
}

/* core.log(level, event, conn|nil, key, value, ...): keys are strings, values strings, numbers or
 * booleans (log.lua makes them); others are left out. Without a conn, that of the running hook is
 * named. A client can cause "script_error" at any rate, so the log limits these lines. */
static int core_log(lua_State *L) {
    enum log_level level = check_level(L, 1);
    const char *event = luaL_checkstring(L, 2);
    conn_id conn = (conn_id)luaL_optinteger(L, 3, 0);
    const struct vm *vm = vm_of(L);
    if (conn == 0 && vm_current(vm) != NULL)
        conn = vm_current(vm)->conn;
    int top = lua_gettop(L);
    for (int key = 4; key < top; key += 2)
        luaL_checktype(L, key, LUA_TSTRING);
    struct log_line line; /* nothing throws from here on */
    bool is_error = strcmp(event, "script_error") == 0;
    if (is_error)
        log_begin_limited(&line, level, event);
    else
        log_begin(&line, level, event);
    if (conn != 0)
        log_conn_fields(&line, vm, conn);
    if (vm_thread_name(vm) != NULL)
        log_str(&line, "pool", vm_thread_name(vm));
    const char *why = NULL;
    for (int key = 4; key < top; key += 2) {
        if (is_error && strcmp(lua_tostring(L, key), "why") == 0)
            why = lua_tostring(L, key + 1);
        log_field(&line, L, key, why);
    }
    log_end(&line);
    return 0;
}

/* core.log_enabled(level) -> boolean: does the log write lines of this level? */
static int core_log_enabled(lua_State *L) {
    lua_pushboolean(L, log_enabled(check_level(L, 1)));
    return 1;
}

/* core.logs_refusals() -> boolean: does the log write lines for refused requests? */
static int core_logs_refusals(lua_State *L) {
    lua_pushboolean(L, log_enabled(log_refusal_level()));
    return 1;
}

/* ---- statistics, time, environment ---- */

/* core.stats() -> a new table over all workers: each counter and gauge by its name (stats.h),
 * max_connections, sockets, and uptime in seconds */
static int core_stats(lua_State *L) {
    struct vm *vm = vm_of(L);
    struct stats_total total;
    hub_total(vm->hub, &total);
    lua_newtable(L);
#define X(name, help)                                                                              \
    lua_pushinteger(L, (lua_Integer)total.name);                                                   \
    lua_setfield(L, -2, #name);
    STATS_COUNTERS(X)
    STATS_GAUGES(X)
#undef X
    lua_pushinteger(L, limit_max(hub_connection_limit(vm->hub)));
    lua_setfield(L, -2, "max_connections");
    lua_pushinteger(L, limit_taken(hub_connection_limit(vm->hub)));
    lua_setfield(L, -2, "sockets");
    lua_pushnumber(L, clock_monotonic_seconds() - vm->options.started_at);
    lua_setfield(L, -2, "uptime");
    return 1;
}

/* core.count_error(kind): counts an error that Lua has caught, of kind "decode" or another. */
static int core_count_error(lua_State *L) {
    bool is_decode = strcmp(luaL_checkstring(L, 1), "decode") == 0;
    struct stats *stats = hub_stats(vm_of(L)->hub);
    stats_add(is_decode ? &stats->decode_errors : &stats->script_errors, 1);
    return 0;
}

/* core.time() -> seconds since 1970, with a fraction */
static int core_time(lua_State *L) {
    lua_pushnumber(L, clock_wall_seconds());
    return 1;
}

/* core.monotonic() -> seconds since some point, with a fraction, whatever the time of day */
static int core_monotonic(lua_State *L) {
    lua_pushnumber(L, clock_monotonic_seconds());
    return 1;
}

/* core.environment() -> a table of all environment variables */
static int core_environment(lua_State *L) {
    lua_newtable(L);
    for (char **entry = environ; entry != NULL && *entry != NULL; entry++) {
        const char *equals = strchr(*entry, '=');
        if (equals == NULL)
            continue;
        lua_pushlstring(L, *entry, (size_t)(equals - *entry));
        lua_pushstring(L, equals + 1);
        lua_settable(L, -3);
    }
    return 1;
}

/* ---- options of the app ---- */

/* The problem of a text that a function of the server checks, if there is one. */
static int push_checked(lua_State *L, bool (*check)(const char *, char *, size_t)) {
    char error[256];
    const char *text = luaL_checkstring(L, 1);
    bool is_good = check == NULL || check(text, error, sizeof error);
    return bind_push_result(L, is_good ? NULL : error);
}

/* core.check_address(text) -> true | nil, message: is it an address to listen at? */
static int core_check_address(lua_State *L) {
    return push_checked(L, vm_of(L)->options.check_address);
}

/* core.check_cluster_url(text) -> true | nil, message: is it the URL of a Redis server? */
static int core_check_cluster_url(lua_State *L) {
    return push_checked(L, vm_of(L)->options.check_cluster_url);
}

/* core.check_trusted_proxy(text) -> true | nil, message: is it an address or network of proxies? */
static int core_check_trusted_proxy(lua_State *L) {
    return push_checked(L, vm_of(L)->options.check_trusted_proxy);
}

/* core.check_tls(options) -> true | nil, message, option, number: the options that app_tls.lua
 * makes; the problem's option, and the number of its certificate. */
static int core_check_tls(lua_State *L) {
    const struct vm *vm = vm_of(L);
    struct tls_problem problem = {.text = "", .option = ""};
    luaL_checktype(L, 1, LUA_TTABLE);
    if (vm->options.check_tls == NULL)
        return bind_push_result(L, NULL);
    struct tls_options *options = app_tls_read(L, 1);
    bool is_good = vm->options.check_tls(options, &problem);
    app_tls_free(options);
    if (is_good)
        return bind_push_result(L, NULL);
    lua_pushnil(L);
    lua_pushstring(L, problem.text);
    lua_pushstring(L, problem.option);
    lua_pushinteger(L, (lua_Integer)problem.number + 1);
    return 4;
}

/* ---- plain HTTP ---- */

/* core.respond(number, status, headers|nil, body|nil, why|nil): `headers` are whole lines; `why` is
 * for the log, where the server refuses the request before it calls the script. */
static int core_respond(lua_State *L) {
    uint64_t number = (uint64_t)luaL_checkinteger(L, 1);
    int status = (int)luaL_checkinteger(L, 2);
    const char *headers = luaL_optstring(L, 3, NULL);
    size_t len;
    const char *body = luaL_optlstring(L, 4, "", &len);
    vm_memory_check_block(L, len);
    const char *why = luaL_optstring(L, 5, NULL);
    const struct http_responder *responder = &vm_of(L)->responder;
    responder->respond(responder->user, number, status, headers, body, len, why);
    return 0;
}

/* core.respond_file(number, root, path): responds with a file below the folder `root`; the path is
 * percent-encoded. */
static int core_respond_file(lua_State *L) {
    uint64_t number = (uint64_t)luaL_checkinteger(L, 1);
    const char *root = luaL_checkstring(L, 2);
    const char *path = luaL_checkstring(L, 3);
    const struct http_responder *responder = &vm_of(L)->responder;
    responder->respond_file(responder->user, number, root, path);
    return 0;
}

/* core.client_file(name) -> the bytes of a file of the JavaScript client; nil: there is none */
static int core_client_file(lua_State *L) {
    const char *name = luaL_checkstring(L, 1);
    const struct embedded_file *file = embedded_client;
    while (file->name != NULL && strcmp(file->name, name) != 0)
        file++;
    if (file->name == NULL)
        lua_pushnil(L);
    else
        lua_pushlstring(L, (const char *)file->bytes, file->size);
    return 1;
}

const luaL_Reg bind_server_functions[] = {
    {"log", core_log},
    {"log_enabled", core_log_enabled},
    {"logs_refusals", core_logs_refusals},
    {"stats", core_stats},
    {"count_error", core_count_error},
    {"time", core_time},
    {"monotonic", core_monotonic},
    {"environment", core_environment},
    {"check_address", core_check_address},
    {"check_trusted_proxy", core_check_trusted_proxy},
    {"check_cluster_url", core_check_cluster_url},
    {"check_tls", core_check_tls},
    {"respond", core_respond},
    {"respond_file", core_respond_file},
    {"client_file", core_client_file},
    {NULL, NULL},
};
