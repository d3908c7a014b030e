/* test_mailbox.c -- mail to a worker that does not take it: its limit in bytes, and the connections
 * that are slow clients then. */
#include "core/bus/mailbox.h"

#include "fake_hub.h"
#include "publish_as.h"

enum { MAX = 64 * 1024 };

static struct bus *bus;
static struct fake *one, *two; /* two is the worker that does not take its mail */
static struct fake_client *a, *b, *c;

static const struct slice LOBBY = {"lobby", 5}, ATTIC = {"attic", 5}, EVERYONE = {NULL, 0};

static struct fake *enter(unsigned worker, enum slow_client slow_client) {
    struct endpoint endpoint = fake_endpoint();
    endpoint.json_name = mem_strdup("\"/\"");
    endpoint.slow_client = slow_client;
    endpoint.max_backlog = 100 << 20;
    struct fake *f = fake_new_worker(&endpoint, bus, worker);
    bus_enter(bus, worker, NULL, NULL, &f->hub->stats);
    return f;
}

static void start(enum slow_client slow_client) {
    bus = bus_new();
    bus_set_workers(bus, 2);
    bus_set_mail_max(bus, MAX);
    one = enter(0, slow_client);
    two = enter(1, slow_client);
    a = fake_connect(one);
    b = fake_connect(two);
    c = fake_connect(two);
}

static void finish(void) {
    fake_free(one);
    fake_free(two);
    bus_free(bus);
}

static void join(struct fake_client *client, struct slice room) {
    assert_true(hub_join(client->fake->hub, client->id, room, EVERYONE));
}

static uint32_t publish(struct slice room, size_t len) {
    char *text = mem_zalloc(len + 1);
    memset(text, 'x', len);
    struct audience audience = {room, ANY_ENDPOINT, 0, 0};
    uint32_t delivered = publish_as(one->hub, &audience, message_new(OPCODE_TEXT, text, len));
    mem_free(text);
    fake_turn(one);
    return delivered;
}

static enum send_result send_to(struct fake_client *client, size_t len) {
    char *text = mem_zalloc(len + 1);
    memset(text, 'x', len);
    enum send_result result =
        hub_send_anywhere(one->hub, client->id, 0, message_new(OPCODE_TEXT, text, len));
    mem_free(text);
    return result;
}

static void turn(struct fake *f) {
    hub_take_mail(f->hub);
    fake_turn(f);
}

/* Counts the messages that a client has got since the last time, and forgets them. */
static unsigned count_frames(struct fake_client *client) {
    unsigned count = 0;
    char text[320];
    for (size_t n; (n = fake_frame(client->bytes + client->seen, client->len - client->seen, text,
                                   sizeof text)) > 0;
         client->seen += n)
        count++;
    return count;
}

/* ---- how much waits ---- */

/* The true cost of each mail counts, however small it is, and no mailbox exceeds its limit. */
static void test_the_limit(void **state) {
    static const size_t sizes[] = {0, 1, 100, 5000, 60000, 1000000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        start(SLOW_CLIENT_DROP);
        join(b, LOBBY);
        unsigned sent = 0, cost = 0;
        for (int k = 0; k < 3000; k++) {
            sent += publish(LOBBY, sizes[i]);
            sent += send_to(c, sizes[i]) == SEND_OK;
        }
        struct mail *mail = bus_take_mail(bus, 1);
        unsigned count = 0, notes = 0;
        for (struct mail *next; mail != NULL; mail = next) {
            next = mail->next;
            size_t frame = mail->message == NULL ? 0 : mail->message->len;
            cost += (unsigned)(sizeof *mail + mail->room.len + frame);
            count += mail->message != NULL;
            notes += mail->message == NULL;
            mail_free(mail);
        }
        assert_int_equal(count, sent);
        assert_int_equal(notes, 2); /* one for the room, one for c */
        assert_in_range(sent, 1, MAX / (sizeof *mail + sizes[i]) + 1);
        assert_true(sent == 1 || cost <= MAX + 2 * (sizeof *mail + 5));
        finish();
    }
}

