/* test_http_pass.c -- connections that one worker passes to another: on real sockets and two loops,
 * whose turns the tests decide, and on two threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tls_pair.h"

#include "base/clock.h"
#include "base/turn.h"
#include "net/http/http.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

enum { WORKERS = 2, THREADED_CLIENTS = 200, TEXT = 4096 };

static struct admission *admission;
static struct handoffs *handoffs;
static struct tls_server *secured;

/* A worker, whose handler passes each handshake to the worker that its query names. */
struct worker {
    uv_loop_t loop;
    unsigned number;
    struct stats stats;
    struct transport *transport;
    struct http_server *http;
    bool is_slow;         /* each call of its handler takes a slice of the turn */
    int handshakes, open; /* calls of the handler; WebSockets that are open */
    uv_async_t stop;
    uv_thread_t thread;
};

static struct worker workers[WORKERS];
static atomic_int served;

/* A WebSocket, which sends back what it gets. */
struct socket_owner {
    struct worker *worker;
    struct stream *stream;
    struct permit permit;
};

static void on_received(void *user, char *bytes, size_t len) {
    struct socket_owner *owner = user;
    assert_int_equal(stream_write(owner->stream, bytes, len), len);
}

static bool on_ended(void *user) {
    return false;
}

static void on_closed(void *user) {
    struct socket_owner *owner = user;
    owner->worker->open--;
    admission_release(admission, &owner->permit);
    mem_free(owner);
}

static const struct stream_events events = {on_received, NULL, on_ended, on_closed, NULL};

/* Opens a WebSocket: writes a text with the worker's number and the client's address, then what had
 * come behind the request. */
static void open_socket(struct worker *worker, struct http *http, char *ahead, size_t ahead_len) {
    struct socket_owner *owner = mem_zalloc(sizeof *owner);
    char text[128];
    int len = snprintf(text, sizeof text, "worker %u, %s, %s: ", worker->number, http_remote(http),
                       http_is_secure(http) ? "secure" : "plain");
    *owner = (struct socket_owner){worker, http_stream(http), http_take_permit(http)};
    stream_set_owner(owner->stream, &events, owner);
    worker->open++;
    assert_int_equal(stream_write(owner->stream, text, (size_t)len), len);
    if (ahead_len > 0)
        on_received(owner, ahead, ahead_len);
    http_detach(http);
}

static void on_handshake(void *user, struct http *http, const struct request *request, char *ahead,
                         size_t ahead_len) {
    struct worker *worker = user;
    unsigned wanted = (unsigned)(request->query.bytes[0] - '0');
    worker->handshakes++;
    for (uint64_t began = clock_monotonic_ns();
         worker->is_slow && clock_monotonic_ns() - began <= TURN_SLICE_NS;) {
    }
    atomic_fetch_add(&served, wanted == worker->number);
    if (wanted == worker->number)
        open_socket(worker, http, ahead, ahead_len);
    else if (http_can_pass(http))
        http_pass(http, wanted == 9 ? 1 - worker->number : wanted, ahead, ahead_len);
    else
        http_respond_text(http, 200, NULL, "passed too often");
}

static void on_stop(uv_async_t *stop) {
    uv_stop(stop->loop);
}

static void open_worker(unsigned number) {
    struct worker *worker = &workers[number];
    *worker = (struct worker){.number = number};
    assert_int_equal(uv_loop_init(&worker->loop), 0);
    uv_async_init(&worker->loop, &worker->stop, on_stop); /* it keeps the loop alive */
    worker->transport = transport_new(&worker->loop, &worker->stats);
    const struct http_options options = {.max_head_bytes = 4000,
                                         .max_body_bytes = 1000,
                                         .request_ms = 60000,
                                         .half_closed_ms = 60000,
                                         .send_ms = 60000,
                                         .admission = admission,
                                         .tls = secured,
                                         .handoffs = handoffs,
                                         .worker = number};
    worker->http = http_server_new(&worker->loop, worker->transport, &worker->stats, &options);
    http_server_on_handshake(worker->http, on_handshake, worker);
}

static void close_worker(unsigned number) {
    struct worker *worker = &workers[number];
    if (worker->http == NULL)
        return;
    uv_close((uv_handle_t *)&worker->stop, NULL);
    http_server_close(worker->http);
    transport_stop(worker->transport);
    while (uv_run(&worker->loop, UV_RUN_DEFAULT) != 0) {
    }
    http_server_free(worker->http);
    transport_free(worker->transport);
    assert_int_equal(worker->open, 0);
    assert_int_equal(uv_loop_close(&worker->loop), 0);
    worker->http = NULL;
}

