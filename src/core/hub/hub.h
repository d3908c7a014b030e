/* hub.h -- every connection of one worker; where sockets and scripts meet.
 *
 * The hub knows neither sockets nor Lua nor a loop. net/ passes to it what clients send, script/
 * what to send to clients. It keeps the order that scripts rely on: the hooks of one connection
 * never overlap, and on_close runs exactly once, last. Everything on the worker's thread; nothing
 * in it leaves that thread.
 *
 * Each heading below names the file of its functions. */
#ifndef TIDEWIRE_CORE_HUB_HUB_H
#define TIDEWIRE_CORE_HUB_HUB_H

#include "base/packing.h"
#include "core/bus/bus.h"
#include "core/frames/compression.h"
#include "core/frames/opcodes.h"
#include "core/hub/endpoint.h"
#include "core/hub/events.h"

struct hub;
struct conn; /* one client; only the hub's files know its fields */

enum send_result { SEND_OK, SEND_CLOSED, SEND_BACKLOG };

/* ---- hub.c: the hub, its endpoints, the connections and the order of their hooks ---- */

struct hub_options {
    unsigned worker;     /* 0 to 127, part of each connection's id */
    struct bus *bus;     /* to the other workers and machines; NULL: no others */
    struct limit *limit; /* on connections, open or in their handshake; borrowed; NULL: no limit */
    uint64_t (*now_ms)(void *clock); /* monotonic; may be the loop's cached time */
    void *clock;
    /* Monotonic, and not cached: ends a turn's slice of waiting hooks and of queues to be
     * written (base/turn.h). NULL: no slice. */
    uint64_t (*slice_ns)(void);
};

struct hub *hub_new(const struct hub_options *options);
/* Both tables are borrowed and must outlive the hub. */
void hub_set_events(struct hub *hub, const struct hub_events *events, void *user);
void hub_set_wire(struct hub *hub, const struct wire *wire);
/* hub_gone() must have been called for every connection. Accepts NULL. */
void hub_free(struct hub *hub);

/* The worker's counters. */
struct stats *hub_stats(struct hub *hub);
/* The limit of the options. */
const struct limit *hub_connection_limit(const struct hub *hub);

/* Adds an endpoint and returns its number, counted from 0, the same in all workers. Takes over
 * `json_name` and `path`. */
uint32_t hub_add_endpoint(struct hub *hub, const struct endpoint *endpoint);
struct endpoint *hub_endpoint(struct hub *hub, uint32_t number); /* NULL: no such number */
/* True for the first worker that calls this about a subject of an endpoint, or of none
 * (BUS_NO_ENDPOINT), and only once. */
bool hub_is_first(struct hub *hub, uint32_t endpoint, enum bus_subject subject);

/* For net/: a connection for a handshake, or NULL when the server is full or drains. `is_counted`:
 * its socket counts in the limit already, and hub_open() takes that over; else the connection
 * counts from now on. */
struct conn *hub_admit(struct hub *hub, bool is_counted);
/* The connection's socket is admitted by the place of a session (NULL: it is not), which the
 * connection returns at its end. */
void hub_use_place(struct conn *conn, struct session_place *place);
/* Calls events.handshake. */
void hub_handshake(struct hub *hub, struct conn *conn, const struct http_request *request,
                   struct handshake_answer *answer);
/* The script accepts the handshake for this endpoint. False: the endpoint is full. Other workers
 * can reach the connection from now on, so call it before the client gets the answer. */
bool hub_assign(struct hub *hub, struct conn *conn, uint32_t endpoint);
/* The same with what the client has said of its session. On an endpoint with sessions, the
 * connection becomes one, or asks for the one that waits for it, if that has the same user (no
 * bytes: none). */
bool hub_assign_session(struct hub *hub, struct conn *conn, uint32_t endpoint, struct slice secret,
                        int64_t received, struct slice user);
/* The handshake of an accepted connection arrived `quiet_ms` ago (UINT64_MAX: unknown); `has_end`:
 * its client has ended its direction since. A session that begins is known to all workers from now
 * on, so call it before the client gets the answer: its next socket may follow at once. Does
 * nothing where there is no session. */
