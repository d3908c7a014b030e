/* test_hub_timers.c -- what happens by the clock: pings, silence, answers, and ends that take too
 * long. */
#include "fake_hub.h"

#include "base/clock.h"
#include "core/hub/hub_close.h"

/* A hub whose journal tells times, with one client that came at 0. */
static struct fake *start(uint64_t ping_ms, uint64_t pong_ms) {
    struct endpoint endpoint = fake_endpoint();
    endpoint.ping_ms = ping_ms;
    endpoint.pong_ms = pong_ms;
    struct fake *f = fake_new(&endpoint);
    f->timed = true;
    fake_connect(f);
    return f;
}

/* ---- pings ---- */

static void test_pings(void **state) {
    struct fake *f = start(100, 0);
    assert_int_equal(hub_next_timer_ms(f->hub), 100);
    fake_until(f, 350);
    fake_expect(f, "100:a.ping 200:a.ping 300:a.ping"); /* the first one period after the start */
    assert_int_equal(hub_next_timer_ms(f->hub), 50);
    assert_int_equal(f->clients[0]->len, 0); /* the hook's business */
    fake_free(f);
}

static void test_no_pings(void **state) {
    struct fake *f = start(0, 0);
    assert_int_equal(hub_next_timer_ms(f->hub), -1);
    fake_until(f, 1000000000);
    fake_expect(f, "");
    fake_free(f);
}

static void test_pings_of_the_server(void **state) {
    struct endpoint endpoint = fake_endpoint();
    endpoint.ping_ms = 100;
    endpoint.has_ping = false;
    struct fake *f = fake_new(&endpoint);
    struct fake_client *a = fake_connect(f);
    fake_until(f, 100);
    struct fake_client *b = fake_connect(f);
    fake_until(f, 399);
    fake_expect_frames(a, "ping(1) ping(2) ping(3)");
    fake_expect_frames(b, "ping(1) ping(2)");
    assert_int_equal(stats_read(&f->hub->stats.pings_sent), 5);
    hub_close(f->hub, a->id, 1000, NULL, 0);
    fake_until(f, 1000);
    fake_expect_frames(a, "close(1000)");
    fake_free(f);
}

/* A loop that is always a little late does not make the pings later and later. */
static void test_pings_do_not_drift(void **state) {
    struct fake *f = start(100, 0);
    uint64_t sent = 0;
    for (uint64_t now = 0; now <= 100006; now += 7) {
        f->now_ms = f->start_ms + now;
        hub_run_timers(f->hub);
        fake_turn(f);
        if (f->journal_len > 0) {
            sent++;
            assert_in_range(now, sent * 100, sent * 100 + 6);
            f->journal_len = 0;
        }
    }
    assert_int_equal(sent, 1000);
    fake_free(f);
}

/* A loop that is very late sends one ping, not a burst, and goes on from there. */
static void test_no_burst(void **state) {
    struct endpoint endpoint = fake_endpoint();
    endpoint.ping_ms = 100;
    endpoint.has_ping = false;
    struct fake *f = fake_new(&endpoint);
    struct fake_client *a = fake_connect(f);
    f->now_ms = f->start_ms + 1050;
    assert_int_equal(hub_next_timer_ms(f->hub), 0);
    hub_run_timers(f->hub);
    fake_turn(f);
    hub_run_timers(f->hub);
    fake_turn(f);
    fake_expect_frames(a, "ping(1)");
    fake_until(f, 1350);
    assert_in_range(a->len, 3 * 3, 4 * 3); /* 300 ms: two more, or three */
    fake_free(f);
}

/* ---- the JSON form ---- */

