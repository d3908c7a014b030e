/* hub_queues.c -- the limit on the memory of all queues of the process, and whose queue goes when
 * it is reached.
 *
 * queue_memory.h counts the memory. A worker whose count has reached its quota adds up the counts
 * of all workers. Above the limit it first writes the queues that no socket was offered yet; then
 * the largest queues of clients that do not read go, until there is room. The blocked connections
 * are in a heap, so no search is needed; its order may be stale by a few percent. Each worker only
 * touches its own connections: if another one has the largest queue, that worker is asked to make
 * room, and this one touches its own only if the limit is exceeded by much meanwhile.
 *
 * A connection that is to close keeps the frame that its socket has a part of. If that is still one
 * of the largest queues, the connection ends without a Close frame. */
#include "core/hub/hub_close.h"
#include "core/hub/hub_internal.h"

#include "base/log/log.h"

enum {
    STEPS = 256,             /* queues that one look at the limit shrinks */
    WRITES_PER_STEP = 64,    /* queues that are written before the sum is looked at again */
    SMALLEST_QUOTA = 4096,   /* bytes until the next look */
    RETRY_BYTES = 64 * 1024, /* the same if there was no room to make */
    SLACK_PART = 16,         /* the limit is exceeded by much at 1 / 16 of it */
    SAMPLES = 64             /* messages of a queue that are looked at to estimate its weight */
};

void hub_queues_count(struct hub *hub) {
    hub->queue_memory = (struct queue_memory){
        .bytes = &hub->stats.backlog_bytes, .look = hub_queues_look, .user = hub};
    queue_memory_begin(&hub->queue_memory);
}

void hub_queues_limit_changed(struct hub *hub) {
    hub->queue_memory.over = true;
}

static struct conn *largest(const struct hub *hub) {
    const struct deadline *node = deadlines_peek(&hub->blocked);
    return node == NULL ? NULL : DEADLINE_OWNER(node, struct conn, by_size);
}

static uint64_t size_in_heap(const struct conn *conn) {
    return deadlines_contains(&conn->by_size) ? UINT64_MAX - conn->by_size.key : 0;
}

static void tell_largest(struct hub *hub) {
    const struct conn *conn = largest(hub);
    atomic_store_explicit(&hub->stats.largest_queue, conn == NULL ? 0 : size_in_heap(conn),
                          memory_order_relaxed);
}

/* The size by which queues are compared: what the connection's end would free, roughly. */
static uint64_t size_of(const struct conn *conn) {
    size_t bytes = outq_memory(&conn->out), kept = hub_session_memory(conn);
    bytes = bytes > conn->shared ? bytes - conn->shared : 0;
    return bytes > kept ? bytes : kept;
}

static void enter(struct hub *hub, struct conn *conn) {
    deadlines_set(&hub->blocked, &conn->by_size, UINT64_MAX - size_of(conn));
    tell_largest(hub);
}

void hub_queues_note(struct hub *hub, struct conn *conn) {
    uint64_t size = size_of(conn), known = size_in_heap(conn);
    uint64_t change = size > known ? size - known : known - size;
    if (change > known / 32 || !deadlines_contains(&conn->by_size))
        enter(hub, conn);
}

void hub_queues_forget(struct hub *hub, struct conn *conn) {
    if (!deadlines_contains(&conn->by_size))
        return;
    deadlines_remove(&hub->blocked, &conn->by_size);
    conn->shared = 0;
    if (conn->session != NULL)
        conn->session->noted = 0;
    tell_largest(hub);
}

/* Messages may be shared, and the end of the connection would free less than its queue has. Returns
 * true if it is not the largest any more. */
static bool weigh(struct hub *hub, struct conn *conn) {
    size_t shared = outq_shared(&conn->out, SAMPLES);
    if (shared <= conn->shared + conn->shared / 8)
        return false;
    conn->shared = shared;
    enter(hub, conn);
    return largest(hub) != conn;
}

/* ---- making room ---- */

/* Writes some of the queues that wait for the end of the turn. False: there are none. */
static bool write_some(struct hub *hub) {
    struct list *list = list_empty(&hub->late) ? &hub->dirty : &hub->late;
    if (list_empty(list))
        return false;
    for (int i = 0; i < WRITES_PER_STEP && !list_empty(list); i++) {
        struct conn *conn = LIST_OWNER(list->next, struct conn, dirty);
        list_remove(&conn->dirty);
        hub_send_flush(hub, conn);
    }
    return true;
}

static void cut_off(struct hub *hub, struct conn *conn) {
    outq_clear(&conn->out);
    hub_queues_forget(hub, conn);
    if (conn->peer != NULL)
        hub->wire->kill(conn->peer);
}

/* The messages of a client that its endpoint does not close are dropped. False: there is nothing to
 * drop. */
