/* bind_timers.c -- tidewire.core: timers of scripts, known to Lua by an integer. async.lua makes
 * tw.after, tw.every and tw.sleep of these functions.
 *
 * Timers wait in one heap, by the moment at which they are due. The loop has a single timer of its
 * own, which only wakes it for the first of them: vm_turn() calls the timers, so sockets have their
 * turn after each pass. A pass calls the timers that were due when it began, the longest due first,
 * and ends after TURN_SLICE_NS: timers that restart themselves, or that take longer than their
 * period, delay only each other. A repeating timer counts its ticks from its start, so it does not
 * drift; ticks that the loop was too late for are skipped and counted. dispatch.lua's `timer` gets
 * the integer. */
#include "script/bind/bind.h"

#include "base/clock.h"
#include "base/deadlines.h"
#include "base/mem.h"
#include "base/table.h"
#include "base/turn.h"

#include <string.h>

/* A line of a script that has started repeating timers, as long as one of them runs. */
struct timer_place {
    struct table_entry in; /* its key: "app.lua:12" */
    uint32_t timers;
    char text[];
};

struct bind_timer {
    struct deadline due; /* its key: the moment, in monotonic nanoseconds */
    uint64_t number;
    uint64_t period_ns;        /* 0: once */
    struct timer_place *place; /* of a repeating one */
    unsigned generation;       /* of the code that has started it */
    bool is_sleep;             /* it wakes a waiting task, and is no timer of the script's */
};

struct bind_timers {
    struct slots numbered; /* struct bind_timer, by its number */
    uv_timer_t wake;
    uint64_t wake_ns; /* it is active for a timer that is due then; 0: it is not active */
    struct deadlines due;
    struct table places;
    uint64_t luv_began_ns; /* when the first timer of luv's was called in this turn; 0: none was */
    /* The last result of now_of(), which never returns a moment twice: timers of the same delay
     * fire in the order of their start, and those that a pass starts are due after it. */
    uint64_t now_ns;
};

/* Monotonic nanoseconds, more than at any call before. */
static uint64_t now_of(struct bind_timers *timers) {
    uint64_t now = clock_monotonic_ns();
    timers->now_ns = now > timers->now_ns ? now : timers->now_ns + 1;
    return timers->now_ns;
}

static struct bind_timer *first_of(const struct bind_timers *timers) {
    struct deadline *node = deadlines_peek(&timers->due);
    return node == NULL ? NULL : DEADLINE_OWNER(node, struct bind_timer, due);
}

/* ---- where repeating timers were started ---- */

static struct timer_place *place_take(struct vm *vm, lua_State *L) {
    struct table *places = &vm->timers->places;
    struct slice text;
    vm_push_place(L, L);
    text.bytes = lua_tolstring(L, -1, &text.len);
    struct table_entry *found = table_find(places, text);
    struct timer_place *place = found == NULL ? NULL : TABLE_OWNER(found, struct timer_place, in);
    if (place == NULL) {
        place = mem_zalloc(sizeof *place + text.len + 1);
        memcpy(place->text, text.bytes, text.len);
        place->in.key = (struct slice){place->text, text.len};
        table_add(places, &place->in);
    }
    place->timers++;
    stats_add(&hub_stats(vm->hub)->repeating_timers, 1);
    lua_pop(L, 1);
    return place;
}

static void place_release(struct vm *vm, struct timer_place *place) {
    if (place == NULL)
        return;
    stats_add(&hub_stats(vm->hub)->repeating_timers, (uint64_t)-1);
    if (--place->timers > 0)
        return;
    table_remove(&vm->timers->places, &place->in);
    mem_free(place);
}

void bind_timers_each(struct vm *vm, void (*f)(void *user, unsigned generation, const char *where),
                      void *user) {
    uint32_t at = 0;
    for (const struct bind_timer *timer; (timer = slots_next(&vm->timers->numbered, &at)) != NULL;)
        if (!timer->is_sleep)
            f(user, timer->generation, timer->place == NULL ? NULL : timer->place->text);
}

/* ---- timers ---- */

static void cancel(struct vm *vm, struct bind_timer *timer) {
    place_release(vm, timer->place);
    slots_remove(&vm->timers->numbered, timer->number);
    deadlines_remove(&vm->timers->due, &timer->due);
    mem_free(timer);
}

/* ---- the turn ---- */

/* Sets a repeating timer to its next tick. Returns how many ticks it skips. */
static uint64_t next_tick(struct bind_timers *timers, struct bind_timer *timer) {
    uint64_t now = now_of(timers), next = timer->due.key + timer->period_ns, skipped = 0;
    if (next <= now) {
        skipped = (now - next) / timer->period_ns + 1;
        next += skipped * timer->period_ns;
    }
    deadlines_set(&timers->due, &timer->due, next);
    return skipped;
}

static void fire(struct vm *vm, struct bind_timer *timer) {
    struct task *task = vm_task(vm, EVENT_TIMER, 0);
    uint64_t skipped = 0;
    task->generation = timer->generation;
    lua_pushinteger(task->co, (lua_Integer)timer->number);
    if (timer->period_ns == 0)
        cancel(vm, timer);
    else
        skipped = next_tick(vm->timers, timer);
    lua_pushinteger(task->co, (lua_Integer)skipped);
    vm_run_hook(task, 2);
}

