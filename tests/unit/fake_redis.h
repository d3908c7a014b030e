/* fake_redis.h -- a Redis server for nodes of a test: sharded channels and PING, step by step.
 *
 * Each node has a connection, whose commands wait until the test lets the server execute them. The
 * test cuts connections before or after that. What a node does to its bus is written to a text. */
#ifndef TESTS_UNIT_FAKE_REDIS_H
#define TESTS_UNIT_FAKE_REDIS_H

#include "base/buffer.h"
#include "base/mem.h"
#include "cluster/node/node.h"
#include "cluster/node/partitions.h"

#include <hiredis/hiredis.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { FAKE_MACHINES = 3, FAKE_ARGS = 32, FAKE_QUEUE = 1024, FAKE_CHANNELS = 64 };

struct fake_command {
    int argc;
    char *args[FAKE_ARGS];
    size_t lens[FAKE_ARGS];
    redis_reply_fn *on_reply;
    void *context;
};

struct fake_machine {
    struct node *node;
    struct redis_events events;
    bool is_up, lives, is_ordered;
    struct fake_command queue[FAKE_QUEUE];
    unsigned count;
    char *channels[FAKE_CHANNELS];
    char id[CONN_ID_NODE_LEN + 1];
    struct buffer log; /* what its bus has got */
};

static struct fake_machine machines[FAKE_MACHINES];
static uint64_t fake_now_ms;
static int fake_run; /* of the server's lives */

/* ---- the server's side ---- */

static void fake_command(void *user, unsigned server, unsigned argc, const struct slice *argv,
                         redis_reply_fn *on_reply, void *context) {
    struct fake_machine *m = user;
    assert_int_equal(server, 0);
    assert_true(m->count < FAKE_QUEUE && argc <= FAKE_ARGS);
    struct fake_command *command = &m->queue[m->count++];
    *command = (struct fake_command){.argc = (int)argc, .on_reply = on_reply, .context = context};
    for (unsigned i = 0; i < argc; i++) {
        command->args[i] = mem_strndup(argv[i].bytes, argv[i].len);
        command->lens[i] = argv[i].len;
    }
}

static void fake_call(void *user, unsigned server, enum redis_script script, struct slice key,
                      unsigned argc, const struct slice *argv, redis_reply_fn *on_reply,
                      void *context) {
    (void)key;
    struct slice all[FAKE_ARGS] = {slice_of(script == REDIS_SCRIPT_LEASE ? "LEASE" : "SCRIPT")};
    assert_true(argc < FAKE_ARGS);
    for (unsigned i = 0; i < argc; i++)
        all[1 + i] = argv[i];
    fake_command(user, server, 1 + argc, all, on_reply, context);
}

static char **fake_channel(struct fake_machine *m, const char *name, size_t len) {
    for (int i = 0; i < FAKE_CHANNELS; i++)
        if (m->channels[i] != NULL && strlen(m->channels[i]) == len &&
            memcmp(m->channels[i], name, len) == 0)
            return &m->channels[i];
    return NULL;
}

static void fake_subscribe(void *user, unsigned server, struct slice channel) {
    struct fake_machine *m = user;
    (void)server;
    for (int i = 0; i < FAKE_CHANNELS; i++)
        if (m->channels[i] == NULL) {
            m->channels[i] = mem_strndup(channel.bytes, channel.len);
            return;
        }
    fail();
}

static void fake_unsubscribe(void *user, unsigned server, struct slice channel) {
    (void)server;
    char **slot = fake_channel(user, channel.bytes, channel.len);
    if (slot == NULL)
        return;
    mem_free(*slot);
    *slot = NULL;
}

/* Confirms a machine's subscriptions. */
static void fake_confirm(struct fake_machine *m) {
    for (int i = 0; i < FAKE_CHANNELS; i++)
        if (m->channels[i] != NULL)
            m->events.subscribed(m->events.user, 0, slice_of(m->channels[i]));
}

/* A message to all that have subscribed. */
static void fake_publish(const char *channel, size_t channel_len, struct slice payload) {
    for (int i = 0; i < FAKE_MACHINES; i++)
        if (machines[i].is_up && fake_channel(&machines[i], channel, channel_len) != NULL)
            machines[i].events.message(machines[i].events.user, 0,
                                       (struct slice){channel, channel_len}, payload);
}

