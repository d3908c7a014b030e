/* bind_room.c -- tidewire.core: rooms and broadcasts. room.lua makes tw.room of these. */
#include "script/bind/bind.h"

#include "base/utf8.h"

#include <string.h>

/* core.join(id, room, info|nil) -> boolean: false when the connection is closed */
static int core_join(lua_State *L) {
    conn_id id = bind_check_conn(L, 1);
    struct slice room = bind_check_text(L, 2), info = bind_opt_text(L, 3);
    lua_pushboolean(L, hub_join(vm_of(L)->hub, id, room, info));
    return 1;
}

/* core.watch(room, on): events.presence_changed is told of this room, or no more */
static int core_watch(lua_State *L) {
    hub_watch(vm_of(L)->hub, bind_check_text(L, 1), lua_toboolean(L, 2));
    return 0;
}

/* core.leave(id, room) -> boolean: false when the connection is closed */
static int core_leave(lua_State *L) {
    conn_id id = bind_check_conn(L, 1);
    lua_pushboolean(L, hub_leave(vm_of(L)->hub, id, bind_check_text(L, 2)));
    return 1;
}

/* Names of rooms, one behind the other, each behind its length. */
struct names {
    char *bytes;
    size_t size, used; /* `used` may be above `size`: then there is too little room */
};

static void add_name(void *user, struct slice name) {
    struct names *names = user;
    if (names->used + sizeof name.len + name.len <= names->size) {
        memcpy(names->bytes + names->used, &name.len, sizeof name.len);
        memcpy(names->bytes + names->used + sizeof name.len, name.bytes, name.len);
    }
    names->used += sizeof name.len + name.len;
}

/* core.rooms_of(id) -> a list of names, in no order */
static int core_rooms_of(lua_State *L) {
    conn_id id = bind_check_conn(L, 1);
    struct hub *hub = vm_of(L)->hub;
    struct names names = {0};
    hub_rooms_of(hub, id, add_name, &names);
    /* all at once, before strings are made: making one may run finalizers of the script's */
    do {
        size_t size = names.used;
        lua_settop(L, 1);
        names = (struct names){lua_newuserdatauv(L, size, 0), size, 0};
        hub_rooms_of(hub, id, add_name, &names);
    } while (names.used > names.size);
    lua_newtable(L); /* id, bytes, names */
    lua_Integer count = 0;
    for (const char *at = names.bytes; at < names.bytes + names.used;) {
        size_t len;
        memcpy(&len, at, sizeof len);
        lua_pushlstring(L, at + sizeof len, len);
        lua_rawseti(L, -2, ++count);
        at += sizeof len + len;
    }
    return 1;
}

/* core.room_size(room) -> members, over all workers */
static int core_room_size(lua_State *L) {
    lua_pushinteger(L, hub_room_size(vm_of(L)->hub, bind_check_text(L, 1)));
    return 1;
}

/* Members as they are at one moment, copied while the room cannot change: for each its integer, the
 * lengths of its two texts, and these. */
struct snapshot {
    char *bytes;
    size_t size, used; /* more is used than there is: some are missing */
};

struct snapshot_member {
    conn_id id;
    size_t name_len, info_len;
    bool has_info;
};

static void add_member(void *user, conn_id id, const char *name, const char *info) {
    struct snapshot *snapshot = user;
    struct snapshot_member member = {id, strlen(name), info == NULL ? 0 : strlen(info),
                                     info != NULL};
    size_t size = sizeof member + member.name_len + member.info_len;
    if (snapshot->used + size <= snapshot->size) {
        char *at = snapshot->bytes + snapshot->used;
        memcpy(at, &member, sizeof member);
        memcpy(at + sizeof member, name, member.name_len);
        if (member.info_len > 0)
            memcpy(at + sizeof member + member.name_len, info, member.info_len);
    }
    snapshot->used += size;
}

/* core.room_members(room) -> a list, over all workers, in no order: of each its integer, its
 * endpoint's name as JSON, and its info or false */
