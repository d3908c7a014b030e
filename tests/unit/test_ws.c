/* test_ws.c -- one WebSocket connection: frames from its stream to the hub, the hub's bytes to the
 * stream, and bytes that wait while the hub pauses it. With a fake stream and fake hooks. */
#include "fake_hub.h"
#include "fake_stream.h"

#include "net/ws/ws.h"

static struct fake *f;
static struct ws_server *server;
static struct ip_counts *addresses;
static struct stream *stream; /* of the client `a` */
static struct fake_client *a;

#define M "\0\0\0\0"

/* Opens the client; `ahead` are the bytes behind its handshake. */
static void open_with(const struct endpoint *endpoint, const char *ahead, size_t len) {
    f = fake_new(endpoint);
    f->timed = false;
    server = ws_server_new(f->hub, 60000);
    addresses = ip_counts_new();
    stream = fake_stream_new();
    a = fake_admit(f);
    hub_assign(f->hub, a->conn, 0);
    char *copy = mem_alloc(len + 1);
    if (len > 0)
        memcpy(copy, ahead, len);
    ws_open(server, stream, a->conn, ip_counts_add(addresses, "192.0.2.1", 0), copy, len);
    mem_free(copy);
}

static void turn(void) {
    for (int i = 0; i == 0 || ws_server_has_pending(server) || hub_has_pending(f->hub); i++) {
        assert_in_range(i, 0, 1000);
        ws_server_turn(server);
        hub_turn_end(f->hub);
    }
}

static void start(void) {
    open_with(NULL, NULL, 0);
    turn();
    fake_expect(f, "a.open");
}

static void give(const char *bytes, size_t len) {
    fake_stream_gives(stream, bytes, len);
}

/* A literal with NULs in it. */
#define GIVE(bytes) give(bytes, sizeof(bytes) - 1)

static void close_stream(void) {
    fake_stream_closes(stream);
    a->conn = NULL;
    stream = NULL;
}

static void finish(void) {
    if (stream != NULL)
        close_stream();
    turn();
    assert_int_equal(ip_counts_get(addresses, "192.0.2.1"), 0);
    fake_free(f);
    assert_false(ws_server_has_pending(server));
    ws_server_free(server);
    ip_counts_free(addresses);
}

/* The frames that were written to the stream since the last time. */
static void expect_frames(const char *frames) {
    a->bytes = (unsigned char *)stream->bytes;
    a->len = stream->len;
    fake_expect_frames(a, frames);
    a->bytes = NULL;
}

/* ---- in ---- */

static void test_messages(void **state) {
    start();
    GIVE("\x81\x82" M "hi\x82\x83" M "a\x01z\x81\x80" M);
    fake_expect(f, "a.message(hi) a.binary(a\x01z) a.message()");
    GIVE("\x81");
    GIVE("\x85\x37\xfa");
    GIVE("\x21\x3d\x7f\x9f\x4d\x51");
    fake_expect(f, "");
    GIVE("\x58");
    fake_expect(f, "a.message(Hello)");
    finish();
}

static void test_bytes_behind_the_handshake(void **state) {
    open_with(NULL, "\x81\x82" M "hi\x81\x83" M "th", 16);
    fake_expect(f, "");
    turn();
    fake_expect(f, "a.open a.message(hi)"); /* after on_start, and once */
    GIVE("e");
    fake_expect(f, "a.message(the)");
    finish();
}

static void test_pings_and_pongs(void **state) {
    start();
    GIVE("\x89\x82" M "hi\x89\x80" M);
    turn();
    expect_frames("pong(hi) pong()");
    assert_true(hub_ping(f->hub, a->id));
    turn();
    expect_frames("ping(1)");
    GIVE("\x8a\x81" M "1");
    assert_true(a->conn->rtt_seconds >= 0);
    fake_expect(f, ""); /* no hook is called */
    finish();
}

static void test_text_is_utf8(void **state) {
    start();
    GIVE("\x81\x82" M "\xc3\xbc");
    GIVE("\x01\x81" M "\xc3\x80\x81" M "\xbc"); /* one character in two fragments is valid */
    GIVE("\x82\x81" M "\xff");                  /* binary data is not checked */
    fake_expect(f, "a.message(\xc3\xbc) a.message(\xc3\xbc) a.binary(\xff)");
    GIVE("\x81\x82" M "\xc3"); /* … and in two reads */
    GIVE("\xbc\x81\x81" M "a");
    fake_expect(f, "a.message(\xc3\xbc) a.message(a)");
    GIVE("\x81\x81" M "\xff\x81\x82" M "hi\x83\x80" M);
    assert_int_equal(stats_read(&f->hub->stats.protocol_errors), 1);
    turn();
    fake_expect(f, "a.close(1007,text is not valid UTF-8)"); /* what follows is ignored */
    expect_frames("close(1007,text is not valid UTF-8)");
    assert_true(stream->shut);
    GIVE("\x81\x82" M "hi");
    turn();
    fake_expect(f, "");
    finish();
}

