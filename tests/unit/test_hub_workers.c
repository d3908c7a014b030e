/* test_hub_workers.c -- hubs of several workers on one bus: rooms, broadcasts and sends across,
 * each worker's turn taken by hand. Threads are test_bus_threads.c's. */
#include "fake_hub.h"
#include "publish_as.h"

static struct bus *bus;
static struct fake *one, *two, *three;
static struct fake_client *a, *b, *c; /* one of each worker */
static int woken[3];

static const struct slice LOBBY = {"lobby", 5}, ATTIC = {"attic", 5}, NOTHING = {NULL, 0};

static void on_wake(void *user) {
    ++*(int *)user;
}

static struct fake *enter(unsigned worker) {
    struct endpoint endpoint = fake_endpoint();
    endpoint.json_name = mem_strdup("\"/\"");
    endpoint.max_connections = 5;
    struct fake *f = fake_new_worker(&endpoint, bus, worker);
    bus_enter(bus, worker, on_wake, &woken[worker], &f->hub->stats);
    return f;
}

static int set_up(void **state) {
    bus = bus_new();
    bus_set_workers(bus, 3);
    one = enter(0);
    two = enter(1);
    three = enter(2);
    a = fake_connect(one);
    b = fake_connect(two);
    c = fake_connect(three);
    memset(woken, 0, sizeof woken);
    return 0;
}

static int tear_down(void **state) {
    fake_free(one);
    fake_free(two);
    fake_free(three);
    bus_free(bus);
    return 0;
}

static bool join(struct fake_client *client, struct slice room) {
    return hub_join(client->fake->hub, client->id, room, NOTHING);
}

static bool leave(struct fake_client *client, struct slice room) {
    return hub_leave(client->fake->hub, client->id, room);
}

static uint32_t publish_to(struct fake *f, struct slice room, const char *text, conn_id except) {
    struct audience audience = {room, ANY_ENDPOINT, 0, except};
    return publish_as(f->hub, &audience, message_new(OPCODE_TEXT, text, strlen(text)));
}

static uint32_t publish(struct fake *f, const char *text) {
    return publish_to(f, LOBBY, text, 0);
}

/* A worker has its turn: takes its mail, writes. */
static void turn(struct fake *f) {
    hub_take_mail(f->hub);
    fake_turn(f);
}

static void turn_all(void) {
    turn(one);
    turn(two);
    turn(three);
}

/* ---- rooms ---- */

static void test_across(void **state) {
    join(a, LOBBY);
    join(b, LOBBY);
    join(c, ATTIC);
    assert_int_equal(publish(one, "hi"), 2);
    turn_all();
    fake_expect_frames(a, "text(hi)");
    fake_expect_frames(b, "text(hi)");
    fake_expect_frames(c, "");
    assert_int_equal(publish_to(three, LOBBY, "again", 0), 2); /* from a worker without a member */
    turn_all();
    fake_expect_frames(a, "text(again)");
    fake_expect_frames(b, "text(again)");
    assert_int_equal(publish_to(two, LOBBY, "others", b->id), 1);
    turn_all();
    fake_expect_frames(a, "text(others)");
    fake_expect_frames(b, "");
}

static bool has_mail(unsigned worker) {
    return atomic_load(bus_mail_flag(bus, worker));
}

static void test_wakes_whom_it_concerns(void **state) {
    join(a, LOBBY);
    join(b, LOBBY);
    assert_false(has_mail(1));
    publish(one, "1");
    publish(one, "2");
    assert_true(has_mail(1));
    assert_int_equal(woken[0], 0);
    assert_int_equal(woken[1], 1); /* once, until it has taken its mail */
    assert_int_equal(woken[2], 0); /* it has no member of the room */
    turn_all();
    assert_false(has_mail(1));
    publish(one, "3");
    assert_int_equal(woken[1], 2);
    turn_all();
    fake_expect_frames(b, "text(1) text(2) text(3)");
}

/* All queues hold the same bytes. */
static void test_one_message(void **state) {
    join(a, LOBBY);
    join(b, LOBBY);
    struct message *message = message_new(OPCODE_TEXT, "shared", 6);
    struct audience audience = {LOBBY, ANY_ENDPOINT, 0, 0};
    publish_as(one->hub, &audience, message_ref(message));
    hub_take_mail(two->hub);
    ref_cache_flush(&one->hub->ref_cache);
    ref_cache_flush(&two->hub->ref_cache);
    assert_int_equal(message->refs, 3);
    turn_all();
    assert_int_equal(message->refs, 1);
    message_unref(message);
}

