/* test_node.c -- machines of a cluster, on a server that a test cuts off, restarts and fills:
 * what is published, to whom it comes, once and in order, and what is counted when it does not
 * come. */
#include "cluster/node/node_parts.h"
#include "fake_redis.h"

#define NUMBER "0000000000001"

static int setup(void **state) {
    (void)state;
    fake_now_ms = 1000;
    fake_run = 1;
    for (int i = 0; i < FAKE_MACHINES; i++) {
        fake_start(i, 64 * 1024 * 1024);
        fake_up(&machines[i], false);
    }
    fake_settle();
    return 0;
}

static int teardown(void **state) {
    (void)state;
    for (int i = 0; i < FAKE_MACHINES; i++)
        fake_end(i);
    return 0;
}

static struct node_figures figures(int i) {
    struct node_figures out;
    node_figures(machines[i].node, &out);
    return out;
}

/* ---- publishing ---- */

static void test_rooms(void **state) {
    (void)state;
    fake_member(1, LINK_JOINED, "lobby", NUMBER);
    fake_member(0, LINK_JOINED, "lobby", NUMBER);
    fake_settle();
    fake_broadcast(0, "lobby", "one");
    fake_broadcast(0, "attic", "nobody is there");
    fake_broadcast(0, "lobby", "two");
    fake_settle();
    fake_expect(0, "");
    fake_expect(1, "lobby:one lobby:two ");
    fake_expect(2, "");
    assert_int_equal(figures(0).published, 3);
    assert_int_equal(figures(0).queue_bytes, 0);
    assert_int_equal(figures(1).received, 2);
    assert_int_equal(figures(1).rooms_live, 1);
}

static void test_options(void **state) {
    (void)state;
    struct link_item item = {.endpoint = 2};
    snprintf(item.id, sizeof item.id, "machine0001%s", NUMBER);
    fake_publish_item(0, item, "all");
    item.endpoint = ANY_ENDPOINT;
    item.id[0] = '\0';
    fake_publish_item(0, item, "again");
    fake_settle();
    fake_expect(1, ":all/2!machine0001" NUMBER " :again ");
    fake_expect(2, ":all/2!machine0001" NUMBER " :again ");
}

static void test_encodings(void **state) {
    (void)state;
    fake_member(1, LINK_JOINED, "r", NUMBER);
    fake_settle();
    struct message *text = message_new_keyed(OPCODE_TEXT, "t", 1, slice_of("key"));
    struct encoding encodings[] = {
        {CODEC_TEXT, NULL}, {CODEC_JSON, text}, {CODEC_CUSTOM + 1, text}};
    struct link_item item = {.kind = LINK_PUBLISH,
                             .room = slice_of("r"),
                             .endpoint = ANY_ENDPOINT,
                             .encodings = encodings,
                             .encoding_count = 3};
    node_take(machines[0].node, &item);
    item.encoding_count = 1; /* no codec can encode it */
    node_take(machines[0].node, &item);
    fake_settle();
    fake_expect(1, "r:t ");
    assert_int_equal(figures(0).published, 1);
    message_unref(text);
}

/* ---- outages ---- */

static void publish_many(int i, const char *room, int from, int to) {
    for (; from <= to; from++) {
        char text[16];
        snprintf(text, sizeof text, "%d", from);
        fake_broadcast(i, room, text);
    }
}

static void test_cut_after_execution(void **state) {
    (void)state;
    fake_member(1, LINK_JOINED, "r", NUMBER);
    fake_settle();
    publish_many(0, "r", 1, 5);
    fake_turn(&machines[0]);
    fake_execute(&machines[0], 1, true);
    fake_execute(&machines[0], 2, false); /* executed, and the answers are lost */
    fake_cut(&machines[0]);
    publish_many(0, "r", 6, 7);
    fake_turn(&machines[0]);
    fake_expect(1, "r:1 r:2 r:3 ");
    assert_int_equal(figures(0).queue_messages, 6);
    fake_up(&machines[0], true);
    fake_settle();
    fake_expect(1, "r:4 r:5 r:6 r:7 ");
    assert_int_equal(figures(0).resent, 4);
    assert_int_equal(figures(0).outages, 1);
    assert_int_equal(figures(1).duplicates, 2);
    assert_int_equal(figures(1).lost, 0);
}