static void fake_answer(struct fake_machine *m, struct fake_command *command,
                        const struct redisReply *reply) {
    (void)m;
    for (int i = 0; i < command->argc; i++)
        mem_free(command->args[i]);
    if (command->on_reply != NULL)
        command->on_reply(command->context, reply);
}

/* PUBSUB SHARDNUMSUB */
static void fake_count(struct fake_machine *m, struct fake_command *command) {
    redisReply pairs[2 * FAKE_ARGS], *list[2 * FAKE_ARGS];
    redisReply reply = {.type = REDIS_REPLY_ARRAY, .element = list};
    for (int i = 2; i < command->argc; i++) {
        int count = 0;
        for (int other = 0; other < FAKE_MACHINES; other++)
            count += machines[other].is_up &&
                     fake_channel(&machines[other], command->args[i], command->lens[i]) != NULL;
        size_t at = reply.elements;
        pairs[at] = (redisReply){
            .type = REDIS_REPLY_STRING, .str = command->args[i], .len = command->lens[i]};
        pairs[at + 1] = (redisReply){.type = REDIS_REPLY_INTEGER, .integer = count};
        list[at] = &pairs[at];
        list[at + 1] = &pairs[at + 1];
        reply.elements += 2;
    }
    command->on_reply(command->context, &reply);
    command->on_reply = NULL;
}

/* A heartbeat: all machines live that the test has started, and whose connection has been up. */
static void fake_beat(struct fake_command *command) {
    char now[24];
    snprintf(now, sizeof now, "%d", (int)fake_now_ms);
    redisReply values[3 * FAKE_MACHINES], *list[3 * FAKE_MACHINES], *top[5];
    redisReply text = {.type = REDIS_REPLY_STRING, .str = now, .len = strlen(now)};
    redisReply empty = {.type = REDIS_REPLY_STRING, .str = now, .len = 0};
    redisReply machines_list = {.type = REDIS_REPLY_ARRAY, .element = list};
    redisReply none = {.type = REDIS_REPLY_ARRAY};
    redisReply reply = {.type = REDIS_REPLY_ARRAY, .elements = 5, .element = top};
    for (int i = 0; i < FAKE_MACHINES; i++) {
        if (!machines[i].lives)
            continue;
        size_t at = machines_list.elements;
        values[at] = (redisReply){
            .type = REDIS_REPLY_STRING, .str = machines[i].id, .len = CONN_ID_NODE_LEN};
        values[at + 1] = text;
        values[at + 2] = empty;
        for (int k = 0; k < 3; k++)
            list[at + k] = &values[at + k];
        machines_list.elements += 3;
    }
    redisReply life = {.type = REDIS_REPLY_STRING, .str = (char[]){"1"}, .len = 1};
    top[0] = &life;
    top[1] = top[2] = &text;
    top[3] = &machines_list;
    top[4] = &none;
    command->on_reply(command->context, &reply);
    command->on_reply = NULL;
}

/* Executes the first `count` commands of a machine; their answers come only with `answers`. */
static void fake_execute(struct fake_machine *m, unsigned count, bool answers) {
    redisReply one = {.type = REDIS_REPLY_INTEGER, .integer = 1};
    for (; count > 0 && m->count > 0; count--) {
        struct fake_command command = m->queue[0];
        if (command.argc == 3 && strcmp(command.args[0], "SPUBLISH") == 0)
            fake_publish(command.args[1], command.lens[1],
                         (struct slice){command.args[2], command.lens[2]});
        if (answers && command.argc > 2 && strcmp(command.args[0], "PUBSUB") == 0)
            fake_count(m, &command);
        if (answers && strcmp(command.args[0], "LEASE") == 0 &&
            strcmp(command.args[1], "beat") == 0)
            fake_beat(&command);
        m->count--;
        memmove(m->queue, m->queue + 1, m->count * sizeof *m->queue);
        if (answers) {
            fake_answer(m, &command, &one);
        } else { /* it stands at the end, to be answered by the cut */
            command.argc = -command.argc;
            m->queue[m->count++] = command;
        }
    }
}