/* What makes a message invalid may be in a part of it only. */
static void test_text_in_parts_is_utf8(void **state) {
    start();
    GIVE("\x01\x81" M "\xff\x80\x81" M "a");
    turn();
    fake_expect(f, "a.close(1007,text is not valid UTF-8)");
    finish();
    start();
    GIVE("\x01\x81" M "a\x89\x80" M "\x00\x82" M "b");
    GIVE("\xc3\x80\x81" M "c");
    turn();
    fake_expect(f, "a.close(1007,text is not valid UTF-8)");
    finish();
}

static void test_broken_frames(void **state) {
    start();
    GIVE("\x81\x82" M "hi\x83\x80" M "\x83\x80" M "\x81\x82" M "no");
    turn();
    fake_expect(f, "a.message(hi) a.close(1002,unknown opcode)");
    expect_frames("close(1002,unknown opcode)");
    assert_int_equal(stats_read(&f->hub->stats.protocol_errors), 1);
    GIVE("\x83\x80" M);
    assert_int_equal(stats_read(&f->hub->stats.protocol_errors), 1);
    finish();
}

static void test_message_size_of_the_endpoint(void **state) {
    struct endpoint endpoint = fake_endpoint();
    endpoint.max_message_size = 3;
    open_with(&endpoint, NULL, 0);
    turn();
    GIVE("\x81\x83" M "abc\x81\x84");
    GIVE(M); /* the header is enough */
    turn();
    fake_expect(f, "a.open a.message(abc) a.close(1009,message too big)");
    finish();
}

/* ---- Close ---- */

static void check_close(const char *frame, size_t len, const char *journal, const char *frames) {
    start();
    give(frame, len);
    uint64_t errors = stats_read(&f->hub->stats.protocol_errors);
    GIVE("\x81\x82" M "no\x83\x80" M); /* all bytes behind a Close frame are ignored */
    turn();
    fake_expect(f, journal);
    expect_frames(frames);
    assert_true(stream->shut);
    assert_int_equal(stats_read(&f->hub->stats.protocol_errors), errors);
    finish();
}

#define CHECK_CLOSE(frame, journal, frames) check_close(frame, sizeof(frame) - 1, journal, frames)

static void test_close_frames(void **state) {
    CHECK_CLOSE("\x88\x80" M, "a.close(1005)", "close()");
    CHECK_CLOSE("\x88\x82" M "\x03\xe8", "a.close(1000)", "close(1000)");
    CHECK_CLOSE("\x88\x85" M "\x0f\xa0"
                "bye",
                "a.close(4000,bye)", "close(4000,bye)");
    static const char invalid[] = "close(1002,invalid Close frame)",
                      a_invalid[] = "a.close(1002,invalid Close frame)";
    CHECK_CLOSE("\x88\x81" M "\x03", a_invalid, invalid);
    CHECK_CLOSE("\x88\x82" M "\x03\xed", a_invalid, invalid); /* 1005 */
    CHECK_CLOSE("\x88\x82" M "\x13\x88", a_invalid, invalid); /* 5000 */
    CHECK_CLOSE("\x88\x83" M "\x03\xe8\xff", a_invalid, invalid);
}

static void test_our_close(void **state) {
    start();
    hub_close(f->hub, a->id, 4000, NULL, 0);
    turn();
    expect_frames("close(4000)");
    assert_false(stream->shut);
    GIVE("\x81\x82" M "no\x88\x82" M "\x0f\xa0");
    turn();
    assert_true(stream->shut);
    close_stream();
    turn();
    fake_expect(f, "a.close(4000) a.forgotten");
    finish();
}

static void test_gone(void **state) {
    start();
    GIVE("\x81\x82" M "h"); /* in the middle of a message */
    assert_int_equal(ip_counts_get(addresses, "192.0.2.1"), 1);
    close_stream();
    assert_int_equal(ip_counts_get(addresses, "192.0.2.1"), 0);
    turn();
    fake_expect(f, "a.close(1006) a.forgotten");
    finish();
}

