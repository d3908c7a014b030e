/* vm.c -- one worker's Lua state: making it, loading an app into it, closing it. See vm.h. */
#include "script/vm/vm.h"

#include "base/log/log.h"
#include "base/mem.h"
#include "script/http_client/http_client.h"
#include "script/json/json_c.h"
#include "script/jwt/jwt_c.h"
#include "script/vm/app.h"
#include "script/vm/calls.h"
#include "script/vm/embedded.h"
#include "script/vm/vm_internal.h"
#include "script/vm/warning.h"
#include "tidewire_version.h"

#include <stdio.h>

static const char *const event_names[] = {
#define X(upper, lower) [EVENT_##upper] = #lower,
    VM_EVENTS(X)
#undef X
};

/* ---- the library ---- */

/* A module of the binary; the upvalue is its entry. */
static int load_embedded(lua_State *L) {
    const struct embedded_file *file = lua_touserdata(L, lua_upvalueindex(1));
    if (luaL_loadbufferx(L, (const char *)file->bytes, file->size, file->chunkname, "t") != LUA_OK)
        return lua_error(L);
    lua_pushstring(L, file->name);
    lua_call(L, 1, 1);
    return 1;
}

/* core.check_address(text) -> true | nil, message */
static int core_check_address(lua_State *L) {
    const struct vm *vm = vm_of(L);
    char error[256];
    if (vm->options.check_address == NULL ||
        vm->options.check_address(luaL_checkstring(L, 1), error, sizeof error)) {
        lua_pushboolean(L, 1);
        return 1;
    }
    luaL_pushfail(L);
    lua_pushstring(L, error);
    return 2;
}

/* core.check_certificate(certificate, key) -> true | nil, message */
static int core_check_certificate(lua_State *L) {
    const struct vm *vm = vm_of(L);
    char error[1024];
    const char *certificate = luaL_checkstring(L, 1), *key = luaL_checkstring(L, 2);
    if (vm->options.check_certificate == NULL ||
        vm->options.check_certificate(certificate, key, error, sizeof error)) {
        lua_pushboolean(L, 1);
        return 1;
    }
    luaL_pushfail(L);
    lua_pushstring(L, error);
    return 2;
}

static int open_core(lua_State *L) {
    struct vm *vm = vm_of(L);
    lua_newtable(L); /* core */
    luaL_setfuncs(L, bind_conn_functions, 0);
    luaL_setfuncs(L, bind_limits_functions, 0);
    luaL_setfuncs(L, bind_room_functions, 0);
    luaL_setfuncs(L, bind_shared_functions, 0);
    luaL_setfuncs(L, bind_task_functions, 0);
    luaL_setfuncs(L, bind_timers_functions, 0);
    luaL_setfuncs(L, bind_http_client_functions, 0);
    luaL_setfuncs(L, bind_server_functions, 0);
    luaL_setfuncs(L, core_reload_functions, 0);
    luaL_setfuncs(L, bind_guarded_functions, 0);
    luaL_setfuncs(L, bind_process_functions, 0);
    lua_pushcfunction(L, core_check_address);
    lua_setfield(L, -2, "check_address");
    lua_pushcfunction(L, core_check_certificate);
    lua_setfield(L, -2, "check_certificate");
    bind_limits_push_close_codes(L);
    lua_setfield(L, -2, "close_codes");
    bind_limits_push(L);
    lua_setfield(L, -2, "limits");
    bind_conn_push_senders(L);
    lua_setfield(L, -2, "senders");
    bind_guarded_push(L);
    lua_setfield(L, -2, "guarded");
    bind_conn_push_key(L);
    lua_setfield(L, -2, "conn_key");
    vm_push_wait_marker(L);
    lua_setfield(L, -2, "wait_marker");
    vm_push_exit_marker(L);
    lua_setfield(L, -2, "exit_marker");
    lua_pushliteral(L, TIDEWIRE_VERSION);
    lua_setfield(L, -2, "version");
    lua_pushinteger(L, vm->options.worker);
    lua_setfield(L, -2, "worker");
    return 1;
}

