/* sim_node.c -- calls of a node become calls of Lua functions, and methods calls of the node. */
#include "sim_node.h"

#include "sim_reply.h"

#include "base/mem.h"
#include "cluster/node/node.h"
#include "cluster/node/partitions.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#define NODE_TYPE "sim_node"

/* A command that has no answer yet. */
struct pending {
    bool is_used;
    redis_reply_fn *on_reply; /* NULL: no caller waits */
    void *context;
    size_t next_free;
};

struct sim_node {
    lua_State *lua;
    int callbacks; /* in the registry */
    struct node *node;
    struct redis_events events;
    struct pending *pending; /* by their numbers */
    size_t capacity, first_free;
    uint64_t up; /* a bit for each server */
    char id[CONN_ID_NODE_LEN + 1];
};

/* ---- calls of Lua ---- */

/* An error in a callback ends the program: there is no way back through the node. */
static void call(struct sim_node *sim, int arguments) {
    lua_State *lua = sim->lua;
    if (lua_pcall(lua, arguments, 0, 0) == LUA_OK)
        return;
    luaL_traceback(lua, lua, lua_tostring(lua, -1), 0);
    fprintf(stderr, "cluster_sim: error in a callback: %s\n", lua_tostring(lua, -1));
    exit(2);
}

static void begin(struct sim_node *sim, const char *name) {
    luaL_checkstack(sim->lua, 20, "callbacks");
    lua_rawgeti(sim->lua, LUA_REGISTRYINDEX, sim->callbacks);
    lua_getfield(sim->lua, -1, name);
    lua_remove(sim->lua, -2);
}

static void push_slice(lua_State *lua, struct slice slice) {
    if (slice.bytes)
        lua_pushlstring(lua, slice.bytes, slice.len);
    else
        lua_pushnil(lua);
}

static void push_texts(lua_State *lua, unsigned argc, const struct slice *argv) {
    lua_createtable(lua, (int)argc, 0);
    for (unsigned i = 0; i < argc; i++) {
        lua_pushlstring(lua, argv[i].len > 0 ? argv[i].bytes : "", argv[i].len);
        lua_rawseti(lua, -2, (lua_Integer)i + 1);
    }
}

static lua_Integer add_pending(struct sim_node *sim, redis_reply_fn *on_reply, void *context) {
    if (sim->first_free == sim->capacity) {
        size_t capacity = sim->capacity ? sim->capacity * 2 : 16;
        sim->pending = mem_realloc(sim->pending, capacity * sizeof *sim->pending);
        for (size_t i = sim->capacity; i < capacity; i++)
            sim->pending[i] = (struct pending){.next_free = i + 1};
        sim->capacity = capacity;
    }
    size_t number = sim->first_free;
    sim->first_free = sim->pending[number].next_free;
    sim->pending[number] = (struct pending){true, on_reply, context, 0};
    return (lua_Integer)number;
}

static void answer_pending(struct sim_node *sim, size_t number, const struct redisReply *answer) {
    struct pending pending = sim->pending[number];
    sim->pending[number] = (struct pending){.next_free = sim->first_free};
    sim->first_free = number;
    if (pending.on_reply)
        pending.on_reply(pending.context, answer);
}

/* ---- struct redis_functions ---- */

static void on_command(void *user, unsigned server, unsigned argc, const struct slice *argv,
                       redis_reply_fn *on_reply, void *context) {
    struct sim_node *sim = user;
    begin(sim, "command");
    lua_pushinteger(sim->lua, server);
    push_texts(sim->lua, argc, argv);
    lua_pushinteger(sim->lua, add_pending(sim, on_reply, context));
    call(sim, 3);
}

static const char *const script_names[REDIS_SCRIPTS] = {
    [REDIS_SCRIPT_PUBLISH] = "publish", [REDIS_SCRIPT_READ] = "read",
    [REDIS_SCRIPT_TOPS] = "tops",       [REDIS_SCRIPT_FLOOR] = "floor",
    [REDIS_SCRIPT_MEMBERS] = "members", [REDIS_SCRIPT_LEASE] = "lease",
    [REDIS_SCRIPT_SWEEP] = "sweep",     [REDIS_SCRIPT_SHARED] = "shared",
    [REDIS_SCRIPT_SESSION] = "session",
};

