/* test_hub_queues.c -- the limit on the memory of all queues: what counts, whose queue goes, and
 * that a client that reads loses nothing. */
#include "fake_hub.h"

enum { KIB = 1024, LIMIT = 256 * KIB };

static struct bus *bus;

/* A hub whose queues may have LIMIT bytes together, and each of them much more. */
static struct fake *start(enum slow_client slow_client) {
    struct endpoint endpoint = fake_endpoint();
    endpoint.max_backlog = 64 * LIMIT;
    endpoint.slow_client = slow_client;
    bus = bus_new();
    bus_set_backlog_max(bus, LIMIT);
    struct fake *f = fake_new_worker(&endpoint, bus, 0);
    bus_enter(bus, 0, NULL, NULL, hub_stats(f->hub));
    hub_queues_count(f->hub);
    return f;
}

static int64_t counted(void) {
    struct bus_backlog all;
    bus_backlog(bus, &all);
    return all.bytes;
}

static void stop(struct fake *f) {
    bus_leave(bus, 0);
    fake_free(f);
    queue_memory_begin(NULL);
    bus_free(bus);
}

static struct fake_client *connect_blocked(struct fake *f) {
    struct fake_client *client = fake_connect(f);
    client->room = 0;
    return client;
}

/* One message, of which there is no copy outside the queue. */
static enum send_result send_bytes(struct fake_client *client, size_t len) {
    static const char payload[LIMIT];
    return hub_send(client->fake->hub, client->conn, OPCODE_BINARY, payload, len);
}

/* So many messages of a KiB. */
static enum send_result send_many(struct fake_client *client, int count) {
    enum send_result result = SEND_OK;
    for (int i = 0; i < count && result == SEND_OK; i++)
        result = send_bytes(client, KIB);
    return result;
}

static void share(struct fake *f, struct fake_client **clients, int count, size_t len) {
    char *payload = mem_zalloc(len);
    struct message *message = message_new(OPCODE_BINARY, payload, len);
    for (int i = 0; i < count; i++)
        hub_send_deliver(f->hub, clients[i]->conn, message);
    message_unref(message);
    mem_free(payload);
}

static void test_largest_goes_first(void **state) {
    struct fake *f = start(SLOW_CLIENT_CLOSE);
    struct fake_client *a = connect_blocked(f), *b = connect_blocked(f), *c = connect_blocked(f);
    send_many(a, 30);
    send_many(b, 90);
    send_many(c, 60);
    fake_turn(f);
    while (a->conn->state == CONN_OPEN && b->conn->state == CONN_OPEN &&
           c->conn->state == CONN_OPEN)
        assert_int_equal(send_many(a, 1), SEND_OK);
    fake_turn(f);
    fake_expect(f, "b.close(1013,too much waits for slow clients)");
    assert_int_equal(b->conn->out.bytes, 2 + 2 + strlen("too much waits for slow clients"));
    assert_int_equal(stats_read(&f->hub->stats.backlog_closed), 1);
    assert_in_range(counted(), 1, LIMIT);
    fake_takes(b, SIZE_MAX); /* none of its frames had begun */
    fake_expect_frames(b, "close(1013,too much waits for slow clients)");
    stop(f);
}

/* A send to the largest one itself says so. */
static void test_sender_is_largest(void **state) {
    struct fake *f = start(SLOW_CLIENT_CLOSE);
    struct fake_client *a = connect_blocked(f), *b = connect_blocked(f);
    send_many(a, 10);
    assert_int_equal(send_many(b, 1000), SEND_CLOSED);
    fake_turn(f);
    fake_expect(f, "b.close(1013,too much waits for slow clients)");
    stop(f);
}

/* In one turn: nothing is written at its end only. */
static void test_reader_loses_nothing(void **state) {
    struct fake *f = start(SLOW_CLIENT_CLOSE);
    struct fake_client *reader = fake_connect(f), *slow = connect_blocked(f);
    struct fake_client *both[] = {reader, slow};
    for (int i = 0; i < 2000; i++) {
        share(f, both, 2, KIB);
        hub_queues_turn(f->hub);
        assert_in_range(counted(), 0, LIMIT);
    }
    assert_int_equal(send_many(reader, 2000), SEND_OK);
    fake_turn(f);
    assert_int_equal(reader->len, 4000 * (KIB + 4));
    assert_int_equal(reader->conn->state, CONN_OPEN);
    assert_int_equal(slow->conn->state, CONN_CLOSING);
    stop(f);
}

