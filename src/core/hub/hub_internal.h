/* hub_internal.h -- what the hub's files share and no other file includes. */
#ifndef TIDEWIRE_CORE_HUB_HUB_INTERNAL_H
#define TIDEWIRE_CORE_HUB_HUB_INTERNAL_H

#include "base/slots.h"
#include "core/hub/conn.h"
#include "core/hub/hub.h"

struct hub {
    struct stats stats;
    const struct hub_events *events;
    void *events_user;
    const struct wire *wire;
    struct hub_options options;
    struct slots conns;
    struct table rooms, watched;
    uint64_t user_count;           /* how many connections have got a user */
    const atomic_bool *has_mail;   /* the bus has some for this worker */
    const atomic_bool *remembers;  /* rooms of some names have a memory */
    struct mail *mail, **mail_end; /* taken from the bus, not delivered yet */
    struct endpoint **endpoints;
    uint32_t endpoint_count;
    struct deadlines timers;
    struct list pending;
    struct list dirty;     /* connections whose queues are to be written */
    struct list late;      /* the same, since an earlier turn: its slice was over */
    struct list unhandled; /* connections with unhandled bytes, oldest first */
    size_t unhandled_bytes, unhandled_max, unhandled_wanted;
    unsigned char *scratch;
    struct ref_cache ref_cache;
    struct outq_bundle bundle;
    struct queue_memory queue_memory;
    struct deadlines blocked; /* blocked connections, the one with the largest queue first */
    struct spare_runs spare_runs;
    bool draining;
    bool reload_under_way; /* connections from slot `reload_next` on may have on_reload due */
    uint32_t reload_next;
    struct hub_drain *drain;             /* under way; or NULL */
    struct compressor_pool *compressors; /* of messages without a context; NULL: none yet, … */
    struct decompressor *decompressor;   /* … the same */
    bool keeps_sessions;                 /* when it drains */
    struct sessions *sessions;           /* without a bus; NULL: none yet */
    struct slots requests;               /* of hub_cluster.c */
};

static inline uint64_t hub_now(const struct hub *hub) {
    return hub->options.now_ms(hub->options.clock);
}

/* NULL: the hub has no bus, and counts none. */
static inline struct refusals *hub_refusals(const struct hub *hub) {
    return hub->options.bus == NULL ? NULL : bus_refusals(hub->options.bus);
}

/* Is this the only worker of the only machine? */
static inline bool hub_is_alone(const struct hub *hub) {
    return hub->options.bus == NULL || bus_is_alone(hub->options.bus);
}

/* May there be connections on other machines? */
static inline bool hub_has_link(const struct hub *hub) {
    return hub->options.bus != NULL && bus_has_link(hub->options.bus);
}

/* May a room have a memory? */
static inline bool hub_remembers(const struct hub *hub) {
    return __builtin_expect(atomic_load_explicit(hub->remembers, memory_order_relaxed), 0);
}

/* ---- hub.c ---- */

/* Sets the fields of an endpoint that follow from others. */
void hub_fit_endpoint(struct endpoint *endpoint);
/* Lets the connection's due hooks run at the end of the loop's turn. */
void hub_schedule(struct hub *hub, struct conn *conn);
/* Runs the connection's waiting hooks, until one sleeps; frees it if it is gone. */
void hub_step(struct hub *hub, struct conn *conn);
/* Stops reading from the client's socket, or reads on, unless the rate stops it. */
void hub_set_paused(struct hub *hub, struct conn *conn, bool paused);

/* A connection in its handshake, which no limit counts; NULL: there is no number for it. */
struct conn *hub_new_conn(struct hub *hub);
/* A connection with a socket opens: on_start is due. */
void hub_begin(struct hub *hub, struct conn *conn);

/* hub_received(), for all callers but ws.c: see hub.c. */
void hub_received_cold(struct hub *hub, struct conn *conn, const char *bytes, size_t len,
                       bool binary);

/* ---- hub_asks.c ---- */