/* The connection that was lost may be executed late, between what is sent again. */
static void test_two_connections_interleave(void **state) {
    (void)state;
    fake_member(1, LINK_JOINED, "r", NUMBER);
    fake_settle();
    publish_many(0, "r", 1, 3);
    fake_turn(&machines[0]);
    struct slice old[3];
    char *copies[3], channel[32];
    snprintf(channel, sizeof channel, "%s", machines[0].queue[0].args[1]);
    for (int i = 0; i < 3; i++) {
        const struct fake_command *command = &machines[0].queue[i];
        copies[i] = mem_strndup(command->args[2], command->lens[2]);
        old[i] = (struct slice){copies[i], command->lens[2]};
    }
    fake_cut(&machines[0]);
    fake_up(&machines[0], true);
    fake_turn(&machines[0]);
    fake_publish(channel, strlen(channel), old[0]);
    fake_execute(&machines[0], 2, true);
    fake_publish(channel, strlen(channel), old[1]);
    fake_publish(channel, strlen(channel), old[2]);
    fake_settle();
    fake_expect(1, "r:1 r:2 r:3 ");
    for (int i = 0; i < 3; i++)
        mem_free(copies[i]);
}

/* A server keeps nothing for machines that have not subscribed: what is published waits for them.
 */
static void test_waits_for_others(void **state) {
    (void)state;
    fake_member(1, LINK_JOINED, "r", NUMBER);
    fake_member(2, LINK_JOINED, "r", NUMBER);
    fake_settle();
    for (int i = 0; i < FAKE_MACHINES; i++)
        fake_cut(&machines[i]);
    fake_run++;
    publish_many(0, "r", 1, 2);
    fake_up(&machines[0], false);
    fake_settle();
    fake_up(&machines[1], false);
    fake_settle();
    fake_pass(5000);
    fake_settle();
    fake_expect(1, "");
    fake_up(&machines[2], false);
    fake_pass(50);
    fake_settle();
    fake_expect(1, "r:1 r:2 ");
    char *text = buffer_take_text(&machines[2].log);
    assert_string_equal(text, "r:1 r:2 ");
    mem_free(text);

    /* not for ever */
    for (int i = 0; i < FAKE_MACHINES; i++)
        fake_cut(&machines[i]);
    publish_many(0, "r", 3, 3);
    fake_up(&machines[0], true);
    fake_up(&machines[1], true);
    fake_settle();
    fake_pass(5999);
    fake_settle();
    fake_expect(1, "");
    fake_pass(1);
    fake_settle();
    fake_expect(1, "r:3 ");
}

static void test_hole(void **state) {
    (void)state;
    fake_member(1, LINK_JOINED, "r", NUMBER);
    fake_member(1, LINK_JOINED, "q", NUMBER);
    fake_settle();
    publish_many(0, "r", 1, 2);
    fake_settle();
    fake_cut(&machines[1]);
    publish_many(0, "r", 3, 5);
    fake_settle();
    fake_up(&machines[1], true);
    publish_many(0, "q", 6, 6); /* of another room: no hole */
    publish_many(0, "r", 7, 7);
    fake_settle();
    fake_expect(1, "r:1 r:2 q:6 r:7 ");
    assert_int_equal(figures(1).lost, 3);
}

/* And no later message shows the hole: this machine asks. */
static void test_missed(void **state) {
    (void)state;
    fake_member(1, LINK_JOINED, "r", NUMBER);
    fake_member(1, LINK_JOINED, "q", NUMBER);
    fake_settle();
    publish_many(0, "r", 1, 2);
    publish_many(0, "q", 1, 1);
    publish_many(2, "r", 11, 11);
    fake_settle();
    fake_expect(1, "r:1 r:2 q:1 r:11 ");
    fake_pass(10);
    fake_cut(&machines[1]);
    publish_many(0, "r", 3, 5);
    publish_many(0, "unknown there", 1, 9);
    struct link_item all = {.endpoint = ANY_ENDPOINT};
    fake_publish_item(0, all, "all");
    fake_settle();
    fake_up(&machines[1], true);
    publish_many(2, "r", 12, 12);
    fake_settle();
    assert_int_equal(figures(1).lost, 0);
    fake_pass(1000);
    fake_settle();
    fake_pass(1000);
    fake_settle();
    assert_int_equal(figures(1).lost, 4); /* with the one for all, the first of this machine */
    publish_many(0, "r", 6, 6);           /* which are not counted twice */
    fake_settle();
    fake_expect(1, "r:12 r:6 ");
    assert_int_equal(figures(1).lost, 4);
    assert_int_equal(figures(0).lost + figures(2).lost, 0);
}

