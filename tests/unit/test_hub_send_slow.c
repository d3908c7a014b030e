/* test_hub_send_slow.c -- the queue of a client that does not keep up: its limit (1,000 bytes
 * here), what happens at it, newer values for older ones, and on_drain. */
#include "fake_hub.h"

/* ---- the limit ---- */

/* "text(aaaa…)": a frame of 100 bytes. */
static const char *frame_of(char letter, char *text) {
    strcpy(text, "text(");
    memset(text + 5, letter, 98);
    strcpy(text + 5 + 98, ")");
    return text;
}

static void test_dropping(void **state) {
    struct endpoint endpoint = fake_endpoint();
    endpoint.slow_client = SLOW_CLIENT_DROP;
    for (int shared = 0; shared < 2; shared++) {
        struct fake *f = fake_new(&endpoint);
        struct fake_client *a = fake_connect_slow(f, 10, shared); /* to the last byte */
        assert_int_equal(fake_send(a, false, 'x', 0), SEND_BACKLOG);
        struct message *message = message_new(OPCODE_TEXT, "x", 1);
        assert_int_equal(hub_send_deliver(f->hub, a->conn, message), SEND_BACKLOG);
        ref_cache_flush(&f->hub->ref_cache);
        assert_int_equal(atomic_load(&message->refs), 1);
        message_unref(message);
        assert_int_equal(stats_read(&f->hub->stats.messages_dropped), 2);
        assert_int_equal(stats_read(&f->hub->stats.slow_clients), 2);
        assert_int_equal(stats_read(&f->hub->stats.messages_sent), 10);
        fake_takes(a, 99);
        assert_int_equal(fake_send(a, false, 'y', 98), SEND_BACKLOG);
        fake_takes(a, 1);
        fake_send_ok(a, 'z', 98); /* there is room again */
        fake_takes(a, SIZE_MAX);
        assert_int_equal(a->len, 1100);
        assert_int_equal(a->bytes[1002], 'z');
        fake_turn(f);
        fake_expect(f, "a.drain");
        fake_free(f);
    }
}

/* However the queue reached its limit, on_drain follows a refused send when the queue is empty. */
static void test_drain_after_dropping(void **state) {
    struct endpoint endpoint = fake_endpoint();
    endpoint.slow_client = SLOW_CLIENT_DROP;
    struct fake *f = fake_new(&endpoint);
    struct fake_client *a = fake_connect_slow(f, 1, true);
    while (fake_send(a, false, 'x', 98) == SEND_OK)
        assert_in_range(a->conn->out.bytes, 0, 1000);
    fake_takes(a, SIZE_MAX);
    fake_turn(f);
    fake_expect(f, "a.drain");
    fake_free(f);
}

/* The frame that the socket has a part of is finished, then comes the Close frame; no frame is cut.
 * */
static void check_close_at(size_t taken, bool shared) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_connect_slow(f, 10, shared);
    fake_takes(a, taken);
    assert_int_equal(fake_send(a, false, 'x', taken + 98), SEND_CLOSED);
    assert_int_equal(fake_send(a, false, 'x', 0), SEND_CLOSED);
    fake_turn(f);
    fake_expect(f, "a.close(1008,slow client)");
    fake_takes(a, SIZE_MAX);
    char want[2000] = "", text[128];
    for (size_t i = 0; i * 100 < taken; i++) {
        strcat(want, frame_of((char)('a' + i), text));
        strcat(want, " ");
    }
    strcat(want, "close(1008,slow client)");
    fake_expect_frames(a, want);
    assert_int_equal(stats_read(&f->hub->stats.slow_clients), 1);
    fake_free(f);
}

static void test_closing(void **state) {
    static const size_t taken[] = {0, 1, 2, 50, 99, 100, 101, 299, 300, 350, 899, 901, 999};
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++) {
        check_close_at(taken[i], false);
        check_close_at(taken[i], true);
    }
}

