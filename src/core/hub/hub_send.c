/* hub_send.c -- what leaves: the hub fills queues during the loop's turn and writes them at its
 * end, thousands of them in several turns.
 *
 * A client's whole queue leaves in one write, so that many small sends in one turn cost one system
 * call. A connection whose socket did not take everything is `blocked` until hub_writable(). The
 * limit max_backlog is enforced here, where bytes enter a queue. */
#include "core/hub/hub_close.h"
#include "core/hub/hub_internal.h"

#include "base/turn.h"

/* One client gets about so many bytes in one turn of the loop: a fast reader's socket may never be
 * full. */
enum { TURN_BYTES = 256 * 1024 };

/* A run of so many bytes leaves at the end of the read that caused it. */
enum { EARLY_BYTES = 4 * 1024 };

/* A client with a longer queue than this, or than max_backlog if that is less, is behind: of pings
 * and pongs one of each waits. */
enum { BEHIND_BYTES = 64 * 1024 };

/* The memory of queued messages beside their bytes is limited to max_backlog, but never to less
 * than this. */
enum { OVERHEAD_BYTES = 64 * 1024 };

/* After so many queues the clock is read. */
enum { FLUSHES_PER_LOOK = 64 };

/* A queue waits for so many turns at most, however many others wait: each turn writes at least this
 * part of them. So a script that sends faster than sockets take bytes fills no memory meanwhile. */
enum { FLUSH_TURNS = 8 };

/* Lets the queue be written at the end of the turn. */
static void mark_dirty(struct hub *hub, struct conn *conn) {
    if (!conn->blocked && list_empty(&conn->dirty))
        list_append(&hub->dirty, &conn->dirty);
}

/* A blocked client whose queue is above half of max_backlog is slow: on_drain follows when its
 * queue is empty. */
static void note_slow(struct hub *hub, struct conn *conn) {
    if (!conn->blocked)
        return;
    if (conn->out.bytes > conn->endpoint->max_backlog / 2)
        conn->was_slow = true;
    hub_queues_note(hub, conn);
}

void hub_send_queued(struct hub *hub, struct conn *conn) {
    mark_dirty(hub, conn);
    note_slow(hub, conn);
}

void hub_send_push(struct hub *hub, struct conn *conn, struct message *message) {
    outq_push(&conn->out, message);
    hub_send_queued(hub, conn);
}

/* The queue is written: the connection ends if it is closing; on_drain is due if it was slow. */
static void flushed(struct hub *hub, struct conn *conn) {
    if (conn->state == CONN_CLOSING) {
        hub_close_written(hub, conn);
    } else if (conn->was_slow) {
        conn->was_slow = false;
        conn->replayed = 0;
        if (conn->endpoint->has_drain) {
            conn->due |= DUE_DRAIN;
            hub_schedule(hub, conn);
        }
    }
}

/* Writes the next bytes of the queue, which is not empty: TURN_BYTES at most. Returns how many it
 * gave to the socket, which may have taken less. */
static size_t write_next(struct hub *hub, struct conn *conn) {
    const unsigned char *bytes = hub->scratch;
    struct outq_bundle *bundle = &hub->bundle;
    bool same = outq_is_bundle(&conn->out, bundle);
    size_t len =
        same ? bundle->bytes : outq_next(&conn->out, hub->scratch, HUB_SEND_SCRATCH_BYTES, &bytes);
    if (len > TURN_BYTES) /* one large message */
        len = TURN_BYTES;
    bool gathered = bytes == hub->scratch;
    if (gathered && !same)
        outq_drop_bundle(bundle); /* the scratch does not hold its bytes any more */
    size_t written = hub->wire->write(conn->peer, bytes, len);
    if (!gathered || written < len || !outq_give_bundle(&conn->out, bundle, len))
        outq_written(&conn->out, written, &hub->ref_cache, &hub->spare_runs);
    stats_add(&hub->stats.bytes_sent, written);
    conn->blocked = written < len;
    return len;
}