/* A machine that does not answer delays nothing, and a second outage takes nothing away. */
static void test_missed_twice(void **state) {
    (void)state;
    fake_member(1, LINK_JOINED, "r", NUMBER);
    fake_settle();
    publish_many(0, "r", 1, 1);
    publish_many(2, "r", 2, 2);
    fake_settle();
    fake_end(2);
    char other[16] = "0"; /* a room in the same partition, whose messages have the same numbers */
    for (int i = 1; partitions_of(slice_of(other)) != partitions_of(slice_of("r")); i++)
        snprintf(other, sizeof other, "%d", i);
    fake_member(1, LINK_JOINED, other, NUMBER);
    fake_settle();
    fake_pass(10);
    fake_cut(&machines[1]);
    publish_many(0, "r", 3, 3);
    fake_settle();
    fake_up(&machines[1], true);
    publish_many(0, other, 9, 9);
    fake_settle();
    fake_cut(&machines[1]);
    fake_settle();
    fake_up(&machines[1], true);
    for (int i = 0; i < 10; i++) {
        fake_settle();
        fake_pass(1000);
    }
    char *got = buffer_take_text(&machines[1].log);
    assert_non_null(strstr(got, ":9 "));
    mem_free(got);
    assert_int_equal(figures(1).lost, 1);
}

/* A machine of which nothing has come before: neither its first messages nor those before the first
 * that comes are forgotten. Those from before this machine had subscribed are not missing. */
static void test_missed_from_the_beginning(void **state) {
    (void)state;
    publish_many(0, "r", 1, 7);
    publish_many(2, "r", 1, 7);
    fake_settle();
    fake_pass(10);
    fake_member(1, LINK_JOINED, "r", NUMBER);
    fake_settle();
    fake_pass(10);
    fake_cut(&machines[1]);
    publish_many(0, "r", 8, 9);
    publish_many(2, "r", 8, 10);
    fake_settle();
    fake_up(&machines[1], true);
    publish_many(2, "r", 11, 11);
    for (int i = 0; i < 5; i++) {
        fake_settle();
        fake_pass(1000);
    }
    fake_expect(1, "r:11 ");
    assert_int_equal(figures(1).lost, 2 + 3);
}

static void test_full_queue(void **state) {
    (void)state;
    fake_end(0);
    fake_start(0, 1500);
    fake_member(1, LINK_JOINED, "r", NUMBER);
    fake_settle();
    publish_many(0, "r", 1, 20);
    fake_turn(&machines[0]);
    struct node_figures now = figures(0);
    assert_true(now.queue_bytes <= 1500 && now.dropped > 5 && now.dropped < 15);
    fake_up(&machines[0], false);
    fake_settle();
    char expected[400] = "";
    for (int i = (int)now.dropped + 1; i <= 20; i++)
        snprintf(expected + strlen(expected), 20, "r:%d ", i);
    fake_expect(1, expected);
}

/* What is under way may have arrived, and is not dropped. */
static void test_full_queue_under_way(void **state) {
    (void)state;
    fake_end(0);
    fake_start(0, 600);
    fake_member(1, LINK_JOINED, "r", NUMBER);
    fake_up(&machines[0], false);
    fake_settle();
    publish_many(0, "r", 1, 3);
    fake_turn(&machines[0]);
    publish_many(0, "r", 4, 8);
    fake_settle();
    uint64_t dropped = figures(0).dropped;
    assert_true(dropped > 0 && dropped < 5);
    char *text = buffer_take_text(&machines[1].log);
    assert_memory_equal(text, "r:1 r:2 r:3 ", 12);
    mem_free(text);
}