static void check_json_ping(const char *json_name) {
    struct endpoint endpoint = fake_endpoint();
    endpoint.heartbeat = HEARTBEAT_JSON;
    endpoint.json_name = mem_strdup(json_name);
    struct fake *f = fake_new(&endpoint);
    struct fake_client *a = fake_connect(f);
    for (unsigned number = 1; number <= 3; number++) {
        assert_true(hub_ping(f->hub, a->id));
        fake_turn(f);
        size_t size = strlen(json_name) + 200;
        char *want = mem_alloc(size);
        char id[CONN_ID_LEN + 1];
        conn_id_format(id, a->id);
        size_t len = (size_t)snprintf(
            want, size, "{\"type\":\"ping\",\"pingId\":%u,\"name\":%s,\"connId\":\"%s\"}", number,
            json_name, id);
        size_t header = message_frame_size(len) - len;
        assert_int_equal(a->len - a->seen, header + len);
        assert_int_equal(a->bytes[a->seen], 0x81);
        assert_memory_equal(a->bytes + a->seen + header, want, len);
        a->seen = a->len;
        mem_free(want);
    }
    fake_free(f);
}

static void test_json_pings(void **state) {
    check_json_ping("\"/chat\"");
    check_json_ping("\"\"");
    check_json_ping("\"100%s %d %n\"");
    check_json_ping("\"a \\\"b\\\" \\\\ \\n \xc3\xa9 \\u0000\"");
    char *name = mem_alloc(100000);
    memset(name, 'x', 100000);
    name[0] = name[99998] = '"';
    name[99999] = '\0';
    check_json_ping(name);
    mem_free(name);
}

/* ---- silence ---- */

static void test_silence(void **state) {
    struct fake *f = start(0, 300);
    fake_until(f, 299);
    fake_expect(f, "");
    fake_until(f, 300);
    fake_expect(f, "300:a.timeout"); /* at the moment, not at twice the period */
    assert_int_equal(f->clients[0]->conn->state, CONN_OPEN); /* the hook decides */
    fake_until(f, 1000);
    fake_expect(f, "600:a.timeout 900:a.timeout"); /* kept: asked again after another period */
    assert_int_equal(stats_read(&f->hub->stats.timeouts), 3);
    fake_free(f);
}

static void test_endless_silence(void **state) {
    struct fake *f = start(0, 0);
    fake_until(f, 1000000000);
    fake_expect(f, "");
    fake_free(f);
}

static void test_signs_of_life(void **state) {
    struct fake *f = start(0, 300);
    struct fake_client *a = f->clients[0];
    for (uint64_t now = 250; now <= 5000; now += 250) {
        fake_until(f, now);
        hub_alive(f->hub, a->conn);
    }
    fake_until(f, 5299);
    fake_expect(f, "");
    fake_until(f, 5300);
    fake_expect(f, "5300:a.timeout");
    fake_until(f, 5301);
    hub_alive(f->hub, a->conn);
    fake_until(f, 5700);
    fake_expect(f, "5601:a.timeout");
    fake_free(f);
}

static void test_what_we_send_is_no_sign_of_life(void **state) {
    struct fake *f = start(0, 300);
    struct fake_client *a = f->clients[0];
    for (uint64_t now = 50; now < 300; now += 50) {
        fake_until(f, now);
        hub_send(f->hub, a->conn, OPCODE_TEXT, "hi", 2);
        hub_ping(f->hub, a->id);
        fake_turn(f);
    }
    fake_until(f, 300);
    fake_expect(f, "300:a.timeout");
    fake_free(f);
}

static void test_without_a_hook(void **state) {
    struct endpoint endpoint = fake_endpoint();
    endpoint.pong_ms = 300;
    endpoint.has_timeout = false;
    struct fake *f = fake_new(&endpoint);
    f->timed = true;
    struct fake_client *a = fake_connect(f);
    fake_until(f, 299);
    fake_expect(f, "");
    fake_until(f, 300);
    fake_expect(f, "300:a.close(4408,timed out)");
    fake_expect_frames(a, "close(4408,timed out)");
    fake_free(f);
}

/* on_timeout may take its time: while it sleeps it is not asked for again. */
static void test_a_sleeping_on_timeout(void **state) {
    struct fake *f = start(0, 300);
    f->sleeps = FAKE_TIMEOUT;
    fake_until(f, 1050);
    fake_expect(f, "300:a.timeout");
    f->sleeps = 0;
    fake_wake(f->clients[0]);
    fake_turn(f);
    fake_expect(f, "1050:a.timeout"); /* it was silent all the while */
    fake_until(f, 1349);
    fake_expect(f, "");
    fake_until(f, 1350);
    fake_expect(f, "1350:a.timeout");
    fake_free(f);
}

