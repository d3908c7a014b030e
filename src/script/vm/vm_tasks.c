/* vm_tasks.c -- the tasks of a state: their pool, and those that sleep or are ready to run.
 *
 * A task has a coroutine, and runs one event after the other on it. Only vm_run.c runs tasks. */
#include "script/vm/vm_internal.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/turn.h"

static const char *const event_names[EVENT_SPAWNED] = {
#define X(upper, lower, hook) [EVENT_##upper] = #lower,
    VM_EVENTS(X)
#undef X
};

/* ---- the coroutines of tasks, by which scripts may know them ---- */

static const char tasks_key; /* its address is the key of a table: coroutine -> task */

static void note_coroutine(struct task *task, bool exists) {
    lua_State *L = task->vm->L;
    luaL_checkstack(L, 4, NULL);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &tasks_key) != LUA_TTABLE) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &tasks_key);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, task->ref); /* tasks, coroutine */
    if (exists)
        lua_pushlightuserdata(L, task);
    else
        lua_pushnil(L);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

struct task *vm_task_at(lua_State *L, int index) {
    struct task *task = NULL;
    index = lua_absindex(L, index);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &tasks_key) == LUA_TTABLE) {
        lua_pushvalue(L, index);
        lua_rawget(L, -2);
        task = lua_touserdata(L, -1);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return task;
}

/* ---- the pool ---- */

/* Not inlined: the pool seldom is empty. */
static __attribute__((noinline)) struct task *make_task(struct vm *vm) {
    struct task *task = mem_zalloc(sizeof *task);
    task->vm = vm;
    list_init(&task->link);
    bool exempt = vm_memory_exempt(vm, true);
    task->co = lua_newthread(vm->L);
    task->ref = luaL_ref(vm->L, LUA_REGISTRYINDEX);
    note_coroutine(task, true);
    vm_memory_exempt(vm, exempt);
    return task;
}

static struct task *new_task(struct vm *vm, enum vm_event event, conn_id conn) {
    struct tasks *tasks = &vm->tasks;
    struct task *task = tasks->pooled > 0 ? tasks->pool[--tasks->pooled] : make_task(vm);
    task->conn = task->owner = conn;
    task->own = NULL;
    task->valid_text = NULL;
    task->budget_ns = task->request = 0;
    task->event = event;
    task->generation = vm_generation(vm);
    task->scope = 0;
    task->arguments = -1;
    task->is_fast_path = task->is_last = false;
    return task;
}

struct task *vm_task(struct vm *vm, enum vm_event event, conn_id conn) {
    struct task *task = new_task(vm, event, conn);
    if (event < EVENT_SPAWNED)
        lua_rawgeti(task->co, LUA_REGISTRYINDEX, vm->tasks.event_refs[event]);
    return task;
}

void vm_push_object(lua_State *L, struct conn *conn) {
    int ref = conn == NULL ? 0 : hub_object_of(conn)->ref;
    if (ref == 0)
        lua_pushnil(L);
    else
        lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
}

struct task *vm_hook_task(struct vm *vm, enum vm_event event, struct conn *conn) {
    struct task *task = new_task(vm, event, hub_id_of(conn));
    task->own = conn;
    task->own_object = hub_object_of(conn)->address;
    return task;
}

static void forget_number(struct task *task) {
    slots_remove(&task->vm->tasks.numbered, task->number);
    task->number = 0;
}

/* The task begins, or ends before. */
static void note_begin(struct task *task) {
    if (task->arguments >= 0)
        task->vm->tasks.not_begun--;
    task->arguments = -1;
}

void vm_task_free(struct task *task) {
    note_begin(task);
    if (task->number != 0)
        forget_number(task);
    note_coroutine(task, false);
    luaL_unref(task->vm->L, LUA_REGISTRYINDEX, task->ref);
    mem_free(task);
}

void vm_task_done(struct task *task) {
    struct tasks *tasks = &task->vm->tasks;
    lua_settop(task->co, 0);
    if (tasks->pooled == TASKS_POOL) {
        vm_task_free(task);
        return;
    }
    if (task->number != 0)
        forget_number(task);
    task->waiting = task->woken = false;
    tasks->pool[tasks->pooled++] = task;
}

uint64_t vm_task_number(struct task *task) {
    if (task->number == 0)
        task->number = slots_add(&task->vm->tasks.numbered, task);
    return task->number;
}

bool vm_has_task(const struct vm *vm, uint64_t number) {
    return slots_find(&vm->tasks.numbered, number) != NULL;
}

/* ---- sleeping and waking ---- */

void vm_task_sleep(struct task *task) {
    struct tasks *tasks = &task->vm->tasks;
    task->waiting = true;
    list_append(task->woken ? &tasks->ready : &tasks->sleeping, &task->link);
}

bool vm_wake(struct vm *vm, uint64_t number) {
    struct task *task = slots_find(&vm->tasks.numbered, number);
    if (task == NULL)
        return false;
    if (!task->woken && task->waiting) {
        list_remove(&task->link);
        list_append(&vm->tasks.ready, &task->link);
    }
    task->woken = true;
    return true;
}

