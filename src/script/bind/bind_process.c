/* bind_process.c -- functions that replace those of Lua's that start processes, or end this one.
 *
 * io.popen and os.execute do what Lua's do; their children inherit no descriptors but the standard
 * ones. os.exit ends the server in good order: it drains, and exits with the given code. Like Lua's
 * it does not return. */
#include "script/bind/bind.h"

#include "base/descriptors.h"
#include "base/log/log.h"
#include "base/signal_mask.h"
#include "script/vm/wrap.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- children ---- */

/* Calls Lua's own function, the first upvalue. The thread blocks signals again even if that throws
 * for want of memory. */
static int call_original(lua_State *L) {
    sigset_t old;
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    descriptors_close_on_exec();
    signal_mask_child(&old);
    int status = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
    signal_mask_restore(&old);
    return status == LUA_OK ? lua_gettop(L) : lua_error(L);
}

/* io.popen */
static int guarded_popen(lua_State *L) {
    luaL_checkstring(L, 1);
    const char *mode = luaL_optstring(L, 2, "r");
    luaL_argcheck(L, strcmp(mode, "r") == 0 || strcmp(mode, "w") == 0, 2, "invalid mode");
    return call_original(L);
}

/* os.execute */
static int guarded_execute(lua_State *L) {
    luaL_optstring(L, 1, NULL);
    return call_original(L);
}

void bind_process_guard_children(lua_State *L) {
    lua_getglobal(L, "io");
    wrap_function(L, "popen", guarded_popen);
    lua_getglobal(L, "os");
    wrap_function(L, "execute", guarded_execute);
    lua_pop(L, 2);
}

/* ---- the end ---- */

static int exit_code(lua_State *L) {
    if (lua_isboolean(L, 1))
        return lua_toboolean(L, 1) ? EXIT_SUCCESS : EXIT_FAILURE;
    return (int)(luaL_optinteger(L, 1, EXIT_SUCCESS) & 0xff); /* the system keeps 8 bits */
}

/* os.exit([code [, close]]) */
static int guarded_exit(lua_State *L) {
    struct vm *vm = vm_of(L);
    int code = exit_code(L);
    const struct task *task = vm_current(vm);
    if (vm_is_loading(task))
        return luaL_error(L,
                          "os.exit(%d) while the app is loaded: an app that cannot be loaded says "
                          "so by error(\"why\")",
                          code);
    luaL_where(L, 1);
    struct log_line line;
    log_begin(&line, LOG_INFO, "exit");
    if (task != NULL && task->owner != 0)
        log_conn(&line, task->owner);
    log_int(&line, "code", code);
    log_str(&line, "why", "a script has called os.exit: the server drains");
    size_t len;
    const char *where = lua_tolstring(L, -1, &len);
    log_bytes(&line, "where", where, len > 2 ? len - 2 : 0); /* without ": " */
    log_end(&line);
    if (vm->options.on_exit != NULL)
        vm->options.on_exit(vm->options.on_exit_user, code);
    if (!lua_isyieldable(L))
        return luaL_error(L, "os.exit: the server drains; the function that called it ends");
    vm_push_exit_marker(L);
    return lua_yield(L, 1);
}

/* ---- descriptors ---- */

/* core.duplicate(descriptor) -> a copy of the descriptor | nil, message */
static int core_duplicate(lua_State *L) {
    int copy = fcntl((int)luaL_checkinteger(L, 1), F_DUPFD_CLOEXEC, 3);
    if (copy < 0)
        return luaL_fileresult(L, 0, NULL);
    lua_pushinteger(L, copy);
    return 1;
}

/* core.close_descriptor(descriptor): closes it. */
static int core_close_descriptor(lua_State *L) {
    close((int)luaL_checkinteger(L, 1));
    return 0;
}

const luaL_Reg bind_process_functions[] = {
    {"duplicate", core_duplicate},
    {"close_descriptor", core_close_descriptor},
    {NULL, NULL},
};

/* ---- the table ---- */

/* Adds a function to the table on top. Its upvalue is the one of Lua's that it replaces. */
static void add(lua_State *L, const char *library, const char *name, lua_CFunction function) {
    lua_getglobal(L, library);
    lua_getfield(L, -1, name); /* table, library, original */
    lua_remove(L, -2);
    lua_pushcclosure(L, function, 1);
    lua_setfield(L, -2, name);
}

void bind_process_add_functions(lua_State *L) {
    add(L, "io", "popen", guarded_popen);
    add(L, "os", "execute", guarded_execute);
    add(L, "os", "exit", guarded_exit);
}