/* What has not been tried on the socket is no sign of a slow client. */
static void test_a_fast_client_has_no_ceiling(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_connect(f);
    for (int i = 0; i < 100; i++)
        fake_send_ok(a, 'x', 98); /* ten times the limit in one turn */
    fake_turn(f);
    assert_int_equal(a->len, 10000);
    assert_int_equal(stats_read(&f->hub->stats.slow_clients), 0);
    fake_expect(f, ""); /* no on_drain either */
    fake_free(f);
}

static void test_one_message_above_the_ceiling(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_connect(f);
    a->room = 10;
    fake_send_ok(a, 'L', 500000); /* an empty queue takes it */
    fake_turn(f);
    fake_takes(a, SIZE_MAX);
    fake_turn(f);
    fake_expect_frames(a, "text[500000]");
    assert_int_equal(fake_send(a, true, 'M', 500000), SEND_OK);
    fake_send_ok(a, 'x', 1);
    fake_turn(f);
    fake_expect_frames(a, "text[500000] text(x)");
    a->room = 10;
    fake_send_ok(a, 'N', 500000);
    fake_turn(f);
    assert_int_equal(fake_send(a, false, 'x', 1),
                     SEND_CLOSED); /* a queue that is not empty does not */
    fake_takes(a, SIZE_MAX);
    fake_turn(f);
    fake_expect_frames(a, "text[500000] close(1008,slow client)");
    fake_free(f);
}

/* Small shared messages take more memory than their bytes: it has the same limit, and at least
 * 64 KiB. */
static void test_the_limit_of_small_messages(void **state) {
    struct endpoint endpoint = fake_endpoint();
    endpoint.slow_client = SLOW_CLIENT_DROP;
    for (endpoint.max_backlog = 1000; endpoint.max_backlog <= 1000000;
         endpoint.max_backlog *= 1000) {
        struct fake *f = fake_new(&endpoint);
        struct fake_client *a = fake_connect_slow(f, 1, true);
        size_t max = endpoint.max_backlog < 65536 ? 65536 : endpoint.max_backlog;
        size_t sent = 0;
        while (fake_send(a, true, 'x', 0) == SEND_OK) {
            assert_in_range(a->conn->out.overhead, 1, max + OUTQ_MESSAGE_BYTES);
            sent++;
        }
        assert_in_range(sent, endpoint.max_backlog == 1000 ? 450 : max / OUTQ_MESSAGE_BYTES - 2,
                        max / OUTQ_MESSAGE_BYTES + 2);
        fake_takes(a, SIZE_MAX);
        assert_int_equal(a->conn->out.overhead, 0);
        fake_send_ok(a, 'y', 1);
        fake_free(f);
    }
}

/* ---- conflation ---- */

static enum send_result send_keyed(struct fake_client *client, const char *key, const char *text) {
    return hub_send_with(client->fake->hub, client->conn, OPCODE_TEXT, text, strlen(text),
                         slice_of(key), false);
}

static struct fake *new_conflating(void) {
    struct endpoint endpoint = fake_endpoint();
    endpoint.slow_client = SLOW_CLIENT_CONFLATE;
    return fake_new(&endpoint);
}

/* While a client is behind, the newest value replaces the queued one. */
static void test_conflating(void **state) {
    struct fake *f = new_conflating();
    struct fake_client *a = fake_connect(f);
    assert_int_equal(send_keyed(a, "x", "x1"), SEND_OK);
    assert_int_equal(send_keyed(a, "x", "x2"), SEND_OK);
    fake_turn(f);
    fake_expect_frames(a, "text(x1) text(x2)"); /* it is not behind: it gets each */
    a->room = 1;
    fake_send_ok(a, 'o', 2);
    fake_turn(f);
    assert_int_equal(send_keyed(a, "x", "x3"), SEND_OK);
    assert_int_equal(send_keyed(a, "y", "y1"), SEND_OK);
    fake_send_ok(a, 'p', 2);
    assert_int_equal(send_keyed(a, "x", "x4, longer"), SEND_OK);
    assert_int_equal(send_keyed(a, "y", ""), SEND_OK);
    assert_int_equal(send_keyed(a, "xy", "z"), SEND_OK);
    assert_int_equal(stats_read(&f->hub->stats.messages_replaced), 2);
    assert_int_equal(stats_read(&f->hub->stats.messages_sent), 9);
    fake_takes(a, SIZE_MAX);
    fake_expect_frames(a, "text(oo) text(x4, longer) text() text(pp) text(z)");
    assert_int_equal(a->conn->out.bytes, 0);
    fake_free(f);
}