static void test_members_at_the_moment(void **state) {
    join(a, LOBBY);
    assert_int_equal(publish(two, "1"), 1);
    leave(a, LOBBY); /* it was in when that was said */
    assert_int_equal(publish(two, "2"), 0);
    join(a, LOBBY); /* it was not in when that was said */
    assert_int_equal(publish(two, "3"), 1);
    leave(a, LOBBY);
    join(a, LOBBY);
    assert_int_equal(publish(two, "4"), 1);
    turn_all();
    fake_expect_frames(a, "text(1) text(3) text(4)");
}

/* A broadcast to members of a worker does not reach a later member, even if it waits there. */
static void test_not_what_waits(void **state) {
    struct fake_client *d = fake_connect(one);
    join(d, LOBBY);
    publish(two, "1");
    join(a, LOBBY);
    publish(two, "2");
    turn_all();
    fake_expect_frames(a, "text(2)");
    fake_expect_frames(d, "text(1) text(2)");
}

static void test_one_order_for_all(void **state) {
    struct fake_client *all[] = {a, b, c};
    for (int i = 0; i < 3; i++)
        join(all[i], LOBBY);
    publish(one, "1");
    publish(two, "2");
    publish(three, "3");
    publish(one, "4");
    publish(two, "5");
    turn_all();
    for (int i = 0; i < 3; i++)
        fake_expect_frames(all[i], "text(1) text(2) text(3) text(4) text(5)");
}

static void test_closing(void **state) {
    join(a, LOBBY);
    join(b, LOBBY);
    publish(two, "before");
    hub_close(one->hub, a->id, 1000, "bye", 3);
    assert_int_equal(hub_room_size(two->hub, LOBBY), 1);
    assert_int_equal(publish(two, "after"), 1);
    turn_all();
    fake_expect_frames(a, "text(before) close(1000,bye)");
    fake_expect_frames(b, "text(before) text(after)");
    publish(one, "before");
    hub_peer_closed(two->hub, b->conn, 1000, NULL, 0);
    assert_int_equal(hub_room_size(one->hub, LOBBY), 0);
    assert_int_equal(publish(one, "after"), 0);
    turn_all();
    fake_expect_frames(b, "text(before) close(1000)");
}

static void test_gone(void **state) {
    join(a, LOBBY);
    join(a, ATTIC);
    fake_gone(a);
    assert_int_equal(hub_room_size(two->hub, LOBBY), 0);
    assert_int_equal(hub_room_size(three->hub, ATTIC), 0);
    assert_int_equal(publish(two, "nobody"), 0);
}

/* A slow one is closed while mail is delivered, and the others still get it. */
static void test_slow(void **state) {
    struct fake_client *slow = fake_connect_slow(one, 9, false);
    join(slow, LOBBY);
    join(a, LOBBY);
    char text[301];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_int_equal(publish(two, text), 2);
    turn_all();
    char expected[320];
    snprintf(expected, sizeof expected, "text(%s)", text);
    fake_expect_frames(a, expected);
    assert_int_equal(slow->conn->state, CONN_CLOSING);
    assert_int_equal(hub_room_size(three->hub, LOBBY), 1);
}

/* News of a join runs code of the script's, which may be spoken to, and take mail, in the middle of
 * other mail. */
static void on_presence_changed(void *user, const struct presence *presence) {
    if (presence->room.len == ATTIC.len) {
        publish(two, "4");
        hub_take_mail(one->hub);
        publish(one, "5");
    }
}

static void test_mail_amid_mail(void **state) {
    struct hub_events events = fake_events;
    events.presence_changed = on_presence_changed;
    hub_set_events(one->hub, &events, one);
    hub_watch(one->hub, ATTIC, true);
    join(a, LOBBY);
    publish(two, "1");
    join(c, ATTIC);
    publish(two, "2");
    publish(three, "3");
    turn_all();
    fake_expect_frames(a, "text(1) text(2) text(3) text(4) text(5)");
    hub_set_events(one->hub, &fake_events, one);
}

/* ---- cause and effect ---- */

