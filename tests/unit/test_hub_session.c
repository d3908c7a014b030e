/* test_hub_session.c -- sessions: connections that outlive their sockets, and both counts. */
#include "fake_hub.h"

static const char secret[] = "0123456789abcdef";

static struct fake *fake_sessions(void) {
    struct endpoint endpoint = fake_endpoint();
    endpoint.path = mem_strdup("/s");
    endpoint.json_name = mem_strdup("\"/s\"");
    endpoint.max_backlog = 100000;
    endpoint.resume_ms = 60000;
    endpoint.resume_messages = 10;
    endpoint.resume_bytes = 1000;
    endpoint.resume_sessions = 3;
    return fake_new(&endpoint);
}

/* A client with this secret, which has got so many messages; its hooks have not run. */
static struct fake_client *arrive_as(struct fake *f, const char *name, int64_t received) {
    struct fake_client *client = fake_admit(f);
    assert_true(hub_assign_session(f->hub, client->conn, 0, slice_of(name), received,
                                   (struct slice){NULL, 0}));
    fake_opens(client);
    return client;
}

static struct fake_client *arrive(struct fake *f, int64_t received) {
    return arrive_as(f, secret, received);
}

static struct fake_client *start(struct fake *f) {
    struct fake_client *client = arrive(f, 0);
    fake_turn(f);
    fake_expect(f, "a.open");
    fake_expect_frames(client, "text({\"type\":\"session\",\"resumed\":false,\"received\":0})");
    return client;
}

static struct conn *conn_of(const struct fake_client *client) {
    return hub_find(client->fake->hub, client->id);
}

/* Sends a text by the connection, which may have no socket. */
static enum send_result send_to(struct fake_client *client, const char *text) {
    return hub_send(client->fake->hub, conn_of(client), OPCODE_TEXT, text, strlen(text));
}

static void sends(struct fake_client *client, const char *texts) {
    for (; *texts != '\0'; texts++)
        assert_int_equal(send_to(client, (char[]){*texts, '\0'}), SEND_OK);
}

static void end_session(struct fake *f) {
    fake_pass(f, 60000);
    fake_turn(f);
    f->journal_len = 0;
    fake_free(f);
}

#define GREETING(resumed, received)                                                                \
    "text({\"type\":\"session\",\"resumed\":" resumed ",\"received\":" received "})"

static void test_return(void **state) {
    struct fake *f = fake_sessions();
    struct fake_client *a = start(f);
    fake_receive(a, "one");
    sends(a, "xy");
    fake_turn(f);
    fake_expect_frames(a, "text(x) text(y)");
    fake_gone(a);
    fake_turn(f);
    fake_expect(f, "a.message(one) a.disconnect(1006)");
    assert_true(hub_is_open(f->hub, a->id));
    assert_false(hub_is_connected(f->hub, a->id));
    sends(a, "z");
    struct fake_client *b = arrive(f, 1);
    assert_true(b->paused);
    fake_turn(f);
    fake_expect(f, "a.resume(b) b.forgotten");
    fake_expect_frames(b, GREETING("true", "1") " text(y) text(z)");
    assert_false(b->paused);
    assert_true(hub_is_connected(f->hub, a->id));
    fake_receive(b, "two");
    sends(a, "!");
    fake_turn(f);
    fake_expect(f, "a.message(two)");
    fake_expect_frames(b, "text(!)");
    assert_int_equal(stats_read(&f->hub->stats.sessions_resumed), 1);
    fake_gone(b);
    end_session(f);
}

static void test_expiry(void **state) {
    struct fake *f = fake_sessions();
    start(f);
    f->timed = true;
    fake_gone(f->clients[0]);
    fake_turn(f);
    fake_until(f, 100000);
    fake_expect(f, "0:a.disconnect(1006) 60000:a.close(1006,session expired) 60000:a.forgotten");
    assert_int_equal(stats_read(&f->hub->stats.sessions_waiting), 0);
    assert_int_equal(stats_read(&f->hub->stats.sessions_expired), 1);
    fake_free(f);
}

