/* vm_memory.c -- the limit of a state's memory: which code has it, and what follows when it is
 * reached. See vm_memory.h.
 *
 * An allocation beyond the limit fails where a run protects it: Lua collects its garbage, asks once
 * more, and raises an error, which ends the hook. The code that reports the error needs memory as
 * well. So error handling and on_close have a reserve above the limit. C code that pushes values
 * for a run that has not begun has no limit: an error there would end the process. What it pushes
 * has limits of its own (max_message_size, header_bytes), and the run fails at its first
 * allocation. */
#include "script/vm/vm_memory.h"

#include "base/clock.h"
#include "base/log/log.h"
#include "base/mem.h"
#include "script/vm/vm_internal.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>

/* The reserve is a part of the limit, between these. */
enum { RESERVE_PART = 16, RESERVE_MIN = 512 * 1024, RESERVE_MAX = 16 * 1024 * 1024 };

/* Memory is full when a collection leaves less than this part of the limit free. With less than the
 * other part, runs are refused for so many times as long as the collection took. */
enum { FULL_PART = 16, NO_ROOM_PART = 64, REFUSED_TIMES = 8 };

/* Of the limit, this part is for objects that a hook does not leave behind, and no reload does. */
enum { FREE_PART = 8, LASTING_BYTES = 2048, BEGIN_BYTES = 1024, REF_BYTES = 16 };

/* Lua's own: the collector visits young objects when the memory has grown by so many percent, and
 * all objects when it has doubled. */
enum { MINOR_PERCENT = 20 };

static const uint64_t WARN_NS = 60 * 1000000000ull;

/* The shortest time between two collections because malloc fails. */
enum { RELIEVE_NS = 20 * 1000 * 1000 };

static const char not_enough[] = "not enough memory"; /* Lua's own text */

/* ---- the limit ---- */

static size_t reserve_of(size_t limit) {
    size_t part = limit / RESERVE_PART;
    return part < RESERVE_MIN ? RESERVE_MIN : part > RESERVE_MAX ? RESERVE_MAX : part;
}

/* What the running task may have above the limit. SIZE_MAX: no allocation of it may fail. */
static size_t extra_of(const struct task *task, size_t limit) {
    if (task == NULL)
        return 0;
    if (task->is_last)
        return SIZE_MAX;
    switch (task->event) {
    case EVENT_ACTIVATE: /* half a reload would leave no code that works */
    case EVENT_DISCARD:
        return SIZE_MAX;
    case EVENT_FAILED:
    case EVENT_RETURNED:
        return reserve_of(limit);
    case EVENT_CLOSED:
    case EVENT_STOP:
        return reserve_of(limit) / 2; /* the rest is for an error in it */
    default:
        return 0;
    }
}

/* For struct lua_memory. */
static size_t limit_now(void *user) {
    const struct vm *vm = user;
    size_t limit = vm->memory.blocks.bound;
    if (vm->memory.exempt || budget_running(&vm->budget) == NULL)
        return SIZE_MAX;
    size_t extra = extra_of(vm_current(vm), limit);
    if (extra == SIZE_MAX)
        return SIZE_MAX;
    return limit == SIZE_MAX ? SIZE_MAX - 1 : limit + extra;
}

/* ---- full stacks ---- */

static void let_collect(struct vm *vm) {
    if (vm->memory.is_stopped && lua_gc(vm->L, LUA_GCRESTART) == 0) /* else it is in a finalizer */
        vm->memory.is_stopped = false;
}

/* For struct lua_memory: nothing is collected while a run has a full stack. The collector would
 * call finalizers there, for which the stack has no room: each would fail and be lost, after two
 * copies of 16 MB. */
static void on_full_stack(void *user, bool is_full) {
    struct vm *vm = user;
    if (!is_full) {
        let_collect(vm);
    } else if (vm->L != NULL && lua_gc(vm->L, LUA_GCISRUNNING) == 1) {
        lua_gc(vm->L, LUA_GCSTOP);
        vm->memory.is_stopped = true;
    }
}