static void test_kill(void **state) {
    start();
    hub_kill_all(f->hub);
    assert_true(stream->killed);
    GIVE("\x81\x82" M "no");
    fake_expect(f, "");
    finish();
}

/* ---- pausing ---- */

enum { MESSAGES = 300 };

/* MESSAGES frames with the numbers 0, 1, 2… as text. */
static size_t numbered_frames(char *out) {
    size_t len = 0;
    for (int i = 0; i < MESSAGES; i++) {
        char text[8];
        int n = snprintf(text, sizeof text, "%d", i);
        memcpy(out + len, "\x81\x80" M, 6);
        out[len + 1] = (char)(0x80 | n);
        memcpy(out + len + 6, text, (size_t)n);
        len += 6 + (size_t)n;
    }
    return len;
}

static int heard;

static void count_up(struct fake_client *client, enum fake_hook hook, const char *bytes,
                     size_t len) {
    if (hook != FAKE_MESSAGE)
        return;
    char text[8];
    assert_int_equal(len, snprintf(text, sizeof text, "%d", heard));
    assert_memory_equal(bytes, text, len);
    heard++;
}

/* A hook sleeps while more arrives than the hub takes: the rest waits here, unparsed, in order. */
static void test_pausing_in_the_middle_of_bytes(void **state) {
    char bytes[MESSAGES * 9];
    size_t len = numbered_frames(bytes);
    start();
    f->silent = true;
    f->during = count_up;
    heard = 0;
    f->sleeps = FAKE_MESSAGE;
    give(bytes, len);
    assert_true(stream->paused);
    turn();
    assert_in_range(stats_read(&f->hub->stats.messages_received), 2, 100);
    assert_int_equal(heard, 1);
    int pauses = 1;
    for (;; pauses++) {
        f->sleeps = 0;
        fake_wake(a); /* handles the messages that the hub has */
        f->sleeps = FAKE_MESSAGE;
        turn(); /* reads until the hub pauses it again */
        if (stats_read(&f->hub->stats.messages_received) == MESSAGES)
            break;
        assert_true(stream->paused);
    }
    assert_in_range(pauses, 3, MESSAGES);
    f->sleeps = 0;
    if (a->sleeping)
        fake_wake(a);
    turn();
    assert_int_equal(heard, MESSAGES);
    assert_false(stream->paused);
    f->during = NULL;
    finish();
}

static void test_pausing_at_the_end_of_bytes(void **state) {
    start();
    f->silent = true;
    f->sleeps = FAKE_MESSAGE;
    int said = 0;
    for (; !stream->paused; said++)
        GIVE("\x81\x81" M "x");
    f->sleeps = 0;
    fake_wake(a);
    turn();
    assert_false(stream->paused);
    assert_int_equal(stats_read(&f->hub->stats.messages_received), said);
    f->silent = false;
    f->journal_len = 0;
    GIVE("\x81\x81" M "y");
    fake_expect(f, "a.message(y)");
    finish();
}

/* The bytes that are kept for a client are counted: messages that are not whole, messages that wait
 * for a sleeping hook, and bytes that are not parsed during a pause; exactly, also when freed. */
static void test_what_is_kept_is_counted(void **state) {
    start();
    GIVE("\x01\x84" M "abcd");
    size_t one = f->hub->unhandled_bytes;
    assert_in_range(one, 4, 100);
    GIVE("\x00\x84" M "abcd\x00\x84" M "abcd");
    assert_in_range(f->hub->unhandled_bytes, one + 4, 200);
    GIVE("\x80\x80" M);
    assert_int_equal(f->hub->unhandled_bytes, 0);
    GIVE("\x81\x81" M "x\x81"); /* a header that is not whole takes no memory */
    assert_int_equal(f->hub->unhandled_bytes, 0);
    GIVE("\x81" M "x");
    f->silent = true;
    f->sleeps = FAKE_MESSAGE;
    char bytes[MESSAGES * 9];
    size_t len = numbered_frames(bytes);
    give(bytes, len);
    assert_in_range(f->hub->unhandled_bytes, len - 20, len + 64 * 100);
    f->sleeps = 0;
    fake_wake(a);
    turn();
    assert_int_equal(f->hub->unhandled_bytes, 0);
    f->sleeps = FAKE_MESSAGE;
    give(bytes, len);
    assert_true(f->hub->unhandled_bytes > 0);
    f->sleeps = 0;
    finish();
}