static void test_dropping(void **state) {
    static const enum slow_client kinds[] = {SLOW_CLIENT_DROP, SLOW_CLIENT_CONFLATE};
    for (int kind = 0; kind < 2; kind++) {
        struct fake *f = start(kinds[kind]);
        struct fake_client *a = connect_blocked(f), *b = connect_blocked(f);
        send_many(a, 100);
        fake_turn(f);
        fake_takes(a, 500); /* a part of the first one */
        assert_int_equal(send_many(b, 1000), SEND_BACKLOG);
        assert_true(outq_empty(&b->conn->out));
        assert_int_equal(send_many(b, 10), SEND_OK);
        uint64_t dropped = stats_read(&f->hub->stats.messages_dropped);
        assert_in_range(dropped, 100, 400);
        fake_turn(f);
        fake_expect(f, "");
        fake_takes(b, SIZE_MAX);
        assert_int_equal(b->len, 10 * (KIB + 4));
        fake_turn(f);
        fake_expect(f, "b.drain");
        assert_int_equal(stats_read(&f->hub->stats.backlog_closed), 0);
        stop(f);
    }
}

/* A frame that has begun is finished, if it is not among the largest; else the connection ends. */
static void test_begun_frame(void **state) {
    for (int large = 0; large < 2; large++) {
        struct fake *f = start(SLOW_CLIENT_CLOSE);
        struct fake_client *a = connect_blocked(f);
        send_bytes(a, large ? LIMIT - 20 * KIB : 8 * KIB);
        fake_turn(f);
        fake_takes(a, 1);
        assert_int_equal(send_many(a, 1000), SEND_CLOSED);
        assert_int_equal(a->killed, false);
        struct fake_client *b = connect_blocked(f);
        send_many(b, 100);
        assert_int_equal(a->killed, large);
        assert_int_equal(b->conn->state, CONN_OPEN);
        if (large)
            assert_true(outq_empty(&a->conn->out));
        assert_in_range(counted(), 1, LIMIT);
        stop(f);
    }
}

/* The end of a queue that shares its messages frees little: a smaller one that shares none goes
 * first. */
static void test_shared_messages(void **state) {
    struct fake *f = start(SLOW_CLIENT_CLOSE);
    struct fake_client *clients[20];
    for (int i = 0; i < 20; i++)
        clients[i] = connect_blocked(f);
    struct fake_client *own = connect_blocked(f);
    int64_t before = counted();
    share(f, clients, 20, 100 * KIB);
    ref_cache_flush(&f->hub->ref_cache);
    fake_turn(f);
    assert_in_range(counted() - before, 100 * KIB, 101 * KIB);
    assert_int_equal(send_many(own, 1000), SEND_CLOSED);
    for (int i = 0; i < 20; i++)
        assert_int_equal(clients[i]->conn->state, CONN_OPEN);
    stop(f);
}

/* What a queue has shared does not make it smaller once that is dropped. */
static void test_shared_messages_dropped(void **state) {
    struct fake *f = start(SLOW_CLIENT_DROP);
    struct fake_client *clients[20];
    for (int i = 0; i < 20; i++)
        clients[i] = connect_blocked(f);
    struct fake_client *own = connect_blocked(f);
    share(f, clients, 20, 200 * KIB);
    ref_cache_flush(&f->hub->ref_cache);
    fake_turn(f);
    assert_int_equal(send_many(own, 1000), SEND_BACKLOG); /* all others are weighed */
    assert_int_equal(send_many(clients[0], 1000), SEND_BACKLOG);
    assert_true(outq_empty(&clients[0]->conn->out));
    assert_int_equal(send_many(clients[0], 40), SEND_OK);
    assert_int_equal(send_many(own, 30), SEND_OK);
    assert_true(outq_empty(&clients[0]->conn->out));
    stop(f);
}

static void test_count_returns(void **state) {
    struct fake *f = start(SLOW_CLIENT_CLOSE);
    struct fake_client *clients[10];
    for (int i = 0; i < 10; i++)
        clients[i] = connect_blocked(f);
    fake_turn(f);
    assert_int_equal(counted(), 0);
    for (int i = 0; i < 100; i++)
        share(f, clients, 10, 100);
    for (int i = 0; i < 10; i++)
        send_many(clients[i], i);
    fake_turn(f);
    for (int i = 0; i < 10; i++)
        fake_takes(clients[i], SIZE_MAX);
    fake_turn(f);
    assert_int_equal(counted(), 0);
    stop(f);
}

/* A lower limit holds from the next turn on. */
static void test_limit_changes(void **state) {
    struct fake *f = start(SLOW_CLIENT_CLOSE);
    struct fake_client *a = connect_blocked(f), *b = connect_blocked(f);
    send_many(a, 100);
    send_many(b, 20);
    fake_turn(f);
    bus_set_backlog_max(bus, 50 * KIB);
    hub_queues_limit_changed(f->hub);
    fake_turn(f);
    assert_int_equal(a->conn->state, CONN_CLOSING);
    assert_int_equal(b->conn->state, CONN_OPEN);
    assert_in_range(counted(), 20 * KIB, 50 * KIB);
    stop(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_largest_goes_first),
        cmocka_unit_test(test_sender_is_largest),
        cmocka_unit_test(test_reader_loses_nothing),
        cmocka_unit_test(test_dropping),
        cmocka_unit_test(test_begun_frame),
        cmocka_unit_test(test_shared_messages),
        cmocka_unit_test(test_count_returns),
        cmocka_unit_test(test_limit_changes),
        cmocka_unit_test(test_shared_messages_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
