/* hub.c -- the connections of one worker and the order of their hooks. See hub.h.
 *
 * A connection has at most one hook at a time (`busy`). What happens meanwhile waits: messages in
 * its inbox, everything else as a bit of `due`; hub_step() gives the next one its turn. Hooks that
 * sockets cause run at once, those that a script causes (a close) at the end of the loop's turn, so
 * that no hook ever runs inside another. A slot is free again when the socket is gone and on_close
 * has ended. */
#include "core/hub/hub_internal.h"

#include "base/log/log.h"
#include "base/mem.h"
#include "base/turn.h"
#include "core/frames/compressor.h"
#include "core/frames/decompressor.h"

#include <string.h>

/* A worker without a bus has no mail. */
static const atomic_bool never = false;

struct hub *hub_new(const struct hub_options *options) {
    struct hub *hub = mem_zalloc(sizeof *hub);
    hub->options = *options;
    hub->scratch = mem_alloc(HUB_SEND_SCRATCH_BYTES);
    list_init(&hub->pending);
    list_init(&hub->dirty);
    list_init(&hub->late);
    list_init(&hub->unhandled);
    hub->unhandled_max = hub->unhandled_wanted = SIZE_MAX;
    hub->mail_end = &hub->mail;
    hub->has_mail = options->bus == NULL ? &never : bus_mail_flag(options->bus, options->worker);
    hub->remembers = options->bus == NULL ? &never : bus_memory_flag(options->bus);
    return hub;
}

void hub_set_events(struct hub *hub, const struct hub_events *events, void *user) {
    hub->events = events;
    hub->events_user = user;
}

void hub_set_wire(struct hub *hub, const struct wire *wire) {
    hub->wire = wire;
}

void hub_free(struct hub *hub) {
    if (hub == NULL)
        return;
    for (uint32_t i = 0; i < hub->endpoint_count; i++) {
        if (hub->options.bus == NULL) {
            mem_free(hub->endpoints[i]->limit);
            mem_free(hub->endpoints[i]->all_waiting);
        }
        mem_free(hub->endpoints[i]->path);
        mem_free(hub->endpoints[i]->json_name);
        mem_free(hub->endpoints[i]);
    }
    mem_free(hub->endpoints);
    slots_close(&hub->conns);
    table_close(&hub->rooms);
    hub_rooms_forget_watches(hub);
    outq_drop_bundle(&hub->bundle);
    ref_cache_flush(&hub->ref_cache);
    spare_runs_free(&hub->spare_runs);
    mem_free(hub->scratch);
    mem_free(hub->drain);
    compressor_pool_free(hub->compressors);
    decompressor_free(hub->decompressor);
    sessions_free(hub->sessions);
    hub_cluster_forget_all(hub);
    deadlines_close(&hub->timers);
    deadlines_close(&hub->blocked);
    mem_free(hub);
}

/* The limit on the endpoint's connections: all workers' or, without a bus, the hub's own. */
static struct limit *limit_of(struct hub *hub, const struct endpoint *endpoint) {
    if (hub->options.bus != NULL)
        return bus_endpoint_limit(hub->options.bus, hub->options.worker, endpoint->number,
                                  endpoint->path, endpoint->max_connections, endpoint->codec);
    struct limit *limit = mem_zalloc(sizeof *limit);
    atomic_init(&limit->max, endpoint->max_connections);
    return limit;
}

void hub_fit_endpoint(struct endpoint *endpoint) {
    const struct message_rate *rate = &endpoint->rate;
    bool has_rate = rate->messages.burst > 0 || rate->bytes.burst > 0;
    endpoint->has_rate = has_rate;
    endpoint->takes_all = endpoint->has_message && !has_rate && endpoint->resume_ms == 0;
}

