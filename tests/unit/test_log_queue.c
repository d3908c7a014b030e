/* test_log_queue.c -- lines wait in order, up to a limit, while their reader does not read or the
 * disk is full; lines without room are counted and reported. */
#include "base/log/log_queue.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

static int ends[2]; /* of a pipe that is not read while the queue writes */
static char got[16 << 20];
static size_t got_len;

static size_t tell(char *line, size_t size, uint64_t dropped, int error) {
    return (size_t)snprintf(line, size, "dropped %llu %d\n", (unsigned long long)dropped, error);
}

static int open_pipe(void **state) {
    signal(SIGXFSZ, SIG_IGN);
    got_len = 0;
    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
    log_queue_set_fd(log_queue_log, ends[1], true, tell);
    log_queue_set_served(log_queue_log, true); /* by this thread, where it says so */
    return 0;
}

static int close_pipe(void **state) {
    close(ends[0]);
    close(ends[1]);
    return 0;
}

static void put(unsigned number, size_t len) {
    char line[5000];
    memset(line, '.', sizeof(line));
    size_t digits = (size_t)snprintf(line, sizeof(line), "%08u", number);
    line[digits] = '.';
    line[len - 1] = '\n';
    log_queue_put(log_queue_log, line, len);
}

static void read_pipe(void) {
    ssize_t n;
    while ((n = read(ends[0], got + got_len, sizeof(got) - got_len)) > 0)
        got_len += (size_t)n;
}

/* Reads and writes until nothing waits. */
static void drain(void) {
    log_queue_set_served(log_queue_log, false);
    struct log_queue_figures figures;
    do {
        read_pipe();
        log_queue_flush(log_queue_log, 1);
        log_queue_figures(log_queue_log, &figures);
    } while (figures.waiting > 0);
    read_pipe();
    log_queue_set_served(log_queue_log, true);
}

/* Checks that lines are complete and in order; returns their number, in *told the sum of reported
 * losses. `skip`: each gap in the numbers is reported where it is. */
static unsigned count_lines(unsigned first, bool skip, unsigned long *told, int *error) {
    unsigned count = 0, next = first;
    *told = 0;
    for (char *line = got, *end; line < got + got_len; line = end + 1) {
        end = memchr(line, '\n', (size_t)(got + got_len - line));
        assert_non_null(end);
        *end = '\0';
        unsigned long missing;
        if (sscanf(line, "dropped %lu %d", &missing, error) == 2) {
            *told += missing;
            next += skip ? (unsigned)missing : 0;
            continue;
        }
        assert_int_equal(strtoul(line, NULL, 10), next);
        assert_int_equal(strspn(line + 8, "."), strlen(line + 8));
        next++;
        count++;
    }
    return count;
}

static void test_lines_go_at_once_where_they_can(void **state) {
    for (unsigned i = 0; i < 10; i++) {
        put(i, 20 + i);
        read_pipe();
        assert_int_equal(got[got_len - 1], '\n');
    }
    unsigned long told;
    int error;
    assert_int_equal(count_lines(0, true, &told, &error), 10);
    assert_int_equal(told, 0);
}

static void test_what_waits_has_a_ceiling(void **state) {
    struct log_queue_figures figures = {0}, before;
    log_queue_figures(log_queue_log, &before);
    unsigned count = 0;
    do {
        put(count, 9 + count * 37 % 4900);
        log_queue_figures(log_queue_log, &figures);
        assert_in_range(figures.waiting, 0, LOG_QUEUE_BYTES);
        count++;
    } while (figures.dropped - before.dropped < 1000);
    drain();
    put(count++, 100); /* reports the gap, if no earlier line has */
    drain();
    log_queue_figures(log_queue_log, &figures);
    unsigned long told;
    int error = -1;
    unsigned lines = count_lines(0, true, &told, &error);
    assert_int_equal(told, 1000);
    assert_int_equal(figures.dropped - before.dropped, 1000);
    assert_int_equal(lines + 1000, count);
    assert_int_equal(error, 0);
}