/* A message comes that has to wait for its hook. True: it was an answer, and is handled. */
bool hub_asks_take(struct hub *hub, struct conn *conn, const char *bytes, size_t len, bool binary);
/* Is the inbox so full that the hub stops reading? */
bool hub_asks_inbox_full(const struct conn *conn);
/* The connection closes; or the client of a session is back while a hook sleeps, for which
 * on_resume has to wait (`lost`). */
void hub_asks_over(struct hub *hub, struct conn *conn, bool lost);

/* ---- hub_rooms.c ---- */

void hub_rooms_leave_all(struct hub *hub, struct conn *conn);
void hub_rooms_forget_watches(struct hub *hub);
/* A member's change, to the scripts of this worker; in a user's room only of the first and of the
 * last member. */
void hub_rooms_report(struct hub *hub, const struct member *member, enum presence_change change);
/* Removes the member from the bus. Mail from before comes first, and may close the connection. */
void hub_rooms_leave_directory(struct hub *hub, struct member *member);
/* MAIL_PRESENCE_CHANGED. */
void hub_rooms_presence_changed(struct hub *hub, const struct mail *mail);

/* ---- hub_cluster.c ---- */

/* MAIL_ANSWER. */
void hub_cluster_answered(struct hub *hub, const struct mail *mail);
/* The worker ends: answers are not needed any more. */
void hub_cluster_forget_all(struct hub *hub);

/* ---- hub_publish.c ---- */

/* Queues to receivers of this worker, each by its codec; the messages stay the caller's. Returns
 * the number of receivers. */
uint32_t hub_publish_here(struct hub *hub, const struct broadcast *broadcast);
/* MAIL_LOST_PUBLISH: the receivers are slow clients. */
void hub_publish_lost(struct hub *hub, const struct mail *mail);

/* ---- hub_memory.c ---- */

/* Queues what the room remembers for a connection that has just joined it. */
void hub_memory_replay(struct hub *hub, struct conn *conn, struct slice room,
                       struct replay_request *request, struct replay *replay);

/* ---- hub_mail.c ---- */

/* Lets other workers reach a connection, or not any more. */
void hub_mail_announce(struct hub *hub, struct conn *conn);
void hub_mail_withdraw(struct hub *hub, struct conn *conn);
/* Delivers a list that the bus returned, after the mail that was taken before. */
void hub_mail_deliver(struct hub *hub, struct mail *mail);

/* ---- hub_limits.c ---- */

/* Drops what the client has sent and ignores its further bytes; it gets a Close frame. */
void hub_limits_refuse(struct hub *hub, struct conn *conn, unsigned code, const char *reason);
/* The connection's inbox has changed. */
void hub_limits_count(struct hub *hub, struct conn *conn);
/* Endpoints have changed, and with them the largest message. */
void hub_limits_fit(struct hub *hub);
/* Are there so many unhandled bytes that the hub stops reading from clients whose hooks sleep? */
bool hub_limits_is_much(const struct hub *hub);
/* The client is read again: the time of its incomplete message starts anew. */
void hub_limits_resume(struct hub *hub, struct conn *conn);
/* That time is over. */
void hub_limits_due(struct hub *hub, struct conn *conn);
/* The client's socket is closed, and its kept bytes are dropped. */
void hub_limits_gone(struct hub *hub, struct conn *conn);

/* ---- hub_rate.c ---- */

/* A message of `len` bytes comes, before anything is done for it. False: the endpoint's rate does
 * not allow it; it is dropped, or the connection closes. May stop the reading of the client. */
bool hub_rate_admit(struct hub *hub, struct conn *conn, size_t len);
/* A ping or a pong comes. False: there are too many, and the connection closes. */
bool hub_rate_admit_control(struct hub *hub, struct conn *conn, bool is_pong);
/* The moment until which the rate stops the reading of the client; 0: it does not. */
uint64_t hub_rate_resume_ms(const struct conn *conn);
/* That moment has come. */
void hub_rate_due(struct hub *hub, struct conn *conn);
/* The connection closes: the rate does not stop reading any more. */
void hub_rate_release(struct conn *conn);
/* The endpoint's rates have changed. */
void hub_rate_reload(struct hub *hub, struct conn *conn);
void hub_rate_free(struct conn *conn);

/* ---- hub_queues.c ---- */