static void test_close_frames(void **state) {
    struct fake *f = fake_sessions();
    struct fake_client *a = start(f);
    hub_peer_closed(f->hub, a->conn, 1001, "", 0);
    fake_turn(f);
    fake_expect(f, "a.disconnect(1001)");
    fake_expect_frames(a, "close(1001)");
    assert_true(a->ended);
    struct fake_client *b = arrive(f, 0);
    fake_turn(f);
    fake_expect(f, "a.resume(b) b.forgotten");
    fake_expect_frames(b, GREETING("true", "0"));
    hub_peer_closed(f->hub, b->conn, 1000, "bye", 3);
    fake_turn(f);
    fake_expect(f, "a.close(1000,bye)");
    struct fake_client *c = arrive(f, 0);
    fake_turn(f);
    fake_expect_frames(c, GREETING("false", "0"));
    fake_expect(f, "c.open");
    fake_gone(a);
    fake_gone(b);
    fake_gone(c);
    end_session(f);
}

/* A socket whose handshake was read late: its request had arrived so many milliseconds before. */
static struct fake_client *arrive_late(struct fake *f, uint64_t quiet_ms, bool has_end) {
    struct fake_client *client = fake_admit(f);
    assert_true(
        hub_assign_session(f->hub, client->conn, 0, slice_of(secret), 0, (struct slice){NULL, 0}));
    client->quiet_ms = quiet_ms;
    client->has_end = has_end;
    fake_opens(client);
    fake_turn(f);
    return client;
}

/* The client has given it up for the one that the session has. */
static void test_an_older_socket_does_not_replace(void **state) {
    struct fake *f = fake_sessions();
    struct fake_client *a = start(f), *b = arrive_late(f, 100, false);
    fake_expect_frames(b, "close(4409,replaced)");
    struct fake_client *c = arrive_late(f, UINT64_MAX, true);
    fake_expect_frames(c, "close(4409,replaced)");
    fake_expect(f, "");
    sends(a, "x");
    fake_turn(f);
    fake_expect_frames(a, "text(x)");
    fake_gone(b);
    fake_gone(c);
    fake_turn(f);
    fake_expect(f, "b.forgotten c.forgotten");
    fake_pass(f, 90); /* a newer one, whose request took as long */
    struct fake_client *d = arrive_late(f, 100, false);
    fake_expect(f, "a.disconnect(4409) a.resume(d) d.forgotten");
    fake_expect_frames(d, GREETING("true", "0") " text(x)");
    fake_gone(a);
    fake_gone(d);
    fake_turn(f);
    struct fake_client *e = arrive_late(f, 5000, true); /* there is no other socket */
    fake_expect(f, "a.disconnect(1006) a.resume(e) e.forgotten");
    fake_gone(e);
    end_session(f);
}

/* Its queue is dropped but for the frame of which the socket has a part. */
static void test_replaced(void **state) {
    struct fake *f = fake_sessions();
    struct fake_client *a = start(f);
    a->room = 5;
    sends(a, "xyz");
    fake_turn(f);
    struct fake_client *b = arrive(f, 0);
    fake_turn(f);
    fake_expect(f, "a.disconnect(4409) a.resume(b) b.forgotten");
    fake_expect_frames(b, GREETING("true", "0") " text(x) text(y) text(z)");
    fake_takes(a, SIZE_MAX);
    fake_turn(f);
    fake_expect_frames(a, "text(x) text(y) close(4409,replaced)");
    fake_receive(a, "late");
    fake_expect(f, "");
    fake_gone(a);
    fake_gone(b);
    end_session(f);
}

/* What is kept and what waits for the socket share memory, until a frame comes between. */
static void test_control_frame_between(void **state) {
    struct fake *f = fake_sessions();
    struct fake_client *a = start(f);
    a->room = 0;
    sends(a, "x");
    fake_turn(f);
    hub_answer_ping(f->hub, a->conn, "p", 1);
    sends(a, "yz");
    fake_takes(a, SIZE_MAX);
    fake_turn(f);
    fake_expect_frames(a, "text(x) pong(p) text(y) text(z)");
    fake_gone(a);
    end_session(f);
}

