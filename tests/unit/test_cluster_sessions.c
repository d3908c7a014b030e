/* test_cluster_sessions.c -- sessions that move from machine to machine: what the nodes ask, and
 * which messages of its rooms the session gets. The workers are the test. */
#include "fake_redis.h"

#include "cluster/node/node_parts.h"

static const char secret[] = "ada-and-twenty-more-characters";
#define NUMBER "0000000000007"

/* ---- the keys of sessions, and the workers' steps ---- */

static char owner[CONN_ID_NODE_LEN + 1]; /* of the only session */

static void call(void *user, unsigned server, enum redis_script script, struct slice key,
                 unsigned argc, const struct slice *argv, redis_reply_fn *on_reply, void *context) {
    if (script != REDIS_SCRIPT_SESSION) {
        fake_call(user, server, script, key, argc, argv, on_reply, context);
        return;
    }
    assert_int_equal(argc, 4);
    const struct slice command[] = {{"SESSION", 7}, key, argv[0], argv[1]};
    fake_command(user, server, 4, command, on_reply, context);
}

static void on_step(void *user, const char *id, enum session_step step) {
    struct fake_machine *m = user;
    static const char *const names[] = {"rest", "keep", "give", "taken", "lost"};
    buffer_printf(&m->log, "%s:%s ", id + CONN_ID_NODE_LEN, names[step]);
}

/* With all bytes of the body. */
static void on_answer(void *user, struct link_token token, enum link_status status,
                      struct slice body) {
    struct fake_machine *m = user;
    buffer_printf(&m->log, "#%d=%d", (int)token.number, (int)status);
    buffer_add(&m->log, body.bytes, body.len);
    buffer_add(&m->log, " ", 1);
}

/* Executes what the machine has queued. */
static void execute(struct fake_machine *m) {
    while (m->count > 0) {
        struct fake_command *command = &m->queue[0];
        if (command->argc != 4 || strcmp(command->args[0], "SESSION") != 0) {
            fake_execute(m, 1, true);
            continue;
        }
        char before[sizeof owner];
        memcpy(before, owner, sizeof before);
        redisReply reply = {.type = REDIS_REPLY_STRING, .str = before, .len = strlen(before)};
        bool claims = strcmp(command->args[2], "find") == 0 && owner[0] == '\0';
        if (claims || strcmp(command->args[2], "begin") == 0)
            snprintf(owner, sizeof owner, "%s", command->args[3]);
        else if (strcmp(command->args[2], "end") == 0 && strcmp(owner, command->args[3]) == 0)
            owner[0] = '\0';
        struct fake_command first = *command;
        m->count--;
        memmove(m->queue, m->queue + 1, m->count * sizeof *m->queue);
        fake_answer(m, &first, &reply);
    }
}

static void settle(void) {
    for (int round = 0; round < 20; round++)
        for (int i = 0; i < FAKE_MACHINES; i++) {
            struct fake_machine *m = &machines[i];
            if (!m->is_up)
                continue;
            fake_confirm(m);
            fake_turn(m);
            execute(m);
        }
}

static int setup(void **state) {
    (void)state;
    (void)fake_settle; /* it knows no keys of sessions */
    fake_now_ms = 1000;
    fake_run = 1;
    owner[0] = '\0';
    for (int i = 0; i < FAKE_MACHINES; i++) {
        struct fake_machine *m = &machines[i];
        fake_start(i, 64 * 1024 * 1024);
        m->node->redis.call = call;
        m->node->bus.session = on_step;
        m->node->bus.answer = on_answer;
        fake_up(m, false);
    }
    settle();
    return 0;
}

static int teardown(void **state) {
    (void)state;
    for (int i = 0; i < FAKE_MACHINES; i++)
        fake_end(i);
    return 0;
}

/* ---- what a worker says ---- */

static void news(int i, enum session_step step, struct slice body) {
    struct link_item item = {
        .kind = LINK_SESSION_NEWS, .step = step, .body = body, .posts = machines[i].node->posts};
    snprintf(item.id, sizeof item.id, "machine0000%s", NUMBER);
    node_take(machines[i].node, &item);
}

static void say(int i, enum session_step step) {
    news(i, step, (struct slice){NULL, 0});
}

static void say_secret(int i, enum session_step step) {
    news(i, step, slice_of(secret));
}

static void say_rested(int i, const char *room) {
    struct buffer names = {0};
    struct buffer_sink sink = buffer_sink_of(&names);
    pack_text(&sink.sink, room, strlen(room));
    news(i, SESSION_RESTED, (struct slice){buffer_start(&names), names.len});
    buffer_free(&names);
}

/* Its bytes: a text that begins with the text of the id, and then anything. */
static void say_given(int i) {
    char id[CONN_ID_LEN + 1];
    struct buffer session = {0}, whole = {0};
    struct buffer_sink one = buffer_sink_of(&session), out = buffer_sink_of(&whole);
    snprintf(id, sizeof id, "machine0000%s", NUMBER);
    pack_text(&one.sink, id, CONN_ID_LEN);
    pack_text(&out.sink, buffer_start(&session), session.len);
    news(i, SESSION_GIVEN, (struct slice){buffer_start(&whole), whole.len});
    buffer_free(&session);
    buffer_free(&whole);
}