/* Puts the functions of guarded.lua in the place of Lua's own. */
static void replace_functions(lua_State *L) {
    lua_getglobal(L, "require");
    lua_pushliteral(L, "tidewire.guarded");
    lua_call(L, 1, 1);              /* guarded */
    lua_getfield(L, -1, "install"); /* guarded, install */
    lua_pushglobaltable(L);
    lua_call(L, 1, 0);
    lua_pop(L, 1);
}

/* print, but the line is written in one piece: other workers print to the same stream. */
static int print_line(lua_State *L) {
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
        fflush(stdout);              /* what io.write has begun comes before */
        funlockfile(stdout);
    }
    log_output(bytes, len);
    return 0;
}

/* Everything that may throw on the way to a ready state. */
static int open_library(lua_State *L) {
    struct vm *vm = vm_of(L);
    luaL_openlibs(L);
    lua_register(L, "print", print_line);
    warning_open(L);
    budget_open(vm);
    calls_open(L);
    bind_guarded_open(vm);
    luv_bridge_open(vm);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE); /* preload */
    for (const struct embedded_file *file = embedded_files; file->name != NULL; file++) {
        lua_pushlightuserdata(L, (void *)(uintptr_t)file);
        lua_pushcclosure(L, load_embedded, 1);
        lua_setfield(L, -2, file->name);
    }
    lua_pop(L, 1);
    luaL_requiref(L, "tidewire.core", open_core, 0);
    luaL_requiref(L, "tidewire.json_c", luaopen_tidewire_json_c, 0);
    luaL_requiref(L, "tidewire.jwt_c", luaopen_tidewire_jwt_c, 0);
    lua_pop(L, 3);
    replace_functions(L);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "tidewire.dispatch");
    lua_call(L, 1, 1); /* events */
    for (int i = 0; i < EVENT_SPAWNED; i++) {
        if (lua_getfield(L, -1, event_names[i]) != LUA_TFUNCTION)
            return luaL_error(L, "dispatch.lua has no function \"%s\"", event_names[i]);
        vm->event_refs[i] = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    lua_getfield(L, -1, "conns");
    fast_path_open(vm, L);
    return 0;
}

static int with_traceback(lua_State *L) {
    luaL_traceback(L, L, luaL_tolstring(L, 1, NULL), 1);
    return 1;
}

