/* hub.h -- every connection of one worker; where sockets and scripts meet.
 *
 * The hub knows neither sockets nor Lua nor a loop. net/ tells it what came in, script/ what to
 * send; it keeps the order that scripts rely on: the hooks of one connection never overlap,
 * on_close is told exactly once and last. Everything on the worker's thread; nothing in it leaves
 * that thread.
 *
 * Parts: hub.c the connections and the order of their hooks; hub_send.c what leaves; hub_rooms.c
 * who gets it; hub_mail.c what comes from other workers; hub_limits.c what clients have sent and
 * no hook has handled; hub_timers.c what happens by the clock; hub_reload.c new code; hub_drain.c
 * how everyone is told to go. */
#ifndef TIDEWIRE_CORE_HUB_HUB_H
#define TIDEWIRE_CORE_HUB_HUB_H

#include "core/bus/bus.h"
#include "core/frames/opcodes.h"
#include "core/hub/endpoint.h"
#include "core/hub/events.h"

struct hub_options {
    unsigned worker;     /* 0 to 127, part of each connection's id */
    struct bus *bus;     /* to the other workers; NULL: there are none */
    struct limit *limit; /* for connections, open or in their handshake; borrowed; NULL: no limit */
    uint64_t (*now_ms)(void *clock); /* monotonic; may be the loop's cached time */
    void *clock;
    /* Monotonic, and not cached: ends a turn's slice of hooks that wait (base/turn.h). NULL: no
     * turn has an end. */
    uint64_t (*slice_ns)(void);
};

struct hub;
struct conn; /* one client; its fields are the hub's alone */

struct hub *hub_new(const struct hub_options *options);
/* Both tables are borrowed and must outlive the hub. */
void hub_set_events(struct hub *hub, const struct hub_events *events, void *user);
void hub_set_wire(struct hub *hub, const struct wire *wire);
/* So many bytes of messages may be kept that are not whole, or that no hook has handled, and always
 * four of the largest max_message_size; no limit without. */
void hub_set_unhandled_max(struct hub *hub, size_t bytes);
/* Every connection must have been told gone. Accepts NULL. */
void hub_free(struct hub *hub);

/* Adds an endpoint and returns its number, counted from 0, the same in all workers. Takes over
 * `json_name` and `path`. */
uint32_t hub_add_endpoint(struct hub *hub, const struct endpoint *endpoint);
struct endpoint *hub_endpoint(struct hub *hub, uint32_t number); /* NULL: no such number */
/* What the worker counts. */
struct stats *hub_stats(struct hub *hub);
/* The limit of the options. */
const struct limit *hub_connection_limit(const struct hub *hub);
/* True for the first worker that asks this of an endpoint, once. */
bool hub_is_first(struct hub *hub, uint32_t endpoint);

/* ---- new code is activated ---- */

/* In this order: hub_activate_endpoint() for each endpoint; hub_activate(). */

/* The endpoint of this number is another from now on, for live connections as well; its phases of
 * pings and of silence go on. Where its codec is another, its connections are closed with 1012.
 * Takes over `json_name` and `path`. Returns how many connections were closed. */
uint32_t hub_activate_endpoint(struct hub *hub, uint32_t number, const struct endpoint *endpoint);
/* The endpoint is no more: each of its connections gets this code. */
void hub_close_endpoint(struct hub *hub, uint32_t number, unsigned code, const char *reason);
/* The endpoints of this generation have new code: events.reloaded is owed to each of their open
 * connections, if the endpoint has it, before its next hook, and soon. Hooks that are due and that
 * there are not any more are not. */
void hub_activate(struct hub *hub, uint32_t generation);

/* ---- called by net/ ---- */

/* A connection for a handshake, or NULL when the server is full or ends. `is_counted`: its socket
 * has a place already, which hub_open() takes over; else one is taken. */
struct conn *hub_admit(struct hub *hub, bool is_counted);
/* Asks the scripts about the handshake, by events.handshake. */
void hub_handshake(struct hub *hub, const struct conn *conn, const struct http_request *request,
                   struct handshake_answer *answer);
/* The scripts have accepted the handshake for this endpoint. False: it is full by now. From now on
 * the connection is there for other workers: call it before the client can know. */
