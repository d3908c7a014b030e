/* closing.c -- closing coroutines that have not returned. See closing.h.
 *
 * lua_resetthread() calls the pending __close methods on the coroutine itself. In three cases that
 * does harm, and this file calls them on other coroutines instead:
 *
 * The coroutine waits inside of an xpcall. Up to 5.4.7 Lua leaves the message handler of the xpcall
 * set, as a place on the stack. An error in a __close method would call the value that is at this
 * place by then, or read beyond the end of the stack.
 *
 * An error that a hook raised has ended the coroutine, so that its hooks stay off. A __close method
 * that does not return could not be ended.
 *
 * The __close method of a coroutine that is being closed closes the next one, and so on. Lua 5.4.4
 * counts the calls of C in the coroutine that is closed, not in the one that closes it, and would
 * run out of C stack.
 *
 * Lua does not report which __close methods are pending. So those of all values in the variables of
 * the coroutine are replaced while it is closed. An error in one is kept beside the coroutine and
 * never raised in it. */
#include "script/vm/closing.h"

#include "script/vm/calls.h"
#include "script/vm/vm_internal.h"

/* So many levels of closings inside of closings may call methods on the coroutines themselves. */
enum { NESTED_CLOSINGS = 8 };

/* One call of closing_reset(). */
struct closing {
    struct closing *outer;
    lua_State *co;       /* is being closed */
    lua_State *outer_co; /* ran before */
    int depth;
    bool failed;
    int error_ref; /* the last error of a method, in the registry */
};

/* Does a C function of the coroutine wait for a function that it has called? */
static bool has_pending_call(lua_State *co) {
    struct calls calls;
    bool found = false;
    lua_checkstack(co, 1);
    for (bool more = calls_first(&calls, co); more && !found; more = calls_next(&calls)) {
        lua_getinfo(co, "f", &calls.activation);
        found = calls.level > 0 && lua_iscfunction(co, -1);
        lua_pop(co, 1);
    }
    return found;
}

/* ---- methods ---- */

static struct closing *closing_of(const struct vm *vm, const lua_State *co) {
    struct closing *closing = vm->closing;
    while (closing != NULL && closing->co != co)
        closing = closing->outer;
    return closing;
}

/* Keeps the error on top of L. */
static void keep_error(lua_State *L, struct closing *closing) {
    struct vm *vm = vm_of(L);
    if (closing->failed)
        luaL_unref(L, LUA_REGISTRYINDEX, closing->error_ref);
    bool exempt = vm_memory_exempt(vm, true);
    closing->error_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    closing->failed = true;
    vm_memory_exempt(vm, exempt);
}

static int finish_method(lua_State *L, int status, lua_KContext context) {
    (void)L, (void)status, (void)context;
    return 0;
}

/* (value, error): calls the __close method in the upvalue; on another coroutine if L is being
 * closed. */
static int call_method(lua_State *L) {
    struct vm *vm = vm_of(L);
    struct closing *closing = closing_of(vm, L);
    int results;
    lua_settop(L, 2);
    if (closing == NULL) { /* a block of another coroutine ends meanwhile */
        lua_pushvalue(L, lua_upvalueindex(1));
        lua_insert(L, 1);
        lua_callk(L, 2, 0, 0, finish_method);
        return 0;
    }
    if (budget_is_over(&vm->budget))
        return 0;
    bool exempt = vm_memory_exempt(vm, true); /* the method shall be called */
    lua_State *co = lua_newthread(L);
    vm_memory_exempt(vm, exempt);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, 1);
    if (closing->failed)
        lua_rawgeti(L, LUA_REGISTRYINDEX, closing->error_ref);
    else
        lua_pushvalue(L, 2);
    lua_xmove(L, co, 3);
    lua_State *outer = budget_enter(&vm->budget, co);
    int status = lua_resume(co, closing->outer_co, 2, &results);
    budget_leave(&vm->budget, outer);
    if (budget_is_over(&vm->budget)) {
        budget_abandon(L);
    } else if (status != LUA_OK) {
        if (status == LUA_YIELD)
            lua_pushliteral(co, "attempt to yield across a C-call boundary");
        lua_xmove(co, L, 1);
        keep_error(L, closing);
        if (closing_reset(L, co, false) != LUA_OK) {
            lua_xmove(co, L, 1);
            keep_error(L, closing);
        }
    }
    return 0;
}

