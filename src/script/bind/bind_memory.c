/* bind_memory.c -- tidewire.core: rooms with a memory. room_memory.lua makes the options of
 * conn:join and the methods of rooms of these functions. */
#include "script/bind/bind.h"

#include "base/mem.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- rules ---- */

static lua_Number number_field(lua_State *L, const char *name) {
    lua_getfield(L, -1, name);
    lua_Number number = lua_tonumber(L, -1);
    lua_pop(L, 1);
    return number;
}

static struct memory_limits limits_field(lua_State *L, const char *messages, const char *bytes,
                                         const char *seconds) {
    return (struct memory_limits){
        .messages = (uint32_t)number_field(L, messages),
        .bytes = (size_t)number_field(L, bytes),
        .ms = (uint64_t)ceil(number_field(L, seconds) * 1000),
    };
}

/* core.set_room_rules({rule…}, max_bytes): which rooms have a memory, and the most bytes of all. A
 * rule has the pattern and the limits that app_rooms.lua has checked: 0 messages are none, 0
 * seconds are no limit. */
static int core_set_room_rules(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_Integer max_bytes = luaL_checkinteger(L, 2);
    size_t count = lua_rawlen(L, 1);
    struct room_rule *rules = lua_newuserdatauv(L, count * sizeof *rules + 1, 0);
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, 1, (lua_Integer)i + 1);
        lua_getfield(L, -1, "pattern");
        rules[i].pattern = luaL_checkstring(L, -1); /* the rule's table keeps it */
        lua_pop(L, 1);
        rules[i].limits[MEMORY_HISTORY] =
            limits_field(L, "history", "history_bytes", "history_seconds");
        rules[i].limits[MEMORY_RETAINED] =
            limits_field(L, "retain_keys", "retain_bytes", "retain_seconds");
        lua_getfield(L, -1, "presence");
        rules[i].hides_members = lua_isboolean(L, -1) && !lua_toboolean(L, -1);
        lua_pop(L, 2);
    }
    hub_memory_set(vm_of(L)->hub, rules, (uint32_t)count, (size_t)max_bytes);
    return 0;
}

/* ---- epochs, which Lua has as texts ---- */

enum { EPOCH_LEN = 16 };

static void push_epoch(lua_State *L, uint64_t epoch) {
    char text[EPOCH_LEN + 1];
    snprintf(text, sizeof text, "%016" PRIx64, epoch);
    lua_pushlstring(L, text, EPOCH_LEN);
}