static int open_workers(void **state) {
    (void)state;
    admission = mem_alloc(sizeof *admission);
    admission_init(admission);
    atomic_store(&admission->connections.max, 5000);
    atomic_store(&admission->uploads.max, 1 << 20);
    atomic_store(&admission->uploads.max_of_one, 1 << 20);
    handoffs = handoffs_new();
    for (unsigned i = 0; i < WORKERS; i++)
        open_worker(i);
    return 0;
}

static int close_workers(void **state) {
    (void)state;
    for (unsigned i = 0; i < WORKERS; i++)
        close_worker(i);
    handoffs_free(handoffs);
    assert_int_equal(limit_taken(&admission->connections), 0);
    assert_int_equal(limit_taken(&admission->refusals), 0);
    assert_int_equal(admission->uploads.taken, 0);
    assert_int_equal(ip_counts_get(admission->ip_counts, "192.0.2.1"), 0);
    admission_close(admission);
    mem_free(admission);
    return 0;
}

static void turn(unsigned worker) {
    uv_run(&workers[worker].loop, UV_RUN_NOWAIT);
}

static void turn_all(int turns) {
    for (int i = 0; i < turns; i++)
        for (unsigned w = 0; w < WORKERS; w++)
            turn(w);
}

/* ---- clients ---- */

/* The client's end of a connection to a worker. */
static int connect_to(unsigned worker) {
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    http_accept(workers[worker].http, pair[0], "192.0.2.1");
    return pair[1];
}

static size_t write_handshake(char *out, unsigned wanted, const char *behind) {
    return (size_t)snprintf(out, TEXT,
                            "GET /?%u HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n%s",
                            wanted, behind);
}

static void send_handshake(int fd, unsigned wanted, const char *behind) {
    char text[TEXT];
    size_t len = write_handshake(text, wanted, behind);
    assert_int_equal(write(fd, text, len), len);
}

/* What has arrived; "(end)" behind it when the socket is closed. */
static const char *read_all(int fd) {
    static char text[TEXT];
    size_t len = 0;
    ssize_t n;
    while ((n = read(fd, text + len, sizeof text - len - 8)) > 0)
        len += (size_t)n;
    strcpy(text + len, n == 0 ? "(end)" : "");
    return text;
}

/* ---- the tests ---- */

static void another_worker_goes_on(void **state) {
    int fd = connect_to(0);
    send_handshake(fd, 1, "behind");
    turn(0);
    assert_int_equal(http_server_count(workers[0].http), 0);
    assert_int_equal(admission->uploads.taken, 6);
    assert_string_equal(read_all(fd), "");
    assert_int_equal(write(fd, " and later", 10), 10); /* nobody has asked for it yet */
    turn(0);
    turn_all(3);
    assert_string_equal(read_all(fd), "worker 1, 192.0.2.1, plain: behind and later");
    assert_int_equal(ip_counts_get(admission->ip_counts, "192.0.2.1"), 1);
    assert_int_equal(limit_taken(&admission->connections), 1);
    assert_int_equal(stats_read(&workers[0].stats.sessions_passed), 1);
    assert_int_equal(stats_read(&workers[1].stats.sessions_passed), 0);
    assert_int_equal(write(fd, "!", 1), 1);
    turn_all(2);
    assert_string_equal(read_all(fd), "!");
    close(fd);
    turn_all(2);
    assert_int_equal(workers[1].open, 0);
    assert_int_equal(limit_taken(&admission->connections), 0);
}

/* The worker gives way after the first of them; what arrives meanwhile is behind the request. */
static void one_that_waits_loses_nothing(void **state) {
    int ends[3];
    workers[1].is_slow = true;
    for (int i = 0; i < 3; i++) {
        ends[i] = connect_to(0);
        send_handshake(ends[i], 1, "");
    }
    turn(0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(write(ends[i], "more", 4), 4);
    turn(1);
    turn(1);
    assert_int_equal(workers[1].handshakes, 1);
    turn_all(4);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(read_all(ends[i]), "worker 1, 192.0.2.1, plain: more");
        close(ends[i]);
    }
    turn_all(2);
}

/* The descriptor's number is the next connection's, while the first worker still runs. */
static void numbers_of_descriptors_are_used_again(void **state) {
    for (int i = 0; i < 50; i++) {
        int fd = connect_to(0), other = connect_to(0);
        send_handshake(fd, 1, "");
        send_handshake(other, 0, "");
        turn(0);
        close(fd);
        turn(1);
        turn(1);
        int next = connect_to(0);
        send_handshake(next, 0, "");
        assert_int_equal(write(other, "x", 1), 1);
        turn_all(2);
        assert_string_equal(read_all(other), "worker 0, 192.0.2.1, plain: x");
        assert_string_equal(read_all(next), "worker 0, 192.0.2.1, plain: ");
        close(other);
        close(next);
        turn_all(2);
    }
}

