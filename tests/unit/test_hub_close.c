/* test_hub_close.c -- how connections end: on_close once and last, with the right code, whoever
 * closes. */
#include "fake_hub.h"
#include "publish_as.h"

/* Both sides have sent a Close frame: the hub has called wire.end, and the socket closes. */
static void check_ended(struct fake_client *client) {
    assert_true(client->ended);
    fake_gone(client);
    fake_turn(client->fake);
    assert_true(client->forgotten);
}

/* ---- closed by the script ---- */

static void close_bye(struct fake_client *client, enum fake_hook hook, const char *bytes,
                      size_t len) {
    if (hook != FAKE_CLOSE)
        hub_close(client->fake->hub, client->id, 4000, "bye", 3);
}

static void test_close_from_a_hook(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_connect(f);
    assert_int_equal(hub_send(f->hub, a->conn, OPCODE_TEXT, "last", 4), SEND_OK);
    f->during = close_bye;
    fake_receive(a, "x");
    fake_turn(f);
    fake_expect(f, "a.message(x) a.close(4000,bye)");
    fake_expect_frames(a, "text(last) close(4000,bye)"); /* what is queued comes first */
    assert_false(a->ended);                              /* the client's Close is waited for */
    hub_peer_closed(f->hub, a->conn, 4000, "bye", 3);
    check_ended(a);
    fake_expect(f, "a.forgotten");
    fake_free(f);
}

static void test_close_from_on_start(void **state) {
    struct fake *f = fake_new(NULL);
    f->during = close_bye;
    struct fake_client *a = fake_open(f);
    fake_receive(a, "not heard any more");
    fake_turn(f);
    fake_expect(f, "a.open a.close(4000,bye)");
    fake_expect_frames(a, "close(4000,bye)");
    fake_free(f);
}

static void test_close_while_on_start_sleeps(void **state) {
    struct fake *f = fake_new(NULL);
    f->sleeps = FAKE_OPEN;
    struct fake_client *a = fake_open(f);
    fake_turn(f);
    fake_receive(a, "x");
    hub_close(f->hub, a->id, 4001, NULL, 0);
    fake_turn(f);
    fake_expect(f, "a.open");
    fake_expect_frames(a, "close(4001)"); /* which does not wait for the hook */
    fake_wake(a);
    fake_turn(f);
    fake_expect(f, "a.close(4001)");
    fake_free(f);
}

/* A close before on_start had its turn, as when the server ends: both hooks are called. */
static void test_close_before_on_start(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_open(f);
    fake_receive(a, "x");
    hub_drain(f->hub, 1001, "going");
    fake_turn(f);
    fake_expect(f, "a.open a.close(1001,going)");
    fake_free(f);
}

static void test_close_twice(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_connect(f);
    hub_close(f->hub, a->id, 4000, "first", 5);
    hub_close(f->hub, a->id, 4001, "second", 6);
    fake_turn(f);
    hub_close(f->hub, a->id, 4002, "third", 5);
    hub_peer_closed(f->hub, a->conn, 4003, "fourth", 6);
    fake_turn(f);
    fake_expect(f, "a.close(4000,first)");
    fake_expect_frames(a, "close(4000,first)");
    check_ended(a);
    fake_expect(f, "a.forgotten");
    fake_free(f);
}

static void test_nothing_is_sent_or_heard_after_close(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_connect(f);
    f->sleeps = FAKE_MESSAGE;
    fake_receive(a, "1");
    fake_receive(a, "waits, and is dropped");
    hub_close(f->hub, a->id, 1000, NULL, 0);
    assert_ptr_equal(hub_find(f->hub, a->id), a->conn);
    assert_int_equal(a->conn->state, CONN_CLOSING);
    fake_receive(a, "comes too late");
    hub_answer_ping(f->hub, a->conn, "x", 1);
    assert_false(hub_ping(f->hub, a->id));
    assert_int_equal(hub_send(f->hub, a->conn, OPCODE_TEXT, "hi", 2), SEND_CLOSED);
    struct message *message = message_new(OPCODE_TEXT, "hi", 2);
    const struct audience everyone = {.endpoint = ANY_ENDPOINT};
    assert_int_equal(publish_as(f->hub, &everyone, message_ref(message)), 0);
    assert_int_equal(atomic_load(&message->refs), 1);
    message_unref(message);
    fake_turn(f);
    fake_wake(a);
    fake_turn(f);
    fake_expect(f, "a.message(1) a.close(1000)");
    fake_expect_frames(a, "close(1000)");
    fake_free(f);
}

