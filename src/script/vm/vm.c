/* vm.c -- one worker's Lua state: making and closing it. See vm.h. */
#include "script/vm/vm.h"

#include "base/log/log.h"
#include "base/mem.h"
#include "script/json/json_c.h"
#include "script/jwt/jwt_c.h"
#include "script/vm/app.h"
#include "script/vm/calls.h"
#include "script/vm/library.h"
#include "script/vm/vm_internal.h"
#include "script/vm/warning.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- the library ---- */

/* Replaces functions of Lua's by those of guarded.lua. */
static void replace_functions(lua_State *L) {
    lua_getglobal(L, "require");
    lua_pushliteral(L, "tidewire.guarded");
    lua_call(L, 1, 1);              /* guarded */
    lua_getfield(L, -1, "install"); /* guarded, install */
    lua_pushglobaltable(L);
    lua_call(L, 1, 0);
    lua_pop(L, 1);
}

int vm_print(lua_State *L) {
    int count = lua_gettop(L);
    luaL_Buffer line;
    luaL_buffinit(L, &line);
    for (int i = 1; i <= count; i++) {
        if (i > 1)
            luaL_addchar(&line, '\t');
        luaL_tolstring(L, i, NULL);
        luaL_addvalue(&line);
    }
    luaL_addchar(&line, '\n');
    luaL_pushresult(&line);
    size_t len;
    const char *bytes = lua_tolstring(L, -1, &len);
    if (ftrylockfile(stdout) == 0) { /* else another worker's io.write waits for a reader */
        fflush(stdout);              /* the bytes that io.write has left come first */
        funlockfile(stdout);
    }
    log_output(bytes, len);
    return 0;
}

void vm_open_library(lua_State *L, void (*open)(lua_State *L)) {
    luaL_openlibs(L);
    lua_register(L, "print", vm_print);
    warning_open(L);
    budget_open(vm_of(L));
    calls_open(L);
    open(L);
    library_preload(L);
}

/* The part of vm_new() that may raise errors. */
static int open_library(lua_State *L) {
    struct vm *vm = vm_of(L);
    fast_path_open(vm, L);
    vm_open_library(L, vm->options.bindings->open);
    luaL_requiref(L, "tidewire.json_c", luaopen_tidewire_json_c, 0);
    luaL_requiref(L, "tidewire.jwt_c", luaopen_tidewire_jwt_c, 0);
    lua_pop(L, 2);
    replace_functions(L);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "tidewire.dispatch");
    lua_call(L, 1, 1); /* events */
    vm_tasks_open(vm, L);
    return 0;
}

static int with_traceback(lua_State *L) {
    luaL_traceback(L, L, luaL_tolstring(L, 1, NULL), 1);
    return 1;
}

/* An error that nothing protects, which does not happen. The program aborts afterwards. */
static int on_panic(lua_State *L) {
    const char *why = lua_tostring(L, -1);
    fprintf(stderr, "tidewire: %s\n", why == NULL ? "an error without a text" : why);
    return 0;
}

void vm_make_state(struct vm *vm) {
    vm->L = lua_newstate(lua_memory_alloc, &vm->memory.blocks);
    if (vm->L == NULL)
        abort();
    lua_atpanic(vm->L, on_panic);
    *(struct vm **)lua_getextraspace(vm->L) = vm;
    lua_gc(vm->L, LUA_GCGEN, 0, 0); /* measured, see docs/architecture.md */
}

struct vm *vm_new(const struct vm_options *options) {
    struct vm *vm = mem_zalloc(sizeof *vm);
    vm->options = *options;
    vm->hub = options->hub;
    vm->stats = hub_stats(options->hub);
    vm->loop = options->loop;
    vm_load_init(vm);
    vm_tasks_init(vm);
    vm_memory_init(vm);
    vm->options.bindings->prepare(vm);
    vm_make_state(vm);
    lua_pushcfunction(vm->L, with_traceback);
    lua_pushcfunction(vm->L, open_library);
    if (lua_pcall(vm->L, 0, 0, 1) != LUA_OK) {
        log_event(LOG_ERROR, "internal_error", lua_tostring(vm->L, -1));
        vm_free(vm);
        return NULL;
    }
    lua_settop(vm->L, 0);
    hub_set_events(vm->hub, &vm_hub_events, vm);
    return vm;
}

struct budget *vm_budget(struct vm *vm) {
    return &vm->budget;
}

uint64_t vm_runs(const struct vm *vm) {
    return budget_run(&vm->budget);
}

void vm_close_handles(struct vm *vm) {
    vm->options.bindings->close_handles(vm);
}

bool vm_has_pool_calls(const struct vm *vm) {
    return vm->options.bindings->has_pool_calls(vm);
}

bool vm_has_threads(const struct vm *vm) {
    return vm->options.bindings->threads_running() > 0;
}

void vm_timers(struct vm *vm, void (*f)(void *user, unsigned generation, const char *where),
               void *user) {
    vm->options.bindings->each_timer(vm, f, user);
}

void vm_free(struct vm *vm) {
    if (vm == NULL)
        return;
    vm->options.bindings->join_threads(vm->L);
    lua_close(vm->L); /* the coroutines end with it */
    budget_free(vm);
    vm_load_close(vm);
    vm_tasks_close(vm);
    vm->options.bindings->close(vm);
    fast_path_close(vm);
    lua_memory_close(&vm->memory.blocks);
    mem_free(vm);
}

/* ---- the state that outlives the process ---- */

/* What one run of such an event may take: a large table takes a while. */
static const uint64_t state_budget_ns = UINT64_C(60) * 1000000000;

static void run_state_event(struct vm *vm, enum vm_event event) {
    struct task *task = vm_task(vm, event, 0);
    task->budget_ns = state_budget_ns;
    if (vm_run_to_end(task, 0) == RUN_RETURNED)
        vm_task_done(task);
}

void vm_take_state(struct vm *vm) {
    run_state_event(vm, EVENT_TAKE_STATE);
}

void vm_save_state(struct vm *vm) {
    run_state_event(vm, EVENT_SAVE_STATE);
}

/* ---- the end ---- */

void vm_stop_app(struct vm *vm) {
    struct task *task = vm_task(vm, EVENT_STOP, 0);
    vm->stop_task = vm_task_number(task);
    vm_run_hook(task, 0);
}

bool vm_is_stopping(const struct vm *vm) {
    return vm_has_task(vm, vm->stop_task);
}
