/* sim_node.h -- a node of the cluster (src/cluster/node) as an object of Lua.
 *
 * sim_node.new(options, callbacks) returns a node without sockets: what it asks of Redis and does
 * to its workers are calls of the callbacks, what Redis answers are calls of its methods. One
 * thread. */
#ifndef TESTS_SIM_SIM_NODE_H
#define TESTS_SIM_SIM_NODE_H

#include <lua.h>

/* The module, for package.preload. */
int sim_node_open(lua_State *lua);

#endif
