/* endpoint.h -- what C must know of one endpoint: its periods, limits and which hooks exist.
 *
 * A plain value, filled by the scripts' side when the app is loaded. Hooks that do not exist are never
 * called for. */
#ifndef TIDEWIRE_CORE_ENDPOINT_H
#define TIDEWIRE_CORE_ENDPOINT_H

#include "core/places.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The scripts' numbers of the codecs that are the program's (codecs.lua). */
enum codec { CODEC_TEXT, CODEC_BINARY, CODEC_JSON };

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
    uint32_t codec; /* the scripts' number of its codec: a broadcast is encoded once for each */
    uint32_t
        next_codec; /* which it has when the code that is loaded has taken over; the hub's to change */
    enum heartbeat heartbeat;
    enum slow_client slow_client;
    bool has_message, has_ping, has_timeout, has_drain, has_reload;
    uint32_t generation; /* of its code */
    char *path;          /* its pattern, for the log; NULL: not known; owned */
    char *json_name;     /* conn.name as a JSON string with its quotes, for JSON pings; owned */

    /* the hub's */
    uint32_t number;
    struct places
        *places; /* those of max_connections, taken by the open and those in their handshake */
};

#endif