/* Bytes of an incomplete frame: the socket received them, the hub did not. */
static void test_a_message_on_its_way(void **state) {
    struct fake *f = start(0, 300);
    struct fake_client *a = f->clients[0];
    a->quiet_ms = 40;
    fake_until(f, 300);
    fake_expect(f, "");
    a->quiet_ms = 299; /* at 559: so the last byte came at 260 */
    fake_until(f, 559);
    a->quiet_ms = 300;
    fake_until(f, 560);
    fake_expect(f, "560:a.timeout");
    fake_free(f);
}

/* The hub does not notice silence while it does not read from the socket. */
static void test_a_paused_connection_is_not_silent(void **state) {
    struct fake *f = start(0, 300);
    struct fake_client *a = f->clients[0];
    f->sleeps = FAKE_MESSAGE;
    hub_alive(f->hub, a->conn);
    for (int i = 0; !a->paused; i++) {
        assert_in_range(i, 0, 10000);
        fake_receive(a, "x");
    }
    fake_until(f, 2000);
    assert_int_equal(stats_read(&f->hub->stats.timeouts), 0);
    f->sleeps = 0;
    f->silent = true;
    fake_wake(a);
    fake_turn(f);
    f->silent = false;
    f->journal_len = 0;
    assert_false(a->paused);
    fake_until(f, 2299);
    fake_expect(f, "");
    fake_until(f, 2300);
    fake_expect(f, "2300:a.timeout"); /* a whole period after reading went on */
    fake_free(f);
}

/* Pings and silence of many clients, each at its own moments. */
static void test_many(void **state) {
    struct fake *f = start(0, 1000);
    for (int i = 1; i < 20; i++) {
        fake_until(f, (uint64_t)i * 10);
        fake_connect(f);
    }
    char want[1000] = "";
    for (int i = 0; i < 20; i++)
        snprintf(want + strlen(want), sizeof want - strlen(want), "%s%d:%c.timeout",
                 i > 0 ? " " : "", 1000 + i * 10, 'a' + i);
    fake_until(f, 1500);
    fake_expect(f, want);
    fake_free(f);
}

/* ---- answers ---- */

static void pong(struct fake_client *client, const char *payload) {
    hub_pong(client->fake->hub, client->conn, payload, strlen(payload));
}

static void test_round_trip(void **state) {
    struct fake *f = start(0, 0);
    struct fake_client *a = f->clients[0];
    double *rtt = &a->conn->rtt_seconds;
    pong(a, "0");
    pong(a, "1");
    assert_true(*rtt < 0); /* nothing was asked */
    uint64_t before = clock_monotonic_ns();
    hub_ping(f->hub, a->id); /* number 1 */
    pong(a, "");
    pong(a, "2");
    pong(a, "-1");
    pong(a, "hello");
    pong(a, "12345678901234567890123456789012345678901234567890");
    assert_true(*rtt < 0);
    pong(a, "1");
    assert_true(*rtt >= 0);
    assert_true(*rtt <= (double)(clock_monotonic_ns() - before) / 1e9);
    *rtt = 77;
    pong(a, "1"); /* answered already */
    hub_ping(f->hub, a->id);
    hub_ping(f->hub, a->id); /* number 3 */
    pong(a, "2");            /* of an older one */
    assert_true(*rtt == 77);
    pong(a, "3");
    assert_true(*rtt >= 0 && *rtt < 77);
    fake_free(f);
}

static void test_json_round_trip(void **state) {
    struct endpoint endpoint = fake_endpoint();
    endpoint.heartbeat = HEARTBEAT_JSON;
    endpoint.json_name = mem_strdup("\"x\"");
    struct fake *f = fake_new(&endpoint);
    struct fake_client *a = fake_connect(f);
    hub_ping(f->hub, a->id);
    hub_json_pong(f->hub, a->id, 0);
    hub_json_pong(f->hub, a->id, -1);
    hub_json_pong(f->hub, a->id, INT64_MAX);
    hub_json_pong(f->hub, a->id, (int64_t)UINT32_MAX + 2); /* 1, if it lost its upper half */
    assert_true(a->conn->rtt_seconds < 0);
    hub_json_pong(f->hub, a->id, 1);
    assert_true(a->conn->rtt_seconds >= 0);
    fake_free(f);
}

