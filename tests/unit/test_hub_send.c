/* test_hub_send.c -- what leaves: one write a turn, in order and whole, however little the socket
 * takes.
 *
 * The limit of a slow client is in test_hub_send_slow.c. */
#include "fake_hub.h"

static uint32_t random_state = 7;

static uint32_t random_below(uint32_t limit) {
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % limit;
}

/* ---- the turn ---- */

static void test_one_write_a_turn(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_connect(f), *b = fake_connect(f);
    fake_send_ok(a, '1', 1);
    hub_send(f->hub, a->conn, OPCODE_BINARY, "2", 1);
    assert_int_equal(fake_send(a, true, '3', 1), SEND_OK);
    hub_ping(f->hub, a->id);
    hub_answer_ping(f->hub, a->conn, "4", 1);
    fake_send_ok(b, '5', 1);
    assert_int_equal(a->writes + b->writes, 0); /* sends only queue */
    assert_true(hub_has_pending(f->hub));
    fake_turn(f);
    assert_int_equal(a->writes, 1);
    assert_int_equal(b->writes, 1);
    fake_expect_frames(a, "text(1) binary(2) text(3) ping(1) pong(4)");
    fake_expect_frames(b, "text(5)");
    fake_turn(f);
    assert_int_equal(a->writes + b->writes, 2);
    assert_int_equal(stats_read(&f->hub->stats.messages_sent), 4); /* heartbeats are not counted */
    assert_int_equal(stats_read(&f->hub->stats.bytes_sent), a->len + b->len);
    fake_free(f);
}

/* A socket that is never full, as a fast reader's: others have their turn before all is written. */
static void test_a_turn_is_not_one_clients(void **state) {
    struct endpoint endpoint = fake_endpoint();
    endpoint.max_backlog = 100u << 20;
    struct fake *f = fake_new(&endpoint);
    struct fake_client *a = fake_connect(f), *b = fake_connect(f);
    fake_send_ok(a, 'L', 5000000);
    for (int i = 0; i < 100; i++)
        fake_send_ok(a, 'm', 50000);
    fake_send_ok(b, 'b', 1);
    size_t turns = 0;
    do {
        size_t before = a->len;
        hub_turn_end(f->hub);
        assert_in_range(a->len - before, 1, 1 << 20);
        turns++;
    } while (hub_has_pending(f->hub));
    assert_in_range(turns, 10, 1000);
    fake_expect_frames(b, "text(b)");
    assert_int_equal(a->conn->out.bytes, 0);
    fake_send_ok(a, 'L', 5000000); /* the same where the socket was waited for */
    a->room = 1;
    fake_turn(f);
    size_t before = a->len;
    fake_takes(a, SIZE_MAX);
    assert_in_range(a->len - before, 1, 1 << 20);
    fake_turn(f);
    assert_int_equal(a->conn->out.bytes, 0);
    fake_free(f);
}

/* The answers to one read leave at its end, if they are 4 KiB or more and nothing else waits. */
static void test_much_leaves_at_the_end_of_a_read(void **state) {
    struct endpoint endpoint = fake_endpoint();
    endpoint.max_backlog = 1u << 20;
    struct fake *f = fake_new(&endpoint);
    struct fake_client *a = fake_connect(f);
    hub_read_done(f->hub, a->conn);
    for (int i = 0; i < 40; i++) { /* of 100 bytes: less than 4 KiB */
        fake_send_ok(a, 'a', 98);
        hub_read_done(f->hub, a->conn);
    }
    assert_int_equal(a->writes, 0);
    fake_send_ok(a, 'a', 98);
    hub_read_done(f->hub, a->conn);
    assert_int_equal(a->writes, 1);
    assert_int_equal(a->len, 4100);
    assert_false(hub_has_pending(f->hub)); /* nothing is left for the end of the turn */
    for (int i = 0; i < 7; i++)
        fake_send_ok(a, 'b', 16380);
    hub_read_done(f->hub, a->conn);
    assert_int_equal(a->writes, 2); /* one write */
    assert_int_equal(a->conn->out.bytes, 0);
    assert_int_equal(fake_send(a, true, 'c', 5000), SEND_OK); /* shared: queues of others hold it */
    hub_read_done(f->hub, a->conn);
    fake_send_ok(a, 'd', 5000);
    hub_read_done(f->hub, a->conn);
    assert_int_equal(a->writes, 2);
    fake_turn(f);
    assert_int_equal(a->conn->out.bytes, 0);
    int writes = a->writes;
    fake_send_ok(a, 'e', 500000); /* one turn writes a part of it */
    hub_read_done(f->hub, a->conn);
    assert_int_equal(a->writes, writes);
    fake_turn(f);
    fake_free(f);
}

