/* bind_sessions.c -- tidewire.core: sessions that go to other machines of the cluster, or come from
 * them. lua/tidewire/session_moves.lua asks for them. */
#include "script/bind/bind.h"

#include "base/mem.h"
#include "script/plain/plain_data.h"

static void leave_out(void *user, const char *path, const char *what) {
    (void)user;
    (void)path;
    (void)what;
}

/* core.session_pack(sink, fields, rest): packs what the object of a session has. In the event
 * give_session. */
static int core_session_pack(lua_State *L) {
    static const struct plain_data_left_out omits = {leave_out, NULL};
    struct sink *sink = lua_touserdata(L, 1);
    luaL_argcheck(L, sink != NULL, 1, "a sink expected");
    luaL_checktype(L, 2, LUA_TTABLE);
    luaL_checktype(L, 3, LUA_TTABLE);
    plain_data_pack(L, 2, sink, &omits);
    plain_data_pack(L, 3, sink, &omits);
    return 0;
}

/* core.session_receive(bytes) -> id, the number of its endpoint, the number of the last message
 * that was sent, fields, rest | nil, why not. core.session_object() follows. */
static int core_session_receive(lua_State *L) {
    struct slice bytes = bind_check_text(L, 1), session, values;
    struct hub *hub = vm_of(L)->hub;
    const char *why_not;
    bool good = unpack_text(&bytes, &session);
    values = bytes;
    if (!good || !plain_data_skip(&bytes) || !plain_data_is_one(bytes))
        return bind_push_failure(L, "damaged");
    lua_settop(L, 1);
    if (plain_data_read_all(L, values.bytes, values.len) != 2) /* may throw: before there is one */
        return bind_push_failure(L, "damaged");
    struct conn *conn = hub_session_receive(hub, session, &why_not);
    if (conn == NULL)
        return bind_push_failure(L, why_not);
    lua_pushinteger(L, (lua_Integer)hub_id_of(conn));
    lua_pushinteger(L, hub_endpoint_of(conn)->number);
    lua_pushinteger(L, (lua_Integer)hub_session_restored_last(conn));
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 3);
    return 5;
}

/* core.session_object(id, object|nil): the object of the session; nil: it cannot be made, and the
 * session is dropped. */
static int core_session_object(lua_State *L) {
    struct hub *hub = vm_of(L)->hub;
    struct conn *conn = hub_find(hub, bind_check_conn(L, 1));
    if (conn == NULL)
        return 0;
    if (lua_istable(L, 2)) {
        lua_settop(L, 2);
        vm_keep_object(L, conn);
    } else {
        hub_abandon(hub, conn);
    }
    return 0;
}

/* A message that came while the session was on its way, as the link has packed it. */
struct late {
    struct slice except, key, payload;
    uint64_t endpoint, opcode;
    bool is_encoded; /* for the codec of the connection */
};

static bool unpack_late(struct slice *from, uint32_t codec, struct late *late) {
    uint64_t count;
    late->is_encoded = false;
    if (!unpack_text(from, &late->except) || !unpack_number(from, &late->endpoint) ||
        !unpack_text(from, &late->key) || late->key.len > MESSAGE_KEY_MAX ||
        !unpack_number(from, &count))
        return false;
    for (; count > 0; count--) {
        uint64_t its_codec, opcode;
        struct slice payload;
        if (!unpack_number(from, &its_codec) || !unpack_number(from, &opcode) ||
            !unpack_text(from, &payload) || (opcode != OPCODE_TEXT && opcode != OPCODE_BINARY))
            return false;
        if (its_codec != codec)
            continue;
        late->is_encoded = true;
        late->opcode = opcode;
        late->payload = payload;
    }
    return true;
}

/* core.session_insert(id, after, bytes): what came while the session was on its way, behind its
 * message with the number `after`. */
static int core_session_insert(lua_State *L) {
    struct hub *hub = vm_of(L)->hub;
    struct conn *conn = hub_find(hub, bind_check_conn(L, 1));
    uint64_t after = (uint64_t)luaL_checkinteger(L, 2);
    struct slice bytes = bind_check_text(L, 3);
    if (conn == NULL || !hub_is_open(hub, hub_id_of(conn)))
        return 0;
    const struct endpoint *endpoint = hub_endpoint_of(conn);
    struct message **messages = NULL;
    uint32_t count = 0;
    char text[CONN_ID_LEN + 1];
    conn_id_format(text, hub_id_of(conn));
    for (struct late late; bytes.len > 0 && unpack_late(&bytes, endpoint->codec, &late);) {
        bool is_for = late.endpoint == ANY_ENDPOINT || late.endpoint == endpoint->number;
        if (!late.is_encoded || !is_for || slice_is(late.except, text))
            continue;
        messages = mem_realloc(messages, (count + 1) * sizeof *messages);
        messages[count++] = message_new_keyed((enum opcode)late.opcode, late.payload.bytes,
                                              late.payload.len, late.key);
    }
    if (count > 0)
        hub_session_insert(hub, conn, after, messages, count);
    for (uint32_t i = 0; i < count; i++)
        message_unref(messages[i]);
    mem_free(messages);
    return 0;
}

/* core.handshake_go_on(number): the handshake that the event fetch_session has named goes on. */
static int core_handshake_go_on(lua_State *L) {
    const struct http_responder *responder = &vm_of(L)->responder;
    responder->go_on(responder->user, (uint64_t)luaL_checkinteger(L, 1));
    return 0;
}

const luaL_Reg bind_sessions_functions[] = {
    {"session_pack", core_session_pack},       {"session_receive", core_session_receive},
    {"session_object", core_session_object},   {"session_insert", core_session_insert},
    {"handshake_go_on", core_handshake_go_on}, {NULL, NULL},
};
