/* test_renew.c -- new code under live connections: endpoints that change, on_reload, hooks that are no more. */
#include "fake_hub.h"
#include "publish_as.h"

static const struct slice LOBBY = {"lobby", 5}, NOTHING = {NULL, 0};

/* fake_endpoint() with on_reload, of the next generation. */
static struct endpoint next_endpoint(const struct fake *f) {
    struct endpoint endpoint = fake_endpoint();
    endpoint.has_reload = true;
    endpoint.generation = f->hub->endpoints[0]->generation + 1;
    return endpoint;
}

/* The endpoint 0 is this one from now on. */
static void swap(struct fake *f, struct endpoint endpoint) {
    hub_next_codec(f->hub, 0, endpoint.codec);
    hub_take_over(f->hub, endpoint.generation);
    hub_change_endpoint(f->hub, 0, &endpoint);
    hub_renew(f->hub, endpoint.generation);
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
    swap(f, next_endpoint(f)); /* nobody is overtaken by those that on_reload is owed to */
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
    f->places.max = 0;
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
    hub_renew(f->hub, 1); /* the endpoint 0 is no more, its code stays */
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
    assert_false(hub_assign(f->hub, b->conn, 0)); /* full: a has its place */
    hub_abandon(f->hub, b->conn);
    b->conn = NULL;
    f->journal_len = 0;
    fake_takes(a, SIZE_MAX);
    assert_int_equal(fake_send(a, false, 'x', 10), SEND_OK);
    fake_free(f);
}

/* ---- codecs ---- */

static void test_a_codec_with_members_in_rooms(void **state) {
    struct fake *f = fake_new(NULL);
    struct endpoint other = fake_endpoint();
    other.codec = 2;
    assert_int_equal(hub_add_endpoint(f->hub, &other), 1);
    struct fake_client *a = fake_connect(f), *b = fake_connect(f), *c = fake_admit(f);
    hub_assign(f->hub, c->conn, 1);
    hub_open(f->hub, c->conn, c);
    fake_turn(f);
    join(a);
    join(b);
    join(c);
    expect_codecs(f, "0 2 ");
    struct endpoint next = next_endpoint(f);
    next.codec = 5;
    swap(f, next);
    expect_codecs(f, "2 5 ");
    assert_int_equal(publish(f, 0, "old"), 0);
    assert_int_equal(publish(f, 5, "new"), 2);
    next.generation++;
    next.codec = 2;
    swap(f, next);
    expect_codecs(f, "2 ");
    assert_int_equal(publish(f, 2, "all"), 3);
    hub_leave(f->hub, c->id, LOBBY);
    hub_leave(f->hub, a->id, LOBBY);
    expect_codecs(f, "2 ");
    hub_leave(f->hub, b->id, LOBBY);
    expect_codecs(f, "");
    fake_turn(f);
    fake_expect_frames(a, "text(new) text(all)");
    fake_expect_frames(c, "text(all)");
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

/* Two workers, each with a connection in the lobby, and the codec 5 in the code that both have loaded. */
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
    hub_next_codec(one->hub, 0, 5);
    hub_next_codec(two->hub, 0, 5);
    return 0;
}

static int tear_down(void **state) {
    fake_free(one);
    fake_free(two);
    bus_free(bus);
    return 0;
}

static void take_over(struct fake *f) {
    struct endpoint next = next_endpoint(f);
    next.codec = 5;
    next.json_name = mem_strdup("\"/\"");
    next.has_reload = false;
    swap(f, next);
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
    /* on its way when the new code takes over: the old code's, and not lost */
    assert_int_equal(publish(one, 0, "before"), 2);
    take_over(two);
    fake_turn(two);
    fake_expect_frames(bob, "text(before)");
    uint32_t codec = 0;
    assert_true(hub_codec_of(one->hub, bob->id, &codec));
    assert_int_equal(codec, 5);
    assert_int_equal(publish(one, 0, "old"), 1);
    assert_int_equal(publish(one, 5, "new"), 1);
    struct audience everyone = {NOTHING, ANY_ENDPOINT, 5, 0};
    assert_int_equal(publish_as(one->hub, &everyone, message_new(OPCODE_TEXT, "5", 1)), 1);
    take_over(one);
    expect_codecs(one, "5 ");
    assert_int_equal(publish(two, 5, "all"), 2);
    turn_both();
    fake_expect_frames(ada, "text(before) text(old) text(all)");
    fake_expect_frames(bob, "text(new) text(5) text(all)");
    hub_leave(one->hub, ada->id, LOBBY);
    expect_codecs(one, "5 "); /* the other worker's */
    hub_leave(two->hub, bob->id, LOBBY);
    expect_codecs(one, "");
}