static int core_room_members(lua_State *L) {
    struct slice name = bind_check_text(L, 1);
    struct snapshot snapshot = {NULL, 1024, 0};
    for (;;) { /* the memory is Lua's own: whatever throws, it is not lost */
        lua_settop(L, 1);
        snapshot.bytes = lua_newuserdatauv(L, snapshot.size, 0);
        snapshot.used = 0;
        hub_room_members(vm_of(L)->hub, name, add_member, &snapshot);
        if (snapshot.used <= snapshot.size)
            break;
        snapshot.size = snapshot.used + snapshot.used / 4; /* more may join meanwhile */
    }
    lua_newtable(L); /* room, snapshot, members */
    lua_Integer count = 0;
    for (const char *at = snapshot.bytes; at < snapshot.bytes + snapshot.used;) {
        struct snapshot_member member;
        memcpy(&member, at, sizeof member);
        at += sizeof member;
        lua_pushinteger(L, (lua_Integer)member.id);
        lua_rawseti(L, 3, ++count);
        lua_pushlstring(L, at, member.name_len);
        lua_rawseti(L, 3, ++count);
        at += member.name_len;
        if (member.has_info)
            lua_pushlstring(L, at, member.info_len);
        else
            lua_pushboolean(L, 0);
        lua_rawseti(L, 3, ++count);
        at += member.info_len;
    }
    return 1;
}

static void push_codecs(lua_State *L, const struct codec_list *list) {
    lua_createtable(L, (int)list->count, 0);
    for (uint32_t i = 0; i < list->count; i++) {
        lua_pushinteger(L, list->codecs[i]);
        lua_rawseti(L, -2, i + 1);
    }
}

/* core.room_codecs(room) -> a list of the codecs' numbers that a broadcast to it needs, as it is
 * now; core.publish says what has changed */
static int core_room_codecs(lua_State *L) {
    struct codec_list list;
    hub_room_codecs(vm_of(L)->hub, bind_check_text(L, 1), &list);
    push_codecs(L, &list);
    return 1;
}

/* core.codec_of(id) -> the number of the codec that a connection of any worker has | nil: closed */
static int core_codec_of(lua_State *L) {
    uint32_t codec;
    if (hub_codec_of(vm_of(L)->hub, bind_check_conn(L, 1), &codec))
        lua_pushinteger(L, codec);
    else
        lua_pushnil(L);
    return 1;
}

static bool is_binary(lua_State *L, int index) {
    return strcmp(luaL_optstring(L, index, "text"), "binary") == 0;
}

static struct message *new_message(lua_State *L, int payload, bool binary, struct slice key) {
    size_t len;
    const char *bytes = lua_tolstring(L, payload, &len);
    return message_new_keyed(binary ? OPCODE_BINARY : OPCODE_TEXT, bytes, len, key);
}

static bool is_sendable(lua_State *L, int payload, bool binary) {
    size_t len;
    const char *bytes = luaL_checklstring(L, payload, &len);
    return binary || utf8_valid(bytes, len);
}

/* core.send_anywhere(id, codec, payload, kind|nil, key|nil) -> true | nil,
 * "closed"|"backlog"|"utf8": to a connection of any worker, whose codec was this one */
static int core_send_anywhere(lua_State *L) {
    conn_id id = bind_check_conn(L, 1);
    uint32_t codec = (uint32_t)luaL_checkinteger(L, 2);
    bool binary = is_binary(L, 4);
    struct slice key = bind_opt_text(L, 5);
    if (!is_sendable(L, 3, binary))
        return bind_push_failure(L, "utf8");
    struct message *message = new_message(L, 3, binary, key);
    return bind_push_send_result(L, hub_send_anywhere(vm_of(L)->hub, id, codec, message));
}

/* core.close_anywhere(id, code, reason) -> boolean: a connection of any worker; false: it is
 * closing or gone */
