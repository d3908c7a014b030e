/* test_transport_tls.c -- handshakes of TLS on a real loop: of transport.c, beside other streams.
 */
#include "net/socket/transport.h"

#include "tls_pair.h"

#include <fcntl.h>

enum { CLIENTS = 300, HELLO_BYTES = 4096 };

static uv_loop_t loop;
static struct stats stats;
static struct transport *transport;
static int peers[CLIENTS + 1]; /* the clients' ends; the last one is not encrypted */
static int received_plain, closed;

static void on_received(void *owner, char *bytes, size_t len) {
    received_plain++;
}

static bool on_ended(void *owner) {
    return false;
}

static void on_closed(void *owner) {
    closed++;
}

static const struct stream_events events = {on_received, NULL, on_ended, on_closed, NULL};

static void adopt(int *peer, struct tls_server *secured) {
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    *peer = pair[1];
    assert_non_null(stream_adopt(transport, pair[0], "192.0.2.1", secured, &events, NULL));
}

/* The first message of a client. */
static size_t make_hello(char *bytes) {
    start(NULL);
    SSL_do_handshake(client);
    ssize_t n = read(fds[0], bytes, HELLO_BYTES);
    finish(NULL);
    assert_true(n > 0);
    return (size_t)n;
}

/* How many clients have got an answer. */
static int answers(void) {
    int count = 0;
    char byte;
    for (int i = 0; i < CLIENTS; i++)
        count += recv(peers[i], &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
    return count;
}

/* So many handshakes take longer than the slice that they have of a turn. */
static void handshakes_do_not_hold_up_other_streams(void **state) {
    char hello[HELLO_BYTES];
    size_t len = make_hello(hello);
    uv_loop_init(&loop);
    transport = transport_new(&loop, &stats);
    for (int i = 0; i < CLIENTS; i++)
        adopt(&peers[i], tls_server);
    adopt(&peers[CLIENTS], NULL);
    for (int i = 0; i < CLIENTS; i++)
        assert_int_equal(write(peers[i], hello, len), len);
    uv_run(&loop, UV_RUN_NOWAIT);
    int first = answers();
    assert_in_range(first, 1, CLIENTS - 1);
    assert_int_equal(write(peers[CLIENTS], "x", 1), 1);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(received_plain, 1);
    assert_true(answers() < CLIENTS);
    while (answers() < CLIENTS)
        uv_run(&loop, UV_RUN_NOWAIT);
    transport_stop(transport);
    while (uv_run(&loop, UV_RUN_DEFAULT) != 0) {
    }
    assert_int_equal(closed, CLIENTS + 1);
    for (int i = 0; i <= CLIENTS; i++)
        close(peers[i]);
    transport_free(transport);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(handshakes_do_not_hold_up_other_streams),
    };
    return cmocka_run_group_tests(tests, start_group, finish_group);
}