uint32_t hub_add_endpoint(struct hub *hub, const struct endpoint *endpoint) {
    uint32_t number = hub->endpoint_count++;
    hub->endpoints = mem_realloc(hub->endpoints, hub->endpoint_count * sizeof *hub->endpoints);
    hub->endpoints[number] = mem_alloc(sizeof *endpoint);
    *hub->endpoints[number] = *endpoint;
    hub->endpoints[number]->number = number;
    hub->endpoints[number]->codec = endpoint_codec_number(endpoint->codec, number);
    hub->endpoints[number]->limit = limit_of(hub, hub->endpoints[number]);
    list_init(&hub->endpoints[number]->waiting);
    hub->endpoints[number]->all_waiting = hub->options.bus == NULL
                                              ? mem_zalloc(sizeof(struct limit))
                                              : bus_endpoint_waiting(hub->options.bus, number);
    hub_fit_endpoint(hub->endpoints[number]);
    refusals_add_endpoint(hub_refusals(hub), endpoint->path);
    hub_limits_fit(hub);
    return number;
}

struct endpoint *hub_endpoint(struct hub *hub, uint32_t number) {
    return number < hub->endpoint_count ? hub->endpoints[number] : NULL;
}

struct stats *hub_stats(struct hub *hub) {
    return &hub->stats;
}

const struct limit *hub_connection_limit(const struct hub *hub) {
    return hub->options.limit;
}

bool hub_is_first(struct hub *hub, uint32_t endpoint, enum bus_subject subject) {
    return hub->options.bus == NULL || bus_is_first(hub->options.bus, endpoint, subject);
}

/* ---- connections and their ids ---- */

struct conn *hub_find(struct hub *hub, conn_id id) {
    struct conn *conn = slots_find(&hub->conns, id);
    return conn != NULL && conn->id == id ? conn : NULL;
}

conn_id hub_id_of(const struct conn *conn) {
    return conn->id;
}

struct conn_object *hub_object_of(struct conn *conn) {
    return &conn->object;
}

const struct endpoint *hub_endpoint_of(const struct conn *conn) {
    return conn->endpoint;
}

const struct endpoint *hub_find_endpoint(struct hub *hub, conn_id id) {
    const struct conn *conn = hub_find(hub, id);
    return conn == NULL ? NULL : conn->endpoint;
}

bool hub_is_open(struct hub *hub, conn_id id) {
    const struct conn *conn = hub_find(hub, id);
    return conn != NULL && conn->state == CONN_OPEN;
}

struct conn *hub_new_conn(struct hub *hub) {
    struct conn *conn = mem_zalloc(sizeof *conn);
    uint64_t number = slots_add(&hub->conns, conn);
    if (number == 0) {
        mem_free(conn);
        return NULL;
    }
    conn->id = conn_id_of(hub->options.worker, number);
    conn->state = CONN_HANDSHAKE;
    conn->rtt_seconds = -1;
    list_init(&conn->pending);
    list_init(&conn->dirty);
    list_init(&conn->unhandled_link);
    return conn;
}

struct conn *hub_admit(struct hub *hub, bool is_counted) {
    struct limit *limit = is_counted ? NULL : hub->options.limit;
    if (hub->draining || (limit != NULL && !limit_take(limit)))
        return NULL;
    struct conn *conn = hub_new_conn(hub);
    if (conn != NULL)
        conn->is_counted = limit != NULL;
    else if (limit != NULL)
        limit_release(limit);
    return conn;
}

void hub_use_place(struct conn *conn, struct session_place *place) {
    conn->place = place;
}

void hub_handshake(struct hub *hub, struct conn *conn, const struct http_request *request,
                   struct handshake_answer *answer) {
    hub->events->handshake(hub->events_user, conn, request, answer);
}

bool hub_assign(struct hub *hub, struct conn *conn, uint32_t number) {
    struct endpoint *endpoint = hub->endpoints[number];
    if (!limit_take(endpoint->limit))
        return false;
    conn->endpoint = endpoint;
    hub_mail_announce(hub, conn);
    return true;
}

