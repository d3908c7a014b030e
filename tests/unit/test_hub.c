/* test_hub.c -- the connections of a worker, their ids, and the order of their hooks.
 *
 * How connections end is in test_hub_close.c, everything at once in test_hub_storm.c. */
#include "fake_hub.h"

/* ---- ids and limits ---- */

static void test_ids(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_connect(f), *b = fake_connect(f);
    assert_int_equal(a->id >> 56, 3); /* the worker */
    assert_int_equal(b->id >> 56, 3);
    assert_true((int64_t)a->id > 0);
    assert_ptr_equal(hub_find(f->hub, a->id), a->conn);
    assert_ptr_equal(hub_find(f->hub, b->id), b->conn);
    assert_null(hub_find(f->hub, 0));
    assert_null(hub_find(f->hub, a->id & UINT64_MAX >> 8));     /* no worker */
    assert_null(hub_find(f->hub, a->id ^ UINT64_C(1) << 56));   /* of another worker */
    assert_null(hub_find(f->hub, a->id + (UINT64_C(1) << 24))); /* of the slot's next epoch */
    assert_null(hub_find(f->hub, (a->id & ~UINT64_C(0xffffff)) | 99)); /* of a slot never used */
    fake_free(f);
}

static void test_the_last_worker_has_positive_ids(void **state) {
    struct fake *f = fake_new(NULL);
    f->hub->options.worker = 127;
    f->hub->conns.first_epoch = UINT32_MAX - 1;
    for (int i = 0; i < 3; i++) {
        struct fake_client *client = fake_connect(f);
        assert_true((int64_t)client->id > 0); /* scripts see it as a signed integer */
        fake_gone(client);
        fake_turn(f);
    }
    fake_free(f);
}

/* Everything that is asked of an id that means nothing any more. */
static void check_stale(struct fake *f, conn_id id) {
    assert_null(hub_find(f->hub, id));
    assert_int_equal(hub_send(f->hub, hub_find(f->hub, id), OPCODE_TEXT, "hi", 2), SEND_CLOSED);
    assert_int_equal(
        hub_send_with(f->hub, hub_find(f->hub, id), OPCODE_TEXT, "hi", 2, slice_of("key"), false),
        SEND_CLOSED);
    assert_false(hub_join(f->hub, id, slice_of("room"), (struct slice){NULL, 0}));
    assert_false(hub_leave(f->hub, id, slice_of("room")));
    assert_false(hub_ping(f->hub, id));
    hub_json_pong(f->hub, id, 1);
    hub_close(f->hub, id, 1000, "bye", 3);
    hub_hook_done(f->hub, id);
}

static void test_stale_ids(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *old[50];
    for (int i = 0; i < 50; i++) { /* fake_admit() sees that no id comes twice */
        old[i] = fake_connect(f);
        fake_gone(old[i]);
        fake_turn(f);
        assert_true(old[i]->forgotten);
    }
    struct fake_client *now = fake_connect(f);
    for (int i = 0; i < 50; i++)
        check_stale(f, old[i]->id);
    check_stale(f, 0);
    fake_turn(f);
    fake_expect(f, "");
    fake_expect_frames(now, "");
    assert_int_equal(now->conn->state, CONN_OPEN);
    fake_free(f);
}

static void test_places(void **state) {
    struct fake *f = fake_new(NULL);
    f->limit.max = 3;
    struct fake_client *a = fake_connect(f), *b = fake_admit(f), *c = fake_open(f);
    assert_int_equal(hub_admitted(f->hub), 3);
    assert_null(fake_admit(f)); /* handshakes count, too */
    hub_abandon(f->hub, b->conn);
    assert_true(b->forgotten);
    struct fake_client *d = fake_admit(f);
    assert_non_null(d); /* one has ended */
    assert_null(fake_admit(f));
    f->sleeps = FAKE_CLOSE;
    fake_gone(a);
    fake_turn(f);
    assert_null(fake_admit(f)); /* its on_close has not ended */
    fake_wake(a);
    assert_non_null(fake_admit(f));
    f->sleeps = 0;
    hub_close(f->hub, c->id, 1000, NULL, 0);
    fake_turn(f);
    assert_null(fake_admit(f)); /* its socket is still there */
    fake_gone(c);
    fake_turn(f);
    assert_non_null(fake_admit(f));
    fake_free(f);
}