/* A handshake that comes late, when its client has given the socket up, ends no session. */
static void test_new_session_of_a_dead_socket(void **state) {
    struct fake *f = fake_sessions();
    struct fake_client *a = start(f);
    struct fake_client *b = fake_admit(f);
    b->has_end = true;
    assert_true(
        hub_assign_session(f->hub, b->conn, 0, slice_of(secret), 5, (struct slice){NULL, 0}));
    fake_opens(b);
    fake_turn(f);
    fake_expect(f, "b.open b.close(4409,replaced)");
    fake_gone(b);
    fake_turn(f);
    fake_expect(f, "b.forgotten");
    sends(a, "x");
    fake_turn(f);
    fake_expect_frames(a, "text(x)");
    fake_gone(a);
    end_session(f);
}

/* The same where nothing shows that the client has given the socket up. */
static void test_new_session_of_an_older_socket(void **state) {
    struct fake *f = fake_sessions();
    fake_pass(f, 1000);
    struct fake_client *a = start(f);
    struct fake_client *b = fake_admit(f);
    b->quiet_ms = 100;
    assert_true(
        hub_assign_session(f->hub, b->conn, 0, slice_of(secret), 5, (struct slice){NULL, 0}));
    fake_opens(b);
    fake_turn(f);
    fake_expect(f, "b.open b.close(4409,replaced)");
    fake_expect_frames(b, "close(4409,replaced)");
    fake_gone(b);
    sends(a, "x");
    fake_turn(f);
    f->journal_len = 0;
    fake_expect_frames(a, "text(x)");
    fake_gone(a);
    end_session(f);
}

static void test_silence(void **state) {
    struct fake *f = fake_sessions();
    struct fake_client *a = start(f);
    hub_time_out(f->hub, a->id);
    hub_time_out(f->hub, a->id);
    fake_turn(f);
    fake_expect(f, "a.disconnect(4408)");
    fake_expect_frames(a, "close(4408,timed out)");
    fake_gone(a);
    end_session(f);
}

static void test_half_closed(void **state) {
    struct fake *f = fake_sessions();
    struct fake_client *a = start(f);
    a->room = 0;
    sends(a, "x");
    fake_turn(f);
    assert_true(hub_peer_ended(f->hub, a->conn, 1000));
    fake_turn(f);
    fake_expect(f, "a.disconnect(1006)");
    fake_takes(a, SIZE_MAX);
    assert_true(a->ended);
    fake_expect_frames(a, "text(x)");
    fake_gone(a);
    struct fake_client *b = arrive(f, 0);
    fake_turn(f);
    fake_expect_frames(b, GREETING("true", "0") " text(x)");
    fake_gone(b);
    end_session(f);
}

/* What the inbox has is handled while the client is away; when it is back, it sends it again. */
static void test_inbox(void **state) {
    struct fake *f = fake_sessions();
    struct fake_client *a = start(f);
    f->sleeps = FAKE_MESSAGE;
    for (int i = 1; i <= 3; i++)
        fake_receive(a, (char[]){(char)('0' + i), '\0'});
    fake_gone(a);
    fake_wake(a);
    fake_expect(f, "a.message(1) a.message(2)");
    struct fake_client *b = arrive(f, 0);
    f->sleeps = 0;
    fake_wake(a);
    fake_turn(f);
    fake_expect(f, "a.disconnect(1006) a.resume(b) b.forgotten");
    fake_expect_frames(b, GREETING("true", "2"));
    fake_receive(b, "3");
    fake_expect(f, "a.message(3)");
    fake_gone(b);
    end_session(f);
}

static void refuse(struct fake_client *client, enum fake_hook hook, const char *bytes, size_t len) {
    if (hook == FAKE_RESUME)
        hub_refuse_resume(client->fake->hub, client->id);
}

static void test_refused(void **state) {
    struct fake *f = fake_sessions();
    struct fake_client *a = start(f);
    sends(a, "x");
    fake_gone(a);
    f->during = refuse;
    struct fake_client *b = arrive(f, 0);
    fake_turn(f);
    fake_expect(f, "a.disconnect(1006) a.resume(b) a.close(1006,session not resumed) a.forgotten "
                   "b.open");
    fake_expect_frames(b, GREETING("false", "0"));
    assert_false(b->paused);
    f->during = NULL;
    fake_gone(b);
    struct fake_client *c = arrive(f, 0); /* the new one can be resumed */
    fake_turn(f);
    fake_expect(f, "b.disconnect(1006) b.resume(c) c.forgotten");
    fake_gone(c);
    end_session(f);
}

