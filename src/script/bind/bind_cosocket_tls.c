/* bind_cosocket_tls.c -- tidewire.core: TLS of cosockets. */
#include "script/bind/bind_cosocket.h"

/* core.cosocket_begin_tls(cosocket, host|nil, verify, ca|nil, certificate|nil, key|nil,
 *                         password|nil, ciphers|nil, cipher_suites|nil, min|nil, max|nil, alpn|nil)
 *      -> true | nil, message | nil, false: wait for bytes, and call core.cosocket_shake_hands
 * min and max are 2 and 3, for TLS 1.2 and 1.3; alpn has each protocol behind its length. */
static int core_cosocket_begin_tls(lua_State *L) {
    const struct cosocket_functions *functions = bind_cosockets(L);
    uint64_t number = bind_check_cosocket(L);
    struct cosocket_tls options = {
        .host = luaL_optstring(L, 2, NULL),
        .verify = lua_toboolean(L, 3),
        .ca = luaL_optstring(L, 4, NULL),
        .certificate = luaL_optstring(L, 5, NULL),
        .key = luaL_optstring(L, 6, NULL),
        .password = luaL_optstring(L, 7, NULL),
        .ciphers = luaL_optstring(L, 8, NULL),
        .cipher_suites = luaL_optstring(L, 9, NULL),
        .min_minor = (unsigned)luaL_optinteger(L, 10, 0),
        .max_minor = (unsigned)luaL_optinteger(L, 11, 0),
        .alpn = bind_opt_text(L, 12),
    };
    return bind_cosocket_push_result(L, functions->begin_tls(functions->user, number, &options));
}

/* core.cosocket_shake_hands(cosocket) -> as core.cosocket_begin_tls */
static int core_cosocket_shake_hands(lua_State *L) {
    const struct cosocket_functions *functions = bind_cosockets(L);
    uint64_t number = bind_check_cosocket(L);
    return bind_cosocket_push_result(L, functions->shake_hands(functions->user, number));
}

/* core.cosocket_alpn(cosocket) -> the protocol that both sides have agreed on | nil */
static int core_cosocket_alpn(lua_State *L) {
    const struct cosocket_functions *functions = bind_cosockets(L);
    struct slice protocol = functions->alpn(functions->user, bind_check_cosocket(L));
    if (protocol.len == 0)
        lua_pushnil(L);
    else
        lua_pushlstring(L, protocol.bytes, protocol.len);
    return 1;
}

/* core.cosocket_tls_facts(cosocket) -> version, cipher, subject, issuer, serial, fingerprint,
 *      not_after | nil: it has no TLS
 * From the subject on, of the server's certificate. */
static int core_cosocket_tls_facts(lua_State *L) {
    const struct cosocket_functions *functions = bind_cosockets(L);
    uint64_t number = bind_check_cosocket(L);
    luaL_checkstack(L, 8, NULL);
    bool exempt = vm_memory_exempt(vm_of(L), true); /* the facts would be lost */
    struct tls_facts *facts = functions->facts(functions->user, number);
    lua_pushstring(L, facts == NULL ? NULL : facts->version);
    lua_pushstring(L, facts == NULL ? NULL : facts->cipher);
    const struct tls_client_facts *server = facts == NULL ? NULL : facts->client;
    if (server != NULL) {
        lua_pushstring(L, server->subject);
        lua_pushstring(L, server->issuer);
        lua_pushstring(L, server->serial);
        lua_pushstring(L, server->fingerprint);
        lua_pushinteger(L, server->not_after);
    }
    functions->free_facts(facts);
    vm_memory_exempt(vm_of(L), exempt);
    return server == NULL ? 2 : 7;
}

const luaL_Reg bind_cosocket_tls_functions[] = {
    {"cosocket_begin_tls", core_cosocket_begin_tls},
    {"cosocket_shake_hands", core_cosocket_shake_hands},
    {"cosocket_alpn", core_cosocket_alpn},
    {"cosocket_tls_facts", core_cosocket_tls_facts},
    {NULL, NULL},
};