/* A channel that is still needed keeps no others, however many come behind it. */
static void test_channels_are_forgotten(void **state) {
    (void)state;
    char name[16];
    fake_end(0);
    fake_start(0, 1500);
    fake_up(&machines[0], false);
    fake_broadcast(0, "first", "confirmed");
    fake_settle();
    fake_cut(&machines[0]);
    for (int i = 0; i < 70000; i++) {
        snprintf(name, sizeof name, "r%d", i);
        fake_broadcast(0, name, "-");
    }
    unsigned known = 0;
    for (int i = 0; i < 70000; i++) {
        snprintf(name, sizeof name, "r%d", i);
        struct slice channel =
            node_key(machines[0].node, partitions_of(slice_of(name)), "c", slice_of(name));
        known += outgoing_sequence(machines[0].node, channel) > 0;
    }
    assert_true(known <= 65536);
}

static void test_refused(void **state) {
    (void)state;
    fake_member(1, LINK_JOINED, "r", NUMBER);
    fake_settle();
    publish_many(0, "r", 1, 1);
    fake_turn(&machines[0]);
    char loading[] = "LOADING Redis is loading", noperm[] = "NOPERM no";
    redisReply later = {.type = REDIS_REPLY_ERROR, .str = loading, .len = 24};
    struct fake_command command = machines[0].queue[0];
    machines[0].count = 0;
    fake_answer(&machines[0], &command, &later);
    fake_turn(&machines[0]);
    assert_int_equal(machines[0].count, 0); /* not at once */
    assert_in_range(node_next_ms(machines[0].node), fake_now_ms + 1, fake_now_ms + 1000);
    fake_pass(300);
    fake_settle();
    fake_expect(1, "r:1 ");

    publish_many(0, "r", 2, 2);
    fake_turn(&machines[0]);
    redisReply never = {.type = REDIS_REPLY_ERROR, .str = noperm, .len = 9};
    command = machines[0].queue[0];
    machines[0].count = 0;
    fake_answer(&machines[0], &command, &never);
    assert_int_equal(figures(0).dropped, 1);
    publish_many(0, "r", 3, 3);
    fake_settle();
    fake_expect(1, "r:3 ");
    assert_int_equal(figures(1).lost, 1);

    /* nothing is sent twice at the same time; what a later one has passed is counted */
    publish_many(0, "r", 4, 5);
    fake_turn(&machines[0]);
    command = machines[0].queue[0];
    machines[0].count--;
    machines[0].queue[0] = machines[0].queue[1];
    fake_answer(&machines[0], &command, &later);
    fake_pass(300);
    fake_turn(&machines[0]);
    assert_int_equal(machines[0].count, 1);
    fake_settle();
    fake_expect(1, "r:5 ");
    assert_int_equal(figures(1).lost, 2);
    assert_int_equal(figures(0).queue_messages, 0);
}

/* ---- rooms ---- */

static void sync_room(int i, const char *room, uint64_t number) {
    struct link_item item = {.kind = LINK_REQUEST,
                             .request = LINK_ROOM_SYNC,
                             .token = {0, number},
                             .body = slice_of(room)};
    node_take(machines[i].node, &item);
}

static void test_sync(void **state) {
    (void)state;
    sync_room(0, "r", 1);
    fake_expect(0, "");
    fake_settle();
    fake_expect(0, "#1=0 ");
    sync_room(0, "r", 2);
    fake_expect(0, "#2=0 ");
    sync_room(0, "", 3);
    fake_expect(0, "#3=3the room has no name ");

    sync_room(0, "other", 4);
    fake_cut(&machines[0]);
    fake_expect(0, "#4=1 ");
    sync_room(0, "r", 5);
    fake_expect(0, "#5=1 ");
    fake_up(&machines[0], true);
    fake_settle();
    sync_room(0, "r", 6);
    fake_expect(0, "#6=0 ");

    sync_room(0, "slow", 7); /* and the server does not confirm it */
    fake_pass(4999);
    fake_turn(&machines[0]);
    fake_expect(0, "");
    fake_pass(1);
    fake_turn(&machines[0]);
    fake_expect(0, "#7=2 ");
}

static bool is_subscribed(int i, const char *room) {
    char channel[64];
    snprintf(channel, sizeof channel, "tw:{%u}:c:%s", partitions_of(slice_of(room)), room);
    return fake_channel(&machines[i], channel, strlen(channel)) != NULL;
}

