/* test_cosockets.c -- sockets of scripts on a real loop: connecting, bytes, waiters, deadlines,
 * kept ones, the limit, and the end of the server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "net/cosocket/cosockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static uv_loop_t loop;
static struct stats stats;
static struct limit limit;
static struct cosockets *all;
static struct cosocket_functions f;
static int listener;
static unsigned port;

static int set_up(void **state) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    (void)state;
    memset(&stats, 0, sizeof stats);
    memset(&limit, 0, sizeof limit);
    uv_loop_init(&loop);
    all = cosockets_new(&loop, &stats, &limit);
    f = cosockets_functions(all);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 16), 0);
    getsockname(listener, (struct sockaddr *)&address, &len);
    port = ntohs(address.sin_port);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    close(listener);
    cosockets_stop(all);
    uv_run(&loop, UV_RUN_DEFAULT);
    cosockets_free(all);
    assert_int_equal(uv_loop_close(&loop), 0);
    assert_int_equal(limit_taken(&limit), 0);
    assert_int_equal(stats_read(&stats.cosockets), 0);
    assert_int_equal(stats_read(&stats.cosockets_kept), 0);
    return 0;
}

static uint64_t calls; /* bits of the tags with which waiters were called */

static void on_ready(void *context, uint64_t tag) {
    assert_ptr_equal(context, &calls);
    assert_int_equal(calls & tag, 0);
    calls |= tag;
}

static bool wait_for(uint64_t number, enum cosocket_side side, uint64_t ms, uint64_t tag) {
    calls &= ~tag;
    return f.wait(f.user, number, side, ms, on_ready, &calls, tag);
}

static void run_until(uint64_t tag) {
    while ((calls & tag) == 0)
        uv_run(&loop, UV_RUN_ONCE);
}

/* A connected one; *peer is the other end. */
static uint64_t connected(int *peer) {
    struct cosocket_address address = {COSOCKET_INET, "127.0.0.1", port};
    uint64_t number = f.make(f.user);
    assert_int_equal(f.open(f.user, number, COSOCKET_INET), COSOCKET_DONE);
    int result = f.connect(f.user, number, &address);
    if (result == COSOCKET_AGAIN) {
        assert_true(wait_for(number, COSOCKET_OUT, UINT64_MAX, 1));
        run_until(1);
        result = f.connected(f.user, number);
    }
    assert_int_equal(result, COSOCKET_DONE);
    *peer = accept(listener, NULL, NULL);
    return number;
}

static void assert_buffer(uint64_t number, const char *text) {
    struct slice bytes = f.peek(f.user, number);
    assert_true(slice_is(bytes, text));
}

static void test_bytes_pass_both_ways(void **state) {
    int peer;
    char got[8] = "";
    size_t sent = 0;
    uint64_t number = connected(&peer);
    (void)state;
    assert_int_equal(f.send(f.user, number, slice_of("hello"), &sent), COSOCKET_DONE);
    assert_int_equal(sent, 5);
    assert_int_equal(read(peer, got, sizeof got), 5);
    assert_int_equal(f.fill(f.user, number), COSOCKET_AGAIN);
    assert_int_equal(write(peer, "one", 3), 3);
    assert_true(wait_for(number, COSOCKET_IN, UINT64_MAX, 2));
    run_until(2);
    assert_int_equal(f.fill(f.user, number), COSOCKET_DONE);
    assert_buffer(number, "one");
    f.drop(f.user, number, 1);
    assert_buffer(number, "ne");
    close(peer);
    assert_true(wait_for(number, COSOCKET_IN, UINT64_MAX, 4));
    run_until(4);
    assert_int_equal(f.fill(f.user, number), COSOCKET_CLOSED);
    assert_buffer(number, "ne");
    struct cosocket_counts counts;
    f.counts(f.user, number, &counts);
    assert_int_equal(counts.sent, 5);
    assert_int_equal(counts.received, 1);
    f.release(f.user, number);
    assert_int_equal(f.fill(f.user, number), COSOCKET_CLOSED);
}

static void test_the_buffer_has_a_ceiling(void **state) {
    int peer;
    uint64_t number = connected(&peer);
    char bytes[4096] = "";
    (void)state;
    size_t sent = 0;
    while (sent < 4 * COSOCKET_BUFFER_BYTES) {
        ssize_t n = send(peer, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n > 0)
            sent += (size_t)n;
        f.fill(f.user, number);
        size_t len = f.peek(f.user, number).len;
        assert_true(len <= COSOCKET_BUFFER_BYTES + 32 * 1024);
        if (len >= COSOCKET_BUFFER_BYTES && n < 0)
            break; /* the rest waits in the system */
        if (len >= COSOCKET_BUFFER_BYTES)
            assert_int_equal(f.fill(f.user, number), COSOCKET_DONE);
    }
    close(peer);
}

