/* bind_cosocket.c -- tidewire.core: stream sockets to other servers, known to Lua by an integer.
 *
 * lua/tidewire/socket makes tw.socket and `require "socket"` of these functions. A task that waits
 * is woken when its side of the socket is ready, and tries again; C calls no function of Lua's. */
#include "script/bind/bind_cosocket.h"

#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>

/* ---- results ---- */

static const char *words_for(int error) {
    switch (error) {
    case EADDRINUSE:
        return "address already in use";
    case EISCONN:
        return "already connected";
    case EACCES:
        return "permission denied";
    case ECONNREFUSED:
        return "connection refused";
    case ECONNABORTED:
    case ECONNRESET:
    case COSOCKET_CLOSED:
        return "closed";
    case ETIMEDOUT:
        return "timeout";
    case COSOCKET_LIMIT:
        return "limits.outgoing_sockets is reached: close the sockets that are not needed, keep "
               "some for reuse, or raise the limit";
    case COSOCKET_BUSY:
        return "busy";
    default:
        return strerror(error);
    }
}

void bind_cosocket_push_problem(lua_State *L, int result) {
    const struct cosocket_functions *functions = bind_cosockets(L);
    if (result == COSOCKET_AGAIN)
        lua_pushboolean(L, 0);
    else if (result == COSOCKET_TLS_FAILED)
        lua_pushstring(L, functions->why(functions->user));
    else
        lua_pushstring(L, words_for(result));
}

void bind_cosocket_push_error(lua_State *L, int error) {
    lua_pushstring(L, error == 0 ? NULL : words_for(error));
}

int bind_cosocket_push_result(lua_State *L, int result) {
    if (result == COSOCKET_DONE)
        return bind_push_result(L, NULL);
    luaL_pushfail(L);
    bind_cosocket_push_problem(L, result);
    return 2;
}

/* ---- life ---- */

/* core.cosocket_make() -> cosocket: without a descriptor. The caller must call
 * core.cosocket_release. */
static int core_cosocket_make(lua_State *L) {
    const struct cosocket_functions *functions = bind_cosockets(L);
    uint64_t number = functions->make(functions->user);
    if (number == 0)
        return luaL_error(L, "too many sockets");
    lua_pushinteger(L, (lua_Integer)number);
    return 1;
}

static const char *const families[] = {"unspec", "inet", "inet6", "unix", NULL};

/* core.cosocket_open(cosocket, family) -> true | nil, message: gives it a new descriptor. */
static int core_cosocket_open(lua_State *L) {
    const struct cosocket_functions *functions = bind_cosockets(L);
    uint64_t number = bind_check_cosocket(L);
    int family = luaL_checkoption(L, 2, NULL, families);
    luaL_argcheck(L, family != COSOCKET_UNSPEC, 2, "inet, inet6 or unix expected");
    return bind_cosocket_push_result(
        L, functions->open(functions->user, number, (enum cosocket_family)family));
}

/* core.cosocket_descriptor(cosocket) -> integer: -1: it has none */
static int core_cosocket_descriptor(lua_State *L) {
    const struct cosocket_functions *functions = bind_cosockets(L);
    lua_pushinteger(L, functions->descriptor(functions->user, bind_check_cosocket(L)));
    return 1;
}

/* core.cosocket_close(cosocket): tasks that wait are woken. */
static int core_cosocket_close(lua_State *L) {
    const struct cosocket_functions *functions = bind_cosockets(L);
    functions->close(functions->user, bind_check_cosocket(L));
    return 0;
}

/* core.cosocket_release(cosocket): closes it, and forgets the number. */
static int core_cosocket_release(lua_State *L) {
    const struct cosocket_functions *functions = bind_cosockets(L);
    functions->release(functions->user, bind_check_cosocket(L));
    return 0;
}

/* ---- connecting ---- */

/* An address from index 2 on: family, host, port. */
static struct cosocket_address check_address(lua_State *L) {
    int family = luaL_checkoption(L, 2, NULL, families);
    const char *host = luaL_checkstring(L, 3);
    lua_Integer port = luaL_optinteger(L, 4, 0);
    luaL_argcheck(L, port >= 0 && port <= UINT16_MAX, 4, "0 to 65535 expected");
    return (struct cosocket_address){(enum cosocket_family)family, host, (unsigned)port};
}