static void test_lingers(void **state) {
    (void)state;
    fake_member(0, LINK_JOINED, "r", NUMBER);
    fake_member(0, LINK_JOINED, "r", "0000000000002");
    fake_settle();
    assert_true(is_subscribed(0, "r"));
    fake_member(0, LINK_LEFT, "r", NUMBER);
    fake_pass(20000);
    fake_settle();
    assert_true(is_subscribed(0, "r"));
    fake_member(0, LINK_LEFT, "r", "0000000000002");
    fake_pass(9000);
    fake_settle();
    fake_member(0, LINK_JOINED, "r", NUMBER);
    fake_pass(2000);
    fake_settle();
    assert_true(is_subscribed(0, "r"));
    fake_member(0, LINK_LEFT, "r", NUMBER);
    fake_pass(10000);
    fake_settle();
    assert_false(is_subscribed(0, "r"));
    assert_int_equal(figures(0).rooms, 0);

    struct link_item watch = {.kind = LINK_WATCH, .room = slice_of("w"), .on = true};
    node_take(machines[0].node, &watch);
    fake_settle();
    fake_broadcast(1, "w", "seen");
    fake_settle();
    fake_expect(0, "w:seen ");
    watch.on = false;
    node_take(machines[0].node, &watch);
    node_take(machines[0].node, &watch);
    fake_pass(10000);
    fake_settle();
    assert_false(is_subscribed(0, "w"));
}

/* ---- single connections ---- */

static void test_direct(void **state) {
    (void)state;
    struct link_item send = {.kind = LINK_SEND};
    snprintf(send.id, sizeof send.id, "machine0001%s", NUMBER);
    fake_publish_item(0, send, "hello");
    struct link_item end = {.kind = LINK_CLOSE, .code = 4001, .body = slice_of("out")};
    memcpy(end.id, send.id, sizeof end.id);
    node_take(machines[0].node, &end);
    memcpy(send.id, "machine0000", 11); /* its own: none of this machine's business here */
    fake_publish_item(0, send, "myself");
    send.id[0] = '\0';
    fake_publish_item(0, send, "nobody");
    fake_settle();
    fake_expect(1, NUMBER "<hello " NUMBER "<4001 out ");
    fake_expect(0, "");
    fake_expect(2, "");
}

/* ---- questions ---- */

static void note_answer(struct node *node, void *context, enum link_status status,
                        struct slice body) {
    (void)node;
    buffer_printf(&machines[0].log, "%s=%d:%.*s ", (const char *)context, (int)status,
                  (int)body.len, body.len == 0 ? "" : body.bytes);
}

static void ask(const char *machine, const char *context) {
    direct_ask(machines[0].node, slice_of(machine), (enum question_kind)99, slice_of("body"), 2000,
               note_answer, (void *)(uintptr_t)context);
}

/* A question that is asked again as soon as it has failed. */
static void ask_again(struct node *node, void *context, enum link_status status,
                      struct slice body) {
    (void)body;
    unsigned *count = context;
    if (++*count < 1000 && status == LINK_UNREACHABLE)
        direct_ask(node, slice_of("machine0001"), (enum question_kind)99, slice_of(""), 2000,
                   ask_again, context);
}

static void test_turns_end(void **state) {
    (void)state;
    static unsigned count;
    count = 0;
    fake_cut(&machines[0]);
    ask_again(machines[0].node, &count, LINK_UNREACHABLE, slice_of(""));
    fake_turn(&machines[0]);
    assert_int_equal(count, 2);
    assert_int_equal(node_next_ms(machines[0].node), fake_now_ms + 1);
    count = 1000;
}

static void test_questions(void **state) {
    (void)state;
    ask("machine0001", "one");
    ask("machine0009", "nobody");
    fake_expect(0, "");
    fake_settle();
    fake_expect(0, "one=3:unknown kind of question ");
    fake_pass(1999);
    fake_settle();
    fake_expect(0, "");
    fake_pass(1);
    fake_settle();
    fake_expect(0, "nobody=2: ");

    ask("machine0009", "third"); /* which another machine answers, and then its own */
    fake_settle();
    static char forged[] = "\1\7machine0002\11\11\3\0x";
    static char late[] = "\1\7machine0009\1\1\3\0y", again[] = "\1\7machine0009\2\2\3\0z";
    const char *own = "tw:to:machine0000";
    fake_publish(own, strlen(own), (struct slice){forged, sizeof forged - 1});
    fake_expect(0, "");
    fake_publish(own, strlen(own), (struct slice){late, sizeof late - 1});
    fake_publish(own, strlen(own), (struct slice){again, sizeof again - 1});
    fake_expect(0, "third=0:y ");

    fake_cut(&machines[0]);
    ask("machine0001", "down");
    fake_expect(0, "");
    fake_turn(&machines[0]);
    fake_expect(0, "down=1: ");
    ask("machine0009", "end");
    node_free(machines[0].node);
    machines[0].node = NULL;
    fake_expect(0, "end=1: ");
}