static void test_handshakes_that_come_to_nothing(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_admit(f), *b = fake_admit(f), *c = fake_admit(f);
    assert_int_equal(hub_send(f->hub, a->conn, OPCODE_TEXT, "hi", 2), SEND_CLOSED);
    assert_false(hub_ping(f->hub, a->id));
    hub_close(f->hub, a->id, 1000, NULL, 0);
    hub_abandon(f->hub, a->conn);
    hub_assign(f->hub, b->conn, 0);
    assert_int_equal(hub_endpoint(f->hub, 0)->limit->taken, 1);
    hub_abandon(f->hub, b->conn);
    assert_int_equal(hub_endpoint(f->hub, 0)->limit->taken, 0);
    fake_gone(c); /* the client went away */
    fake_turn(f);
    fake_expect(f, "a.forgotten b.forgotten c.forgotten"); /* and no hook of theirs */
    assert_int_equal(hub_admitted(f->hub), 0);
    fake_free(f);
}

static void test_endpoints(void **state) {
    struct fake *f = fake_new(NULL);
    struct endpoint second = fake_endpoint();
    second.json_name = mem_strdup("\"second\"");
    assert_int_equal(hub_add_endpoint(f->hub, &second), 1);
    assert_int_equal(hub_endpoint(f->hub, 1)->limit->taken, 0);
    assert_null(hub_endpoint(f->hub, 2));
    struct endpoint *first = hub_endpoint(f->hub, 0);
    for (int i = 2; i < 40; i++) {
        second.json_name = NULL;
        assert_int_equal(hub_add_endpoint(f->hub, &second), i);
    }
    assert_ptr_equal(hub_endpoint(f->hub, 0), first); /* its address never changes */
    struct fake_client *a = fake_connect(f), *b = fake_admit(f);
    hub_assign(f->hub, b->conn, 1);
    hub_open(f->hub, b->conn, b);
    fake_turn(f);
    assert_int_equal(first->limit->taken, 1);
    assert_int_equal(hub_endpoint(f->hub, 1)->limit->taken, 1);
    fake_gone(a);
    fake_turn(f);
    assert_int_equal(first->limit->taken, 0);
    fake_free(f);
}

/* ---- the order of hooks ---- */

static void test_messages_wait_for_on_start(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_open(f);
    fake_receive(a, "one"); /* came right behind the handshake */
    hub_received(f->hub, a->conn, "two", 3, true);
    assert_true(hub_has_pending(f->hub));
    fake_turn(f);
    fake_expect(f, "a.open a.message(one) a.binary(two)");
    f->sleeps = FAKE_OPEN;
    struct fake_client *b = fake_open(f);
    fake_turn(f);
    fake_receive(b, "three");
    fake_turn(f);
    fake_expect(f, "b.open");
    fake_wake(b);
    fake_turn(f);
    fake_expect(f, "b.message(three)");
    fake_free(f);
}

static void test_messages_run_at_once(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_connect(f);
    fake_receive(a, "one");
    fake_expect(f, "a.message(one)"); /* no turn has ended */
    fake_receive(a, "");
    fake_expect(f, "a.message()");
    assert_int_equal(stats_read(&f->hub->stats.messages_received), 2);
    assert_int_equal(stats_read(&f->hub->stats.bytes_received), 3);
    fake_free(f);
}

static void test_messages_wait_for_a_sleeping_hook(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_connect(f);
    f->sleeps = FAKE_MESSAGE;
    char text[] = "1";
    for (int i = 0; i < 5; i++) {
        fake_receive(a, text);
        text[0]++; /* the bytes were borrowed until the return */
    }
    fake_turn(f);
    fake_expect(f, "a.message(1)");
    fake_wake(a);
    fake_turn(f);
    fake_expect(f, "a.message(2)"); /* and sleeps again */
    f->sleeps = 0;
    fake_wake(a);
    fake_expect(f, "a.message(3) a.message(4) a.message(5)");
    fake_receive(a, "6");
    fake_expect(f, "a.message(6)");
    fake_free(f);
}