bool hub_assign(struct hub *hub, struct conn *conn, uint32_t endpoint);
/* The endpoint of a connection, which is the same for as long as it lives; NULL: not assigned. */
const struct endpoint *hub_endpoint_of(const struct conn *conn);
/* The handshake came to nothing; the conn is freed. */
void hub_abandon(struct hub *hub, struct conn *conn);
/* The handshake is answered; `peer` is what the wire is called with. on_start runs now. */
void hub_open(struct hub *hub, struct conn *conn, void *peer);
/* The handshake is answered only to be closed with this code, which a client can read better than a
 * status. No hook is called, no worker knows of it, and it is counted nowhere but in the places for
 * all connections. `len` at most CLOSE_REASON_MAX. */
void hub_open_refused(struct hub *hub, struct conn *conn, void *peer, uint32_t endpoint,
                      unsigned code, const char *reason, size_t len);
/* A whole message; text is valid UTF-8. */
void hub_received(struct hub *hub, struct conn *conn, const char *bytes, size_t len, bool binary);
/* So many bytes are kept of what it has sent: of the message with this number, which is not whole
 * yet (0: all are), and of what is not looked at during a pause. Another number is another message,
 * whose time begins now. May refuse this connection or others, by wire.discard. */
void hub_set_kept(struct hub *hub, struct conn *conn, size_t bytes, uint32_t message);
/* Is the ceiling exceeded? Then call hub_set_kept(), also where nothing else has changed. */
bool hub_limit_exceeded(const struct hub *hub);
/* Some frame or part of one came in: a sign of life. */
void hub_alive(struct hub *hub, struct conn *conn);
/* A PONG frame. */
void hub_pong(struct hub *hub, struct conn *conn, const char *payload, size_t len);
/* The socket takes bytes again. */
void hub_writable(struct hub *hub, struct conn *conn);
/* A PING frame: its PONG is queued. */
void hub_answer_ping(struct hub *hub, struct conn *conn, const char *payload, size_t len);
/* The peer broke the protocol or a limit: it gets a Close frame and is not listened to any more. */
void hub_fail(struct hub *hub, struct conn *conn, unsigned code, const char *reason);
/* The peer's Close frame: code CLOSE_NO_STATUS where it had none. It is answered. */
void hub_peer_closed(struct hub *hub, struct conn *conn, unsigned code, const char *reason,
                     size_t len);
/* The peer has ended its direction of TCP: nothing more comes from it, and it gets what is queued
 * within `ms` milliseconds. False: nothing is. */
bool hub_peer_ended(struct hub *hub, struct conn *conn, uint64_t ms);
/* The socket is gone. `code` is used where nobody has closed before. */
void hub_gone(struct hub *hub, struct conn *conn, unsigned code);

/* ---- called by script/ ---- */

/* Of a connection of this worker, by its id. A closing one still has all but `hub_is_open`. */

/* Its endpoint, or NULL: it is closed, not assigned yet, or never was. */
const struct endpoint *hub_find_endpoint(struct hub *hub, conn_id id);
bool hub_is_open(struct hub *hub, conn_id id);
/* The time from the last answered ping to its answer; negative: not known. */
double hub_rtt_seconds(struct hub *hub, conn_id id);
/* Bytes of frames that wait for the client. */
size_t hub_backlog(struct hub *hub, conn_id id);
/* Calls f, which must not call the hub, with the name of each room that it is in. */
void hub_rooms_of(struct hub *hub, conn_id id, void (*f)(void *user, struct slice room),
                  void *user);

enum send_result { SEND_OK, SEND_CLOSED, SEND_BACKLOG };
/* Queues a copy of the payload, for a connection of this worker. */
enum send_result hub_send(struct hub *hub, conn_id id, enum opcode opcode, const void *payload,
                          size_t len);

/* The same; on an endpoint that conflates it may take the place of a message that still waits with
 * this key (1 byte or more). */
enum send_result hub_send_keyed(struct hub *hub, conn_id id, enum opcode opcode,
                                const void *payload, size_t len, struct slice key);