/* An empty mailbox takes one message of any size. */
static void test_a_large_message(void **state) {
    start(SLOW_CLIENT_CLOSE);
    join(b, LOBBY);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(publish(LOBBY, 10 * MAX), 1);
        turn(two);
        assert_int_equal(count_frames(b), 1);
    }
    assert_int_equal(b->conn->state, CONN_OPEN);
    finish();
}

/* ---- the receivers of lost messages ---- */

/* "close": with 1008, after the messages that fitted; other connections stay. */
static void test_closing(void **state) {
    start(SLOW_CLIENT_CLOSE);
    join(a, LOBBY);
    join(b, LOBBY);
    join(c, ATTIC);
    unsigned sent = 0;
    for (int i = 0; i < 1000; i++)
        sent += publish(LOBBY, 1000) - 1; /* a gets all */
    assert_in_range(sent, 50, 64);
    turn(two);
    assert_int_equal(count_frames(b), sent + 1); /* and the Close frame */
    fake_expect(two, "a.close(1008,slow worker)");
    assert_int_equal(b->conn->state, CONN_CLOSING);
    assert_int_equal(c->conn->state, CONN_OPEN);
    assert_int_equal(count_frames(a), 1000);
    assert_int_equal(publish(ATTIC, 10), 1);
    turn(two);
    fake_expect_frames(c, "text(xxxxxxxxxx)");
    finish();
}

/* "drop": they lose messages and get on_drain once, even if their sockets take everything. */
static void test_dropping(void **state) {
    start(SLOW_CLIENT_DROP);
    join(b, LOBBY);
    unsigned sent = 0;
    for (int i = 0; i < 1000; i++)
        sent += publish(LOBBY, 1000);
    turn(two);
    assert_int_equal(count_frames(b), sent);
    fake_expect(two, "a.drain");
    assert_int_equal(stats_read(&two->hub->stats.messages_dropped), 1000 - sent);
    assert_int_equal(stats_read(&two->hub->stats.slow_clients), 1);
    assert_int_equal(publish(LOBBY, 1), 1); /* there is room again */
    turn(two);
    fake_expect_frames(b, "text(x)");
    fake_expect(two, "");
    finish();
}

static void test_sending(void **state) {
    for (int drop = 0; drop < 2; drop++) {
        start(drop ? SLOW_CLIENT_DROP : SLOW_CLIENT_CLOSE);
        enum send_result result;
        unsigned sent = 0;
        while ((result = send_to(b, 1000)) == SEND_OK)
            sent++;
        assert_int_equal(result, drop ? SEND_BACKLOG : SEND_CLOSED);
        assert_in_range(sent, 50, 64);
        turn(two);
        assert_int_equal(count_frames(b), drop ? sent : sent + 1);
        fake_expect(two, drop ? "a.drain" : "a.close(1008,slow worker)");
        assert_int_equal(c->conn->state, CONN_OPEN);
        finish();
    }
}

/* Only the receiver's worker has activated the new code, which has this endpoint. */
static void test_sending_to_a_new_endpoint(void **state) {
    start(SLOW_CLIENT_DROP);
    struct endpoint endpoint = fake_endpoint();
    endpoint.json_name = mem_strdup("\"/new\"");
    uint32_t number = hub_add_endpoint(two->hub, &endpoint);
    assert_null(hub_endpoint(one->hub, number));
    struct fake_client *d = fake_admit(two);
    assert_true(hub_assign(two->hub, d->conn, number));
    hub_open(two->hub, d->conn, d);
    while (send_to(c, 1000) == SEND_OK) {
    }
    assert_int_equal(send_to(d, 1000), SEND_BACKLOG);
    finish();
}

/* To all connections, and to those of one endpoint. */
static void test_everyone(void **state) {
    start(SLOW_CLIENT_CLOSE);
    while (publish(EVERYONE, 1000) > 1) {
    }
    turn(two);
    fake_expect(two, "a.close(1008,slow worker) b.close(1008,slow worker)");
    finish();
}

