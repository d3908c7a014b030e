/* sim_reply.h -- a value of Lua as an answer of Redis: an integer, a string, a list, false for nil,
 * { err = text }, { ok = text }; and a value without an answer, nil. */
#ifndef TESTS_SIM_SIM_REPLY_H
#define TESTS_SIM_SIM_REPLY_H

#include <hiredis/hiredis.h>
#include <lua.h>

/* NULL where the value at this place is nil. */
struct redisReply *sim_reply_new(lua_State *lua, int at);
void sim_reply_free(struct redisReply *reply); /* accepts NULL */

/* The same in the other direction; NULL is nil. */
void sim_reply_push(lua_State *lua, const struct redisReply *reply);

#endif
