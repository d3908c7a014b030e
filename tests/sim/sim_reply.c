/* sim_reply.c -- see sim_reply.h. Replies are made of mem_alloc(), as hiredis' are not. */
#include "sim_reply.h"

#include "base/mem.h"

#include <lauxlib.h>
#include <string.h>

static void set_text(struct redisReply *reply, int type, const char *text, size_t len) {
    reply->type = type;
    reply->len = len;
    reply->str = mem_alloc(len + 1);
    memcpy(reply->str, text, len);
    reply->str[len] = '\0';
}

/* A field of the table on the top, as the reply's text. */
static bool take_field(lua_State *lua, const char *name, int type, struct redisReply *reply) {
    bool is_there = lua_getfield(lua, -1, name) == LUA_TSTRING;
    if (is_there) {
        size_t len;
        const char *text = lua_tolstring(lua, -1, &len);
        set_text(reply, type, text, len);
    }
    lua_pop(lua, 1);
    return is_there;
}

static struct redisReply *reply_of_top(lua_State *lua) {
    struct redisReply *reply = mem_alloc(sizeof *reply);
    memset(reply, 0, sizeof *reply);
    switch (lua_type(lua, -1)) {
    case LUA_TNUMBER:
        reply->type = REDIS_REPLY_INTEGER;
        reply->integer = luaL_checkinteger(lua, -1);
        break;
    case LUA_TSTRING: {
        size_t len;
        const char *text = lua_tolstring(lua, -1, &len);
        set_text(reply, REDIS_REPLY_STRING, text, len);
        break;
    }
    case LUA_TBOOLEAN:
        reply->type = REDIS_REPLY_NIL;
        break;
    case LUA_TTABLE:
        luaL_checkstack(lua, 4, "a deep reply");
        if (take_field(lua, "err", REDIS_REPLY_ERROR, reply) ||
            take_field(lua, "ok", REDIS_REPLY_STATUS, reply))
            break;
        reply->type = REDIS_REPLY_ARRAY;
        reply->elements = (size_t)luaL_len(lua, -1);
        reply->element = mem_alloc((reply->elements + 1) * sizeof *reply->element);
        for (size_t i = 0; i < reply->elements; i++) {
            lua_rawgeti(lua, -1, (lua_Integer)i + 1);
            reply->element[i] = reply_of_top(lua);
            lua_pop(lua, 1);
        }
        break;
    default:
        luaL_error(lua, "a reply cannot be a %s", luaL_typename(lua, -1));
    }
    return reply;
}

struct redisReply *sim_reply_new(lua_State *lua, int at) {
    if (lua_isnoneornil(lua, at))
        return NULL;
    lua_pushvalue(lua, at);
    struct redisReply *reply = reply_of_top(lua);
    lua_pop(lua, 1);
    return reply;
}

void sim_reply_free(struct redisReply *reply) {
    if (!reply)
        return;
    for (size_t i = 0; i < reply->elements; i++)
        sim_reply_free(reply->element[i]);
    mem_free(reply->element);
    mem_free(reply->str);
    mem_free(reply);
}

void sim_reply_push(lua_State *lua, const struct redisReply *reply) {
    if (!reply) {
        lua_pushnil(lua);
        return;
    }
    luaL_checkstack(lua, 4, "a deep reply");
    switch (reply->type) {
    case REDIS_REPLY_INTEGER:
        lua_pushinteger(lua, reply->integer);
        return;
    case REDIS_REPLY_STRING:
        lua_pushlstring(lua, reply->str, reply->len);
        return;
    case REDIS_REPLY_ARRAY:
        lua_createtable(lua, (int)reply->elements, 0);
        for (size_t i = 0; i < reply->elements; i++) {
            sim_reply_push(lua, reply->element[i]);
            lua_rawseti(lua, -2, (lua_Integer)i + 1);
        }
        return;
    case REDIS_REPLY_STATUS:
    case REDIS_REPLY_ERROR:
        lua_createtable(lua, 0, 1);
        lua_pushlstring(lua, reply->str, reply->len);
        lua_setfield(lua, -2, reply->type == REDIS_REPLY_ERROR ? "err" : "ok");
        return;
    default: /* nil */
        lua_pushboolean(lua, 0);
    }
}
