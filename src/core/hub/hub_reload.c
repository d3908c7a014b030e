/* hub_reload.c -- new code is activated: endpoints change under open connections.
 *
 * An endpoint keeps its number and its address in memory as long as the program runs, so a change
 * of its limits and hooks does not touch its connections. on_reload becomes due for all connections
 * at once, so it runs before their next hook; the hub runs it for idle connections a few per turn,
 * so that no turn is long. */
#include "core/hub/hub_close.h"
#include "core/hub/hub_internal.h"

#include "base/mem.h"

enum { RELOADS_PER_TURN = 100 };

static void update_heartbeats(struct hub *hub, const struct endpoint *endpoint,
                              uint64_t old_ping_ms) {
    uint32_t at = 0;
    for (struct conn *conn; (conn = slots_next(&hub->conns, &at)) != NULL;)
        if (conn->endpoint == endpoint && conn->state == CONN_OPEN)
            hub_timers_reload(hub, conn, old_ping_ms);
}

static bool has_other_control_rate(const struct endpoint *one, const struct endpoint *other) {
    return one->control_rate.burst != other->control_rate.burst ||
           one->control_rate.per_ms != other->control_rate.per_ms;
}

static void update_rates(struct hub *hub, const struct endpoint *endpoint) {
    uint32_t at = 0;
    for (struct conn *conn; (conn = slots_next(&hub->conns, &at)) != NULL;)
        if (conn->endpoint == endpoint && conn->state == CONN_OPEN)
            hub_rate_reload(hub, conn);
}

/* Closes the open connections of an endpoint. Returns their number. */
static uint32_t close_all_of(struct hub *hub, const struct endpoint *endpoint, unsigned code,
                             const char *reason) {
    uint32_t at = 0, closed = 0;
    for (struct conn *conn; (conn = slots_next(&hub->conns, &at)) != NULL;) {
        if (conn->endpoint != endpoint || conn->state != CONN_OPEN)
            continue;
        hub_close_begin(hub, conn, code, slice_of(reason), false);
        closed++;
    }
    return closed;
}

/* If the codec changes: delivers what other workers have sent by the old one, in the step in which
 * they learn of the new one; then closes the connections, whose clients use the old one. */
static uint32_t change_codec(struct hub *hub, struct endpoint *endpoint, uint32_t codec) {
    if (endpoint->codec == codec)
        return 0;
    if (hub->options.bus != NULL)
        hub_mail_deliver(
            hub, bus_set_codec(hub->options.bus, hub->options.worker, endpoint->number, codec));
    uint32_t closed = close_all_of(hub, endpoint, CLOSE_RESTART, "codec changed");
    endpoint->codec = codec;
    return closed;
}

uint32_t hub_activate_endpoint(struct hub *hub, uint32_t number, const struct endpoint *next) {
    struct endpoint *endpoint = hub->endpoints[number];
    struct limit *limit = endpoint->limit;
    struct limit *all_waiting = endpoint->all_waiting;
    struct list waiting;
    uint64_t ping_ms = endpoint->ping_ms, pong_ms = endpoint->pong_ms;
    bool rate_counts = !endpoint->takes_all || has_other_control_rate(endpoint, next);
    uint32_t codec = endpoint_codec_number(next->codec, number);
    uint32_t closed = change_codec(hub, endpoint, codec);
    list_init(&waiting);
    list_move(&waiting, &endpoint->waiting);
    mem_free(endpoint->path);
    mem_free(endpoint->json_name);
    *endpoint = *next;
    endpoint->codec = codec;
    endpoint->number = number;
    endpoint->limit = limit;
    list_init(&endpoint->waiting);
    list_move(&endpoint->waiting, &waiting);
    endpoint->all_waiting = all_waiting;
    atomic_store(&limit->max, next->max_connections);
    hub_limits_fit(hub);
    hub_fit_endpoint(endpoint);
    if (endpoint->resume_ms == 0)
        hub_sessions_end(hub, endpoint);
    if (rate_counts)
        update_rates(hub, endpoint);
    if (ping_ms != next->ping_ms || pong_ms != next->pong_ms)
        update_heartbeats(hub, endpoint, ping_ms);
    return closed;
}

/* Drops due hooks that the new code does not have: the hub does what it does without the hook. */
static void drop_lost_hooks(struct hub *hub, struct conn *conn) {
    const struct endpoint *endpoint = conn->endpoint;
    unsigned lost = (endpoint->has_ping ? 0 : DUE_PING) | (endpoint->has_drain ? 0 : DUE_DRAIN) |
                    (endpoint->has_timeout ? 0 : DUE_TIMEOUT) |
                    (endpoint->has_reload ? 0 : DUE_RELOAD);
    if (!endpoint->has_message) {
        inbox_free(conn->inbox);
        conn->inbox = NULL;
        hub_limits_count(hub, conn);
    }
    lost &= conn->due;
    conn->due &= (uint8_t)~lost;
    if (conn->state != CONN_OPEN)
        return;
    if (lost & DUE_PING && endpoint->ping_ms > 0)
        hub_timers_send_ping(hub, conn);
    if (lost & DUE_TIMEOUT) /* notices the silence anew */
        hub_timers_reload(hub, conn, endpoint->ping_ms);
}

void hub_activate(struct hub *hub, uint32_t generation) {
    uint32_t at = 0;
    for (struct conn *conn; (conn = slots_next(&hub->conns, &at)) != NULL;) {
        if (conn->endpoint == NULL || conn->endpoint->generation != generation)
            continue; /* an endpoint that the new code does not have keeps its code */
        drop_lost_hooks(hub, conn);
        if (conn->state == CONN_OPEN && conn->endpoint->has_reload && !(conn->due & DUE_OPEN))
            conn->due |= DUE_RELOAD;
    }
    hub->reload_under_way = true;
    hub->reload_next = 0;
}

void hub_reload_some(struct hub *hub) {
    struct conn *conn = NULL;
    if (!list_empty(&hub->pending) && hub->options.slice_ns != NULL)
        return; /* the last turn could not do all its work */
    for (int i = 0; hub->reload_under_way && i < RELOADS_PER_TURN;) {
        conn = slots_next(&hub->conns, &hub->reload_next);
        hub->reload_under_way = conn != NULL;
        if (conn != NULL && conn->due & DUE_RELOAD) {
            hub_schedule(hub, conn);
            i++;
        }
    }
}

void hub_generations(struct hub *hub, void (*f)(void *user, unsigned generation), void *user) {
    uint32_t at = 0;
    for (struct conn *conn; (conn = slots_next(&hub->conns, &at)) != NULL;)
        if (conn->state == CONN_OPEN)
            f(user, conn->endpoint->generation);
}

void hub_conns_of(struct hub *hub, uint32_t number, void (*f)(void *user, struct conn *conn),
                  void *user) {
    uint32_t at = 0;
    for (struct conn *conn; (conn = slots_next(&hub->conns, &at)) != NULL;)
        if (conn->endpoint != NULL && conn->endpoint->number == number)
            f(user, conn);
}

void hub_close_endpoint(struct hub *hub, uint32_t number, unsigned code, const char *reason) {
    hub_take_mail(hub);
    close_all_of(hub, hub->endpoints[number], code, reason);
}