static void on_call(void *user, unsigned server, enum redis_script script, struct slice key,
                    unsigned argc, const struct slice *argv, redis_reply_fn *on_reply,
                    void *context) {
    struct sim_node *sim = user;
    begin(sim, "call");
    lua_pushinteger(sim->lua, server);
    lua_pushstring(sim->lua, script_names[script]);
    lua_pushlstring(sim->lua, key.bytes, key.len);
    push_texts(sim->lua, argc, argv);
    lua_pushinteger(sim->lua, add_pending(sim, on_reply, context));
    call(sim, 5);
}

static void channel_call(struct sim_node *sim, const char *name, unsigned server,
                         struct slice channel) {
    begin(sim, name);
    lua_pushinteger(sim->lua, server);
    lua_pushlstring(sim->lua, channel.bytes, channel.len);
    call(sim, 2);
}

static void on_subscribe(void *user, unsigned server, struct slice channel) {
    channel_call(user, "subscribe", server, channel);
}

static void on_unsubscribe(void *user, unsigned server, struct slice channel) {
    channel_call(user, "unsubscribe", server, channel);
}

/* ---- struct node_bus ---- */

static struct message *first_message(const struct encoding *encodings, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (encodings[i].message)
            return encodings[i].message;
    return NULL;
}

static void push_message(lua_State *lua, struct message *message) {
    if (message)
        push_slice(lua, message_payload(message));
    else
        lua_pushnil(lua);
}

static void on_publish(void *user, const struct broadcast *broadcast, const char *except,
                       const struct memory_position *position, bool remember_only) {
    struct sim_node *sim = user;
    lua_State *lua = sim->lua;
    begin(sim, "publish");
    lua_pushlstring(lua, broadcast->room.len > 0 ? broadcast->room.bytes : "", broadcast->room.len);
    struct message *message = first_message(broadcast->encodings, broadcast->encoding_count);
    push_message(lua, message);
    lua_pushstring(lua, except);
    lua_pushinteger(lua, position ? (lua_Integer)position->epoch : 0);
    lua_pushinteger(lua, position ? (lua_Integer)position->offset : 0);
    lua_pushboolean(lua, remember_only);
    push_slice(lua, message ? message_key(message) : (struct slice){NULL, 0});
    lua_pushboolean(lua, position->is_local);
    call(sim, 8);
}

static void on_send(void *user, const char *id, const struct encoding *encodings, uint32_t count) {
    struct sim_node *sim = user;
    begin(sim, "send");
    lua_pushstring(sim->lua, id);
    push_message(sim->lua, first_message(encodings, count));
    call(sim, 2);
}

static void on_close(void *user, const char *id, unsigned code, struct slice reason) {
    struct sim_node *sim = user;
    begin(sim, "close");
    lua_pushstring(sim->lua, id);
    lua_pushinteger(sim->lua, code);
    push_slice(sim->lua, reason);
    call(sim, 3);
}

static void on_member(void *user, enum presence_change change, struct slice room, const char *id,
                      const struct link_member *member) {
    static const char *const names[] = {
        [PRESENCE_LEFT] = "left", [PRESENCE_JOINED] = "joined", [PRESENCE_OTHER_USER] = "changed"};
    struct sim_node *sim = user;
    begin(sim, "member");
    lua_pushstring(sim->lua, names[change]);
    push_slice(sim->lua, room);
    lua_pushstring(sim->lua, id);
    push_slice(sim->lua, member ? member->info : (struct slice){NULL, 0});
    push_slice(sim->lua, member ? member->user : (struct slice){NULL, 0});
    call(sim, 5);
}

#ifdef NODE_BUS_MEMBERS
static void on_forget_members(void *user, struct slice room) {
    struct sim_node *sim = user;
    begin(sim, "forget_members");
    push_slice(sim->lua, room);
    call(sim, 1);
}

static void on_online(void *user, struct slice name, bool is_online) {
    struct sim_node *sim = user;
    begin(sim, "online");
    push_slice(sim->lua, name);
    lua_pushboolean(sim->lua, is_online);
    call(sim, 2);
}

static void on_machine(void *user, const char *id, bool lives) {
    struct sim_node *sim = user;
    begin(sim, "machine");
    lua_pushstring(sim->lua, id);
    lua_pushboolean(sim->lua, lives);
    call(sim, 2);
}
#endif