/* Replaces the __close method of the value on top of L, which is popped, by call_method(). Appends
 * the metatable and its method to the table at the index. */
static void replace_method(lua_State *L, int undo) {
    if (!lua_getmetatable(L, -1)) {
        lua_pop(L, 1);
        return;
    }
    lua_pushliteral(L, "__close");
    lua_rawget(L, -2); /* value, metatable, method */
    if (!lua_isnil(L, -1) && lua_tocfunction(L, -1) != call_method) {
        lua_Integer count = (lua_Integer)lua_rawlen(L, undo);
        lua_pushvalue(L, -2);
        lua_rawseti(L, undo, count + 1);
        lua_pushvalue(L, -1);
        lua_rawseti(L, undo, count + 2);
        lua_pushliteral(L, "__close");
        lua_insert(L, -2); /* value, metatable, name, method */
        lua_pushcclosure(L, call_method, 1);
        lua_rawset(L, -3);
        lua_pop(L, 2);
    } else {
        lua_pop(L, 3);
    }
}

static void replace_methods(lua_State *L, lua_State *co) {
    int undo = lua_gettop(L);
    struct calls calls;
    lua_checkstack(co, 1);
    for (bool more = calls_first(&calls, co); more; more = calls_next(&calls)) {
        for (int i = 1; lua_getlocal(co, &calls.activation, i) != NULL; i++) {
            lua_xmove(co, L, 1);
            replace_method(L, undo);
        }
    }
}

/* Pops the table on top. A method that a script has set meanwhile stays. */
static void restore_methods(lua_State *L) {
    int undo = lua_gettop(L);
    for (lua_Integer i = (lua_Integer)lua_rawlen(L, undo); i > 1; i -= 2) {
        lua_rawgeti(L, undo, i - 1); /* metatable */
        lua_pushliteral(L, "__close");
        lua_rawget(L, -2);
        if (lua_tocfunction(L, -1) == call_method) {
            lua_pushliteral(L, "__close");
            lua_rawgeti(L, undo, i);
            lua_rawset(L, -4);
        }
        lua_settop(L, undo);
    }
    lua_pop(L, 1);
}

/* ---- closing ---- */

static int reset(lua_State *co, lua_State *from) {
#if LUA_VERSION_RELEASE_NUM >= 50406
    return lua_closethread(co, from);
#else
    (void)from;
    return lua_resetthread(co);
#endif
}

int closing_reset(lua_State *L, lua_State *co, bool hooks_are_off) {
    struct vm *vm = vm_of(L);
    lua_State *running = budget_running(&vm->budget);
    struct closing closing = {.outer = vm->closing,
                              .co = co,
                              .outer_co = running == NULL ? vm->L : running,
                              .depth = vm->closing == NULL ? 1 : vm->closing->depth + 1};
    bool replaces = hooks_are_off || closing.depth > NESTED_CLOSINGS ||
                    (lua_status(co) == LUA_YIELD && has_pending_call(co));
    luaL_checkstack(L, 8, NULL);
    if (replaces) {
        bool exempt = vm_memory_exempt(vm, true);
        lua_newtable(L);
        replace_methods(L, co);
        vm_memory_exempt(vm, exempt);
    }
    vm->closing = &closing; /* no error is raised from here on */
    lua_State *outer = budget_enter(&vm->budget, co);
    int status = reset(co, closing.outer_co);
    budget_leave(&vm->budget, outer);
    vm->closing = closing.outer;
    if (replaces)
        restore_methods(L);
    if (closing.failed) {
        lua_settop(co, 0);
        lua_rawgeti(co, LUA_REGISTRYINDEX, closing.error_ref);
        luaL_unref(co, LUA_REGISTRYINDEX, closing.error_ref);
        status = LUA_ERRRUN;
    }
    return status;
}
