/* fuzz_cluster_message.c -- messages of other machines, on each channel of a node: any client of
 * Redis can send them. */
#include "fuzz.h"

#include "cluster/node/node.h"
#include "cluster/node/partitions.h"
#include "cluster/node/protocol.h"

static void command(void *user, unsigned server, unsigned argc, const struct slice *argv,
                    redis_reply_fn *on_reply, void *context) {
    (void)user, (void)server, (void)argc, (void)argv;
    (void)on_reply, (void)context; /* never answered: the node is freed when nothing can come */
}

static void call(void *user, unsigned server, enum redis_script script, struct slice key,
                 unsigned argc, const struct slice *argv, redis_reply_fn *on_reply, void *context) {
    (void)script, (void)key;
    command(user, server, argc, argv, on_reply, context);
}

static void subscribe(void *user, unsigned server, struct slice channel) {
    (void)user, (void)server, (void)channel;
}

static bool is_text(const char *text, size_t len) {
    return strlen(text) == 0 || strlen(text) == len;
}

static void publish(void *user, const struct broadcast *broadcast, const char *except,
                    const struct memory_position *position, bool remember_only) {
    (void)user, (void)position, (void)remember_only;
    fuzz_check(broadcast->encoding_count > 0 && is_text(except, CONN_ID_LEN));
    for (uint32_t i = 0; i < broadcast->encoding_count; i++)
        if (broadcast->encodings[i].message != NULL)
            fuzz_check(message_payload(broadcast->encodings[i].message).len <
                       broadcast->encodings[i].message->len);
}

static void send(void *user, const char *id, const struct encoding *encodings, uint32_t count) {
    (void)user, (void)encodings;
    fuzz_check(strlen(id) == CONN_ID_LEN && count > 0);
}

static void end(void *user, const char *id, unsigned code, struct slice reason) {
    (void)user;
    fuzz_check(strlen(id) == CONN_ID_LEN && code >= 1000 && code < 5000 && reason.len <= 123);
}

static void member(void *user, enum presence_change change, struct slice room, const char *id,
                   const struct link_member *details) {
    (void)user, (void)change, (void)room, (void)details;
    fuzz_check(strlen(id) == CONN_ID_LEN);
}

static bool memory_limits(void *user, struct slice room,
                          struct memory_limits limits[MEMORY_KINDS]) {
    (void)user, (void)room;
    limits[MEMORY_HISTORY] = (struct memory_limits){.messages = 10, .bytes = 1000};
    return true;
}

static void reset_memory(void *user, struct slice room, uint64_t epoch, uint64_t offset,
                         uint64_t dropped) {
    (void)user, (void)room, (void)epoch, (void)offset, (void)dropped;
}

static void clear_retained(void *user, struct slice room, struct slice key) {
    (void)user, (void)room, (void)key;
}

static void set_ordered(void *user, unsigned server, bool is_ordered) {
    (void)user, (void)server, (void)is_ordered;
}

static void answer(void *user, struct link_token token, enum link_status status,
                   struct slice body) {
    (void)user, (void)token, (void)status, (void)body;
}

static void server_state(void *user, unsigned server, bool up) {
    (void)user, (void)server, (void)up;
}

static const char *path_of(void *user, uint32_t endpoint) {
    (void)user, (void)endpoint;
    return "/one";
}

static uint32_t endpoint_of(void *user, struct slice path) {
    (void)user;
    return slice_is(path, "/one") ? 0 : ANY_ENDPOINT;
}

/* What the check accepts can be taken, and is packed to bytes that are taken again. */
static void check_broadcast(struct slice body) {
    static struct protocol_broadcast checked, taken;
    const struct endpoint_paths paths = {path_of, endpoint_of, NULL};
    bool is_one = protocol_unpack_broadcast(body, NULL, &checked);
    if (!protocol_unpack_broadcast(body, &paths, &taken))
        return;
    fuzz_check(is_one && checked.encodings.count == taken.encodings.count);
    encodings_release(&taken.encodings);
}

static void on_session(void *user, const char *id, enum session_step step) {
    (void)user, (void)id, (void)step;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const channels[] = {"tw:all", "tw:to:machine0001", NULL};
    struct redis_functions redis = {1, command, call, subscribe, subscribe, NULL};
    struct node_bus bus = {
        .publish = publish,
        .send = send,
        .close = end,
        .member = member,
        .memory_limits = memory_limits,
        .reset_memory = reset_memory,
        .clear_retained = clear_retained,
        .set_ordered = set_ordered,
        .answer = answer,
        .server_state = server_state,
        .paths = {path_of, endpoint_of, NULL},
        .session = on_session,
    };
    struct node_options options = {slice_of("machine0001"), slice_of("tw"), 1 << 20, 10000};
    struct node *node = node_new(&options, &redis, &bus, 1);
    struct redis_events events = node_events(node);
    struct link_item watch = {.kind = LINK_WATCH, .room = slice_of("r"), .on = true};
    node_take(node, &watch);
    struct buffer key = {0};
    struct slice room =
        partitions_key(&key, slice_of("tw"), partitions_of(watch.room), "c", watch.room);
    struct fuzz_input input = {data, size};
    unsigned channel = fuzz_below(&input, 3);
    char *bytes = fuzz_copy(input.at, input.left);
    struct slice payload = {bytes, input.left};
    events.message(events.user, 0, channels[channel] == NULL ? room : slice_of(channels[channel]),
                   payload);
    node_turn(node, 2);
    struct protocol_head head;
    if (protocol_unpack_head(&payload, &head))
        check_broadcast(payload);
    free(bytes);
    buffer_free(&key);
    node_free(node);
    return 0;
}
