/* core_room.c -- tidewire.core: rooms and broadcasts. room.lua makes tw.room of these. */
#include "script/vm_internal.h"

#include "base/mem.h"
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

/* The name of the n-th room of a connection, from 0; no bytes: there is none. */
static struct slice nth_room(struct vm *vm, conn_id id, lua_Integer n) {
    const struct conn *conn = hub_find(vm->hub, id);
    const struct member *member = conn == NULL ? NULL : conn->rooms;
    while (member != NULL && n-- > 0)
        member = member->next;
    return member == NULL ? (struct slice){NULL, 0} : member->room->entry.key;
}

/* core.rooms_of(id) -> a list of names, in no order */
static int core_rooms_of(lua_State *L) {
    conn_id id = (conn_id)luaL_checkinteger(L, 1);
    lua_newtable(L);
    /* looked up anew each time: making a string may run finalizers of the script's */
    for (lua_Integer n = 0;; n++) {
        struct slice name = nth_room(vm_of(L), id, n);
        if (name.bytes == NULL)
            return 1;
        lua_pushlstring(L, name.bytes, name.len);
        lua_rawseti(L, -2, n + 1);
    }
}

/* core.room_size(room) -> members */
static int core_room_size(lua_State *L) {
    const struct room *room = room_find(&vm_of(L)->hub->rooms, check_name(L, 1));
    lua_pushinteger(L, room == NULL ? 0 : room->count);
    return 1;
}

/* core.room_members(room) -> a list of connections' integers, in no order */
static int core_room_members(lua_State *L) {
    struct slice name = check_name(L, 1);
    const struct room *room = room_find(&vm_of(L)->hub->rooms, name);
    uint32_t count = room == NULL ? 0 : room->count;
    lua_createtable(L, (int)count, 0); /* may run finalizers of the script's: look again */
    room = room_find(&vm_of(L)->hub->rooms, name);
    for (uint32_t i = 0; room != NULL && i < room->count && i < count; i++) {
        lua_pushinteger(L, (lua_Integer)room->members[i]->conn->id);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

/* core.member(room, id) -> the endpoint's name as JSON, info|nil; nothing when it is not in */
static int core_member(lua_State *L) {
    struct hub *hub = vm_of(L)->hub;
    struct slice name = check_name(L, 1);
    struct conn *conn = hub_find(hub, (conn_id)luaL_checkinteger(L, 2));
    const struct member *member = conn == NULL ? NULL : room_member(&hub->rooms, name, conn);
    if (member == NULL)
        return 0;
    char *info = mem_strdup(member->info); /* making a string may run finalizers of the script's */
    lua_pushstring(L, conn->endpoint->json_name);
    lua_pushstring(L, info);
    mem_free(info);
    return 2;
}

/* core.room_codecs(room) -> the codecs' numbers of its members: one result each */
static int core_room_codecs(lua_State *L) {
    const struct room *room = room_find(&vm_of(L)->hub->rooms, check_name(L, 1));
    int count = room == NULL ? 0 : (int)room->codec_count;
    luaL_checkstack(L, count, "too many codecs in one room");
    for (int i = 0; i < count; i++)
        lua_pushinteger(L, room->codecs[i].codec);
    return count;
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
    {"member", core_member},
    {"watch", core_watch},
    {"room_codecs", core_room_codecs},
    {"publish", core_publish},
    {NULL, NULL},
};
