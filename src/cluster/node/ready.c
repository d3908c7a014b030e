/* ready.c -- have the other machines subscribed their channels again?
 *
 * A server keeps no message for a machine that is not subscribed. So after an outage of this
 * machine, which may be one of all machines, what it publishes waits for the others. Each machine
 * subscribes a channel of its own behind all others when its connection is complete, and it is gone
 * with the connection: the server can tell which machines are there. */
#include "cluster/node/node_parts.h"

#include "base/mem.h"

#include <hiredis/hiredis.h>

/* How often the server is asked, and when the wait is over. */
enum { READY_ASK_MS = 50, READY_MAX_MS = 6000 };

/* One for each server. */
struct ready {
    struct node *node;
    unsigned server;
    bool waits, is_asking;
    uint64_t until_ms;
    struct list missing; /* struct missing */
    struct node_timer ask;
};

/* A machine that has not subscribed. */
struct missing {
    struct list link;
    char machine[CONN_ID_NODE_LEN + 1];
    char *channel;
};

static struct slice channel_of(struct node *node, struct slice machine) {
    return node_common_key(node, "ready", machine);
}

struct ready *ready_new(struct node *node) {
    struct ready *servers = mem_zalloc(node->redis.count * sizeof *servers);
    for (unsigned i = 0; i < node->redis.count; i++) {
        servers[i].node = node;
        servers[i].server = i;
        list_init(&servers[i].missing);
    }
    return servers;
}

static void forget(struct missing *missing) {
    list_remove(&missing->link);
    mem_free(missing->channel);
    mem_free(missing);
}

static void forget_all(struct ready *server) {
    while (!list_empty(&server->missing))
        forget(LIST_OWNER(server->missing.next, struct missing, link));
}

void ready_free(struct node *node) {
    for (unsigned i = 0; i < node->redis.count; i++)
        forget_all(&node->ready[i]);
    mem_free(node->ready);
}

/* ---- asking ---- */

static void ask(struct ready *server);

static void on_ask(struct node *node, struct node_timer *timer) {
    (void)node;
    ask(NODE_TIMER_OWNER(timer, struct ready, ask));
}

/* Takes those off the list that have subscribed: pairs of channel and number. */
static void take_counts(struct ready *server, const struct redisReply *reply) {
    if (reply->type != REDIS_REPLY_ARRAY)
        return;
    for (size_t i = 0; i + 1 < reply->elements; i += 2) {
        const struct redisReply *name = reply->element[i], *count = reply->element[i + 1];
        if (name->type != REDIS_REPLY_STRING || count->type != REDIS_REPLY_INTEGER ||
            count->integer == 0)
            continue;
        for (struct list *link = server->missing.next; link != &server->missing;
             link = link->next) {
            struct missing *missing = LIST_OWNER(link, struct missing, link);
            if (strcmp(missing->channel, name->str) == 0) {
                forget(missing);
                break;
            }
        }
    }
}

static void on_counts(void *context, const struct redisReply *reply) {
    struct ready *server = context;
    struct node *node = server->node;
    server->is_asking = false;
    if (reply == NULL || !server->waits)
        return;
    take_counts(server, reply);
    if (list_empty(&server->missing))
        server->waits = false;
    else
        node_set_timer(node, &server->ask, node->now_ms + READY_ASK_MS, on_ask);
}

/* Returns the number of those that live. */
static size_t forget_dead(struct ready *server) {
    size_t count = 0;
    for (struct list *link = server->missing.next, *next; link != &server->missing; link = next) {
        struct missing *missing = LIST_OWNER(link, struct missing, link);
        next = link->next;
        if (leases_lives(server->node, server->server, slice_of(missing->machine)))
            count++;
        else
            forget(missing);
    }
    return count;
}

static void add(void *user, struct slice machine) {
    struct ready *server = user;
    struct missing *missing = mem_zalloc(sizeof *missing);
    struct slice channel = channel_of(server->node, machine);
    memcpy(missing->machine, machine.bytes, CONN_ID_NODE_LEN);
    missing->channel = mem_strndup(channel.bytes, channel.len);
    list_append(&server->missing, &missing->link);
}

static void ask(struct ready *server) {
    struct node *node = server->node;
    if (!server->waits || server->is_asking)
        return;
    if (node->now_ms >= server->until_ms || !node->servers[server->server].is_up) {
        server->waits = false;
        return;
    }
    size_t count = forget_dead(server);
    if (count == 0) {
        server->waits = false;
        return;
    }
    struct slice *argv = mem_alloc((2 + count) * sizeof *argv), *at = argv;
    *at++ = slice_of("PUBSUB");
    *at++ = slice_of("SHARDNUMSUB");
    for (struct list *link = server->missing.next; link != &server->missing; link = link->next)
        *at++ = slice_of(LIST_OWNER(link, struct missing, link)->channel);
    server->is_asking = true;
    node->redis.command(node->redis.user, server->server, (unsigned)(2 + count), argv, on_counts,
                        server);
    mem_free(argv);
}

/* ---- events ---- */

static void on_tried(void *context, const struct redisReply *reply) {
    (void)context, (void)reply;
}

/* A user of Redis that may not ask is to be noticed at the start, and not after the first outage.
 */
static void try_to_ask(struct node *node, unsigned number) {
    const struct slice argv[] = {
        {"PUBSUB", 6}, {"SHARDNUMSUB", 11}, channel_of(node, node_id(node))};
    node->redis.command(node->redis.user, number, 3, argv, on_tried, NULL);
}

void ready_up(struct node *node, unsigned number) {
    struct ready *server = &node->ready[number];
    node->redis.subscribe(node->redis.user, number, channel_of(node, node_id(node)));
    forget_all(server);
    server->waits = node->servers[number].was_up;
    server->until_ms = node->now_ms + READY_MAX_MS;
    if (!server->waits)
        try_to_ask(node, number);
}

void ready_registered(struct node *node, unsigned number) {
    struct ready *server = &node->ready[number];
    if (!server->waits || server->is_asking || !list_empty(&server->missing))
        return;
    leases_each(node, number, add, server);
    ask(server);
}

void ready_down(struct node *node, unsigned number) {
    struct ready *server = &node->ready[number];
    node_stop_timer(node, &server->ask);
    server->waits = false;
    if (node->servers[number].was_up)
        node->redis.unsubscribe(node->redis.user, number, channel_of(node, node_id(node)));
}

bool ready_is(const struct node *node, unsigned server) {
    const struct ready *state = &node->ready[server];
    return !state->waits || node->now_ms >= state->until_ms;
}