/* For struct lua_memory: without a debt, the next allocation of an object begins a collection. */
static void collect_soon(void *user) {
    struct vm *vm = user;
    if (vm->L != NULL && lua_gc(vm->L, LUA_GCISRUNNING) == 1)
        lua_gc(vm->L, LUA_GCRESTART);
}

void vm_memory_init(struct vm *vm) {
    lua_memory_set_limit(&vm->memory.blocks, SIZE_MAX);
    vm->memory.blocks.limit_now = limit_now;
    vm->memory.blocks.collect_soon = collect_soon;
    vm->memory.blocks.on_full_stack = on_full_stack;
    vm->memory.blocks.user = vm;
    vm->memory.minor_percent = MINOR_PERCENT;
}

static atomic_size_t newest_limit = SIZE_MAX;

size_t vm_memory_newest_limit(void) {
    return atomic_load_explicit(&newest_limit, memory_order_relaxed);
}

void vm_memory_set_limit(struct vm *vm, size_t bytes) {
    atomic_store_explicit(&newest_limit, bytes, memory_order_relaxed);
    lua_memory_set_limit(&vm->memory.blocks, bytes);
    vm->memory.lasting_next = 0;
    atomic_store_explicit(&vm->stats->lua_memory_limit_bytes, bytes, memory_order_relaxed);
}

bool vm_memory_exempt(struct vm *vm, bool exempt) {
    bool outer = vm->memory.exempt;
    vm->memory.exempt = exempt;
    return outer;
}

static void raise_error(lua_State *L, size_t size, bool by_system) {
    lua_memory_note_refusal(&vm_of(L)->memory.blocks, size, by_system);
    lua_pushstring(L, not_enough);
    lua_error(L);
}

void vm_memory_check_block(lua_State *L, size_t size) {
    if (!mem_has(size))
        raise_error(L, size, true);
}

static bool has_room(const struct lua_memory *blocks, size_t size) {
    size_t used = lua_memory_used(blocks);
    return used <= blocks->limit && size <= blocks->limit - used;
}

void vm_memory_check_outside(lua_State *L, size_t bytes) {
    const struct lua_memory *blocks = &vm_of(L)->memory.blocks;
    if (has_room(blocks, bytes))
        return;
    lua_gc(L, LUA_GCCOLLECT);
    if (!has_room(blocks, bytes))
        raise_error(L, bytes, false);
}

bool vm_memory_has_room(struct vm *vm, size_t size) {
    struct lua_memory *blocks = &vm->memory.blocks;
    bool by_system = !mem_has(size);
    if (!by_system && has_room(blocks, size))
        return true;
    lua_gc(vm->L, LUA_GCCOLLECT);
    by_system = !mem_has(size);
    if (!by_system && has_room(blocks, size))
        return true;
    lua_memory_note_refusal(blocks, size, by_system);
    return false;
}

/* Tasks that have not begun grow when they do; the registry, which refers to each task and handle,
 * becomes twice as large when it is full, also where no allocation may fail. */
static size_t growth_of(const struct vm *vm) {
    return vm->tasks.not_begun * BEGIN_BYTES +
           (size_t)lua_rawlen(vm->L, LUA_REGISTRYINDEX) * REF_BYTES;
}

static bool may_last(const struct vm *vm) {
    const struct lua_memory *blocks = &vm->memory.blocks;
    size_t used = lua_memory_used(blocks) + growth_of(vm);
    return used <= blocks->limit - blocks->limit / FREE_PART;
}

void vm_memory_limit_load(struct vm *vm, bool on) {
    struct lua_memory *blocks = &vm->memory.blocks;
    lua_memory_set_bound(blocks, on ? blocks->limit - blocks->limit / FREE_PART : blocks->limit);
}