/* Rooms whose names begin with "h". */
static bool on_memory_limits(void *user, struct slice room,
                             struct memory_limits limits[MEMORY_KINDS]) {
    limits[MEMORY_HISTORY] = (struct memory_limits){.messages = 2000, .bytes = 16 << 20};
    return room.len > 0 && room.bytes[0] == 'h';
}

static void on_clear_retained(void *user, struct slice room, struct slice key) {
}

static void on_set_ordered(void *user, unsigned server, bool is_ordered) {
    struct sim_node *sim = user;
    begin(sim, "set_ordered");
    lua_pushinteger(sim->lua, server);
    lua_pushboolean(sim->lua, is_ordered);
    call(sim, 2);
}

static void on_reset_memory(void *user, struct slice room, uint64_t epoch, uint64_t offset,
                            uint64_t dropped) {
    struct sim_node *sim = user;
    begin(sim, "reset_memory");
    push_slice(sim->lua, room);
    lua_pushinteger(sim->lua, (lua_Integer)epoch);
    lua_pushinteger(sim->lua, (lua_Integer)offset);
    call(sim, 3);
}

static void on_answer(void *user, struct link_token token, enum link_status status,
                      struct slice body) {
    struct sim_node *sim = user;
    begin(sim, "answer");
    lua_pushinteger(sim->lua, (lua_Integer)token.number);
    lua_pushinteger(sim->lua, status);
    push_slice(sim->lua, body);
    call(sim, 3);
}

static void on_server_state(void *user, unsigned server, bool up) {
    struct sim_node *sim = user;
    begin(sim, "server_state");
    lua_pushinteger(sim->lua, server);
    lua_pushboolean(sim->lua, up);
    call(sim, 2);
}

static const char *path_of(void *user, uint32_t endpoint) {
    return "/";
}

static uint32_t endpoint_of(void *user, struct slice path) {
    return path.len == 1 && path.bytes[0] == '/' ? 0 : ANY_ENDPOINT;
}

/* ---- methods ---- */

static struct sim_node *check(lua_State *lua) {
    struct sim_node *sim = luaL_checkudata(lua, 1, NODE_TYPE);
    luaL_argcheck(lua, sim->node, 1, "the node is freed");
    return sim;
}

static struct slice check_slice(lua_State *lua, int at) {
    struct slice slice;
    slice.bytes = luaL_checklstring(lua, at, &slice.len);
    return slice;
}

static lua_Integer integer_field(lua_State *lua, int at, const char *name, lua_Integer otherwise) {
    lua_getfield(lua, at, name);
    lua_Integer value = luaL_optinteger(lua, -1, otherwise);
    lua_pop(lua, 1);
    return value;
}

/* A text of the table, which keeps it; no bytes and NULL where it has none. */
static struct slice text_field(lua_State *lua, int at, const char *name) {
    struct slice slice = {NULL, 0};
    lua_getfield(lua, at, name);
    if (!lua_isnil(lua, -1))
        slice.bytes = luaL_checklstring(lua, -1, &slice.len);
    lua_pop(lua, 1);
    return slice;
}

static bool boolean_field(lua_State *lua, int at, const char *name) {
    lua_getfield(lua, at, name);
    bool value = lua_toboolean(lua, -1);
    lua_pop(lua, 1);
    return value;
}

static int new_node(lua_State *lua) {
    luaL_checktype(lua, 1, LUA_TTABLE);
    luaL_checktype(lua, 2, LUA_TTABLE);
    struct sim_node *sim = lua_newuserdatauv(lua, sizeof *sim, 0);
    memset(sim, 0, sizeof *sim);
    luaL_setmetatable(lua, NODE_TYPE);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
    sim->lua = lua_tothread(lua, -1);
    lua_pop(lua, 1);
    lua_pushvalue(lua, 2);
    sim->callbacks = luaL_ref(lua, LUA_REGISTRYINDEX);
    struct redis_functions redis = {
        .count = (unsigned)integer_field(lua, 1, "servers", 1),
        .command = on_command,
        .call = on_call,
        .subscribe = on_subscribe,
        .unsubscribe = on_unsubscribe,
        .user = sim,
    };
    struct node_bus bus = {
        .publish = on_publish,
        .send = on_send,
        .close = on_close,
        .member = on_member,
#ifdef NODE_BUS_MEMBERS
        .forget_members = on_forget_members,
        .online = on_online,
        .machine = on_machine,
#endif
        .memory_limits = on_memory_limits,
        .reset_memory = on_reset_memory,
        .clear_retained = on_clear_retained,
        .set_ordered = on_set_ordered,
        .answer = on_answer,
        .server_state = on_server_state,
        .paths = {path_of, endpoint_of, NULL},
        .user = sim,
    };
    struct node_options options = {
        .id = text_field(lua, 1, "id"),
        .prefix = text_field(lua, 1, "prefix"),
        .backlog_max = (size_t)integer_field(lua, 1, "backlog", 64 << 20),
        .lease_ms = (uint64_t)integer_field(lua, 1, "lease_ms", 10000),
    };
    sim->node = node_new(&options, &redis, &bus, (uint64_t)integer_field(lua, 1, "now", 0));
    sim->events = node_events(sim->node);
    return 1;
}

