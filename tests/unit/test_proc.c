/* test_proc.c -- what the system tells of a process: ourselves, and those that there are not. */
#include "base/proc.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void test_ourselves(void **state) {
    double began = proc_began_at(getpid()), now = clock_wall_seconds();
    assert_true(began > now - 3600 && began < now + 2);
    char name[64];
    assert_string_equal(proc_name(getpid(), name, sizeof name), "test_proc");
}

static void test_one_that_has_ended(void **state) {
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
    assert_true(proc_began_at(child) < 0); /* nobody has asked for its exit code yet */
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_true(proc_began_at(child) < 0);
}

static void test_none(void **state) {
    char name[64];
    assert_true(proc_began_at(0) < 0);
    assert_true(proc_began_at(-1) < 0);
    assert_string_equal(proc_name(-1, name, sizeof name), "unknown");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ourselves),
        cmocka_unit_test(test_one_that_has_ended),
        cmocka_unit_test(test_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
