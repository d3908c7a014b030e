/* stats.h -- the counters of one worker since its start.
 *
 * Each counter has one writer, its worker. Any thread may read it (relaxed), so the figures of one
 * reading may differ from each other by a few units. */
#ifndef TIDEWIRE_CORE_BUS_STATS_H
#define TIDEWIRE_CORE_BUS_STATS_H

#include <stdatomic.h>
#include <stdint.h>

/* name, help text: the one list behind tw.stats(), /stats and /metrics. */
#define STATS_COUNTERS(X)                                                                          \
    X(connections_opened, "WebSocket connections opened")                                          \
    X(connections_closed, "WebSocket connections closed")                                          \
    X(sessions_passed, "Handshakes passed to the worker that has their session")                   \
    X(connections_refused, "Sockets and handshakes refused, by the server or by validate")         \
    X(messages_received, "Messages received from clients")                                         \
    X(messages_sent, "Messages queued to clients")                                                 \
    X(messages_dropped, "Messages dropped because a client's queue was full")                      \
    X(rate_drops, "Messages from clients that `rate` dropped")                                     \
    X(rate_pauses, "Times that `rate` stopped the reading of a client")                            \
    X(messages_replaced, "Messages that a newer one with the same key replaced while they waited") \
    X(bytes_received, "Payload bytes received from clients")                                       \
    X(bytes_sent, "Frame bytes written to clients")                                                \
    X(compressed_messages_received, "Compressed messages received from clients")                   \
    X(compressed_bytes_received, "Payload bytes of compressed messages, as they came")             \
    X(decompressed_bytes_received, "Payload bytes of compressed messages, decompressed")           \
    X(compressed_messages_sent, "Messages queued to clients compressed")                           \
    X(compressions, "Times a message was compressed; a broadcast once for all receivers")          \
    X(compression_bytes_in, "Payload bytes of these messages")                                     \
    X(compression_bytes_out, "Payload bytes that compression made of them")                        \
    X(pings_sent, "Heartbeat pings sent")                                                          \
    X(pongs_received, "Heartbeat answers received")                                                \
    X(timeouts, "Connections found silent for pong_period")                                        \
    X(script_errors, "Errors thrown or returned by hooks, timers and routes")                      \
    X(handler_timeouts, "Runs of scripts that were ended because they took too long")              \
    X(memory_errors, "Runs of scripts that failed because they needed too much memory")            \
    X(decode_errors, "Messages that the codec could not decode")                                   \
    X(protocol_errors, "Connections closed for breaking the WebSocket protocol")                   \
    X(slow_clients, "Times a client's queue reached its limit")                                    \
    X(backlog_closed, "Connections closed because limits.backlog was reached")                     \
    X(sessions_begun, "Sessions begun")                                                            \
    X(sessions_not_resumed, "Sessions to which a client came back that could not be resumed")      \
    X(sessions_evicted, "Waiting sessions ended because too many wait")                            \
    X(sessions_resumed, "Sessions whose client has come back")                                     \
    X(sessions_expired, "Sessions whose client has not come back in time")                         \
    X(http_requests, "Plain HTTP requests answered")                                               \
    X(requests_refused, "Plain HTTP requests refused by a limit or a rate")                        \
    X(idle_evicted, "Idle connections of plain HTTP closed to make room for new sockets")          \
    X(slow_readers, "Plain HTTP answers cut off because their client read too slowly")             \
    X(tls_handshakes, "TLS handshakes that came to an end")                                        \
    X(tls_failures, "TLS handshakes that failed")                                                  \
    X(upstreams_opened, "WebSocket connections to other servers opened")                           \
    X(upstream_messages_received, "Messages received from other servers")                          \
    X(upstream_messages_sent, "Messages queued to other servers")                                  \
    X(cosockets_connected, "Connections that sockets of scripts have made")                        \
    X(cosockets_failed, "Connections that sockets of scripts could not make")                      \
    X(room_memory_evictions, "Messages that rooms forgot because of limits.room_memory")

/* name, help text: these go up and down. */
#define STATS_GAUGES(X)                                                                            \
    X(connections, "WebSocket connections open now")                                               \
    X(sessions_waiting, "Sessions that wait for their clients now")                                \
    X(backlog_bytes, "Memory of what waits to be sent to WebSocket clients and servers")           \
    X(lua_memory_bytes, "Memory of the scripts, over all workers")                                 \
    X(lua_memory_limit_bytes, "What limits.memory allows the scripts, over all workers")           \
    X(upstreams, "WebSocket connections to other servers open now")                                \
    X(cosockets, "Sockets of scripts open now, with those that are kept")                          \
    X(cosockets_kept, "Sockets of scripts that are kept for another use")                          \
    X(repeating_timers, "Repeating timers of scripts and of connections that run now")             \
    X(rooms_with_memory, "Rooms that remember messages now")                                       \
    X(room_memory_messages, "Messages that rooms remember")                                        \
    X(room_memory_bytes, "Memory of these messages and rooms")

/* The bounds of the histogram of turns, in milliseconds; the last bucket has none. Turns of less
 * than the first bound may be counted to the millisecond. */
#define STATS_TURN_BOUNDS                                                                          \
    { 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000 }
enum { STATS_TURN_BUCKETS = 13 };

struct stats {
#define X(name, help) _Atomic uint64_t name;
    STATS_COUNTERS(X)
    STATS_GAUGES(X)
#undef X
    _Atomic uint64_t turns[STATS_TURN_BUCKETS]; /* turns of the loop, by their time */
    _Atomic uint64_t turn_ns;                   /* the sum of their times */
    _Atomic uint64_t largest_queue; /* bytes, of a client that does not read; not shown */
};

/* Only the counter's own worker. */
static inline void stats_add(_Atomic uint64_t *counter, uint64_t n) {
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

/* A turn of less than a millisecond: its time is not known, and counts as none. */
static inline void stats_add_short_turn(struct stats *stats) {
    stats_add(&stats->turns[0], 1);
}

static inline void stats_add_turn(struct stats *stats, uint64_t ns) {
    static const uint16_t bounds_ms[] = STATS_TURN_BOUNDS;
    unsigned bucket = 0;
    while (bucket < STATS_TURN_BUCKETS - 1 && ns > bounds_ms[bucket] * UINT64_C(1000000))
        bucket++;
    stats_add(&stats->turns[bucket], 1);
    stats_add(&stats->turn_ns, ns);
}

/* Sums over several workers. */
struct stats_total {
#define X(name, help) uint64_t name;
    STATS_COUNTERS(X)
    STATS_GAUGES(X)
#undef X
    uint64_t turns[STATS_TURN_BUCKETS], turn_ns;
};

static inline uint64_t stats_read(const _Atomic uint64_t *counter) {
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static inline void stats_add_to(struct stats_total *total, const struct stats *stats) {
#define X(name, help) total->name += stats_read(&stats->name);
    STATS_COUNTERS(X)
    STATS_GAUGES(X)
#undef X
    for (int i = 0; i < STATS_TURN_BUCKETS; i++)
        total->turns[i] += stats_read(&stats->turns[i]);
    total->turn_ns += stats_read(&stats->turn_ns);
}

#endif