static void test_pings_coalesce(void **state) {
    struct endpoint endpoint = fake_endpoint();
    endpoint.ping_ms = 100;
    struct fake *f = fake_new(&endpoint);
    struct fake_client *a = fake_connect(f);
    f->sleeps = FAKE_MESSAGE;
    fake_receive(a, "1");
    fake_pass(f, 1000);
    fake_expect(f, "a.message(1)");
    f->sleeps = 0;
    fake_wake(a);
    fake_turn(f);
    fake_expect(f, "a.ping"); /* one for ten */
    fake_pass(f, 100);
    fake_expect(f, "a.ping");
    fake_free(f);
}

static void test_timeout_is_asked_once(void **state) {
    struct endpoint endpoint = fake_endpoint();
    endpoint.pong_ms = 100;
    endpoint.ping_ms = 30; /* other deadlines come meanwhile */
    endpoint.has_ping = false;
    struct fake *f = fake_new(&endpoint);
    struct fake_client *a = fake_connect(f);
    f->sleeps = FAKE_MESSAGE;
    fake_receive(a, "1");
    fake_pass(f, 1000);
    fake_expect(f, "a.message(1)");
    f->sleeps = 0;
    fake_wake(a);
    fake_turn(f);
    fake_expect(f, "a.timeout");
    assert_int_equal(stats_read(&f->hub->stats.timeouts), 1);
    fake_free(f);
}

/* Silence that ended while the hook slept is not asked about any more. */
static void test_timeout_that_is_over(void **state) {
    struct endpoint endpoint = fake_endpoint();
    endpoint.pong_ms = 100;
    struct fake *f = fake_new(&endpoint);
    struct fake_client *a = fake_connect(f);
    f->sleeps = FAKE_MESSAGE;
    fake_receive(a, "1");
    fake_pass(f, 150);
    hub_alive(f->hub, a->conn);
    f->sleeps = 0;
    fake_wake(a);
    fake_turn(f);
    fake_expect(f, "a.message(1)");
    fake_pass(f, 99);
    fake_expect(f, "");
    fake_pass(f, 1);
    fake_expect(f, "a.timeout"); /* one period after the sign of life */
    fake_free(f);
}

static void send_during(struct fake_client *client, enum fake_hook hook, const char *bytes,
                        size_t len) {
    assert_int_equal(hub_send(client->fake->hub, client->conn, OPCODE_TEXT, "ok", 2), SEND_OK);
}

static void test_every_hook_may_send(void **state) {
    struct endpoint endpoint = fake_endpoint();
    endpoint.ping_ms = 100;
    endpoint.pong_ms = 150;
    struct fake *f = fake_new(&endpoint);
    f->during = send_during;
    struct fake_client *a = fake_connect(f);
    fake_receive(a, "1");
    fake_turn(f);
    fake_pass(f, 150);
    fake_expect(f, "a.message(1) a.ping a.timeout");
    fake_expect_frames(a, "text(ok) text(ok) text(ok) text(ok)");
    f->during = NULL;
    fake_free(f);
}

static void test_connections_interleave(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_connect(f), *b = fake_connect(f);
    f->sleeps = FAKE_MESSAGE;
    fake_receive(a, "1");
    f->sleeps = 0;
    fake_receive(a, "2");
    fake_receive(b, "1");
    fake_receive(b, "2");
    fake_turn(f);
    fake_expect(f, "a.message(1) b.message(1) b.message(2)");
    fake_wake(a);
    fake_expect(f, "a.message(2)");
    fake_free(f);
}

static struct fake_client *other;

static void close_the_other(struct fake_client *client, enum fake_hook hook, const char *bytes,
                            size_t len) {
    if (hook == FAKE_MESSAGE)
        hub_close(client->fake->hub, other->id, 4000, NULL, 0);
}

