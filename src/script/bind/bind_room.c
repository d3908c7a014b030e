/* bind_room.c -- tidewire.core: rooms, and sending to connections of all workers. room.lua
 * makes tw.room of these functions. */
#include "script/bind/bind.h"

#include "script/bind/bind_snapshot.h"

#include <string.h>

/* ---- members ---- */

/* core.join(id, room, info|nil) -> boolean: false: the connection is closed. `info` is JSON. */
static int core_join(lua_State *L) {
    conn_id id = bind_check_conn(L, 1);
    struct slice room = bind_check_text(L, 2), info = bind_opt_text(L, 3);
    vm_memory_check_outside(L, hub_membership_bytes() + room.len + info.len);
    lua_pushboolean(L, hub_join(vm_of(L)->hub, id, room, info));
    return 1;
}

/* core.leave(id, room) -> boolean: false: the connection is closed */
static int core_leave(lua_State *L) {
    conn_id id = bind_check_conn(L, 1);
    lua_pushboolean(L, hub_leave(vm_of(L)->hub, id, bind_check_text(L, 2)));
    return 1;
}

/* core.set_user(id, user|nil): the connection's user, instead of the one before. */
static int core_set_user(lua_State *L) {
    conn_id id = bind_check_conn(L, 1);
    struct slice user = bind_opt_text(L, 2);
    luaL_argcheck(L, user.len <= USER_NAME_MAX, 2, "the name is too long");
    vm_memory_check_outside(L, hub_membership_bytes() + USER_ROOM_PREFIX_LEN + user.len);
    hub_set_user(vm_of(L)->hub, id, user, false);
    return 0;
}

/* core.watch(room, on): turns events.presence_changed on or off for this room. */
static int core_watch(lua_State *L) {
    hub_watch(vm_of(L)->hub, bind_check_text(L, 1), lua_toboolean(L, 2));
    return 0;
}

/* core.room_size(room) -> its members over all workers */
static int core_room_size(lua_State *L) {
    lua_pushinteger(L, hub_room_size(vm_of(L)->hub, bind_check_text(L, 1)));
    return 1;
}

#define NO_TEXT SIZE_MAX /* in place of a length */

static void snapshot_add_text(struct bind_snapshot *snapshot, struct slice text) {
    bind_snapshot_add(snapshot, &text.len, sizeof text.len);
    if (text.len != NO_TEXT)
        bind_snapshot_add(snapshot, text.bytes, text.len);
}

/* Pushes the text at this place, or false for none. Returns the place behind it. */
static const char *push_text(lua_State *L, const char *at) {
    size_t len;
    bind_snapshot_take(&at, &len, sizeof len);
    if (len == NO_TEXT) {
        lua_pushboolean(L, 0);
        return at;
    }
    lua_pushlstring(L, at, len);
    return at + len;
}

static void add_name(void *snapshot, struct slice name) {
    snapshot_add_text(snapshot, name);
}

/* core.rooms_of(id) -> a list of names, in no order */
static int core_rooms_of(lua_State *L) {
    conn_id id = bind_check_conn(L, 1);
    struct bind_snapshot snapshot = BIND_SNAPSHOT_FIRST;
    do {
        bind_snapshot_begin(L, 1, &snapshot);
        hub_rooms_of(vm_of(L)->hub, id, add_name, &snapshot);
    } while (snapshot.used > snapshot.size);
    lua_newtable(L); /* id, snapshot, names */
    lua_Integer count = 0;
    for (const char *at = snapshot.bytes; at < snapshot.bytes + snapshot.used;) {
        at = push_text(L, at);
        lua_rawseti(L, 3, ++count);
    }
    return 1;
}

