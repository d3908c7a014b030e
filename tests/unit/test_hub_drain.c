/* test_hub_drain.c -- a drain closes all connections, spread over a time: evenly, in order, and
 * without an exception. */
#include "fake_hub.h"

static const char why[] = "going";

/* How many are closed by now. */
static uint32_t told(const struct fake *f) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < f->count; i++)
        count += f->clients[i]->closed;
    return count;
}

static struct fake *fake_with(uint32_t clients) {
    struct fake *f = fake_new(NULL);
    for (uint32_t i = 0; i < clients; i++)
        fake_connect(f);
    return f;
}

static void test_order_and_moments(void **state) {
    struct fake *f = fake_with(4);
    f->timed = true;
    hub_drain_over(f->hub, CLOSE_GOING_AWAY, why, 1000);
    assert_int_equal(hub_next_timer_ms(f->hub), 250);
    fake_until(f, 1000);
    fake_expect(f, "250:a.close(1001,going) 500:b.close(1001,going) 750:c.close(1001,going) "
                   "1000:d.close(1001,going)");
    for (uint32_t i = 0; i < 4; i++)
        fake_expect_frames(f->clients[i], "close(1001,going)");
    fake_free(f);
}

/* At each moment the closed part of the connections is the past part of the time, whether they are
 * few or many. */
static void test_evenness(void **state) {
    static const uint32_t counts[] = {1, 2, 3, 7, 50, 97};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        struct fake *f = fake_with(counts[i]);
        f->silent = true;
        hub_drain_over(f->hub, CLOSE_GOING_AWAY, why, 700);
        for (uint64_t ms = 0; ms <= 700; ms += 10) {
            fake_until(f, ms);
            assert_in_range(told(f), counts[i] * ms / 700, counts[i] * ms / 700 + 1);
        }
        assert_int_equal(told(f), counts[i]);
        assert_int_equal(hub_next_timer_ms(f->hub) < 0, false); /* they have time to answer */
        fake_free(f);
    }
}

/* With more than one per millisecond, or a late loop, one turn closes all that are due. */
static void test_batches(void **state) {
    struct fake *f = fake_with(60);
    f->silent = true;
    hub_drain_over(f->hub, CLOSE_GOING_AWAY, why, 20);
    fake_until(f, 10);
    assert_int_equal(told(f), 30);
    f->now_ms += 5;
    hub_run_timers(f->hub);
    fake_turn(f);
    assert_int_equal(told(f), 45);
    fake_until(f, 20);
    assert_int_equal(told(f), 60);
    fake_free(f);
}

static void test_who_is_not_told_is_served(void **state) {
    struct fake *f = fake_with(2);
    struct fake_client *a = f->clients[0], *b = f->clients[1];
    hub_drain_over(f->hub, CLOSE_GOING_AWAY, why, 1000);
    assert_null(hub_admit(f->hub, false)); /* but no connection is admitted */
    fake_until(f, 600);
    fake_receive(a, "not heard");
    fake_receive(b, "hello");
    fake_send_ok(b, 'x', 2);
    fake_turn(f);
    fake_expect(f, "a.close(1001,going) b.message(hello)");
    fake_expect_frames(b, "text(xx)");
    fake_until(f, 1000);
    fake_expect_frames(b, "close(1001,going)"); /* behind what was queued for it */
    fake_free(f);
}

/* Clients that leave meanwhile do not delay the others; the last moment closes all that are left.
 */
static void test_some_leave(void **state) {
    struct fake *f = fake_with(10);
    f->silent = true;
    hub_drain_over(f->hub, CLOSE_GOING_AWAY, why, 1000);
    for (int i = 0; i < 8; i++)
        fake_gone(f->clients[i]);
    fake_turn(f);
    fake_until(f, 1000);
    assert_int_equal(told(f), 10);
    fake_expect_frames(f->clients[7], "");
    fake_expect_frames(f->clients[8], "close(1001,going)");
    fake_expect_frames(f->clients[9], "close(1001,going)");
    fake_free(f);
}

/* A handshake that ends after the walk has passed its slot. */
static void test_handshake_under_way(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_admit(f), *b = fake_connect(f);
    hub_drain_over(f->hub, CLOSE_GOING_AWAY, why, 1000);
    fake_until(f, 700);
    fake_expect_frames(b, "");
    hub_assign(f->hub, a->conn, 0);
    hub_open(f->hub, a->conn, a);
    fake_until(f, 1000);
    fake_expect_frames(a, "close(1001,going)");
    fake_expect_frames(b, "close(1001,going)");
    fake_free(f);
}

static void test_cut_short(void **state) {
    struct fake *f = fake_with(3);
    hub_drain_over(f->hub, CLOSE_GOING_AWAY, why, 3000);
    fake_until(f, 1000);
    hub_drain(f->hub, CLOSE_GOING_AWAY, "now");
    fake_turn(f);
    fake_expect(f, "a.close(1001,going) b.close(1001,now) c.close(1001,now)");
    fake_until(f, 3000);
    fake_free(f);
}

static void test_no_time_and_nobody(void **state) {
    struct fake *f = fake_with(2);
    hub_drain_over(f->hub, CLOSE_GOING_AWAY, why, 0);
    fake_turn(f);
    fake_expect(f, "a.close(1001,going) b.close(1001,going)");
    fake_free(f);
    f = fake_new(NULL);
    hub_drain_over(f->hub, CLOSE_GOING_AWAY, why, 1000);
    fake_until(f, 1000);
    assert_int_equal(hub_next_timer_ms(f->hub), -1);
    fake_free(f);
    f = fake_with(1); /* and an end before its moment */
    hub_drain_over(f->hub, CLOSE_GOING_AWAY, why, 1000);
    fake_free(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_moments), cmocka_unit_test(test_evenness),
        cmocka_unit_test(test_batches),           cmocka_unit_test(test_who_is_not_told_is_served),
        cmocka_unit_test(test_some_leave),        cmocka_unit_test(test_handshake_under_way),
        cmocka_unit_test(test_cut_short),         cmocka_unit_test(test_no_time_and_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
