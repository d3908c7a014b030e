/* cluster_shared.c -- tw.shared in the cluster: carries out the operations of scripts in Redis.
 *
 * The body of a LINK_SHARED is a list of packed texts: the store's name, the operation, and its
 * arguments (lua/tidewire/shared_cluster.lua packs them). A store has one partition, and the script
 * src/cluster/scripts/shared.lua carries the operation out there. The answer's body is the list of
 * texts that the script returns. An operation is sent once: where its answer is lost, it has been
 * carried out or not. */
#include "cluster/node/node_parts.h"

#include "base/mem.h"

#include <hiredis/hiredis.h>
#include <string.h>

enum { WAIT_MS = 5000, MAX_TEXTS = 8 };

/* Bytes of all operations that wait for Redis. */
static const size_t MAX_BYTES = (size_t)64 << 20;

struct cluster_shared {
    struct list waiting; /* operations without an answer, oldest first */
    struct list late;    /* operations whose time is over; Redis may answer still */
    size_t bytes;        /* of both */
    struct node_timer timer;
};

/* An operation that is under way. */
struct operation {
    struct list link;
    struct node *node;
    struct link_token token;
    uint64_t ends_at; /* monotonic ms; 0: its caller waits no more */
    size_t bytes;
};

struct cluster_shared *cluster_shared_new(struct node *node) {
    (void)node;
    struct cluster_shared *shared = mem_zalloc(sizeof *shared);
    list_init(&shared->waiting);
    list_init(&shared->late);
    return shared;
}

static void drop_all(struct list *list) {
    while (!list_empty(list)) {
        struct operation *operation = LIST_OWNER(list->next, struct operation, link);
        list_remove(&operation->link);
        mem_free(operation);
    }
}

void cluster_shared_free(struct cluster_shared *shared) {
    if (shared == NULL)
        return;
    drop_all(&shared->waiting);
    drop_all(&shared->late);
    mem_free(shared);
}

static void answer(struct node *node, struct link_token token, enum link_status status,
                   struct slice body) {
    node->bus.answer(node->bus.user, token, status, body);
}

static void answer_without(struct node *node, struct link_token token, enum link_status status) {
    answer(node, token, status, (struct slice){NULL, 0});
}

/* ---- answers ---- */

static void answer_with(struct node *node, struct link_token token,
                        const struct redisReply *reply) {
    if (reply->type == REDIS_REPLY_ERROR) {
        answer(node, token, LINK_REFUSED, (struct slice){reply->str, reply->len});
        return;
    }
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements == 0) {
        answer(node, token, LINK_REFUSED, slice_of("the answer of Redis has another form"));
        return;
    }
    struct buffer bytes = {0};
    struct buffer_sink out = buffer_sink_of(&bytes);
    for (size_t i = 0; i < reply->elements; i++) {
        const struct redisReply *each = reply->element[i];
        if (each->type == REDIS_REPLY_STRING)
            pack_text(&out.sink, each->str, each->len);
        else
            pack_text(&out.sink, NULL, 0);
    }
    answer(node, token, LINK_OK, (struct slice){buffer_start(&bytes), bytes.len});
    buffer_free(&bytes);
}

static void on_reply(void *context, const struct redisReply *reply) {
    struct operation *operation = context;
    struct node *node = operation->node;
    if (operation->ends_at != 0 && reply == NULL)
        answer_without(node, operation->token, LINK_UNREACHABLE);
    else if (operation->ends_at != 0)
        answer_with(node, operation->token, reply);
    list_remove(&operation->link);
    node->shared->bytes -= operation->bytes;
    mem_free(operation);
}

/* ---- time ---- */

/* The oldest operations have waited too long. */
static void on_timer(struct node *node, struct node_timer *timer) {
    struct cluster_shared *shared = node->shared;
    (void)timer;
    while (!list_empty(&shared->waiting)) {
        struct operation *first = LIST_OWNER(shared->waiting.next, struct operation, link);
        if (first->ends_at > node->now_ms) {
            node_set_timer(node, &shared->timer, first->ends_at, on_timer);
            return;
        }
        first->ends_at = 0;
        list_remove(&first->link);
        list_append(&shared->late, &first->link);
        answer_without(node, first->token, LINK_TIMED_OUT);
    }
}

/* ---- operations ---- */

/* The texts of a body. Returns their number; 0: the body is damaged. */
static unsigned read_texts(struct slice body, struct slice texts[MAX_TEXTS]) {
    unsigned count = 0;
    while (body.len > 0)
        if (count == MAX_TEXTS || !unpack_text(&body, &texts[count++]))
            return 0;
    return count;
}

void cluster_shared_take(struct node *node, const struct link_item *item) {
    struct cluster_shared *shared = node->shared;
    struct slice texts[MAX_TEXTS], arguments[MAX_TEXTS];
    unsigned count = read_texts(item->body, texts);
    if (count < 2) {
        answer(node, item->token, LINK_REFUSED, slice_of("the operation is damaged"));
        return;
    }
    unsigned partition = partitions_of(texts[0]);
    unsigned server = partitions_server(partition, node->redis.count);
    if (!node->servers[server].is_up) {
        answer_without(node, item->token, LINK_UNREACHABLE);
        return;
    }
    if (item->body.len > MAX_BYTES - shared->bytes) {
        answer(node, item->token, LINK_REFUSED, slice_of("too many operations wait for Redis"));
        return;
    }
    struct operation *operation = mem_zalloc(sizeof *operation);
    operation->node = node;
    operation->token = item->token;
    operation->ends_at = node->now_ms + WAIT_MS;
    operation->bytes = item->body.len;
    shared->bytes += operation->bytes;
    bool is_first = list_empty(&shared->waiting);
    list_append(&shared->waiting, &operation->link);
    if (is_first)
        node_set_timer(node, &shared->timer, operation->ends_at, on_timer);
    struct slice ends = node_key(node, partition, "e", texts[0]);
    char *ends_copy = mem_strndup(ends.bytes, ends.len); /* the next key takes its place */
    arguments[0] = texts[1];
    arguments[1] = (struct slice){ends_copy, ends.len};
    for (unsigned i = 2; i < count; i++)
        arguments[i] = texts[i];
    node->redis.call(node->redis.user, server, REDIS_SCRIPT_SHARED,
                     node_key(node, partition, "d", texts[0]), count, arguments, on_reply,
                     operation);
    mem_free(ends_copy);
}

void cluster_shared_down(struct node *node, unsigned server) {
    (void)node; /* each operation under way gets no reply, which on_reply() handles */
    (void)server;
}