void hub_session_arrive(struct hub *hub, struct conn *conn, uint64_t quiet_ms, bool has_end);
conn_id hub_id_of(const struct conn *conn);
/* For script/, which sets it in `handshake` and releases it in `forgotten`. */
struct conn_object *hub_object_of(struct conn *conn);
/* The endpoint of a connection, which never changes; NULL before hub_assign(). */
const struct endpoint *hub_endpoint_of(const struct conn *conn);
/* Undoes hub_assign(). */
void hub_unassign(struct hub *hub, struct conn *conn);
/* The handshake failed: frees the connection. */
void hub_abandon(struct hub *hub, struct conn *conn);
/* The client has its 101 answer; `peer` is the wire's argument. on_start runs at the end of the
 * turn. */
void hub_open(struct hub *hub, struct conn *conn, void *peer);
/* A whole message; text is valid UTF-8. */
void hub_received(struct hub *hub, struct conn *conn, const char *bytes, size_t len, bool binary);
/* A frame or a part of one came in: a sign of life. */
void hub_alive(struct hub *hub, struct conn *conn);
/* What one read brought is handled: writes what waits for this client, if that is much. */
void hub_read_done(struct hub *hub, struct conn *conn);

/* For script/, by the id of a connection of this worker: the connection, or NULL when it is gone or
 * never existed. Valid until its `forgotten`. */
struct conn *hub_find(struct hub *hub, conn_id id);
/* The endpoint; NULL when there is no connection, or it has no endpoint yet. */
const struct endpoint *hub_find_endpoint(struct hub *hub, conn_id id);
/* Any thread: copies the path of the endpoint of an open connection. It is right if the worker's
 * thread has stood still meanwhile. False: there is none. */
bool hub_observe_path(const struct hub *hub, conn_id id, char *path, size_t size);
bool hub_is_open(struct hub *hub, conn_id id);
/* A hook that slept has ended. */
void hub_hook_done(struct hub *hub, conn_id id);

/* For the worker, at the end of the loop's turn: runs the hooks that wait for it and writes the
 * queues. */
void hub_turn_end(struct hub *hub);
/* Does anything wait for the next hub_turn_end()? Then the loop must not sleep. */
bool hub_has_pending(const struct hub *hub);
/* Connections, with those in their handshake. */
uint32_t hub_admitted(const struct hub *hub);
/* Ends every TCP connection. */
void hub_kill_all(struct hub *hub);
/* The worker's end, after its sockets: runs the on_close hooks that wait and drops all
 * connections, those whose hooks sleep among them. */
void hub_end(struct hub *hub);

/* ---- hub_close.c: connections close ---- */

/* Accepts a handshake only to close it with this code, which a client can read better than a
 * status. No hook runs, no other worker sees the connection, and only the limit on all connections
 * counts it. `len` at most CLOSE_REASON_MAX. */
void hub_open_refused(struct hub *hub, struct conn *conn, void *peer, uint32_t endpoint,
                      unsigned code, const char *reason, size_t len);
/* The client broke the protocol or a limit: it gets a Close frame, and its further bytes are
 * ignored. */
void hub_fail(struct hub *hub, struct conn *conn, unsigned code, const char *reason);
/* The client's Close frame, CLOSE_NO_STATUS if it has no code. The hub answers it. */
void hub_peer_closed(struct hub *hub, struct conn *conn, unsigned code, const char *reason,
                     size_t len);
/* The client has ended its direction of TCP: it sends no more, and has `ms` milliseconds to take
 * its queue. False: the queue is empty. */
bool hub_peer_ended(struct hub *hub, struct conn *conn, uint64_t ms);
/* The TCP connection is broken, and the hub does not read from it: hooks have `ms` milliseconds to
 * handle what the client sent before. */
