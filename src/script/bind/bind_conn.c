/* bind_conn.c -- tidewire.core: the connections of this worker. conn.lua makes conn's methods of
 * these functions.
 *
 * For a connection that is gone they return nil and "closed", false, or what is said below. */
#include "script/bind/bind.h"

#include "core/frames/close_codes.h"
#include "script/json/json_c.h"

const char *const bind_conn_codecs[] = {
    [CODEC_TEXT] = "text",
    [CODEC_BINARY] = "binary",
    [CODEC_JSON] = "json",
    [CODEC_CUSTOM] = NULL,
};

/* ---- sending ---- */

/* Raises an error of memory if there is none for a message of so many bytes. */
static inline void check_block(lua_State *L, size_t len) {
    enum { LARGE = 64 * 1024 };
    if (len > LARGE)
        vm_memory_check_block(L, len);
}

/* The last argument of a send: "text" or "binary", or a table `{ kind =, key =, compress = }`. */
struct send_options {
    enum opcode opcode;
    bool has_more;    /* than the opcode: the fields below are set */
    bool stays_plain; /* compress = false */
    struct slice key; /* borrowed from the table; no bytes: none */
};

/* Reads the kind at the index, if there is one. False: it is no kind. Compares addresses: a state
 * has each short string once. */
static bool read_kind(lua_State *L, int index, enum opcode *opcode) {
    if (lua_isnoneornil(L, index))
        return true;
    const char *kind = lua_tostring(L, index);
    const struct vm *vm = vm_of(L);
    if (kind == vm->conn_strings.text)
        *opcode = OPCODE_TEXT;
    else if (kind == vm->conn_strings.binary)
        *opcode = OPCODE_BINARY;
    else
        return false;
    return true;
}

/* Has the table at the index names of options only? */
static bool has_known_names(lua_State *L, int index) {
    const struct vm *vm = vm_of(L);
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) { /* name, value */
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
        if (name == vm->conn_strings.key || name == vm->conn_strings.kind ||
            name == vm->conn_strings.compress)
            continue;
        lua_pop(L, 2);
        return false;
    }
    return true;
}

/* Reads the table at the index, which keeps the key. False: an option is wrong. */
static bool read_table(lua_State *L, int index, struct send_options *options) {
    lua_getfield(L, index, "kind");
    int type = lua_getfield(L, index, "key"); /* kind, key */
    options->key = (struct slice){NULL, 0};
    if (type == LUA_TSTRING)
        options->key.bytes = lua_tolstring(L, -1, &options->key.len);
    size_t len = options->key.len;
    int compress = lua_getfield(L, index, "compress"); /* kind, key, compress */
    options->stays_plain = compress == LUA_TBOOLEAN && !lua_toboolean(L, -1);
    options->has_more = len > 0 || options->stays_plain;
    bool is_good = (type == LUA_TNIL || (len > 0 && len <= MESSAGE_KEY_MAX)) &&
                   (compress == LUA_TNIL || compress == LUA_TBOOLEAN) &&
                   read_kind(L, -3, &options->opcode);
    lua_pop(L, 3);
    return is_good && has_known_names(L, index);
}

static void read_options(lua_State *L, int index, struct send_options *options) {
    if (lua_istable(L, index) ? read_table(L, index, options)
                              : read_kind(L, index, &options->opcode))
        return;
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_getfield(L, -1, "tidewire.send_options");
    lua_getfield(L, -1, "refuse");
    lua_pushvalue(L, index);
    lua_call(L, 1, 0);
    luaL_error(L, "send: the options are wrong"); /* they have changed meanwhile */
}

/* Changes `options`, which has the defaults, by those at the index. Throws if they are wrong, in
 * the words of send_options.lua. */
static inline void check_options(lua_State *L, int index, struct send_options *options) {
    if (!lua_isnoneornil(L, index)) /* as nearly all calls have it */
        read_options(L, index, options);
}

static enum send_result queue(struct hub *hub, struct conn *conn, const char *bytes, size_t len,
                              const struct send_options *options) {
    return !options->has_more ? hub_send(hub, conn, options->opcode, bytes, len)
                              : hub_send_with(hub, conn, options->opcode, bytes, len, options->key,
                                              options->stays_plain);
}

/* core.send(id, payload, kind|nil, key|nil, stays_plain|nil) -> true | nil,
 * "closed"|"backlog"|"utf8" */
static int core_send(lua_State *L) {
    struct hub *hub = vm_of(L)->hub;
    conn_id id = bind_check_conn(L, 1);
    hub_take_mail(hub);
    size_t len;
    const char *bytes = luaL_checklstring(L, 2, &len);
    struct send_options options = {
        .opcode = OPCODE_TEXT, .stays_plain = lua_toboolean(L, 5), .key = bind_opt_text(L, 4)};
    check_options(L, 3, &options);
    options.has_more = options.key.len > 0 || options.stays_plain;
    if (options.opcode == OPCODE_TEXT && !bind_is_utf8(L, bytes, len))
        return bind_push_failure(L, "utf8");
    check_block(L, len);
    return bind_push_send_result(L, queue(hub, hub_find(hub, id), bytes, len, &options));
}