static void add_member(void *user, conn_id id, const char *remote_id, const char *name,
                       const char *info, struct slice user_name) {
    struct bind_snapshot *snapshot = user;
    bind_snapshot_add(snapshot, &id, sizeof id);
    if (id == 0)
        bind_snapshot_add(snapshot, remote_id, CONN_ID_LEN);
    snapshot_add_text(snapshot, (struct slice){name, strlen(name)});
    snapshot_add_text(snapshot, (struct slice){info, info == NULL ? NO_TEXT : strlen(info)});
    if (user_name.bytes == NULL)
        user_name.len = NO_TEXT;
    snapshot_add_text(snapshot, user_name);
}

/* core.room_members(room) -> a list over all workers, in no order, with four values for each
 * member: its integer, or the text of its id when it is of another machine; its endpoint's name as
 * JSON, its info as JSON or false, and its user or false */
static int core_room_members(lua_State *L) {
    struct slice room = bind_check_text(L, 1);
    struct bind_snapshot snapshot = BIND_SNAPSHOT_FIRST;
    do {
        bind_snapshot_begin(L, 1, &snapshot);
        hub_room_members(vm_of(L)->hub, room, add_member, &snapshot);
    } while (snapshot.used > snapshot.size);
    lua_newtable(L); /* room, snapshot, members */
    lua_Integer count = 0;
    for (const char *at = snapshot.bytes; at < snapshot.bytes + snapshot.used;) {
        conn_id id;
        bind_snapshot_take(&at, &id, sizeof id);
        if (id == 0) {
            lua_pushlstring(L, at, CONN_ID_LEN);
            at += CONN_ID_LEN;
        } else {
            lua_pushinteger(L, (lua_Integer)id);
        }
        lua_rawseti(L, 3, ++count);
        for (int i = 0; i < 3; i++) {
            at = push_text(L, at);
            lua_rawseti(L, 3, ++count);
        }
    }
    return 1;
}

/* ---- codecs ---- */

/* Pushes a list of their numbers. */
static void push_codecs(lua_State *L, const struct codec_list *list) {
    lua_createtable(L, (int)list->count, 0);
    for (uint32_t i = 0; i < list->count; i++) {
        lua_pushinteger(L, list->codecs[i]);
        lua_rawseti(L, -2, i + 1);
    }
}

/* core.room_codecs(room) -> a list of the codecs that its members have now (core.publish returns
 * those that have come meanwhile), and a list of those in which the room remembers a value that
 * they can encode; nil: it has no memory */
static int core_room_codecs(lua_State *L) {
    struct slice room = bind_check_text(L, 1);
    struct codec_list list;
    hub_room_codecs(vm_of(L)->hub, room, &list);
    push_codecs(L, &list);
    hub_memory_codecs(vm_of(L)->hub, room, &list);
    if (list.count == 0)
        return 1;
    push_codecs(L, &list);
    return 2;
}

/* core.codec_of(id) -> the codec of a connection of any worker | nil: closed */
static int core_codec_of(lua_State *L) {
    uint32_t codec;
    if (hub_codec_of(vm_of(L)->hub, bind_check_conn(L, 1), &codec))
        lua_pushinteger(L, codec);
    else
        lua_pushnil(L);
    return 1;
}

/* ---- sending to any worker ---- */

static bool is_binary(lua_State *L, int index) {
    return strcmp(luaL_optstring(L, index, "text"), "binary") == 0;
}

/* What all encodings of a value share. */
struct message_options {
    struct slice key;
    bool stays_plain;
};

static struct message *new_message(lua_State *L, int payload, bool binary,
                                   const struct message_options *options) {
    size_t len;
    const char *bytes = lua_tolstring(L, payload, &len);
    struct message *message =
        message_new_keyed(binary ? OPCODE_BINARY : OPCODE_TEXT, bytes, len, options->key);
    message->stays_plain = options->stays_plain;
    return message;
}

/* Is the payload bytes of the kind? Throws if it is no string. */
static bool is_sendable(lua_State *L, int payload, bool binary) {
    size_t len;
    const char *bytes = luaL_checklstring(L, payload, &len);
    vm_memory_check_block(L, len);
    return binary || bind_is_utf8(L, bytes, len);
}

