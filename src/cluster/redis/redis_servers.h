/* redis_servers.h -- the Redis servers of a cluster, on the link's loop.
 *
 * Fills struct redis_functions for a node. A turn of the loop: the servers read what has come and
 * call the node's events; the node gathers; redis_servers_write() writes. One thread. */
#ifndef TIDEWIRE_CLUSTER_REDIS_REDIS_SERVERS_H
#define TIDEWIRE_CLUSTER_REDIS_REDIS_SERVERS_H

#include "cluster/redis/redis_server.h"

enum { REDIS_SERVERS_MAX = 64 };

struct redis_servers;

struct redis_servers_options {
    uv_loop_t *loop;
    /* Of the same loop: net/cosocket fills it. */
    struct cosocket_functions sockets;
    const struct redis_url *urls; /* at least one, at most REDIS_SERVERS_MAX */
    unsigned count;
    const char *client_name; /* for CLIENT SETNAME, "tidewire-1a2b3c"; without blanks */
    const char *prefix;      /* of all keys, "tw": a probe writes PREFIX:probe */
};

/* Copies the options. */
struct redis_servers *redis_servers_new(const struct redis_servers_options *options);
/* Valid as long as the servers. */
struct redis_functions redis_servers_functions(struct redis_servers *servers);
/* Begins to connect. Events come from the loop, never within a call. */
void redis_servers_start(struct redis_servers *servers, const struct redis_events *events);
/* At the end of each turn of the loop, before it waits: writes the commands. */
void redis_servers_write(struct redis_servers *servers);
/* The state of a server. */
struct redis_figures redis_servers_figures(const struct redis_servers *servers, unsigned server);
/* Closes all connections; unanswered commands end with NULL within this call. No event comes
 * afterwards. The loop must run until it has no handles before redis_servers_free(). */
void redis_servers_stop(struct redis_servers *servers);
void redis_servers_free(struct redis_servers *servers); /* accepts NULL */

#endif
