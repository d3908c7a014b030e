/* cluster_check_parts.h -- the report about one Redis server. Private to cluster_check*.c.
 *
 * cluster_check.c prints reports, cluster_check_server.c makes one, cluster_check_settings.c judges
 * the settings of the server, cluster_check_ask.c asks and waits for answers. */
#ifndef TIDEWIRE_SERVER_CLI_CLUSTER_CHECK_PARTS_H
#define TIDEWIRE_SERVER_CLI_CLUSTER_CHECK_PARTS_H

#include "base/buffer.h"
#include "cluster/redis/redis_connection.h"
#include "cluster/redis/redis_url.h"

/* A problem keeps the server from being used, or loses what must not be lost; a warning may become
 * one. */
enum cluster_level { CLUSTER_GOOD, CLUSTER_NOTE, CLUSTER_WARNING, CLUSTER_PROBLEM };

struct cluster_latency {
    const char *what; /* "ping", "spublish", "publish" (a script) */
    double median_ms, p99_ms;
};

enum { CLUSTER_LATENCIES_MAX = 2 + REDIS_SCRIPTS };

struct cluster_report {
    struct redis_url url;
    const char *prefix; /* of the keys */
    bool has_problem;
    struct buffer findings; /* each: a byte (its level), a text, a NUL */
    struct redis_facts facts;
    char role[16];
    struct cluster_latency latencies[CLUSTER_LATENCIES_MAX];
    unsigned latency_count;
};

__attribute__((format(printf, 3, 4))) void cluster_report_add(struct cluster_report *report,
                                                              enum cluster_level level,
                                                              const char *format, ...);

/* ---- cluster_check_ask.c ---- */

/* A connection on which one command at a time is sent and waited for. */
struct cluster_ask;

/* An answer. Elements of arrays follow each other, each with a line end. */
struct cluster_answer {
    bool lost; /* the connection has failed; `text` says why */
    bool is_error;
    long long integer;
    struct buffer text; /* with a NUL behind it */
};

/* Connects and authenticates. NULL: a sentence is in `why`. */
struct cluster_ask *cluster_ask_open(const struct redis_url *url, char *why, size_t size);
void cluster_ask_close(struct cluster_ask *ask); /* accepts NULL */
/* Sends a command and waits for its answer, which is valid until the next call. */
const struct cluster_answer *cluster_ask_command(struct cluster_ask *ask, unsigned argc,
                                                 const struct slice *argv);
/* The same for texts; the list ends with NULL. */
const struct cluster_answer *cluster_ask(struct cluster_ask *ask, ...) __attribute__((sentinel));
/* Subscribes a channel. */
const struct cluster_answer *cluster_ask_subscribe(struct cluster_ask *ask, const char *channel);
/* Publishes to the channel, over `ask`, and waits until `subscriber` has the message. False: an
 * error. */
bool cluster_ask_publish(struct cluster_ask *ask, struct cluster_ask *subscriber,
                         const char *channel);

/* ---- cluster_check_server.c ---- */

void cluster_check_server(struct cluster_report *report);

/* ---- cluster_check_settings.c ---- */

/* Judges what INFO and CONFIG GET say. */
void cluster_check_settings(struct cluster_report *report, struct cluster_ask *ask);

#endif