/* ---- ends that take too long ---- */

/* The socket was not killed before this time, and is at it. */
static void check_killed_at(struct fake_client *client, uint64_t ms) {
    fake_until(client->fake, ms - 1);
    assert_false(client->killed);
    fake_until(client->fake, ms);
    assert_true(client->killed);
    client->killed = false;
    fake_until(client->fake, ms + 100000);
    assert_false(client->killed); /* once */
}

static void test_a_peer_that_does_not_answer_a_close(void **state) {
    struct fake *f = start(10, 10);
    struct fake_client *a = f->clients[0];
    hub_close(f->hub, a->id, 1000, NULL, 0);
    fake_turn(f);
    check_killed_at(a, CLOSE_ACK_MS);
    fake_free(f);
}

static void test_a_peer_that_does_not_read(void **state) {
    struct fake *f = start(10, 10);
    struct fake_client *a = f->clients[0];
    a->room = 1;
    hub_close(f->hub, a->id, 1000, NULL, 0);
    fake_turn(f);
    check_killed_at(a, CLOSE_FLUSH_MS);
    fake_free(f);
}

static void test_a_peer_that_does_not_hang_up(void **state) {
    struct fake *f = start(0, 0);
    struct fake_client *a = f->clients[0];
    hub_peer_closed(f->hub, a->conn, 1000, NULL, 0);
    fake_turn(f);
    assert_true(a->ended);
    check_killed_at(a, CLOSE_LINGER_MS);
    fake_free(f);
}

static void test_an_answer_in_time(void **state) {
    struct fake *f = start(0, 0);
    struct fake_client *a = f->clients[0];
    hub_close(f->hub, a->id, 1000, NULL, 0);
    fake_turn(f);
    fake_until(f, CLOSE_ACK_MS - 1);
    hub_peer_closed(f->hub, a->conn, 1000, NULL, 0);
    assert_true(a->ended);
    check_killed_at(a, CLOSE_ACK_MS - 1 + CLOSE_LINGER_MS);
    fake_free(f);
}

static void test_no_deadline_outlives_a_socket(void **state) {
    struct fake *f = start(10, 10);
    f->sleeps = FAKE_CLOSE;
    hub_close(f->hub, f->clients[0]->id, 1000, NULL, 0);
    fake_turn(f);
    fake_gone(f->clients[0]);
    fake_turn(f);
    assert_int_equal(hub_next_timer_ms(f->hub), -1);
    fake_until(f, 100000);
    fake_wake(f->clients[0]);
    fake_expect(f, "0:a.close(1000) 100000:a.forgotten");
    fake_free(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pings),
        cmocka_unit_test(test_no_pings),
        cmocka_unit_test(test_pings_of_the_server),
        cmocka_unit_test(test_pings_do_not_drift),
        cmocka_unit_test(test_no_burst),
        cmocka_unit_test(test_json_pings),
        cmocka_unit_test(test_silence),
        cmocka_unit_test(test_endless_silence),
        cmocka_unit_test(test_signs_of_life),
        cmocka_unit_test(test_what_we_send_is_no_sign_of_life),
        cmocka_unit_test(test_without_a_hook),
        cmocka_unit_test(test_a_sleeping_on_timeout),
        cmocka_unit_test(test_a_message_on_its_way),
        cmocka_unit_test(test_a_paused_connection_is_not_silent),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_json_round_trip),
        cmocka_unit_test(test_a_peer_that_does_not_answer_a_close),
        cmocka_unit_test(test_a_peer_that_does_not_read),
        cmocka_unit_test(test_a_peer_that_does_not_hang_up),
        cmocka_unit_test(test_an_answer_in_time),
        cmocka_unit_test(test_no_deadline_outlives_a_socket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
