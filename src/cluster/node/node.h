/* node.h -- the logic of one machine of a cluster: which channels it subscribes, what it publishes,
 * what its workers get.
 *
 * A node has no sockets, loop, thread or clock: `struct redis_functions` (redis.h) sends for it,
 * `struct node_bus` delivers for it, and callers pass the time. One thread: the link's, or the
 * simulator's, which runs many nodes. */
#ifndef TIDEWIRE_CLUSTER_NODE_NODE_H
#define TIDEWIRE_CLUSTER_NODE_NODE_H

#include "cluster/redis/redis.h"
#include "core/bus/link.h"
#include "core/bus/presence.h"
#include "core/bus/room_memory.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct node;

/* What a node does to the workers of its machine. */
struct node_bus {
    /* A broadcast of another machine, or an ordered one of this machine. `except`: the text of an
     * id, or "". `remember_only`: the connections have it already. */
    void (*publish)(void *user, const struct broadcast *broadcast, const char *except,
                    const struct memory_position *position, bool remember_only);
    /* For a connection of this machine. */
    void (*send)(void *user, const char *id, const struct encoding *encodings, uint32_t count);
    void (*close)(void *user, const char *id, unsigned code, struct slice reason);
    /* A connection of another machine is a member of a room now, as this says (PRESENCE_JOINED: it
     * may have been one before), or is none any more (PRESENCE_LEFT). */
    void (*member)(void *user, enum presence_change change, struct slice room, const char *id,
                   const struct link_member *member);
    /* The room does not concern this machine any more: its members on others are unknown. */
    void (*forget_members)(void *user, struct slice room);
    /* A user has a connection on any machine, or none any more. While a worker watches users.
     * Without a name: all users were reported, and what follows are changes; or of no user it is
     * known any more. */
    void (*online)(void *user, struct slice name, bool is_online);
    /* Another machine has come, or is gone. With the own id: the list of machines has been read. */
    void (*machine)(void *user, const char *id, bool lives);
    /* The limits of a room's memory by the rules of this machine. False: it has none. */
    bool (*memory_limits)(void *user, struct slice room, struct memory_limits limits[MEMORY_KINDS]);
    /* A room's memory begins anew here: in this epoch, behind this offset; `dropped`: the largest
     * offset of a retained message that is gone. Epoch 0: the room does not concern this machine
     * any more. */
    void (*reset_memory)(void *user, struct slice room, uint64_t epoch, uint64_t offset,
                         uint64_t dropped);
    /* The message that a room has retained for this key is forgotten. */
    void (*clear_retained)(void *user, struct slice room, struct slice key);
    /* From now on a server orders the messages of rooms with a memory, and workers publish them as
     * ordered items; or it does not, and workers deliver them at once. Ordered items that the node
     * has not taken are then delivered before all that workers publish afterwards. */
    void (*set_ordered)(void *user, unsigned server, bool is_ordered);
    /* The answer to a request. */
    void (*answer)(void *user, struct link_token token, enum link_status status, struct slice body);
    /* A server is up or down: rooms of its partitions are ordered by it, or not. */
    void (*server_state)(void *user, unsigned server, bool up);
    struct endpoint_paths paths; /* the app's endpoints */
    void *user;
    /* A room is live on this machine from now on, or not any more. NULL: no call. */
    void (*room_live)(void *user, struct slice room, bool is_live);
    /* A session of this machine is to take a step: SESSION_REST to SESSION_LOST. */
    void (*session)(void *user, const char *id, enum session_step step);
};

struct node_options {
    struct slice id;     /* of the machine: the first CONN_ID_NODE_LEN characters of its ids */
    struct slice prefix; /* of all keys and channels: "tw" */
    size_t backlog_max;  /* bytes that wait to be published */
    uint64_t lease_ms;   /* a machine that is silent for so long is dead: 10000 */
};

/* name, help text: counters of one machine, since its start. */
#define NODE_COUNTERS(X)                                                                           \
    X(published, "Messages published to other machines")                                           \
    X(received, "Messages received from other machines")                                           \
    X(resent, "Messages published again because the connection was lost before the answer")        \
    X(duplicates, "Messages of other machines that had come before")                               \
    X(lost, "Messages of other machines that did not come")                                        \
    X(dropped, "Messages dropped because the queue to the servers was full, or refused")           \
    X(healed, "Messages of rooms with a memory that were read because they did not come")          \
    X(damaged, "Messages that this version cannot read")                                           \
    X(outages, "Times a server was away")

/* name, help text: these go up and down. */
#define NODE_GAUGES(X)                                                                             \
    X(queue_bytes, "Bytes that wait to be published")                                              \
    X(queue_messages, "Messages that wait to be published")                                        \
    X(rooms, "Rooms that concern this machine")                                                    \
    X(rooms_live, "Rooms that are subscribed and read")                                            \
    X(machines, "Other machines that live")                                                        \
    X(members, "Members of rooms on other machines")                                               \
    X(servers_up, "Redis servers that can be reached")

struct node_figures {
#define X(name, help) uint64_t name;
    NODE_COUNTERS(X)
    NODE_GAUGES(X)
#undef X
};

/* Copies the options. */
struct node *node_new(const struct node_options *options, const struct redis_functions *redis,
                      const struct node_bus *bus, uint64_t now_ms);
/* Unanswered requests end with UNREACHABLE. All commands must have been answered before: free the
 * servers first. Accepts NULL. */
void node_free(struct node *node);

/* What the servers report to the node. Valid as long as the node. */
struct redis_events node_events(struct node *node);

/* The time (monotonic) at which the following items and reports come. Before the first of a turn.
 */
void node_set_time(struct node *node, uint64_t now_ms);

/* Handles what a worker has done. The item stays the caller's. */
void node_take(struct node *node, const struct link_item *item);

/* The end of each turn of the loop in which an item or a report has come: what was gathered goes to
 * the servers. Also when node_next_ms() is over. `now_ms`: monotonic. */
void node_turn(struct node *node, uint64_t now_ms);
uint64_t node_next_ms(const struct node *node); /* UINT64_MAX: no time */

/* The figures of this moment. */
void node_figures(const struct node *node, struct node_figures *out);

/* Leaves the cluster: members, lease, channels. Calls done(user) when the servers have confirmed
 * it or are down; node_turn() must go on meanwhile. May be called again: for what was published
 * since. */
void node_leave(struct node *node, void (*done)(void *user), void *user);

#endif