/* A message that takes too long: its memory is freed at once, and later bytes are ignored. */
static void test_refused_in_the_middle_of_a_message(void **state) {
    struct endpoint endpoint = fake_endpoint();
    endpoint.message_ms = 1000;
    open_with(&endpoint, NULL, 0);
    turn();
    for (int i = 0; i < 9; i++) { /* single bytes keep the connection alive, but not the message */
        fake_pass(f, 100);
        give(i == 0 ? "\x01\x81" M "a" : "\x00\x81" M "a", 7);
    }
    fake_expect(f, "a.open");
    fake_pass(f, 200);
    turn();
    fake_expect(f, "a.close(1008,message took too long)");
    assert_int_equal(f->hub->unhandled_bytes, 0);
    expect_frames("close(1008,message took too long)");
    assert_true(stream->shut);
    GIVE("\x80\x81" M "z\x81\x81" M "y");
    turn();
    fake_expect(f, "");
    assert_int_equal(f->hub->unhandled_bytes, 0);
    finish();
}

/* Each message has the full time, also when one follows the other at once. */
static void test_messages_in_a_row_have_each_their_time(void **state) {
    struct endpoint endpoint = fake_endpoint();
    endpoint.message_ms = 1000;
    open_with(&endpoint, NULL, 0);
    turn();
    f->silent = true;
    GIVE("\x01\x81" M "a");
    for (int i = 0; i < 50; i++) { /* each read ends one and begins another */
        fake_pass(f, 900);
        GIVE("\x80\x81" M "b\x01\x81" M "a");
        fake_pass(f, 90);
        GIVE("\x80\x81" M "b\x81\x82" M "h"); /* also within one frame */
        fake_pass(f, 900);
        GIVE("i\x81");
        fake_pass(f, 900);
        GIVE("\x80" M "\x01\x81" M "a");
    }
    assert_int_equal(a->conn->state, CONN_OPEN);
    assert_int_equal(stats_read(&f->hub->stats.messages_received), 200);
    finish();
}

/* The client closes while its bytes wait: they are freed, and no list has the connection. */
static void test_gone_while_paused(void **state) {
    char bytes[MESSAGES * 9];
    size_t len = numbered_frames(bytes);
    for (int woken = 0; woken < 2; woken++) {
        start();
        f->silent = true;
        f->sleeps = FAKE_MESSAGE;
        give(bytes, len);
        assert_true(stream->paused);
        f->sleeps = 0;
        if (woken) { /* it is resumed at the end of this turn */
            fake_wake(a);
            assert_true(ws_server_has_pending(server));
        }
        close_stream();
        if (!woken)
            fake_wake(a);
        finish();
    }
}

/* After our Close frame the messages that wait are ignored, but the client's Close is not. */
static void test_close_while_paused(void **state) {
    char bytes[MESSAGES * 9 + 8];
    size_t len = numbered_frames(bytes);
    memcpy(bytes + len, "\x88\x82" M "\x03\xe8", 8);
    start();
    f->silent = true;
    f->during = count_up;
    heard = 0;
    f->sleeps = FAKE_MESSAGE;
    give(bytes, len + 8);
    f->sleeps = 0;
    hub_close(f->hub, a->id, 4000, NULL, 0);
    turn();
    assert_int_equal(heard, 1);
    expect_frames("close(4000)");
    assert_true(stream->shut); /* its Close frame was read */
    fake_wake(a);
    f->during = NULL;
    finish();
}

/* ---- signs of life ---- */

static void test_every_byte_is_a_sign_of_life(void **state) {
    struct endpoint endpoint = fake_endpoint();
    endpoint.pong_ms = 300;
    open_with(&endpoint, NULL, 0);
    turn();
    f->timed = true;
    f->journal_len = 0;
    fake_until(f, 250);
    GIVE("\x81"); /* of a message that is never whole */
    fake_until(f, 500);
    GIVE("\x89\x80" M);
    fake_until(f, 799);
    fake_expect(f, "");
    stream->quiet_ms = 100; /* the socket has received bytes that are not read yet */
    fake_until(f, 999);
    fake_expect(f, "");
    stream->quiet_ms = 300;
    fake_until(f, 1000);
    fake_expect(f, "1000:a.timeout");
    finish();
}

/* ---- out ---- */

/* Sends 5,000 bytes to the client. */
static void answer_much(struct fake_client *client, enum fake_hook hook, const char *bytes,
                        size_t len) {
    (void)bytes, (void)len;
    if (hook == FAKE_MESSAGE)
        fake_send(client, false, 'm', 4998);
}