static void close_it(struct fake_client *client, enum fake_hook hook, const char *bytes,
                     size_t len) {
    if (hook == FAKE_RESUME || hook == FAKE_DISCONNECT)
        hub_close(client->fake->hub, client->id, 4000, "no", 2);
}

static void test_closed_in_hooks(void **state) {
    struct fake *f = fake_sessions();
    struct fake_client *a = start(f);
    f->during = NULL;
    fake_gone(a);
    fake_turn(f);
    f->during = close_it;
    struct fake_client *b = arrive(f, 0);
    fake_turn(f);
    fake_expect(f, "a.disconnect(1006) a.resume(b) b.forgotten a.close(4000,no)");
    fake_expect_frames(b, "close(4000,no)");
    fake_gone(b);
    fake_turn(f);
    fake_expect(f, "a.forgotten");
    struct fake_client *c = arrive(f, 0);
    fake_turn(f);
    fake_gone(c);
    fake_turn(f);
    fake_expect(f, "c.open c.disconnect(1006) c.close(4000,no) c.forgotten");
    fake_free(f);
}

/* The socket of the return is lost while on_resume sleeps, and another one comes. */
static void test_lost_in_on_resume(void **state) {
    struct fake *f = fake_sessions();
    struct fake_client *a = start(f);
    fake_gone(a);
    fake_turn(f);
    f->sleeps = FAKE_RESUME;
    struct fake_client *b = arrive(f, 0);
    fake_turn(f);
    assert_true(hub_is_connected(f->hub, a->id));
    fake_gone(b);
    fake_wake(a);
    fake_turn(f);
    fake_expect(f, "a.disconnect(1006) a.resume(b) b.forgotten a.disconnect(1006)");
    struct fake_client *c = arrive(f, 0);
    fake_turn(f);
    struct fake_client *d = arrive(f, 0);
    fake_turn(f);
    fake_expect_frames(c, "close(4409,replaced)");
    f->sleeps = 0;
    fake_wake(a);
    fake_turn(f);
    fake_expect(f, "a.resume(c) a.disconnect(4409) a.resume(d) d.forgotten");
    fake_expect_frames(d, GREETING("true", "0"));
    fake_gone(c);
    fake_gone(d);
    end_session(f);
}

/* No time passes for a session whose on_resume sleeps. */
static void test_long_on_resume(void **state) {
    struct fake *f = fake_sessions();
    struct fake_client *a = start(f);
    fake_gone(a);
    fake_turn(f);
    f->sleeps = FAKE_RESUME;
    struct fake_client *b = arrive(f, 0);
    fake_turn(f);
    fake_pass(f, 200000);
    sends(a, "q");
    f->sleeps = 0;
    fake_wake(a);
    fake_turn(f);
    fake_expect_frames(b, GREETING("true", "0") " text(q)");
    fake_gone(b);
    end_session(f);
}

/* Counts that lie, and secrets of others. */
static void test_lies(void **state) {
    static const int64_t lies[] = {4, 1, 1000000, INT64_MAX, -1, INT64_MIN};
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        struct fake *f = fake_sessions();
        struct fake_client *a = start(f);
        sends(a, "xyz");
        conn_of(a)->session->arrived++; /* the heartbeat's message */
        assert_int_equal(hub_json_heartbeat(f->hub, a->id, 2), 0);
        fake_turn(f);
        fake_gone(a);
        struct fake_client *b = arrive(f, lies[i]);
        fake_turn(f);
        fake_expect(f, "a.close(1006,session not resumed) a.forgotten b.open");
        fake_expect_frames(b, lies[i] < 0 ? GREETING("false", "0")
                                          : GREETING("false", "0") " ping(session)");
        fake_gone(b);
        struct fake_client *c = arrive_as(f, "0123456789abcdeX", 0);
        fake_turn(f);
        fake_expect_frames(c, GREETING("false", "0"));
        fake_gone(c);
        end_session(f);
    }
}