/* The key of the integer in a conn object is the address of this (conn_keys.lua). */
static const char conn_key;

/* The connection of the conn object at index 1. NULL: it is gone. The object of the connection
 * whose hook runs is known by its address. */
static struct conn *check_object(lua_State *L) {
    struct vm *vm = vm_of(L);
    const struct task *task = vm_current(vm);
    /* Before the value is encoded: mail may cause finalizers to run, which may send as well. */
    hub_take_mail(vm->hub);
    if (task != NULL && task->own != NULL && lua_topointer(L, 1) == task->own_object)
        return task->own;
    if (lua_type(L, 1) != LUA_TTABLE || lua_rawgetp(L, 1, &conn_key) != LUA_TNUMBER)
        luaL_error(L, "send: call it with a colon, conn:send(value)");
    conn_id id = (conn_id)lua_tointeger(L, -1);
    lua_pop(L, 1);
    return hub_find(vm->hub, id);
}

/* The bytes that conn:send of the codecs "text" and "binary" sends: the string at index 2. */
static const char *check_string(lua_State *L, size_t *len) {
    const char *bytes = lua_tolstring(L, 2, len);
    if (bytes == NULL) {
        const char *instead, *kind = json_c_kind(L, 2, &instead);
        luaL_error(L, "send: a string is needed, got %s; %s", kind,
                   instead != NULL ? instead
                                   : "use the codec \"json\" or tw.json.encode to send other "
                                     "values");
    }
    return bytes;
}

/* The same of the codec "json": the value at index 2 as JSON, valid until the next is encoded. */
static const char *check_value(lua_State *L, size_t *len) {
    if (lua_isnone(L, 2))
        luaL_error(L, "send: a value is needed; JSON's null is tw.null");
    const char *bytes = json_c_bytes(L, 2, len);
    if (bytes == NULL)
        luaL_error(L, "send: %s", lua_tostring(L, -1));
    return bytes;
}

/* conn.send(value[, options]) of the codecs "text", "binary" and "json". It is one function, so
 * that new code with another of them need not change each connection. It takes the conn object
 * itself, without a function of Lua between: scripts call it most. */
static int conn_send(lua_State *L) {
    struct conn *conn = check_object(L);
    const struct endpoint *endpoint = conn == NULL ? NULL : hub_endpoint_of(conn);
    if (endpoint == NULL)
        return bind_push_send_result(L, SEND_CLOSED);
    struct send_options options; /* no more than needed is set: all sends wait for it */
    options.opcode = endpoint->codec == CODEC_BINARY ? OPCODE_BINARY : OPCODE_TEXT;
    options.has_more = false;
    check_options(L, 3, &options);
    bool is_json = endpoint->codec == CODEC_JSON; /* JSON is written as UTF-8 only */
    size_t len;
    const char *bytes = is_json ? check_value(L, &len) : check_string(L, &len);
    if (!is_json && options.opcode == OPCODE_TEXT && !bind_is_utf8(L, bytes, len))
        return luaL_error(L,
                          "send: text must be valid UTF-8; send other bytes with kind \"binary\"");
    check_block(L, len);
    return bind_push_send_result(L, queue(vm_of(L)->hub, conn, bytes, len, &options));
}

/* A string that is never collected. */
static const char *keep_string(lua_State *L, const char *text) {
    const char *kept = lua_pushstring(L, text);
    luaL_ref(L, LUA_REGISTRYINDEX);
    return kept;
}

void bind_conn_push_senders(lua_State *L) {
    struct vm *vm = vm_of(L);
    vm->conn_strings = (struct bind_conn_strings){keep_string(L, "text"), keep_string(L, "binary"),
                                                  keep_string(L, "key"), keep_string(L, "kind"),
                                                  keep_string(L, "compress")};
    lua_newtable(L); /* senders */
    for (const char *const *codec = bind_conn_codecs; *codec != NULL; codec++) {
        lua_pushcfunction(L, conn_send);
        lua_setfield(L, -2, *codec);
    }
}

void bind_conn_push_key(lua_State *L) {
    lua_pushlightuserdata(L, (void *)(uintptr_t)&conn_key);
}

/* ---- others ---- */

/* core.close(id, code, reason): sends what is queued, and a Close frame. Does nothing for a
 * connection that is closing or gone. */
static int core_close(lua_State *L) {
    conn_id id = bind_check_conn(L, 1);
    unsigned code = (unsigned)luaL_checkinteger(L, 2);
    struct slice reason = bind_check_text(L, 3);
    luaL_argcheck(L, reason.len <= CLOSE_REASON_MAX, 3, "the reason is too long");
    hub_close(vm_of(L)->hub, id, code, reason.bytes, reason.len);
    return 0;
}

/* core.close_code_is_valid(code) -> boolean: may a Close frame carry it (RFC 6455, 7.4)? */
static int core_close_code_is_valid(lua_State *L) {
    lua_pushboolean(L, close_code_is_valid(luaL_checkinteger(L, 1)));
    return 1;
}