/* core.send_anywhere(id, codec, payload, kind|nil, key|nil, stays_plain|nil) -> true | nil,
 * "closed"|"backlog"|"utf8": sends to a connection of any worker, which has this codec */
static int core_send_anywhere(lua_State *L) {
    conn_id id = bind_check_conn(L, 1);
    uint32_t codec = (uint32_t)luaL_checkinteger(L, 2);
    bool binary = is_binary(L, 4);
    const struct message_options options = {bind_opt_text(L, 5), lua_toboolean(L, 6)};
    if (!is_sendable(L, 3, binary))
        return bind_push_failure(L, "utf8");
    struct message *message = new_message(L, 3, binary, &options);
    return bind_push_send_result(L, hub_send_anywhere(vm_of(L)->hub, id, codec, message));
}

/* core.close_anywhere(id, code, reason) -> boolean: closes a connection of any worker. False: it is
 * closing or gone. */
static int core_close_anywhere(lua_State *L) {
    conn_id id = bind_check_conn(L, 1);
    unsigned code = (unsigned)luaL_checkinteger(L, 2);
    struct slice reason = bind_check_text(L, 3);
    luaL_argcheck(L, reason.len <= CLOSE_REASON_MAX, 3, "the reason is too long");
    lua_pushboolean(L, hub_close_anywhere(vm_of(L)->hub, id, code, reason));
    return 1;
}

/* FEW_ENCODINGS need no memory of Lua's. */
enum { FIRST_ENCODING = 6, ENCODING_ARGUMENTS = 3, FEW_ENCODINGS = 4, FIRST_ENCODING_AWAY = 4 };

/* The number of encodings that are the arguments from `first` on. */
static uint32_t count_encodings(lua_State *L, int first) {
    int arguments = lua_gettop(L) - first + 1;
    return arguments <= 0 ? 0 : (uint32_t)(arguments - 1) / ENCODING_ARGUMENTS + 1;
}

/* Each encoding is a codec, a payload or false, a kind. All are checked before the first message is
 * made. False: a payload is text that is not UTF-8. */
static bool read_encodings(lua_State *L, int first, const struct message_options *options,
                           struct encoding *encodings, uint32_t count) {
    int at = first;
    for (uint32_t i = 0; i < count; i++, at += ENCODING_ARGUMENTS) {
        encodings[i] = (struct encoding){(uint32_t)luaL_checkinteger(L, at), NULL};
        if (lua_toboolean(L, at + 1) && !is_sendable(L, at + 1, is_binary(L, at + 2)))
            return false;
    }
    at = first;
    for (uint32_t i = 0; i < count; i++, at += ENCODING_ARGUMENTS) {
        bool is_same = i > 0 && lua_rawequal(L, at + 1, at - 2) && lua_rawequal(L, at + 2, at - 1);
        if (is_same && encodings[i - 1].message != NULL) /* one payload for several codecs */
            encodings[i].message = message_ref(encodings[i - 1].message);
        else if (lua_toboolean(L, at + 1))
            encodings[i].message = new_message(L, at + 1, is_binary(L, at + 2), options);
    }
    return true;
}

/* The text at the index, if it is one and may be an id of another machine; else NULL. */
static const char *opt_id(lua_State *L, int index) {
    if (lua_type(L, index) != LUA_TSTRING)
        return NULL;
    size_t len;
    const char *text = lua_tolstring(L, index, &len);
    luaL_argcheck(L, len == CONN_ID_LEN, index, "no id");
    return text;
}

/* core.publish(room|nil, endpoint|nil, except|nil, key|nil, stays_plain|nil, {codec, payload|false,
 * kind}…) -> the number of connections to which it was queued (those whose payload is `false` get
 * nothing), and its offset in the memory of the room, or nil. Or it sends nothing and returns nil:
 * a text is not UTF-8; or false and a list of codecs: receivers have these, too. `except`: the
 * integer of a connection, or the text of an id of another machine. */