/* Kept out of the way of messages to clients that read. */
#define HUB_QUEUES_SELDOM __attribute__((cold, noinline))

/* The queue of a blocked connection has changed. */
HUB_QUEUES_SELDOM void hub_queues_note(struct hub *hub, struct conn *conn);
/* The connection is not blocked any more, or it is gone. */
HUB_QUEUES_SELDOM void hub_queues_forget(struct hub *hub, struct conn *conn);
/* Shrinks the largest queues until the limit holds. Says what happened to `sender` (NULL: none):
 * SEND_BACKLOG: its messages were dropped; SEND_CLOSED: it was closed. */
HUB_QUEUES_SELDOM enum send_result hub_queues_make_room(struct hub *hub, const struct conn *sender);
/* The same; struct queue_memory calls it. */
void hub_queues_look(void *hub);
/* While queue_memory.over is set: may a message enter this queue? Lets its socket take what waits
 * first. If not, handles the slow client as its endpoint says. May be called during a walk over
 * receivers. */
HUB_QUEUES_SELDOM enum send_result hub_queues_admit(struct hub *hub, struct conn *conn);
/* At the end of a turn. */
void hub_queues_turn(struct hub *hub);

/* ---- hub_session.c ---- */

/* Can the connection lose its socket, and wait for its client? */
bool hub_session_can_wait(const struct hub *hub, const struct conn *conn);
/* A new session begins: its client can come back to it, and learns that it is new. */
void hub_session_begin(struct hub *hub, struct conn *conn);
/* A PONG of a session's client. */
void hub_session_pong(struct conn *conn, const char *payload, size_t len);
/* Is it a connection that asks for a session? */
bool hub_session_is_candidate(const struct conn *conn);
/* The session that this new one ends, because its client has the same secret; 0: none. */
conn_id hub_session_replaces(struct hub *hub, const struct conn *conn);
/* A connection that was a candidate gets its user; it closes if the user has too many. */
void hub_session_take_user(struct hub *hub, struct conn *conn);
/* The socket is closed: the session waits. */
void hub_session_lost(struct hub *hub, struct conn *conn, unsigned code);
/* The session waits. Returns a closing connection, which has its socket and queue; NULL: nothing
 * was done. */
struct conn *hub_session_part(struct hub *hub, struct conn *conn, unsigned code);
/* The same: the socket gets a Close frame. `peer_done`: the client has sent its own. False: nothing
 * was done. */
bool hub_session_close_socket(struct hub *hub, struct conn *conn, unsigned code,
                              struct slice reason, bool peer_done);
/* Makes a connection without a socket a session. False: another one has the secret. */
bool hub_session_attach(struct hub *hub, struct conn *conn, struct endpoint *endpoint,
                        struct slice secret);
/* It waits, for so many milliseconds. */
void hub_session_wait(struct hub *hub, struct conn *conn, unsigned code, uint64_t ms);
/* It waits no more, if it does: it has a socket, or ends. */
void hub_session_end_waiting(struct hub *hub, struct conn *conn);
/* Queues the first message on each socket. */
void hub_session_greet(struct hub *hub, struct conn *conn, bool resumed);
/* `code`: of the lost socket; or 0. */
void hub_session_log(const struct conn *conn, const char *event, unsigned code);
/* The time of a waiting session is over. */
void hub_session_expire(struct hub *hub, struct conn *conn);
/* Ends a waiting session; its candidate begins a new one. */
void hub_session_end(struct hub *hub, struct conn *conn, const char *reason);
/* The connection closes: nothing is kept for its client any more. */
void hub_session_over(struct hub *hub, struct conn *conn);
/* `rate` has dropped a message, which counts unless it is of the JSON heartbeat. */
void hub_session_dropped(struct hub *hub, struct conn *conn, const char *bytes, size_t len,
                         bool binary);
/* A message is handled, or dropped, before those that wait for their hooks: it has its place behind
 * them, for the count of what is handled. */