/* Collects garbage, but not soon again after a collection that was in vain: tens of thousands of
 * tasks may ask one after the other, and each would hold up the worker. */
void vm_memory_check_lasting(lua_State *L) {
    struct vm *vm = vm_of(L);
    struct lua_memory *blocks = &vm->memory.blocks;
    if (may_last(vm))
        return;
    bool will_recover = blocks->refused;
    if (clock_monotonic_ns() >= vm->memory.lasting_next) {
        uint64_t began = clock_thread_cpu_ns();
        lua_gc(L, LUA_GCCOLLECT);
        if (may_last(vm))
            return;
        uint64_t took = clock_thread_cpu_ns() - began;
        vm->memory.lasting_next = clock_monotonic_ns() + took * REFUSED_TIMES;
        will_recover = true;
    }
    lua_memory_note_refusal(blocks, LASTING_BYTES + growth_of(vm), false);
    blocks->refused = will_recover;
    lua_pushstring(L, not_enough);
    lua_error(L);
}

/* Is so little left that the next hooks would cause collections? */
static bool has_no_room(const struct lua_memory *blocks) {
    return lua_memory_used(blocks) > blocks->limit - blocks->limit / NO_ROOM_PART;
}

/* ---- the turn of the loop ---- */

void vm_memory_keep_collector(struct vm *vm) {
    if (!vm->memory.is_chosen && vm->memory.minor_percent != MINOR_PERCENT)
        lua_gc(vm->L, LUA_GCGEN, MINOR_PERCENT, 0);
    vm->memory.is_chosen = true;
}

/* Sets the growth after which young objects are collected: near the limit less than Lua's own,
 * because else each collection would be one of all objects, at the limit. */
static void set_pace(struct vm *vm) {
    const struct lua_memory *blocks = &vm->memory.blocks;
    int percent = MINOR_PERCENT;
    size_t used = lua_memory_used(blocks);
    if (used > blocks->limit / 2) {
        size_t left = used < blocks->limit ? blocks->limit - used : 0;
        size_t half = left / 2 / (used / 100 + 1);
        percent = half < 1 ? 1 : half > MINOR_PERCENT ? MINOR_PERCENT : (int)half;
    }
    if (percent == vm->memory.minor_percent)
        return;
    if (percent == MINOR_PERCENT)
        vm->memory.is_full = false;
    vm->memory.minor_percent = percent;
    if (!vm->memory.is_chosen)
        lua_gc(vm->L, LUA_GCGEN, percent, 0);
}

/* Logs that memory is full of objects that are in use, once in a while. */
static void warn_full(struct vm *vm, uint64_t now) {
    const struct lua_memory *blocks = &vm->memory.blocks;
    if (vm->memory.warned_ns != 0 && now - vm->memory.warned_ns < WARN_NS)
        return;
    vm->memory.warned_ns = now;
    struct log_line line;
    log_begin(&line, LOG_WARN, "memory_full");
    log_int(&line, "bytes", (int64_t)lua_memory_used(blocks));
    log_int(&line, "limit", (int64_t)blocks->limit);
    log_str(&line, "why",
            "scripts keep nearly all the memory that limits.memory allows a worker: hooks fail "
            "until they keep less, or a reload raises the limit");
    log_end(&line);
}

/* After an allocation has failed: what the failed run has kept is garbage now. If hardly anything
 * is, also after its connection has closed, each hook would cause a collection, so that most hooks
 * fail at once for a while. */
