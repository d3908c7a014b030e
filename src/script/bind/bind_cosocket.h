/* bind_cosocket.h -- what bind_cosocket*.c have in common. */
#ifndef TIDEWIRE_SCRIPT_BIND_BIND_COSOCKET_H
#define TIDEWIRE_SCRIPT_BIND_BIND_COSOCKET_H

#include "script/bind/bind.h"

#include "core/cosocket/cosocket.h"

static inline const struct cosocket_functions *bind_cosockets(lua_State *L) {
    return &vm_of(L)->options.cosockets;
}

/* The number of a cosocket at index 1. */
static inline uint64_t bind_check_cosocket(lua_State *L) {
    return (uint64_t)luaL_checkinteger(L, 1);
}

/* Pushes LuaSocket's words for what a function of cosockets has returned, but for DONE: false for
 * AGAIN. */
void bind_cosocket_push_problem(lua_State *L, int result);
/* Pushes true; or nil and a problem. Returns the number of results. */
int bind_cosocket_push_result(lua_State *L, int result);
/* Pushes the words for an errno; nil for 0. */
void bind_cosocket_push_error(lua_State *L, int error);

#endif
