/* api_timers.c -- tidewire.core: timers of scripts, known to Lua by an integer.
 *
 * Each is a timer of the loop's. A repeating one counts its ticks from its start, so it does not
 * drift; ticks that the loop was too late for are left out and counted. When one fires, dispatch.lua's
 * `timer` is told its integer. */
#include "script/vm_internal.h"

#include "base/clock.h"
#include "base/mem.h"

struct api_timer {
    uv_timer_t handle;
    struct vm *vm;
    uint64_t number;
    uint64_t next_ns, period_ns; /* period 0: once */
};

static void on_closed(uv_handle_t *handle) {
    mem_free(handle->data);
}

static void end(struct api_timer *timer) {
    slots_remove(&timer->vm->timers, timer->number);
    uv_close((uv_handle_t *)&timer->handle, on_closed);
}

static void on_due(uv_timer_t *handle);

static void start(struct api_timer *timer) {
    uint64_t now = clock_monotonic_ns();
    uint64_t wait_ns = timer->next_ns > now ? timer->next_ns - now : 0;
    uv_update_time(timer->vm->loop); /* the loop's time may be old: a hook has run since */
    uv_timer_start(&timer->handle, on_due, (wait_ns + 999999) / 1000000, 0);
}

static void on_due(uv_timer_t *handle) {
    struct api_timer *timer = handle->data;
    struct vm *vm = timer->vm;
    struct task *task = vm_task(vm, EVENT_TIMER, 0);
    uint64_t skipped = 0;
    lua_pushinteger(task->co, (lua_Integer)timer->number);
    if (timer->period_ns == 0) {
        end(timer);
    } else {
        uint64_t now = clock_monotonic_ns();
        timer->next_ns += timer->period_ns;
        if (timer->next_ns <= now) {
            skipped = (now - timer->next_ns) / timer->period_ns + 1;
            timer->next_ns += skipped * timer->period_ns;
        }
        start(timer);
    }
    lua_pushinteger(task->co, (lua_Integer)skipped);
    vm_run_hook(task, 2);
}

/* core.timer(seconds, repeats) -> integer */
static int core_timer(lua_State *L) {
    struct vm *vm = vm_of(L);
    lua_Number seconds = luaL_checknumber(L, 1);
    bool repeats = lua_toboolean(L, 2);
    luaL_argcheck(L, seconds >= 0 && seconds <= 1e9, 1, "seconds from 0 to 1e9 expected");
    luaL_argcheck(L, !repeats || seconds >= 0.001, 1, "a period of 0.001 seconds or more expected");
    struct api_timer *timer = mem_zalloc(sizeof *timer);
    uint64_t ns = (uint64_t)(seconds * 1e9);
    timer->vm = vm;
    timer->next_ns = clock_monotonic_ns() + ns;
    timer->period_ns = repeats ? ns : 0;
    timer->handle.data = timer;
    timer->number = slots_add(&vm->timers, timer);
    uv_timer_init(vm->loop, &timer->handle);
    if (timer->number == 0) {
        uv_close((uv_handle_t *)&timer->handle, on_closed);
        return luaL_error(L, "too many timers");
    }
    start(timer);
    lua_pushinteger(L, (lua_Integer)timer->number);
    return 1;
}

/* core.timer_cancel(integer) -> boolean: was it running? */
static int core_timer_cancel(lua_State *L) {
    struct api_timer *timer = slots_find(&vm_of(L)->timers, (uint64_t)luaL_checkinteger(L, 1));
    if (timer != NULL)
        end(timer);
    lua_pushboolean(L, timer != NULL);
    return 1;
}

void api_timers_close_all(struct vm *vm) {
    uint32_t at = 0;
    for (struct api_timer *timer; (timer = slots_next(&vm->timers, &at)) != NULL;)
        end(timer);
}

const luaL_Reg core_timer_functions[] = {
    {"timer", core_timer},
    {"timer_cancel", core_timer_cancel},
    {NULL, NULL},
};