/* reply(number, value): the answer to a command. */
static int reply(lua_State *lua) {
    struct sim_node *sim = check(lua);
    size_t number = (size_t)luaL_checkinteger(lua, 2);
    luaL_argcheck(lua, number < sim->capacity && sim->pending[number].is_used, 2,
                  "an answer to nothing");
    struct redisReply *answer = sim_reply_new(lua, 3);
    answer_pending(sim, number, answer);
    sim_reply_free(answer);
    return 0;
}

static int up(lua_State *lua) {
    struct sim_node *sim = check(lua);
    struct redis_facts facts = {.is_valkey = false};
    luaL_checktype(lua, 3, LUA_TTABLE);
    struct slice run_id = text_field(lua, 3, "run_id");
    memcpy(facts.run_id, run_id.bytes, run_id.len < 63 ? run_id.len : 63);
    memcpy(facts.version, "7.0.15", 7);
    facts.same_run = boolean_field(lua, 3, "same_run");
    facts.time_ms = integer_field(lua, 3, "time_ms", 0);
    unsigned server = (unsigned)luaL_checkinteger(lua, 2);
    luaL_argcheck(lua, server < 64, 2, "so many servers are not expected");
    sim->up |= (uint64_t)1 << server;
    sim->events.up(sim->events.user, server, &facts);
    return 0;
}

static int down(lua_State *lua) {
    struct sim_node *sim = check(lua);
    unsigned server = (unsigned)luaL_checkinteger(lua, 2);
    sim->up &= ~((uint64_t)1 << server % 64);
    sim->events.down(sim->events.user, server, "the test has cut it");
    return 0;
}

static int subscribed(lua_State *lua) {
    struct sim_node *sim = check(lua);
    sim->events.subscribed(sim->events.user, (unsigned)luaL_checkinteger(lua, 2),
                           check_slice(lua, 3));
    return 0;
}

static int message(lua_State *lua) {
    struct sim_node *sim = check(lua);
    sim->events.message(sim->events.user, (unsigned)luaL_checkinteger(lua, 2), check_slice(lua, 3),
                        check_slice(lua, 4));
    return 0;
}

static void limits_field(lua_State *lua, const char *name, struct memory_limits *limits) {
    if (lua_getfield(lua, 2, name) == LUA_TTABLE) {
        limits->messages = (uint32_t)integer_field(lua, -1, "messages", 0);
        limits->bytes = (size_t)integer_field(lua, -1, "bytes", 1 << 20);
        limits->ms = (uint64_t)integer_field(lua, -1, "ms", 0);
    }
    lua_pop(lua, 1);
}