static void test_acknowledgements(void **state) {
    struct fake *f = fake_sessions();
    struct fake_client *a = start(f);
    struct session *session = conn_of(a)->session;
    sends(a, "vwxyz");
    fake_turn(f);
    static const int64_t numbers[] = {2, 1, 6, -1, INT64_MAX, 0, 4};
    static const uint32_t kept[] = {3, 3, 3, 3, 3, 3, 1};
    for (int i = 0; i < 7; i++) {
        session->arrived++; /* the heartbeat's message, which is not counted */
        assert_int_equal(hub_json_heartbeat(f->hub, a->id, numbers[i]), 0);
        assert_int_equal(session->sent.count, kept[i]);
    }
    fake_gone(a);
    struct fake_client *b = arrive(f, 4);
    fake_turn(f);
    fake_expect_frames(b, GREETING("true", "0") " text(z)");
    fake_gone(b);
    end_session(f);
}

static void test_ceiling_while_it_waits(void **state) {
    struct fake *f = fake_sessions();
    struct fake_client *a = start(f);
    sends(a, "xy");
    fake_turn(f);
    fake_gone(a);
    fake_turn(f);
    sends(a, "0123456789"); /* x and y, which were written, may go */
    fake_expect(f, "a.disconnect(1006)");
    assert_int_equal(send_to(a, "!"), SEND_CLOSED);
    fake_turn(f);
    fake_expect(f, "a.close(1006,too much was sent meanwhile) a.forgotten");
    fake_free(f);
}

static void test_bytes(void **state) {
    struct fake *f = fake_sessions();
    struct fake_client *a = start(f);
    char text[600];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    for (int i = 0; i < 5; i++) { /* they are written at once, so older ones may go */
        assert_int_equal(send_to(a, text), SEND_OK);
        assert_int_equal(conn_of(a)->session->sent.count, 1);
    }
    fake_turn(f);
    fake_gone(a);
    assert_int_equal(send_to(a, text), SEND_OK);
    assert_int_equal(send_to(a, text), SEND_CLOSED);
    fake_turn(f);
    end_session(f);
}

/* A client that does not read is slow when messages that were not written would have to go. */
static void test_slow(void **state) {
    struct fake *f = fake_sessions();
    struct fake_client *a = start(f);
    a->room = 0;
    sends(a, "0123456789");
    fake_turn(f);
    assert_int_equal(send_to(a, "!"), SEND_CLOSED);
    fake_turn(f);
    fake_expect(f, "a.close(1008,slow client)");
    fake_gone(a);
    fake_free(f);
}

static void test_save_and_restore(void **state) {
    struct fake *f = fake_sessions();
    struct fake_client *a = start(f);
    fake_receive(a, "one");
    sends(a, "xyz");
    hub_join(f->hub, a->id, slice_of("lobby"), slice_of("{}"));
    fake_turn(f);
    fake_gone(a);
    fake_turn(f);
    fake_pass(f, 20000);
    f->journal_len = 0;
    struct buffer bytes = {0};
    struct buffer_sink sink = buffer_sink_of(&bytes);
    hub_session_save(f->hub, conn_of(a), &sink.sink);
    struct slice saved = {buffer_start(&bytes), bytes.len}, id;
    assert_true(hub_session_is_one(saved));
    assert_true(hub_session_old_id(saved, &id));
    for (size_t len = 0; len < saved.len; len++)
        assert_false(hub_session_is_one((struct slice){saved.bytes, len}));
    const char *why;
    assert_null(hub_session_restore(f->hub, saved, &why));
    assert_string_equal(why, "there is another session with its secret");

    struct fake *g = fake_sessions();
    struct fake_client *b = mem_zalloc(sizeof *b);
    struct conn *conn = hub_session_restore(g->hub, saved, &why);
    assert_non_null(conn);
    *b = (struct fake_client){
        .fake = g, .id = conn->id, .name = 'a', .opened = true, .room = SIZE_MAX};
    g->clients[g->count++] = b;
    assert_int_equal(hub_room_size(g->hub, slice_of("lobby")), 1);
    struct fake_client *c = arrive(g, 1);
    fake_turn(g);
    fake_expect(g, "a.resume(b) b.forgotten");
    fake_expect_frames(c, GREETING("true", "1") " text(y) text(z)");
    fake_gone(c);
    fake_turn(g);
    fake_pass(g, 60000);
    fake_expect(g, "a.disconnect(1006) a.close(1006,session expired) a.forgotten");
    fake_free(g);
    buffer_free(&bytes);
    end_session(f);
}

