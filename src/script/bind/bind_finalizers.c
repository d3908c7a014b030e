/* bind_finalizers.c -- finalizers of scripts, which the loop calls.
 *
 * Lua calls a finalizer in the middle of the code that happens to allocate memory: the finalizer
 * could not wait, and a run that is over could not be ended in it (budget.c). Here setmetatable
 * hides __gc from Lua, and each finalizer runs as a task of its own; those of one turn of the loop
 * run for TURN_SLICE_NS.
 *
 * An object whose metatable has __gc is not marked for finalization itself. Its sentinel is: a
 * userdata that only the ephemeron table `sentinels` keeps, for as long as the object lives. The
 * sentinel's __gc puts the object into a list, from which the loop takes it. */
#include "script/bind/bind.h"

#include "base/clock.h"
#include "base/turn.h"

/* Their addresses are keys of the registry. */
static const char sentinels_key, sentinel_metatable_key;

/* A sentinel's __gc: nothing refers to its object any longer. */
static int on_dead(lua_State *L) {
    struct vm *vm = vm_of(L);
    lua_settop(L, 1);
    if (lua_getiuservalue(L, 1, 1) == LUA_TNIL) /* sentinel, object */
        return 0;
    bool exempt = vm_memory_exempt(vm, true); /* else the finalizer could be lost */
    lua_rawgetp(L, LUA_REGISTRYINDEX, &sentinels_key);
    lua_pushvalue(L, 2);
    lua_pushnil(L);
    lua_rawset(L, 3); /* the object may get another sentinel */
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->finalizers.list_ref);
    lua_pushvalue(L, 2);
    lua_rawseti(L, -2, vm->finalizers.after);
    vm->finalizers.after++;
    vm_memory_exempt(vm, exempt);
    return 0;
}

/* Gives the object at index 1 a sentinel, unless it has one. */
static void add_sentinel(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &sentinels_key);
    lua_pushvalue(L, 1);
    if (lua_rawget(L, -2) != LUA_TNIL) {
        lua_pop(L, 2);
        return;
    }
    lua_pop(L, 1);
    lua_newuserdatauv(L, 0, 1); /* sentinels, sentinel */
    lua_rawgetp(L, LUA_REGISTRYINDEX, &sentinel_metatable_key);
    lua_setmetatable(L, -2);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, -2); /* sentinels, sentinel, object, sentinel */
    lua_rawset(L, -4);
    lua_pushvalue(L, 1);
    lua_setiuservalue(
        L, -2, 1); /* last: a call before may throw, and leave a sentinel without an object */
    lua_pop(L, 2);
}

/* Gives the object at index 1 the metatable at index 2, which has no __gc meanwhile. */
static void set_metatable(lua_State *L) {
    lua_settop(L, 2);
    if (lua_istable(L, 2) && (lua_istable(L, 1) || lua_type(L, 1) == LUA_TUSERDATA)) {
        lua_pushliteral(L, "__gc");
        if (lua_rawget(L, 2) != LUA_TNIL) { /* object, metatable, finalizer */
            add_sentinel(L);
            lua_pushliteral(L, "__gc");
            lua_pushnil(L);
            lua_rawset(L, 2);
            lua_pushvalue(L, 2);
            lua_setmetatable(L, 1);
            lua_pushliteral(L, "__gc");
            lua_pushvalue(L, 3);
            lua_rawset(L, 2);
            return;
        }
        lua_settop(L, 2);
    }
    lua_setmetatable(L, 1);
}

static void check_metatable(lua_State *L) {
    int type = lua_type(L, 2);
    luaL_argexpected(L, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table");
}

/* setmetatable */
static int guarded_setmetatable(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    check_metatable(L);
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
        return luaL_error(L, "cannot change a protected metatable");
    set_metatable(L);
    lua_settop(L, 1);
    return 1;
}

/* debug.setmetatable */
static int guarded_debug_setmetatable(lua_State *L) {
    check_metatable(L);
    set_metatable(L);
    lua_settop(L, 1);
    return 1;
}

/* Takes the first object from the list on top of L, and runs its finalizer. */
static void finalize(struct vm *vm, lua_State *L) {
    struct task *task = vm_task(vm, EVENT_FINALIZER, 0);
    lua_rawgeti(L, -1, vm->finalizers.first);
    lua_pushnil(L);
    lua_rawseti(L, -3, vm->finalizers.first);
    vm->finalizers.first++;
    lua_xmove(L, task->co, 1); /* its stack: object */
    if (lua_getmetatable(task->co, 1)) {
        lua_pushliteral(task->co, "__gc");
        if (lua_rawget(task->co, -2) == LUA_TFUNCTION) { /* object, metatable, finalizer */
            lua_replace(task->co, 2);
            lua_insert(task->co, 1); /* finalizer, object */
            vm_run_hook(task, 1);
            return;
        }
    }
    vm_task_done(task); /* the finalizer was removed since, or is no function, as Lua allows */
}

void bind_finalizers_run(struct vm *vm) {
    lua_State *L = vm->L;
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->finalizers.list_ref);
    uint64_t began = clock_monotonic_ns();
    do
        finalize(vm, L);
    while (vm_has_finalizers(vm) && clock_monotonic_ns() - began < TURN_SLICE_NS);
    lua_pop(L, 1);
}

void bind_finalizers_open(lua_State *L) {
    struct vm *vm = vm_of(L);
    lua_newtable(L); /* sentinels */
    lua_newtable(L);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &sentinels_key);
    lua_newtable(L);
    lua_pushcfunction(L, on_dead);
    lua_setfield(L, -2, "__gc");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &sentinel_metatable_key);
    lua_newtable(L);
    vm->finalizers.list_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    vm->finalizers.first = vm->finalizers.after = 1;
}

void bind_finalizers_add_functions(lua_State *L) {
    lua_pushcfunction(L, guarded_setmetatable);
    lua_setfield(L, -2, "setmetatable");
    lua_pushcfunction(L, guarded_debug_setmetatable);
    lua_setfield(L, -2, "debug_setmetatable");
}
