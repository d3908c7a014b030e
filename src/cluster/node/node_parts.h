/* node_parts.h -- what the files of a node share; no other folder includes it.
 *
 * node.c has the life, the turn, the timers and the events. rooms.c knows which rooms concern this
 * machine, and subscribes them. outgoing.c publishes. peers.c recognises what has come twice or not
 * at all. direct.c is for single connections and machines. members.c, leases.c, history.c,
 * cluster_shared.c and cluster_sessions.c have the functions that are declared at the end. */
#ifndef TIDEWIRE_CLUSTER_NODE_NODE_PARTS_H
#define TIDEWIRE_CLUSTER_NODE_NODE_PARTS_H

#include "base/buffer.h"
#include "base/deadlines.h"
#include "base/list.h"
#include "base/table.h"
#include "cluster/node/node.h"
#include "cluster/node/partitions.h"
#include "cluster/node/protocol.h"

struct outgoing;
struct peers;
struct direct;
struct missed;
struct ready;
struct members;
struct mirror;
struct online;
struct room_members;
struct leases;
struct sweeps;
struct history;
struct room_history;
struct cluster_shared;
struct cluster_sessions;

/* ---- node.c ---- */

struct node_timer {
    struct deadline deadline;
    void (*run)(struct node *node, struct node_timer *timer);
};

/* The owner of a timer: NODE_TIMER_OWNER(timer, struct cluster_room, end). */
#define NODE_TIMER_OWNER(timer, type, member) ((type *)(((char *)(timer)) - offsetof(type, member)))

/* Calls run(node, timer) once, in the first turn at this time (monotonic ms) or later. Replaces an
 * earlier time. All zeros is a timer that is not set. */
void node_set_timer(struct node *node, struct node_timer *timer, uint64_t at_ms,
                    void (*run)(struct node *node, struct node_timer *timer));
void node_stop_timer(struct node *node, struct node_timer *timer);

/* One Redis server. */
struct node_server {
    bool is_up;
    bool was_up;      /* at any time before */
    uint64_t down_at; /* monotonic ms: of the last outage */
    struct redis_facts facts;
};

/* tw.broadcast and the channels of machines are on the first server. */
enum { COMMON_SERVER = 0 };

/* What messages carry numbers for: each partition, tw.broadcast, and all single machines. */
enum { LANE_ALL = PARTITIONS, LANE_DIRECT, LANES };

/* The first and the last sequence of one sender in one channel that have come. */
struct sender {
    uint32_t peer; /* its serial number: peers.c */
    uint64_t first, last;
};

struct senders {
    struct sender *list;
    uint32_t count, capacity;
};

struct node {
    char id[CONN_ID_NODE_LEN + 1];
    struct slice prefix;
    size_t backlog_max;
    uint64_t lease_ms;
    uint64_t now_ms; /* of this turn; reports of servers come with that of the last one */
    struct redis_functions redis;
    struct node_bus bus;
    struct node_server *servers;
    struct deadlines timers;
    bool runs_timers;
    struct node_figures figures;
    struct buffer key; /* node_key() */
    char *channel_all, *channel_own;
    struct senders all_senders; /* in the channel of all */
    uint64_t since_ms;          /* monotonic: when the first server was up for the first time */
    struct list rooms;          /* all struct cluster_room */
    struct table rooms_by_name; /* the same */
    struct list reading;        /* rooms that wait until their parts may read */
    uint32_t readers;           /* rooms whose parts read */
    struct list waiters;        /* requests that wait for rooms, oldest first */
    struct node_timer waiting;  /* the oldest one has waited too long */
    struct outgoing *outgoing;
    struct peers *peers;
    struct direct *direct;
    struct missed *missed;
    struct ready *ready;
    struct members *members;
    struct mirror *mirror;
    struct online *online;
    struct leases *leases;
    struct sweeps *sweeps;
    struct history *history;
    struct cluster_shared *shared;
    struct cluster_sessions *sessions;
    uint64_t posts;           /* how often bus.publish was called */
    void (*left)(void *user); /* node_leave(): NULL: stays */
    void *left_user;
    unsigned confirmations; /* of servers, before it has left */
    bool is_leaving, asked_to_confirm;
    uint64_t leave_until;
    struct node_timer leaving;
};

