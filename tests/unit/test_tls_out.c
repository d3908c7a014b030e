/* test_tls_out.c -- encrypted bytes that wait for a slow socket. */
#include "net/socket/tls_out.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { PIECE = 1024, MAX_WAITING = 64 * 1024 };

struct pair {
    struct tls_out out;
    int peer;
    uint8_t next_in, next_out; /* the bytes count from 0 to 255 */
};

static struct pair new_pair(void) {
    int fds[2], size = 1;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
    return (struct pair){.out = {.fd = fds[0]}, .peer = fds[1]};
}

static void close_pair(struct pair *pair) {
    tls_out_close(&pair->out);
    close(pair->out.fd);
    close(pair->peer);
}

static void write_piece(struct pair *pair) {
    uint8_t bytes[PIECE];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = pair->next_out++;
    tls_out_write(&pair->out, bytes, sizeof bytes);
}

/* Reads what is there, up to a piece. */
static void read_piece(struct pair *pair) {
    uint8_t bytes[PIECE];
    ssize_t n = recv(pair->peer, bytes, sizeof bytes, MSG_DONTWAIT);
    for (ssize_t i = 0; i < n; i++)
        assert_int_equal(bytes[i], pair->next_in++);
}

static void test_a_socket_that_is_never_empty_keeps_no_more_than_waits(void **state) {
    struct pair pair = new_pair();
    (void)state;
    for (int i = 0; i < 10000; i++) {
        while (tls_out_waiting(&pair.out) <= MAX_WAITING / 2)
            write_piece(&pair);
        assert_true(pair.out.len <= MAX_WAITING);
        read_piece(&pair);
        tls_out_flush(&pair.out);
    }
    while (!tls_out_flush(&pair.out))
        read_piece(&pair);
    while (pair.next_in != pair.next_out)
        read_piece(&pair);
    assert_false(pair.out.full);
    close_pair(&pair);
}

static void test_more_than_the_limit_is_not_kept(void **state) {
    struct pair pair = new_pair();
    (void)state;
    for (int i = 0; i < 10000 && !pair.out.full; i++)
        write_piece(&pair);
    assert_true(pair.out.full);
    assert_true(pair.out.len <= MAX_WAITING);
    close_pair(&pair);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_socket_that_is_never_empty_keeps_no_more_than_waits),
        cmocka_unit_test(test_more_than_the_limit_is_not_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