static void test_kept_in_a_drain(void **state) {
    struct fake *f = fake_sessions();
    struct fake_client *a = start(f);
    struct fake_client *plain = fake_connect(f);
    hub_keep_sessions(f->hub);
    hub_drain(f->hub, CLOSE_GOING_AWAY, "going");
    fake_turn(f);
    fake_expect(f, "a.disconnect(1012) b.close(1001,going)");
    fake_expect_frames(a, "close(1012,restart)");
    fake_gone(a);
    fake_gone(plain);
    fake_turn(f);
    assert_int_equal(hub_admitted(f->hub), 0);
    hub_end(f->hub);
    f->clients[0]->closed = true; /* it goes on in the next process */
    fake_free(f);
}

/* Beyond the limit the one that has waited longest ends. */
static void test_too_many_wait(void **state) {
    static const char *const secrets[] = {"0123456789abcde1", "0123456789abcde2",
                                          "0123456789abcde3", "0123456789abcde4"};
    struct fake *f = fake_sessions();
    for (int i = 0; i < 4; i++)
        arrive_as(f, secrets[i], 0);
    fake_turn(f);
    f->journal_len = 0;
    for (int i = 3; i >= 0; i--) {
        fake_gone(f->clients[i]);
        fake_turn(f);
    }
    fake_expect(f, "d.disconnect(1006) c.disconnect(1006) b.disconnect(1006) "
                   "a.disconnect(1006) d.close(1006,too many sessions wait) d.forgotten");
    assert_int_equal(stats_read(&f->hub->stats.sessions_waiting), 3);
    assert_int_equal(stats_read(&f->hub->stats.sessions_evicted), 1);
    end_session(f);
}

/* New code without the option ends the sessions that wait; others end with their sockets. */
static void test_reload_without(void **state) {
    struct fake *f = fake_sessions();
    struct fake_client *a = start(f);
    struct fake_client *b = arrive_as(f, "0123456789abcde2", 0);
    fake_turn(f);
    fake_gone(a);
    fake_turn(f);
    f->journal_len = 0;
    struct endpoint endpoint = fake_endpoint();
    hub_activate_endpoint(f->hub, 0, &endpoint);
    fake_turn(f);
    fake_gone(b);
    fake_turn(f);
    fake_expect(f, "a.close(1006,the endpoint has no sessions any more) a.forgotten b.close(1006) "
                   "b.forgotten");
    fake_free(f);
}

/* A message that `rate` drops counts, but not one of the JSON heartbeat. */
static void test_rate(void **state) {
    struct endpoint endpoint = fake_endpoint();
    endpoint.path = mem_strdup("/s");
    endpoint.json_name = mem_strdup("\"/s\"");
    endpoint.resume_ms = 60000;
    endpoint.resume_messages = 10;
    endpoint.resume_bytes = 1000;
    endpoint.heartbeat = HEARTBEAT_JSON;
    endpoint.rate = (struct message_rate){{0, 1}, {0, 0}, RATE_DROP};
    struct fake *f = fake_new(&endpoint);
    struct fake_client *a = start(f);
    fake_receive(a, "one");
    fake_receive(a, "two");
    fake_receive(a, "{\"type\":\"ping\"}");
    fake_receive(a, "{\"type\":\"other\"}");
    fake_expect(f, "a.message(one) a.dropped({\"type\":\"ping\"})");
    fake_gone(a);
    struct fake_client *b = arrive(f, 0);
    fake_turn(f);
    fake_expect_frames(b, GREETING("true", "3"));
    fake_gone(b);
    end_session(f);
}

/* What a session keeps may be more than max_backlog: a client that is back is not slow for it. */
static void test_backlog_of_a_return(void **state) {
    struct endpoint endpoint = fake_endpoint();
    endpoint.path = mem_strdup("/s");
    endpoint.max_backlog = 200;
    endpoint.resume_ms = 60000;
    endpoint.resume_messages = 10;
    endpoint.resume_bytes = 1000;
    struct fake *f = fake_new(&endpoint);
    struct fake_client *a = start(f);
    char text[151];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    fake_gone(a);
    for (int i = 0; i < 3; i++)
        assert_int_equal(send_to(a, text), SEND_OK);
    struct fake_client *b = arrive(f, 0);
    b->room = 0;
    fake_turn(f);
    fake_expect(f, "a.disconnect(1006) a.resume(b) b.forgotten");
    assert_int_equal(send_to(a, text), SEND_OK);
    assert_int_equal(send_to(a, text), SEND_CLOSED); /* this is too much */
    fake_turn(f);
    fake_expect(f, "a.close(1008,slow client)");
    fake_gone(b);
    fake_free(f);
}

