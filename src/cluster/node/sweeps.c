/* sweeps.c -- the members of machines that are gone are removed from the servers.
 *
 * One machine does it for a dead one, all partitions at once. Another one takes over when it does
 * not get to the end. A machine that leaves removes its own. */
#include "cluster/node/node_parts.h"

#include "base/mem.h"

#include <hiredis/hiredis.h>
#include <stdio.h>

enum { ROOMS_OF_A_CALL = 200 };

struct sweep;

/* Of one partition. */
struct part {
    struct sweep *sweep;
    unsigned partition;
};

/* The removal of a dead machine's members on one server. */
struct sweep {
    struct list link;
    struct node *node;
    unsigned server;
    unsigned under_way; /* partitions */
    bool has_failed;
    char dead[CONN_ID_NODE_LEN + 1];
    struct part parts[PARTITIONS];
};

struct sweeps {
    struct list list;
};

struct sweeps *sweeps_new(struct node *node) {
    (void)node;
    struct sweeps *sweeps = mem_zalloc(sizeof *sweeps);
    list_init(&sweeps->list);
    return sweeps;
}

static void sweep_free(struct sweep *sweep) {
    list_remove(&sweep->link);
    mem_free(sweep);
}

void sweeps_free(struct sweeps *sweeps) {
    while (!list_empty(&sweeps->list))
        sweep_free(LIST_OWNER(sweeps->list.next, struct sweep, link));
    mem_free(sweeps);
}

static void call(struct node *node, unsigned server, unsigned argc, const struct slice *argv,
                 redis_reply_fn *on_reply, void *context) {
    node->redis.call(node->redis.user, server, REDIS_SCRIPT_SWEEP,
                     node_common_key(node, "nodes", (struct slice){NULL, 0}), argc, argv, on_reply,
                     context);
}

static void call_done(struct node *node, unsigned server, struct slice id) {
    const struct slice argv[] = {{"done", 4}, id};
    call(node, server, 2, argv, NULL, NULL);
}

static bool is_on(const struct node *node, unsigned partition, unsigned server) {
    return partitions_server(partition, node->redis.count) == server;
}

/* ---- of a dead machine ---- */

static void remove_some(struct part *part);

static void on_removed(void *context, const struct redisReply *reply) {
    struct part *part = context;
    struct sweep *sweep = part->sweep;
    sweep->under_way--;
    if (reply == NULL || reply->type != REDIS_REPLY_INTEGER || reply->integer < 0)
        sweep->has_failed = true; /* the machine lives again; or another one will do it */
    else if (reply->integer > 0)
        remove_some(part);
    if (sweep->under_way > 0)
        return;
    if (!sweep->has_failed)
        call_done(sweep->node, sweep->server, slice_of(sweep->dead));
    sweep_free(sweep);
}

static void remove_some(struct part *part) {
    struct sweep *sweep = part->sweep;
    sweep->under_way++;
    members_remove(sweep->node, part->partition, slice_of(sweep->dead), ROOMS_OF_A_CALL, on_removed,
                   part);
}

static void on_taken(void *context, const struct redisReply *reply) {
    struct sweep *sweep = context;
    if (reply == NULL || reply->type != REDIS_REPLY_INTEGER || reply->integer != 1) {
        sweep_free(sweep);
        return;
    }
    for (unsigned partition = 0; partition < PARTITIONS; partition++) {
        sweep->parts[partition] = (struct part){sweep, partition};
        if (is_on(sweep->node, partition, sweep->server))
            remove_some(&sweep->parts[partition]);
    }
    if (sweep->under_way == 0) /* more servers than partitions */
        sweep_free(sweep);
}

void sweeps_begin(struct node *node, unsigned server, struct slice dead) {
    struct list *list = &node->sweeps->list;
    for (struct list *link = list->next; link != list; link = link->next) {
        const struct sweep *sweep = LIST_OWNER(link, struct sweep, link);
        if (sweep->server == server && slice_is(dead, sweep->dead))
            return;
    }
    char silence[24], sweeper[16];
    snprintf(silence, sizeof silence, "%llu", (unsigned long long)node->lease_ms);
    snprintf(sweeper, sizeof sweeper, "%d", SWEEPS_MAX_MS);
    struct sweep *sweep = mem_zalloc(sizeof *sweep);
    sweep->node = node;
    sweep->server = server;
    memcpy(sweep->dead, dead.bytes, CONN_ID_NODE_LEN);
    list_append(list, &sweep->link);
    const struct slice argv[] = {{"take", 4}, dead, slice_of(silence), slice_of(sweeper)};
    call(node, server, 4, argv, on_taken, sweep);
}

/* ---- of this machine ---- */

void sweeps_leave(struct node *node, unsigned server) {
    for (unsigned partition = 0; partition < PARTITIONS; partition++)
        if (is_on(node, partition, server))
            members_remove(node, partition, node_id(node), INT32_MAX, NULL, NULL);
    call_done(node, server, node_id(node));
}
