/* test_notify.c -- the messages to systemd, on both kinds of sockets; a supervisor that does not
 * read them cannot block the server. */
#include "server/notify.h"

#include "base/log/log.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static uv_loop_t loop;
static struct process process;
static struct workers *workers; /* none */
static struct notify notify;
static int listener = -1;

static void on_report(void *user) {
}

/* Listens for datagrams at "@name" or "/path", and sets NOTIFY_SOCKET. */
static void listen_at(const char *text) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(text);
    memcpy(address.sun_path, text, len);
    if (text[0] == '@')
        address.sun_path[0] = '\0';
    listener = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    unlink(text);
    assert_int_equal(bind(listener, (struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
                     0);
    setenv("NOTIFY_SOCKET", text, 1);
}

static void listen_abstract(void) {
    char text[64];
    snprintf(text, sizeof text, "@tidewire-test-notify-%ld", (long)getpid());
    listen_at(text);
}

static int setup(void **state) {
    log_set_level(LOG_ERROR + 1);
    uv_loop_init(&loop);
    process_init(&process);
    workers = workers_new(&loop, &process, NULL, NULL, on_report, NULL);
    return 0;
}

static int teardown(void **state) {
    notify_close(&notify);
    workers_join(workers);
    uv_run(&loop, UV_RUN_DEFAULT);
    workers_free(workers);
    process_close(&process);
    assert_int_equal(uv_loop_close(&loop), 0);
    if (listener >= 0)
        close(listener);
    listener = -1;
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    return 0;
}

static void begin(void) {
    notify_init(&notify, &loop, &process, workers);
}

/* The next datagram; "" when there is none. */
static const char *heard(void) {
    static char text[1024];
    ssize_t len = recv(listener, text, sizeof text - 1, 0);
    text[len > 0 ? len : 0] = '\0';
    return text;
}

static void check_heard(const char *expected) {
    assert_string_equal(heard(), expected);
}

/* The same behind a line of state with a process's number. */
static void check_heard_pid(const char *state, long pid, const char *status) {
    char expected[256];
    snprintf(expected, sizeof expected, "%s=%ld\nSTATUS=%s", state, pid, status);
    check_heard(expected);
}

static void test_life(void **state) {
    listen_abstract();
    begin();
    notify_ready(&notify);
    check_heard_pid("READY=1\nMAINPID", (long)getpid(), "serving; 0 connections");
    notify_reloading(&notify);
    assert_memory_equal(heard(), "RELOADING=1\nMONOTONIC_USEC=", 27);
    notify_ready(&notify);
    check_heard_pid("READY=1\nMAINPID", (long)getpid(), "serving; 0 connections");
    notify_upgraded(&notify, 4711);
    check_heard_pid("MAINPID", 4711, "upgraded; 0 connections");
    notify_stopping(&notify);
    check_heard("STOPPING=1\nSTATUS=draining; 0 connections");
    check_heard("");
}

static void test_socket_with_a_file(void **state) {
    char path[64];
    snprintf(path, sizeof path, "/tmp/tidewire-test-notify-%ld", (long)getpid());
    listen_at(path);
    begin();
    notify_stopping(&notify);
    check_heard("STOPPING=1\nSTATUS=draining; 0 connections");
    unlink(path); /* systemd starts again: the server goes on */
    notify_ready(&notify);
    check_heard("");
}

static void test_variables_are_removed(void **state) {
    listen_abstract();
    setenv("WATCHDOG_USEC", "1000000", 1);
    setenv("WATCHDOG_PID", "1", 1);
    begin();
    assert_null(getenv("NOTIFY_SOCKET"));
    assert_null(getenv("WATCHDOG_USEC"));
    assert_null(getenv("WATCHDOG_PID"));
    assert_int_equal(notify.watchdog_us, 0); /* it is for another process */
}

static void test_a_period_that_is_no_number_is_none(void **state) {
    static const char *const wrong[] = {"",      "-1",     "+8000",
                                        " 8000", "8000us", "99999999999999999999"};
    listen_abstract();
    char *socket_name = mem_strdup(getenv("NOTIFY_SOCKET"));
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        if (i > 0) {
            notify_close(&notify);
            uv_run(&loop, UV_RUN_NOWAIT);
        }
        setenv("NOTIFY_SOCKET", socket_name, 1);
        setenv("WATCHDOG_USEC", wrong[i], 1);
        begin();
        assert_int_equal(notify.watchdog_us, 0);
    }
    mem_free(socket_name);
}

static void test_nobody_asks(void **state) {
    static const char *const wrong[] = {NULL, "", "relative", "@", "vsock:2:3"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        if (wrong[i] != NULL)
            setenv("NOTIFY_SOCKET", wrong[i], 1);
        begin();
        assert_int_equal(notify.fd, -1);
        notify_ready(&notify);
        notify_stopping(&notify);
        assert_false(uv_is_active((uv_handle_t *)&notify.timer));
        if (i + 1 < sizeof wrong / sizeof wrong[0]) {
            notify_close(&notify);
            uv_run(&loop, UV_RUN_NOWAIT);
        }
    }
}

/* A full socket takes no state, and does not block; the last state is sent when it has room
 * again. */
static void test_nobody_reads(void **state) {
    listen_abstract();
    setenv("WATCHDOG_USEC", "4000", 1);
    begin();
    for (int i = 0; i < 1000; i++)
        notify_reloading(&notify);
    notify_ready(&notify);
    assert_true(notify.unsent[0] != '\0');
    while (strncmp(heard(), "RELOADING", 9) == 0) {
    }
    while (notify.unsent[0] != '\0')
        uv_run(&loop, UV_RUN_ONCE);
    check_heard_pid("READY=1\nMAINPID", (long)getpid(), "serving; 0 connections");
}

static void test_watchdog(void **state) {
    listen_abstract();
    setenv("WATCHDOG_USEC", "8000", 1);
    begin();
    for (int i = 0; i < 3; i++) /* not before it is ready */
        uv_run(&loop, UV_RUN_NOWAIT);
    check_heard("");
    notify_ready(&notify);
    assert_memory_equal(heard(), "READY=1", 7);
    for (int seen = 0; seen < 3;) {
        uv_run(&loop, UV_RUN_ONCE);
        const char *text = heard();
        if (text[0] != '\0') {
            assert_string_equal(text, "WATCHDOG=1");
            seen++;
        }
    }
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_life),
        TEST(test_socket_with_a_file),
        TEST(test_variables_are_removed),
        TEST(test_nobody_asks),
        TEST(test_a_period_that_is_no_number_is_none),
        TEST(test_nobody_reads),
        TEST(test_watchdog),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