static void ask(int i, char operation, uint64_t number) {
    char body[64];
    snprintf(body, sizeof body, "%c%s", operation, secret);
    struct link_item item = {.kind = LINK_REQUEST,
                             .request = LINK_SESSION,
                             .token = {0, number},
                             .body = slice_of(body)};
    node_take(machines[i].node, &item);
}

static void member(int i, enum link_item_kind kind, const char *room) {
    struct link_item item = {
        .kind = kind, .room = slice_of(room), .posts = machines[i].node->posts};
    snprintf(item.id, sizeof item.id, "machine0000%s", NUMBER);
    item.member.endpoint_name = slice_of("\"/\"");
    node_take(machines[i].node, &item);
}

/* Does the log have this? Empties it. */
static bool has(int i, const char *text) {
    struct buffer *log = &machines[i].log;
    bool found = log->len > 0 && memmem(buffer_start(log), log->len, text, strlen(text)) != NULL;
    buffer_drop(log, log->len);
    return found;
}

/* A session on machine 0, in a room, which has got what came before. */
static void begin(void) {
    say_secret(0, SESSION_BEGAN);
    member(0, LINK_JOINED, "lobby");
    fake_member(2, LINK_JOINED, "lobby", "0000000000001");
    settle();
    assert_string_equal(owner, "machine0000");
    fake_broadcast(2, "lobby", "before");
    settle();
    assert_true(has(0, "lobby:before"));
    has(2, "");
}

/* Commands of the session's script, which are not executed. */
static redis_reply_fn *kept_reply;
static void *kept_contexts[4096];
static size_t kept_count;

static void keep_command(void *user, unsigned server, enum redis_script script, struct slice key,
                         unsigned argc, const struct slice *argv, redis_reply_fn *on_reply,
                         void *context) {
    (void)user, (void)server, (void)key, (void)argc, (void)argv;
    assert_int_equal(script, REDIS_SCRIPT_SESSION);
    kept_reply = on_reply;
    kept_contexts[kept_count++] = context;
}

/* ---- the tests ---- */

static void test_unknown(void **state) {
    (void)state;
    ask(1, 'F', 5);
    settle();
    fake_expect(1, "#5=0 ");
}

static void test_move(void **state) {
    (void)state;
    begin();
    ask(1, 'F', 1);
    settle();
    fake_expect(0, NUMBER ":rest ");
    say_rested(0, "lobby");
    settle();
    fake_expect(0, NUMBER ":give ");
    fake_broadcast(2, "lobby", "got it");
    fake_broadcast(1, "lobby", "got it, too");
    settle();
    say(0, SESSION_CUT); /* both are in its bytes */
    fake_broadcast(0, "lobby", "missed one");
    member(0, LINK_LEFT, "lobby");
    say_given(0);
    fake_broadcast(2, "lobby", "missed two");
    fake_broadcast(1, "lobby", "missed three");
    settle();
    assert_true(has(1, "#1=0"));
    say(1, SESSION_OPENED);
    member(1, LINK_JOINED, "lobby");
    say_secret(1, SESSION_BEGAN);
    fake_broadcast(1, "lobby", "by the bus");
    fake_broadcast(2, "lobby", "by the bus, too");
    settle();
    has(1, "");
    ask(1, 'T', 2);
    struct buffer *log = &machines[1].log;
    char *text = mem_strndup(buffer_start(log), log->len);
    size_t len = log->len;
    assert_non_null(memmem(text, len, "missed one", 10));
    assert_non_null(memmem(text, len, "missed two", 10));
    assert_non_null(memmem(text, len, "missed three", 12));
    assert_null(memmem(text, len, "got it", 6));
    assert_null(memmem(text, len, "by the bus", 10));
    mem_free(text);
    has(1, "");
    has(0, "");
    settle();
    fake_expect(0, NUMBER ":taken ");
    assert_string_equal(owner, "machine0001");
}

/* What is sent to the connection on the way follows it, in order, and so does what comes later. */
static void test_direct(void **state) {
    (void)state;
    begin();
    ask(1, 'F', 1);
    settle();
    say_rested(0, "lobby");
    settle();
    say(0, SESSION_CUT);
    say_given(0);
    settle();
    has(1, "");
    struct link_item item = {.kind = LINK_SEND};
    snprintf(item.id, sizeof item.id, "machine0000%s", NUMBER);
    fake_publish_item(2, item, "one");
    settle();
    fake_publish_item(0, item, "two");
    settle();
    fake_expect(1, "");
    ask(1, 'T', 2);
    settle();
    fake_publish_item(2, item, "three");
    settle();
    fake_expect(1, "#2=0 " NUMBER "<one " NUMBER "<two " NUMBER "<three ");
}