/* The connection is lost. */
static void fake_cut(struct fake_machine *m) {
    struct fake_command lost[FAKE_QUEUE];
    unsigned count = m->count;
    memcpy(lost, m->queue, count * sizeof *lost);
    m->count = 0;
    m->is_up = false;
    m->events.down(m->events.user, 0, "cut");
    for (unsigned i = 0; i < count; i++) {
        if (lost[i].argc < 0)
            lost[i].argc = -lost[i].argc;
        fake_answer(m, &lost[i], NULL);
    }
}

static void fake_up(struct fake_machine *m, bool same_run) {
    struct redis_facts facts = {.same_run = same_run, .version = "7.0.15"};
    snprintf(facts.run_id, sizeof facts.run_id, "run %d", fake_run);
    m->is_up = m->lives = true;
    fake_confirm(m);
    m->events.up(m->events.user, 0, &facts);
}

static void fake_turn(struct fake_machine *m) {
    node_turn(m->node, fake_now_ms);
}

/* Everything goes its way until nothing is left to do. */
static void fake_settle(void) {
    for (bool busy = true; busy;) {
        busy = false;
        for (int i = 0; i < FAKE_MACHINES; i++) {
            struct fake_machine *m = &machines[i];
            if (m->node == NULL)
                continue;
            if (m->is_up)
                fake_confirm(m);
            fake_turn(m);
            busy |= m->is_up && m->count > 0;
            if (m->is_up)
                fake_execute(m, m->count, true);
        }
    }
}

/* ---- the workers' side ---- */

static void fake_bus_publish(void *user, const struct broadcast *b, const char *except,
                             const struct memory_position *position, bool remember_only) {
    struct fake_machine *m = user;
    struct slice text = {"-", 1};
    for (uint32_t i = 0; i < b->encoding_count; i++)
        if (b->encodings[i].message != NULL)
            text = message_payload(b->encodings[i].message);
    buffer_printf(&m->log, "%.*s:%.*s", (int)b->room.len,
                  b->room.bytes == NULL ? "" : b->room.bytes, (int)text.len, text.bytes);
    if (b->endpoint != ANY_ENDPOINT)
        buffer_printf(&m->log, "/%u", b->endpoint);
    if (except[0] != '\0')
        buffer_printf(&m->log, "!%s", except);
    if (position->offset > 0)
        buffer_printf(&m->log, "@%d%s", (int)position->offset, remember_only ? "r" : "");
    buffer_add(&m->log, " ", 1);
}

static void fake_bus_send(void *user, const char *id, const struct encoding *encodings,
                          uint32_t count) {
    struct fake_machine *m = user;
    struct slice text = message_payload(encodings[count - 1].message);
    buffer_printf(&m->log, "%s<%.*s ", id + CONN_ID_NODE_LEN, (int)text.len, text.bytes);
}

static void fake_bus_close(void *user, const char *id, unsigned code, struct slice reason) {
    struct fake_machine *m = user;
    buffer_printf(&m->log, "%s<%u %.*s ", id + CONN_ID_NODE_LEN, code, (int)reason.len,
                  reason.bytes);
}

static void fake_bus_member(void *user, enum presence_change change, struct slice room,
                            const char *id, const struct link_member *member) {
    (void)user, (void)change, (void)room, (void)id, (void)member;
}

/* Rooms whose names begin with "h" remember ten messages and retain five. */
static bool fake_bus_limits(void *user, struct slice room,
                            struct memory_limits limits[MEMORY_KINDS]) {
    (void)user;
    limits[MEMORY_HISTORY] = (struct memory_limits){.messages = 10, .bytes = 10000};
    limits[MEMORY_RETAINED] = (struct memory_limits){.messages = 5, .bytes = 10000};
    return room.bytes[0] == 'h';
}

static void fake_bus_reset(void *user, struct slice room, uint64_t epoch, uint64_t offset,
                           uint64_t dropped) {
    struct fake_machine *m = user;
    (void)dropped;
    buffer_printf(&m->log, "[%.*s %d-%d] ", (int)room.len, room.bytes, (int)epoch, (int)offset);
}