/* `waited`: for the socket, so that no run has more memory than it needs. */
static void flush(struct hub *hub, struct conn *conn, bool waited) {
    if (conn->peer == NULL)
        return;
    for (size_t done = 0; !conn->blocked && done < TURN_BYTES && !outq_empty(&conn->out);)
        done += write_next(hub, conn);
    if (conn->blocked) {
        note_slow(hub, conn);
        if (!waited)
            outq_fit(&conn->out);
    } else if (!outq_empty(&conn->out)) {
        mark_dirty(hub, conn); /* it goes on in the next turn */
    } else {
        flushed(hub, conn);
    }
}

void hub_send_flush(struct hub *hub, struct conn *conn) {
    flush(hub, conn, false);
}

/* A write to the socket evicts most of the processor's cache, and the next writes need a chain of
 * objects each: connection, ring and peer, the peer's stream. Each write prefetches one link of the
 * chain of each of the next three connections, so that no write waits for memory. */
static void fetch_ahead(const struct hub *hub, const struct list *link, const struct list *end) {
    if (link == end)
        return;
    const struct conn *conn = LIST_OWNER(link, struct conn, dirty);
    if (conn->peer != NULL && hub->wire->expect != NULL)
        hub->wire->expect(conn->peer);
    link = link->next;
    if (link == end)
        return;
    conn = LIST_OWNER(link, struct conn, dirty);
    __builtin_prefetch(conn->peer);
    __builtin_prefetch(conn->out.ring);
    link = link->next;
    if (link != end) {
        __builtin_prefetch(LIST_OWNER(link, struct conn, dirty));
        __builtin_prefetch(link);
    }
}

/* Writes the queues of a list from its beginning, until none is left or a slice of time is over.
 * The first look at the clock begins the slice, so that few queues cost none. */
static void flush_some(struct hub *hub, struct list *list) {
    /* when all connections close, no client is to be served meanwhile */
    bool all = hub->options.slice_ns == NULL || (hub->draining && hub->drain == NULL);
    uint32_t count = 0, least = slots_count(&hub->conns) / FLUSH_TURNS;
    uint64_t began = 0;
    while (!list_empty(list)) {
        if (count++ % FLUSHES_PER_LOOK == FLUSHES_PER_LOOK - 1 && !all) {
            uint64_t now = hub->options.slice_ns();
            turn_note_work();
            if (began == 0)
                began = now;
            else if (now - began >= TURN_SLICE_NS && count > least)
                break;
        }
        struct conn *conn = LIST_OWNER(list->next, struct conn, dirty);
        list_remove(&conn->dirty);
        fetch_ahead(hub, list->next, list);
        hub_send_flush(hub, conn);
    }
}

/* The queues that the last turn could not write have a slice of their own, so that neither they nor
 * the new ones, such as the reply to one client during a broadcast to thousands, wait for all of
 * the others. */
void hub_send_flush_all(struct hub *hub) {
    struct list batch; /* a connection with more than TURN_BYTES is marked for the next turn */
    list_init(&batch);
    list_move(&batch, &hub->dirty);
    if (!list_empty(&hub->late))
        flush_some(hub, &hub->late);
    flush_some(hub, &batch);
    list_move(&hub->late, &batch);
    outq_drop_bundle(&hub->bundle);
    ref_cache_flush(&hub->ref_cache);
}

/* The processor's cache still has a run that has just been made, and its memory is free for the
 * next connection's. Runs that are one long frame wait for the end of the turn, which has
 * TURN_BYTES for each client. */
void hub_read_done(struct hub *hub, struct conn *conn) {
    const struct outq *out = &conn->out;
    if (out->bytes < EARLY_BYTES || out->bytes > MESSAGE_RUN_BYTES || conn->blocked ||
        !outq_is_run(out))
        return;
    list_remove(&conn->dirty);
    hub_send_flush(hub, conn);
}