/* What the socket has begun to take is finished, and the new value follows it. */
static void test_conflating_cuts_no_frame(void **state) {
    struct fake *f = new_conflating();
    struct fake_client *a = fake_connect(f);
    a->room = 1;
    fake_send_ok(a, 'o', 1);
    fake_turn(f);
    assert_int_equal(send_keyed(a, "x", "old"), SEND_OK);
    fake_takes(a, 3); /* the rest of the first, one byte of the next */
    assert_int_equal(send_keyed(a, "x", "new"), SEND_OK);
    fake_takes(a, SIZE_MAX);
    fake_expect_frames(a, "text(o) text(old) text(new)");
    fake_free(f);
}

/* Others that keep up, or do not conflate, get each value. */
static void test_only_who_is_behind_conflates(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_connect_slow(f, 1, true);
    a->seen = a->len;
    assert_int_equal(send_keyed(a, "x", "1"), SEND_OK);
    assert_int_equal(send_keyed(a, "x", "2"), SEND_OK);
    assert_int_equal(stats_read(&f->hub->stats.messages_replaced), 0);
    assert_int_equal(a->conn->out.bytes, 106);
    fake_free(f);
}

static void test_conflating_at_the_ceiling(void **state) {
    struct fake *f = new_conflating();
    struct fake_client *a = fake_connect_slow(f, 9, true);
    char text[101] = "";
    memset(text, 'x', 98);
    assert_int_equal(send_keyed(a, "x", text), SEND_OK); /* 1,000 bytes wait */
    assert_int_equal(send_keyed(a, "y", "y"), SEND_BACKLOG);
    assert_int_equal(a->conn->state, CONN_OPEN);
    memset(text, 'z', 98);
    assert_int_equal(send_keyed(a, "x", text), SEND_OK); /* what replaces needs no more room */
    assert_int_equal(a->conn->out.bytes, 1000);
    fake_free(f);
}

/* A key is kept with its message, and counts. */
static void test_keys_count(void **state) {
    struct fake *f = new_conflating();
    struct fake_client *a = fake_connect_slow(f, 1, true);
    char key[1025];
    memset(key, 'k', sizeof key);
    key[1024] = '\0';
    int sent = 0;
    do
        snprintf(key, 16, "%07d", sent);
    while ((key[7] = 'k', send_keyed(a, key, "")) == SEND_OK && ++sent < 1000);
    assert_in_range(sent, 55, 66); /* 64 KiB */
    snprintf(key, 8, "%07d", 0);
    key[7] = 'k';
    assert_int_equal(send_keyed(a, key, "x"), SEND_OK); /* what replaces needs no more */
    fake_free(f);
}

/* A larger value does not bring the queue above its limit. */
static void test_larger_values_keep_the_ceiling(void **state) {
    struct fake *f = new_conflating();
    struct fake_client *a = fake_connect(f);
    a->room = 0;
    fake_send_ok(a, 'o', 1);
    fake_turn(f);
    char key[2] = "a", text[901] = "";
    for (; key[0] < 'k'; key[0]++)
        assert_int_equal(send_keyed(a, key, "small"), SEND_OK);
    memset(text, 'L', 900);
    for (key[0] = 'a'; key[0] < 'k'; key[0]++)
        send_keyed(a, key, text);
    assert_in_range(a->conn->out.bytes, 1, 1000);
    fake_free(f);
}

