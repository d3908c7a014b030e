/* endpoint.h -- what C knows of one endpoint: its periods, its limits, which hooks it has.
 *
 * A plain value, which script/ fills when it loads the app. The hub calls no hook that the endpoint
 * does not have. */
#ifndef TIDEWIRE_CORE_HUB_ENDPOINT_H
#define TIDEWIRE_CORE_HUB_ENDPOINT_H

#include "base/limit.h"
#include "base/list.h"
#include "base/token_bucket.h"
#include "core/bus/broadcast.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum heartbeat { HEARTBEAT_FRAME, HEARTBEAT_JSON };
enum slow_client { SLOW_CLIENT_CLOSE, SLOW_CLIENT_DROP, SLOW_CLIENT_CONFLATE };
enum rate_action { RATE_CLOSE, RATE_DROP, RATE_PAUSE };

/* The option `rate`. */
struct message_rate {
    struct token_rate messages, bytes;
    enum rate_action action;
};

struct endpoint {
    uint64_t ping_ms;            /* 0: no pings */
    uint64_t pong_ms;            /* the longest silence of a client; 0: no limit */
    uint64_t handler_timeout_ns; /* the most CPU time of a hook between two sleeps */
    uint64_t message_ms; /* the most time from a message's first byte to its last; 0: no limit */
    size_t max_message_size;
    size_t max_backlog;
    uint32_t max_fragments;   /* of one message */
    uint32_t max_connections; /* over all workers; 0: no limit */
    /* A broadcast is encoded once for each codec. The hub adds the endpoint's number to
     * CODEC_CUSTOM. */
    uint32_t codec;
    enum heartbeat heartbeat;
    enum slow_client slow_client;
    bool has_message, has_ping, has_timeout, has_drain, has_reload;
    /* sessions: how long they wait for their clients (0: there are none), what each keeps of what
     * it has sent, and how many of them may wait over all workers */
    uint64_t resume_ms;
    size_t resume_bytes;
    uint32_t resume_messages;
    uint32_t resume_sessions;
    struct message_rate rate;
    struct token_rate control_rate; /* pings and pongs of one client */
    /* permessage-deflate, for connections from now on but for `threshold` and `level` */
    bool compresses;           /* agree with clients that offer it */
    bool keeps_context;        /* … on keeping the windows from one message to the next */
    uint8_t compress_level;    /* zlib's, 1 to 9 */
    size_t compress_min;       /* payloads of fewer bytes stay plain */
    uint32_t user_connections; /* of one user, over all workers; 0: no limit */
    bool user_replaces;        /* above it the oldest one closes; else the new one */
    uint32_t generation;       /* of its code */
    char *path;                /* its pattern, for the log; NULL: unknown; owned */
    char *json_name; /* conn.name as a JSON string with its quotes, for JSON pings; owned */

    /* the hub's */
    uint32_t number;
    _Atomic uint64_t *rate_counts[RATE_PAUSE + 1]; /* by action; see hub_rate.c */
    bool has_rate;
    bool takes_all;            /* it has handle_message, no rate and no sessions */
    struct list waiting;       /* its sessions that wait, the longest first */
    struct limit *all_waiting; /* their number over all workers */
    struct limit *limit;       /* max_connections: open connections and those in their handshake */
};

/* The codec's number in the hub: a custom codec has one for each endpoint. */
static inline uint32_t endpoint_codec_number(uint32_t codec, uint32_t endpoint) {
    return codec == CODEC_CUSTOM ? CODEC_CUSTOM + endpoint : codec;
}

#endif
