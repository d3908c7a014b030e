/* test_hub_limits.c -- limits on the bytes that no hook has handled, and on the time of a message.
 */
#include "fake_hub.h"

#include <stdlib.h>

static struct fake *start(uint64_t message_ms, size_t max) {
    struct endpoint endpoint = fake_endpoint();
    endpoint.message_ms = message_ms;
    endpoint.max_message_size = 100;
    struct fake *f = fake_new(&endpoint);
    f->limit.max = 0;
    hub_set_unhandled_max(f->hub, max);
    return f;
}

static void keeps(struct fake_client *client, size_t bytes, uint32_t message) {
    hub_set_kept(client->fake->hub, client->conn, bytes, message);
}

static void receive(struct fake_client *client, size_t len) {
    char *bytes = mem_zalloc(len + 1);
    hub_received(client->fake->hub, client->conn, bytes, len, true);
    mem_free(bytes);
}

/* ---- the sum ---- */

/* Many that never end their messages: the oldest go, and each newcomer has room. */
static void test_the_oldest_goes(void **state) {
    struct fake *f = start(0, 10000);
    struct fake_client *clients[100];
    for (int i = 0; i < 100; i++) {
        clients[i] = fake_connect(f);
        keeps(clients[i], 1000, 1);
        assert_in_range(f->hub->unhandled_bytes, 1000, 10000);
        assert_false(clients[i]->discarded);
        assert_true(i < 10 || clients[i - 10]->discarded);
    }
    fake_turn(f);
    assert_int_equal(clients[89]->conn->state, CONN_CLOSING);
    assert_int_equal(clients[90]->conn->state, CONN_OPEN);
    fake_expect_frames(clients[0], "close(1013,too many unfinished messages)");
    assert_true(clients[0]->ended);
    fake_free(f);
}

/* The message that ends and the next one have different numbers: a client that goes on sending is
 * not the oldest. */
static void test_whose_messages_end_is_young(void **state) {
    struct fake *f = start(0, 3000);
    struct fake_client *a = fake_connect(f), *b = fake_connect(f), *c = fake_connect(f);
    keeps(a, 1000, 1);
    keeps(b, 1000, 1);
    keeps(a, 1000, 3);
    keeps(a, 1000, 5);
    keeps(c, 2000, 1);
    assert_true(b->discarded);
    assert_false(a->discarded || c->discarded);
    keeps(a, 0, 0);
    keeps(a, 10, 7);
    keeps(a, 2000, 7);
    assert_true(c->discarded);
    assert_false(a->discarded);
    fake_free(f);
}

/* One alone may have as much as its endpoint allows. */
static void test_a_single_large_message(void **state) {
    struct fake *f = start(0, 1000);
    struct fake_client *a = fake_connect(f);
    for (size_t bytes = 1; bytes < 1 << 20; bytes *= 2)
        keeps(a, bytes, 1);
    assert_false(a->discarded);
    struct fake_client *b = fake_connect(f);
    keeps(b, 1, 1);
    assert_true(a->discarded);
    assert_false(b->discarded);
    fake_free(f);
}

/* Messages that wait for sleeping hooks count as well. From half of the limit on the hub does not
 * read from clients whose hooks sleep; it then refuses those that had sent at once. */
static void test_sleeping_hooks(void **state) {
    struct fake *f = start(0, 100000);
    f->silent = true;
    f->sleeps = FAKE_MESSAGE;
    struct fake_client *clients[20];
    for (int i = 0; i < 20; i++) {
        clients[i] = fake_connect(f);
        receive(clients[i], 1); /* its hook sleeps */
        assert_false(clients[i]->paused);
        receive(clients[i], 10000);
        keeps(clients[i], 0, 0);
        assert_int_equal(clients[i]->paused, i >= 4);
        assert_in_range(f->hub->unhandled_bytes, 10000, 100000);
    }
    assert_true(clients[0]->discarded);
    assert_false(clients[19]->discarded);
    f->sleeps = 0;
    for (int i = 0; i < 20; i++)
        fake_wake(clients[i]);
    fake_turn(f);
    assert_int_equal(f->hub->unhandled_bytes, 0);
    assert_false(clients[19]->paused);
    fake_free(f);
}

/* The same where `rate` pauses it, too: its tokens are there before its hook ends. */
static void test_sleeping_hook_and_rate(void **state) {
    struct fake *f = start(0, 100000);
    struct endpoint *endpoint = hub_endpoint(f->hub, 0);
    endpoint->rate =
        (struct message_rate){.messages = {.per_ms = 0.001, .burst = 1}, .action = RATE_PAUSE};
    hub_fit_endpoint(endpoint);
    f->sleeps = FAKE_MESSAGE;
    struct fake_client *a = fake_connect(f), *b = fake_connect(f);
    receive(a, 1);
    assert_true(a->paused);
    fake_pass(f, 1000);
    assert_false(a->paused);
    keeps(b, 60000, 1);
    receive(a, 1);
    fake_pass(f, 1000);
    assert_true(a->paused);
    f->sleeps = 0;
    fake_wake(a);
    fake_turn(f);
    assert_false(a->paused);
    fake_free(f);
}

/* What is left of one whose socket is gone is refused as well: its hook gets no more messages, and
 * on_close. */
