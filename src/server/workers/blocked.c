/* blocked.c -- turns of a worker's loop that take too long. See blocked.h.
 *
 * The line is looked for before the turn is long enough to be reported, so that a turn which ends
 * soon afterwards has one too. Where the worker's thread stood still during the observation, which
 * its CPU time tells, the observation is right: that is the case when a C function waits. Where
 * the thread runs, Lua is asked for the line before its next instruction, by the signal of the
 * budget. If Lua does not come to one, a C function computes, and the lines of its callers, which
 * an observation finds, do not change. */
#include "server/workers/blocked.h"

#include "base/clock.h"
#include "base/log/log.h"
#include "script/vm/budget.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

/* The age at which the line is looked for; the time between two observations, and most of them. */
enum { LOOK_MS = 200, AGAIN_MS = 5, MOST_LOOKS = 10 };

static double to_seconds(uint64_t ns) {
    return (double)ns / 1e9;
}

/* A turn that is seen for the first time. Before it, the thread has used no more CPU time in the
 * turn than the turn is old, and no more than since the last check. */
static void see(struct blocked *blocked, uint64_t began_ms, uint64_t age_ms, uint64_t cpu_ns) {
    uint64_t since = cpu_ns - blocked->cpu_ns, most = age_ms * 1000000;
    blocked->began_ms = began_ms;
    blocked->cpu_before_ns = cpu_ns - (since < most ? since : most);
    blocked->looks = 0;
    blocked->is_found = blocked->is_logged = false;
    blocked->observation = (struct observation){0};
}

/* Has Lua told the line that it was asked for? */
static bool take_line(struct blocked *blocked) {
    struct observation *seen = &blocked->observation;
    if (!blocked->is_found && seen->run != 0)
        blocked->is_found = budget_line(blocked->budget, seen->run, &seen->at);
    return blocked->is_found;
}

static bool is_same_call(const struct observation *a, const struct observation *b) {
    return a->run == b->run && a->is_in_c && b->is_in_c && a->at.line == b->at.line &&
           strcmp(a->at.file, b->at.file) == 0;
}

/* Looks for the line. A signal is sent where no system call waits, or is about to: it would end
 * some of them early. */
static void look(struct blocked *blocked) {
    struct observation seen, *kept = &blocked->observation;
    blocked->looks++;
    if (take_line(blocked))
        return;
    uint64_t before = clock_ns(blocked->cpu);
    observe_vm(blocked->vm, &seen);
    bool stood_still = clock_ns(blocked->cpu) == before;
    if (seen.run == 0)
        return;
    bool is_last = blocked->looks == MOST_LOOKS;
    blocked->is_found = seen.is_in_c && (stood_still || (is_last && is_same_call(&seen, kept)));
    *kept = seen;
    if (seen.is_in_lua || !stood_still) {
        budget_want_line(blocked->budget, seen.run);
        pthread_kill(blocked->thread, SIGURG);
    }
}

/* The sentence of the line. */
static void log_why(const struct blocked *blocked, struct log_line *line, bool has_ended) {
    const struct observation *seen = &blocked->observation;
    char subject[300], why[400];
    snprintf(subject, sizeof subject, "%s",
             blocked->looks == 0 ? "a turn of the loop" : "the server's own work");
    if (blocked->is_found && seen->at.file[0] != '\0' && seen->at.line > 0)
        snprintf(subject, sizeof subject, "%s:%d", seen->at.file, seen->at.line);
    else if (seen->run != 0)
        snprintf(subject, sizeof subject, "a script");
    snprintf(why, sizeof why,
             has_ended ? "%s has blocked the worker: its other connections had to wait"
                       : "%s blocks the worker: its other connections wait",
             subject);
    log_str(line, "why", why);
}

/* `seconds` so far, or of the whole turn. */
static void log_blocked(const struct blocked *blocked, double seconds, uint64_t cpu_ns,
                        bool has_ended) {
    const struct observation *seen = &blocked->observation;
    struct log_line line;
    log_begin_limited(&line, LOG_WARN, "worker_blocked");
    if (seen->conn != 0)
        log_conn(&line, seen->conn);
    log_seconds(&line, "seconds", seconds);
    log_seconds(&line, "cpu_seconds", to_seconds(cpu_ns - blocked->cpu_before_ns));
    log_bool(&line, "ended", has_ended);
    if (seen->hook != NULL)
        log_str(&line, "hook", seen->hook);
    if (seen->endpoint[0] != '\0')
        log_str(&line, "endpoint", seen->endpoint);
    if (blocked->is_found && seen->at.file[0] != '\0') {
        log_str(&line, "file", seen->at.file);
        if (seen->at.line > 0)
            log_int(&line, "line", seen->at.line);
    }
    log_why(blocked, &line, has_ended);
    log_end(&line);
}

uint64_t blocked_check(struct blocked *blocked) {
    if (blocked->turn == NULL)
        return UINT64_MAX;
    uint64_t cpu_ns = clock_ns(blocked->cpu), began_ms = turn_began_ms(blocked->turn);
    uint64_t now_ms = clock_monotonic_ms(), age_ms = now_ms > began_ms ? now_ms - began_ms : 0;
    if (began_ms != 0 && began_ms != blocked->began_ms)
        see(blocked, began_ms, age_ms, cpu_ns);
    blocked->cpu_ns = cpu_ns;
    if (began_ms == 0 || blocked->is_logged)
        return UINT64_MAX;
    if (age_ms < LOOK_MS)
        return LOOK_MS - age_ms;
    turn_set_long(blocked->turn, true); /* even if it has just ended, and another one has begun */
    if (!blocked->is_found && blocked->looks < MOST_LOOKS)
        look(blocked);
    if (age_ms < BLOCKED_MS && blocked->is_found)
        return BLOCKED_MS - age_ms;
    if (age_ms < BLOCKED_MS || (!blocked->is_found && blocked->looks < MOST_LOOKS))
        return AGAIN_MS;
    log_set_worker((int)blocked->worker); /* the line is about this worker */
    log_blocked(blocked, (double)age_ms / 1e3, cpu_ns, false);
    log_set_worker(-1);
    blocked->is_logged = true;
    return UINT64_MAX;
}

void blocked_end(struct blocked *blocked, double seconds, struct refusals *counts) {
    if (blocked->turn == NULL)
        return;
    uint64_t cpu_ns = clock_ns(blocked->cpu), began_ms = turn_began_ms(blocked->turn);
    if (began_ms != blocked->began_ms) /* no check came meanwhile */
        see(blocked, began_ms, (uint64_t)(seconds * 1e3), cpu_ns);
    take_line(blocked);
    log_blocked(blocked, seconds, cpu_ns, true);
    const struct observation *seen = &blocked->observation;
    refusals_count(counts, REFUSAL_BLOCKED, 0, seen->hook == NULL ? "" : seen->hook,
                   seen->endpoint);
}
