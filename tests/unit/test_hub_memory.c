/* test_hub_memory.c -- rooms with a memory, with two workers whose turns are taken by hand: what
 * waits in a mailbox, slow clients, sessions. */
#include "fake_hub.h"
#include "publish_as.h"

static struct bus *bus;
static struct fake *one, *two;
static struct fake_client *a, *b;

static const struct slice ROOM = {"chat:a", 6}, NOTHING = {NULL, 0};
static const char secret[] = "0123456789abcdef";

static struct fake *enter(unsigned worker) {
    struct endpoint endpoint = fake_endpoint();
    endpoint.path = mem_strdup("/");
    endpoint.json_name = mem_strdup("\"/\"");
    endpoint.resume_ms = 60000;
    endpoint.resume_messages = 1000;
    endpoint.resume_bytes = 1000;
    endpoint.resume_sessions = 3;
    struct fake *f = fake_new_worker(&endpoint, bus, worker);
    bus_enter(bus, worker, NULL, NULL, &f->hub->stats);
    return f;
}

static int set_up(void **state) {
    const struct room_rule rule = {"chat:*", {{100, 1 << 20, 0}, {0, 0, 0}}, false};
    bus = bus_new();
    bus_set_workers(bus, 2);
    one = enter(0);
    two = enter(1);
    a = fake_connect(one);
    b = fake_connect(two);
    hub_memory_set(one->hub, &rule, 1, 1 << 20);
    return 0;
}

static int tear_down(void **state) {
    fake_free(one);
    fake_free(two);
    bus_free(bus);
    return 0;
}

static void publish(struct fake *f, const char *text) {
    struct audience audience = {ROOM, ANY_ENDPOINT, 0, 0};
    publish_as(f->hub, &audience, message_new(OPCODE_TEXT, text, strlen(text)));
}

static void publish_large(struct fake *f, char letter) {
    char text[401] = {0};
    memset(text, letter, 400);
    publish(f, text);
}

static uint32_t join(struct fake_client *client, uint32_t history) {
    struct replay_request request = {.has_history = true, .history = history};
    struct replay replay;
    assert_true(hub_join_replay(client->fake->hub, client->id, ROOM, NOTHING, &request, &replay));
    uint32_t count = replay.count;
    replay_free(&replay);
    return count;
}

static void turn(struct fake *f) {
    hub_take_mail(f->hub);
    fake_turn(f);
}

static void test_before_and_after(void **state) {
    publish(one, "1");
    publish(two, "2");
    assert_int_equal(join(b, 10), 2);
    publish(one, "3");
    publish(two, "4");
    assert_int_equal(join(a, 1), 1);
    publish(two, "5");
    turn(one);
    turn(two);
    fake_expect_frames(a, "text(4) text(5)");
    fake_expect_frames(b, "text(1) text(2) text(3) text(4) text(5)");
}

/* What waits in the mailbox of a worker comes to the connections that have joined there, so their
 * replays end before it. */
static void test_mail_that_waits(void **state) {
    struct replay_request request = {.has_after = true, .after = 1};
    struct replay replay;
    publish(one, "1");
    hub_join(two->hub, b->id, ROOM, NOTHING);
    publish(two, "2");
    publish(one, "3");
    publish(one, "4");
    bus_memory_replay(bus, 1, ROOM, &request, &replay);
    assert_int_equal(replay.count, 1);
    assert_int_equal(replay.offset, 2);
    assert_true(replay.recovered);
    replay_free(&replay);
    bus_memory_replay(bus, 0, ROOM, &request, &replay);
    assert_int_equal(replay.count, 3);
    assert_int_equal(replay.offset, 4);
    replay_free(&replay);
    turn(two);
    fake_expect_frames(b, "text(2) text(3) text(4)");
    bus_memory_replay(bus, 1, ROOM, &request, &replay);
    assert_int_equal(replay.count, 3);
    replay_free(&replay);
}

static void test_a_member_joins_again(void **state) {
    publish(one, "1");
    assert_int_equal(join(a, 10), 1);
    assert_int_equal(join(a, 10), 0);
    turn(one);
    fake_expect_frames(a, "text(1)");
}