/* A socket that took a part of it is waited for. What follows comes behind it, a Close too. */
static void test_the_end_of_a_read_keeps_the_order(void **state) {
    struct endpoint endpoint = fake_endpoint();
    endpoint.max_backlog = 10000;
    struct fake *f = fake_new(&endpoint);
    struct fake_client *a = fake_connect(f), *b = fake_connect(f), *c = fake_connect(f);
    a->room = 3000;
    fake_send_ok(a, 'a', 4998);
    hub_read_done(f->hub, a->conn);
    assert_int_equal(a->len, 3000);
    assert_true(a->blocked);
    fake_send_ok(a, 'b', 4998);
    hub_read_done(f->hub, a->conn);
    fake_turn(f);
    assert_int_equal(a->writes, 1);
    assert_true(a->conn->was_slow);
    hub_close(f->hub, a->id, 1000, NULL, 0);
    hub_read_done(f->hub, a->conn);
    fake_takes(a, SIZE_MAX);
    fake_turn(f);
    fake_expect_frames(a, "text[4998] text[4998] close(1000)");
    fake_send_ok(b, 'a', 4998);
    hub_read_done(f->hub, b->conn);
    hub_close(f->hub, b->id, 1001, NULL, 0);
    hub_read_done(f->hub, b->conn);
    fake_turn(f);
    fake_expect_frames(b, "text[4998] close(1001)");
    f->journal_len = 0;
    c->room = 4000; /* on_drain comes in its order, not within the read */
    fake_send_ok(c, 'a', 4998);
    fake_turn(f);
    fake_send_ok(c, 'b', 4998);
    fake_takes(c, SIZE_MAX);
    hub_read_done(f->hub, c->conn);
    fake_expect(f, "");
    fake_turn(f);
    fake_expect(f, "c.drain");
    struct conn *gone = c->conn;
    fake_send_ok(c, 'c', 4998);
    fake_gone(c);
    hub_read_done(f->hub, gone);
    fake_turn(f);
    fake_free(f);
}

/* The memory for a fast client's answers does not stay with clients that read nothing. */
static void test_slow_clients_have_little_memory(void **state) {
    enum { SLOW = 20 };
    struct endpoint endpoint = fake_endpoint();
    endpoint.max_backlog = 1u << 20;
    struct fake *f = fake_new(&endpoint);
    struct fake_client *fast = fake_connect(f), *slow[SLOW];
    for (int i = 0; i < SLOW; i++) {
        slow[i] = fake_connect(f);
        slow[i]->room = (size_t)i;
        for (int j = 0; j < 10; j++) {
            fake_send_ok(fast, 'm', 100000);
            hub_read_done(f->hub, fast->conn);
            assert_int_equal(fast->conn->out.bytes, 0);
            assert_int_equal(fake_send(slow[i], j % 2 == 1, 's', 98), SEND_OK);
            if (j % 5 == 4)
                fake_turn(f);
        }
        const struct outq *out = &slow[i]->conn->out;
        size_t memory = 0;
        for (uint32_t k = 0; k < out->count; k++)
            memory += out->ring[(out->first + k) & (out->capacity - 1)]->capacity;
        assert_in_range(memory, 1, 1000); /* twice what 5 frames have */
    }
    fake_free(f);
}