/* Nobody gets anything as long as there is somebody for whom there is nothing. */
static void test_all_codecs_or_none(void **state) {
    take_over(two);
    struct message *text = message_new(OPCODE_TEXT, "text", 4);
    struct message *json = message_new(OPCODE_TEXT, "json", 4);
    struct encoding encodings[] = {{0, message_ref(text)}, {5, message_ref(json)}, {9, NULL}};
    struct slice rooms[] = {LOBBY, NOTHING};
    for (int i = 0; i < 2; i++) {
        struct broadcast broadcast = {rooms[i], ANY_ENDPOINT, 0, encodings, 1};
        struct codec_list missing;
        uint32_t delivered;
        message_ref(text);
        assert_false(hub_publish(one->hub, &broadcast, &delivered, &missing));
        assert_int_equal(missing.count, 1);
        assert_int_equal(missing.codecs[0], 5);
        broadcast.encoding_count = 3;
        message_ref(text);
        message_ref(json);
        assert_true(hub_publish(one->hub, &broadcast, &delivered, &missing));
        assert_int_equal(delivered, 2);
        broadcast.endpoint = 3; /* has nobody */
        broadcast.encoding_count = 0;
        assert_true(hub_publish(one->hub, &broadcast, &delivered, &missing));
        assert_int_equal(delivered, 0);
    }
    turn_both();
    fake_expect_frames(ada, "text(text) text(text)");
    fake_expect_frames(bob, "text(json) text(json)");
    message_unref(text);
    message_unref(json);
    assert_int_equal(atomic_load(&text->refs), 1);
    assert_int_equal(atomic_load(&json->refs), 1);
    message_unref(text);
    message_unref(json);
}

static void test_a_send_by_another_codec(void **state) {
    expect_send(one, bob->id, 0, "1", SEND_OK);
    expect_send(one, bob->id, 5, "2", SEND_OTHER_CODEC);
    take_over(two);
    expect_send(one, bob->id, 0, "3", SEND_OTHER_CODEC);
    expect_send(one, bob->id, 5, "4", SEND_OK);
    expect_send(two, bob->id, 0, "5", SEND_OTHER_CODEC);
    expect_send(two, bob->id, 5, "6", SEND_OK);
    turn_both();
    fake_expect_frames(bob, "text(1) text(6) text(4)");
}

/* What new code says to those who have not got it yet. */
static void test_new_code_waits_for_new_code(void **state) {
    uint32_t codec = 0;
    take_over(two);
    assert_true(hub_codec_of(two->hub, ada->id, &codec));
    assert_int_equal(codec, 5);
    assert_int_equal(publish(two, 0, "nobody's"), 0);
    assert_int_equal(publish(two, 5, "1"), 2);
    expect_send(two, ada->id, 0, "no", SEND_OTHER_CODEC);
    expect_send(two, ada->id, 5, "2", SEND_OK);
    struct audience everyone = {NOTHING, 0, 5, 0};
    assert_int_equal(publish_as(two->hub, &everyone, message_new(OPCODE_TEXT, "3", 1)), 2);
    turn_both();
    fake_expect_frames(ada, "");
    assert_int_equal(hub_send(one->hub, ada->id, OPCODE_TEXT, "old", 3), SEND_OK);
    assert_int_equal(publish(one, 0, "old room"), 1);
    take_over(one);
    assert_int_equal(hub_send(one->hub, ada->id, OPCODE_TEXT, "new", 3), SEND_OK);
    turn_both();
    fake_expect_frames(ada, "text(old) text(old room) text(1) text(2) text(3) text(new)");
    fake_expect_frames(bob, "text(1) text(3)");
}

/* It is taken with the new code, and was said before that. */
static void test_new_code_waits_in_the_mailbox(void **state) {
    publish(two, 0, "1");
    take_over(two);
    publish(two, 5, "2");
    publish(two, 5, "3");
    take_over(one);
    turn_both();
    fake_expect_frames(ada, "text(1) text(2) text(3)");
}