void hub_peer_broken(struct hub *hub, struct conn *conn, uint64_t ms);
/* The socket is closed. `code` counts if the connection was open. */
void hub_gone(struct hub *hub, struct conn *conn, unsigned code);
/* Sends the queue, then the Close frame; on_close runs after the running hook. Does nothing for a
 * connection that closes already. `len` at most CLOSE_REASON_MAX. */
void hub_close(struct hub *hub, conn_id id, unsigned code, const char *reason, size_t len);

/* ---- hub_session.c, hub_session_return.c: sessions, which outlive their sockets ---- */

/* Has this endpoint a session with this secret on this worker? Its client needs no new place. */
bool hub_session_exists(struct hub *hub, uint32_t endpoint, struct slice secret);
/* Has the connection a socket? True from the begin of on_resume on. */
bool hub_is_connected(struct hub *hub, conn_id id);
/* on_resume, which runs, has returned false. */
void hub_refuse_resume(struct hub *hub, conn_id id);
/* The message that is handled was one of the JSON heartbeat, which says that the client has got so
 * many messages (negative: it does not say). Returns how many messages of the client were handled;
 * -1: the connection has no session. */
int64_t hub_json_heartbeat(struct hub *hub, conn_id id, int64_t received);
/* Queues a message of the JSON heartbeat, which is not counted. */
enum send_result hub_send_heartbeat(struct hub *hub, conn_id id, const char *text, size_t len);
/* The client is silent: closes the connection, or a session's socket, with 4408. */
void hub_time_out(struct hub *hub, conn_id id);

/* ---- hub_session_save.c: sessions that outlive the process ---- */

/* The hub drains soon: its sessions do not end then but wait, so that the caller can save them.
 * hub_admitted() does not count those whose hooks have ended. */
void hub_keep_sessions(struct hub *hub);
/* The same at once, without a drain: sessions lose their sockets (1012), and their clients are
 * refused with 503. Returns true when all sessions are at rest, and can be saved; else the caller
 * calls it again. */
bool hub_detach_sessions(struct hub *hub);
/* The clients may come back after all. */
void hub_attach_sessions(struct hub *hub);

/* Calls f for each session that waits; f must not call other functions of the hub than
 * hub_session_save(). */
void hub_sessions(struct hub *hub, void (*f)(void *user, struct conn *conn), void *user);
/* Packs a session: all but its object. */
void hub_session_save(struct hub *hub, const struct conn *conn, struct sink *out);
/* Are these the bytes of one session? */
bool hub_session_is_one(struct slice from);
/* conn.id of the session when it was saved; a view of the bytes. False: they are damaged. */
bool hub_session_old_id(struct slice from, struct slice *id);
/* A session that waits, with a new id, from bytes that hub_session_is_one() has found to be good.
 * Its object is the caller's matter (hub_object_of()), at once. NULL: there is no place for it, and
 * `*why_not` says why, in words that do not depend on the session. */
struct conn *hub_session_restore(struct hub *hub, struct slice from, const char **why_not);

/* ---- hub_session_move.c: sessions that go to other machines, or come from them ---- */

/* May another machine have the session with this secret, and can it be asked? */
bool hub_can_fetch(const struct hub *hub, struct slice secret);
/* Lets the script ask for it, and take it. The handshake of its client has this number, which the
 * script returns by http_responder.go_on(). */
void hub_fetch(struct hub *hub, uint64_t handshake, struct slice secret);
/* MAIL_SESSION: the link asks for a step of a session that goes to another machine. */
void hub_session_take_step(struct hub *hub, conn_id id, enum session_step step);
/* hub_session_restore() for a session of another machine, which keeps its text. */
struct conn *hub_session_receive(struct hub *hub, struct slice session, const char **why_not);
/* The number of the last message that its bytes had. Others may have come since, as it joined its
 * rooms. */
uint64_t hub_session_restored_last(const struct conn *conn);
/* Puts messages behind that with the number `after`, of a session whose client has got none of
 * those behind it. May end the session, if it keeps too much. */
void hub_session_insert(struct hub *hub, struct conn *conn, uint64_t after,
                        struct message *const *messages, uint32_t count);