static void recover(struct vm *vm) {
    struct lua_memory *blocks = &vm->memory.blocks;
    blocks->refused = false;
    if (lua_memory_used(blocks) <= blocks->limit / 2)
        return;
    uint64_t began = clock_thread_cpu_ns();
    lua_gc(vm->L, LUA_GCCOLLECT);
    uint64_t now = clock_monotonic_ns(), took = clock_thread_cpu_ns() - began;
    lua_memory_trim(blocks);
    bool was_full = vm->memory.is_full; /* the first time, a connection may be about to close */
    vm->memory.is_full = lua_memory_used(blocks) > blocks->limit - blocks->limit / FULL_PART;
    if (was_full && vm->memory.is_full)
        warn_full(vm, now);
    if (was_full && has_no_room(blocks))
        vm->memory.refuse_until = now + took * REFUSED_TIMES;
}

__attribute__((noinline)) bool vm_memory_refuses_run(struct vm *vm, const struct task *task) {
    if (!has_no_room(&vm->memory.blocks) || clock_monotonic_ns() >= vm->memory.refuse_until) {
        vm->memory.refuse_until = 0;
        return false;
    }
    return extra_of(task, vm->memory.blocks.limit) == 0;
}

/* Malloc has failed: Lua gives back what it can. */
static void relieve(struct vm *vm) {
    uint64_t now = clock_monotonic_ns();
    if (now < vm->memory.relieve_next)
        return;
    uint64_t began = clock_thread_cpu_ns();
    lua_gc(vm->L, LUA_GCCOLLECT);
    lua_memory_trim(&vm->memory.blocks);
    malloc_trim(0);
    vm->memory.relieve_next = now + RELIEVE_NS + (clock_thread_cpu_ns() - began) * REFUSED_TIMES;
    if (mem_restore())
        log_event(LOG_WARN, "memory_low", "malloc has failed, and there is memory again");
}

void vm_memory_turn(struct vm *vm) {
    let_collect(vm); /* a coroutine may sleep with a full stack */
    struct lua_memory *blocks = &vm->memory.blocks;
    if (mem_is_low())
        relieve(vm);
    if (blocks->refused)
        recover(vm);
    if (lua_memory_used(blocks) > blocks->limit / 2 || vm->memory.minor_percent != MINOR_PERCENT)
        set_pace(vm);
    atomic_store_explicit(&vm->stats->lua_memory_bytes, lua_memory_used(blocks),
                          memory_order_relaxed);
}

/* ---- errors ---- */

bool vm_memory_is_error(lua_State *co, int status) {
    if (status != LUA_ERRRUN || lua_type(co, -1) != LUA_TSTRING)
        return status == LUA_ERRMEM;
    /* of luaL_Buffer, which raises it as any error; or raised again */
    return strcmp(lua_tostring(co, -1), not_enough) == 0;
}

/* "24 MiB", "432 bytes" */
static const char *size_text(char *out, size_t size, size_t bytes) {
    if (bytes < 1024)
        snprintf(out, size, "%zu bytes", bytes);
    else if (bytes < 1024 * 1024)
        snprintf(out, size, "%.3g KiB", (double)bytes / 1024);
    else
        snprintf(out, size, "%.7g MiB", (double)(bytes / 1024 * 100 / 1024) / 100);
    return out;
}

void vm_memory_push_message(lua_State *L) {
    const struct lua_memory *blocks = &vm_of(L)->memory.blocks;
    char wanted[32], limit[32], used[32];
    size_text(wanted, sizeof wanted, blocks->refused_bytes);
    if (blocks->refused_bytes == 0)
        lua_pushstring(L, not_enough);
    else if (blocks->refused_by_system)
        lua_pushfstring(L, "%s: the system has not given the process %s more", not_enough, wanted);
    else
        lua_pushfstring(L, "%s: %s %s, they had %s, and asked for %s more", not_enough,
                        vm_of(L)->thread == NULL
                            ? "limits.memory allows the scripts of a worker"
                            : "the pool's option memory allows the scripts of a thread",
                        size_text(limit, sizeof limit, blocks->limit),
                        size_text(used, sizeof used, blocks->refused_used), wanted);
}

void vm_memory_count_error(struct vm *vm) {
    stats_add(&vm->stats->memory_errors, 1);
}