/* bus.publish(), counted. Each message for the connections of this machine goes this way. */
void node_post(struct node *node, const struct broadcast *broadcast, const char *except,
               const struct memory_position *position, bool remember_only);

/* Its id, as a slice. */
struct slice node_id(const struct node *node);

/* "PREFIX:{PARTITION}:KIND:NAME" of a room's partition; valid until the next call of one of the
 * two. */
struct slice node_key(struct node *node, unsigned partition, const char *kind, struct slice name);
/* The senders of a channel that this machine has subscribed, and since when (monotonic ms; 0: it
 * was never confirmed), or NULL. */
struct senders *node_senders(struct node *node, struct slice channel, uint64_t *since_ms);
/* "PREFIX:KIND:NAME" */
struct slice node_common_key(struct node *node, const char *kind, struct slice name);

/* ---- rooms.c: the rooms that concern this machine ---- */

enum room_state {
    ROOM_SUBSCRIBING, /* waits for the server's answer, or for the server */
    ROOM_READING,     /* subscribed; members and history are being read */
    ROOM_LIVE
};

/* A room with members, watches or requests on this machine, or that had some just now. */
struct cluster_room {
    struct table_entry entry; /* its key is the name */
    struct list link;         /* in node->rooms */
    struct list reading;      /* in node->reading, or in no list */
    struct node *node;
    unsigned partition, server;
    enum room_state state;
    bool is_subscribed;    /* the server has said so, since its last outage began */
    uint64_t since_ms;     /* monotonic: when it said so for the first time */
    uint64_t held_ms;      /* monotonic: when it began to concern this machine */
    uint32_t holds;        /* how many need it: members, watches, requests */
    uint32_t watches;      /* of these, watches */
    unsigned parts;        /* READING: how many have not called rooms_part_done() */
    struct list waiters;   /* requests that wait for LIVE */
    struct node_timer end; /* unsubscribes some time after the last one has gone */
    struct senders senders;
    uint64_t last_entry;          /* the offset of the last message that Redis has numbered */
    struct room_members *members; /* mirror.c */
    struct room_history *history; /* history.c */
    char name[];
};

static inline struct slice rooms_name(const struct cluster_room *room) {
    return room->entry.key;
}

/* The room, or NULL: it does not concern this machine. */
struct cluster_room *rooms_find(const struct node *node, struct slice name);
/* Holds a room, which is subscribed if it was not. Each hold needs a rooms_drop(). */
struct cluster_room *rooms_hold(struct node *node, struct slice name);
void rooms_drop(struct cluster_room *room);
/* members_begin() or history_begin() has come to its end, now or later; once for each call. */
void rooms_part_done(struct cluster_room *room);
/* Reads members and history of a live room anew, as after an outage. */
void rooms_read_again(struct cluster_room *room);

void rooms_sync(struct node *node, struct slice name, struct link_token token);
void rooms_watch(struct node *node, struct slice name, bool on);
void rooms_subscribed(struct node *node, struct slice name);
void rooms_up(struct node *node, unsigned server);
void rooms_down(struct node *node, unsigned server);
/* Begins to read the rooms that wait for it, some at a time. */
void rooms_turn(struct node *node);
void rooms_close(struct node *node);

/* ---- outgoing.c: what waits to be published ---- */

struct outgoing *outgoing_new(struct node *node);
void outgoing_free(struct outgoing *outgoing);
/* Publishes a message in a channel, after all others for this server: pack the body into the sink,
 * then call outgoing_end(). The sink is valid until then. */
struct sink *outgoing_begin(struct node *node, unsigned lane, enum protocol_kind kind,
                            struct slice channel);