/* ---- hub_limits.c: limits on what clients send ---- */

/* The limit on bytes of all messages that are incomplete or that no hook has handled; at least four
 * times the largest max_message_size. No limit without this call. */
void hub_set_unhandled_max(struct hub *hub, size_t bytes);
/* Bytes that net/ keeps of this client: of the message with this number, which is incomplete (0: no
 * message is), and unread ones of a paused connection. Another number is another message, whose
 * time begins now. May close this connection or others, by wire.discard. */
void hub_set_kept(struct hub *hub, struct conn *conn, size_t bytes, uint32_t message);
/* Is the limit exceeded? Then call hub_set_kept(), even if nothing else has changed. */
bool hub_limit_exceeded(const struct hub *hub);

/* ---- hub_queues.c: the limit on the memory of all queues ---- */

/* The calling thread, which is the hub's, counts the memory of what waits to be sent. */
void hub_queues_count(struct hub *hub);
/* The limit (bus_set_backlog_max()) has changed. */
void hub_queues_limit_changed(struct hub *hub);

/* ---- hub_send.c: queues and writes ---- */

/* Queues a copy of the payload for a connection of this worker. NULL: it is gone. */
enum send_result hub_send(struct hub *hub, struct conn *conn, enum opcode opcode,
                          const void *payload, size_t len);
/* The same with options. `key`: on an endpoint that conflates, the message replaces a queued one
 * with the same key (no bytes: it has none). `stays_plain`: it is not compressed. */
enum send_result hub_send_with(struct hub *hub, struct conn *conn, enum opcode opcode,
                               const void *payload, size_t len, struct slice key, bool stays_plain);
/* Bytes of frames in the client's queue. */
size_t hub_backlog(struct hub *hub, conn_id id);
/* The socket takes bytes again. */
void hub_writable(struct hub *hub, struct conn *conn);
/* A PING frame: queues the PONG. */
void hub_answer_ping(struct hub *hub, struct conn *conn, const char *payload, size_t len);

/* ---- hub_compress.c: permessage-deflate (RFC 7692) ---- */

/* The handshake has agreed on it; call it before hub_open(). */
void hub_use_compression(struct conn *conn, const struct compression *agreed);
/* Was it negotiated? */
bool hub_is_compressed(const struct conn *conn);
/* A whole compressed message: decompresses it, checks its text, and hands it to hub_received().
 * False: it is too big or invalid, and the connection closes. */
__attribute__((noinline)) bool hub_received_compressed(struct hub *hub, struct conn *conn,
                                                       const char *bytes, size_t len, bool binary);

/* ---- hub_mail.c: connections of any worker ---- */

/* Delivers what other workers have sent. Every function whose effect must follow that mail does
 * this itself, but for hub_send(): a script may have seen the cause of that mail, so the caller of
 * hub_send() calls this first. */
void hub_take_mail(struct hub *hub);
/* Has any worker a session? */
bool hub_has_sessions(const struct hub *hub);
/* See sessions_lend_place(). */
struct session_place *hub_lend_place(struct hub *hub, struct slice secret);
/* Has another worker the session with this secret, and which? */
bool hub_session_is_elsewhere(const struct hub *hub, struct slice secret, unsigned *worker);

/* The codec of a connection of any worker. False: closed. */
bool hub_codec_of(struct hub *hub, conn_id id, uint32_t *codec);
/* Queues a message, encoded by this codec (hub_codec_of()), for a connection of any worker. Takes
 * over the caller's reference. For another worker's connection SEND_OK says that it was open and
 * the message is on its way. */
enum send_result hub_send_anywhere(struct hub *hub, conn_id id, uint32_t codec,
                                   struct message *message);
/* hub_close() for a connection of any worker; another worker closes it when it takes its mail.
 * False: it closes already, or is gone. */
bool hub_close_anywhere(struct hub *hub, conn_id id, unsigned code, struct slice reason);
/* Sums of all workers' counters. */
void hub_total(const struct hub *hub, struct stats_total *total);