static int take(lua_State *lua) {
    static const char *const kinds[] = {"publish", "send",  "close", "joined",  "left", "changed",
                                        "watch",   "clear", "rules", "request", NULL};
    static const char *const requests[] = {"sync", "shared", "session", NULL};
    struct sim_node *sim = check(lua);
    luaL_checktype(lua, 2, LUA_TTABLE);
    lua_settop(lua, 2);
    struct link_item item = {.endpoint = ANY_ENDPOINT};
    lua_getfield(lua, 2, "kind");
    item.kind = (enum link_item_kind)luaL_checkoption(lua, -1, NULL, kinds);
    item.room = text_field(lua, 2, "room");
    struct slice id = text_field(lua, 2, "id");
    luaL_argcheck(lua, id.len <= CONN_ID_LEN, 2, "a long id");
    if (id.len > 0)
        memcpy(item.id, id.bytes, id.len);
    struct encoding encoding = {CODEC_TEXT, NULL};
    struct slice payload = text_field(lua, 2, "payload");
    if (payload.bytes) {
        struct slice key = text_field(lua, 2, "key");
        encoding.message = key.len > 0
                               ? message_new_keyed(OPCODE_TEXT, payload.bytes, payload.len, key)
                               : message_new(OPCODE_TEXT, payload.bytes, payload.len);
        item.encodings = &encoding;
        item.encoding_count = 1;
    }
    item.is_ordered = boolean_field(lua, 2, "is_ordered");
    limits_field(lua, "history", &item.limits[MEMORY_HISTORY]);
    limits_field(lua, "retained", &item.limits[MEMORY_RETAINED]);
    item.member.endpoint_name = (struct slice){"\"/\"", 3};
    item.member.info = text_field(lua, 2, "info");
    item.member.user = text_field(lua, 2, "user");
    item.on = boolean_field(lua, 2, "on");
    item.code = (unsigned)integer_field(lua, 2, "code", 0);
    item.body = text_field(lua, 2, "body");
    if (item.kind == LINK_REQUEST) {
        lua_getfield(lua, 2, "request");
        item.request = (enum link_request)luaL_checkoption(lua, -1, NULL, requests);
        item.token.number = (uint64_t)integer_field(lua, 2, "token", 0);
    }
    node_take(sim->node, &item);
    if (encoding.message)
        message_unref(encoding.message);
    return 0;
}

static int turn(lua_State *lua) {
    struct sim_node *sim = check(lua);
    node_turn(sim->node, (uint64_t)luaL_checkinteger(lua, 2));
    return 0;
}

/* Milliseconds, or nil: no time. */
static int next_ms(lua_State *lua) {
    struct sim_node *sim = check(lua);
    uint64_t at = node_next_ms(sim->node);
    if (at > INT64_MAX)
        lua_pushnil(lua);
    else
        lua_pushinteger(lua, (lua_Integer)at);
    return 1;
}

static int figures(lua_State *lua) {
    struct sim_node *sim = check(lua);
    struct node_figures all;
    node_figures(sim->node, &all);
    lua_newtable(lua);
#define X(name, help)                                                                              \
    lua_pushinteger(lua, (lua_Integer)all.name);                                                   \
    lua_setfield(lua, -2, #name);
    NODE_COUNTERS(X)
    NODE_GAUGES(X)
#undef X
    return 1;
}

static void on_left(void *user) {
    struct sim_node *sim = user;
    begin(sim, "left");
    call(sim, 0);
}

static int leave(lua_State *lua) {
    struct sim_node *sim = check(lua);
    node_leave(sim->node, on_left, sim);
    return 0;
}

/* Ends it at once, as a crash does; the commands under way have no answer. */
static int free_node(lua_State *lua) {
    struct sim_node *sim = luaL_checkudata(lua, 1, NODE_TYPE);
    if (!sim->node)
        return 0;
    for (unsigned server = 0; server < 64; server++)
        if (sim->up >> server & 1)
            sim->events.down(sim->events.user, server, "the machine ends");
    for (size_t i = 0; i < sim->capacity; i++)
        if (sim->pending[i].is_used)
            answer_pending(sim, i, NULL);
    node_free(sim->node);
    sim->node = NULL;
    mem_free(sim->pending);
    sim->pending = NULL;
    luaL_unref(lua, LUA_REGISTRYINDEX, sim->callbacks);
    return 0;
}

/* server_of(room, servers): the number of the room's server. */
static int server_of(lua_State *lua) {
    unsigned partition = partitions_of(check_slice(lua, 1));
    lua_pushinteger(lua, partitions_server(partition, (unsigned)luaL_checkinteger(lua, 2)));
    return 1;
}

int sim_node_open(lua_State *lua) {
    static const luaL_Reg methods[] = {
        {"reply", reply},     {"up", up},       {"down", down},      {"subscribed", subscribed},
        {"message", message}, {"take", take},   {"turn", turn},      {"next_ms", next_ms},
        {"figures", figures}, {"leave", leave}, {"free", free_node}, {NULL, NULL},
    };
    static const luaL_Reg functions[] = {{"new", new_node}, {"server_of", server_of}, {NULL, NULL}};
    luaL_newmetatable(lua, NODE_TYPE);
    luaL_newlib(lua, methods);
    lua_setfield(lua, -2, "__index");
    lua_pushcfunction(lua, free_node);
    lua_setfield(lua, -2, "__gc");
    lua_pop(lua, 1);
    luaL_newlib(lua, functions);
    return 1;
}