static void test_gone_with_a_sleeping_hook(void **state) {
    struct fake *f = start(0, 2000);
    struct fake_client *a = fake_connect(f);
    f->sleeps = FAKE_MESSAGE;
    receive(a, 1);
    receive(a, 1500);
    fake_gone(a);
    struct fake_client *b = fake_connect(f);
    keeps(b, 1500, 1);
    assert_false(b->discarded);
    assert_int_equal(f->hub->unhandled_bytes, 1500);
    f->journal_len = 0;
    f->sleeps = 0;
    fake_wake(a);
    fake_turn(f);
    fake_expect(f, "a.close(1006) a.forgotten");
    fake_free(f);
}

/* Whatever happens in whatever order, the sum is that of its parts. */
static void test_random(void **state) {
    srand(15);
    for (int life = 0; life < 100; life++) {
        struct fake *f = start(500, 20000);
        f->silent = true;
        struct fake_client *clients[8] = {NULL};
        size_t kept[8] = {0};
        for (int step = 0; step < 300; step++) {
            int i = rand() % 8;
            struct fake_client *client = clients[i];
            if (client == NULL || client->conn == NULL) {
                if (client == NULL || client->forgotten)
                    clients[i] = fake_connect(f);
                kept[i] = 0;
                continue;
            }
            f->sleeps = rand() % 2 ? FAKE_MESSAGE : 0;
            switch (rand() % 8) {
            case 0:
            case 1:
                if (!client->discarded) {
                    kept[i] = rand() % 3 == 0 ? 0 : (size_t)rand() % 9000;
                    keeps(client, kept[i], rand() % 2 ? (uint32_t)step * 2 + 1 : 0);
                }
                break;
            case 2:
            case 3:
                if (!client->discarded)
                    receive(client, (size_t)rand() % 3000);
                break;
            case 4:
                if (client->sleeping)
                    fake_wake(client);
                break;
            case 5:
                fake_pass(f, (uint64_t)rand() % 100);
                break;
            case 6:
                if (rand() % 4 == 0)
                    hub_close(f->hub, client->id, 1000, NULL, 0);
                break;
            default:
                if (rand() % 8 == 0)
                    fake_gone(client);
                break;
            }
            fake_turn(f);
            size_t sum = 0;
            for (int k = 0; k < 8; k++)
                if (clients[k] != NULL && !clients[k]->forgotten) {
                    struct conn *conn = hub_find(f->hub, clients[k]->id);
                    bool has = conn->state != CONN_GONE && !clients[k]->discarded;
                    assert_int_equal(conn->kept, has ? kept[k] : 0);
                    sum += conn->kept + inbox_cost(conn->inbox);
                }
            assert_int_equal(f->hub->unhandled_bytes, sum);
        }
        for (int i = 0; i < 8; i++)
            if (clients[i] != NULL && clients[i]->sleeping)
                fake_wake(clients[i]);
        fake_free(f);
    }
}

/* A few of the largest messages have room, however low the limit is, also when an endpoint's
 * max_message_size changes. */
static void test_room_for_the_largest(void **state) {
    struct fake *f = start(0, 1000);
    assert_int_equal(f->hub->unhandled_max, 1000);
    struct endpoint large = fake_endpoint();
    large.max_message_size = 5000;
    uint32_t number = hub_add_endpoint(f->hub, &large);
    assert_int_equal(f->hub->unhandled_max, 20000);
    hub_set_unhandled_max(f->hub, 30000);
    assert_int_equal(f->hub->unhandled_max, 30000);
    large.max_message_size = 10000;
    hub_activate_endpoint(f->hub, number, &large);
    assert_int_equal(f->hub->unhandled_max, 40000);
    fake_free(f);
}

/* ---- the time ---- */

static void test_the_time_of_a_message(void **state) {
    struct fake *f = start(1000, SIZE_MAX);
    f->timed = true;
    struct fake_client *a = fake_connect(f), *b = fake_connect(f);
    f->journal_len = 0;
    keeps(a, 10, 1);
    fake_until(f, 999);
    keeps(a, 20, 1); /* more of the same message */
    keeps(b, 10, 1);
    fake_until(f, 1998);
    fake_expect(f, "1000:a.close(1008,message took too long)");
    assert_true(a->discarded);
    keeps(b, 0, 0); /* in time */
    fake_until(f, 100000);
    assert_false(b->discarded);
    fake_free(f);
}

/* While we do not read, a client cannot send the rest. */
static void test_the_time_of_a_paused_message(void **state) {
    struct fake *f = start(1000, SIZE_MAX);
    struct fake_client *a = fake_connect(f);
    f->silent = true;
    f->sleeps = FAKE_MESSAGE;
    while (!a->paused)
        receive(a, 1000);
    keeps(a, 10, 1);
    fake_until(f, 20500);
    assert_false(a->discarded);
    f->sleeps = 0;
    fake_wake(a);
    assert_false(a->paused);
    fake_until(f, 21400);
    assert_false(a->discarded);
    fake_until(f, 21600);
    assert_true(a->discarded);
    fake_free(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_oldest_goes),
        cmocka_unit_test(test_whose_messages_end_is_young),
        cmocka_unit_test(test_a_single_large_message),
        cmocka_unit_test(test_sleeping_hooks),
        cmocka_unit_test(test_sleeping_hook_and_rate),
        cmocka_unit_test(test_gone_with_a_sleeping_hook),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_room_for_the_largest),
        cmocka_unit_test(test_the_time_of_a_message),
        cmocka_unit_test(test_the_time_of_a_paused_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
