/* test_hub_reload.c -- new code under live connections: endpoints that change, on_reload, hooks
 * that are no more. */
#include "fake_hub.h"
#include "publish_as.h"

static const struct slice LOBBY = {"lobby", 5}, NOTHING = {NULL, 0};

/* fake_endpoint() with on_reload, of the next generation of code. */
static struct endpoint next_endpoint(const struct fake *f) {
    struct endpoint endpoint = fake_endpoint();
    endpoint.has_reload = true;
    endpoint.generation = f->hub->endpoints[0]->generation + 1;
    return endpoint;
}

/* The endpoint 0 is this one from now on. Returns how many connections were closed for that. */
static uint32_t swap(struct fake *f, struct endpoint endpoint) {
    uint32_t closed = hub_activate_endpoint(f->hub, 0, &endpoint);
    hub_activate(f->hub, endpoint.generation);
    return closed;
}

static void join(struct fake_client *client) {
    assert_true(hub_join(client->fake->hub, client->id, LOBBY, NOTHING));
}

static uint32_t publish(struct fake *f, uint32_t codec, const char *text) {
    struct audience audience = {LOBBY, ANY_ENDPOINT, codec, 0};
    return publish_as(f->hub, &audience, message_new(OPCODE_TEXT, text, strlen(text)));
}