void hub_writable(struct hub *hub, struct conn *conn) {
    hub_queues_forget(hub, conn);
    conn->blocked = false;
    flush(hub, conn, true);
}

/* Is there room for `len` more bytes, and for one more message? An empty queue takes one message of
 * any size, so that a single large one can be sent at all. */
static bool has_room(const struct conn *conn, size_t len) {
    const struct outq *out = &conn->out;
    size_t max = conn->endpoint->max_backlog;
    if (out->bytes == 0)
        return true;
    return out->bytes + len <= max &&
           (__builtin_expect(out->overhead < OVERHEAD_BYTES, 1) || out->overhead < max);
}

/* Has the memory of all queues reached this worker's part of the limit? */
static inline bool must_make_room(const struct hub *hub) {
    return __builtin_expect(hub->queue_memory.over, 0);
}

enum send_result hub_send_refuse_slow(struct hub *hub, struct conn *conn) {
    stats_add(&hub->stats.slow_clients, 1);
    if (conn->endpoint->slow_client != SLOW_CLIENT_CLOSE) {
        conn->was_slow = true;
        stats_add(&hub->stats.messages_dropped, 1);
        return SEND_BACKLOG;
    }
    hub_close_begin(hub, conn, CLOSE_POLICY, slice_of("slow client"), true);
    return SEND_CLOSED;
}

/* There is no room for `len` bytes: is that because of a replay? */
static __attribute__((cold, noinline)) bool has_room_after_replay(struct conn *conn, size_t len) {
    return hub_send_is_replaying(conn) &&
           conn->out.bytes - conn->replayed + len <= conn->endpoint->max_backlog;
}

enum send_result hub_send_admit(struct hub *hub, struct conn *conn, size_t len) {
    while (!has_room(conn, len) && !conn->blocked)
        hub_send_flush(hub, conn); /* the turn has not ended, the socket may still take it */
    if (has_room(conn, len) || has_room_after_replay(conn, len)) {
        enum send_result result = must_make_room(hub) ? hub_queues_admit(hub, conn) : SEND_OK;
        if (result == SEND_OK)
            stats_add(&hub->stats.messages_sent, 1);
        return result;
    }
    return hub_send_refuse_slow(hub, conn);
}

enum send_result hub_send_lose(struct hub *hub, struct conn *conn, uint32_t count) {
    stats_add(&hub->stats.slow_clients, 1);
    if (conn->endpoint->slow_client != SLOW_CLIENT_CLOSE) {
        conn->was_slow = true;
        mark_dirty(hub, conn); /* for on_drain, even if the queue is empty */
        stats_add(&hub->stats.messages_dropped, count);
        return SEND_BACKLOG;
    }
    hub_close_begin(hub, conn, CLOSE_POLICY, slice_of("slow worker"), false);
    return SEND_CLOSED;
}

bool hub_send_conflates(const struct conn *conn) {
    return conn_is_open(conn) && (conn->blocked || conn->peer == NULL) &&
           conn->endpoint->slow_client == SLOW_CLIENT_CONFLATE;
}

enum send_result hub_send_replaced(struct hub *hub, struct conn *conn) {
    note_slow(hub, conn); /* the newer one may be larger */
    stats_add(&hub->stats.messages_sent, 1);
    stats_add(&hub->stats.messages_replaced, 1);
    return SEND_OK;
}

/* Queues a message, whose reference it takes over, for an open connection. */
static enum send_result deliver(struct hub *hub, struct conn *conn, struct message *message) {
    if (message->key_len > 0 && hub_send_conflates(conn) &&
        outq_replace(&conn->out, message, conn->endpoint->max_backlog))
        return hub_send_replaced(hub, conn);
    enum send_result result = hub_send_admit(hub, conn, message->len);
    if (result == SEND_OK)
        hub_send_push(hub, conn, message);
    else
        message_unref(message);
    return result;
}

