/* watchdog.c -- a thread that interrupts scripts which take too long, and reports turns which do.
 * See watchdog.h.
 *
 * Reads three numbers of each worker, at no cost to the worker: the number of its run, the CPU time
 * of its thread, and the time at which its turn has begun (blocked.h). The signal is SIGURG: no
 * other process sends it, and a late one is ignored. */
#include "server/workers/watchdog.h"

#include "base/clock.h"
#include "base/log/log.h"
#include "base/mem.h"
#include "core/bus/bus.h"
#include "server/workers/blocked.h"
#include "server/workers/thread.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <uv.h>

/* It checks so many times in the shortest budget, within these bounds. While it sends signals it
 * checks every SHORTEST_NS: a signal that comes between two coroutines is lost. */
enum { CHECKS = 4 };
static const uint64_t SHORTEST_NS = 5 * 1000000, LONGEST_NS = 250 * 1000000;

/* A script that has not ended so long after the first signal is in a C function. */
static const uint64_t STUCK_NS = 2000000000;

struct watched {
    struct budget *budget; /* NULL: the place is free */
    unsigned worker;
    pthread_t thread;
    clockid_t cpu;
    uint64_t logged_run; /* the log says that this run is stuck */
    struct blocked blocked;
};

struct watchdog {
    uv_thread_t thread;
    uv_mutex_t lock; /* of all below */
    uv_cond_t changed;
    bool stopping;
    struct refusals *counts;
    struct watched all[BUS_MAX_WORKERS];
};

/* ---- the signal ---- */

__attribute__((no_sanitize("thread"))) static void on_signal(int number) {
    (void)number;
    int kept = errno;
    budget_interrupt();
    errno = kept;
}

#ifdef __SANITIZE_THREAD__
/* ThreadSanitizer keeps signals back until the thread calls a function that it knows, which a
 * loop in Lua does not. This is the C library's own, under a name that it leaves alone. */
extern int __sigaction(int number, const struct sigaction *action, struct sigaction *old);
#define sigaction(number, action, old) __sigaction(number, action, old)
#endif

static void catch_signal(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGURG, &action, NULL);
}

/* ---- its thread ---- */

static void log_stuck(struct watched *watched, const struct budget_sample *sample) {
    struct log_line line;
    watched->logged_run = sample->run;
    log_set_worker((int)watched->worker); /* the line is about this worker */
    log_begin(&line, LOG_WARN, "script_stuck");
    log_str(&line, "why",
            "a C function that a script has called does not return, and cannot be interrupted");
    log_num(&line, "seconds", (double)sample->used_ns / 1e9);
    log_end(&line);
    log_set_worker(-1);
}

/* True: its run has exceeded its budget, and was sent the signal. */
static bool check(struct watched *watched) {
    struct budget_sample sample = budget_sample(watched->budget, clock_ns(watched->cpu));
    if (!sample.is_over)
        return false;
    if (sample.used_ns > budget_least_ns(watched->budget) + STUCK_NS &&
        sample.run != watched->logged_run)
        log_stuck(watched, &sample);
    pthread_kill(watched->thread, SIGURG);
    return true;
}

/* Checks all workers. Returns the nanoseconds until the next check. */
static uint64_t check_all(struct watchdog *watchdog) {
    uint64_t wait = LONGEST_NS;
    for (size_t i = 0; i < BUS_MAX_WORKERS; i++) {
        struct watched *watched = &watchdog->all[i];
        if (watched->budget == NULL)
            continue;
        uint64_t least = budget_least_ns(watched->budget) / CHECKS;
        if (check(watched) || least < SHORTEST_NS)
            least = SHORTEST_NS;
        uint64_t turn_ms = blocked_check(&watched->blocked);
        if (turn_ms < least / 1000000)
            least = turn_ms * 1000000;
        if (least < wait)
            wait = least;
    }
    return wait;
}

static void run(void *argument) {
    struct watchdog *watchdog = argument;
    uv_mutex_lock(&watchdog->lock);
    while (!watchdog->stopping)
        uv_cond_timedwait(&watchdog->changed, &watchdog->lock, check_all(watchdog));
    uv_mutex_unlock(&watchdog->lock);
}

/* ---- life ---- */

struct watchdog *watchdog_new(struct refusals *counts) {
    struct watchdog *watchdog = mem_zalloc(sizeof *watchdog);
    watchdog->counts = counts;
    observe_open();
    uv_mutex_init(&watchdog->lock);
    uv_cond_init(&watchdog->changed);
    catch_signal();
    int result = thread_start(&watchdog->thread, run, watchdog);
    if (result == 0)
        return watchdog;
    log_eventf(LOG_ERROR, "start_failed", "cannot start a thread for the watchdog: %s",
               uv_strerror(result));
    observe_close();
    uv_cond_destroy(&watchdog->changed);
    uv_mutex_destroy(&watchdog->lock);
    mem_free(watchdog);
    return NULL;
}

void watchdog_watch(struct watchdog *watchdog, struct budget *budget, unsigned worker) {
    if (watchdog == NULL)
        return;
    struct watched *watched = &watchdog->all[worker];
    uv_mutex_lock(&watchdog->lock);
    *watched = (struct watched){.budget = budget, .worker = worker, .thread = pthread_self()};
    if (pthread_getcpuclockid(watched->thread, &watched->cpu) != 0)
        watched->budget = NULL; /* the system has no such clock */
    uv_cond_signal(&watchdog->changed);
    uv_mutex_unlock(&watchdog->lock);
}

void watchdog_watch_turns(struct watchdog *watchdog, const struct vm *vm, unsigned worker) {
    if (watchdog == NULL)
        return;
    struct watched *watched = &watchdog->all[worker];
    uv_mutex_lock(&watchdog->lock);
    watched->blocked = (struct blocked){
        .turn = vm == NULL || watched->budget == NULL ? NULL : &turn_of_thread,
        .vm = vm,
        .budget = watched->budget,
        .thread = watched->thread,
        .cpu = watched->cpu,
        .worker = worker,
    };
    uv_mutex_unlock(&watchdog->lock);
}

void watchdog_end_turn(struct watchdog *watchdog, unsigned worker, double seconds) {
    if (watchdog == NULL)
        return;
    uv_mutex_lock(&watchdog->lock);
    blocked_end(&watchdog->all[worker].blocked, seconds, watchdog->counts);
    uv_mutex_unlock(&watchdog->lock);
}

void watchdog_release(struct watchdog *watchdog, const struct budget *budget) {
    if (watchdog == NULL)
        return;
    uv_mutex_lock(&watchdog->lock);
    for (size_t i = 0; i < BUS_MAX_WORKERS; i++)
        if (watchdog->all[i].budget == budget)
            watchdog->all[i] = (struct watched){0};
    uv_mutex_unlock(&watchdog->lock);
}

void watchdog_free(struct watchdog *watchdog) {
    if (watchdog == NULL)
        return;
    uv_mutex_lock(&watchdog->lock);
    watchdog->stopping = true;
    uv_cond_signal(&watchdog->changed);
    uv_mutex_unlock(&watchdog->lock);
    uv_thread_join(&watchdog->thread);
    observe_close();
    uv_cond_destroy(&watchdog->changed);
    uv_mutex_destroy(&watchdog->lock);
    mem_free(watchdog);
}