void hub_unassign(struct hub *hub, struct conn *conn) {
    hub_session_forget(hub, conn);
    conn->is_special = false;
    hub_rooms_leave_all(hub, conn);
    hub_mail_withdraw(hub, conn);
    limit_release(conn->endpoint->limit);
    conn->endpoint = NULL;
}

/* The only function that frees a connection. */
static void release(struct hub *hub, struct conn *conn) {
    hub->events->forgotten(hub->events_user, conn);
    hub_timers_stop(hub, conn);
    hub_rooms_leave_all(hub, conn);
    hub_mail_withdraw(hub, conn);
    list_remove(&conn->pending);
    list_remove(&conn->dirty);
    outq_clear(&conn->out);
    if (conn->endpoint != NULL && !conn->refused && !conn->is_adopted &&
        !hub_session_is_candidate(conn))
        limit_release(conn->endpoint->limit);
    hub_session_forget(hub, conn);
    if (conn->is_counted)
        limit_release(hub->options.limit);
    session_place_return(conn->place);
    slots_remove(&hub->conns, conn->id);
    inbox_free(conn->inbox);
    conn->inbox = NULL;
    hub_limits_gone(hub, conn);
    hub_send_forget_pings(conn);
    hub_rate_free(conn);
    hub_compress_forget(conn);
    hub_queues_forget(hub, conn);
    mem_free(conn->close_reason);
    mem_free(conn);
}

void hub_abandon(struct hub *hub, struct conn *conn) {
    release(hub, conn);
}

uint32_t hub_admitted(const struct hub *hub) {
    return slots_count(&hub->conns) - (hub->keeps_sessions ? hub_sessions_at_rest(hub) : 0);
}

/* ---- the order of hooks ---- */

void hub_schedule(struct hub *hub, struct conn *conn) {
    if (list_empty(&conn->pending))
        list_append(&hub->pending, &conn->pending);
}

static bool take_due(struct conn *conn, enum conn_due which) {
    if (!(conn->due & which))
        return false;
    conn->due &= (uint8_t)~which;
    return true;
}

static enum hook_state run_message(struct hub *hub, struct conn *conn) {
    struct inbox_item *item = inbox_pop(conn->inbox);
    enum hook_state state = HOOK_DONE;
    if (!item->is_handled)
        state = hub->events->message(hub->events_user, conn, item->bytes, item->len, item->binary);
    mem_free(item);
    return state;
}

/* Runs the next waiting hook. False: no hook waits. */
static bool run_next(struct hub *hub, struct conn *conn, enum hook_state *state) {
    const struct hub_events *events = hub->events;
    void *user = hub->events_user;
    bool open = conn->state == CONN_OPEN;
    if (take_due(conn, DUE_OPEN)) {
        *state = events->opened(user, conn);
    } else if (open && take_due(conn, DUE_RELOAD)) {
        *state = events->reloaded(user, conn);
    } else if (open && take_due(conn, DUE_TIMEOUT) && hub_timers_confirm_silence(hub, conn)) {
        *state = events->timeout(user, conn);
    } else if (!inbox_empty(conn->inbox)) {
        *state = run_message(hub, conn);
    } else if (open && take_due(conn, DUE_DISCONNECT)) {
        *state = events->disconnected(user, conn, conn->session->lost_code);
    } else if (open && take_due(conn, DUE_RESUME)) {
        hub_session_hook_begins(conn);
        *state = events->resumed(user, conn, conn->session->candidate);
    } else if (open && take_due(conn, DUE_DRAIN)) {
        *state = events->drained(user, conn);
    } else if (open && take_due(conn, DUE_PING)) {
        *state = events->ping(user, conn);
    } else if (take_due(conn, DUE_CLOSE)) {
        *state = events->closed(user, conn, conn->close_code, conn->close_reason,
                                conn->close_reason_len);
    } else {
        conn->due = 0; /* pings and timeouts of a closed connection */
        return false;
    }
    return true;
}

