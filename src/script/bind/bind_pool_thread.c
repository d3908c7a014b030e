/* bind_pool_thread.c -- tidewire.core in the threads of pools: the few functions that need no
 * worker. */
#include "script/bind/bind.h"

#include "tidewire_version.h"

#include "script/vm/vm_thread.h"

#include <string.h>

/* Those of bind_server.c and bind_task.c. */
static const char *const names[] = {"log",         "log_enabled", "time",        "monotonic",
                                    "environment", "is_over",     "memory_error"};

/* Adds the functions of the list that have one of the names to the table on top. */
static void add_functions(lua_State *L, const luaL_Reg *functions) {
    for (; functions->name != NULL; functions++)
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
            if (strcmp(functions->name, names[i]) == 0) {
                lua_pushcfunction(L, functions->func);
                lua_setfield(L, -2, functions->name);
            }
}

static int open_core(lua_State *L) {
    lua_newtable(L);
    add_functions(L, bind_server_functions);
    add_functions(L, bind_task_functions);
    bind_guarded_push(L);
    lua_setfield(L, -2, "guarded");
    lua_pushliteral(L, TIDEWIRE_VERSION);
    lua_setfield(L, -2, "version");
    lua_pushstring(L, vm_thread_name(vm_of(L)));
    lua_setfield(L, -2, "pool");
    return 1;
}

void bind_pool_thread_open(lua_State *L) {
    luaL_requiref(L, "tidewire.core", open_core, 0);
    lua_pop(L, 1);
}