static void test_longest_reason(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_connect(f);
    char reason[123];
    memset(reason, 'r', sizeof reason);
    hub_close(f->hub, a->id, 4999, reason, sizeof reason);
    memset(reason, 'x', sizeof reason); /* it was borrowed */
    fake_turn(f);
    assert_int_equal(a->len, 127);
    assert_int_equal(a->bytes[1], 125);
    assert_int_equal(a->bytes[126], 'r');
    fake_free(f);
}

/* ---- closed by the client ---- */

static void check_peer_close(unsigned code, const char *reason, const char *journal,
                             const char *frames) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_connect(f);
    fake_receive(a, "1");
    hub_peer_closed(f->hub, a->conn, code, reason, reason == NULL ? 0 : strlen(reason));
    fake_receive(a, "behind its Close");
    fake_turn(f);
    fake_expect(f, journal);
    fake_expect_frames(a, frames);
    check_ended(a);
    fake_expect(f, "a.forgotten");
    fake_free(f);
}

static void test_peer_close(void **state) {
    check_peer_close(1000, "done", "a.message(1) a.close(1000,done)", "close(1000,done)");
    check_peer_close(1001, NULL, "a.message(1) a.close(1001)", "close(1001)");
    check_peer_close(3000, NULL, "a.message(1) a.close(3000)", "close(3000)");
    check_peer_close(CLOSE_NO_STATUS, NULL, "a.message(1) a.close(1005)", "close()");
}

/* Hooks handle what the client sent before its close, however long the running hook takes. */
static void test_peer_close_while_a_hook_sleeps(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_connect(f);
    f->sleeps = FAKE_MESSAGE;
    fake_receive(a, "1");
    fake_receive(a, "2");
    fake_receive(a, "3");
    hub_peer_closed(f->hub, a->conn, 1000, NULL, 0);
    fake_turn(f);
    fake_expect(f, "a.message(1)");
    fake_expect_frames(a, "close(1000)"); /* the client does not wait for the hook */
    assert_true(a->ended);
    fake_gone(a);
    fake_turn(f);
    fake_wake(a);
    fake_expect(f, "a.message(2)");
    f->sleeps = FAKE_CLOSE;
    fake_wake(a);
    fake_expect(f, "a.message(3) a.close(1000)");
    assert_int_equal(hub_admitted(f->hub), 1); /* on_close may still ask for its fields */
    fake_wake(a);
    fake_expect(f, "a.forgotten");
    fake_free(f);
}

static void test_peer_close_behind_the_handshake(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_open(f);
    fake_receive(a, "1");
    hub_peer_closed(f->hub, a->conn, 1000, NULL, 0);
    fake_turn(f);
    fake_expect(f, "a.open a.message(1) a.close(1000)");
    check_ended(a);
    fake_free(f);
}

/* Pings, timeouts and drains that waited for the hook are dropped by a close. */
static void test_what_waited_is_dropped(void **state) {
    struct endpoint endpoint = fake_endpoint();
    endpoint.ping_ms = 100;
    endpoint.pong_ms = 100;
    struct fake *f = fake_new(&endpoint);
    struct fake_client *a = fake_connect(f);
    a->room = 0;
    char text[600];
    memset(text, 'x', sizeof text);
    hub_send(f->hub, a->conn, OPCODE_TEXT, text, sizeof text); /* more than half of max_backlog */
    fake_turn(f);
    f->sleeps = FAKE_MESSAGE;
    fake_receive(a, "1");
    fake_pass(f, 100);
    fake_takes(a, SIZE_MAX);
    hub_peer_closed(f->hub, a->conn, 1000, NULL, 0);
    fake_wake(a);
    fake_pass(f, 500);
    fake_expect(f, "a.message(1) a.close(1000)");
    fake_free(f);
}

/* ---- the socket is gone ---- */

static void test_gone(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_connect(f);
    assert_int_equal(stats_read(&f->hub->stats.connections), 1);
    assert_int_equal(hub_send(f->hub, a->conn, OPCODE_TEXT, "never leaves", 12), SEND_OK);
    fake_gone(a);
    assert_int_equal(stats_read(&f->hub->stats.connections), 0);
    assert_int_equal(hub_send(f->hub, a->conn, OPCODE_TEXT, "hi", 2), SEND_CLOSED);
    hub_close(f->hub, a->id, 4000, NULL, 0); /* too late for a code of its own */
    fake_turn(f);
    fake_expect(f, "a.close(1006) a.forgotten");
    assert_int_equal(a->len, 0);
    fake_free(f);
}