static void test_two_ask(void **state) {
    (void)state;
    begin();
    ask(1, 'F', 1);
    ask(2, 'F', 1);
    settle();
    say_rested(0, "lobby");
    settle();
    say(0, SESSION_CUT);
    say_given(0);
    settle();
    int first = has(1, "#1=0") ? 1 : 2;
    assert_true(first == 1 || has(2, "#1=0"));
    ask(first, 'T', 2);
    say_secret(first, SESSION_BEGAN);
    settle();
    fake_pass(40);
    settle();
    assert_true(has(first, ":rest")); /* the other one asks the new machine */
}

/* Any client may ask for a session that no machine has: their number has a limit, and the client
 * behind it gets a new session at once. */
static void test_many_ask(void **state) {
    (void)state;
    char body[64];
    struct link_item item = {.kind = LINK_REQUEST, .request = LINK_SESSION};
    machines[1].node->redis.call = keep_command;
    for (int i = 0; i < 4097; i++) {
        snprintf(body, sizeof body, "Fnobody-has-this-secret-%d", i);
        item.body = slice_of(body);
        item.token.number = (uint64_t)i;
        node_take(machines[1].node, &item);
    }
    fake_expect(1, "#4096=0 ");
    while (kept_count > 0)
        kept_reply(kept_contexts[--kept_count], NULL);
    assert_true(has(1, "#0=0"));
    snprintf(body, sizeof body, "Fone-more");
    node_take(machines[1].node, &item); /* there is a place again */
    fake_expect(1, "");
    kept_reply(kept_contexts[--kept_count], NULL);
}

/* Machines end while a session moves: both hold its rooms. */
static void test_end_on_the_way(void **state) {
    (void)state;
    begin();
    ask(1, 'F', 1);
    settle();
    say_rested(0, "lobby");
    settle();
    fake_end(0); /* its worker packs the session */
    fake_start(0, 64 * 1024 * 1024);
}

static void test_end_before_it_is_taken(void **state) {
    (void)state;
    begin();
    ask(1, 'F', 1);
    settle();
    say_rested(0, "lobby");
    settle();
    say(0, SESSION_CUT);
    say_given(0);
    settle();
    assert_true(has(1, "#1=0"));
    fake_end(1); /* its worker has the session, and has not taken it */
    fake_start(1, 64 * 1024 * 1024);
}

static void test_silent_machine(void **state) {
    (void)state;
    begin();
    ask(1, 'F', 1);
    settle();
    fake_expect(0, NUMBER ":rest "); /* its worker does not answer */
    fake_pass(1999);
    settle();
    fake_expect(1, "");
    fake_pass(1);
    settle();
    fake_expect(1, "#1=0 ");
    fake_pass(600);
    settle();
    fake_expect(0, NUMBER ":keep ");
}

static void test_cut_off_machine(void **state) {
    (void)state;
    begin();
    fake_cut(&machines[0]);
    ask(1, 'F', 1);
    settle();
    fake_pass(2000);
    settle();
    fake_expect(1, "#1=0 ");
}

static void test_lost_on_the_way(void **state) {
    (void)state;
    begin();
    ask(1, 'F', 1);
    settle();
    say_rested(0, "lobby");
    settle();
    say(0, SESSION_CUT);
    has(0, "");
    fake_cut(&machines[1]);
    say_given(0);
    settle();
    fake_pass(10000);
    settle();
    fake_expect(0, NUMBER ":lost ");
}

static void test_redis_is_away(void **state) {
    (void)state;
    begin();
    fake_cut(&machines[1]);
    ask(1, 'F', 1);
    fake_expect(1, "#1=0 ");
    fake_up(&machines[1], true);
    ask(1, 'F', 2);
    fake_turn(&machines[1]);
    fake_cut(&machines[1]);
    fake_pass(2000);
    fake_turn(&machines[1]);
    fake_expect(1, "#2=0 ");
}

/* Another life of Redis knows no session: each machine says again what it has. */
static void test_new_life(void **state) {
    (void)state;
    begin();
    owner[0] = '\0';
    fake_cut(&machines[0]);
    fake_up(&machines[0], false);
    settle();
    assert_string_equal(owner, "machine0000");
    say_secret(0, SESSION_ENDED);
    settle();
    assert_string_equal(owner, "");
}

/* A client that has begun anew elsewhere ends the session here. */
static void test_replaced(void **state) {
    (void)state;
    begin();
    say_secret(1, SESSION_BEGAN);
    settle();
    fake_expect(0, NUMBER "<4409 replaced ");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_unknown, setup, teardown),
        cmocka_unit_test_setup_teardown(test_move, setup, teardown),
        cmocka_unit_test_setup_teardown(test_direct, setup, teardown),
        cmocka_unit_test_setup_teardown(test_two_ask, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_ask, setup, teardown),
        cmocka_unit_test_setup_teardown(test_end_on_the_way, setup, teardown),
        cmocka_unit_test_setup_teardown(test_end_before_it_is_taken, setup, teardown),
        cmocka_unit_test_setup_teardown(test_silent_machine, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cut_off_machine, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lost_on_the_way, setup, teardown),
        cmocka_unit_test_setup_teardown(test_redis_is_away, setup, teardown),
        cmocka_unit_test_setup_teardown(test_new_life, setup, teardown),
        cmocka_unit_test_setup_teardown(test_replaced, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
