/* sim_redis.c -- hiredis, blocking, as an object of Lua. */
#include "sim_redis.h"

#include "sim_reply.h"

#include <lauxlib.h>
#include <string.h>

#define REDIS_TYPE "sim_redis"
enum { ARGUMENTS_MAX = 4096 };

struct sim_redis {
    redisContext *context;
};

/* connect(host, port): a connection. */
static int open_connection(lua_State *lua) {
    struct sim_redis *self = lua_newuserdatauv(lua, sizeof *self, 0);
    self->context = NULL;
    luaL_setmetatable(lua, REDIS_TYPE);
    self->context = redisConnect(luaL_checkstring(lua, 1), (int)luaL_checkinteger(lua, 2));
    if (!self->context || self->context->err)
        return luaL_error(lua, "cannot connect to Redis: %s",
                          self->context ? self->context->errstr : "no memory");
    return 1;
}

static struct sim_redis *check(lua_State *lua) {
    struct sim_redis *self = luaL_checkudata(lua, 1, REDIS_TYPE);
    luaL_argcheck(lua, self->context, 1, "it is closed");
    return self;
}

/* connection:write{ "GET", "name" }: sends a command with the next read(). */
static int write_command(lua_State *lua) {
    struct sim_redis *self = check(lua);
    static const char *arguments[ARGUMENTS_MAX];
    static size_t lengths[ARGUMENTS_MAX];
    int count = (int)luaL_len(lua, 2);
    luaL_argcheck(lua, count > 0 && count <= ARGUMENTS_MAX, 2, "too many arguments");
    for (int i = 0; i < count; i++) {
        lua_rawgeti(lua, 2, i + 1);
        arguments[i] = luaL_checklstring(lua, -1, &lengths[i]);
        lua_pop(lua, 1); /* the table has it */
    }
    redisAppendCommandArgv(self->context, count, arguments, lengths);
    return 0;
}

/* connection:read(): waits for the next answer. */
static int read_reply(lua_State *lua) {
    struct sim_redis *self = check(lua);
    void *reply;
    if (redisGetReply(self->context, &reply) != REDIS_OK)
        return luaL_error(lua, "Redis: %s", self->context->errstr);
    sim_reply_push(lua, reply);
    freeReplyObject(reply);
    return 1;
}

static int close_connection(lua_State *lua) {
    struct sim_redis *self = luaL_checkudata(lua, 1, REDIS_TYPE);
    if (self->context)
        redisFree(self->context);
    self->context = NULL;
    return 0;
}

int sim_redis_open(lua_State *lua) {
    static const luaL_Reg methods[] = {
        {"write", write_command}, {"read", read_reply}, {"close", close_connection}, {NULL, NULL}};
    static const luaL_Reg functions[] = {{"connect", open_connection}, {NULL, NULL}};
    luaL_newmetatable(lua, REDIS_TYPE);
    luaL_newlib(lua, methods);
    lua_setfield(lua, -2, "__index");
    lua_pushcfunction(lua, close_connection);
    lua_setfield(lua, -2, "__gc");
    lua_pop(lua, 1);
    luaL_newlib(lua, functions);
    return 1;
}