/* A reader that is too slow for long: each gap is reported where it is, and not after each line. */
static void test_a_slow_reader(void **state) {
    struct log_queue_figures figures = {0}, before;
    log_queue_figures(log_queue_log, &before);
    unsigned count = 0;
    for (int round = 0; round < 1000; round++) {
        for (int i = 0; i < 3; i++)
            put(count++, 1000);
        ssize_t n = read(ends[0], got + got_len, 1000);
        got_len += n > 0 ? (size_t)n : 0;
        log_queue_set_served(log_queue_log, false);
        log_queue_flush(log_queue_log, 1);
        log_queue_set_served(log_queue_log, true);
    }
    drain();
    put(count++, 100);
    drain();
    log_queue_figures(log_queue_log, &figures);
    unsigned long told;
    int error = -1;
    unsigned lines = count_lines(0, true, &told, &error);
    assert_true(told > 0);
    assert_int_equal(told, figures.dropped - before.dropped);
    assert_int_equal(lines + told, count);
}

/* As on a full disk: what does not fit waits, and is written when there is room. */
static void test_a_file_that_cannot_grow(void **state) {
    char path[] = "/tmp/tidewire-log-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    struct rlimit limit, old;
    getrlimit(RLIMIT_FSIZE, &old);
    limit = (struct rlimit){.rlim_cur = 10050, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    log_queue_set_fd(log_queue_log, fd, true, tell);
    struct log_queue_figures figures, before;
    log_queue_figures(log_queue_log, &before);
    unsigned count = 0;
    do {
        put(count++, 1000);
        log_queue_figures(log_queue_log, &figures);
    } while (figures.dropped - before.dropped < 10);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    log_queue_set_served(log_queue_log, false);
    assert_true(log_queue_flush(log_queue_log, 1000));
    put(count++, 1000);
    got_len = (size_t)pread(fd, got, sizeof(got), 0);
    close(fd);
    unlink(path);
    unsigned long told;
    int error;
    assert_int_equal(count_lines(0, true, &told, &error) + 10, count);
    assert_int_equal(told, 10);
    assert_int_equal(error, EFBIG);
}

/* No file gets half a line: one that was begun in the old is not gone on with in the new. */
static void test_another_descriptor(void **state) {
    int other[2];
    assert_int_equal(pipe2(other, O_NONBLOCK), 0);
    struct log_queue_figures figures;
    unsigned count = 0;
    do {
        put(count++, 4999);
        log_queue_figures(log_queue_log, &figures);
    } while (figures.waiting < 50 * 4999);
    log_queue_set_served(log_queue_log, false);
    while (figures.waiting % 4999 == 0) { /* until the pipe has a part of a line */
        assert_true(figures.waiting > 0);
        read(ends[0], got, 4096);
        log_queue_flush(log_queue_log, 1);
        log_queue_figures(log_queue_log, &figures);
    }
    log_queue_set_served(log_queue_log, true);
    for (unsigned i = 0; i < 5; i++)
        put(count + i, 100);
    close_pipe(NULL);
    memcpy(ends, other, sizeof(ends));
    log_queue_set_fd(log_queue_log, ends[1], true, tell);
    drain();
    put(count + 5, 100);
    drain();
    unsigned long told;
    int error;
    unsigned first = (unsigned)strtoul(got, NULL, 10);
    assert_int_equal(count_lines(first, false, &told, &error), count + 6 - first);
    assert_int_equal(told, 1); /* the torn one */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lines_go_at_once_where_they_can, open_pipe,
                                        close_pipe),
        cmocka_unit_test_setup_teardown(test_what_waits_has_a_ceiling, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(test_a_slow_reader, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(test_a_file_that_cannot_grow, open_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(test_another_descriptor, open_pipe, close_pipe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