static bool drop_messages(struct hub *hub, struct conn *conn) {
    if (conn->endpoint->slow_client == SLOW_CLIENT_CLOSE || conn->session != NULL)
        return false; /* a session has counted them */
    uint32_t dropped = outq_drop_unsent(&conn->out);
    if (dropped == 0)
        return false;
    hub_compress_done(hub, conn, false); /* a context must not refer to them */
    stats_add(&hub->stats.messages_dropped, dropped);
    conn->was_slow = true;
    conn->shared = 0; /* it was of what is dropped */
    enter(hub, conn);
    return true;
}

static void close_slow(struct hub *hub, struct conn *conn) {
    stats_add(&hub->stats.backlog_closed, 1);
    hub_close_begin(hub, conn, CLOSE_TRY_LATER, slice_of("too much waits for slow clients"), true);
    conn->shared = 0;
    enter(hub, conn);
}

static void shrink_largest(struct hub *hub, struct conn *conn) {
    if (conn->state == CONN_OPEN && conn->session != NULL && hub_session_shrink(hub, conn)) {
        if (conn->state == CONN_OPEN)
            enter(hub, conn);
    } else if (conn->state != CONN_OPEN) {
        cut_off(hub, conn);
    } else if (!drop_messages(hub, conn)) {
        close_slow(hub, conn);
    }
}

static void log_full(const struct bus_backlog *all) {
    struct log_line line;
    log_begin_limited(&line, LOG_WARN, "backlog_full");
    log_int(&line, "bytes", all->bytes);
    log_int(&line, "limit", all->max);
    log_end(&line);
}

/* Bytes until the next look: with several workers, all of which may grow meanwhile, a part of the
 * room. */
static int64_t quota_of(const struct hub *hub, int64_t room) {
    if (!hub_is_alone(hub))
        room /= 2 * (int64_t)bus_workers(hub->options.bus);
    return room < SMALLEST_QUOTA && !hub_is_alone(hub) ? SMALLEST_QUOTA : room;
}

static void set_quota(struct hub *hub, int64_t more, bool is_full) {
    struct queue_memory *memory = &hub->queue_memory;
    memory->quota = (int64_t)stats_read(&hub->stats.backlog_bytes) + more;
    memory->over = false;
    memory->full = is_full;
}

/* Another worker has a larger queue than this one, which is not over the limit by much. */
static bool is_for_another(struct hub *hub, const struct bus_backlog *all) {
    const struct conn *mine = largest(hub);
    if (all->largest <= (mine == NULL ? 0 : size_in_heap(mine)))
        return false;
    bus_ask_for_room(hub->options.bus, all->greediest);
    return mine == NULL || all->bytes - all->max <= all->max / SLACK_PART;
}

enum send_result hub_queues_make_room(struct hub *hub, const struct conn *sender) {
    enum send_result result = SEND_OK;
    bool logged = false;
    struct bus_backlog all;
    outq_drop_bundle(&hub->bundle);
    ref_cache_flush(&hub->ref_cache);
    for (int step = 0; step < STEPS; step++) {
        bus_backlog(hub->options.bus, &all);
        if (all.bytes <= all.max) {
            set_quota(hub, quota_of(hub, all.max - all.bytes), false);
            return result;
        }
        if (write_some(hub)) {
            outq_drop_bundle(&hub->bundle);
            ref_cache_flush(&hub->ref_cache);
            continue;
        }
        if (is_for_another(hub, &all))
            break;
        struct conn *conn = largest(hub);
        if (conn == NULL || (outq_empty(&conn->out) && hub_session_memory(conn) == 0))
            break;
        if (weigh(hub, conn))
            continue;
        if (!logged)
            log_full(&all);
        logged = true;
        shrink_largest(hub, conn);
        if (conn == sender)
            result = conn->state == CONN_OPEN ? SEND_BACKLOG : SEND_CLOSED;
    }
    set_quota(hub, RETRY_BYTES, true);
    return result;
}

void hub_queues_look(void *hub) {
    hub_queues_make_room(hub, NULL);
}

enum send_result hub_queues_admit(struct hub *hub, struct conn *conn) {
    while (!conn->blocked && !outq_empty(&conn->out))
        hub_send_flush(hub, conn);
    if (outq_empty(&conn->out))
        return SEND_OK;
    struct bus_backlog all;
    bus_backlog(hub->options.bus, &all);
    if (all.bytes <= all.max)
        set_quota(hub, quota_of(hub, all.max - all.bytes), false);
    if (all.bytes <= all.max + all.max / SLACK_PART)
        return SEND_OK;
    if (conn->endpoint->slow_client == SLOW_CLIENT_CLOSE) {
        close_slow(hub, conn);
        return SEND_CLOSED;
    }
    stats_add(&hub->stats.messages_dropped, 1);
    conn->was_slow = true;
    return SEND_BACKLOG;
}

void hub_queues_turn(struct hub *hub) {
    bool asked = !hub_is_alone(hub) && bus_must_make_room(hub->options.bus, hub->options.worker);
    if (asked || hub->queue_memory.over)
        hub_queues_make_room(hub, NULL);
}