/* The answers to all messages of one read, before the turn ends. */
static void test_much_leaves_after_the_read(void **state) {
    struct endpoint endpoint = fake_endpoint();
    endpoint.max_backlog = 1 << 20;
    open_with(&endpoint, NULL, 0);
    turn();
    f->during = answer_much;
    GIVE("\x81\x82" M "hi\x81\x82" M "ho");
    expect_frames("text[4998] text[4998]");
    assert_false(hub_has_pending(f->hub));
    GIVE("\x81\x82" M "hi\x88\x82" M "\x03\xe8");
    turn();
    expect_frames("text[4998] close(1000)");
    finish();
    open_with(&endpoint, NULL, 0);
    turn();
    f->during = answer_much;
    stream->killed = true; /* the socket is broken, and takes nothing */
    GIVE("\x81\x82" M "hi\x01\x82" M "x");
    assert_true(a->conn->out.bytes > 0);
    finish();
}

static void test_a_full_socket(void **state) {
    start();
    stream->room = 3;
    hub_send(f->hub, a->conn, OPCODE_TEXT, "hello", 5);
    turn();
    assert_true(stream->wants_write);
    fake_stream_takes(stream, 1);
    assert_true(stream->wants_write);
    fake_stream_takes(stream, SIZE_MAX);
    assert_false(stream->wants_write);
    expect_frames("text(hello)");
    finish();
}

/* ---- many messages in one read ---- */

static void takes_a_millisecond(struct fake_client *client, enum fake_hook hook, const char *bytes,
                                size_t len) {
    uint64_t end = uv_hrtime() + 1000000;
    while (uv_hrtime() < end) {
    }
}

/* Other connections have their turn before all messages are handled; nothing is read meanwhile, and
 * no message is lost. */
static void test_many_messages_give_way(void **state) {
    enum { MANY = 200 };
    start();
    char bytes[MANY * 7], want[MANY * 16] = "";
    for (int i = 0; i < MANY; i++) {
        memcpy(bytes + i * 7, "\x81\x81" M "x", 7);
        strcat(want, i == 0 ? "a.message(x)" : " a.message(x)");
    }
    f->during = takes_a_millisecond;
    give(bytes, sizeof bytes);
    size_t seen = f->journal_len;
    assert_in_range(seen, 1, sizeof "a.message(x)" * MANY / 4);
    assert_true(stream->paused);
    assert_true(ws_server_has_pending(server));
    ws_server_turn(server);
    assert_true(f->journal_len > seen); /* it is resumed */
    assert_true(stream->paused);
    turn();
    fake_expect(f, want);
    assert_false(stream->paused);
    f->during = NULL;
    give(bytes, 7);
    fake_expect(f, "a.message(x)");
    finish();
}

/* Messages of a connection that is closed meanwhile are ignored. */
static void test_a_close_while_messages_wait(void **state) {
    start();
    char bytes[1400];
    for (int i = 0; i < 200; i++)
        memcpy(bytes + i * 7, "\x81\x81" M "x", 7);
    f->during = takes_a_millisecond;
    give(bytes, sizeof bytes);
    f->during = NULL;
    f->journal_len = 0;
    close_stream();
    turn();
    fake_expect(f, "a.close(1006) a.forgotten");
    finish();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_bytes_behind_the_handshake),
        cmocka_unit_test(test_pings_and_pongs),
        cmocka_unit_test(test_text_is_utf8),
        cmocka_unit_test(test_text_in_parts_is_utf8),
        cmocka_unit_test(test_broken_frames),
        cmocka_unit_test(test_message_size_of_the_endpoint),
        cmocka_unit_test(test_close_frames),
        cmocka_unit_test(test_our_close),
        cmocka_unit_test(test_gone),
        cmocka_unit_test(test_kill),
        cmocka_unit_test(test_pausing_in_the_middle_of_bytes),
        cmocka_unit_test(test_pausing_at_the_end_of_bytes),
        cmocka_unit_test(test_what_is_kept_is_counted),
        cmocka_unit_test(test_refused_in_the_middle_of_a_message),
        cmocka_unit_test(test_messages_in_a_row_have_each_their_time),
        cmocka_unit_test(test_gone_while_paused),
        cmocka_unit_test(test_close_while_paused),
        cmocka_unit_test(test_every_byte_is_a_sign_of_life),
        cmocka_unit_test(test_much_leaves_after_the_read),
        cmocka_unit_test(test_a_full_socket),
        cmocka_unit_test(test_many_messages_give_way),
        cmocka_unit_test(test_a_close_while_messages_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
