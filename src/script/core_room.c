/* core_room.c -- tidewire.core: rooms and broadcasts. room.lua makes tw.room of these. */
#include "script/vm_internal.h"

#include "base/utf8.h"

#include <string.h>

static struct slice check_name(lua_State *L, int index) {
    struct slice name;
    name.bytes = luaL_checklstring(L, index, &name.len);
    return name;
}

/* core.join(id, room, info|nil) -> boolean: false when the connection is closed */
static int core_join(lua_State *L) {
    conn_id id = (conn_id)luaL_checkinteger(L, 1);
    struct slice room = check_name(L, 2), info = {NULL, 0};
    if (!lua_isnoneornil(L, 3))
        info = check_name(L, 3);
    lua_pushboolean(L, hub_join(vm_of(L)->hub, id, room, info));
    return 1;
}

/* core.watch(room, on): events.moved is told of this room, or no more */
static int core_watch(lua_State *L) {
    hub_watch(vm_of(L)->hub, check_name(L, 1), lua_toboolean(L, 2));
    return 0;
}

/* core.leave(id, room) -> boolean: false when the connection is closed */
static int core_leave(lua_State *L) {
    conn_id id = (conn_id)luaL_checkinteger(L, 1);
    lua_pushboolean(L, hub_leave(vm_of(L)->hub, id, check_name(L, 2)));
    return 1;
}

/* The names of a connection's rooms, one behind the other, each behind its length; into the bytes if there are enough.
 * How many bytes it takes. */
static size_t copy_names(const struct conn *conn, char *bytes, size_t size) {
    size_t used = 0;
    for (const struct member *member = conn == NULL ? NULL : conn->rooms; member != NULL;
         member = member->next) {
        struct slice name = member->room->entry.key;
        if (used + sizeof name.len + name.len <= size) {
            memcpy(bytes + used, &name.len, sizeof name.len);
            memcpy(bytes + used + sizeof name.len, name.bytes, name.len);
        }
        used += sizeof name.len + name.len;
    }
    return used;
}

/* core.rooms_of(id) -> a list of names, in no order */
static int core_rooms_of(lua_State *L) {
    conn_id id = (conn_id)luaL_checkinteger(L, 1);
    struct hub *hub = vm_of(L)->hub;
    size_t size = copy_names(hub_find(hub, id), NULL, 0), used;
    char *bytes;
    for (
        ;
        ;) { /* all at once, before strings are made: making one may run finalizers of the script's */
        lua_settop(L, 1);
        bytes = lua_newuserdatauv(L, size, 0);
        used = copy_names(hub_find(hub, id), bytes, size);
        if (used <= size)
            break;
        size = used;
    }
    lua_newtable(L); /* id, bytes, names */
    lua_Integer count = 0;
    for (const char *at = bytes; at < bytes + used;) {
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
    lua_pushinteger(L, hub_room_size(vm_of(L)->hub, check_name(L, 1)));
    return 1;
}

/* Members as they are at one moment, copied while the room cannot change: for each its integer, the lengths of
 * its two texts, and these. */
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

/* core.room_members(room) -> a list, over all workers, in no order: of each its integer, its endpoint's name as
 * JSON, and its info or false */
static int core_room_members(lua_State *L) {
    struct slice name = check_name(L, 1);
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

enum { MAX_CODECS = 256 }; /* in one room */

struct codec_list {
    int count;
    uint32_t codecs[MAX_CODECS];
};

static void add_codec(void *user, uint32_t codec) {
    struct codec_list *list = user;
    if (list->count < MAX_CODECS)
        list->codecs[list->count++] = codec;
}

/* core.room_codecs(room) -> the codecs' numbers of its members, over all workers: one result each */
static int core_room_codecs(lua_State *L) {
    struct codec_list list = {.count = 0};
    hub_room_codecs(vm_of(L)->hub, check_name(L, 1), add_codec, &list);
    luaL_checkstack(L, list.count, "too many codecs in one room");
    for (int i = 0; i < list.count; i++)
        lua_pushinteger(L, list.codecs[i]);
    return list.count;
}

/* core.codec_of(id) -> the number of the codec of a connection of any worker | nil: closed */
static int core_codec_of(lua_State *L) {
    uint32_t codec;
    if (hub_codec_of(vm_of(L)->hub, (conn_id)luaL_checkinteger(L, 1), &codec))
        lua_pushinteger(L, codec);
    else
        lua_pushnil(L);
    return 1;
}

/* core.send_anywhere(id, payload, kind|nil, key|nil) -> true | nil, "closed"|"backlog"|"utf8": to a connection
 * of any worker */
static int core_send_anywhere(lua_State *L) {
    conn_id id = (conn_id)luaL_checkinteger(L, 1);
    size_t len;
    const char *bytes = luaL_checklstring(L, 2, &len);
    bool binary = strcmp(luaL_optstring(L, 3, "text"), "binary") == 0;
    struct slice key = {NULL, 0};
    if (!lua_isnoneornil(L, 4))
        key = check_name(L, 4);
    const char *problem = "utf8";
    if (binary || utf8_valid(bytes, len)) {
        struct message *message =
            message_new_keyed(binary ? MESSAGE_BINARY : MESSAGE_TEXT, bytes, len, key);
        enum send_result result = hub_send_anywhere(vm_of(L)->hub, id, message);
        if (result == SEND_OK) {
            lua_pushboolean(L, 1);
            return 1;
        }
        problem = result == SEND_CLOSED ? "closed" : "backlog";
    }
    luaL_pushfail(L);
    lua_pushstring(L, problem);
    return 2;
}

/* core.publish(payload, kind, codec, room|nil, endpoint|nil, except|nil, key|nil) -> how many got it;
 * nil, and nobody did: text that is not UTF-8 */
static int core_publish(lua_State *L) {
    struct vm *vm = vm_of(L);
    size_t len;
    const char *bytes = luaL_checklstring(L, 1, &len);
    bool binary = strcmp(luaL_optstring(L, 2, "text"), "binary") == 0;
    struct audience audience = {
        .codec = (uint32_t)luaL_checkinteger(L, 3),
        .endpoint = lua_isnoneornil(L, 5) ? HUB_ANY : (uint32_t)luaL_checkinteger(L, 5),
        .except = (conn_id)luaL_optinteger(L, 6, 0),
    };
    if (!lua_isnoneornil(L, 4))
        audience.room = check_name(L, 4);
    if (audience.endpoint != HUB_ANY && hub_endpoint(vm->hub, audience.endpoint) == NULL)
        return luaL_error(L, "no such endpoint");
    struct slice key = {NULL, 0};
    if (!lua_isnoneornil(L, 7))
        key = check_name(L, 7);
    if (!binary && !utf8_valid(bytes, len)) {
        luaL_pushfail(L);
        return 1;
    }
    struct message *message =
        message_new_keyed(binary ? MESSAGE_BINARY : MESSAGE_TEXT, bytes, len, key);
    lua_pushinteger(L, hub_publish(vm->hub, &audience, message));
    return 1;
}

const luaL_Reg core_room_functions[] = {
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
    {NULL, NULL},
};
