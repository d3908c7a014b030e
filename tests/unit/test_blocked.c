/* test_blocked.c -- a signal for the line of a script is sent where no system call waits: it would
 * end some of them early. */
#include "base/clock.h"
#include "base/log/log.h"
#include "script/vm/budget.h"
#include "script/vm/observe.h"
#include "server/workers/blocked.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* What the watchdog finds. */
static struct observation found;
static bool runs; /* the thread uses CPU time */
static uint64_t used_ns;
static unsigned signals;

static uint64_t fake_clock_ns(clockid_t clock) {
    (void)clock;
    used_ns += runs ? 1000 : 0;
    return used_ns;
}

static void fake_observe_vm(const struct vm *vm, struct observation *observation) {
    (void)vm;
    *observation = found;
}

static int fake_pthread_kill(pthread_t thread, int number) {
    (void)thread;
    assert_int_equal(number, SIGURG);
    signals++;
    return 0;
}

static void fake_want_line(struct budget *budget, uint64_t run) {
    (void)budget;
    assert_int_equal(run, found.run);
}

static bool fake_line(const struct budget *budget, uint64_t run, struct script_line *line) {
    (void)budget, (void)run, (void)line;
    return false;
}

#define clock_ns         fake_clock_ns
#define observe_vm       fake_observe_vm
#define pthread_kill     fake_pthread_kill
#define budget_want_line fake_want_line
#define budget_line      fake_line
#include "server/workers/blocked.c"

/* Returns the signals of one look at a long turn. */
static unsigned look_at(struct observation observation, bool thread_runs) {
    struct turn turn = {.began_ms = clock_monotonic_ms() - LOOK_MS};
    struct blocked blocked = {.turn = &turn};
    found = observation;
    found.run = 1;
    runs = thread_runs;
    signals = 0;
    blocked_check(&blocked);
    assert_int_equal(blocked.looks, 1);
    return signals;
}

static void test_signals(void **state) {
    (void)state;
    struct observation in_c = {.is_in_c = true}, in_lua = {.is_in_lua = true}, unknown = {0};
    assert_int_equal(look_at(in_c, false), 0);
    assert_int_equal(look_at(in_c, true), 1);
    assert_int_equal(look_at(in_lua, false), 1);
    assert_int_equal(look_at(in_lua, true), 1);
    /* without Lua's structures it may be in a C function that waits */
    assert_int_equal(look_at(unknown, false), 0);
    assert_int_equal(look_at(unknown, true), 1);
}

int main(void) {
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_signals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