/* ---- hub_rooms.c: the members of rooms ---- */

/* Joins a room; a second join replaces `info` (no bytes: none). Leaving a room that the connection
 * is not in does nothing. False: the connection is closed. */
bool hub_join(struct hub *hub, conn_id id, struct slice room, struct slice info);
/* The same; first the connection gets messages that the room remembers, before any later one. A
 * member gets none again. The caller sets what is to be replayed, and frees `*replay` with
 * replay_free(). */
bool hub_join_replay(struct hub *hub, conn_id id, struct slice room, struct slice info,
                     struct replay_request *request, struct replay *replay);
bool hub_leave(struct hub *hub, conn_id id, struct slice room);
/* Calls f with the name of each of the connection's rooms, but for that of its user. f must not
 * call the hub. */
void hub_rooms_of(struct hub *hub, conn_id id, void (*f)(void *user, struct slice room),
                  void *user);
/* The bytes of all memberships of the thread's worker. */
size_t hub_membership_bytes(void);
/* Switches events.presence_changed on or off for this room; by the prefix of users' rooms for all
 * of these. */
void hub_watch(struct hub *hub, struct slice room, bool on);

/* The members of a room, over all workers: their number; a call of f for each, which must not call
 * the hub. */
uint32_t hub_room_size(struct hub *hub, struct slice room);
void hub_room_members(struct hub *hub, struct slice room, bus_member_fn *f, void *user);

/* ---- hub_asks.c: the script asks a client ---- */

/* The script begins to wait for answers of this client, or waits no more. */
void hub_set_asked(struct hub *hub, conn_id id, bool asked);

/* ---- hub_users.c: the users of connections ---- */

/* The connection's user, instead of the one before; `name` has USER_NAME_MAX bytes at most, none:
 * no user. `is_limited`: the endpoint's limit of a user's connections counts. False: the user has
 * so many. */
bool hub_set_user(struct hub *hub, conn_id id, struct slice name, bool is_limited);
/* The same between hub_assign() and hub_open(), with the limit. */
bool hub_admit_user(struct hub *hub, struct conn *conn, struct slice name);
/* The name; no bytes: it has no user. Valid until the next change. */
struct slice hub_user_of(const struct conn *conn);

/* ---- hub_publish.c: broadcasts ---- */

/* Queues each encoding to all receivers with its codec, on all workers; all queues share the bytes.
 * Takes over the caller's references. `*delivered`: the receivers, those of other workers as they
 * were at this moment. `*offset`: in the memory of the room; 0: it has none. False: receivers have
 * codecs, listed in `missing`, without an encoding, and
 * no message was queued. */
bool hub_publish(struct hub *hub, const struct broadcast *broadcast, uint32_t *delivered,
                 uint64_t *offset, struct codec_list *missing);
/* The codecs in which a broadcast to a room of this name is encoded where they can, because it
 * remembers messages or may have members on other machines: those of all endpoints, or none. */
void hub_memory_codecs(struct hub *hub, struct slice room, struct codec_list *list);
/* The codecs that a broadcast to this room needs at this moment; hub_publish() reports changes. */
void hub_room_codecs(struct hub *hub, struct slice room, struct codec_list *list);

/* ---- hub_memory.c: rooms with a memory ---- */

/* Each returns what room_memory.h says of the function with this name, for all workers. Without a
 * bus no room has a memory. */
void hub_memory_set(struct hub *hub, const struct room_rule *rules, uint32_t count,
                    size_t max_bytes);
void hub_memory_list(struct hub *hub, struct slice room, const struct memory_query *query,
                     void (*f)(void *user, const struct remembered *remembered), void *user);
bool hub_memory_position(struct hub *hub, struct slice room, uint64_t *epoch, uint64_t *offset);
void hub_memory_clear(struct hub *hub, struct slice room, const struct slice *key);

/* ---- hub_cluster.c: other machines ---- */

/* The answer to a request has come: see hub_cluster_answer(). */
typedef void hub_answer_fn(void *user, uint64_t context);