/* ---- the end ---- */

static void note_left(void *user) {
    *(bool *)user = true;
}

static void test_leave(void **state) {
    (void)state;
    bool has_left = false;
    fake_member(1, LINK_JOINED, "r", NUMBER);
    fake_settle();
    publish_many(0, "r", 1, 2);
    node_leave(machines[0].node, note_left, &has_left);
    fake_turn(&machines[0]);
    assert_false(has_left);
    fake_settle();
    assert_true(has_left);
    fake_expect(1, "r:1 r:2 ");

    has_left = false; /* once more, for what was published since */
    publish_many(0, "r", 3, 3);
    node_leave(machines[0].node, note_left, &has_left);
    fake_turn(&machines[0]);
    assert_false(has_left);
    fake_settle();
    assert_true(has_left);
    fake_expect(1, "r:3 ");

    has_left = false; /* a server that does not answer */
    node_leave(machines[2].node, note_left, &has_left);
    fake_turn(&machines[2]);
    fake_pass(1999);
    fake_turn(&machines[2]);
    assert_false(has_left);
    fake_pass(1);
    fake_turn(&machines[2]);
    assert_true(has_left);

    has_left = false; /* no server */
    fake_cut(&machines[1]);
    node_leave(machines[1].node, note_left, &has_left);
    fake_turn(&machines[1]);
    assert_true(has_left);
}

/* ---- bytes of others ---- */

static void test_damaged(void **state) {
    (void)state;
    fake_member(1, LINK_JOINED, "r", NUMBER);
    fake_settle();
    char channel[64];
    snprintf(channel, sizeof channel, "tw:{%u}:c:r", partitions_of(slice_of("r")));
    static const char good[] = "\1\1otherplace1\1\1"
                               "\0\0\0\1\0\1\2hi";
    for (size_t len = 0; len < sizeof good - 1; len++)
        fake_publish(channel, strlen(channel), (struct slice){good, len});
    assert_int_equal(figures(1).received, 0);
    char copy[sizeof good];
    memcpy(copy, good, sizeof good);
    copy[0] = 2; /* a later version */
    fake_publish(channel, strlen(channel), (struct slice){copy, sizeof good - 1});
    memcpy(copy, good, sizeof good);
    copy[13] = 2, copy[22] = (char)0xff; /* not UTF-8 */
    fake_publish(channel, strlen(channel), (struct slice){copy, sizeof good - 1});
    assert_int_equal(figures(1).received, 0);
    copy[13] = 3, copy[22] = 'o';
    fake_publish(channel, strlen(channel), (struct slice){copy, sizeof good - 1});
    fake_expect(1, "r:oi ");
    fake_publish("tw:{1}:c:unknown", 16, (struct slice){good, sizeof good - 1});
    assert_true(figures(1).damaged > 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rooms, setup, teardown),
        cmocka_unit_test_setup_teardown(test_options, setup, teardown),
        cmocka_unit_test_setup_teardown(test_encodings, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cut_after_execution, setup, teardown),
        cmocka_unit_test_setup_teardown(test_two_connections_interleave, setup, teardown),
        cmocka_unit_test_setup_teardown(test_waits_for_others, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hole, setup, teardown),
        cmocka_unit_test_setup_teardown(test_missed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_missed_twice, setup, teardown),
        cmocka_unit_test_setup_teardown(test_missed_from_the_beginning, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_queue, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_queue_under_way, setup, teardown),
        cmocka_unit_test_setup_teardown(test_channels_are_forgotten, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sync, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lingers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_direct, setup, teardown),
        cmocka_unit_test_setup_teardown(test_questions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_turns_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_leave, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