/* The request comes in two reads, the second one with the client's end behind it. */
static void a_half_closed_socket_is_passed(void **state) {
    int fd = connect_to(0);
    char text[TEXT];
    size_t len = write_handshake(text, 1, "all");
    assert_int_equal(write(fd, text, 20), 20);
    turn_all(2);
    assert_int_equal(write(fd, text + 20, len - 20), len - 20);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    turn_all(5);
    assert_string_equal(read_all(fd), "worker 1, 192.0.2.1, plain: all(end)");
    assert_int_equal(workers[1].open, 0);
    close(fd);
}

static void a_client_may_leave_on_the_way(void **state) {
    int fd = connect_to(0);
    send_handshake(fd, 1, "behind");
    turn(0);
    close(fd);
    turn_all(5);
    assert_int_equal(workers[1].open, 0);
    assert_int_equal(http_server_count(workers[1].http), 0);
    assert_int_equal(limit_taken(&admission->connections), 0);
}

/* The session is always on the other worker. */
static void nothing_is_passed_for_ever(void **state) {
    int fd = connect_to(0);
    send_handshake(fd, 9, "");
    turn_all(20);
    assert_non_null(strstr(read_all(fd), "passed too often"));
    assert_int_equal(workers[0].handshakes + workers[1].handshakes, 4);
    close(fd);
    turn_all(3);
}

static void a_worker_that_has_ended_gets_nothing(void **state) {
    int waiting = connect_to(0), late = connect_to(0);
    send_handshake(waiting, 1, "x");
    turn(0);
    close_worker(1);
    assert_string_equal(read_all(waiting), "(end)");
    assert_int_equal(limit_taken(&admission->connections), 1);
    send_handshake(late, 1, "");
    turn(0);
    turn(0);
    const char *answer = read_all(late);
    assert_non_null(strstr(answer, "503"));
    assert_non_null(strstr(answer, "Retry-After: 5\r\n"));
    assert_non_null(strstr(answer, "The worker of the session is busy."));
    close(waiting);
    close(late);
    turn(0);
    turn(0);
}

/* The other worker does not run: its scripts do not return. */
static void the_queue_has_a_ceiling(void **state) {
    enum { CLIENTS = 1100, CEILING = 1024 };
    static int ends[CLIENTS];
    int refused = 0, opened = 0;
    for (int i = 0; i < CLIENTS; i++) {
        ends[i] = connect_to(0);
        send_handshake(ends[i], 1, "");
    }
    for (int i = 0; i < 10; i++)
        turn(0);
    for (int i = 0; i < CLIENTS; i++)
        refused += strstr(read_all(ends[i]), "503") != NULL;
    assert_int_equal(refused, CLIENTS - CEILING);
    for (int i = 0; i < 2000 && workers[1].open < CEILING; i++)
        turn(1);
    for (int i = 0; i < CLIENTS; i++) {
        opened += strstr(read_all(ends[i]), "worker 1") != NULL;
        close(ends[i]);
    }
    assert_int_equal(opened, CEILING);
    for (int i = 0; i < 2000 && limit_taken(&admission->connections) > 0; i++)
        turn_all(1);
}

/* limits.upload_backlog counts what comes behind a request, also on its way. */
static void bytes_on_the_way_are_limited(void **state) {
    char behind[500];
    memset(behind, 'x', sizeof behind - 1);
    behind[sizeof behind - 1] = '\0';
    atomic_store(&admission->uploads.max, 600);
    int first = connect_to(0), second = connect_to(0);
    send_handshake(first, 1, behind);
    send_handshake(second, 1, behind);
    turn(0);
    turn(0);
    assert_int_equal(admission->uploads.taken, 499);
    const char *text = read_all(second);
    assert_non_null(strstr(text, "503"));
    turn_all(3);
    assert_string_equal(read_all(first) + strlen("worker 1, 192.0.2.1, plain: "), behind);
    close(first);
    close(second);
    turn_all(3);
}

/* ---- TLS ---- */

static SSL *connect_secured(int fd, int version) {
    SSL *ssl = SSL_new(client_context);
    SSL_set_min_proto_version(ssl, version);
    SSL_set_max_proto_version(ssl, version);
    SSL_set_fd(ssl, fd);
    SSL_set_connect_state(ssl);
    for (int i = 0; i < 10 && SSL_do_handshake(ssl) != 1; i++)
        turn(0);
    assert_true(SSL_is_init_finished(ssl));
    return ssl;
}

static void check_reads(SSL *ssl, const char *want) {
    char got[TEXT];
    size_t have = 0, n;
    while (have < strlen(want) && SSL_read_ex(ssl, got + have, strlen(want) - have, &n) == 1)
        have += n;
    assert_int_equal(have, strlen(want));
    assert_memory_equal(got, want, have);
}