/* What a hook does to another connection becomes that one's hook, after the running one. */
static void test_no_hook_runs_inside_another(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_connect(f);
    other = fake_connect(f);
    f->during = close_the_other;
    fake_receive(a, "close b");
    fake_expect(f, "a.message(close b)");
    assert_true(hub_has_pending(f->hub));
    fake_turn(f);
    fake_expect(f, "b.close(4000)");
    fake_free(f);
}

static void test_hooks_that_do_not_exist(void **state) {
    struct endpoint none = fake_endpoint();
    none.has_message = none.has_ping = none.has_timeout = none.has_drain = false;
    none.ping_ms = 100;
    none.pong_ms = 1000;
    struct fake *f = fake_new(&none);
    struct fake_client *a = fake_connect(f);
    fake_receive(a, "nobody hears this");
    fake_pass(f, 350);
    fake_expect(f, "");
    fake_expect_frames(a, "ping(1) ping(2) ping(3)"); /* the server's own */
    assert_int_equal(stats_read(&f->hub->stats.messages_received), 1);
    fake_free(f);
}

/* ---- the inbox and the wire ---- */

static void test_reading_stops_when_messages_pile_up(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_connect(f);
    f->sleeps = FAKE_MESSAGE;
    fake_receive(a, "first");
    int count = 0;
    for (; !a->paused; count++) {
        assert_in_range(count, 0, 10000);
        fake_receive(a, "waits");
    }
    assert_true(count > 1);
    fake_receive(a, "was read already"); /* not lost */
    fake_turn(f);
    fake_expect(f, "a.message(first)");
    f->sleeps = 0;
    f->silent = true;
    fake_wake(a);
    assert_false(a->paused); /* all is handled */
    assert_int_equal(stats_read(&f->hub->stats.messages_received), 2 + count);
    f->silent = false;
    fake_receive(a, "on it goes");
    fake_expect(f, "a.message(on it goes)");
    fake_free(f);
}

static void test_reading_stops_for_large_messages(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_connect(f);
    static char large[1 << 20];
    memset(large, 'x', sizeof large);
    f->sleeps = FAKE_MESSAGE;
    hub_received(f->hub, a->conn, large, sizeof large, true);
    assert_false(a->paused); /* it runs */
    hub_received(f->hub, a->conn, large, sizeof large, true);
    assert_true(a->paused); /* it waits */
    fake_wake(a);
    f->sleeps = 0;
    fake_wake(a);
    assert_false(a->paused); /* all is handled */
    fake_free(f);
}

static void test_close_lets_a_paused_wire_read_on(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_connect(f);
    f->sleeps = FAKE_MESSAGE;
    for (int i = 0; !a->paused; i++)
        fake_receive(a, "waits");
    hub_close(f->hub, a->id, 1000, NULL, 0);
    assert_false(a->paused); /* the client's Close frame must be seen */
    fake_wake(a);
    fake_turn(f);
    fake_expect(f, "a.message(waits) a.close(1000)");
    fake_free(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_the_last_worker_has_positive_ids),
        cmocka_unit_test(test_stale_ids),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_handshakes_that_come_to_nothing),
        cmocka_unit_test(test_endpoints),
        cmocka_unit_test(test_messages_wait_for_on_start),
        cmocka_unit_test(test_messages_run_at_once),
        cmocka_unit_test(test_messages_wait_for_a_sleeping_hook),
        cmocka_unit_test(test_pings_coalesce),
        cmocka_unit_test(test_timeout_is_asked_once),
        cmocka_unit_test(test_timeout_that_is_over),
        cmocka_unit_test(test_every_hook_may_send),
        cmocka_unit_test(test_connections_interleave),
        cmocka_unit_test(test_no_hook_runs_inside_another),
        cmocka_unit_test(test_hooks_that_do_not_exist),
        cmocka_unit_test(test_reading_stops_when_messages_pile_up),
        cmocka_unit_test(test_reading_stops_for_large_messages),
        cmocka_unit_test(test_close_lets_a_paused_wire_read_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
