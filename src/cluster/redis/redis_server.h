/* redis_server.h -- one Redis server: a connection for commands and one for subscriptions, which
 * are made anew until both work.
 *
 * Owned by redis_servers.c, which has the loop's handles. One thread. */
#ifndef TIDEWIRE_CLUSTER_REDIS_REDIS_SERVER_H
#define TIDEWIRE_CLUSTER_REDIS_REDIS_SERVER_H

#include "cluster/redis/redis.h"
#include "cluster/redis/redis_url.h"
#include "core/cosocket/cosocket.h"

#include <uv.h>

enum { REDIS_RETRY_MIN_MS = 50, REDIS_RETRY_MAX_MS = 2000 };
/* The first retry of a server that was up for so long comes soon. */
enum { REDIS_STABLE_MS = 10 * 1000 };
/* Is it still a master? */
enum { REDIS_ROLE_MS = 2000 };

/* What the servers have in common. */
struct redis_shared {
    uv_loop_t *loop;
    struct cosocket_functions sockets;
    char *client_name, *probe_key;
    struct redis_events events;
    uint64_t random;                  /* for the jitter */
    void (*turn_wanted)(void *owner); /* owner: the servers */
    void *owner;
};

struct redis_figures {
    bool up;
    uint64_t round_trip_us;           /* of the last PING; 0: none yet */
    size_t queued;                    /* bytes of commands that wait to be written */
    uint32_t channels;                /* that are wanted */
    uint64_t connects;                /* how often it came up */
    const char *name, *version, *why; /* "" while unknown; `why` it is not up. Borrowed */
    bool is_valkey;
};

struct redis_server;

/* Copies the URL, borrows `shared`. Connects in the first turn. */
struct redis_server *redis_server_new(struct redis_shared *shared, unsigned number,
                                      const struct redis_url *url);
void redis_server_free(struct redis_server *server);
/* Ends both connections; calls the unanswered commands' functions with NULL. */
void redis_server_stop(struct redis_server *server);

/* Connects, reads, calls the events. Returns when the next turn is due. */
uint64_t redis_server_turn(struct redis_server *server, uint64_t now_ms);
/* Writes what waits. */
void redis_server_write(struct redis_server *server);

/* See struct redis_functions. False: it is not up, and the caller calls on_reply(NULL) later. */
bool redis_server_command(struct redis_server *server, unsigned argc, const struct slice *argv,
                          redis_reply_fn *on_reply, void *context);
bool redis_server_call(struct redis_server *server, enum redis_script script, struct slice key,
                       unsigned argc, const struct slice *argv, redis_reply_fn *on_reply,
                       void *context);
void redis_server_subscribe(struct redis_server *server, struct slice channel);
void redis_server_unsubscribe(struct redis_server *server, struct slice channel);

struct redis_figures redis_server_figures(const struct redis_server *server);

#endif