/* The number of the codec that a connection of any worker has. False: closed. */
bool hub_codec_of(struct hub *hub, conn_id id, uint32_t *codec);
/* Queues a message that was encoded by this codec, which hub_codec_of() has returned, for a
 * connection of any worker. Takes over the caller's reference. For those of other workers SEND_OK
 * only says that it was there and the message is on its way. */
enum send_result hub_send_anywhere(struct hub *hub, conn_id id, uint32_t codec,
                                   struct message *message);

/* Sends what is queued, then the Close frame; on_close follows when the running hook has ended.
 * Does nothing for a connection that closes already. `len` at most CLOSE_REASON_MAX. */
void hub_close(struct hub *hub, conn_id id, unsigned code, const char *reason, size_t len);

/* The same for a connection of any worker; there it closes when that takes its mail. False: it is
 * closing already, or gone. */
bool hub_close_anywhere(struct hub *hub, conn_id id, unsigned code, struct slice reason);

/* A heartbeat of the endpoint's kind, now. False: closed. */
bool hub_ping(struct hub *hub, conn_id id);
/* A client's JSON pong with this pingId. */
void hub_json_pong(struct hub *hub, conn_id id, int64_t ping_number);

/* Rooms. Joining twice only replaces `info` (no bytes: none), leaving where one is not does
 * nothing. False: the connection is closed. */
bool hub_join(struct hub *hub, conn_id id, struct slice room, struct slice info);
bool hub_leave(struct hub *hub, conn_id id, struct slice room);

/* From now on, or no more, events.presence_changed is told who joins and leaves this room. */
void hub_watch(struct hub *hub, struct slice room, bool on);

/* Queues one message to all who have its codec, on all workers, each queue with the same bytes.
 * Takes over the caller's references. `*delivered`: how many got it; on other workers those count
 * who were there. False: there is no encoding for the codecs in `missing`, which some of those who
 * are meant have, and nobody gets anything. */
bool hub_publish(struct hub *hub, const struct broadcast *broadcast, uint32_t *delivered,
                 struct codec_list *missing);
/* The codecs that a broadcast to this room needs, as it is now; hub_publish() says what has
 * changed. */
void hub_room_codecs(struct hub *hub, struct slice room, struct codec_list *list);

/* A room, over all workers. None of the functions that are handed in may call the hub. */
uint32_t hub_room_size(struct hub *hub, struct slice room);
void hub_room_members(struct hub *hub, struct slice room,
                      void (*f)(void *user, conn_id id, const char *name, const char *info),
                      void *user);

/* What was counted, over all workers. */
void hub_total(const struct hub *hub, struct stats_total *total);

/* A hook that slept has ended. */
void hub_hook_done(struct hub *hub, conn_id id);

/* ---- called by the worker ---- */

/* Delivers what came from other workers. Also done by every call above that must come after it, but
 * for hub_send(): a script may have seen the cause of what waits, so whoever sends for one calls
 * this before. */
void hub_take_mail(struct hub *hub);

/* The end of the loop's turn: runs hooks that waited for it and writes everything queued. */
void hub_turn_end(struct hub *hub);
/* Something still waits for the next turn's end: the loop must not sleep. */
bool hub_has_pending(const struct hub *hub);
/* Milliseconds until hub_run_timers() has something to do, or -1. */
int64_t hub_next_timer_ms(const struct hub *hub);
void hub_run_timers(struct hub *hub);
/* Closes every connection (draining): each gets `code` after what is queued for it. Nobody is
 * admitted any more. */
void hub_drain(struct hub *hub, unsigned code, const char *reason);
/* The same, spread evenly over a time, so that clients do not all come back at one moment; who is
 * not told yet is served as before. hub_drain() meanwhile tells the others at once. `reason` is
 * borrowed until the hub ends. */
void hub_drain_over(struct hub *hub, unsigned code, const char *reason, uint64_t ms);
/* Ends every TCP connection that is left. */
void hub_kill_all(struct hub *hub);
/* The end of the worker, after its sockets are gone: on_close hooks that wait run, whatever sleeps
 * is given up. */
void hub_end(struct hub *hub);
/* Calls f with the generation of each open connection's code. */
void hub_generations(struct hub *hub, void (*f)(void *user, unsigned generation), void *user);
/* Connections and handshakes that still hold a place. */
uint32_t hub_admitted(const struct hub *hub);

#endif