void hub_session_keep_place(struct hub *hub, struct conn *conn);
/* The endpoint has no sessions any more: ends those that wait. */
void hub_sessions_end(struct hub *hub, struct endpoint *endpoint);
/* What its end would free, roughly, beside its queue. */
size_t hub_session_memory(const struct conn *conn);
/* The memory of all queues is at its limit: lets go of what a connected session has written, or
 * ends one that waits. False: there is nothing to free. */
bool hub_session_shrink(struct hub *hub, struct conn *conn);
/* Frees the session. */
void hub_session_forget(struct hub *hub, struct conn *conn);
/* How many of the client's messages were handled; -1: it has no session. */
int64_t hub_session_received(const struct conn *conn);

/* Room for a message of so many bytes among what is kept: SESSION_FULL: the client is slow;
 * SESSION_OVER: the session has ended. */
enum hub_session_room { SESSION_ROOM, SESSION_FULL, SESSION_OVER };
enum hub_session_room hub_session_make_room(struct hub *hub, struct conn *conn, size_t len);
/* The place of a message with the same key that no socket has taken and that this one may replace;
 * NULL: there is none, or what is kept would be too much. */
struct sent_entry *hub_session_find(const struct conn *conn, const struct message *message);

/* ---- hub_session_return.c ---- */

/* A candidate has its socket: on_resume of its session is due, or the socket is older than that of
 * the session and is closed. False: there is no such session. */
bool hub_session_return(struct hub *hub, struct conn *candidate);
/* A connection that was a candidate begins a session of its own. */
void hub_session_begin_late(struct hub *hub, struct conn *candidate);
/* on_resume begins; it has ended. */
void hub_session_hook_begins(struct conn *conn);
void hub_session_hook_ended(struct hub *hub, struct conn *conn);
/* A connection is to close: with the socket of its candidate, if there is one. */
void hub_session_take_socket_to_close(struct hub *hub, struct conn *conn);
/* The candidate's socket is gone: the session, if it is there, waits again. */
void hub_session_candidate_gone(struct hub *hub, const struct conn *candidate);
/* The session's candidate, if there is one, closes. */
void hub_session_turn_away(struct hub *hub, struct conn *conn, unsigned code, const char *reason);
/* The session ends: its candidate, if there is one, begins one of its own. */
void hub_session_release_candidate(struct hub *hub, struct conn *conn);

/* ---- hub_session_save.c ---- */

/* The hub drains. False: the connection is no session that is kept, and closes. */
bool hub_session_keep(struct hub *hub, struct conn *conn);
/* The number of sessions that wait, and of which no hook runs or is due. */
uint32_t hub_sessions_at_rest(const struct hub *hub);

/* ---- hub_session_move.c ---- */

/* The hooks of a session that moves have ended for now. May free the connection. */
void hub_session_go_on(struct hub *hub, struct conn *conn);
/* It ends, or its client is back: it does not move. */
void hub_session_stay(struct hub *hub, struct conn *conn);

/* ---- hub_reload.c ---- */

/* Schedules on_reload for the next few connections. */
void hub_reload_some(struct hub *hub);

/* ---- hub_send.c ---- */

/* The most that leaves in one write, but for a larger message. */
enum { HUB_SEND_SCRATCH_BYTES = 128 * 1024 };

/* Writes the queues of all connections, for one slice of time if a turn follows. */
void hub_send_flush_all(struct hub *hub);
/* Writes as much as the socket takes. */
void hub_send_flush(struct hub *hub, struct conn *conn);
/* Queues a message without asking for room. Takes over the caller's reference. */
void hub_send_push(struct hub *hub, struct conn *conn, struct message *message);
/* `count` messages for an open connection were lost on their way from another worker: handles it as
 * a slow client. */
enum send_result hub_send_lose(struct hub *hub, struct conn *conn, uint32_t count);
/* Does a ping of ours wait in the queue of a client that is behind? Then queue no other. */
bool hub_send_ping_waits(const struct conn *conn);
/* Queues a ping: a PING frame or a text. */
void hub_send_ping(struct hub *hub, struct conn *conn, enum opcode opcode, const void *payload,
                   size_t len);
/* Drops the references to queued pings and pongs. */
void hub_send_forget_pings(struct conn *conn);
/* Queues a shared message with a reference of its own, if there is room. */
enum send_result hub_send_deliver(struct hub *hub, struct conn *conn, struct message *message);
/* The same for a connection that may be gone (NULL) and may conflate; takes over the caller's
 * reference. */
