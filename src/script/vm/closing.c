/* closing.c -- closing coroutines that have not come to their end. See closing.h.
 *
 * lua_resetthread() calls the pending __close methods on the coroutine itself. There are three
 * states in which that does harm, and in which this file lets them be called on other coroutines
 * instead:
 *
 * It waits inside of an xpcall. Up to 5.4.7 Lua leaves the xpcall's message handler set, as a place
 * on the stack, and an error in a __close method would call whatever stands at that place by then,
 * or is beyond the stack's end.
 *
 * An error that was raised in a hook has killed it, which leaves its hooks off for ever: a __close
 * method that does not return could not be ended.
 *
 * It is closed by the __close method of one that is closed, and so on. Lua 5.4.4 counts the calls
 * of C by the coroutine that is closed, not by the one that closes it, and would run out of stack.
 *
 * Lua does not tell which __close methods are pending. So those of all values in the coroutine's
 * variables are replaced while it is closed. An error in one is kept beside the coroutine, never
 * raised on it. */
#include "script/vm/closing.h"

#include "script/vm/calls.h"
#include "script/vm/vm_internal.h"

/* Closings inside of closings whose methods may be called on the coroutines themselves. */
enum { NESTED_CLOSINGS = 8 };

/* One call of closing_reset(). */
struct closing {
    struct closing *outer;
    lua_State *co, *by; /* which is closed, and which ran before */
    int depth;
    bool failed;
    int error_ref; /* the last error in a method */
};

/* Does a C function wait in it for what it has called? */
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
    if (closing->failed)
        luaL_unref(L, LUA_REGISTRYINDEX, closing->error_ref);
    closing->error_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    closing->failed = true;
}

static int finish_method(lua_State *L, int status, lua_KContext context) {
    (void)L, (void)status, (void)context;
    return 0;
}

/* (value, error): calls the __close method in the upvalue; on another coroutine where L is
 * closed. */
static int call_method(lua_State *L) {
    struct vm *vm = vm_of(L);
    struct closing *closing = closing_of(vm, L);
    int results;
    lua_settop(L, 2);
    if (closing == NULL) { /* a scope that ends meanwhile */
        lua_pushvalue(L, lua_upvalueindex(1));
        lua_insert(L, 1);
        lua_callk(L, 2, 0, 0, finish_method);
        return 0;
    }
    if (budget_is_over(&vm->budget))
        return 0;
    lua_State *co = lua_newthread(L);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, 1);
    if (closing->failed)
        lua_rawgeti(L, LUA_REGISTRYINDEX, closing->error_ref);
    else
        lua_pushvalue(L, 2);
    lua_xmove(L, co, 3);
    lua_State *outer = budget_enter(&vm->budget, co);
    int status = lua_resume(co, closing->by, 2, &results);
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

/* Lets the value on top of L, which is popped, be closed by call_method(). The table at the index
 * keeps what to undo: metatables and their methods. */
static void divert(lua_State *L, int undo) {
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

static void divert_all(lua_State *L, lua_State *co) {
    int undo = lua_gettop(L);
    struct calls calls;
    lua_checkstack(co, 1);
    for (bool more = calls_first(&calls, co); more; more = calls_next(&calls)) {
        for (int i = 1; lua_getlocal(co, &calls.activation, i) != NULL; i++) {
            lua_xmove(co, L, 1);
            divert(L, undo);
        }
    }
}

/* Pops the table on top. What a script has put in a method's place meanwhile stays. */
static void undo_all(lua_State *L) {
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
                              .by = running == NULL ? vm->L : running,
                              .depth = vm->closing == NULL ? 1 : vm->closing->depth + 1};
    bool diverts = hooks_are_off || closing.depth > NESTED_CLOSINGS ||
                   (lua_status(co) == LUA_YIELD && has_pending_call(co));
    luaL_checkstack(L, 8, NULL);
    if (diverts) {
        lua_newtable(L);
        divert_all(L, co);
    }
    vm->closing = &closing; /* nothing is raised from here on */
    lua_State *outer = budget_enter(&vm->budget, co);
    int status = reset(co, closing.by);
    budget_leave(&vm->budget, outer);
    vm->closing = closing.outer;
    if (diverts)
        undo_all(L);
    if (closing.failed) {
        lua_settop(co, 0);
        lua_rawgeti(co, LUA_REGISTRYINDEX, closing.error_ref);
        luaL_unref(co, LUA_REGISTRYINDEX, closing.error_ref);
        status = LUA_ERRRUN;
    }
    return status;
}
