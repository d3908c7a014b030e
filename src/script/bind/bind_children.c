/* bind_children.c -- tidewire.core: programs that scripts run, known to Lua by an integer.
 *
 * run.lua makes tw.run of these functions. A task that waits is woken when something has happened,
 * and looks; C calls no function of Lua's. Input and output are memory of the scripts. */
#include "script/bind/bind.h"

#include "script/children/children.h"

static const char *const output_names[] = {"stdout", "stderr", NULL};

static void on_event(void *vm, uint64_t task) {
    vm_wake(vm, task);
}

/* Outside of runs Lua's allocator has no limit, so the limit is asked for here. */
static void *resize(void *user, void *block, size_t old_size, size_t size) {
    struct vm *vm = user;
    void *memory;
    lua_Alloc alloc = lua_getallocf(vm->L, &memory);
    if (size > old_size && !vm_memory_has_room(vm, size))
        return NULL;
    return block == NULL && size == 0 ? NULL
                                      : alloc(memory, block, block == NULL ? 0 : old_size, size);
}

/* Pushes an array of the list's strings, which the list keeps, with NULL at the end. */
static char **push_strings(lua_State *L, int index) {
    luaL_checktype(L, index, LUA_TTABLE);
    lua_Integer count = (lua_Integer)lua_rawlen(L, index);
    char **strings = lua_newuserdatauv(L, ((size_t)count + 1) * sizeof *strings, 0);
    for (lua_Integer i = 0; i < count; i++) {
        lua_rawgeti(L, index, i + 1);
        strings[i] = (char *)(uintptr_t)luaL_checkstring(L, -1);
        lua_pop(L, 1);
    }
    strings[count] = NULL;
    return strings;
}

static struct children *children_of(struct vm *vm) {
    if (vm->children == NULL)
        vm->children = children_new(vm->loop, &(struct children_owner){resize, on_event, vm});
    return vm->children;
}

/* core.child_start(task, arguments, environment, cwd|nil, input|nil, max_output, seconds,
 *                  takes_stdout, takes_stderr) -> child
 * arguments: a list of strings, at least one; environment: the same of "NAME=value". The caller
 * must call core.child_end. */
static int core_child_start(lua_State *L) {
    struct vm *vm = vm_of(L);
    uint64_t task = (uint64_t)luaL_checkinteger(L, 1);
    lua_Integer max_output = luaL_checkinteger(L, 6);
    lua_Number seconds = luaL_checknumber(L, 7);
    luaL_argcheck(L, max_output >= 0 && max_output <= INT64_C(1) << 40, 6, "0 to 2^40 expected");
    luaL_argcheck(L, seconds > 0 && seconds <= 1e9, 7, "0 to 1e9 expected");
    struct child_options options = {
        .launch.folder = luaL_optstring(L, 4, NULL),
        .input = bind_opt_text(L, 5),
        .max_output = (size_t)max_output,
        .timeout_ms = (uint64_t)(seconds * 1000) + 1,
        .is_taken = {lua_toboolean(L, 8), lua_toboolean(L, 9)},
    };
    options.launch.arguments = push_strings(L, 2);
    options.launch.environment = push_strings(L, 3);
    luaL_argcheck(L, options.launch.arguments[0] != NULL, 2, "a program is expected");
    lua_pushinteger(L, (lua_Integer)children_start(children_of(vm), &options, task));
    return 1;
}

/* core.child_take(child, "stdout"|"stderr") -> the output that has come since; "": none */
static int core_child_take(lua_State *L) {
    struct children *children = children_of(vm_of(L));
    uint64_t number = (uint64_t)luaL_checkinteger(L, 1);
    int which = luaL_checkoption(L, 2, NULL, output_names);
    struct slice taken = children_take(children, number, (enum child_output)which);
    lua_pushlstring(L, taken.len == 0 ? "" : taken.bytes, taken.len);
    return 1;
}

/* core.child_wait(child): wakes its task once, when it ends or has output to take. */
static int core_child_wait(lua_State *L) {
    children_wait(children_of(vm_of(L)), (uint64_t)luaL_checkinteger(L, 1));
    return 0;
}

/* core.child_result(child) -> code, signal, stdout, stderr: code -1: a signal has ended it
 *      | nil, message | nothing: it has not ended */
static int core_child_result(lua_State *L) {
    struct child_result result;
    if (!children_result(children_of(vm_of(L)), (uint64_t)luaL_checkinteger(L, 1), &result))
        return 0;
    if (result.problem != NULL)
        return bind_push_failure(L, result.problem);
    lua_pushinteger(L, result.code);
    lua_pushinteger(L, result.signal);
    for (int i = 0; i < CHILD_OUTPUTS; i++)
        lua_pushlstring(L, result.output[i].len == 0 ? "" : result.output[i].bytes,
                        result.output[i].len);
    return 4;
}

/* core.child_end(child): forgets it, and ends its processes if they run. */
static int core_child_end(lua_State *L) {
    children_end(children_of(vm_of(L)), (uint64_t)luaL_checkinteger(L, 1));
    return 0;
}

const luaL_Reg bind_children_functions[] = {
    {"child_start", core_child_start}, {"child_take", core_child_take},
    {"child_wait", core_child_wait},   {"child_result", core_child_result},
    {"child_end", core_child_end},     {NULL, NULL},
};

void bind_children_end_all(struct vm *vm) {
    if (vm->children != NULL)
        children_end_all(vm->children);
}

void bind_children_close(struct vm *vm) {
    children_free(vm->children);
    vm->children = NULL;
}