/* The same for a connection with permessage-deflate: hub_compress_form() has made the message. */
static __attribute__((noinline)) enum send_result deliver_form(struct hub *hub, struct conn *conn,
                                                               struct message *form) {
    bool compressed = message_is_compressed(form);
    enum send_result result = deliver(hub, conn, form);
    if (compressed)
        hub_compress_done(hub, conn, result == SEND_OK);
    return result;
}

enum send_result hub_send_deliver_own(struct hub *hub, struct conn *conn, struct message *message) {
    if (conn != NULL && conn_is_plain(conn))
        return deliver(hub, conn, message);
    if (conn_is_open(conn) && conn->session != NULL)
        return hub_send_session_deliver(hub, conn, message);
    enum send_result result = conn_is_open(conn)
                                  ? deliver_form(hub, conn, hub_compress_form(hub, conn, message))
                                  : SEND_CLOSED;
    message_unref(message);
    return result;
}

/* The rare cases of hub_send_deliver(). */
static __attribute__((noinline)) enum send_result deliver_shared(struct hub *hub, struct conn *conn,
                                                                 struct message *message) {
    if (!conn_is_open(conn))
        return SEND_CLOSED;
    if (conn->session != NULL)
        return hub_send_session_deliver(hub, conn, ref_cache_take(&hub->ref_cache, message));
    if (conn->compresses)
        return deliver_form(hub, conn, hub_compress_form(hub, conn, message));
    return deliver(hub, conn, ref_cache_take(&hub->ref_cache, message));
}

enum send_result hub_send_deliver(struct hub *hub, struct conn *conn, struct message *message) {
    /* the common case: the client reads, there is room, no message can be replaced */
    if (conn != NULL && conn_is_plain(conn) && !conn->blocked && !must_make_room(hub) &&
        has_room(conn, message->len)) {
        stats_add(&hub->stats.messages_sent, 1);
        outq_push(&conn->out, ref_cache_take(&hub->ref_cache, message));
        mark_dirty(hub, conn);
        return SEND_OK;
    }
    return deliver_shared(hub, conn, message);
}

/* Queues a payload as it is, for an open connection with permessage-deflate. */
static enum send_result send_plain(struct hub *hub, struct conn *conn, enum opcode opcode,
                                   const void *payload, size_t len) {
    enum send_result result = hub_send_admit(hub, conn, message_frame_size(len));
    if (result == SEND_OK) {
        outq_append_few(&conn->out, opcode, payload, len);
        hub_send_queued(hub, conn);
    }
    return result;
}

/* A message is queued (SEND_OK), and no walk over receivers is under way. */
static enum send_result after_send(struct hub *hub, const struct conn *conn,
                                   enum send_result result) {
    return result == SEND_OK && must_make_room(hub) ? hub_queues_make_room(hub, conn) : result;
}

/* hub_send() to a session. */
static __attribute__((noinline)) enum send_result send_to_session(struct hub *hub,
                                                                  struct conn *conn,
                                                                  enum opcode opcode,
                                                                  const void *payload, size_t len) {
    return after_send(hub, conn, hub_send_session(hub, conn, opcode, payload, len));
}

/* The rare cases of hub_send(). */
static __attribute__((noinline)) enum send_result send_compressed(struct hub *hub,
                                                                  struct conn *conn,
                                                                  enum opcode opcode,
                                                                  const void *payload, size_t len) {
    static const struct slice no_key = {NULL, 0};
    if (!conn_is_open(conn))
        return SEND_CLOSED;
    struct message *message = hub_compress_payload(hub, conn, opcode, payload, len, no_key);
    return after_send(hub, conn,
                      message == NULL ? send_plain(hub, conn, opcode, payload, len)
                                      : deliver_form(hub, conn, message));
}