/* Newer messages with the same keys may be larger, but not all together than what is kept. */
static void test_bytes_of_keys(void **state) {
    struct endpoint endpoint = fake_endpoint();
    endpoint.path = mem_strdup("/s");
    endpoint.max_backlog = 100000;
    endpoint.slow_client = SLOW_CLIENT_CONFLATE;
    endpoint.resume_ms = 60000;
    endpoint.resume_messages = 10;
    endpoint.resume_bytes = 1000;
    struct fake *f = fake_new(&endpoint);
    struct fake_client *a = start(f);
    char text[600];
    memset(text, 'x', sizeof text);
    fake_gone(a);
    struct conn *conn = conn_of(a);
    for (int i = 0; i < 3; i++)
        assert_int_equal(hub_send_with(f->hub, conn, OPCODE_TEXT, text, 10,
                                       slice_of(((const char *[]){"k", "l", "m"})[i]), false),
                         SEND_OK);
    assert_int_equal(hub_send_with(f->hub, conn, OPCODE_TEXT, text, 600, slice_of("k"), false),
                     SEND_OK);
    assert_int_equal(conn->session->sent.count, 3);
    assert_int_equal(hub_send_with(f->hub, conn, OPCODE_TEXT, text, 600, slice_of("l"), false),
                     SEND_CLOSED);
    fake_turn(f);
    end_session(f);
}

/* A message that `rate` drops while others wait for a hook is none of those that were handled. */
static void test_rate_while_a_hook_sleeps(void **state) {
    struct endpoint endpoint = fake_endpoint();
    endpoint.path = mem_strdup("/s");
    endpoint.json_name = mem_strdup("\"/s\"");
    endpoint.resume_ms = 60000;
    endpoint.resume_messages = 10;
    endpoint.resume_bytes = 1000;
    endpoint.rate = (struct message_rate){{0, 2}, {0, 0}, RATE_DROP};
    struct fake *f = fake_new(&endpoint);
    struct fake_client *a = start(f);
    f->sleeps = FAKE_MESSAGE;
    fake_receive(a, "one");
    fake_receive(a, "two");
    for (int i = 0; i < 100 && !a->paused; i++)
        fake_receive(a, "dropped");
    assert_true(a->paused); /* a flood does not make the inbox grow without end */
    fake_receive(a, "{\"type\":\"ping\"}");
    fake_expect(f, "a.message(one) a.dropped({\"type\":\"ping\"})");
    fake_gone(a);
    struct fake_client *b = arrive(f, 0);
    f->sleeps = 0;
    fake_wake(a);
    fake_turn(f);
    fake_expect(f, "a.disconnect(1006) a.resume(b) b.forgotten");
    fake_expect_frames(b, GREETING("true", "1")); /* the client sends "two" again */
    fake_gone(b);
    end_session(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_return),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_close_frames),
        cmocka_unit_test(test_replaced),
        cmocka_unit_test(test_an_older_socket_does_not_replace),
        cmocka_unit_test(test_control_frame_between),
        cmocka_unit_test(test_new_session_of_a_dead_socket),
        cmocka_unit_test(test_new_session_of_an_older_socket),
        cmocka_unit_test(test_silence),
        cmocka_unit_test(test_half_closed),
        cmocka_unit_test(test_inbox),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_closed_in_hooks),
        cmocka_unit_test(test_lost_in_on_resume),
        cmocka_unit_test(test_long_on_resume),
        cmocka_unit_test(test_lies),
        cmocka_unit_test(test_acknowledgements),
        cmocka_unit_test(test_ceiling_while_it_waits),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_slow),
        cmocka_unit_test(test_too_many_wait),
        cmocka_unit_test(test_reload_without),
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_rate_while_a_hook_sleeps),
        cmocka_unit_test(test_backlog_of_a_return),
        cmocka_unit_test(test_bytes_of_keys),
        cmocka_unit_test(test_save_and_restore),
        cmocka_unit_test(test_kept_in_a_drain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