/* Is the machine one of a cluster? */
bool hub_has_cluster(const struct hub *hub);
/* Calls add(context, name, value) for each figure of the link; not where there is none. */
void hub_cluster_figures(const struct hub *hub, bus_figure_fn *add, void *context);
/* Asks the link for something, and returns the request's number, which hub_cluster_forget() must
 * get. on_answer(user, context) follows once, when mail is delivered. 0: there is no cluster, or
 * too many requests wait. */
uint64_t hub_cluster_request(struct hub *hub, enum link_request kind, struct slice body,
                             hub_answer_fn *on_answer, void *user, uint64_t context);
/* The answer; its body is borrowed until hub_cluster_forget(). False: it has not come. */
bool hub_cluster_answer(struct hub *hub, uint64_t number, enum link_status *status,
                        struct slice *body);
/* The answer is not needed any more, or not wanted. */
void hub_cluster_forget(struct hub *hub, uint64_t number);
/* Does a join have to wait until the room is live on this machine (LINK_ROOM_SYNC)? */
bool hub_room_must_sync(struct hub *hub, struct slice room);
/* Sends to a connection of another machine, or closes it, by the text of its id. Drops the
 * caller's references to the messages. LINK_OK: it is on its way; LINK_REFUSED: its machine does
 * not live, or is this one. */
enum link_status hub_send_away(struct hub *hub, struct slice id, const struct encoding *encodings,
                               uint32_t count);
enum link_status hub_close_away(struct hub *hub, struct slice id, unsigned code,
                                struct slice reason);

/* ---- hub_timers.c: pings, silence, deadlines ---- */

/* Milliseconds until hub_run_timers() has work, or -1. */
int64_t hub_next_timer_ms(const struct hub *hub);
void hub_run_timers(struct hub *hub);
/* Sends a ping of the endpoint's kind now. False: closed. */
bool hub_ping(struct hub *hub, conn_id id);
/* A PONG frame. */
void hub_pong(struct hub *hub, struct conn *conn, const char *payload, size_t len);
/* A client's JSON pong with this pingId. */
void hub_json_pong(struct hub *hub, conn_id id, int64_t ping_number);
/* The time from the last answered ping to its answer; negative: unknown. */
double hub_rtt_seconds(struct hub *hub, conn_id id);

/* ---- hub_reload.c: new code is activated ---- */

/* In this order: hub_activate_endpoint() for each endpoint, then hub_activate(). */

/* Replaces the endpoint of this number, for open connections as well; their pings and silence keep
 * their phases. If the codec changes, closes its connections with 1012. Takes over `json_name` and
 * `path`. Returns the number of closed connections. */
uint32_t hub_activate_endpoint(struct hub *hub, uint32_t number, const struct endpoint *endpoint);
/* Closes all connections of an endpoint that the new code does not have. */
void hub_close_endpoint(struct hub *hub, uint32_t number, unsigned code, const char *reason);
/* Endpoints of this generation have new code: each of their open connections gets events.reloaded,
 * if the endpoint has that hook, before its next hook, and soon. Drops due hooks that the new code
 * does not have. */
void hub_activate(struct hub *hub, uint32_t generation);
/* Calls f with each connection of an endpoint. f must not call the hub. */
void hub_conns_of(struct hub *hub, uint32_t number, void (*f)(void *user, struct conn *conn),
                  void *user);
/* Calls f with the generation of each open connection's code. */
void hub_generations(struct hub *hub, void (*f)(void *user, unsigned generation), void *user);

/* ---- hub_drain.c: the server shuts down ---- */

/* Closes every connection with `code`, after its queue. hub_admit() returns NULL from now on. */
void hub_drain(struct hub *hub, unsigned code, const char *reason);
/* The same, spread evenly over a time, so that clients do not all reconnect at one moment; the hub
 * serves the connections that it has not closed yet. hub_drain() meanwhile closes them at once.
 * `reason` is borrowed until the hub ends. */
void hub_drain_over(struct hub *hub, unsigned code, const char *reason, uint64_t ms);

#endif