static void test_a_full_socket_is_waited_for(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_connect(f);
    a->room = 4;
    fake_send_ok(a, 'a', 2);
    fake_send_ok(a, 'b', 2);
    fake_turn(f);
    assert_true(a->blocked);
    assert_int_equal(a->conn->out.bytes, 4);
    fake_send_ok(a, 'c', 2);
    assert_false(hub_has_pending(f->hub)); /* the loop may sleep: hub_writable() will come */
    fake_turn(f);
    assert_int_equal(a->writes, 1);
    fake_takes(a, 1);
    fake_takes(a, 1);
    fake_takes(a, SIZE_MAX);
    fake_expect_frames(a, "text(aa) text(bb) text(cc)");
    assert_int_equal(a->conn->out.bytes, 0);
    fake_send_ok(a, 'd', 2);
    fake_turn(f);
    fake_expect_frames(a, "text(dd)");
    fake_free(f);
}

struct expected {
    unsigned char *bytes;
    size_t len, capacity;
};

static void send_random(struct fake_client *client, struct expected *expected) {
    static const uint32_t limits[] = {20, 200, 20000, 200000};
    size_t len = random_below(limits[random_below(random_below(10) == 0 ? 4 : 2)]);
    enum opcode opcode = random_below(2) ? OPCODE_TEXT : OPCODE_BINARY;
    unsigned char *payload = mem_alloc(len + 1);
    for (size_t i = 0; i < len; i++)
        payload[i] = (unsigned char)random_below(256);
    struct message *message = message_new(opcode, payload, len);
    if (expected->len + message->len > expected->capacity) {
        expected->capacity = (expected->len + message->len) * 2;
        expected->bytes = mem_realloc(expected->bytes, expected->capacity);
    }
    memcpy(expected->bytes + expected->len, message->bytes, message->len);
    expected->len += message->len;
    enum send_result result = random_below(2)
                                  ? hub_send_deliver(client->fake->hub, client->conn, message)
                                  : hub_send(client->fake->hub, client->conn, opcode, payload, len);
    message_unref(message);
    mem_free(payload);
    assert_int_equal(result, SEND_OK);
}

/* Whatever the socket takes, and whenever: the bytes come out as they were sent. */
static void test_random_partial_writes(void **state) {
    struct endpoint endpoint = fake_endpoint();
    endpoint.max_backlog = SIZE_MAX;
    for (int round = 0; round < 20; round++) {
        struct fake *f = fake_new(&endpoint);
        struct fake_client *a = fake_connect(f);
        f->silent = true;
        struct expected expected = {0};
        a->room = 0;
        for (int i = 0; i < 300; i++) {
            for (uint32_t n = random_below(4); n > 0; n--)
                send_random(a, &expected);
            if (random_below(3) > 0)
                fake_turn(f);
            fake_takes(a, random_below(random_below(8) == 0 ? 300000 : 500));
            assert_true(a->len <= expected.len);
            assert_true(a->blocked || !list_empty(&a->conn->dirty) || a->conn->out.bytes == 0);
        }
        fake_takes(a, SIZE_MAX);
        fake_turn(f);
        assert_int_equal(a->len, expected.len);
        assert_memory_equal(a->bytes, expected.bytes, expected.len);
        mem_free(expected.bytes);
        fake_free(f);
    }
}

/* ---- pongs ---- */

static void test_pings_are_answered(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_connect(f);
    char payload[125];
    memset(payload, 'p', sizeof payload);
    hub_answer_ping(f->hub, a->conn, NULL, 0);
    hub_answer_ping(f->hub, a->conn, payload, sizeof payload);
    fake_turn(f);
    assert_int_equal(a->len, 2 + 127);
    assert_memory_equal(a->bytes, "\x8a\x00\x8a\x7d", 4);
    assert_memory_equal(a->bytes + 4, payload, sizeof payload);
    fake_free(f);
}

/* What the queue of a client takes: its frames, and what each message costs beside them. */
static size_t memory_of(const struct fake_client *client) {
    return client->conn->out.bytes + client->conn->out.overhead;
}

