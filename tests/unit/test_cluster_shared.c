/* test_cluster_shared.c -- operations of tw.shared in a cluster, on their way to Redis and back:
 * the key, the arguments, and the answer in each case, one for each operation. */
#include "fake_redis.h"

#include "cluster/node/node_parts.h"

static unsigned calls;
static char key_of_call[256];

static void call(void *user, unsigned server, enum redis_script script, struct slice key,
                 unsigned argc, const struct slice *argv, redis_reply_fn *on_reply, void *context) {
    if (script != REDIS_SCRIPT_SHARED) {
        fake_call(user, server, script, key, argc, argv, on_reply, context);
        return;
    }
    calls++;
    snprintf(key_of_call, sizeof key_of_call, "%.*s %.*s %.*s", (int)key.len, key.bytes,
             (int)argv[0].len, argv[0].bytes, (int)argv[1].len, argv[1].bytes);
    fake_command(user, server, argc, argv, on_reply, context);
}

static int setup(void **state) {
    (void)state;
    (void)fake_settle;
    (void)fake_member;
    (void)fake_broadcast;
    fake_now_ms = 1000;
    calls = 0;
    fake_start(0, 1 << 20);
    machines[0].node->redis.call = call;
    fake_up(&machines[0], false);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    fake_end(0);
    return 0;
}

static void take(uint64_t number, struct slice body) {
    struct link_item item = {
        .kind = LINK_REQUEST, .request = LINK_SHARED, .token = {0, number}, .body = body};
    node_take(machines[0].node, &item);
}

static void ask(uint64_t number, size_t bytes) {
    struct buffer body = {0};
    struct buffer_sink sink = buffer_sink_of(&body);
    char *value = mem_zalloc(bytes + 1);
    pack_text(&sink.sink, "scores", 6);
    pack_text(&sink.sink, "set", 3);
    pack_text(&sink.sink, value, bytes);
    take(number, (struct slice){buffer_start(&body), body.len});
    mem_free(value);
    buffer_free(&body);
}

/* The server answers the oldest operation. */
static void reply(const struct redisReply *with) {
    struct fake_machine *m = &machines[0];
    unsigned at = 0;
    while (at < m->count && (m->queue[at].argc != 3 || strcmp(m->queue[at].args[0], "set") != 0))
        at++; /* others are no operations of tw.shared */
    assert_true(at < m->count);
    struct fake_command first = m->queue[at];
    m->count--;
    memmove(m->queue + at, m->queue + at + 1, (m->count - at) * sizeof *m->queue);
    fake_answer(m, &first, with);
}

static void reply_ok(void) {
    redisReply ok = {.type = REDIS_REPLY_STRING, .str = (char *)"ok", .len = 2};
    redisReply *list[] = {&ok};
    redisReply array = {.type = REDIS_REPLY_ARRAY, .elements = 1, .element = list};
    reply(&array);
}

static void test_answers(void **state) {
    (void)state;
    char expected[256];
    unsigned p = partitions_of(slice_of("scores"));
    ask(1, 3);
    snprintf(expected, sizeof expected, "tw:{%u}:d:scores set tw:{%u}:e:scores", p, p);
    assert_string_equal(key_of_call, expected);
    ask(2, 3);
    fake_expect(0, "");
    reply_ok();
    fake_expect(0, "#1=0\002ok ");
    redisReply error = {.type = REDIS_REPLY_ERROR, .str = (char *)"OOM no room", .len = 11};
    reply(&error);
    fake_expect(0, "#2=3OOM no room ");
    ask(3, 3);
    redisReply other = {.type = REDIS_REPLY_INTEGER};
    reply(&other);
    fake_expect(0, "#3=3the answer of Redis has another form ");
}

static void test_unreachable(void **state) {
    (void)state;
    ask(1, 3);
    fake_cut(&machines[0]);
    fake_expect(0, "#1=1 ");
    ask(2, 3);
    fake_expect(0, "#2=1 ");
    assert_int_equal(calls, 1);
}

static void test_late(void **state) {
    (void)state;
    ask(1, 3);
    fake_pass(2000);
    ask(2, 3);
    fake_pass(2999);
    fake_turn(&machines[0]);
    fake_expect(0, "");
    fake_pass(1);
    fake_turn(&machines[0]);
    fake_expect(0, "#1=2 ");
    reply_ok(); /* nothing happens */
    fake_expect(0, "");
    fake_pass(2000);
    fake_turn(&machines[0]);
    fake_expect(0, "#2=2 ");
}

static void test_limits(void **state) {
    (void)state;
    take(1, (struct slice){NULL, 0});
    take(2, slice_of("\006scor"));
    take(3, slice_of("\001a\001b\001c\001d\001e\001f\001g\001h\001i"));
    fake_expect(0, "#1=3the operation is damaged #2=3the operation is damaged "
                   "#3=3the operation is damaged ");
    for (uint64_t i = 0; i < 8; i++)
        ask(i, 8 << 20);
    fake_expect(0, "#7=3too many operations wait for Redis ");
    reply_ok();
    fake_expect(0, "#0=0\002ok ");
    ask(9, 7 << 20);
    fake_expect(0, "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unreachable, setup, teardown),
        cmocka_unit_test_setup_teardown(test_late, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