void outgoing_end(struct node *node, unsigned server);
void outgoing_up(struct node *node);
void outgoing_turn(struct node *node);
/* Packs channel, sequence and age in milliseconds of each message that a server has confirmed in
 * the last `ms` milliseconds, the newest first, up to so many bytes. */
void outgoing_since(const struct node *node, uint64_t ms, struct sink *out, size_t max_bytes);
/* The sequence of the last message in a channel; 0: none is known. */
uint64_t outgoing_sequence(const struct node *node, struct slice channel);
/* The bytes that wait here. */
size_t outgoing_bytes(const struct node *node);
void outgoing_figures(const struct node *node, struct node_figures *out);
/* Has everything been published? */
bool outgoing_is_empty(const struct node *node);

/* ---- peers.c: the other machines, by what comes from them ---- */

struct peers *peers_new(struct node *node);
void peers_free(struct peers *peers);
/* Is this message new? False: it is this machine's own, or has come before. Counts messages of the
 * channel that are missing before it. */
bool peers_accept(struct node *node, unsigned lane, const struct protocol_head *head,
                  struct senders *senders);
/* A machine has published a message with this sequence in a channel. The caller begins with the
 * last message. Returns how many are missing that were not known to be. */
uint64_t peers_compare(struct node *node, struct slice machine, struct senders *senders,
                       uint64_t sequence);
/* Counts and logs messages of a machine that have not come. */
void peers_note_lost(struct node *node, const char *machine, uint64_t count);
/* Calls f for each sender that is known, with its last sequence. */
void peers_each_sender(struct node *node, const struct senders *senders,
                       void (*f)(void *user, struct slice machine, uint64_t sequence), void *user);
void peers_close_senders(struct senders *senders);

/* ---- direct.c: for single connections and machines ---- */

struct direct *direct_new(struct node *node);
void direct_free(struct node *node);
void direct_send(struct node *node, const struct link_item *item);
void direct_close(struct node *node, const struct link_item *item);
/* A message for a machine: pack its body into the sink, then call direct_end(). */
struct sink *direct_begin(struct node *node, const char *machine, enum protocol_kind kind);
void direct_end(struct node *node);
/* The senders in this machine's channel. */
struct senders *direct_senders(struct node *node);
/* A message in this machine's channel. */
void direct_message(struct node *node, const struct protocol_head *head, struct slice body);

/* What machines ask each other. */
enum question_kind {
    QUESTION_MISSED = 2, /* missed.c: the last sequences of channels */
    QUESTION_SESSION = 1 /* cluster_sessions.c: hand a session over */
};

/* How a question has ended. The body is borrowed. LINK_UNREACHABLE: the server was down;
 * LINK_TIMED_OUT: no answer came in time, whatever the reason. */
typedef void direct_answer_fn(struct node *node, void *context, enum link_status status,
                              struct slice body);
/* Asks a machine (its id). on_answer is called once, never within the call. */
void direct_ask(struct node *node, struct slice machine, enum question_kind kind, struct slice body,
                uint64_t timeout_ms, direct_answer_fn *on_answer, void *context);
/* Where the answer to a question goes: keep a copy of it, to answer later. */
struct direct_asker {
    char machine[CONN_ID_NODE_LEN + 1];
    uint64_t number;
};
void direct_answer(struct node *node, const struct direct_asker *asker, enum link_status status,
                   struct slice body);

/* ---- ready.c: have the other machines subscribed again? ---- */

struct ready *ready_new(struct node *node);
void ready_free(struct node *node);
void ready_up(struct node *node, unsigned server);
/* The server has told which machines live, for the first time since it is up: before, this machine
 * may not know all. */
void ready_registered(struct node *node, unsigned server);
void ready_down(struct node *node, unsigned server);
/* May this machine publish on the server? False after an outage, for some seconds at most. */
bool ready_is(const struct node *node, unsigned server);

/* ---- missed.c: what has not come during an outage of this machine alone ---- */

struct missed *missed_new(struct node *node);
void missed_free(struct node *node);
void missed_down(struct node *node);
void missed_up(struct node *node);
/* A QUESTION_MISSED of another machine. */
void missed_asked(struct node *node, const struct direct_asker *asker, struct slice body);