static void test_gone_before_on_start(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_open(f);
    fake_receive(a, "1");
    fake_gone(a);
    fake_turn(f);
    fake_expect(f, "a.open a.message(1) a.close(1006) a.forgotten");
    fake_free(f);
}

static void test_gone_while_a_hook_sleeps(void **state) {
    struct fake *f = fake_new(NULL);
    f->sleeps = FAKE_OPEN;
    struct fake_client *a = fake_open(f);
    fake_turn(f);
    fake_receive(a, "1");
    fake_gone(a);
    fake_turn(f);
    fake_expect(f, "a.open");
    assert_non_null(hub_find(f->hub, a->id)); /* the hook may still ask */
    fake_wake(a);
    fake_expect(f, "a.message(1) a.close(1006) a.forgotten");
    assert_null(hub_find(f->hub, a->id));
    fake_free(f);
}

/* The hub does not call wire.pause for a closed socket; the fakes check that. */
static void test_gone_while_paused(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_connect(f);
    f->sleeps = FAKE_MESSAGE;
    f->silent = true;
    unsigned said = 0;
    for (; !a->paused; said++)
        fake_receive(a, "x");
    fake_gone(a);
    fake_turn(f);
    hub_kill_all(f->hub);
    for (; said > 0; said--)
        fake_wake(a); /* hooks handle all of it */
    assert_true(a->closed && a->forgotten);
    fake_free(f);
}

static void test_gone_after_a_close(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_connect(f), *b = fake_connect(f);
    hub_close(f->hub, a->id, 4000, "bye", 3);
    fake_gone(a); /* in the same turn */
    hub_peer_closed(f->hub, b->conn, 1001, NULL, 0);
    fake_gone(b);
    fake_turn(f);
    fake_expect(f, "a.close(4000,bye) a.forgotten b.close(1001) b.forgotten");
    fake_free(f);
}

static void test_gone_while_on_close_sleeps(void **state) {
    struct fake *f = fake_new(NULL);
    f->sleeps = FAKE_CLOSE;
    struct fake_client *a = fake_connect(f), *b = fake_connect(f);
    hub_close(f->hub, a->id, 4000, NULL, 0);
    hub_close(f->hub, b->id, 4000, NULL, 0);
    fake_turn(f);
    fake_expect(f, "a.close(4000) b.close(4000)");
    fake_gone(a);
    fake_turn(f);
    fake_expect(f, ""); /* its hook runs */
    fake_wake(a);
    fake_expect(f, "a.forgotten");
    fake_wake(b);
    fake_expect(f, ""); /* its socket is there */
    fake_gone(b);
    fake_turn(f);
    fake_expect(f, "b.forgotten");
    fake_free(f);
}

/* ---- the client broke a rule ---- */

/* A peer that ends its direction still gets what is queued, and the hook hears of the end at
 * once. */
static void test_the_peer_has_ended(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_connect(f), *b = fake_connect(f), *c = fake_connect(f);
    assert_false(hub_peer_ended(f->hub, b->conn, 1000)); /* nothing is queued */
    assert_true(b->ended);
    fake_gone(b);
    a->room = c->room = 3;
    fake_send_ok(a, 'x', 10);
    fake_send_ok(c, 'y', 10);
    fake_turn(f);
    fake_expect(f, "b.close(1006) b.forgotten");
    assert_true(hub_peer_ended(f->hub, a->conn, 1000));
    hub_peer_closed(f->hub, c->conn, 3000, NULL, 0); /* with a Close frame before */
    assert_true(hub_peer_ended(f->hub, c->conn, 1000));
    fake_turn(f);
    fake_expect(f, "a.close(1006) c.close(3000)");
    assert_int_equal(hub_send(f->hub, a->conn, OPCODE_TEXT, "z", 1), SEND_CLOSED);
    fake_takes(a, SIZE_MAX);
    fake_expect_frames(a, "text(xxxxxxxxxx)");
    assert_true(a->ended);
    fake_gone(a);
    fake_pass(f, 999);
    assert_false(c->killed);
    fake_pass(f, 10); /* it does not read */
    assert_true(c->killed);
    fake_gone(c);
    fake_turn(f);
    fake_expect(f, "a.forgotten c.forgotten");
    fake_free(f);
}