static void test_each_side_has_one_waiter(void **state) {
    int peer;
    uint64_t number = connected(&peer);
    (void)state;
    assert_true(wait_for(number, COSOCKET_IN, UINT64_MAX, 8));
    assert_false(wait_for(number, COSOCKET_IN, UINT64_MAX, 16));
    assert_true(wait_for(number, COSOCKET_OUT, UINT64_MAX, 32));
    run_until(32);
    f.wait(f.user, number, COSOCKET_IN, UINT64_MAX, NULL, NULL, 16); /* not this one's */
    assert_false(wait_for(number, COSOCKET_IN, UINT64_MAX, 16));
    f.wait(f.user, number, COSOCKET_IN, UINT64_MAX, NULL, NULL, 8);
    assert_true(wait_for(number, COSOCKET_IN, UINT64_MAX, 16));
    f.close(f.user, number);
    assert_int_equal(calls & (8 | 16), 16);
    assert_int_equal(f.descriptor(f.user, number), -1);
    assert_true(wait_for(number, COSOCKET_IN, UINT64_MAX, 64)); /* at once: it is closed */
    assert_int_equal(calls & 64, 64);
    close(peer);
}

static void test_waits_have_deadlines(void **state) {
    int peers[3];
    uint64_t numbers[3];
    (void)state;
    for (int i = 0; i < 3; i++)
        numbers[i] = connected(&peers[i]);
    wait_for(numbers[0], COSOCKET_IN, 60000, 1);
    wait_for(numbers[1], COSOCKET_IN, 20, 2);
    wait_for(numbers[2], COSOCKET_IN, 1, 4);
    run_until(4);
    wait_for(numbers[2], COSOCKET_IN, 60000, 4); /* the earlier entry of the heap is void */
    run_until(2);
    assert_int_equal(calls & (1 | 4), 0);
    assert_int_equal(write(peers[0], "x", 1), 1);
    run_until(1);
    assert_int_equal(calls & 4, 0);
    for (int i = 0; i < 3; i++)
        close(peers[i]);
}

static void test_a_refused_connection(void **state) {
    struct cosocket_address address = {COSOCKET_INET, "127.0.0.1", port};
    uint64_t number = f.make(f.user);
    (void)state;
    close(listener);
    assert_int_equal(f.connect(f.user, number, &address), COSOCKET_CLOSED); /* not opened */
    f.open(f.user, number, COSOCKET_INET);
    int result = f.connect(f.user, number, &address);
    if (result == COSOCKET_AGAIN) {
        wait_for(number, COSOCKET_OUT, UINT64_MAX, 1);
        run_until(1);
        result = f.connected(f.user, number);
    }
    assert_int_equal(result, ECONNREFUSED);
    assert_int_equal(stats_read(&stats.cosockets_failed), 1);
    address.host = "no address";
    assert_int_equal(f.connect(f.user, number, &address), EINVAL);
    listener = socket(AF_INET, SOCK_STREAM, 0);
}

static void test_kept_ones(void **state) {
    int peers[4];
    uint32_t times = 0;
    uint64_t numbers[4];
    struct slice key = slice_of("key");
    (void)state;
    for (int i = 0; i < 4; i++)
        numbers[i] = connected(&peers[i]);
    for (int i = 0; i < 3; i++)
        assert_int_equal(f.keep(f.user, numbers[i], key, UINT64_MAX, 2), COSOCKET_DONE);
    assert_int_equal(stats_read(&stats.cosockets_kept), 2); /* the first one had to go */
    assert_int_equal(f.descriptor(f.user, numbers[1]), -1);
    assert_int_equal(f.keep(f.user, numbers[1], key, UINT64_MAX, 2), COSOCKET_CLOSED);
    close(peers[2]); /* no call has seen that: `take` does */
    uint64_t taken = f.take(f.user, key, &times);
    assert_true(taken != 0 && taken != numbers[1]);
    assert_int_equal(times, 1);
    assert_int_equal(f.take(f.user, key, &times), 0);
    assert_int_equal(write(peers[1], "x", 1), 1);
    while (f.fill(f.user, taken) == COSOCKET_AGAIN)
        continue;
    assert_buffer(taken, "x");
    assert_int_equal(f.keep(f.user, taken, key, UINT64_MAX, 2), COSOCKET_BUSY);
    f.drop(f.user, taken, 1);
    assert_int_equal(f.keep(f.user, taken, key, UINT64_MAX, 2), COSOCKET_DONE);
    assert_int_equal(f.keep(f.user, numbers[3], slice_of("other"), 1, 2), COSOCKET_DONE);
    close(peers[1]);
    while (stats_read(&stats.cosockets_kept) > 0) /* one was closed, the other's time is over */
        uv_run(&loop, UV_RUN_ONCE);
    assert_int_equal(limit_taken(&limit), 0);
    close(peers[0]);
    close(peers[3]);
}