/* max_backlog, 1,000 bytes, does not count the replay. */
static void test_a_replay_above_max_backlog(void **state) {
    for (int i = 0; i < 10; i++)
        publish_large(one, 'x');
    a->room = 500;
    assert_int_equal(join(a, 10), 10);
    fake_turn(one);
    assert_true(a->blocked);
    publish_large(one, 'y');
    publish_large(one, 'y'); /* 808 bytes beside the replay */
    assert_true(a->conn->state == CONN_OPEN);
    publish_large(one, 'z');
    assert_true(a->conn->state != CONN_OPEN);
}

static void test_a_replay_that_was_read(void **state) {
    for (int i = 0; i < 10; i++)
        publish_large(one, 'x');
    a->room = 500;
    join(a, 10);
    fake_turn(one);
    fake_takes(a, SIZE_MAX);
    fake_turn(one);
    assert_int_equal(a->len, 4040);
    a->room = 0;
    publish_large(one, 'y');
    fake_turn(one);
    publish_large(one, 'y');
    assert_true(a->conn->state == CONN_OPEN);
    publish_large(one, 'y'); /* the former replay gives no room any more */
    assert_true(a->conn->state != CONN_OPEN);
}

/* A replay is made of messages that the session counts and keeps: one that a lost socket has not
 * taken comes by the next one. */
static void test_a_session(void **state) {
    struct fake_client *client = fake_admit(one);
    assert_true(hub_assign_session(one->hub, client->conn, 0, slice_of(secret), 0, NOTHING));
    fake_opens(client);
    fake_turn(one);
    fake_expect_frames(client, "text({\"type\":\"session\",\"resumed\":false,\"received\":0})");
    publish(one, "1");
    publish(one, "2");
    client->room = 0;
    assert_int_equal(join(client, 10), 2);
    publish(one, "3");
    fake_turn(one);
    fake_gone(client);
    struct fake_client *again = fake_admit(one);
    assert_true(hub_assign_session(one->hub, again->conn, 0, slice_of(secret), 1, NOTHING));
    fake_opens(again);
    fake_turn(one);
    fake_expect_frames(again, "text({\"type\":\"session\",\"resumed\":true,\"received\":0}) "
                              "text(2) text(3)");
    fake_gone(again);
    fake_pass(one, 60001);
    fake_turn(one);
}

/* A session keeps 1,000 bytes, but for a replay. */
static void test_a_session_with_a_large_replay(void **state) {
    struct fake_client *client = fake_admit(one);
    assert_true(hub_assign_session(one->hub, client->conn, 0, slice_of(secret), 0, NOTHING));
    fake_opens(client);
    fake_turn(one);
    for (int i = 0; i < 10; i++)
        publish_large(one, 'x');
    client->room = 0;
    assert_int_equal(join(client, 10), 10);
    fake_turn(one);
    assert_true(client->conn->state == CONN_OPEN);
    publish_large(one, 'y');
    assert_true(client->conn->state == CONN_OPEN);
    fake_takes(client, SIZE_MAX);
    fake_turn(one);
    publish(one, "more");
    fake_turn(one);
    assert_true(client->conn->state == CONN_OPEN);
    fake_gone(client);
    fake_pass(one, 60001);
    fake_turn(one);
}

/* While rooms remember them, messages do not count as memory of queues. */
static void test_memory_of_queues(void **state) {
    hub_queues_count(one->hub);
    publish_large(one, 'x');
    assert_int_equal(stats_read(&one->hub->stats.backlog_bytes), 0);
    a->room = 0;
    join(a, 1);
    fake_turn(one);
    hub_memory_clear(one->hub, ROOM, NULL);
    assert_in_range(stats_read(&one->hub->stats.backlog_bytes), 400, 600);
    fake_takes(a, SIZE_MAX);
    fake_turn(one);
    assert_int_equal(stats_read(&one->hub->stats.backlog_bytes), 0);
    queue_memory_begin(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_before_and_after, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_mail_that_waits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_member_joins_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_replay_above_max_backlog, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_replay_that_was_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_session, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_session_with_a_large_replay, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_memory_of_queues, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