static void test_fail(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_connect(f);
    hub_fail(f->hub, a->conn, CLOSE_PROTOCOL, "reserved bit");
    fake_receive(a, "not heard");
    fake_turn(f);
    fake_expect(f, "a.close(1002,reserved bit)");
    fake_expect_frames(a, "close(1002,reserved bit)");
    check_ended(a); /* nothing more is waited for */
    assert_int_equal(stats_read(&f->hub->stats.protocol_errors), 1);
    fake_free(f);
}

/* ---- all connections ---- */

static void test_close_all(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_connect(f), *b = fake_connect(f), *c = fake_admit(f);
    hub_close(f->hub, b->id, 4000, "own", 3);
    hub_send(f->hub, a->conn, OPCODE_TEXT, "queued", 6);
    hub_drain(f->hub, CLOSE_GOING_AWAY, "server ends");
    assert_null(hub_admit(f->hub, false)); /* no connection is admitted any more */
    fake_turn(f);
    fake_expect_frames(a, "text(queued) close(1001,server ends)");
    fake_expect_frames(b, "close(4000,own)");
    assert_non_null(c->conn);
    hub_peer_closed(f->hub, a->conn, 1001, NULL, 0);
    check_ended(a);
    fake_free(f);
}

static void test_kill_all(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_connect(f), *b = fake_connect(f), *c = fake_admit(f);
    hub_close(f->hub, b->id, 4000, NULL, 0);
    fake_turn(f);
    hub_kill_all(f->hub);
    assert_true(a->killed && b->killed);
    assert_false(c->killed); /* a handshake has no wire yet */
    fake_free(f);
}

/* The end of the worker: hooks that can run do, what sleeps is given up, each id is forgotten. */
static void test_end(void **state) {
    struct fake *f = fake_new(NULL);
    f->sleeps = FAKE_MESSAGE;
    struct fake_client *a = fake_connect(f), *b = fake_connect(f);
    fake_receive(a, "1");
    fake_receive(a, "2");
    fake_gone(a);
    fake_gone(b);
    hub_end(f->hub);
    fake_expect(f, "a.message(1) b.close(1006) b.forgotten a.forgotten");
    assert_int_equal(hub_admitted(f->hub), 0);
    fake_free(f);
}

static void test_end_while_on_close_sleeps(void **state) {
    struct fake *f = fake_new(NULL);
    f->sleeps = FAKE_CLOSE;
    struct fake_client *a = fake_connect(f);
    struct fake_client *b = fake_admit(f); /* and a handshake that never ended */
    fake_gone(a);
    hub_end(f->hub);
    fake_expect(f, "a.close(1006) a.forgotten b.forgotten");
    assert_true(b->forgotten);
    assert_int_equal(hub_endpoint(f->hub, 0)->limit->taken, 0);
    fake_free(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_close_from_a_hook),
        cmocka_unit_test(test_close_from_on_start),
        cmocka_unit_test(test_close_while_on_start_sleeps),
        cmocka_unit_test(test_close_before_on_start),
        cmocka_unit_test(test_close_twice),
        cmocka_unit_test(test_nothing_is_sent_or_heard_after_close),
        cmocka_unit_test(test_longest_reason),
        cmocka_unit_test(test_peer_close),
        cmocka_unit_test(test_peer_close_while_a_hook_sleeps),
        cmocka_unit_test(test_peer_close_behind_the_handshake),
        cmocka_unit_test(test_what_waited_is_dropped),
        cmocka_unit_test(test_gone),
        cmocka_unit_test(test_gone_before_on_start),
        cmocka_unit_test(test_gone_while_a_hook_sleeps),
        cmocka_unit_test(test_gone_while_paused),
        cmocka_unit_test(test_gone_after_a_close),
        cmocka_unit_test(test_gone_while_on_close_sleeps),
        cmocka_unit_test(test_the_peer_has_ended),
        cmocka_unit_test(test_fail),
        cmocka_unit_test(test_close_all),
        cmocka_unit_test(test_kill_all),
        cmocka_unit_test(test_end),
        cmocka_unit_test(test_end_while_on_close_sleeps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