/* Who has left before the worker goes on has lost nothing. */
static void test_leaving(void **state) {
    start(SLOW_CLIENT_CLOSE);
    join(b, LOBBY);
    while (publish(LOBBY, 1000) > 0) {
    }
    fake_gone(b);
    turn(two);
    fake_expect(two, "a.close(1006) a.forgotten");
    finish();
}

/* However many rooms there are, a note is made once for each. */
static void test_notes(void **state) {
    start(SLOW_CLIENT_DROP);
    enum { ROOMS = 500 };
    char names[ROOMS][16];
    for (int i = 0; i < ROOMS; i++) {
        snprintf(names[i], sizeof names[i], "r%d", i);
        join(b, slice_of(names[i]));
    }
    while (send_to(b, 500) == SEND_OK) {
    }
    for (int k = 0; k < 20; k++)
        for (int i = 0; i < ROOMS; i++)
            publish(slice_of(names[i]), 100);
    unsigned notes = 0, lost = 0;
    struct mail *mail = bus_take_mail(bus, 1);
    for (struct mail *next; mail != NULL; mail = next) {
        next = mail->next;
        notes += mail->lost > 0;
        lost += mail->lost;
        mail_free(mail);
    }
    assert_in_range(notes, ROOMS, ROOMS + 1);
    assert_in_range(lost, 20 * ROOMS - 5, 20 * ROOMS + 1);
    finish();
}

/* Joins and leaves are reported until twice the limit waits. */
static void test_watching(void **state) {
    start(SLOW_CLIENT_DROP);
    hub_watch(two->hub, LOBBY, true);
    while (send_to(b, 500) == SEND_OK) {
    }
    struct slice info = slice_of("\"somebody who says much of himself in many words\"");
    for (int i = 0; i < 10000; i++) {
        hub_join(one->hub, a->id, LOBBY, info);
        hub_leave(one->hub, a->id, LOBBY);
    }
    size_t cost = 0;
    unsigned moves = 0;
    struct mail *mail = bus_take_mail(bus, 1);
    for (struct mail *next; mail != NULL; mail = next) {
        next = mail->next;
        cost += sizeof *mail + mail->room.len;
        cost += mail->message == NULL ? 0 : mail->message->len;
        moves += mail->kind == MAIL_PRESENCE_CHANGED;
        mail_free(mail);
    }
    assert_in_range(moves, 300, 1000);
    assert_in_range(cost, MAX, 2 * MAX + 1000);
    finish();
}

static struct mail *mail_with(struct message *message) {
    struct mail *mail = mail_new(MAIL_PUBLISH, EVERYONE);
    mail_set_message(mail, message);
    return mail;
}

/* A message counts once as memory of queues, or not at all while it is in mailboxes, however many
 * have it. */
static void test_memory_of_queues(void **state) {
    _Atomic uint64_t bytes = 0;
    struct queue_memory memory = {.bytes = &bytes, .quota = INT64_MAX};
    queue_memory_begin(&memory);
    struct message *message = message_new(OPCODE_TEXT, "hello", 5);
    size_t size = message_memory(message);
    assert_int_equal(bytes, size);
    struct mail *mails[3];
    for (int i = 0; i < 3; i++) {
        mails[i] = mail_with(message);
        assert_int_equal(bytes, 0);
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(bytes, 0);
        mail_free(mails[i]);
    }
    assert_int_equal(bytes, size);
    mail_free(mail_with(message));
    assert_int_equal(bytes, size);
    message_unref(message);
    assert_int_equal(bytes, 0);
    queue_memory_begin(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_limit),        cmocka_unit_test(test_a_large_message),
        cmocka_unit_test(test_closing),          cmocka_unit_test(test_dropping),
        cmocka_unit_test(test_sending),          cmocka_unit_test(test_sending_to_a_new_endpoint),
        cmocka_unit_test(test_everyone),         cmocka_unit_test(test_leaving),
        cmocka_unit_test(test_memory_of_queues), cmocka_unit_test(test_notes),
        cmocka_unit_test(test_watching),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