void hub_set_paused(struct hub *hub, struct conn *conn, bool paused) {
    if (conn->paused == paused || conn->peer == NULL)
        return;
    if (!paused && hub_rate_resume_ms(conn) != 0)
        return;
    conn->paused = paused;
    if (!paused) { /* the hub could not notice signs of life while it did not read */
        hub_limits_resume(hub, conn);
        hub_timers_reset_silence(hub, conn);
    }
    hub->wire->pause(conn->peer, paused);
}

/* Have the waiting messages used their slice of the turn? The first call begins it. */
static bool slice_is_over(const struct hub *hub, const struct conn *conn, uint64_t *began) {
    if (hub->options.slice_ns == NULL || inbox_empty(conn->inbox))
        return false;
    uint64_t now = hub->options.slice_ns();
    if (*began == 0)
        *began = now;
    return now - *began >= TURN_SLICE_NS;
}

/* Gives each hook that waits its turn, until one sleeps, none is left or others must have theirs;
 * then frees what is over. */
void hub_step(struct hub *hub, struct conn *conn) {
    bool had_inbox = conn->inbox != NULL, gives_way = false;
    uint64_t began = 0;
    if (conn->state == CONN_HANDSHAKE) {
        hub_session_begin_late(hub, conn);
        return; /* scheduled again */
    }
    while (!conn->busy) {
        if (conn->session != NULL && conn->session->resuming != 0)
            hub_session_hook_ended(hub, conn);
        enum hook_state state;
        gives_way = slice_is_over(hub, conn, &began);
        if (gives_way) {
            hub_schedule(hub, conn);
            break;
        }
        conn->busy = true;
        bool ran = run_next(hub, conn, &state);
        conn->busy = ran && state == HOOK_SLEEPS;
        if (!ran)
            break;
    }
    if (had_inbox)
        hub_limits_count(hub, conn);
    if (conn->busy || gives_way)
        return;
    if (inbox_empty(conn->inbox)) {
        inbox_free(conn->inbox);
        conn->inbox = NULL;
        hub_set_paused(hub, conn, false);
    }
    if (conn->state == CONN_GONE)
        release(hub, conn);
    else if (conn->session != NULL && conn->session->move != MOVE_NONE)
        hub_session_go_on(hub, conn);
}

void hub_hook_done(struct hub *hub, conn_id id) {
    struct conn *conn = hub_find(hub, id);
    if (conn == NULL)
        return;
    conn->busy = false;
    hub_step(hub, conn);
}

/* Runs the hooks that wait now, for one slice of time. */
static void run_pending(struct hub *hub) {
    struct list batch; /* hooks that are scheduled from now on wait for the next turn */
    uint64_t (*now_ns)(void) = hub->options.slice_ns;
    list_init(&batch);
    list_move(&batch, &hub->pending);
    uint64_t began = now_ns == NULL || list_empty(&batch) ? 0 : now_ns();
    while (!list_empty(&batch)) {
        struct conn *conn = LIST_OWNER(batch.next, struct conn, pending);
        list_remove(&conn->pending);
        hub_step(hub, conn);
        if (began != 0 && now_ns() - began >= TURN_SLICE_NS)
            break;
    }
    list_move(&batch, &hub->pending);
    list_move(&hub->pending, &batch); /* the rest of the batch comes first */
}

void hub_turn_end(struct hub *hub) {
    hub_reload_some(hub);
    if (!list_empty(&hub->pending))
        run_pending(hub);
    hub_send_flush_all(hub);
    hub_queues_turn(hub);
}

bool hub_has_pending(const struct hub *hub) {
    return !list_empty(&hub->pending) || !list_empty(&hub->dirty) || !list_empty(&hub->late) ||
           hub->reload_under_way;
}

/* ---- news from the sockets ---- */

void hub_open(struct hub *hub, struct conn *conn, void *peer) {
    conn->peer = peer;
    conn->is_counted = hub->options.limit != NULL;
    stats_add(&hub->stats.connections_opened, 1);
    stats_add(&hub->stats.connections, 1);
    if (!hub_session_is_candidate(conn) || !hub_session_return(hub, conn))
        hub_begin(hub, conn);
}