/* Many that come in one read, from a client that reads: each is answered, for little memory. */
static void test_a_burst_of_pings(void **state) {
    struct endpoint endpoint = fake_endpoint();
    endpoint.max_backlog = 1 << 20;
    struct fake *f = fake_new(&endpoint);
    struct fake_client *a = fake_connect(f);
    for (int i = 0; i < 20000; i++)
        hub_answer_ping(f->hub, a->conn, NULL, 0);
    assert_in_range(memory_of(a), 40000, 41000);
    fake_turn(f);
    assert_int_equal(a->len, 40000);
    fake_free(f);
}

/* A client that pings and does not read makes no queue: the latest answer waits (RFC 6455
 * section 5.5.3). */
static void test_the_latest_pong_is_enough(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_connect(f);
    a->room = 0;
    fake_send_ok(a, 'x', 3);
    fake_turn(f);
    for (int i = 1; i <= 100000; i++) {
        char payload[125] = "";
        int len = snprintf(payload, sizeof payload, "%d", i);
        hub_answer_ping(f->hub, a->conn, payload, i % 2 == 0 ? sizeof payload : (size_t)len);
        if (i % 1000 == 0)
            fake_turn(f);
        if (i == 50000)
            fake_send_ok(a, 'y', 3);
        assert_in_range(memory_of(a), 5, 5 + 127 + 5 + 3 * OUTQ_MESSAGE_BYTES);
    }
    hub_answer_ping(f->hub, a->conn, "last", 4);
    assert_int_equal(a->conn->out.bytes, 5 + 6 + 5);
    fake_takes(a, SIZE_MAX);
    fake_expect_frames(a, "text(xxx) pong(last) text(yyy)");
    hub_answer_ping(f->hub, a->conn, "1", 1); /* it reads again: each is answered */
    hub_answer_ping(f->hub, a->conn, "2", 1);
    fake_turn(f);
    fake_expect_frames(a, "pong(1) pong(2)");
    fake_free(f);
}

/* A frame whose first byte is written stays as it is. */
static void test_a_pong_that_has_begun(void **state) {
    for (size_t taken = 0; taken < 4; taken++) {
        struct fake *f = fake_new(NULL);
        struct fake_client *a = fake_connect(f);
        a->room = 0;
        fake_send_ok(a, 'x', 1);
        fake_turn(f);
        hub_answer_ping(f->hub, a->conn, "1", 1);
        fake_takes(a, 3 + taken);
        hub_answer_ping(f->hub, a->conn, "2", 1);
        hub_answer_ping(f->hub, a->conn, "3", 1);
        fake_takes(a, SIZE_MAX);
        fake_turn(f);
        fake_expect_frames(a, taken == 0   ? "text(x) pong(3)"
                              : taken == 3 ? "text(x) pong(1) pong(2) pong(3)"
                                           : "text(x) pong(1) pong(3)");
        fake_free(f);
    }
}

/* The limit is max_backlog if that is less, also within one turn. */
static void test_pongs_obey_a_small_backlog(void **state) {
    struct endpoint endpoint = fake_endpoint();
    for (endpoint.max_backlog = 1; endpoint.max_backlog <= 1000; endpoint.max_backlog *= 10) {
        struct fake *f = fake_new(&endpoint);
        struct fake_client *a = fake_connect(f);
        char payload[125] = "ping";
        for (int i = 0; i < 1000; i++)
            hub_answer_ping(f->hub, a->conn, payload, sizeof payload);
        assert_in_range(a->conn->out.bytes, 127, endpoint.max_backlog + 2 * 127);
        a->room = 0;
        fake_turn(f);
        hub_answer_ping(f->hub, a->conn, payload, sizeof payload);
        assert_in_range(a->conn->out.bytes, 127, endpoint.max_backlog + 2 * 127);
        fake_free(f);
    }
}