/* core.cosocket_bind(cosocket, family, host, port) -> true | nil, message */
static int core_cosocket_bind(lua_State *L) {
    const struct cosocket_functions *functions = bind_cosockets(L);
    uint64_t number = bind_check_cosocket(L);
    struct cosocket_address address = check_address(L);
    return bind_cosocket_push_result(L, functions->bind(functions->user, number, &address));
}

/* core.cosocket_connect(cosocket, family, host, port) -> true | nil, message | nil, false: wait
 * until it takes bytes, and ask core.cosocket_connected */
static int core_cosocket_connect(lua_State *L) {
    const struct cosocket_functions *functions = bind_cosockets(L);
    uint64_t number = bind_check_cosocket(L);
    struct cosocket_address address = check_address(L);
    return bind_cosocket_push_result(L, functions->connect(functions->user, number, &address));
}

/* core.cosocket_connected(cosocket) -> as core.cosocket_connect */
static int core_cosocket_connected(lua_State *L) {
    const struct cosocket_functions *functions = bind_cosockets(L);
    uint64_t number = bind_check_cosocket(L);
    return bind_cosocket_push_result(L, functions->connected(functions->user, number));
}

/* core.cosocket_name(cosocket, is_peer) -> host, port, family | nil, message */
static int core_cosocket_name(lua_State *L) {
    const struct cosocket_functions *functions = bind_cosockets(L);
    int fd = functions->descriptor(functions->user, bind_check_cosocket(L));
    struct sockaddr_storage address;
    struct sockaddr *any = (struct sockaddr *)&address;
    socklen_t len = sizeof address;
    char host[NI_MAXHOST], port[NI_MAXSERV];
    int failed = lua_toboolean(L, 2) ? getpeername(fd, any, &len) : getsockname(fd, any, &len);
    if (failed)
        return bind_push_failure(L, words_for(errno));
    if (any->sa_family == AF_UNIX)
        return 0;
    if (getnameinfo(any, len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return bind_push_failure(L, "unknown address");
    lua_pushstring(L, host);
    lua_pushstring(L, port);
    lua_pushstring(L, any->sa_family == AF_INET6 ? "inet6" : "inet");
    return 3;
}

/* ---- sending and waiting ---- */

/* core.cosocket_send(cosocket, bytes, first, last) -> last, problem: sends bytes first to last of
 * the string, as many as the socket takes; `last` is the last one that it took; the problem is nil
 * when these are all, false when the others must wait, or a message. */
static int core_cosocket_send(lua_State *L) {
    const struct cosocket_functions *functions = bind_cosockets(L);
    uint64_t number = bind_check_cosocket(L);
    struct slice bytes = bind_check_text(L, 2);
    lua_Integer first = luaL_checkinteger(L, 3), last = luaL_checkinteger(L, 4);
    luaL_argcheck(L, first >= 1, 3, "1 or more expected");
    luaL_argcheck(L, last <= (lua_Integer)bytes.len, 4, "too large");
    size_t sent = 0;
    /* of no bytes, too: TLS may have some that the socket did not take */
    if (first <= last)
        bytes = (struct slice){bytes.bytes + first - 1, (size_t)(last - first) + 1};
    else
        bytes.len = 0;
    int result = functions->send(functions->user, number, bytes, &sent);
    lua_pushinteger(L, first - 1 + (lua_Integer)sent);
    if (result == COSOCKET_DONE)
        return 1;
    bind_cosocket_push_problem(L, result);
    return 2;
}

static void on_ready(void *vm, uint64_t task) {
    vm_wake(vm, task);
}

/* The side at index 2: "in", "out". */
static enum cosocket_side check_side(lua_State *L) {
    static const char *const sides[] = {"in", "out", NULL};
    return (enum cosocket_side)luaL_checkoption(L, 2, NULL, sides);
}

/* core.cosocket_wait(cosocket, side, task, seconds|nil) -> boolean: wakes the task once, when the
 * side is ready, when it is closed, or after so many seconds. False: another task waits for this
 * side. */
static int core_cosocket_wait(lua_State *L) {
    const struct cosocket_functions *functions = bind_cosockets(L);
    uint64_t number = bind_check_cosocket(L);
    enum cosocket_side side = check_side(L);
    uint64_t task = (uint64_t)luaL_checkinteger(L, 3), ms = UINT64_MAX;
    if (!lua_isnoneornil(L, 4)) {
        lua_Number seconds = luaL_checknumber(L, 4);
        luaL_argcheck(L, seconds >= 0, 4, "0 or more expected");
        if (seconds <= 1e9)
            ms = (uint64_t)(seconds * 1000) + 1;
    }
    lua_pushboolean(L,
                    functions->wait(functions->user, number, side, ms, on_ready, vm_of(L), task));
    return 1;
}

/* core.cosocket_end_wait(cosocket, side, task): this task does not wait for the side any more. */
static int core_cosocket_end_wait(lua_State *L) {
    const struct cosocket_functions *functions = bind_cosockets(L);
    uint64_t number = bind_check_cosocket(L);
    enum cosocket_side side = check_side(L);
    functions->wait(functions->user, number, side, UINT64_MAX, NULL, NULL,
                    (uint64_t)luaL_checkinteger(L, 3));
    return 0;
}

/* core.cosocket_is_ready(cosocket, side) -> boolean: is the side ready, or closed? */
static int core_cosocket_is_ready(lua_State *L) {
    const struct cosocket_functions *functions = bind_cosockets(L);
    uint64_t number = bind_check_cosocket(L);
    lua_pushboolean(L, functions->is_ready(functions->user, number, check_side(L)));
    return 1;
}

/* core.cosocket_shutdown(cosocket, "both" | "send" | "receive") -> true | nil, message */
static int core_cosocket_shutdown(lua_State *L) {
    static const char *const names[] = {"both", "receive", "send", NULL};
    static const unsigned bits[] = {1U << COSOCKET_IN | 1U << COSOCKET_OUT, 1U << COSOCKET_IN,
                                    1U << COSOCKET_OUT};
    const struct cosocket_functions *functions = bind_cosockets(L);
    uint64_t number = bind_check_cosocket(L);
    int which = luaL_checkoption(L, 2, NULL, names);
    return bind_cosocket_push_result(L, functions->shutdown(functions->user, number, bits[which]));
}

/* core.cosocket_idle(seconds) -> idle, open: how many were not used for so long, wait for nothing
 * and were not counted by an earlier call; how many are open, without those that are kept. */
static int core_cosocket_idle(lua_State *L) {
    const struct cosocket_functions *functions = bind_cosockets(L);
    uint32_t open = 0;
    uint64_t ms = (uint64_t)(luaL_checknumber(L, 1) * 1000);
    uint32_t idle = functions->idle(functions->user, ms, &open);
    lua_pushinteger(L, idle);
    lua_pushinteger(L, open);
    return 2;
}

/* core.cosocket_counts(cosocket) -> bytes received, bytes sent, age in seconds */
static int core_cosocket_counts(lua_State *L) {
    const struct cosocket_functions *functions = bind_cosockets(L);
    struct cosocket_counts counts;
    functions->counts(functions->user, bind_check_cosocket(L), &counts);
    lua_pushinteger(L, (lua_Integer)counts.received);
    lua_pushinteger(L, (lua_Integer)counts.sent);
    lua_pushnumber(L, counts.age);
    return 3;
}

/* core.cosocket_set_counts(cosocket, received, sent, age) */
static int core_cosocket_set_counts(lua_State *L) {
    const struct cosocket_functions *functions = bind_cosockets(L);
    uint64_t number = bind_check_cosocket(L);
    struct cosocket_counts counts = {(uint64_t)luaL_checkinteger(L, 2),
                                     (uint64_t)luaL_checkinteger(L, 3), luaL_checknumber(L, 4)};
    functions->set_counts(functions->user, number, &counts);
    return 0;
}

const luaL_Reg bind_cosocket_functions[] = {
    {"cosocket_make", core_cosocket_make},
    {"cosocket_open", core_cosocket_open},
    {"cosocket_descriptor", core_cosocket_descriptor},
    {"cosocket_close", core_cosocket_close},
    {"cosocket_release", core_cosocket_release},
    {"cosocket_bind", core_cosocket_bind},
    {"cosocket_connect", core_cosocket_connect},
    {"cosocket_connected", core_cosocket_connected},
    {"cosocket_name", core_cosocket_name},
    {"cosocket_send", core_cosocket_send},
    {"cosocket_wait", core_cosocket_wait},
    {"cosocket_end_wait", core_cosocket_end_wait},
    {"cosocket_is_ready", core_cosocket_is_ready},
    {"cosocket_shutdown", core_cosocket_shutdown},
    {"cosocket_idle", core_cosocket_idle},
    {"cosocket_counts", core_cosocket_counts},
    {"cosocket_set_counts", core_cosocket_set_counts},
    {NULL, NULL},
};