/* ---- leases.c: which machines live ---- */

struct leases *leases_new(struct node *node);
void leases_free(struct leases *leases);
void leases_up(struct node *node, unsigned server);
void leases_down(struct node *node, unsigned server);
/* A heartbeat now, instead of later. */
void leases_beat(struct node *node, unsigned server);
/* The server says that this machine has no lease: it may have lost more. */
void leases_lost(struct node *node, unsigned server);
/* Has the server answered a heartbeat since it was last up? Before, it takes no members. */
bool leases_is_registered(const struct node *node, unsigned server);
/* The server has all members of this machine: the others learn it. */
void leases_announced(struct node *node, unsigned server);
/* Does another machine live, as far as this server has said last? */
bool leases_lives(const struct node *node, unsigned server, struct slice machine);
/* Calls f for each other machine that does. */
void leases_each(struct node *node, unsigned server, void (*f)(void *user, struct slice machine),
                 void *user);
/* Has the machine announced its members since the server last lost data, or does it not live? The
 * same of all machines. */
bool leases_is_settled(const struct node *node, unsigned server, struct slice machine);
bool leases_all_settled(const struct node *node, unsigned server);
/* Had the machine announced its members, and has not yet since the server came back? Then what the
 * server has of it may be old. */
bool leases_is_doubtful(const struct node *node, unsigned server, struct slice machine);
/* This machine has sent something: it lives, unless the first server's list says otherwise. */
void leases_seen(struct node *node, struct slice machine);
void leases_leave(struct node *node);

/* ---- sweeps.c: the members of machines that are gone ---- */

/* How long a machine may need to remove those of a dead one, before another one does it. */
enum { SWEEPS_MAX_MS = 5000 };

struct sweeps *sweeps_new(struct node *node);
void sweeps_free(struct sweeps *sweeps);
/* A machine is silent, or another one has not removed its members in time: asks the server whether
 * this one is to do it. */
void sweeps_begin(struct node *node, unsigned server, struct slice dead);
/* This machine has left: its own. */
void sweeps_leave(struct node *node, unsigned server);

/* ---- members.c: the members of rooms on this machine ---- */

struct members *members_new(struct node *node);
void members_free(struct members *members);
/* JOINED, LEFT, CHANGED. The room is held while it has members here. */
void members_take(struct node *node, const struct link_item *item);
/* The server answers heartbeats. `must_announce`: it may have lost members of this machine. */
void members_registered(struct node *node, unsigned server, bool must_announce);
/* The server may have lost the members of a room. */
void members_lost(struct node *node, struct slice room);
/* Asks a server to remove the members that a machine without a lease has in a partition, of so
 * many rooms at most; the answer is the number of rooms that are left, or -1: it has a lease. */
void members_remove(struct node *node, unsigned partition, struct slice machine, int max_rooms,
                    redis_reply_fn *on_reply, void *context);
/* Takes a packed member from the beginning of `from`; its texts are views. False: it is damaged. */
bool members_unpack(struct slice *from, struct link_member *member);
void members_turn(struct node *node);
void members_leave(struct node *node);

/* ---- mirror.c: the members of rooms on other machines ---- */

struct mirror *mirror_new(struct node *node);
void mirror_free(struct mirror *mirror);
/* Reads the members: ends with rooms_part_done(). */
void mirror_begin(struct cluster_room *room);
/* The room is not subscribed any more, and is freed afterwards. */
void mirror_end(struct cluster_room *room);
/* A PROTOCOL_MEMBERS in the room's channel, that of this machine as well, in any state of the room.
 */
void mirror_message(struct cluster_room *room, const struct protocol_head *head, struct slice body);
/* A machine has come, gone or announced its members. `is_new_life`: the server has lost data. */
void mirror_machines_changed(struct node *node, unsigned server, bool is_new_life);

/* ---- online.c: the users with a connection on any machine ---- */