/* The worker that gets the connection decrypts its next record, and encrypts the answer. */
static void pass_secured(int version) {
    char text[TEXT];
    client_context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_ciphersuites(client_context, "TLS_AES_128_GCM_SHA256:TLS_AES_128_CCM_SHA256");
    for (int i = 0; i < 2; i++) {
        int fd = connect_to(0);
        SSL *ssl = connect_secured(fd, version);
        size_t len = write_handshake(text, 1, "behind");
        assert_int_equal(SSL_write(ssl, text, (int)len), len);
        turn(0);
        assert_int_equal(SSL_write(ssl, " and later", 10), 10);
        turn_all(3);
        check_reads(ssl, "worker 1, 192.0.2.1, secure: behind and later");
        assert_int_equal(SSL_write(ssl, "!", 1), 1);
        turn_all(2);
        check_reads(ssl, "!");
        assert_int_equal(stats_read(&workers[0].stats.tls_handshakes), i + 1);
        assert_int_equal(SSL_shutdown(ssl), 0);
        turn_all(3);
        assert_int_equal(SSL_shutdown(ssl), 1); /* the answer to close_notify */
        assert_int_equal(workers[1].open, 0);
        SSL_free(ssl);
        close(fd);
        turn_all(2);
    }
    assert_int_equal(stats_read(&workers[1].stats.tls_handshakes), 0);
    assert_int_equal(stats_read(&workers[0].stats.tls_failures), 0);
    SSL_CTX_free(client_context);
}

static int open_secured(void **state) {
    secured = tls_server;
    return open_workers(state);
}

/* Only OpenSSL's own object has this cipher's records. */
static int open_secured_ccm(void **state) {
    struct tls_problem problem = {.text = ""};
    struct tls_options options = certificate_files_options(&files, 1);
    char ccm[] = "TLS_AES_128_CCM_SHA256";
    options.cipher_suites = ccm;
    secured = tls_server_load(&options, NULL, &problem);
    free(options.certificates);
    assert_string_equal(problem.text, "");
    return open_workers(state);
}

static int close_secured(void **state) {
    close_workers(state);
    if (secured != tls_server)
        tls_server_unref(secured);
    secured = NULL;
    return 0;
}

static void tls13_goes_on(void **state) {
    pass_secured(TLS1_3_VERSION);
}

static void tls12_goes_on(void **state) {
    pass_secured(TLS1_2_VERSION);
}

/* ---- threads ---- */

static void run(void *user) {
    struct worker *worker = user;
    uv_run(&worker->loop, UV_RUN_DEFAULT);
    close_worker(worker->number);
}

/* Both workers pass connections to each other, and some of the clients leave. */
static void threads_pass_to_each_other(void **state) {
    static int ends[THREADED_CLIENTS];
    atomic_store(&served, 0);
    for (int i = 0; i < THREADED_CLIENTS; i++) {
        ends[i] = connect_to((unsigned)i % WORKERS);
        send_handshake(ends[i], (unsigned)(i / 2) % WORKERS, "x");
        if (i % 7 == 0)
            assert_int_equal(shutdown(ends[i], SHUT_RDWR), 0);
    }
    for (unsigned i = 0; i < WORKERS; i++)
        assert_int_equal(uv_thread_create(&workers[i].thread, run, &workers[i]), 0);
    while (atomic_load(&served) < THREADED_CLIENTS * 6 / 7)
        uv_sleep(1);
    for (unsigned i = 0; i < WORKERS; i++)
        uv_async_send(&workers[i].stop);
    for (unsigned i = 0; i < WORKERS; i++)
        uv_thread_join(&workers[i].thread);
    for (int i = 0; i < THREADED_CLIENTS; i++)
        close(ends[i]);
}

#define TEST(f)               cmocka_unit_test_setup_teardown(f, open_workers, close_workers)
#define SECURED_TEST(f, open) cmocka_unit_test_setup_teardown(f, open, close_secured)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(another_worker_goes_on),
        TEST(one_that_waits_loses_nothing),
        TEST(numbers_of_descriptors_are_used_again),
        TEST(a_half_closed_socket_is_passed),
        TEST(a_client_may_leave_on_the_way),
        TEST(nothing_is_passed_for_ever),
        TEST(a_worker_that_has_ended_gets_nothing),
        TEST(the_queue_has_a_ceiling),
        TEST(bytes_on_the_way_are_limited),
        SECURED_TEST(tls13_goes_on, open_secured),
        SECURED_TEST(tls12_goes_on, open_secured),
        {"tls13_goes_on_by_openssl", tls13_goes_on, open_secured_ccm, close_secured, NULL},
        TEST(threads_pass_to_each_other),
    };
    return cmocka_run_group_tests(tests, start_group, finish_group);
}