static void fake_bus_clear(void *user, struct slice room, struct slice key) {
    struct fake_machine *m = user;
    buffer_printf(&m->log, "[%.*s -%.*s] ", (int)room.len, room.bytes, (int)key.len, key.bytes);
}

static void fake_bus_ordered(void *user, unsigned server, bool is_ordered) {
    struct fake_machine *m = user;
    (void)server;
    m->is_ordered = is_ordered;
}

static void fake_bus_answer(void *user, struct link_token token, enum link_status status,
                            struct slice body) {
    struct fake_machine *m = user;
    buffer_printf(&m->log, "#%d=%d%.*s ", (int)token.number, (int)status, (int)body.len,
                  body.len == 0 ? "" : body.bytes);
}

static void fake_bus_state(void *user, unsigned server, bool up) {
    (void)user, (void)server, (void)up;
}

static const char *fake_path_of(void *user, uint32_t endpoint) {
    (void)user;
    return endpoint == 1 ? "/one" : endpoint == 2 ? "/two" : NULL;
}

static uint32_t fake_endpoint_of(void *user, struct slice path) {
    (void)user;
    return slice_is(path, "/one") ? 1 : slice_is(path, "/two") ? 2 : ANY_ENDPOINT;
}

/* ---- life ---- */

static void fake_start(int i, size_t backlog_max) {
    struct fake_machine *m = &machines[i];
    memset(m, 0, sizeof *m);
    snprintf(m->id, sizeof m->id, "machine%04u", (unsigned)i % 10000);
    struct redis_functions redis = {1, fake_command, fake_call, fake_subscribe, fake_unsubscribe,
                                    m};
    struct node_bus bus = {
        .publish = fake_bus_publish,
        .send = fake_bus_send,
        .close = fake_bus_close,
        .member = fake_bus_member,
        .memory_limits = fake_bus_limits,
        .reset_memory = fake_bus_reset,
        .clear_retained = fake_bus_clear,
        .set_ordered = fake_bus_ordered,
        .answer = fake_bus_answer,
        .server_state = fake_bus_state,
        .paths = {fake_path_of, fake_endpoint_of, NULL},
        .user = m,
    };
    struct node_options options = {slice_of(m->id), slice_of("tw"), backlog_max, 10000};
    m->node = node_new(&options, &redis, &bus, fake_now_ms);
    m->events = node_events(m->node);
}

static void fake_end(int i) {
    struct fake_machine *m = &machines[i];
    if (m->is_up)
        fake_cut(m);
    node_free(m->node);
    for (int c = 0; c < FAKE_CHANNELS; c++)
        mem_free(m->channels[c]);
    buffer_free(&m->log);
    memset(m, 0, sizeof *m);
}

/* Checks what a machine's bus has got since the last call. */
static void fake_expect(int i, const char *expected) {
    char *text = buffer_take_text(&machines[i].log);
    assert_string_equal(text, expected);
    mem_free(text);
}

static void fake_pass(uint64_t ms) {
    fake_now_ms += ms;
    for (int i = 0; i < FAKE_MACHINES; i++)
        if (machines[i].node != NULL)
            node_set_time(machines[i].node, fake_now_ms);
}

/* ---- items ---- */

static void fake_publish_item(int i, struct link_item item, const char *text) {
    struct message *message = message_new(OPCODE_TEXT, text, strlen(text));
    struct encoding encoding = {CODEC_TEXT, message};
    item.kind = item.kind == LINK_SEND ? LINK_SEND : LINK_PUBLISH;
    item.encodings = &encoding;
    item.encoding_count = 1;
    node_take(machines[i].node, &item);
    message_unref(message);
}

static void fake_broadcast(int i, const char *room, const char *text) {
    struct link_item item = {.room = slice_of(room), .endpoint = ANY_ENDPOINT};
    fake_publish_item(i, item, text);
}

static void fake_member(int i, enum link_item_kind kind, const char *room, const char *number) {
    struct link_item item = {.kind = kind, .room = slice_of(room)};
    snprintf(item.id, sizeof item.id, "%s%s", machines[i].id, number);
    item.member.endpoint_name = slice_of("\"/\"");
    node_take(machines[i].node, &item);
}

#endif
