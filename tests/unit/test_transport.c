/* test_transport.c -- streams on real sockets and a real loop: bytes, ends, resets, and owners that
 * close their stream, or another one, inside a call. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/turn.h"
#include "net/socket/transport.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum call { CALL_RECEIVED = 1, CALL_WRITABLE = 2, CALL_ENDED = 4 };

/* The owner of a stream. */
struct owner {
    struct stream *stream;
    int fd;               /* of the stream */
    int client;           /* the other end; -1: closed */
    int kills_in;         /* the calls in which it kills… */
    struct owner *victim; /* … this one's stream */
    bool goes_on;         /* what `ended` returns */
    bool pauses;          /* after each read */
    const char *replies;  /* what it writes after each read */
    size_t received, ends, writables, breaks, closes;
    char last;               /* the last byte of all */
    struct owner *successor; /* adopted inside `closed` */
    bool is_slow;            /* `closed` takes a slice of a turn */
};

static uv_loop_t loop;
static struct stats stats;
static struct transport *transport;
static int inside; /* calls of owners under way */

static const struct stream_events events;

static void act(struct owner *owner, enum call call) {
    if (owner->kills_in & (int)call)
        stream_kill((owner->victim == NULL ? owner : owner->victim)->stream);
}

static void on_received(void *user, char *bytes, size_t len) {
    struct owner *owner = user;
    assert_int_equal(owner->closes, 0);
    assert_true(len > 0);
    inside++;
    owner->received += len;
    owner->last = bytes[len - 1];
    if (owner->replies != NULL)
        assert_int_equal(stream_write(owner->stream, owner->replies, strlen(owner->replies)),
                         strlen(owner->replies));
    if (owner->pauses)
        stream_pause(owner->stream, true);
    act(owner, CALL_RECEIVED);
    inside--;
}

static void on_writable(void *user) {
    struct owner *owner = user;
    assert_int_equal(owner->closes, 0);
    inside++;
    owner->writables++;
    act(owner, CALL_WRITABLE);
    inside--;
}

static bool on_ended(void *user) {
    struct owner *owner = user;
    assert_int_equal(owner->closes, 0);
    inside++;
    owner->ends++;
    act(owner, CALL_ENDED);
    inside--;
    return owner->goes_on;
}

static void adopt(struct owner *owner, int fd) {
    owner->fd = fd;
    owner->stream = stream_adopt(transport, fd, "127.0.0.1", NULL, &events, owner);
    assert_non_null(owner->stream);
}

/* A Unix socket each. */
static void open_pair(struct owner *owner) {
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    owner->client = fds[1];
    adopt(owner, fds[0]);
}

/* A TCP connection over the loopback interface. */
static void open_tcp(struct owner *owner) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listening, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(listening, 1), 0);
    assert_int_equal(getsockname(listening, (struct sockaddr *)&at, &len), 0);
    owner->client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(owner->client, (struct sockaddr *)&at, sizeof at), 0);
    int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    close(listening);
    adopt(owner, fd);
}

static void on_closed(void *user) {
    struct owner *owner = user;
    assert_int_equal(inside, 0);
    assert_int_equal(owner->closes, 0);
    assert_int_equal(fcntl(owner->fd, F_GETFD), -1);
    owner->closes++;
    for (uint64_t began = clock_monotonic_ns();
         owner->is_slow && clock_monotonic_ns() - began <= TURN_SLICE_NS;)
        uv_update_time(&loop); /* as the loop does itself, between the parts of many events */
    if (owner->successor != NULL)
        open_pair(owner->successor);
}

static void on_broken(void *user) {
    struct owner *owner = user;
    assert_int_equal(owner->closes, 0);
    owner->breaks++;
}

static const struct stream_events events = {on_received, on_writable, on_ended, on_closed,
                                            on_broken};

static int start(void **state) {
    (void)state;
    assert_int_equal(uv_loop_init(&loop), 0);
    transport = transport_new(&loop, &stats);
    return 0;
}

/* No handle is left of all streams. */
static int finish(void **state) {
    (void)state;
    transport_stop(transport);
    uv_run(&loop, UV_RUN_DEFAULT);
    transport_free(transport);
    assert_int_equal(uv_loop_close(&loop), 0);
    return 0;
}

