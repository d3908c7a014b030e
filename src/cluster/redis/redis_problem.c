/* redis_problem.c -- errors of Redis as sentences. See redis_problem.h. */
#include "cluster/redis/redis_problem.h"

#include <stdio.h>

enum { ERROR_BYTES = 200 }; /* of Redis' text, in a sentence */

static const struct {
    const char *begins;
    const char *advice;
} problems[] = {
    {"LOADING", "it is loading its data: wait until it has finished"},
    {"READONLY", "it is a replica: name the master in the URL"},
    {"MASTERDOWN", "it is a replica without its master: name the master in the URL"},
    {"OOM", "its memory is full: raise maxmemory, or remove keys"},
    {"MISCONF", "it cannot save its data and takes no writes: its log says why"},
    {"NOREPLICAS", "it has fewer replicas than min-replicas-to-write"},
    {"NOAUTH", "it needs a password: redis://:PASSWORD@host, or redis://USER:PASSWORD@host"},
    {"WRONGPASS", "the user or the password in the URL is wrong, or the user is off"},
    {"NOPERM", "the user may not do this: docs/cluster.md has the ACL rules that suffice"},
    {"ERR AUTH", "it has no password: take it out of the URL"},
    {"ERR invalid password", "the password in the URL is wrong"},
    {"ERR Client sent AUTH", "it has no password: take it out of the URL"},
    {"ERR DB index", "the database in the URL does not exist: raise databases"},
    {"ERR invalid DB index", "the database in the URL does not exist: raise databases"},
    {"ERR SELECT is not allowed", "a Redis Cluster has database 0 alone"},
    {"ERR max number of clients", "it has too many clients: raise maxclients"},
    {"DENIED", "it is in protected mode: set a password, or bind it to this address"},
    {"MOVED", "it is one server of a Redis Cluster: use servers with cluster-enabled no"},
    {"ASK", "it is one server of a Redis Cluster: use servers with cluster-enabled no"},
    {"CROSSSLOT", "it is one server of a Redis Cluster: use servers with cluster-enabled no"},
    {"CLUSTERDOWN", "its Redis Cluster is down: use servers with cluster-enabled no"},
    {"BUSY", "a script of another program runs in it for too long: SCRIPT KILL ends that"},
    {"ERR unknown command", "Redis or Valkey 7.0 or later is needed, with no command renamed"},
};

bool redis_problem_of(struct slice error, char *sentence, size_t size) {
    for (size_t i = 0; i < sizeof problems / sizeof *problems; i++) {
        size_t len = strlen(problems[i].begins);
        if (error.len < len || memcmp(error.bytes, problems[i].begins, len) != 0)
            continue;
        char next = error.len > len ? error.bytes[len] : ' ';
        if (next >= 'A' && next <= 'Z') /* BUSY, but not BUSYKEY */
            continue;
        size_t shown = error.len < ERROR_BYTES ? error.len : ERROR_BYTES;
        snprintf(sentence, size, "%s (Redis says: %.*s)", problems[i].advice, (int)shown,
                 error.bytes);
        return true;
    }
    return false;
}