static void say_hello(struct fake_client *client, enum fake_hook hook, const char *bytes,
                      size_t len) {
    if (hook == FAKE_MESSAGE)
        hub_send(client->fake->hub, client->conn, OPCODE_TEXT, "answer", 6);
}

static void test_before_what_is_caused(void **state) {
    one->during = say_hello;
    join(a, LOBBY);
    publish(two, "cause");
    fake_receive(a, "what now?"); /* the worker has not been woken yet */
    fake_turn(one);
    fake_expect_frames(a, "text(cause) text(answer)");
}

/* ---- one connection ---- */

static void send_to(struct fake *f, conn_id id, const char *text, enum send_result expected) {
    struct message *message = message_new(OPCODE_TEXT, text, strlen(text));
    assert_int_equal(hub_send_anywhere(f->hub, id, 0, message), expected);
}

static void test_send(void **state) {
    send_to(one, a->id, "here", SEND_OK);
    send_to(two, a->id, "there", SEND_OK);
    turn_all();
    fake_expect_frames(a, "text(here) text(there)");
    uint32_t codec = 77;
    assert_true(hub_codec_of(two->hub, a->id, &codec));
    assert_int_equal(codec, 0);
    send_to(two, a->id, "last", SEND_OK);
    hub_close(one->hub, a->id, 1000, NULL, 0);
    send_to(two, a->id, "too late", SEND_CLOSED);
    assert_false(hub_codec_of(two->hub, a->id, &codec));
    assert_false(hub_codec_of(one->hub, a->id, &codec));
    turn_all();
    fake_expect_frames(a, "text(last) close(1000)");
    conn_id id = a->id;
    fake_gone(a);
    turn_all();
    struct fake_client *heir = fake_connect(one); /* in the same slot */
    assert_int_equal(conn_id_slot(heir->id), conn_id_slot(id));
    send_to(two, id, "not for you", SEND_CLOSED);
    send_to(two, conn_id_of(2, 12345), "nobody", SEND_CLOSED);
    send_to(two, conn_id_of(100, 12345), "no worker", SEND_CLOSED);
    send_to(two, 0, "nothing", SEND_CLOSED);
    send_to(two, UINT64_MAX, "nothing", SEND_CLOSED);
    turn_all();
    fake_expect_frames(heir, "");
}

static bool close_by(struct fake *f, conn_id id, unsigned code, const char *reason) {
    return hub_close_anywhere(f->hub, id, code, (struct slice){reason, strlen(reason)});
}

static void test_close(void **state) {
    send_to(two, a->id, "first", SEND_OK);
    assert_true(close_by(two, a->id, 4001, "bye"));
    send_to(two, a->id, "behind it", SEND_CLOSED);
    assert_false(close_by(three, a->id, 4003, "again"));
    assert_true(close_by(three, b->id, 1000, ""));
    assert_true(close_by(three, c->id, 4002, "own"));
    assert_false(close_by(three, c->id, 4003, "again"));
    turn_all();
    fake_expect_frames(a, "text(first) close(4001,bye)");
    fake_expect_frames(b, "close(1000)");
    fake_expect_frames(c, "close(4002,own)");
    assert_false(close_by(two, a->id, 4003, "again")); /* it is closing */
    conn_id id = a->id;
    fake_gone(a);
    turn_all();
    struct fake_client *heir = fake_connect(one); /* in the same slot */
    assert_false(close_by(two, id, 1000, ""));
    assert_false(close_by(two, conn_id_of(100, 12345), 1000, ""));
    assert_false(close_by(one, 0, 1000, ""));
    assert_false(close_by(two, UINT64_MAX, 1000, ""));
    turn_all();
    fake_expect_frames(heir, "");
}

/* ---- all connections ---- */

static void test_everyone(void **state) {
    assert_int_equal(publish_to(one, NOTHING, "all", 0), 3);
    assert_int_equal(publish_to(one, NOTHING, "others", a->id), 2);
    struct audience audience = {NOTHING, 0, 0, 0};
    assert_int_equal(publish_as(two->hub, &audience, message_new(OPCODE_TEXT, "endpoint", 8)), 3);
    audience.endpoint = 7;
    assert_int_equal(publish_as(two->hub, &audience, message_new(OPCODE_TEXT, "no", 2)), 0);
    audience = (struct audience){NOTHING, ANY_ENDPOINT, 1, 0};
    assert_int_equal(publish_as(two->hub, &audience, message_new(OPCODE_TEXT, "codec", 5)), 0);
    turn_all();
    fake_expect_frames(a, "text(all) text(endpoint)");
    fake_expect_frames(b, "text(all) text(others) text(endpoint)");
    fake_expect_frames(c, "text(all) text(others) text(endpoint)");
}