/* So with our own pings, which a script may send in a loop: one waits. */
static void test_pings_are_bounded(void **state) {
    struct endpoint endpoint = fake_endpoint();
    for (int json = 0; json < 2; json++) {
        endpoint.heartbeat = json ? HEARTBEAT_JSON : HEARTBEAT_FRAME;
        endpoint.json_name = mem_strdup("\"/\"");
        struct fake *f = fake_new(&endpoint);
        struct fake_client *a = fake_connect(f);
        for (int i = 0; i < 1000; i++)
            assert_true(hub_ping(f->hub, a->id)); /* in one turn */
        assert_in_range(memory_of(a), 1, 1300);
        a->room = 0;
        fake_turn(f);
        uint64_t sent = stats_read(&f->hub->stats.pings_sent);
        for (int i = 0; i < 100000; i++)
            assert_true(hub_ping(f->hub, a->id));
        assert_in_range(memory_of(a), 1, 1400);
        assert_in_range(stats_read(&f->hub->stats.pings_sent), sent, sent + 1);
        fake_takes(a, SIZE_MAX);
        assert_true(hub_ping(f->hub, a->id)); /* and when that has left the next one leaves */
        fake_turn(f);
        assert_int_equal(a->conn->out.bytes, 0);
        assert_true(stats_read(&f->hub->stats.pings_sent) > sent);
        fake_free(f);
    }
}

/* ---- the last frame ---- */

static void test_close_waits_for_a_slow_client(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_connect_slow(f, 3, true);
    hub_close(f->hub, a->id, 4000, "bye", 3);
    fake_turn(f);
    hub_peer_closed(f->hub, a->conn, 4000, NULL, 0);
    fake_takes(a, 299);
    assert_false(a->ended);
    fake_takes(a, 5);
    assert_false(a->ended);
    fake_takes(a, 4);
    assert_true(a->ended); /* all is written and the client has closed */
    assert_int_equal(a->len, 307);
    assert_memory_equal(a->bytes + 300,
                        "\x88\x05\x0f\xa0"
                        "bye",
                        7);
    fake_free(f);
}

/* ---- thousands of queues ---- */

/* Between two looks at it a slice of a turn ends. */
static uint64_t next_slice(void) {
    static uint64_t now_ns = 1000;
    return now_ns += 1000000000;
}

/* Clients of a hub whose slices end as soon as they may. */
static struct fake *connect_many(uint32_t count) {
    struct fake *f = fake_new(NULL);
    f->limit.max = 0;
    f->silent = true;
    for (uint32_t i = 0; i < count; i++)
        fake_connect(f);
    f->hub->options.slice_ns = next_slice;
    return f;
}

static uint32_t count_served(const struct fake *f) {
    uint32_t served = 0;
    for (uint32_t i = 0; i < f->count; i++)
        served += f->clients[i]->writes > 0;
    return served;
}

/* A turn writes some of the queues, in their order. A queue that waits keeps its place, and does
 * not delay the reply to a client whose queue is new. */
static void test_many_queues_give_way(void **state) {
    struct fake *f = connect_many(1000);
    struct fake_client *first = f->clients[0], *last = f->clients[999];
    for (uint32_t i = 0; i < f->count; i++)
        assert_int_equal(fake_send(f->clients[i], true, 'a', 1), SEND_OK);
    hub_turn_end(f->hub);
    uint32_t served = count_served(f);
    assert_in_range(served, 1, 500);
    assert_int_equal(f->clients[served - 1]->writes, 1);
    assert_true(hub_has_pending(f->hub));
    fake_send_ok(first, 'b', 1);
    fake_send_ok(f->clients[served], 'b', 1);
    fake_send_ok(last, 'b', 1);
    hub_turn_end(f->hub);
    fake_expect_frames(first, "text(a) text(b)");
    fake_expect_frames(f->clients[served], "text(a) text(b)");
    assert_in_range(count_served(f), served + 1, 999);
    fake_turn(f);
    fake_expect_frames(last, "text(a) text(b)");
    assert_int_equal(count_served(f), 1000);
    fake_free(f);
}

