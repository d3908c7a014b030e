/* cluster_link.h -- the link of a process to other machines: a thread with a loop, on which the
 * node and the Redis servers run.
 *
 * The main thread calls all functions, except for cluster_link_figures(), which any thread may
 * call. */
#ifndef TIDEWIRE_CLUSTER_LINK_CLUSTER_LINK_H
#define TIDEWIRE_CLUSTER_LINK_CLUSTER_LINK_H

#include "cluster/node/node.h"
#include "cluster/redis/redis_servers.h"
#include "core/bus/bus.h"

#include <uv.h>

struct cluster_link;

struct cluster_link_options {
    struct bus *bus;
    const struct redis_url *urls; /* of the servers */
    unsigned count;
    const char *prefix;
    size_t backlog_max;            /* bytes that wait to be published */
    size_t members_max;            /* bytes of what is known of members on other machines */
    uint64_t lease_ms;             /* a machine that is silent for so long is dead */
    void (*on_change)(void *user); /* on the link's thread: a server is up or down for
                                      the first time, or the node has left */
    void *user;
};

/* Copies the options. Nothing runs yet, and nothing is connected. */
struct cluster_link *cluster_link_new(const struct cluster_link_options *options);
/* Its loop, for the sockets of cluster_link_start(). */
uv_loop_t *cluster_link_loop(struct cluster_link *link);
/* Opens the bus's link, and starts the thread, which uses these sockets. False: no thread could be
 * started. */
bool cluster_link_start(struct cluster_link *link, const struct cosocket_functions *sockets,
                        int (*start)(uv_thread_t *thread, uv_thread_cb run, void *argument));
/* Has each server been up or down? */
bool cluster_link_has_tried(const struct cluster_link *link);

/* The machine leaves the cluster: others forget its members at once. It still publishes. May be
 * called again: everything that was published before leaves as well. */
void cluster_link_leave(struct cluster_link *link);
/* Has it left, since the last call of cluster_link_leave()? */
bool cluster_link_has_left(const struct cluster_link *link);
/* Ends the thread and all connections. The sockets are the caller's: it runs the loop until that
 * has no handles, before cluster_link_free(). */
void cluster_link_stop(struct cluster_link *link);
void cluster_link_free(struct cluster_link *link); /* accepts NULL */

/* The state of the link. */
struct cluster_figures {
    struct node_figures node;
    uint64_t dropped; /* by the bus, before the node got them */
    unsigned servers;
    struct cluster_server {
        bool is_up;
        bool is_valkey;
        uint64_t round_trip_us; /* 0: not known */
        uint64_t connects;
        size_t queued;
        uint32_t channels;
        char name[128], version[32], why[256]; /* "" while unknown */
    } server[REDIS_SERVERS_MAX];
};
/* A copy that is a second old at most. */
void cluster_link_figures(struct cluster_link *link, struct cluster_figures *out);

#endif