/* core.ping(id) -> boolean: was it open? Sends a ping of the endpoint's heartbeat. */
static int core_ping(lua_State *L) {
    lua_pushboolean(L, hub_ping(vm_of(L)->hub, bind_check_conn(L, 1)));
    return 1;
}

/* core.json_pong(id, ping_id): notes a client's JSON pong; ping_id is any value. */
static int core_json_pong(lua_State *L) {
    conn_id id = bind_check_conn(L, 1);
    int is_integer;
    lua_Integer number = lua_tointegerx(L, 2, &is_integer);
    hub_json_pong(vm_of(L)->hub, id, is_integer ? number : 0);
    return 0;
}

/* core.json_heartbeat(id, received) -> how many of the client's messages were handled | nil: it has
 * no session. The message that is handled was one of the JSON heartbeat, which says how many
 * messages the client has got; `received` is any value. */
static int core_json_heartbeat(lua_State *L) {
    conn_id id = bind_check_conn(L, 1);
    int is_integer;
    lua_Integer received = lua_tointegerx(L, 2, &is_integer);
    if (!is_integer || lua_type(L, 2) != LUA_TNUMBER)
        received = -1;
    int64_t handled = hub_json_heartbeat(vm_of(L)->hub, id, received);
    if (handled < 0)
        lua_pushnil(L);
    else
        lua_pushinteger(L, handled);
    return 1;
}

/* core.send_heartbeat(id, text): sends a message of the JSON heartbeat. */
static int core_send_heartbeat(lua_State *L) {
    conn_id id = bind_check_conn(L, 1);
    struct slice text = bind_check_text(L, 2);
    hub_send_heartbeat(vm_of(L)->hub, id, text.bytes, text.len);
    return 0;
}

/* core.time_out(id): closes a silent connection, or a session's socket. */
static int core_time_out(lua_State *L) {
    hub_time_out(vm_of(L)->hub, bind_check_conn(L, 1));
    return 0;
}

/* core.is_connected(id) -> boolean: has it a socket? */
static int core_is_connected(lua_State *L) {
    lua_pushboolean(L, hub_is_connected(vm_of(L)->hub, bind_check_conn(L, 1)));
    return 1;
}

/* core.refuse_resume(id): on_resume, which runs, has returned false. */
static int core_refuse_resume(lua_State *L) {
    hub_refuse_resume(vm_of(L)->hub, bind_check_conn(L, 1));
    return 0;
}

/* core.set_asked(id, boolean): answers of this client are waited for, or not any more. */
static int core_set_asked(lua_State *L) {
    hub_set_asked(vm_of(L)->hub, bind_check_conn(L, 1), lua_toboolean(L, 2));
    return 0;
}

/* core.is_open(id) -> boolean */
static int core_is_open(lua_State *L) {
    lua_pushboolean(L, hub_is_open(vm_of(L)->hub, bind_check_conn(L, 1)));
    return 1;
}

/* core.rtt(id) -> seconds of the last round trip | nil: no pong came yet, or it is gone */
static int core_rtt(lua_State *L) {
    double seconds = hub_rtt_seconds(vm_of(L)->hub, bind_check_conn(L, 1));
    if (seconds < 0)
        lua_pushnil(L);
    else
        lua_pushnumber(L, seconds);
    return 1;
}

/* core.backlog(id) -> bytes that wait to be sent to the client; 0: it is gone */
static int core_backlog(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)hub_backlog(vm_of(L)->hub, bind_check_conn(L, 1)));
    return 1;
}

/* core.id_text(id) -> conn.id, of CONN_ID_LEN characters */
static int core_id_text(lua_State *L) {
    char text[CONN_ID_LEN + 1];
    conn_id_format(text, bind_check_conn(L, 1));
    lua_pushlstring(L, text, CONN_ID_LEN);
    return 1;
}

/* core.id_number(text) -> the integer of a conn.id | nil: no id, or one of another process */
static int core_id_number(lua_State *L) {
    struct slice text = bind_check_text(L, 1);
    conn_id id;
    if (conn_id_parse(text.bytes, text.len, &id))
        lua_pushinteger(L, (lua_Integer)id);
    else
        lua_pushnil(L);
    return 1;
}

const luaL_Reg bind_conn_functions[] = {
    {"send", core_send},
    {"close", core_close},
    {"close_code_is_valid", core_close_code_is_valid},
    {"ping", core_ping},
    {"json_pong", core_json_pong},
    {"json_heartbeat", core_json_heartbeat},
    {"send_heartbeat", core_send_heartbeat},
    {"time_out", core_time_out},
    {"is_connected", core_is_connected},
    {"refuse_resume", core_refuse_resume},
    {"set_asked", core_set_asked},
    {"is_open", core_is_open},
    {"rtt", core_rtt},
    {"backlog", core_backlog},
    {"id_text", core_id_text},
    {"id_number", core_id_number},
    {NULL, NULL},
};