enum send_result hub_send(struct hub *hub, struct conn *conn, enum opcode opcode,
                          const void *payload, size_t len) {
    if (conn == NULL || !conn_is_plain(conn))
        return conn_is_open(conn) && conn->session != NULL
                   ? send_to_session(hub, conn, opcode, payload, len)
                   : send_compressed(hub, conn, opcode, payload, len);
    enum send_result result = hub_send_admit(hub, conn, message_frame_size(len));
    if (result != SEND_OK)
        return result;
    /* a client that reads nothing would hold a spare run, however little is in it */
    outq_append(&conn->out, opcode, payload, len, conn->blocked ? NULL : &hub->spare_runs);
    hub_send_queued(hub, conn);
    return after_send(hub, conn, SEND_OK);
}

size_t hub_backlog(struct hub *hub, conn_id id) {
    const struct conn *conn = hub_find(hub, id);
    return conn == NULL ? 0 : conn->out.bytes;
}

enum send_result hub_send_with(struct hub *hub, struct conn *conn, enum opcode opcode,
                               const void *payload, size_t len, struct slice key,
                               bool stays_plain) {
    bool is_session = conn_is_open(conn) && conn->session != NULL;
    if ((key.len > 0 && hub_send_conflates(conn)) || (is_session && (key.len > 0 || stays_plain))) {
        struct message *message = message_new_keyed(opcode, payload, len, key);
        message->stays_plain = stays_plain;
        return after_send(hub, conn, hub_send_deliver_own(hub, conn, message));
    }
    return stays_plain && conn_is_open(conn) && conn->compresses
               ? after_send(hub, conn, send_plain(hub, conn, opcode, payload, len))
               : hub_send(hub, conn, opcode, payload, len);
}

/* ---- pings and pongs ---- */

/* No limit applies to them, so in the queue of a client that is behind one of each waits at most.
 */
static bool is_behind(const struct conn *conn, size_t len) {
    size_t max = conn->endpoint->max_backlog;
    return conn->blocked || (conn->out.bytes > 0 && conn->out.bytes + message_frame_size(len) >
                                                        (max < BEHIND_BYTES ? max : BEHIND_BYTES));
}

/* Queues a run, with a second reference in `*kept`. */
static void push_kept(struct conn *conn, struct message **kept, struct message *run) {
    if (*kept != NULL)
        message_unref(*kept);
    *kept = message_ref(run);
    outq_push(&conn->out, run);
}

bool hub_send_ping_waits(const struct conn *conn) {
    return conn->ping != NULL && outq_waits(conn->ping);
}

void hub_send_ping(struct hub *hub, struct conn *conn, enum opcode opcode, const void *payload,
                   size_t len) {
    if (is_behind(conn, len)) {
        struct message *run = message_run_new(opcode, payload, len, 0);
        run->is_uncounted = true;
        push_kept(conn, &conn->ping, run);
    } else if (conn->session != NULL && opcode == OPCODE_TEXT)
        hub_send_uncounted(hub, conn, opcode, payload, len);
    else
        outq_append_few(&conn->out, opcode, payload, len);
    hub_send_queued(hub, conn);
}

/* RFC 6455 section 5.5.3: of many pings that were not answered yet, the latest needs an answer. */
void hub_answer_ping(struct hub *hub, struct conn *conn, const char *payload, size_t len) {
    if (conn->state != CONN_OPEN || !hub_rate_admit_control(hub, conn, false))
        return;
    if (!is_behind(conn, len))
        outq_append_few(&conn->out, OPCODE_PONG, payload, len);
    else if (conn->pong == NULL || !outq_rewrite(&conn->out, conn->pong, OPCODE_PONG, payload, len))
        push_kept(conn, &conn->pong, message_control_new(OPCODE_PONG, payload, len));
    hub_send_queued(hub, conn);
}

void hub_send_forget_pings(struct conn *conn) {
    if (conn->pong != NULL)
        message_unref(conn->pong);
    if (conn->ping != NULL)
        message_unref(conn->ping);
    conn->pong = conn->ping = NULL;
}