void hub_begin(struct hub *hub, struct conn *conn) {
    conn->state = CONN_OPEN;
    conn->due |= DUE_OPEN;
    struct log_line line;
    log_begin(&line, LOG_DEBUG, "opened");
    log_path(&line, conn->endpoint->path);
    log_conn(&line, conn->id);
    log_int(&line, "generation", conn->endpoint->generation);
    log_end(&line);
    if (conn->session != NULL)
        hub_session_begin(hub, conn);
    hub_timers_start(hub, conn);
    hub_schedule(hub, conn);
    if (conn->session != NULL)
        hub_session_take_user(hub, conn);
}

void hub_alive(struct hub *hub, struct conn *conn) {
    conn->last_seen_ms = hub_now(hub);
}

/* The rare cases of received(): counts a message of a session. False: no hook gets it. */
static __attribute__((noinline)) bool admit(struct hub *hub, struct conn *conn, const char *bytes,
                                            size_t len, bool binary) {
    if (conn->session != NULL)
        conn->session->arrived++;
    if (conn->endpoint->has_rate && !hub_rate_admit(hub, conn, len)) {
        if (conn->state == CONN_OPEN && conn->session != NULL)
            hub_session_dropped(hub, conn, bytes, len, binary);
        return false;
    }
    return conn->endpoint->has_message;
}

static inline void received(struct hub *hub, struct conn *conn, const char *bytes, size_t len,
                            bool binary) {
    hub_take_mail(hub); /* mail from before this message is delivered before what it causes */
    if (conn->state != CONN_OPEN)
        return;
    stats_add(&hub->stats.messages_received, 1);
    stats_add(&hub->stats.bytes_received, len);
    if (!conn->endpoint->takes_all && !admit(hub, conn, bytes, len, binary))
        return;
    if (!conn->busy && conn->inbox == NULL && !(conn->due & (DUE_OPEN | DUE_RELOAD))) {
        conn->busy = true;
        conn->busy =
            hub->events->message(hub->events_user, conn, bytes, len, binary) == HOOK_SLEEPS;
        if (!conn->busy && conn->due != 0)
            hub_step(hub, conn);
        return;
    }
    if (hub_asks_take(hub, conn, bytes, len, binary))
        return;
    if (!mem_has(len)) {
        hub_limits_refuse(hub, conn, CLOSE_TRY_LATER, "the server has no memory for this message");
        return;
    }
    if (conn->inbox == NULL)
        conn->inbox = inbox_new();
    inbox_push(conn->inbox, bytes, len, binary);
    hub_limits_count(hub, conn);
    if (hub_asks_inbox_full(conn) || hub_limits_is_much(hub))
        hub_set_paused(hub, conn, true);
    if (!conn->busy)
        hub_schedule(hub, conn);
}

/* The only caller is in ws.c: so the compiler puts it into the loop there. Others call
 * hub_received_cold(). */
void hub_received(struct hub *hub, struct conn *conn, const char *bytes, size_t len, bool binary) {
    received(hub, conn, bytes, len, binary);
}

void hub_received_cold(struct hub *hub, struct conn *conn, const char *bytes, size_t len,
                       bool binary) {
    received(hub, conn, bytes, len, binary);
}

void hub_kill_all(struct hub *hub) {
    uint32_t at = 0;
    for (struct conn *conn; (conn = slots_next(&hub->conns, &at)) != NULL;)
        if (conn->peer != NULL)
            hub->wire->kill(conn->peer);
}

void hub_end(struct hub *hub) {
    hub->options.slice_ns = NULL; /* no other turn follows */
    run_pending(hub);
    hub_send_flush_all(hub);
    uint32_t at = 0;
    for (struct conn *conn; (conn = slots_next(&hub->conns, &at)) != NULL;)
        release(hub, conn);
    hub_take_mail(hub); /* frees it: no connection is left */
}
