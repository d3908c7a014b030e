/* endpoint.h -- what C knows of one endpoint: its periods, its limits, which hooks it has.
 *
 * A plain value, which script/ fills when it loads the app. The hub calls no hook that the endpoint
 * does not have. */
#ifndef TIDEWIRE_CORE_HUB_ENDPOINT_H
#define TIDEWIRE_CORE_HUB_ENDPOINT_H

#include "base/limit.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Codecs by number, each for a name that is the same on every machine: "text", "binary", "json",
 * and "custom:" with the path of the endpoint, whose number is added. */
enum codec { CODEC_TEXT, CODEC_BINARY, CODEC_JSON, CODEC_CUSTOM };

enum heartbeat { HEARTBEAT_FRAME, HEARTBEAT_JSON };
enum slow_client { SLOW_CLIENT_CLOSE, SLOW_CLIENT_DROP, SLOW_CLIENT_CONFLATE };

struct endpoint {
    uint64_t ping_ms;            /* 0: no pings */
    uint64_t pong_ms;            /* silence allowed; 0: for ever */
    uint64_t handler_timeout_ns; /* CPU time that a hook may take between sleeps */
    uint64_t message_ms;         /* that a message may take from its first byte; 0: for ever */
    size_t max_message_size;
    size_t max_backlog;
    uint32_t max_fragments;   /* of one message */
    uint32_t max_connections; /* 0: no limit of its own; over all workers */
    /* A broadcast is encoded once for each. In the hub: CODEC_CUSTOM plus its number, where it is
     * one of the script's own. */
    uint32_t codec;
    enum heartbeat heartbeat;
    enum slow_client slow_client;
    bool has_message, has_ping, has_timeout, has_drain, has_reload;
    uint32_t generation; /* of its code */
    char *path;          /* its pattern, for the log; NULL: not known; owned */
    char *json_name;     /* conn.name as a JSON string with its quotes, for JSON pings; owned */

    /* the hub's */
    uint32_t number;
    struct limit
        *limit; /* those of max_connections, taken by the open and those in their handshake */
};

/* The codec of the endpoint with this number, one of the enum, as a number of its own. */
static inline uint32_t codec_number(uint32_t codec, uint32_t endpoint) {
    return codec == CODEC_CUSTOM ? CODEC_CUSTOM + endpoint : codec;
}

#endif