static void expect_codecs(struct fake *f, const char *expected) {
    struct codec_list codecs;
    char list[64] = "";
    hub_room_codecs(f->hub, LOBBY, &codecs);
    for (uint32_t i = 0; i < codecs.count; i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%u ", codecs.codecs[i]);
    assert_string_equal(list, expected);
}

/* ---- on_reload ---- */

static void test_on_reload_comes_soon(void **state) {
    struct fake *f = fake_new(NULL);
    fake_connect(f);
    fake_connect(f);
    swap(f, next_endpoint(f));
    fake_expect(f, ""); /* not inside of the swap */
    assert_true(hub_has_pending(f->hub));
    fake_turn(f);
    fake_expect(f, "a.reload b.reload");
    fake_turn(f);
    fake_expect(f, "");
    fake_free(f);
}

static void test_on_reload_comes_before_the_next_hook(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_connect(f);
    swap(f, next_endpoint(f));
    fake_receive(a, "hi");
    fake_turn(f);
    fake_expect(f, "a.reload a.message(hi)");
    swap(f, next_endpoint(f));
    hub_close(f->hub, a->id, 1000, "", 0);
    fake_turn(f);
    fake_expect(f, "a.close(1000)"); /* no reload: it has closed */
    fake_free(f);
}

static void test_on_reload_waits_for_a_hook_that_sleeps(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_connect(f);
    f->sleeps = FAKE_MESSAGE;
    fake_receive(a, "one");
    fake_receive(a, "two");
    swap(f, next_endpoint(f));
    fake_turn(f);
    swap(f, next_endpoint(f)); /* two reloads are one for it */
    fake_turn(f);
    fake_expect(f, "a.message(one)");
    fake_wake(a);
    fake_expect(f, "a.reload a.message(two)");
    fake_wake(a);
    fake_expect(f, "");
    fake_free(f);
}

static void test_on_reload_may_sleep(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_connect(f);
    f->sleeps = FAKE_RELOAD;
    swap(f, next_endpoint(f));
    fake_turn(f);
    fake_receive(a, "hi");
    fake_turn(f);
    fake_expect(f, "a.reload");
    swap(f, next_endpoint(f));
    fake_turn(f);
    fake_wake(a);
    fake_expect(f, "a.reload");
    f->sleeps = 0;
    fake_wake(a);
    fake_expect(f, "a.message(hi)");
    fake_free(f);
}

static void test_no_on_reload_before_on_start(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_open(f);
    swap(f, next_endpoint(f));
    fake_turn(f);
    fake_expect(f, "a.open"); /* by the new code */
    f->sleeps = FAKE_OPEN;
    struct fake_client *b = fake_open(f);
    fake_turn(f);
    swap(f, next_endpoint(f));
    fake_turn(f);
    fake_expect(f, "b.open a.reload");
    fake_wake(b); /* its on_start was the old code's */
    fake_expect(f, "b.reload");
    assert_non_null(a);
    fake_free(f);
}

static void test_no_on_reload_in_a_handshake(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_admit(f), *b = fake_admit(f);
    hub_assign(f->hub, a->conn, 0);
    swap(f, next_endpoint(f));
    hub_open(f->hub, a->conn, a);
    hub_assign(f->hub, b->conn, 0);
    hub_open(f->hub, b->conn, b);
    fake_turn(f);
    fake_expect(f, "a.open b.open");
    fake_free(f);
}

/* Each hook takes three milliseconds. */
static uint64_t slow_clock(void) {
    static uint64_t now_ns = 1000;
    return now_ns += 3000000;
}

static void test_slow_hooks_give_way(void **state) {
    struct fake *f = fake_new(NULL);
    f->hub->options.slice_ns = slow_clock;
    for (int i = 0; i < 5; i++)
        fake_open(f);
    hub_turn_end(f->hub);
    fake_expect(f, "a.open b.open");
    assert_true(hub_has_pending(f->hub));
    hub_turn_end(f->hub);
    fake_expect(f, "c.open d.open");
    swap(f, next_endpoint(f)); /* waiting hooks run before those of idle connections */
    hub_turn_end(f->hub);
    fake_expect(f, "e.open");
    hub_turn_end(f->hub);
    fake_expect(f, "a.reload b.reload");
    hub_turn_end(f->hub);
    fake_expect(f, "c.reload d.reload");
    fake_free(f);
}

static void test_messages_that_have_piled_up_give_way(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_connect(f), *b = fake_connect(f);
    f->sleeps = FAKE_MESSAGE;
    fake_receive(a, "1");
    f->sleeps = 0;
    for (char c = '2'; c <= '6'; c++)
        fake_receive(a, (char[]){c, '\0'});
    fake_expect(f, "a.message(1)");
    f->hub->options.slice_ns = slow_clock;
    fake_wake(a);
    fake_expect(f, "a.message(2) a.message(3)");
    fake_receive(b, "x"); /* another one's comes between */
    hub_turn_end(f->hub);
    fake_expect(f, "b.message(x) a.message(4) a.message(5)");
    hub_turn_end(f->hub);
    fake_expect(f, "a.message(6)");
    fake_receive(a, "7");
    fake_expect(f, "a.message(7)");
    fake_free(f);
}

static void test_on_reload_takes_many_turns(void **state) {
    struct fake *f = fake_new(NULL);
    f->limit.max = 0;
    f->silent = true;
    struct fake_client *last = NULL;
    for (int i = 0; i < 1000; i++)
        last = fake_connect(f);
    f->silent = false;
    swap(f, next_endpoint(f));
    fake_receive(last, "hi"); /* is not made to wait for the others */
    int turns = 0;
    while (hub_has_pending(f->hub)) {
        hub_turn_end(f->hub);
        f->journal[f->journal_len] = '\0';
        int ran = 0;
        for (const char *at = f->journal; (at = strstr(at, "reload")) != NULL; at++)
            ran++;
        assert_in_range(ran, 0, 101);
        if (turns == 0)
            assert_non_null(strstr(f->journal, "message(hi)"));
        f->journal_len = 0;
        turns++;
    }
    assert_in_range(turns, 10, 12);
    f->silent = true;
    fake_free(f);
}

static void test_no_on_reload_for_other_endpoints(void **state) {
    struct endpoint first = fake_endpoint();
    first.has_reload = true;
    struct fake *f = fake_new(&first);
    fake_connect(f);
    struct endpoint other = fake_endpoint();
    other.has_reload = true;
    other.generation = 1;
    assert_int_equal(hub_add_endpoint(f->hub, &other), 1);
    hub_activate(f->hub, 1); /* the endpoint 0 is no more, its code stays */
    fake_turn(f);
    fake_expect(f, "");
    fake_free(f);
}

/* ---- hooks that are no more ---- */

static void test_hooks_that_are_no_more_are_not_called(void **state) {
    struct endpoint old = fake_endpoint();
    old.ping_ms = 10;
    old.pong_ms = 25;
    struct fake *f = fake_new(&old);
    struct fake_client *a = fake_connect(f);
    f->sleeps = FAKE_MESSAGE;
    fake_receive(a, "one");
    fake_receive(a, "two");
    fake_pass(f, 30); /* a ping and a timeout are due */
    fake_expect(f, "a.message(one)");
    struct endpoint bare = next_endpoint(f);
    bare.has_message = bare.has_ping = bare.has_timeout = bare.has_drain = bare.has_reload = false;
    bare.ping_ms = 10;
    swap(f, bare);
    fake_turn(f);
    fake_expect_frames(a, "ping(1)"); /* as it is without the hook */
    fake_wake(a);
    fake_turn(f);
    fake_expect(f, "");
    fake_free(f);
}

static void test_silence_without_its_hook_closes(void **state) {
    struct endpoint old = fake_endpoint();
    old.pong_ms = 20;
    struct fake *f = fake_new(&old);
    struct fake_client *a = fake_connect(f);
    f->sleeps = FAKE_MESSAGE;
    fake_receive(a, "one");
    fake_pass(f, 25);
    struct endpoint next = next_endpoint(f);
    next.has_timeout = next.has_reload = false;
    next.pong_ms = 20;
    swap(f, next);
    fake_pass(f, 1);
    fake_expect_frames(a, "close(4408,timed out)");
    fake_wake(a);
    fake_expect(f, "a.message(one) a.close(4408,timed out)");
    fake_free(f);
}

static void test_on_reload_that_is_no_more(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_connect(f);
    f->sleeps = FAKE_MESSAGE;
    fake_receive(a, "one");
    swap(f, next_endpoint(f));
    struct endpoint next = next_endpoint(f);
    next.has_reload = false;
    swap(f, next);
    fake_wake(a);
    fake_turn(f);
    fake_expect(f, "a.message(one)");
    fake_free(f);
}

static void test_messages_of_one_that_closes_find_no_hook(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_connect(f);
    f->sleeps = FAKE_MESSAGE;
    fake_receive(a, "one");
    fake_receive(a, "two");
    hub_peer_closed(f->hub, a->conn, 1000, "", 0);
    struct endpoint next = next_endpoint(f);
    next.has_message = false;
    swap(f, next);
    fake_wake(a);
    fake_turn(f);
    fake_expect(f, "a.message(one) a.close(1000)");
    fake_free(f);
}

/* ---- periods and limits ---- */

/* Pings of an endpoint whose period changes at 250 ms. */
static void check_pings(uint64_t before, uint64_t after, const char *journal) {
    struct endpoint endpoint = fake_endpoint();
    endpoint.ping_ms = before;
    struct fake *f = fake_new(&endpoint);
    fake_connect(f);
    f->timed = true;
    fake_until(f, 250);
    struct endpoint next = next_endpoint(f);
    next.has_reload = false;
    next.ping_ms = after;
    swap(f, next);
    fake_until(f, 700);
    fake_expect(f, journal);
    fake_free(f);
}

static void test_pings_keep_their_phase(void **state) {
    check_pings(200, 200, "200:a.ping 400:a.ping 600:a.ping");
    check_pings(200, 300, "200:a.ping 400:a.ping 700:a.ping");
    check_pings(1000, 200, "450:a.ping 650:a.ping");
    check_pings(200, 0, "200:a.ping");
    check_pings(0, 200, "450:a.ping 650:a.ping");
}

static void test_silence_that_is_shorter_now(void **state) {
    struct endpoint endpoint = fake_endpoint();
    endpoint.pong_ms = 1000;
    struct fake *f = fake_new(&endpoint);
    fake_connect(f);
    f->timed = true;
    fake_until(f, 100);
    struct endpoint next = next_endpoint(f);
    next.has_reload = false;
    next.pong_ms = 300;
    swap(f, next);
    fake_until(f, 500);
    fake_expect(f, "300:a.timeout");
    next.generation++;
    next.pong_ms = 0;
    swap(f, next);
    fake_until(f, 5000);
    fake_expect(f, "");
    fake_free(f);
}

static void test_limits(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_connect(f);
    a->room = 0;
    assert_int_equal(fake_send(a, false, 'x', 500), SEND_OK);
    struct endpoint next = next_endpoint(f);
    next.max_backlog = 400;
    next.max_connections = 1;
    next.slow_client = SLOW_CLIENT_DROP;
    swap(f, next);
    fake_turn(f);
    assert_int_equal(fake_send(a, false, 'x', 10), SEND_BACKLOG);
    struct fake_client *b = fake_admit(f);
    assert_false(hub_assign(f->hub, b->conn, 0)); /* full: a counts */
    hub_abandon(f->hub, b->conn);
    b->conn = NULL;
    f->journal_len = 0;
    fake_takes(a, SIZE_MAX);
    assert_int_equal(fake_send(a, false, 'x', 10), SEND_OK);
    fake_free(f);
}

/* ---- codecs ---- */

static void test_another_codec_closes(void **state) {
    struct fake *f = fake_new(NULL);
    struct endpoint other = fake_endpoint();
    other.codec = CODEC_JSON;
    assert_int_equal(hub_add_endpoint(f->hub, &other), 1);
    struct fake_client *a = fake_connect(f), *b = fake_connect(f), *c = fake_admit(f);
    hub_assign(f->hub, c->conn, 1);
    hub_open(f->hub, c->conn, c);
    fake_turn(f);
    f->journal_len = 0;
    join(a);
    join(b);
    join(c);
    expect_codecs(f, "0 2 ");
    assert_int_equal(publish(f, CODEC_TEXT, "old"), 2);
    hub_close(f->hub, b->id, 1000, NULL, 0);
    struct endpoint next = next_endpoint(f);
    next.codec = CODEC_BINARY;
    assert_int_equal(swap(f, next), 1); /* one closes already */
    expect_codecs(f, "2 ");
    fake_turn(f);
    fake_expect(f, "b.close(1000) a.close(1012,codec changed)");
    fake_expect_frames(a, "text(old) close(1012,codec changed)");
    fake_expect_frames(b, "text(old) close(1000)");
    fake_expect_frames(c, "");
    struct fake_client *d = fake_connect(f);
    join(d);
    expect_codecs(f, "1 2 ");
    fake_turn(f);
    f->silent = true;
    fake_free(f);
}

static void test_a_hook_that_sleeps_while_the_codec_changes(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_connect(f);
    f->sleeps = FAKE_MESSAGE;
    fake_receive(a, "1");
    fake_receive(a, "2"); /* in the old codec: nothing can read it any more */
    struct endpoint next = next_endpoint(f);
    next.codec = CODEC_JSON;
    assert_int_equal(swap(f, next), 1);
    assert_int_equal(hub_send(f->hub, a->conn, OPCODE_TEXT, "old", 3), SEND_CLOSED);
    fake_turn(f);
    fake_expect(f, "a.message(1)");
    fake_wake(a);
    fake_turn(f);
    fake_expect(f, "a.close(1012,codec changed)");
    fake_expect_frames(a, "close(1012,codec changed)");
    fake_free(f);
}

static void test_a_handshake_gets_the_new_codec(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_admit(f);
    struct endpoint next = next_endpoint(f);
    next.codec = CODEC_JSON;
    assert_int_equal(swap(f, next), 0);
    hub_assign(f->hub, a->conn, 0);
    hub_open(f->hub, a->conn, a);
    fake_turn(f);
    join(a);
    expect_codecs(f, "2 ");
    fake_expect(f, "a.open");
    fake_expect_frames(a, "");
    f->silent = true;
    fake_free(f);
}

/* It is its endpoint's, whatever its functions are. */
static void test_custom_codecs_are_of_one_kind(void **state) {
    struct fake *f = fake_new(NULL);
    struct fake_client *a = fake_connect(f);
    struct endpoint next = next_endpoint(f), other = fake_endpoint();
    next.codec = other.codec = CODEC_CUSTOM;
    assert_int_equal(swap(f, next), 1);
    struct fake_client *b = fake_connect(f);
    next.generation++;
    assert_int_equal(swap(f, next), 0);
    assert_int_equal(hub_add_endpoint(f->hub, &other), 1);
    join(b);
    expect_codecs(f, "3 ");
    assert_int_equal(hub_endpoint(f->hub, 1)->codec, CODEC_CUSTOM + 1);
    fake_turn(f);
    fake_expect_frames(a, "close(1012,codec changed)");
    fake_expect_frames(b, "");
    f->silent = true;
    fake_free(f);
}

static void on_wake(void *user) {
}

static struct fake *enter(struct bus *bus, unsigned worker) {
    struct endpoint endpoint = fake_endpoint();
    endpoint.json_name = mem_strdup("\"/\"");
    struct fake *f = fake_new_worker(&endpoint, bus, worker);
    bus_enter(bus, worker, on_wake, NULL, &f->hub->stats);
    return f;
}

/* Two workers, each with a connection in the lobby. */
static struct bus *bus;
static struct fake *one, *two;
static struct fake_client *ada, *bob;

static int set_up(void **state) {
    bus = bus_new();
    bus_set_workers(bus, 2);
    one = enter(bus, 0);
    two = enter(bus, 1);
    ada = fake_connect(one);
    bob = fake_connect(two);
    join(ada);
    join(bob);
    return 0;
}

static int tear_down(void **state) {
    fake_free(one);
    fake_free(two);
    bus_free(bus);
    return 0;
}

/* New code, in which the endpoint has the codec 5. Returns how many connections were closed. */
static uint32_t activate(struct fake *f) {
    struct endpoint next = next_endpoint(f);
    next.codec = 5;
    next.json_name = mem_strdup("\"/\"");
    next.has_reload = false;
    return swap(f, next);
}

static void turn_both(void) {
    hub_take_mail(one->hub);
    hub_take_mail(two->hub);
    fake_turn(one);
    fake_turn(two);
}

static void expect_send(struct fake *f, conn_id id, uint32_t codec, const char *text,
                        enum send_result expected) {
    struct message *message = message_new(OPCODE_TEXT, text, strlen(text));
    assert_int_equal(hub_send_anywhere(f->hub, id, codec, message), expected);
}

static void test_a_codec_over_the_bus(void **state) {
    expect_codecs(one, "0 ");
    /* on its way when the new code is activated: the old code's, and not lost */
    assert_int_equal(publish(one, 0, "before"), 2);
    assert_int_equal(activate(two), 1);
    expect_codecs(one, "0 "); /* of the own worker's */
    struct fake_client *eve = fake_connect(two);
    join(eve);
    expect_codecs(one, "0 5 ");
    uint32_t codec = 0;
    assert_true(hub_codec_of(one->hub, eve->id, &codec));
    assert_int_equal(codec, 5);
    assert_false(hub_codec_of(one->hub, bob->id, &codec));
    /* each only what is of its own codec, in both directions */
    assert_int_equal(publish(one, 0, "old"), 1);
    assert_int_equal(publish(one, 5, "new"), 1);
    assert_int_equal(publish(two, 0, "from two"), 1);
    assert_int_equal(publish(two, 5, "not for ada"), 1);
    assert_int_equal(activate(one), 1);
    expect_codecs(one, "5 ");
    turn_both();
    fake_expect_frames(bob, "text(before) close(1012,codec changed)");
    fake_expect_frames(ada, "text(before) text(old) text(from two) close(1012,codec changed)");
    fake_expect_frames(eve, "text(new) text(not for ada)");
    hub_leave(two->hub, eve->id, LOBBY);
    expect_codecs(one, "");
}

/* No receiver gets a message while one receiver has no encoding. */
static void test_all_codecs_or_none(void **state) {
    activate(two);
    struct fake_client *eve = fake_connect(two);
    join(eve);
    struct message *text = message_new(OPCODE_TEXT, "text", 4);
    struct message *json = message_new(OPCODE_TEXT, "json", 4);
    struct encoding encodings[] = {{0, message_ref(text)}, {5, message_ref(json)}, {9, NULL}};
    struct slice rooms[] = {LOBBY, NOTHING};
    for (int i = 0; i < 2; i++) {
        struct broadcast broadcast = {rooms[i], ANY_ENDPOINT, 0, encodings, 1, NULL};
        struct codec_list missing;
        uint32_t delivered;
        uint64_t offset;
        message_ref(text);
        assert_false(hub_publish(one->hub, &broadcast, &delivered, &offset, &missing));
        assert_int_equal(missing.count, 1);
        assert_int_equal(missing.codecs[0], 5);
        broadcast.encoding_count = 3;
        message_ref(text);
        message_ref(json);
        assert_true(hub_publish(one->hub, &broadcast, &delivered, &offset, &missing));
        assert_int_equal(delivered, 2);
        broadcast.endpoint = 3; /* has no connections */
        broadcast.encoding_count = 0;
        assert_true(hub_publish(one->hub, &broadcast, &delivered, &offset, &missing));
        assert_int_equal(delivered, 0);
    }
    turn_both();
    fake_expect_frames(ada, "text(text) text(text)");
    fake_expect_frames(eve, "text(json) text(json)");
    message_unref(text);
    message_unref(json);
    assert_int_equal(atomic_load(&text->refs), 1);
    assert_int_equal(atomic_load(&json->refs), 1);
    message_unref(text);
    message_unref(json);
}

/* Its codec has changed since it was asked for: then it is closed, or about to be. */
static void test_a_send_by_another_codec(void **state) {
    expect_send(one, bob->id, 0, "1", SEND_OK);
    expect_send(one, bob->id, 5, "2", SEND_CLOSED);
    activate(two);
    struct fake_client *eve = fake_connect(two);
    expect_send(one, bob->id, 0, "3", SEND_CLOSED);
    expect_send(one, bob->id, 5, "4", SEND_CLOSED);
    expect_send(two, bob->id, 0, "5", SEND_CLOSED);
    expect_send(one, eve->id, 0, "6", SEND_CLOSED);
    expect_send(one, eve->id, 5, "7", SEND_OK);
    turn_both();
    fake_expect_frames(bob, "text(1) close(1012,codec changed)");
    fake_expect_frames(eve, "text(7)");
}

/* What did not fit into its mailbox is that of the codec from before, as what did. */
static void test_what_was_lost_before_the_codec_changed(void **state) {
    bus_set_mail_max(bus, 1);
    assert_int_equal(publish(one, 0, "1"), 2);
    assert_int_equal(publish(one, 0, "2"), 1);
    activate(two);
    turn_both();
    fake_expect(two, "a.close(1008,slow worker)");
}

/* ---- an endpoint that is no more ---- */

static void test_closing_an_endpoint(void **state) {
    struct fake *f = fake_new(NULL);
    struct endpoint other = fake_endpoint();
    assert_int_equal(hub_add_endpoint(f->hub, &other), 1);
    struct fake_client *a = fake_connect(f), *b = fake_admit(f), *c = fake_admit(f);
    hub_assign(f->hub, b->conn, 1);
    hub_open(f->hub, b->conn, b);
    fake_turn(f);
    hub_assign(f->hub, c->conn, 0); /* in its handshake: answered already by the old code */
    f->journal_len = 0;
    join(a);
    fake_send_ok(a, 'x', 3);
    hub_close_endpoint(f->hub, 0, 1012, "gone");
    fake_turn(f);
    fake_expect(f, "a.close(1012,gone)");
    fake_expect_frames(a, "text(xxx) close(1012,gone)");
    fake_expect_frames(b, "");
    expect_codecs(f, "");
    hub_abandon(f->hub, c->conn);
    c->conn = NULL;
    f->silent = true;
    fake_free(f);
}

int main(void) {
#define BUS_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_on_reload_comes_soon),
        cmocka_unit_test(test_on_reload_comes_before_the_next_hook),
        cmocka_unit_test(test_on_reload_waits_for_a_hook_that_sleeps),
        cmocka_unit_test(test_on_reload_may_sleep),
        cmocka_unit_test(test_no_on_reload_before_on_start),
        cmocka_unit_test(test_no_on_reload_in_a_handshake),
        cmocka_unit_test(test_on_reload_takes_many_turns),
        cmocka_unit_test(test_slow_hooks_give_way),
        cmocka_unit_test(test_messages_that_have_piled_up_give_way),
        cmocka_unit_test(test_no_on_reload_for_other_endpoints),
        cmocka_unit_test(test_hooks_that_are_no_more_are_not_called),
        cmocka_unit_test(test_silence_without_its_hook_closes),
        cmocka_unit_test(test_on_reload_that_is_no_more),
        cmocka_unit_test(test_messages_of_one_that_closes_find_no_hook),
        cmocka_unit_test(test_pings_keep_their_phase),
        cmocka_unit_test(test_silence_that_is_shorter_now),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_another_codec_closes),
        cmocka_unit_test(test_a_hook_that_sleeps_while_the_codec_changes),
        cmocka_unit_test(test_a_handshake_gets_the_new_codec),
        cmocka_unit_test(test_custom_codecs_are_of_one_kind),
        BUS_TEST(test_a_codec_over_the_bus),
        BUS_TEST(test_all_codecs_or_none),
        BUS_TEST(test_a_send_by_another_codec),
        BUS_TEST(test_what_was_lost_before_the_codec_changed),
        cmocka_unit_test(test_closing_an_endpoint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