/* One of another worker is left out, and not counted. */
static void test_except_elsewhere(void **state) {
    join(a, LOBBY);
    join(b, LOBBY);
    assert_int_equal(publish_to(one, LOBBY, "1", b->id), 1);
    assert_false(has_mail(1)); /* it is the only receiver */
    assert_int_equal(publish_to(three, LOBBY, "2", b->id), 1);
    assert_int_equal(publish_to(three, LOBBY, "3", c->id), 2); /* it is not in the room */
    assert_int_equal(publish_to(one, LOBBY, "4", c->id), 2);
    assert_int_equal(publish_to(one, NOTHING, "5", b->id), 2);
    assert_int_equal(publish_to(one, LOBBY, "6", conn_id_of(1, 12345)), 2);
    struct audience audience = {NOTHING, 7, 0, b->id};
    assert_int_equal(publish_as(one->hub, &audience, message_new(OPCODE_TEXT, "no", 2)), 0);
    struct fake_client *other = fake_connect(two);
    join(other, LOBBY);
    assert_int_equal(publish_to(one, LOBBY, "7", b->id), 2);
    turn_all();
    fake_expect_frames(a, "text(1) text(2) text(3) text(4) text(5) text(6) text(7)");
    fake_expect_frames(b, "text(3) text(4) text(6)");
    fake_expect_frames(c, "text(5)");
    fake_expect_frames(other, "text(7)");
}

/* From the moment in which its client may know that it is connected. */
static void test_newcomer(void **state) {
    assert_int_equal(publish_to(two, NOTHING, "early", 0), 3);
    struct fake_client *newcomer = fake_admit(one);
    assert_true(hub_assign(one->hub, newcomer->conn, 0));
    assert_int_equal(publish_to(two, NOTHING, "now", 0), 4);
    hub_open(one->hub, newcomer->conn, newcomer);
    turn_all();
    fake_expect_frames(newcomer, "text(now)");
    fake_expect_frames(a, "text(early) text(now)");
    struct fake_client *refused = fake_admit(one);
    assert_true(hub_assign(one->hub, refused->conn, 0));
    hub_abandon(one->hub, refused->conn);
    assert_int_equal(publish_to(two, NOTHING, "later", 0), 4);
}

/* ---- presence ---- */

static char listed[256];

static void list_member(void *user, conn_id id, const char *remote_id, const char *name,
                        const char *info, struct slice user_name) {
    size_t len = strlen(listed);
    snprintf(listed + len, sizeof listed - len, "%u:%s:%s ", conn_id_worker(id), name,
             info == NULL ? "" : info);
}

static void expect_members(struct fake *f, const char *expected) {
    listed[0] = '\0';
    hub_room_members(f->hub, LOBBY, list_member, NULL);
    assert_string_equal(listed, expected);
}

static void test_presence(void **state) {
    hub_join(one->hub, a->id, LOBBY, (struct slice){"1", 1});
    join(b, LOBBY);
    for (int i = 0; i < 3; i++) {
        struct fake *f = (struct fake *[]){one, two, three}[i];
        expect_members(f, "0:\"/\":1 1:\"/\": ");
        assert_int_equal(hub_room_size(f->hub, LOBBY), 2);
        struct codec_list codecs;
        hub_room_codecs(f->hub, LOBBY, &codecs);
        assert_int_equal(codecs.count, 1);
        assert_int_equal(codecs.codecs[0], 0);
    }
    hub_join(one->hub, a->id, LOBBY, (struct slice){"22", 2}); /* says something else */
    expect_members(three, "0:\"/\":22 1:\"/\": ");
    join(a, LOBBY); /* says nothing any more */
    expect_members(two, "0:\"/\": 1:\"/\": ");
    leave(a, LOBBY);
    leave(a, LOBBY);
    expect_members(one, "1:\"/\": ");
    leave(b, LOBBY);
    expect_members(one, "");
    assert_int_equal(hub_room_size(one->hub, LOBBY), 0);
}