void vm_run_later(struct task *task, int arguments) {
    task->arguments = arguments;
    task->vm->tasks.not_begun++;
    task->woken = true;
    vm_task_sleep(task);
}

void vm_spawn(struct vm *vm, lua_State *L, int arguments) {
    vm_memory_check_lasting(L);
    struct task *task = vm_task(vm, EVENT_SPAWNED, 0);
    const struct task *current = vm_current(vm);
    if (current != NULL) {
        task->generation = current->generation;
        task->scope = current->scope;
    }
    if (!lua_checkstack(task->co, arguments + 1)) {
        vm_task_done(task);
        luaL_error(L, "too many arguments"); /* on the coroutine that runs, where it is caught */
    }
    lua_xmove(L, task->co, arguments + 1);
    vm_run_later(task, arguments);
}

/* Runs a ready task; tells the hub when the hook of its connection has ended. */
static void resume(struct vm *vm, struct task *task) {
    conn_id conn = task->conn;
    int arguments = task->arguments < 0 ? 0 : task->arguments;
    note_begin(task);
    task->waiting = task->woken = false;
    if (task->own != NULL) /* at the worker's end, connections are freed whose hooks sleep */
        task->own = hub_find(vm->hub, conn);
    if (vm_run_hook(task, arguments) == HOOK_DONE && conn != 0)
        hub_hook_done(vm->hub, conn);
}

bool vm_run_ready(struct vm *vm, const struct task *until) {
    struct list *ready = &vm->tasks.ready;
    struct list batch; /* tasks that are woken from now on wait for the next turn */
    bool found = false, over = false;
    uint64_t began = 0;
    list_init(&batch);
    list_move(&batch, ready);
    while (!found && !over && !list_empty(&batch)) {
        struct task *task = LIST_OWNER(batch.next, struct task, link);
        list_remove(&task->link);
        found = task == until;
        if (!found) {
            if (began == 0 && !list_empty(&batch)) /* a single task needs no clock */
                began = clock_monotonic_ns();
            resume(vm, task);
            over = began != 0 && clock_monotonic_ns() - began >= TURN_SLICE_NS;
        }
    }
    list_move(&batch, ready);
    list_move(ready, &batch); /* the rest of the batch comes first */
    return found;
}

/* ---- the turn of the loop ---- */

void vm_turn(struct vm *vm) {
    if (vm->timers_wait)
        vm->options.bindings->run_timers(vm);
    if (!list_empty(&vm->tasks.ready))
        vm_run_ready(vm, NULL);
    if (vm_has_finalizers(vm))
        vm->options.bindings->run_finalizers(vm);
    vm_memory_turn(vm);
}

void vm_before_sleep(struct vm *vm) {
    if (vm->timers_wait)
        vm->options.bindings->arm_timers(vm);
}

bool vm_has_pending(const struct vm *vm) {
    return !list_empty(&vm->tasks.ready) || vm_has_finalizers(vm);
}

/* ---- finding tasks ---- */

/* The first sleeping task of the scope, or else the first ready one. 0: a task that loads an app.
 */
static struct task *find(struct vm *vm, unsigned scope) {
    struct list *const lists[] = {&vm->tasks.sleeping, &vm->tasks.ready};
    for (int i = 0; i < 2; i++)
        for (struct list *at = lists[i]->next; at != lists[i]; at = at->next) {
            struct task *task = LIST_OWNER(at, struct task, link);
            if (scope == 0 ? vm_is_loading(task) : task->scope == scope)
                return task;
        }
    return NULL;
}

struct task *vm_find_load(struct vm *vm) {
    return find(vm, 0);
}

void vm_end_scope(struct vm *vm, unsigned scope) {
    for (struct task *task; (task = find(vm, scope)) != NULL;) {
        list_remove(&task->link);
        vm_end_task(task);
    }
}

void vm_generations(struct vm *vm, void (*f)(void *user, unsigned generation), void *user) {
    struct list *sleeping = &vm->tasks.sleeping;
    for (struct list *at = sleeping->next; at != sleeping; at = at->next)
        f(user, LIST_OWNER(at, struct task, link)->generation);
}

/* ---- life ---- */

void vm_tasks_init(struct vm *vm) {
    list_init(&vm->tasks.ready);
    list_init(&vm->tasks.sleeping);
}

void vm_tasks_open(struct vm *vm, lua_State *L) {
    for (int i = 0; i < EVENT_SPAWNED; i++) {
        if (lua_getfield(L, -1, event_names[i]) != LUA_TFUNCTION)
            luaL_error(L, "dispatch.lua has no function \"%s\"", event_names[i]);
        vm->tasks.event_refs[i] = luaL_ref(L, LUA_REGISTRYINDEX);
    }
}

static void free_tasks(struct list *list) {
    while (!list_empty(list)) {
        struct task *task = LIST_OWNER(list->next, struct task, link);
        list_remove(&task->link);
        mem_free(task);
    }
}

void vm_tasks_close(struct vm *vm) {
    while (vm->tasks.pooled > 0)
        mem_free(vm->tasks.pool[--vm->tasks.pooled]);
    free_tasks(&vm->tasks.ready);
    free_tasks(&vm->tasks.sleeping);
    slots_close(&vm->tasks.numbered);
}