/* However slow the writes are, and however many connections there are, each is written soon. */
static void test_no_queue_waits_for_long(void **state) {
    struct fake *f = connect_many(4000);
    for (uint32_t i = 0; i < f->count; i++)
        fake_send_ok(f->clients[i], 'a', 1);
    int turns = 0;
    do {
        hub_turn_end(f->hub);
        for (uint32_t i = 0; i < 500; i++) /* others that send without end */
            fake_send_ok(f->clients[i], 'b', 1);
        turns++;
    } while (count_served(f) < f->count && turns < 100);
    assert_in_range(turns, 2, 10);
    fake_turn(f);
    fake_free(f);
}

/* The limit of a queue that waits for its turn and not for its socket is max_backlog too. */
static void test_a_queue_that_waits_is_bounded(void **state) {
    struct fake *f = connect_many(1000);
    struct fake_client *last = f->clients[999];
    for (uint32_t i = 0; i < f->count; i++)
        fake_send_ok(f->clients[i], 'a', 98);
    hub_turn_end(f->hub);
    assert_int_equal(last->writes, 0);
    for (int i = 0; i < 50; i++) {
        fake_send_ok(last, 'b', 98);
        assert_in_range(last->conn->out.bytes, 1, 1000);
    }
    last->room = 0; /* its socket is full as well: it is slow */
    for (int i = 0; i < 9; i++)
        fake_send(last, false, 'c', 98);
    assert_int_equal(fake_send(last, false, 'c', 98), SEND_CLOSED);
    last->room = SIZE_MAX;
    fake_turn(f);
    fake_free(f);
}

/* A client that leaves while its queue waits is forgotten; the others' are written. */
static void test_clients_leave_while_their_queues_wait(void **state) {
    struct fake *f = connect_many(1000);
    for (uint32_t i = 0; i < f->count; i++)
        fake_send_ok(f->clients[i], 'a', 1);
    hub_turn_end(f->hub);
    for (uint32_t i = 500; i < 1000; i += 2)
        fake_gone(f->clients[i]);
    fake_turn(f);
    for (uint32_t i = 500; i < 1000; i += 2) {
        assert_true(f->clients[i]->forgotten);
        assert_int_equal(f->clients[i + 1]->writes, 1);
    }
    fake_free(f);
}

/* When all connections close, one turn writes all. */
static void test_the_end_does_not_give_way(void **state) {
    struct fake *f = connect_many(1000);
    for (uint32_t i = 0; i < f->count; i++)
        fake_send_ok(f->clients[i], 'a', 1);
    hub_turn_end(f->hub);
    hub_drain(f->hub, CLOSE_GOING_AWAY, "bye");
    hub_turn_end(f->hub);
    for (uint32_t i = 0; i < f->count; i++)
        fake_expect_frames(f->clients[i], "text(a) close(1001,bye)");
    fake_turn(f);
    fake_free(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_write_a_turn),
        cmocka_unit_test(test_a_turn_is_not_one_clients),
        cmocka_unit_test(test_much_leaves_at_the_end_of_a_read),
        cmocka_unit_test(test_the_end_of_a_read_keeps_the_order),
        cmocka_unit_test(test_slow_clients_have_little_memory),
        cmocka_unit_test(test_a_full_socket_is_waited_for),
        cmocka_unit_test(test_random_partial_writes),
        cmocka_unit_test(test_pings_are_answered),
        cmocka_unit_test(test_a_burst_of_pings),
        cmocka_unit_test(test_the_latest_pong_is_enough),
        cmocka_unit_test(test_a_pong_that_has_begun),
        cmocka_unit_test(test_pongs_obey_a_small_backlog),
        cmocka_unit_test(test_pings_are_bounded),
        cmocka_unit_test(test_close_waits_for_a_slow_client),
        cmocka_unit_test(test_many_queues_give_way),
        cmocka_unit_test(test_no_queue_waits_for_long),
        cmocka_unit_test(test_a_queue_that_waits_is_bounded),
        cmocka_unit_test(test_clients_leave_while_their_queues_wait),
        cmocka_unit_test(test_the_end_does_not_give_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