enum send_result hub_send_deliver_own(struct hub *hub, struct conn *conn, struct message *message);

/* What sends of all kinds have in common: */
/* Is there room for `len` bytes in the queue of an open connection? If not, handles the slow client
 * as its endpoint says. */
enum send_result hub_send_admit(struct hub *hub, struct conn *conn, size_t len);
/* An open connection has no room for a message: handles the slow client. */
enum send_result hub_send_refuse_slow(struct hub *hub, struct conn *conn);
/* Something was added to the queue. */
void hub_send_queued(struct hub *hub, struct conn *conn);
/* Is it worth looking for an older message with the same key? If the socket still takes bytes, the
 * queue leaves soon anyway. NULL: no. */
bool hub_send_conflates(const struct conn *conn);
/* A message has replaced an older one. */
enum send_result hub_send_replaced(struct hub *hub, struct conn *conn);

/* ---- hub_send_session.c ---- */

/* Queues a message for an open connection with a session, which keeps it until the client
 * acknowledges it. Takes over the caller's reference. */
enum send_result hub_send_session_deliver(struct hub *hub, struct conn *conn,
                                          struct message *message);
/* The same of a payload. */
enum send_result hub_send_session(struct hub *hub, struct conn *conn, enum opcode opcode,
                                  const void *payload, size_t len);
/* Queues a frame that a session does not count. */
void hub_send_uncounted(struct hub *hub, struct conn *conn, enum opcode opcode, const void *payload,
                        size_t len);
/* Queues a message that a session keeps. */
void hub_send_again(struct hub *hub, struct conn *conn, const struct sent_frame *frame);
/* The whole queue is such messages, which max_backlog does not count. */
void hub_send_note_replay(struct conn *conn);
/* Queues a shared message that a room remembers, with a reference of its own and without asking for
 * room: neither max_backlog nor the limits of a session count it. False: the session has ended. */
bool hub_send_replay(struct hub *hub, struct conn *conn, struct message *message);
/* Does its queue have a part of a replay? Messages leave in their order, so no more of it is left
 * than the queue has. */
bool hub_send_is_replaying(struct conn *conn);

/* ---- hub_compress.c ---- */

/* The form of a shared message for a connection with permessage-deflate: compressed, or the message
 * itself. Returns a reference of the caller's own; the message stays the caller's. */
struct message *hub_compress_form(struct hub *hub, struct conn *conn, struct message *message);
/* The same of a payload. NULL: it stays plain. */
struct message *hub_compress_payload(struct hub *hub, struct conn *conn, enum opcode opcode,
                                     const void *payload, size_t len, struct slice key);
/* A compressed message was queued, or it was not, and the client does not get it. */
void hub_compress_done(struct hub *hub, struct conn *conn, bool queued);
/* Frees the connection's streams. */
void hub_compress_forget(struct conn *conn);

/* ---- hub_drain.c ---- */

/* When the next connection is to be closed, in milliseconds; UINT64_MAX: no drain is under way. */
uint64_t hub_drain_due_ms(const struct hub *hub);
void hub_drain_run(struct hub *hub, uint64_t now);

/* ---- hub_timers.c ---- */

/* Enters the nearest deadline, after one of the connection's times has changed. */
void hub_timers_arm(struct hub *hub, struct conn *conn);
void hub_timers_start(struct hub *hub, struct conn *conn);
void hub_timers_stop(struct hub *hub, struct conn *conn);
void hub_timers_kill_in(struct hub *hub, struct conn *conn, uint64_t ms);
void hub_timers_reset_silence(struct hub *hub, struct conn *conn);
/* The endpoint's periods have changed: moves times that are sooner now. */
void hub_timers_reload(struct hub *hub, struct conn *conn, uint64_t old_ping_ms);
void hub_timers_send_ping(struct hub *hub, struct conn *conn);
/* Does a silence that was noticed before still last? Then its time starts anew. */
bool hub_timers_confirm_silence(struct hub *hub, struct conn *conn);

#endif