static void test_members_when_it_was_said(void **state) {
    struct fake_client *c = fake_connect(one), *d = fake_connect(one), *e = fake_connect(one);
    join(d);
    join(e);
    take_over(two);
    publish(two, 5, "1");
    join(c);
    hub_leave(one->hub, ada->id, LOBBY);
    hub_close(one->hub, d->id, 1000, NULL, 0); /* before its Close frame, at the latest */
    fake_gone(e);
    publish(two, 5, "2");
    take_over(one);
    turn_both();
    fake_expect_frames(ada, "text(1)");
    fake_expect_frames(c, "text(2)");
    fake_expect_frames(d, "text(1) close(1000)");
}

/* Endpoints whose codec stays are not concerned. */
static void test_the_same_codec_does_not_wait(void **state) {
    hub_next_codec(one->hub, 0, 0);
    hub_next_codec(two->hub, 0, 0);
    hub_take_over(two->hub, 2);
    assert_int_equal(publish(two, 0, "1"), 2);
    expect_send(two, ada->id, 0, "2", SEND_OK);
    turn_both();
    fake_expect_frames(ada, "text(1) text(2)");
}

/* Who has heard of new code is answered by new code. */
static void test_hooks_wait_for_new_code(void **state) {
    take_over(two);
    fake_receive(ada, "1");
    fake_expect(one, "a.message(1)");
    publish(two, 5, "new");
    fake_receive(ada, "2");
    struct fake_client *late = fake_open(one);
    fake_turn(one);
    fake_expect(one, "");
    take_over(one);
    assert_true(hub_has_pending(one->hub));
    fake_turn(one);
    fake_expect(one, "a.message(2) b.open");
    fake_expect_frames(ada, "text(new)");
    fake_expect_frames(late, "");
}

static void take_mail(struct fake_client *client, enum fake_hook hook, const char *bytes,
                      size_t len) {
    hub_take_mail(client->fake->hub);
}

static void test_a_hook_that_hears_of_new_code_ends_first(void **state) {
    one->sleeps = FAKE_MESSAGE;
    fake_receive(ada, "1");
    fake_receive(ada, "2");
    fake_receive(ada, "3");
    take_over(two);
    one->during = take_mail;
    one->sleeps = 0;
    publish(two, 5, "new");
    fake_wake(ada); /* its next hook is the first that takes the mail */
    fake_expect(one, "a.message(1) a.message(2)");
    fake_turn(one);
    fake_expect(one, "");
    take_over(one);
    fake_turn(one);
    fake_expect(one, "a.message(3)");
}

static void test_what_waits_at_the_end(void **state) {
    take_over(two);
    publish(two, 5, "1");
    hub_take_mail(one->hub); /* its memory is given back by fake_free() */
}

/* Says it again and again, until ada is closed; returns how often. */
static size_t say_until_closed(const char *bytes, size_t len) {
    size_t said = 0;
    hub_leave(two->hub, bob->id, LOBBY);
    take_over(two);
    for (; ada->conn->state == CONN_OPEN && said < 1000000; said++) {
        struct audience audience = {LOBBY, 0, 5, 0};
        publish_as(two->hub, &audience, message_new(OPCODE_BINARY, bytes, len));
        hub_take_mail(one->hub);
    }
    fake_turn(one);
    return said;
}

/* However much new code says before this worker has it: there is a ceiling, and then who would get
 * more is a slow client. */
static void test_few_large_ones_that_wait_are_bounded(void **state) {
    static char text[1000000];
    assert_in_range(say_until_closed(text, sizeof text), 60, 75);
}

static void test_many_small_ones_that_wait_are_bounded(void **state) {
    assert_in_range(say_until_closed("", 0), 100000, 300000);
    take_over(one);
    fake_turn(one);
    fake_expect(one, "a.close(1008,slow worker)");
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
        cmocka_unit_test(test_a_codec_with_members_in_rooms),
        BUS_TEST(test_a_codec_over_the_bus),
        BUS_TEST(test_all_codecs_or_none),
        BUS_TEST(test_a_send_by_another_codec),
        BUS_TEST(test_new_code_waits_for_new_code),
        BUS_TEST(test_new_code_waits_in_the_mailbox),
        BUS_TEST(test_members_when_it_was_said),
        BUS_TEST(test_the_same_codec_does_not_wait),
        BUS_TEST(test_hooks_wait_for_new_code),
        BUS_TEST(test_a_hook_that_hears_of_new_code_ends_first),
        BUS_TEST(test_what_waits_at_the_end),
        BUS_TEST(test_few_large_ones_that_wait_are_bounded),
        BUS_TEST(test_many_small_ones_that_wait_are_bounded),
        cmocka_unit_test(test_closing_an_endpoint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
