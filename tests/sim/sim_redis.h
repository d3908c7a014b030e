/* sim_redis.h -- a real Redis for the simulator: one connection for commands, one for
 * subscriptions, both blocking. One thread. */
#ifndef TESTS_SIM_SIM_REDIS_H
#define TESTS_SIM_SIM_REDIS_H

#include <lua.h>

/* The module, for package.preload. */
int sim_redis_open(lua_State *lua);

#endif
