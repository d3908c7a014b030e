/* bind_cosocket_options.c -- tidewire.core: the options of a cosocket's descriptor, by LuaSocket's
 * names. */
#include "script/bind/bind_cosocket.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

enum type { TYPE_BOOLEAN, TYPE_INTEGER, TYPE_LINGER, TYPE_ERROR };

static const struct option {
    const char *name;
    enum type type;
    int level, option;
} options[] = {
    {"keepalive", TYPE_BOOLEAN, SOL_SOCKET, SO_KEEPALIVE},
    {"reuseaddr", TYPE_BOOLEAN, SOL_SOCKET, SO_REUSEADDR},
    {"reuseport", TYPE_BOOLEAN, SOL_SOCKET, SO_REUSEPORT},
    {"linger", TYPE_LINGER, SOL_SOCKET, SO_LINGER},
    {"error", TYPE_ERROR, SOL_SOCKET, SO_ERROR},
    {"recv-buffer-size", TYPE_INTEGER, SOL_SOCKET, SO_RCVBUF},
    {"send-buffer-size", TYPE_INTEGER, SOL_SOCKET, SO_SNDBUF},
    {"tcp-nodelay", TYPE_BOOLEAN, IPPROTO_TCP, TCP_NODELAY},
    {"tcp-keepidle", TYPE_INTEGER, IPPROTO_TCP, TCP_KEEPIDLE},
    {"tcp-keepcnt", TYPE_INTEGER, IPPROTO_TCP, TCP_KEEPCNT},
    {"tcp-keepintvl", TYPE_INTEGER, IPPROTO_TCP, TCP_KEEPINTVL},
    {"tcp-defer-accept", TYPE_INTEGER, IPPROTO_TCP, TCP_DEFER_ACCEPT},
    {"ipv6-v6only", TYPE_BOOLEAN, IPPROTO_IPV6, IPV6_V6ONLY},
};

/* At index 2. */
static const struct option *check_option(lua_State *L) {
    const char *name = luaL_checkstring(L, 2);
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        if (strcmp(options[i].name, name) == 0)
            return &options[i];
    luaL_argerror(L, 1, lua_pushfstring(L, "unsupported option `%s'", name));
    return NULL;
}

static int descriptor_of(lua_State *L) {
    const struct cosocket_functions *functions = bind_cosockets(L);
    return functions->descriptor(functions->user, bind_check_cosocket(L));
}

/* The table { on = boolean, timeout = seconds } at index 3. */
static struct linger check_linger(lua_State *L) {
    luaL_checktype(L, 3, LUA_TTABLE);
    lua_getfield(L, 3, "on");
    luaL_argcheck(L, lua_isboolean(L, -1), 2, "boolean 'on' field expected");
    lua_getfield(L, 3, "timeout");
    luaL_argcheck(L, lua_isnumber(L, -1), 2, "number 'timeout' field expected");
    return (struct linger){lua_toboolean(L, -2), (int)lua_tonumber(L, -1)};
}

/* core.cosocket_set_option(cosocket, name, value) -> true | nil, message. Throws for a name or a
 * type of value that is none. */
static int core_cosocket_set_option(lua_State *L) {
    int fd = descriptor_of(L), number = 0;
    const struct option *option = check_option(L);
    struct linger linger = {0};
    const void *value = &number;
    socklen_t len = sizeof number;
    switch (option->type) {
    case TYPE_BOOLEAN:
        luaL_checktype(L, 3, LUA_TBOOLEAN);
        number = lua_toboolean(L, 3);
        break;
    case TYPE_INTEGER:
        number = (int)luaL_checknumber(L, 3);
        break;
    case TYPE_LINGER:
        linger = check_linger(L);
        value = &linger;
        len = sizeof linger;
        break;
    case TYPE_ERROR:
        return luaL_argerror(L, 1, "unsupported option `error'");
    }
    bool failed = setsockopt(fd, option->level, option->option, value, len) != 0;
    return bind_push_result(L, failed ? "setsockopt failed" : NULL);
}

/* core.cosocket_get_option(cosocket, name) -> value | nil, message. Throws for a name that is none.
 */
static int core_cosocket_get_option(lua_State *L) {
    int fd = descriptor_of(L), number = 0;
    const struct option *option = check_option(L);
    struct linger linger = {0};
    bool is_linger = option->type == TYPE_LINGER;
    socklen_t len = is_linger ? sizeof linger : sizeof number;
    void *value = is_linger ? (void *)&linger : (void *)&number;
    if (getsockopt(fd, option->level, option->option, value, &len) != 0)
        return bind_push_failure(L, "getsockopt failed");
    switch (option->type) {
    case TYPE_BOOLEAN:
        lua_pushboolean(L, number);
        break;
    case TYPE_INTEGER:
        lua_pushinteger(L, number);
        break;
    case TYPE_LINGER:
        lua_createtable(L, 0, 2);
        lua_pushboolean(L, linger.l_onoff);
        lua_setfield(L, -2, "on");
        lua_pushinteger(L, linger.l_linger);
        lua_setfield(L, -2, "timeout");
        break;
    case TYPE_ERROR:
        bind_cosocket_push_error(L, number);
        break;
    }
    return 1;
}

const luaL_Reg bind_cosocket_options_functions[] = {
    {"cosocket_set_option", core_cosocket_set_option},
    {"cosocket_get_option", core_cosocket_get_option},
    {NULL, NULL},
};