struct vm *vm_new(const struct vm_options *options) {
    struct vm *vm = mem_zalloc(sizeof *vm);
    vm->options = *options;
    vm->hub = options->hub;
    vm->loop = options->loop;
    vm->generation = vm->loading = 1;
    list_init(&vm->pool);
    list_init(&vm->ready);
    list_init(&vm->sleeping);
    bind_timers_open(vm);
    vm->L = luaL_newstate();
    *(struct vm **)lua_getextraspace(vm->L) = vm;
    lua_gc(vm->L, LUA_GCGEN, 0,
           0); /* messages are short-lived: measured, see docs/architecture.md */
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

static void free_tasks(struct list *list) {
    while (!list_empty(list)) {
        struct task *task = LIST_OWNER(list->next, struct task, link);
        list_remove(&task->link);
        mem_free(task);
    }
}

static void close_own_handles(struct vm *vm) {
    bind_timers_end_all(vm);
    http_client_free(vm->http);
    vm->http = NULL;
}

void vm_close_handles(struct vm *vm) {
    close_own_handles(vm);
    luv_bridge_close_handles(vm);
}

bool vm_has_threads(void) {
    return luv_running_threads() > 0;
}

void vm_free(struct vm *vm) {
    if (vm == NULL)
        return;
    luv_join_threads(vm->L);
    lua_close(vm->L); /* the coroutines end with it */
    budget_free(vm);
    close_own_handles(vm); /* what finalizers have opened just now */
    mem_free(vm->sources);
    free_tasks(&vm->pool);
    free_tasks(&vm->ready);
    free_tasks(&vm->sleeping);
    slots_close(&vm->tasks);
    bind_timers_close(vm);
    slots_close(&vm->timers);
    fast_path_close(vm);
    mem_free(vm);
}

/* ---- loading an app ---- */

static void push_text(lua_State *L, const char *name, const char *text) {
    if (text == NULL)
        return;
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}

void vm_push_command_line(lua_State *L, const struct vm_command_line *line) {
    lua_newtable(L); /* command_line */
    push_text(L, "workers", line->workers);
    push_text(L, "admin", line->admin);
    push_text(L, "tls_certificate", line->tls_certificate);
    push_text(L, "tls_key", line->tls_key);
    lua_pushboolean(L, line->is_check);
    lua_setfield(L, -2, "is_check");
    if (line->listen_count == 0)
        return;
    lua_newtable(L);
    for (size_t i = 0; i < line->listen_count; i++) {
        lua_pushstring(L, line->listen[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "listen");
}

/* What the workers have said of why they cannot load, over all of them: for the most part it is the
 * same. */
static struct {
    uv_once_t once;
    uv_mutex_t lock;
    char **texts;
    size_t count;
} said = {.once = UV_ONCE_INIT};

static void init_said(void) {
    uv_mutex_init(&said.lock);
}

static bool was_said(const char *text) {
    bool found = false;
    for (size_t i = 0; i < said.count && !found; i++)
        found = strcmp(said.texts[i], text) == 0;
    return found;
}

bool vm_says_first(const char *text) {
    uv_once(&said.once, init_said);
    uv_mutex_lock(&said.lock);
    bool first = !was_said(text);
    if (first) {
        said.texts = mem_realloc(said.texts, (said.count + 1) * sizeof *said.texts);
        said.texts[said.count++] = mem_strdup(text); /* for as long as the process lives */
    }
    uv_mutex_unlock(&said.lock);
    return first;
}

static void print_problems(lua_State *L, int index) {
    lua_Integer count = (lua_Integer)lua_rawlen(L, index);
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(L, index, i);
        if (vm_says_first(lua_tostring(L, -1)))
            log_print(lua_tostring(L, -1));
        lua_pop(L, 1);
    }
}

/* Lets the loop go on until a sleeping task has ended; its results are on its stack then. */
static bool wait_for(struct vm *vm, struct task *task) {
    while (task->waiting && !vm->load_stopped) {
        vm_before_sleep(vm);
        if (!uv_run(vm->loop, vm_has_pending(vm) ? UV_RUN_NOWAIT : UV_RUN_ONCE) &&
            !vm_has_pending(vm) && !bind_timers_wait(vm))
            return false; /* nothing will ever wake it */
        bind_timers_run(vm);
        if (vm_run_ready(vm, task)) {
            task->waiting = task->woken = false;
            if (vm_run(task, 0) == RUN_FAILED)
                return false;
        }
        bind_guarded_run_finalizers(vm);
    }
    return !task->waiting;
}

void vm_stop_load(struct vm *vm) {
    vm->load_stopped = true;
}

struct app *vm_load(struct vm *vm, const char *file, const struct vm_command_line *command_line) {
    struct task *task = vm_task(vm, EVENT_LOAD, 0);
    vm->load_over = false;
    lua_pushstring(task->co, file);
    task->scope = task->generation = vm->generation;
    vm_push_command_line(task->co, command_line);
    switch (vm_run(task, 2)) {
    case RUN_FAILED:
        return NULL;
    case RUN_SLEEPS:
        if (!wait_for(vm, task)) {
            static const char why[] = "the script's top level waits for something that never comes";
            if (!vm->load_stopped && !vm->load_over && vm_says_first(why))
                log_event(LOG_ERROR, "start_failed", why);
            return NULL;
        }
        break;
    case RUN_RETURNED:
        break;
    }
    struct app *app = NULL;
    if (lua_istable(task->co, 1))
        app = app_read(task->co, 1);
    else if (lua_istable(task->co, 2))
        print_problems(task->co, 2);
    if (app != NULL)
        vm->sources = mem_strdup(app->sources);
    vm_task_done(task);
    return app;
}

/* ---- the end ---- */

void vm_stop_app(struct vm *vm) {
    struct task *task = vm_task(vm, EVENT_STOP, 0);
    vm->stop_task = vm_task_number(task);
    vm_run_hook(task, 0);
}

bool vm_is_stopping(const struct vm *vm) {
    return slots_find(&vm->tasks, vm->stop_task) != NULL;
}