static int core_publish(lua_State *L) {
    struct vm *vm = vm_of(L);
    struct encoding few[FEW_ENCODINGS], *encodings = few;
    const char *except_text = opt_id(L, 3);
    struct broadcast broadcast = {
        .endpoint = lua_isnoneornil(L, 2) ? ANY_ENDPOINT : (uint32_t)luaL_checkinteger(L, 2),
        .except = except_text != NULL ? 0 : (conn_id)luaL_optinteger(L, 3, 0),
        .room = bind_opt_text(L, 1),
        .encoding_count = count_encodings(L, FIRST_ENCODING),
        .except_text = except_text,
    };
    const struct message_options options = {bind_opt_text(L, 4), lua_toboolean(L, 5)};
    if (broadcast.endpoint != ANY_ENDPOINT && hub_endpoint(vm->hub, broadcast.endpoint) == NULL)
        return luaL_error(L, "no such endpoint");
    if (broadcast.encoding_count > FEW_ENCODINGS)
        encodings = lua_newuserdatauv(L, broadcast.encoding_count * sizeof *encodings, 0);
    if (!read_encodings(L, FIRST_ENCODING, &options, encodings, broadcast.encoding_count)) {
        luaL_pushfail(L);
        return 1;
    }
    broadcast.encodings = encodings;
    uint32_t delivered;
    uint64_t offset;
    struct codec_list missing;
    if (hub_publish(vm->hub, &broadcast, &delivered, &offset, &missing)) {
        lua_pushinteger(L, delivered);
        if (offset == 0)
            return 1;
        lua_pushinteger(L, (lua_Integer)offset);
        return 2;
    }
    lua_pushboolean(L, 0);
    push_codecs(L, &missing);
    return 2;
}

/* ---- sending to other machines ---- */

static int push_status(lua_State *L, enum link_status status) {
    return bind_push_result(L, status == LINK_OK        ? NULL
                               : status == LINK_REFUSED ? "closed"
                                                        : "unreachable");
}

/* core.send_away(id, key|nil, stays_plain|nil, {codec, payload|false, kind}…) -> true | nil,
 * "closed"|"unreachable"|"utf8": sends to the connection of another machine with this text, by its
 * codec. "closed": its machine does not live. */
static int core_send_away(lua_State *L) {
    struct encoding few[FEW_ENCODINGS], *encodings = few;
    struct slice id = bind_check_text(L, 1);
    const struct message_options options = {bind_opt_text(L, 2), lua_toboolean(L, 3)};
    uint32_t count = count_encodings(L, FIRST_ENCODING_AWAY);
    if (count > FEW_ENCODINGS)
        encodings = lua_newuserdatauv(L, count * sizeof *encodings, 0);
    if (!read_encodings(L, FIRST_ENCODING_AWAY, &options, encodings, count))
        return bind_push_failure(L, "utf8");
    return push_status(L, hub_send_away(vm_of(L)->hub, id, encodings, count));
}

/* core.close_away(id, code, reason) -> true | nil, "closed"|"unreachable" */
static int core_close_away(lua_State *L) {
    struct slice id = bind_check_text(L, 1), reason = bind_check_text(L, 3);
    unsigned code = (unsigned)luaL_checkinteger(L, 2);
    luaL_argcheck(L, reason.len <= CLOSE_REASON_MAX, 3, "the reason is too long");
    return push_status(L, hub_close_away(vm_of(L)->hub, id, code, reason));
}

const luaL_Reg bind_room_functions[] = {
    {"join", core_join},
    {"leave", core_leave},
    {"rooms_of", core_rooms_of},
    {"room_size", core_room_size},
    {"room_members", core_room_members},
    {"set_user", core_set_user},
    {"watch", core_watch},
    {"room_codecs", core_room_codecs},
    {"publish", core_publish},
    {"codec_of", core_codec_of},
    {"send_anywhere", core_send_anywhere},
    {"close_anywhere", core_close_anywhere},
    {"send_away", core_send_away},
    {"close_away", core_close_away},
    {NULL, NULL},
};