/* A turn that does not sleep. */
static void turn(void) {
    uv_run(&loop, UV_RUN_NOWAIT);
}

/* Enough turns for all that waits in the sockets. */
static void turns(void) {
    for (int i = 0; i < 20; i++)
        turn();
}

static void give(struct owner *owner, const char *text) {
    assert_int_equal(send(owner->client, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void end_client(struct owner *owner) {
    close(owner->client);
    owner->client = -1;
}

static void reset_client(struct owner *owner) {
    struct linger none = {.l_onoff = 1, .l_linger = 0};
    setsockopt(owner->client, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    end_client(owner);
}

static void expect_at_client(struct owner *owner, const char *text) {
    char bytes[256];
    ssize_t n = recv(owner->client, bytes, sizeof bytes, MSG_DONTWAIT);
    assert_int_equal(n, strlen(text));
    assert_memory_equal(bytes, text, strlen(text));
}

/* ---- bytes ---- */

static void carries_bytes_both_ways(void **state) {
    (void)state;
    struct owner ada = {.replies = "hello"};
    open_pair(&ada);
    give(&ada, "ping");
    turn();
    assert_int_equal(ada.received, 4);
    expect_at_client(&ada, "hello");
    end_client(&ada);
    turns();
    assert_int_equal(ada.ends, 1);
    assert_int_equal(ada.closes, 1);
}

static void reports_nothing_while_it_is_paused(void **state) {
    (void)state;
    struct owner ada = {0};
    open_pair(&ada);
    stream_pause(ada.stream, true);
    give(&ada, "ping");
    end_client(&ada);
    turns();
    assert_int_equal(ada.received + ada.ends, 0);
    ada.pauses = true; /* again after the first read */
    stream_pause(ada.stream, false);
    turns();
    assert_int_equal(ada.received, 4);
    assert_int_equal(ada.ends, 0);
    stream_pause(ada.stream, false);
    turns();
    assert_int_equal(ada.ends, 1);
    assert_int_equal(ada.closes, 1);
}

/* The socket takes no more, until the client reads. */
static void tells_when_the_socket_takes_bytes_again(void **state) {
    (void)state;
    static char bytes[1 << 20];
    struct owner ada = {0};
    open_pair(&ada);
    size_t sent = 0, n;
    while ((n = stream_write(ada.stream, bytes, sizeof bytes)) > 0)
        sent += n;
    stream_want_write(ada.stream);
    turns();
    assert_int_equal(ada.writables, 0);
    for (ssize_t got; sent > 0; sent -= (size_t)got)
        assert_true((got = recv(ada.client, bytes, sizeof bytes, 0)) > 0);
    turns();
    assert_int_equal(ada.writables, 1);
    end_client(&ada);
    turns();
    assert_int_equal(ada.closes, 1);
}

/* ---- ends ---- */

static void writes_on_after_the_clients_end(void **state) {
    (void)state;
    struct owner ada = {.goes_on = true};
    open_pair(&ada);
    give(&ada, "bye");
    shutdown(ada.client, SHUT_WR);
    turns();
    assert_int_equal(ada.received, 3);
    assert_int_equal(ada.ends, 1);
    assert_int_equal(ada.closes, 0);
    assert_int_equal(stream_write(ada.stream, "late", 4), 4);
    stream_shutdown(ada.stream);
    turns();
    assert_int_equal(ada.closes, 1);
    expect_at_client(&ada, "late");
    end_client(&ada);
}

static void reads_on_after_its_own_end(void **state) {
    (void)state;
    struct owner ada = {0};
    open_pair(&ada);
    stream_shutdown(ada.stream);
    turns();
    expect_at_client(&ada, "");
    give(&ada, "more");
    turns();
    assert_int_equal(ada.received, 4);
    end_client(&ada);
    turns();
    assert_int_equal(ada.closes, 1);
}

/* ---- resets ---- */

static void what_came_before_a_reset_is_received(void **state) {
    (void)state;
    for (int round = 0; round < 4; round++) {
        bool paused = round & 1, replies = round & 2;
        struct owner ada = {.replies = replies ? "reply" : NULL};
        open_tcp(&ada);
        stream_pause(ada.stream, paused);
        char text[8002];
        memset(text, 'x', sizeof text - 2);
        text[8000] = '!';
        text[8001] = '\0';
        give(&ada, text); /* at once: a reset drops what the client's system has not sent */
        reset_client(&ada);
        turns();
        if (paused) {
            assert_int_equal(ada.received + ada.closes, 0);
            stream_pause(ada.stream, false);
            turns();
        }
        assert_int_equal(ada.received, 8001);
        assert_int_equal(ada.last, '!');
        assert_int_equal(ada.ends, 0);
        assert_int_equal(ada.closes, 1);
    }
}

/* The owner notices a reset by a write, while it does not read. */
static void a_broken_socket_takes_and_drops_all(void **state) {
    (void)state;
    static char bytes[1 << 20];
    struct owner ada = {0};
    open_tcp(&ada);
    give(&ada, "last words");
    stream_pause(ada.stream, true);
    while (stream_write(ada.stream, bytes, sizeof bytes) > 0) {
    }
    stream_want_write(ada.stream);
    reset_client(&ada);
    turns();
    assert_int_equal(ada.writables, 1);
    assert_int_equal(stream_write(ada.stream, bytes, sizeof bytes), sizeof bytes);
    stream_want_write(ada.stream);
    turns();
    assert_int_equal(ada.writables, 2);
    assert_int_equal(ada.breaks, 1);
    assert_int_equal(ada.closes, 0);
    stream_pause(ada.stream, false);
    turns();
    assert_int_equal(ada.received, 10);
    assert_int_equal(ada.closes, 1);
}

/* After the client's end nothing is left to read. */
static void a_reset_after_the_end_closes(void **state) {
    (void)state;
    struct owner ada = {.goes_on = true};
    open_tcp(&ada);
    shutdown(ada.client, SHUT_WR);
    turns();
    assert_int_equal(ada.ends, 1);
    reset_client(&ada);
    stream_write(ada.stream, "late", 4);
    turns();
    assert_int_equal(ada.closes, 1);
}

/* ---- closing inside a call ---- */

static void may_be_killed_in_each_call(void **state) {
    (void)state;
    for (int call = CALL_RECEIVED; call <= CALL_ENDED; call *= 2) {
        struct owner ada = {.kills_in = call, .goes_on = true};
        open_pair(&ada);
        stream_want_write(ada.stream);
        give(&ada, "ping");
        shutdown(ada.client, SHUT_WR);
        turns();
        assert_int_equal(ada.closes, 1);
        if (call == CALL_RECEIVED)
            assert_int_equal(ada.ends, 0);
        end_client(&ada);
    }
}

/* Both are ready in the same turn, and each would kill the other: one gets no call but `closed`. */
static void may_kill_another_that_is_ready(void **state) {
    (void)state;
    for (int call = CALL_RECEIVED; call <= CALL_ENDED; call *= 2) {
        struct owner ada = {.kills_in = call}, bob = {.kills_in = call};
        ada.victim = &bob;
        bob.victim = &ada;
        ada.goes_on = bob.goes_on = true;
        open_pair(&ada);
        open_pair(&bob);
        struct owner *both[] = {&ada, &bob};
        for (int i = 0; i < 2; i++) {
            if (call == CALL_RECEIVED)
                give(both[i], "ping");
            else if (call == CALL_WRITABLE)
                stream_want_write(both[i]->stream);
            else
                shutdown(both[i]->client, SHUT_WR);
        }
        turns();
        assert_int_equal(ada.closes + bob.closes, 1);
        assert_int_equal(ada.received + bob.received, call == CALL_RECEIVED ? 4 : 0);
        assert_int_equal(ada.writables + bob.writables, call == CALL_WRITABLE);
        assert_int_equal(ada.ends + bob.ends, call == CALL_ENDED);
        end_client(&ada);
        end_client(&bob);
        struct owner *left = ada.closes == 0 ? &ada : &bob;
        left->kills_in = 0;
        stream_kill(left->stream);
        turns();
        assert_int_equal(left->closes, 1);
    }
}

/* The next socket gets the number of the descriptor at once: nothing of the old one is reported
 * for it. */
static void a_descriptor_may_be_used_again_at_once(void **state) {
    (void)state;
    struct owner ada = {0}, bob = {0};
    ada.successor = &bob;
    open_pair(&ada);
    give(&ada, "for the first");
    stream_kill(ada.stream);
    turns();
    assert_int_equal(ada.closes, 1);
    assert_int_equal(bob.fd, ada.fd);
    assert_int_equal(ada.received + bob.received + bob.ends, 0);
    give(&bob, "for the next");
    turns();
    assert_int_equal(bob.received, 12);
    end_client(&ada);
    end_client(&bob);
    turns();
    assert_int_equal(bob.closes, 1);
}

/* ---- many ---- */

enum { MANY = 300 };

static void all_of_many_that_end_at_once_are_closed(void **state) {
    (void)state;
    static struct owner many[MANY];
    memset(many, 0, sizeof many);
    for (int i = 0; i < MANY; i++) {
        if (i % 3 == 0)
            open_tcp(&many[i]);
        else
            open_pair(&many[i]);
        give(&many[i], "bye");
    }
    for (int i = 0; i < MANY; i++) {
        if (i % 3 == 0)
            reset_client(&many[i]);
        else if (i % 3 == 1)
            end_client(&many[i]);
        else
            stream_kill(many[i].stream);
    }
    while (uv_loop_alive(&loop)) /* as long as any is polled or due */
        uv_run(&loop, UV_RUN_ONCE);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(many[i].received, i % 3 == 2 ? 0 : 3);
        assert_int_equal(many[i].ends, i % 3 == 1);
        assert_int_equal(many[i].closes, 1);
        if (many[i].client >= 0)
            end_client(&many[i]);
    }
}

static void a_turn_ends_when_its_slice_is_over(void **state) {
    (void)state;
    static struct owner some[6];
    memset(some, 0, sizeof some);
    for (int i = 0; i < 6; i++) {
        some[i].is_slow = true;
        open_pair(&some[i]);
        end_client(&some[i]);
    }
    for (size_t turns = 1; turns <= 6; turns++) {
        size_t closes = 0;
        turn();
        for (int i = 0; i < 6; i++)
            closes += some[i].closes;
        assert_int_equal(closes, turns);
    }
}

static void a_stop_closes_all(void **state) {
    static struct owner some[6];
    memset(some, 0, sizeof some);
    for (int i = 0; i < 6; i++) {
        open_pair(&some[i]);
        give(&some[i], "ping");
    }
    end_client(&some[0]);
    stream_pause(some[1].stream, true);
    stream_kill(some[2].stream);
    turn();
    stream_kill(some[3].stream);
    finish(state);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(some[i].closes, 1);
        if (some[i].client >= 0)
            end_client(&some[i]);
    }
    start(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(carries_bytes_both_ways, start, finish),
        cmocka_unit_test_setup_teardown(reports_nothing_while_it_is_paused, start, finish),
        cmocka_unit_test_setup_teardown(tells_when_the_socket_takes_bytes_again, start, finish),
        cmocka_unit_test_setup_teardown(writes_on_after_the_clients_end, start, finish),
        cmocka_unit_test_setup_teardown(reads_on_after_its_own_end, start, finish),
        cmocka_unit_test_setup_teardown(what_came_before_a_reset_is_received, start, finish),
        cmocka_unit_test_setup_teardown(a_broken_socket_takes_and_drops_all, start, finish),
        cmocka_unit_test_setup_teardown(a_reset_after_the_end_closes, start, finish),
        cmocka_unit_test_setup_teardown(may_be_killed_in_each_call, start, finish),
        cmocka_unit_test_setup_teardown(may_kill_another_that_is_ready, start, finish),
        cmocka_unit_test_setup_teardown(a_descriptor_may_be_used_again_at_once, start, finish),
        cmocka_unit_test_setup_teardown(all_of_many_that_end_at_once_are_closed, start, finish),
        cmocka_unit_test_setup_teardown(a_turn_ends_when_its_slice_is_over, start, finish),
        cmocka_unit_test_setup_teardown(a_stop_closes_all, start, finish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