struct online *online_new(struct node *node);
void online_free(struct node *node);
void online_watch(struct node *node, bool on);
bool online_is_channel(const struct node *node, struct slice channel);
void online_subscribed(struct node *node, unsigned server);
void online_up(struct node *node, unsigned server);
void online_message(struct node *node, unsigned server, const struct protocol_head *head,
                    struct slice body);
void online_machines_changed(struct node *node, unsigned server, bool is_new_life);

/* ---- history.c, history_rooms.c: rooms with a memory ---- */

struct history *history_new(struct node *node);
void history_free(struct history *history);
/* A PUBLISH to a room with a memory, or a CLEAR; the room may not concern this machine
 * otherwise. */
void history_publish(struct node *node, const struct link_item *item);
/* The rules have changed. */
void history_rules(struct node *node);
/* Reads what the room has: ends with rooms_part_done(). */
void history_begin(struct cluster_room *room);
/* The room is not subscribed any more, and is freed afterwards. */
void history_end(struct cluster_room *room);
/* A PROTOCOL_ENTRY in the room's channel, that of this machine as well, in any state of the
 * room. */
void history_message(struct cluster_room *room, struct slice body);
void history_up(struct node *node, unsigned server);
void history_down(struct node *node, unsigned server);
void history_turn(struct node *node);
void history_figures(const struct node *node, struct node_figures *out);
/* Has everything been published? */
bool history_is_empty(const struct node *node);

/* ---- cluster_shared.c: tw.shared in the cluster ---- */

struct cluster_shared *cluster_shared_new(struct node *node);
void cluster_shared_free(struct cluster_shared *shared);
/* A LINK_SHARED: ends with node->bus.answer(). */
void cluster_shared_take(struct node *node, const struct link_item *item);
void cluster_shared_down(struct node *node, unsigned server);

/* ---- cluster_sessions.c: sessions on other machines ---- */

struct cluster_sessions *cluster_sessions_new(struct node *node);
void cluster_sessions_free(struct node *node);
/* A LINK_SESSION_NEWS. */
void cluster_sessions_news(struct node *node, const struct link_item *item);
/* A LINK_JOINED, which may be of a session that comes. */
void cluster_sessions_joined(struct node *node, const struct link_item *item);
/* A LINK_SESSION: ends with node->bus.answer(). */
void cluster_sessions_take(struct node *node, const struct link_item *item);
/* A QUESTION_SESSION of another machine: ends with direct_answer(). */
void cluster_sessions_asked(struct node *node, const struct direct_asker *asker, struct slice body);
void cluster_sessions_up(struct node *node, unsigned server);
void cluster_sessions_down(struct node *node, unsigned server);
void cluster_sessions_turn(struct node *node);

/* ---- session_collect.c: what members of rooms have got while a session moves ---- */

/* Is any message to be noted? */
bool session_collect_any(const struct node *node);
/* A broadcast of a sender (its id) with this sequence; `post`: node->posts with it, 0: one of this
 * machine, which the bus has delivered. `except`: the text of an id, or "". */
void session_collect_note(struct node *node, struct slice sender, uint64_t sequence, uint64_t post,
                          const struct broadcast *broadcast, const char *except);
/* The same of a message that Redis has numbered, instead of its sender. */
void session_collect_note_entry(struct node *node, uint64_t offset,
                                const struct broadcast *broadcast, const char *except);

/* ---- session_out.c: connections that have left with their sessions ---- */

/* A message or a close, as the body of its kind, for a connection that has left this machine:
 * passes it on. False: it is none. */
bool session_out_pass_on(struct node *node, const char *id, enum protocol_kind kind,
                         struct slice body);
/* Has the connection left this machine? */
bool session_out_knows(const struct node *node, const char *id);
/* A PROTOCOL_MARK in a room's channel, that of this machine as well. */
void session_out_marked(struct node *node, const struct protocol_head *head, struct slice body);
/* The connection is here again. */
void session_out_returned(struct node *node, const char *id);

#endif