static int core_close_anywhere(lua_State *L) {
    conn_id id = bind_check_conn(L, 1);
    unsigned code = (unsigned)luaL_checkinteger(L, 2);
    struct slice reason = bind_check_text(L, 3);
    luaL_argcheck(L, reason.len <= CLOSE_REASON_MAX, 3, "too long a reason");
    lua_pushboolean(L, hub_close_anywhere(vm_of(L)->hub, id, code, reason));
    return 1;
}

enum { FIRST_ENCODING = 5, FEW_ENCODINGS = 4 };

static uint32_t count_encodings(lua_State *L) {
    int arguments = lua_gettop(L) - (FIRST_ENCODING - 1);
    return arguments > 0 ? (uint32_t)(arguments + 2) / 3 : 0;
}

/* The encodings from FIRST_ENCODING on, three arguments each: a codec, a payload or false, a kind.
 * All are looked at before the first message is made. False: one is text that is not UTF-8. */
static bool read_encodings(lua_State *L, struct slice key, struct encoding *encodings,
                           uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        int at = FIRST_ENCODING + 3 * (int)i;
        encodings[i] = (struct encoding){(uint32_t)luaL_checkinteger(L, at), NULL};
        if (lua_toboolean(L, at + 1) && !is_sendable(L, at + 1, is_binary(L, at + 2)))
            return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        int at = FIRST_ENCODING + 3 * (int)i;
        bool is_same = i > 0 && lua_rawequal(L, at + 1, at - 2) && lua_rawequal(L, at + 2, at - 1);
        if (is_same && encodings[i - 1].message != NULL) /* a codec that several endpoints share */
            encodings[i].message = message_ref(encodings[i - 1].message);
        else if (lua_toboolean(L, at + 1))
            encodings[i].message = new_message(L, at + 1, is_binary(L, at + 2), key);
    }
    return true;
}

/* core.publish(room|nil, endpoint|nil, except|nil, key|nil, {codec, payload|false, kind}…) -> how
 * many got it. Instead, and nobody did: nil: text that is not UTF-8; false and a list of codecs: of
 * these, too, something is needed. A payload `false`: those with this codec get nothing. */
static int core_publish(lua_State *L) {
    struct vm *vm = vm_of(L);
    struct encoding few[FEW_ENCODINGS], *encodings = few;
    struct broadcast broadcast = {
        .endpoint = lua_isnoneornil(L, 2) ? ANY_ENDPOINT : (uint32_t)luaL_checkinteger(L, 2),
        .except = (conn_id)luaL_optinteger(L, 3, 0),
        .room = bind_opt_text(L, 1),
        .encoding_count = count_encodings(L),
    };
    struct slice key = bind_opt_text(L, 4);
    if (broadcast.endpoint != ANY_ENDPOINT && hub_endpoint(vm->hub, broadcast.endpoint) == NULL)
        return luaL_error(L, "no such endpoint");
    if (broadcast.encoding_count > FEW_ENCODINGS) /* Lua's own memory, as of core_room_members() */
        encodings = lua_newuserdatauv(L, broadcast.encoding_count * sizeof *encodings, 0);
    if (!read_encodings(L, key, encodings, broadcast.encoding_count)) {
        luaL_pushfail(L);
        return 1;
    }
    broadcast.encodings = encodings;
    uint32_t delivered;
    struct codec_list missing;
    if (hub_publish(vm->hub, &broadcast, &delivered, &missing)) {
        lua_pushinteger(L, delivered);
        return 1;
    }
    lua_pushboolean(L, 0);
    push_codecs(L, &missing);
    return 2;
}

const luaL_Reg bind_room_functions[] = {
    {"join", core_join},
    {"leave", core_leave},
    {"rooms_of", core_rooms_of},
    {"room_size", core_room_size},
    {"room_members", core_room_members},
    {"watch", core_watch},
    {"room_codecs", core_room_codecs},
    {"publish", core_publish},
    {"codec_of", core_codec_of},
    {"send_anywhere", core_send_anywhere},
    {"close_anywhere", core_close_anywhere},
    {NULL, NULL},
};
