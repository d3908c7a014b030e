/* redis.h -- what a machine asks of its Redis servers, and what they report.
 *
 * Two tables of functions. redis_servers.c fills `struct redis_functions` with real servers, the
 * simulator with modelled ones; a node fills `struct redis_events`. Everything happens on the
 * link's thread. Pointers are borrowed until the call returns. */
#ifndef TIDEWIRE_CLUSTER_REDIS_REDIS_H
#define TIDEWIRE_CLUSTER_REDIS_REDIS_H

#include "base/slice.h"

#include <hiredis/read.h>
#include <stdbool.h>
#include <stdint.h>

struct redisReply; /* hiredis/hiredis.h */

/* The scripts of src/cluster/scripts, by their files' names in upper case. */
enum redis_script {
    REDIS_SCRIPT_PUBLISH, /* messages of rooms with a memory */
    REDIS_SCRIPT_READ,    /* what a room remembers */
    REDIS_SCRIPT_TOPS,    /* the last offsets of rooms */
    REDIS_SCRIPT_FLOOR,
    REDIS_SCRIPT_MEMBERS, /* joins and leaves */
    REDIS_SCRIPT_LEASE,
    REDIS_SCRIPT_SWEEP,
    REDIS_SCRIPT_SHARED,
    REDIS_SCRIPT_SESSION,
    REDIS_SCRIPTS
};

/* The answer to a command, which may be an error of Redis. NULL: the connection was lost before it
 * came, or there was none; the command may have been executed or not. `down` comes before. */
typedef void redis_reply_fn(void *context, const struct redisReply *reply);

struct redis_functions {
    unsigned count; /* of servers, each with a number below */
    /* Sends a command, at the end of the loop's turn; texts are copied. Answers come in the order
     * of the commands, never within the call. on_reply NULL: the answer is of no interest. */
    void (*command)(void *user, unsigned server, unsigned argc, const struct slice *argv,
                    redis_reply_fn *on_reply, void *context);
    /* Runs a script with one key (the partition's tag is in it) and arguments. */
    void (*call)(void *user, unsigned server, enum redis_script script, struct slice key,
                 unsigned argc, const struct slice *argv, redis_reply_fn *on_reply, void *context);
    /* Sharded subscriptions (SSUBSCRIBE), which outlive reconnects. */
    void (*subscribe)(void *user, unsigned server, struct slice channel);
    void (*unsubscribe)(void *user, unsigned server, struct slice channel);
    void *user;
};

/* What is known of a server. */
struct redis_facts {
    char run_id[64]; /* of its life */
    char version[32];
    bool is_valkey;
    bool same_run;   /* the same life as when it was last up */
    int64_t time_ms; /* its clock, wall time */
};

struct redis_events {
    /* Commands and subscriptions work: authenticated, a master, all scripts loaded, all channels
     * subscribed. */
    void (*up)(void *user, unsigned server, const struct redis_facts *facts);
    /* Once for each outage, also at the start. `why` is a sentence that says what to do. */
    void (*down)(void *user, unsigned server, const char *why);
    /* A channel is subscribed, for the first time or anew. */
    void (*subscribed)(void *user, unsigned server, struct slice channel);
    void (*message)(void *user, unsigned server, struct slice channel, struct slice payload);
    void *user;
};

#endif