/* ---- on_drain ---- */

static void test_drain(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_connect_slow(f, 6, false); /* above half */
    fake_takes(a, 599);
    fake_turn(f);
    fake_expect(f, ""); /* not empty yet */
    fake_takes(a, 1);
    fake_turn(f);
    fake_expect(f, "a.drain");
    a->room = 0;
    fake_send_ok(a, 'x', 98);
    fake_turn(f);
    fake_takes(a, SIZE_MAX);
    fake_turn(f);
    fake_expect(f, ""); /* that was below half */
    fake_free(f);
}

/* The queue grows above half only after the socket was full: that counts as well. */
static void test_drain_of_a_queue_that_grew_while_blocked(void **state) {
    for (int shared = 0; shared < 2; shared++) {
        struct fake *f = fake_new(NULL);
        struct fake_client *a = fake_connect_slow(f, 2, shared);
        for (int i = 0; i < 7; i++)
            assert_int_equal(fake_send(a, shared, 'x', 98), SEND_OK);
        fake_turn(f);
        fake_takes(a, SIZE_MAX); /* and leaves in one go */
        fake_turn(f);
        fake_expect(f, "a.drain");
        fake_free(f);
    }
}

/* So does one that grows because larger values replace small ones. */
static void test_drain_of_a_queue_that_grew_by_conflating(void **state) {
    struct fake *f = new_conflating();
    struct fake_client *a = fake_connect_slow(f, 1, true);
    char text[601] = "";
    memset(text, 'L', 600);
    assert_int_equal(send_keyed(a, "x", "small"), SEND_OK);
    assert_int_equal(send_keyed(a, "x", text), SEND_OK);
    assert_int_equal(a->conn->out.bytes, 704);
    fake_takes(a, SIZE_MAX);
    fake_turn(f);
    fake_expect(f, "a.drain");
    fake_free(f);
}

static void test_drain_waits_for_its_turn(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_connect_slow(f, 10, true);
    f->sleeps = FAKE_MESSAGE;
    fake_receive(a, "1");
    fake_takes(a, SIZE_MAX);
    fake_turn(f);
    fake_expect(f, "a.message(1)");
    fake_wake(a);
    fake_expect(f, "a.drain");
    fake_free(f);
}

static void test_no_drain(void **state) {
    struct endpoint endpoint = fake_endpoint();
    endpoint.has_drain = false;
    struct fake *f = fake_new(&endpoint);
    struct fake_client *a = fake_connect_slow(f, 10, true);
    fake_takes(a, SIZE_MAX);
    fake_turn(f);
    fake_expect(f, "");
    struct fake_client *b = fake_connect_slow(f, 10, true);
    hub_close(f->hub, b->id, 1000, NULL, 0);
    fake_takes(b, SIZE_MAX);
    fake_turn(f);
    fake_expect(f, "b.close(1000)"); /* nor for a closing one */
    fake_free(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dropping),
        cmocka_unit_test(test_drain_after_dropping),
        cmocka_unit_test(test_closing),
        cmocka_unit_test(test_a_fast_client_has_no_ceiling),
        cmocka_unit_test(test_one_message_above_the_ceiling),
        cmocka_unit_test(test_the_limit_of_small_messages),
        cmocka_unit_test(test_conflating),
        cmocka_unit_test(test_keys_count),
        cmocka_unit_test(test_conflating_cuts_no_frame),
        cmocka_unit_test(test_only_who_is_behind_conflates),
        cmocka_unit_test(test_conflating_at_the_ceiling),
        cmocka_unit_test(test_larger_values_keep_the_ceiling),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_drain_of_a_queue_that_grew_while_blocked),
        cmocka_unit_test(test_drain_of_a_queue_that_grew_by_conflating),
        cmocka_unit_test(test_drain_waits_for_its_turn),
        cmocka_unit_test(test_no_drain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
