/* watchdog.c -- a thread that interrupts scripts which take too long, and reports turns which do.
 * See watchdog.h.
 *
 * Reads three numbers of each worker, at no cost to the worker: the number of its run, the CPU time
 * of its thread, and the time at which its turn has begun (blocked.h). The threads of pools have
 * the first two. The signal is SIGURG: no other process sends it, and a late one is ignored. */
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

/* More CPU time than the signal's handler takes. */
static const uint64_t HANDLER_NS = 1000000;

/* A script that has not ended so long after the first signal is in a C function. */
static const uint64_t STUCK_NS = 2000000000;

struct watched {
    struct budget *budget; /* NULL: the place is free */
    unsigned worker;
    const char *pool; /* NULL: it is a worker's */
    pthread_t thread;
    clockid_t cpu;
    uint64_t logged_run; /* the log says that this run is stuck */
    uint64_t over_run;   /* the last look found that this run is to end, */
    uint64_t cpu_ns;     /* the thread had used so much CPU time, */
    bool was_sent;       /* and it was sent the signal */
    struct blocked blocked;
};

struct watchdog {
    uv_thread_t thread;
    uv_mutex_t lock; /* of all below */
    uv_cond_t changed;
    bool stopping;
    struct refusals *counts;
    struct watched workers[BUS_MAX_WORKERS];
    struct watched *pools; /* the threads of pools */
    size_t pool_threads;
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
    if (watched->pool == NULL)
        log_set_worker((int)watched->worker); /* the line is about this worker */
    log_begin(&line, LOG_WARN, "script_stuck");
    if (watched->pool != NULL)
        log_str(&line, "pool", watched->pool);
    log_str(&line, "why",
            "a C function that a script has called does not return, and cannot be interrupted");
    log_num(&line, "seconds", (double)sample->used_ns / 1e9);
    log_end(&line);
    log_set_worker(-1);
}

/* Has the thread run since the last look at this run? One that waits in a system call is not sent
 * the signal, which would end some of them early. The signal's handler runs for less than
 * HANDLER_NS. */
static bool has_run(const struct watched *watched, uint64_t run, uint64_t cpu_ns) {
    uint64_t least = watched->was_sent ? HANDLER_NS : 1;
    return watched->over_run == run && cpu_ns - watched->cpu_ns >= least;
}

/* True: its run has exceeded its budget, and is sent the signal when it runs. */
static bool check(struct watched *watched) {
    uint64_t cpu_ns = clock_ns(watched->cpu);
    struct budget_sample sample = budget_sample(watched->budget, cpu_ns);
    if (!sample.is_over)
        return false;
    if (sample.over_ns > STUCK_NS && sample.run != watched->logged_run)
        log_stuck(watched, &sample);
    watched->was_sent = has_run(watched, sample.run, cpu_ns);
    watched->over_run = sample.run;
    watched->cpu_ns = cpu_ns;
    if (watched->was_sent)
        pthread_kill(watched->thread, SIGURG);
    return true;
}

/* Checks a thread. Returns the nanoseconds until its next check. */
static uint64_t check_thread(struct watched *watched) {
    if (watched->budget == NULL)
        return LONGEST_NS;
    uint64_t wait = budget_least_ns(watched->budget) / CHECKS;
    if (check(watched) || wait < SHORTEST_NS)
        wait = SHORTEST_NS;
    uint64_t turn_ms = blocked_check(&watched->blocked);
    if (turn_ms < wait / 1000000)
        wait = turn_ms * 1000000;
    return wait < LONGEST_NS ? wait : LONGEST_NS;
}

/* Checks several threads. Returns the nanoseconds until the next check, `wait` at most. */
static uint64_t check_threads(struct watched *watched, size_t count, uint64_t wait) {
    for (size_t i = 0; i < count; i++) {
        uint64_t next = check_thread(&watched[i]);
        if (next < wait)
            wait = next;
    }
    return wait;
}

/* Checks all threads. Returns the nanoseconds until the next check. */
static uint64_t check_all(struct watchdog *watchdog) {
    uint64_t wait = check_threads(watchdog->workers, BUS_MAX_WORKERS, LONGEST_NS);
    return check_threads(watchdog->pools, watchdog->pool_threads, wait);
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

/* With the lock: watches the calling thread in this place. */
static void watch(struct watchdog *watchdog, struct watched *watched, struct budget *budget) {
    *watched = (struct watched){.budget = budget, .thread = pthread_self()};
    if (pthread_getcpuclockid(watched->thread, &watched->cpu) != 0)
        watched->budget = NULL; /* the system has no such clock */
    uv_cond_signal(&watchdog->changed);
}

void watchdog_watch(struct watchdog *watchdog, struct budget *budget, unsigned worker) {
    if (watchdog == NULL)
        return;
    uv_mutex_lock(&watchdog->lock);
    watch(watchdog, &watchdog->workers[worker], budget);
    watchdog->workers[worker].worker = worker;
    uv_mutex_unlock(&watchdog->lock);
}

/* With the lock: a place for a thread of a pool. */
static struct watched *pool_place(struct watchdog *watchdog) {
    for (size_t i = 0; i < watchdog->pool_threads; i++)
        if (watchdog->pools[i].budget == NULL)
            return &watchdog->pools[i];
    watchdog->pools =
        mem_realloc(watchdog->pools, (watchdog->pool_threads + 1) * sizeof *watchdog->pools);
    return &watchdog->pools[watchdog->pool_threads++];
}

void watchdog_watch_pool(struct watchdog *watchdog, struct budget *budget, const char *pool) {
    if (watchdog == NULL)
        return;
    uv_mutex_lock(&watchdog->lock);
    struct watched *watched = pool_place(watchdog);
    watch(watchdog, watched, budget);
    watched->pool = pool;
    uv_mutex_unlock(&watchdog->lock);
}

void watchdog_watch_turns(struct watchdog *watchdog, const struct vm *vm, unsigned worker) {
    if (watchdog == NULL)
        return;
    struct watched *watched = &watchdog->workers[worker];
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
    blocked_end(&watchdog->workers[worker].blocked, seconds, watchdog->counts);
    uv_mutex_unlock(&watchdog->lock);
}

static void release(struct watched *watched, size_t count, const struct budget *budget) {
    for (size_t i = 0; i < count; i++)
        if (watched[i].budget == budget)
            watched[i] = (struct watched){0};
}

void watchdog_release(struct watchdog *watchdog, const struct budget *budget) {
    if (watchdog == NULL)
        return;
    uv_mutex_lock(&watchdog->lock);
    release(watchdog->workers, BUS_MAX_WORKERS, budget);
    release(watchdog->pools, watchdog->pool_threads, budget);
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
    mem_free(watchdog->pools);
    mem_free(watchdog);
}