static void test_watch(void **state) {
    hub_watch(one->hub, LOBBY, true);
    hub_watch(two->hub, LOBBY, true);
    hub_join(one->hub, a->id, LOBBY, (struct slice){"1", 1});
    fake_expect(one, "+lobby(0,\"/\",1)");
    fake_expect(two, ""); /* not before it has its turn */
    turn_all();
    fake_expect(two, "+lobby(0,\"/\",1)");
    fake_expect(three, "");
    join(a, ATTIC); /* which no worker watches */
    hub_join(one->hub, a->id, LOBBY, (struct slice){"2", 1});
    join(c, LOBBY);
    hub_close(one->hub, a->id, 1000, NULL, 0);
    turn_all();
    hub_watch(one->hub, LOBBY, false);
    leave(c, LOBBY);
    turn_all();
    fake_expect(two, "+lobby(0,\"/\",) -lobby(0,\"/\",2) -lobby(0,\"/\",)");
    /* the last one came when it watched no more */
    fake_expect(one, "+lobby(0,\"/\",) -lobby(0,\"/\",2) a.close(1000)");
}

/* Watchers, on the same worker too, learn of a close after all that came before it. */
static void test_watch_in_order(void **state) {
    hub_watch(one->hub, LOBBY, true);
    hub_watch(two->hub, LOBBY, true);
    join(a, LOBBY);
    turn_all();
    fake_expect(one, "+lobby(0,\"/\",)");
    fake_expect(two, "+lobby(0,\"/\",)");
    join(b, LOBBY);
    fake_gone(a); /* takes no mail: it has no use for it */
    join(c, LOBBY);
    turn_all();
    const char *told =
        "+lobby(0,\"/\",) -lobby(0,\"/\",) +lobby(0,\"/\",) a.close(1006) a.forgotten";
    fake_expect(one, told);
    fake_expect(two, "+lobby(0,\"/\",) -lobby(0,\"/\",) +lobby(0,\"/\",)");
}

/* ---- limits ---- */

static void test_places(void **state) {
    struct fake_client *more[2] = {fake_admit(one), fake_admit(two)};
    assert_true(hub_assign(one->hub, more[0]->conn, 0));
    assert_true(hub_assign(two->hub, more[1]->conn, 0)); /* the endpoint's fifth */
    struct fake_client *refused = fake_admit(three);
    assert_false(hub_assign(three->hub, refused->conn, 0));
    hub_abandon(three->hub, refused->conn);
    hub_abandon(one->hub, more[0]->conn);
    struct fake_client *again = fake_admit(three);
    assert_true(hub_assign(three->hub, again->conn, 0));
    hub_abandon(three->hub, again->conn);
    hub_abandon(two->hub, more[1]->conn);
}

static void test_total(void **state) {
    struct stats_total total;
    hub_total(two->hub, &total);
    assert_int_equal(total.connections, 3);
    fake_receive(a, "x");
    fake_receive(b, "y");
    hub_total(three->hub, &total);
    assert_int_equal(total.messages_received, 2);
}

/* ---- the end of a worker ---- */

static void test_left(void **state) {
    join(a, LOBBY);
    join(b, LOBBY);
    publish(one, "lost");
    bus_leave(bus, 1);
    woken[1] = 0;
    publish(one, "dropped");
    assert_int_equal(woken[1], 0);
    assert_false(has_mail(1));
    assert_null(bus_take_mail(bus, 1));
    turn_all();
    fake_expect_frames(a, "text(lost) text(dropped)");
    fake_expect_frames(b, "");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_across),
        TEST(test_wakes_whom_it_concerns),
        TEST(test_one_message),
        TEST(test_members_at_the_moment),
        TEST(test_not_what_waits),
        TEST(test_one_order_for_all),
        TEST(test_closing),
        TEST(test_gone),
        TEST(test_slow),
        TEST(test_mail_amid_mail),
        TEST(test_before_what_is_caused),
        TEST(test_send),
        TEST(test_close),
        TEST(test_everyone),
        TEST(test_except_elsewhere),
        TEST(test_newcomer),
        TEST(test_presence),
        TEST(test_watch),
        TEST(test_watch_in_order),
        TEST(test_places),
        TEST(test_total),
        TEST(test_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