void bind_timers_run(struct vm *vm) {
    struct bind_timers *timers = vm->timers;
    timers->luv_began_ns = 0;
    struct bind_timer *timer = first_of(timers);
    if (timer == NULL)
        return;
    uint64_t began = now_of(timers);
    while (timer != NULL && timer->due.key <= began) {
        fire(vm, timer);
        if (clock_monotonic_ns() - began >= TURN_SLICE_NS)
            return;
        timer = first_of(timers);
    }
}

/* Wakes the loop, perhaps too soon: a turn's time is that of its begin. vm_turn() calls the timers.
 */
static void on_wake(uv_timer_t *wake) {
    struct bind_timers *timers = wake->data;
    timers->wake_ns = 0;
}

static void stop_wake(struct bind_timers *timers) {
    uv_timer_stop(&timers->wake);
    timers->wake_ns = 0;
}

void bind_timers_arm(struct vm *vm) {
    struct bind_timers *timers = vm->timers;
    const struct bind_timer *timer = first_of(timers);
    vm->timers_wait = timer != NULL;
    if (timer == NULL) {
        stop_wake(timers);
        return;
    }
    uint64_t due = timer->due.key;
    if (due == timers->wake_ns)
        return;
    timers->wake_ns = due;
    uint64_t now = clock_monotonic_ns();
    uv_timer_start(&timers->wake, on_wake, due > now ? (due - now + 999999) / 1000000 : 0, 0);
}

/* ---- for Lua ---- */

/* core.timer(seconds, repeats, is_sleep|nil) -> timer. is_sleep: it wakes a waiting task. */
static int core_timer(lua_State *L) {
    struct vm *vm = vm_of(L);
    struct bind_timers *timers = vm->timers;
    lua_Number seconds = luaL_checknumber(L, 1);
    bool repeats = lua_toboolean(L, 2);
    luaL_argcheck(L, seconds >= 0 && seconds <= 1e9, 1, "seconds from 0 to 1e9 expected");
    luaL_argcheck(L, !repeats || seconds >= 0.001, 1, "a period of 0.001 seconds or more expected");
    vm_memory_check_lasting(L);
    struct timer_place *place = repeats ? place_take(vm, L) : NULL; /* may throw */
    struct bind_timer *timer = mem_zalloc(sizeof *timer);
    uint64_t ns = (uint64_t)(seconds * 1e9);
    timer->period_ns = repeats ? ns : 0;
    timer->generation = vm_current_generation(vm);
    timer->is_sleep = lua_toboolean(L, 3);
    timer->number = slots_add(&vm->timers->numbered, timer);
    if (timer->number == 0) {
        place_release(vm, place);
        mem_free(timer);
        return luaL_error(L, "too many timers");
    }
    deadlines_set(&timers->due, &timer->due, now_of(timers) + ns);
    vm->timers_wait = true;
    timer->place = place;
    lua_pushinteger(L, (lua_Integer)timer->number);
    return 1;
}

/* core.timer_cancel(timer) -> boolean: was it running? */
static int core_timer_cancel(lua_State *L) {
    struct vm *vm = vm_of(L);
    struct bind_timer *timer = slots_find(&vm->timers->numbered, (uint64_t)luaL_checkinteger(L, 1));
    if (timer != NULL)
        cancel(vm, timer);
    lua_pushboolean(L, timer != NULL);
    return 1;
}

/* core.luv_slice_over() -> boolean: have timers of luv's had their slice of this turn? The first
 * call of a turn begins the slice. */
static int core_luv_slice_over(lua_State *L) {
    struct vm *vm = vm_of(L);
    struct bind_timers *timers = vm->timers;
    uint64_t now = clock_monotonic_ns();
    if (timers->luv_began_ns == 0)
        timers->luv_began_ns = now;
    vm->timers_wait = true; /* for the end of the slice */
    lua_pushboolean(L, now - timers->luv_began_ns >= TURN_SLICE_NS);
    return 1;
}

const luaL_Reg bind_timers_functions[] = {
    {"luv_slice_over", core_luv_slice_over},
    {"timer", core_timer},
    {"timer_cancel", core_timer_cancel},
    {NULL, NULL},
};

/* ---- life ---- */

void bind_timers_open(struct vm *vm) {
    vm->timers = mem_zalloc(sizeof *vm->timers);
    uv_timer_init(vm->loop, &vm->timers->wake);
    vm->timers->wake.data = vm->timers;
}

void bind_timers_cancel_all(struct vm *vm) {
    uint32_t at = 0;
    for (struct bind_timer *timer; (timer = slots_next(&vm->timers->numbered, &at)) != NULL;)
        cancel(vm, timer);
    stop_wake(vm->timers);
}

static void on_closed(uv_handle_t *wake) {
    mem_free(wake->data);
}

void bind_timers_close(struct vm *vm) {
    bind_timers_cancel_all(vm);
    slots_close(&vm->timers->numbered);
    deadlines_close(&vm->timers->due);
    table_close(&vm->timers->places);
    uv_close((uv_handle_t *)&vm->timers->wake, on_closed);
    vm->timers = NULL;
}