/* False: the text is none. */
static bool read_epoch(struct slice text, uint64_t *epoch) {
    *epoch = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.bytes[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        *epoch = *epoch << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return text.len == EPOCH_LEN;
}

/* ---- replays ---- */

/* core.join_replay(id, room, info|nil, history|nil, after|nil, epoch|nil, retained) -> false: the
 * connection is closed | offset, epoch or nil: the room has no memory, recovered, the number of
 * messages. First the connection gets the last `history` messages, or those behind the offset
 * `after` (negative: an offset that cannot be), and the retained ones. */
static int core_join_replay(lua_State *L) {
    conn_id id = bind_check_conn(L, 1);
    struct slice room = bind_check_text(L, 2), info = bind_opt_text(L, 3);
    struct slice epoch = bind_opt_text(L, 6);
    lua_Integer history = luaL_optinteger(L, 4, 0), after = luaL_optinteger(L, 5, 0);
    struct replay_request request = {
        .has_history = !lua_isnoneornil(L, 4),
        .history = history > UINT32_MAX ? UINT32_MAX : (uint32_t)history,
        .has_after = !lua_isnoneornil(L, 5),
        .after = after < 0 ? UINT64_MAX : (uint64_t)after,
        .has_epoch = epoch.bytes != NULL,
        .retained = lua_toboolean(L, 7),
    };
    if (request.has_epoch && !read_epoch(epoch, &request.epoch))
        request.after = UINT64_MAX;
    vm_memory_check_outside(L, hub_membership_bytes() + room.len + info.len);
    struct replay replay;
    bool joined = hub_join_replay(vm_of(L)->hub, id, room, info, &request, &replay);
    const struct replay result = replay;
    replay_free(&replay);
    if (!joined) {
        lua_pushboolean(L, 0);
        return 1;
    }
    lua_pushinteger(L, (lua_Integer)result.offset);
    if (result.has_memory)
        push_epoch(L, result.epoch);
    else
        lua_pushnil(L);
    lua_pushboolean(L, result.recovered);
    lua_pushinteger(L, result.count);
    return 4;
}

/* ---- reading ---- */

/* Messages that were read under the lock and are pushed afterwards. */
struct reading {
    uint32_t count, capacity;
    struct remembered *at;
};

static void reading_clear(struct reading *reading) {
    for (uint32_t i = 0; i < reading->count; i++)
        message_unref(reading->at[i].message);
    mem_free(reading->at);
    *reading = (struct reading){0};
}

static int reading_gc(lua_State *L) {
    reading_clear(lua_touserdata(L, 1));
    return 0;
}

static void reading_add(void *user, const struct remembered *remembered) {
    struct reading *reading = user;
    if (reading->count == reading->capacity) {
        reading->capacity = reading->capacity == 0 ? 16 : reading->capacity * 2;
        reading->at = mem_realloc(reading->at, reading->capacity * sizeof *reading->at);
    }
    message_ref(remembered->message);
    reading->at[reading->count++] = *remembered;
}

static struct reading *reading_new(lua_State *L) {
    struct reading *reading = lua_newuserdatauv(L, sizeof *reading, 0);
    *reading = (struct reading){0};
    if (luaL_newmetatable(L, "tidewire.reading")) {
        lua_pushcfunction(L, reading_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return reading;
}

static void push_remembered(lua_State *L, const struct remembered *remembered) {
    const struct message *message = remembered->message;
    struct slice payload = message_payload(message), key = message_key(message);
    lua_createtable(L, 0, key.len > 0 ? 5 : 4);
    lua_pushinteger(L, (lua_Integer)remembered->offset);
    lua_setfield(L, -2, "offset");
    lua_pushnumber(L, (lua_Number)remembered->wall_ms / 1000);
    lua_setfield(L, -2, "time");
    lua_pushlstring(L, payload.bytes, payload.len);
    lua_setfield(L, -2, "payload");
    lua_pushstring(L, message_opcode(message) == OPCODE_BINARY ? "binary" : "text");
    lua_setfield(L, -2, "kind");
    if (key.len > 0) {
        lua_pushlstring(L, key.bytes, key.len);
        lua_setfield(L, -2, "key");
    }
}

/* core.room_history(room, retained, codec|nil, after|nil, limit) -> a list of tables with `offset`,
 * `time`, `payload`, `kind` and `key`, in the order of offsets: the first ones behind `after`, or
 * the last ones */
static int core_room_history(lua_State *L) {
    struct slice room = bind_check_text(L, 1);
    lua_Integer after = luaL_optinteger(L, 4, 0), limit = luaL_checkinteger(L, 5);
    struct memory_query query = {
        .kind = lua_toboolean(L, 2) ? MEMORY_RETAINED : MEMORY_HISTORY,
        .has_codec = !lua_isnoneornil(L, 3),
        .codec = (uint32_t)luaL_optinteger(L, 3, 0),
        .after = after < 0 ? UINT64_MAX : (uint64_t)after,
        .limit = limit > UINT32_MAX ? UINT32_MAX : (uint32_t)limit,
        .from_end = lua_isnoneornil(L, 4),
    };
    lua_settop(L, 1);
    struct reading *reading = reading_new(L);
    hub_memory_list(vm_of(L)->hub, room, &query, reading_add, reading);
    lua_createtable(L, (int)reading->count, 0); /* room, reading, list */
    for (uint32_t i = 0; i < reading->count; i++) {
        push_remembered(L, &reading->at[i]);
        lua_rawseti(L, 3, i + 1);
    }
    reading_clear(reading);
    return 1;
}

/* core.room_position(room) -> its epoch, the offset of its last message | nil: it has no memory */
static int core_room_position(lua_State *L) {
    uint64_t epoch, offset;
    if (!hub_memory_position(vm_of(L)->hub, bind_check_text(L, 1), &epoch, &offset)) {
        lua_pushnil(L);
        return 1;
    }
    push_epoch(L, epoch);
    lua_pushinteger(L, (lua_Integer)offset);
    return 2;
}

/* core.room_forget(room, key|nil): everything, or the message that is retained for the key */
static int core_room_forget(lua_State *L) {
    struct slice room = bind_check_text(L, 1), key = bind_opt_text(L, 2);
    hub_memory_clear(vm_of(L)->hub, room, key.bytes == NULL ? NULL : &key);
    return 0;
}

const luaL_Reg bind_memory_functions[] = {
    {"set_room_rules", core_set_room_rules}, {"join_replay", core_join_replay},
    {"room_history", core_room_history},     {"room_position", core_room_position},
    {"room_forget", core_room_forget},       {NULL, NULL},
};