static void test_idle_ones(void **state) {
    int peers[3];
    uint64_t numbers[3];
    uint32_t open = 0;
    size_t sent = 0;
    (void)state;
    for (int i = 0; i < 3; i++)
        numbers[i] = connected(&peers[i]);
    assert_int_equal(f.idle(f.user, 60000, &open), 0);
    assert_int_equal(open, 3);
    wait_for(numbers[0], COSOCKET_IN, UINT64_MAX, 1);
    assert_int_equal(f.idle(f.user, 0, &open), 2);
    assert_int_equal(f.idle(f.user, 0, &open), 0); /* they were counted */
    f.send(f.user, numbers[1], slice_of("x"), &sent);
    f.close(f.user, numbers[2]);
    assert_int_equal(f.idle(f.user, 0, &open), 1);
    assert_int_equal(open, 2);
    for (int i = 0; i < 3; i++)
        close(peers[i]);
}

static void test_one_that_is_not_connected_yet_stays_open(void **state) {
    int peer;
    uint32_t open;
    uint64_t bound = f.make(f.user), ended = connected(&peer);
    (void)state;
    assert_int_equal(f.open(f.user, bound, COSOCKET_INET), COSOCKET_DONE);
    shutdown(peer, SHUT_WR);
    loop.time += 60000;
    f.idle(f.user, 60000, &open);
    assert_true(f.descriptor(f.user, bound) >= 0);
    assert_int_equal(f.descriptor(f.user, ended), -1); /* its peer has ended */
    close(peer);
}

static void test_the_limit(void **state) {
    int peers[2];
    uint64_t numbers[2], third = f.make(f.user);
    (void)state;
    for (int i = 0; i < 2; i++)
        numbers[i] = connected(&peers[i]);
    limit.max = 2;
    assert_int_equal(f.open(f.user, third, COSOCKET_INET), COSOCKET_LIMIT);
    assert_int_equal(f.keep(f.user, numbers[0], slice_of("k"), UINT64_MAX, 9), COSOCKET_DONE);
    assert_int_equal(f.open(f.user, third, COSOCKET_INET), COSOCKET_DONE); /* the kept one goes */
    assert_int_equal(stats_read(&stats.cosockets_kept), 0);
    close(peers[0]);
    close(peers[1]);
}

static void test_the_limit_of_the_process(void **state) {
    int peer;
    uint64_t kept = connected(&peer), number = f.make(f.user);
    struct rlimit before, now;
    (void)state;
    assert_int_equal(f.keep(f.user, kept, slice_of("k"), UINT64_MAX, 9), COSOCKET_DONE);
    getrlimit(RLIMIT_NOFILE, &before);
    now = before;
    now.rlim_cur = (rlim_t)dup(listener); /* the first number that is free */
    close((int)now.rlim_cur);
    setrlimit(RLIMIT_NOFILE, &now);
    int first = f.open(f.user, number, COSOCKET_INET); /* the kept one goes */
    int second = f.open(f.user, f.make(f.user), COSOCKET_INET);
    setrlimit(RLIMIT_NOFILE, &before);
    assert_int_equal(first, COSOCKET_DONE);
    assert_int_equal(second, EMFILE);
    close(peer);
}

static void test_the_end_of_the_server(void **state) {
    int peers[2];
    uint64_t number = connected(&peers[0]), other = connected(&peers[1]);
    size_t sent = 0;
    (void)state;
    wait_for(number, COSOCKET_IN, UINT64_MAX, 1);
    cosockets_drain(all);
    assert_int_equal(f.send(f.user, other, slice_of("x"), &sent), COSOCKET_DONE); /* still works */
    run_until(1);
    assert_int_equal(f.fill(f.user, number), COSOCKET_CLOSED);
    assert_true(f.descriptor(f.user, other) >= 0);
    wait_for(other, COSOCKET_OUT, UINT64_MAX, 2);
    run_until(2);
    close(peers[0]);
    close(peers[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_bytes_pass_both_ways, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_buffer_has_a_ceiling, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_each_side_has_one_waiter, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_waits_have_deadlines, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_refused_connection, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_kept_ones, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_idle_ones, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_one_that_is_not_connected_yet_stays_open, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_the_limit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_limit_of_the_process, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_end_of_the_server, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
