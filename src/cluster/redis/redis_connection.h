/* redis_connection.h -- one connection to a Redis server: commands in a pipeline, answers in their
 * order, and messages that no command has asked for.
 *
 * Authenticates, and finds out whether Redis still answers. The owner calls redis_connection_turn()
 * when it is asked to, and redis_connection_write() at the end of the loop's turn. Nothing here
 * frees a connection: one that has failed does nothing more. One thread. */
#ifndef TIDEWIRE_CLUSTER_REDIS_REDIS_CONNECTION_H
#define TIDEWIRE_CLUSTER_REDIS_REDIS_CONNECTION_H

#include "cluster/redis/redis.h"
#include "cluster/redis/redis_reader.h"
#include "cluster/redis/redis_url.h"
#include "core/cosocket/cosocket.h"

#include <uv.h>

enum {
    REDIS_CONNECT_MS = 3000, /* until the connection is there, without an option of the URL */
    REDIS_SILENCE_MS = 3000, /* Redis answers nothing for so long: it counts as away */
    REDIS_PING_MS = 1000,    /* between two PINGs */
};
/* Bytes of commands that were not answered: beyond them Redis is too slow. */
enum { REDIS_QUEUE_BYTES = 256 * 1024 * 1024 };

struct redis_connection;

struct redis_connection_events {
    void (*turn_wanted)(void *owner);
    /* The connection is there: commands may be sent. */
    void (*opened)(void *owner);
    /* After redis_connection_subscribes(): "smessage", "ssubscribe" or "sunsubscribe". */
    void (*message)(void *owner, const struct redisReply *reply);
    /* Redis has lost its scripts: sends SCRIPT LOAD for all. */
    void (*load_scripts)(void *owner);
};

/* Begins to connect. Borrows everything. */
struct redis_connection *redis_connection_new(uv_loop_t *loop,
                                              const struct cosocket_functions *sockets,
                                              const struct redis_url *url,
                                              const struct redis_connection_events *events,
                                              void *owner);
/* Calls the unanswered commands' functions with NULL. Accepts NULL. */
void redis_connection_free(struct redis_connection *connection);

/* Connects, reads, pings. `now_ms`: monotonic. False: it has failed, see redis_connection_why(). */
bool redis_connection_turn(struct redis_connection *connection, uint64_t now_ms);
/* Writes what waits. False: it has failed. */
bool redis_connection_write(struct redis_connection *connection);
/* The owner says that it has failed. The first reason counts. */
__attribute__((format(printf, 2, 3))) void
redis_connection_fail(struct redis_connection *connection, const char *format, ...);
bool redis_connection_failed(const struct redis_connection *connection);
/* A sentence. */
const char *redis_connection_why(const struct redis_connection *connection);

/* A command. NULL: its answers are messages, as those of SSUBSCRIBE. */
void redis_connection_command(struct redis_connection *connection, unsigned argc,
                              const struct slice *argv, redis_reply_fn *on_reply, void *context);
/* The same for texts; the list ends with NULL. */
void redis_connection_send(struct redis_connection *connection, redis_reply_fn *on_reply,
                           void *context, ...) __attribute__((sentinel));
/* AUTH, SELECT and CLIENT SETNAME, as the URL says. A refusal makes the connection fail. */
void redis_connection_hello(struct redis_connection *connection, const char *client_name);

/* From now on messages may come. */
void redis_connection_subscribes(struct redis_connection *connection);

/* From now on no error of Redis makes the connection fail; one that answers no command is passed to
 * `message`. */
void redis_connection_tolerate(struct redis_connection *connection);

/* Bytes of commands that were not answered; microseconds of the last PING, 0: none yet. */
size_t redis_connection_queued(const struct redis_connection *connection);
uint64_t redis_connection_round_trip_us(const struct redis_connection *connection);

#endif
