/* bus.h -- how the workers of a process reach each other.
 *
 * Each worker has a mailbox for what the other workers send: a counted message for a room, for all
 * connections or for one, a close, a change of presence. The bus also keeps what all workers must
 * agree on: the members of each room (directory.h), the open connections, the limits of endpoints.
 *
 * Each worker activates new code in its own time, so an endpoint may have different codecs on
 * different workers. The publisher encodes a message for each receiver by the codec that its
 * endpoint has on the receiver's worker.
 *
 * One lock orders everything. A publish takes the publisher's own mail in the same step in which it
 * posts to the other mailboxes; so does a join or a leave. Every worker therefore sees broadcasts,
 * joins and leaves in one order, as if there were one worker. The bus holds the lock for a few
 * look-ups, never while scripts run or sockets are written. A single worker needs none of this and
 * takes no lock.
 *
 * Any thread may call; each call names its worker. The bus knows hubs only by the number of their
 * worker. */
#ifndef TIDEWIRE_CORE_BUS_BUS_H
#define TIDEWIRE_CORE_BUS_BUS_H

#include "base/limit.h"
#include "core/bus/broadcast.h"
#include "core/bus/directory.h"
#include "core/bus/link.h"
#include "core/bus/mailbox.h"
#include "core/bus/refusals.h"
#include "core/bus/remote_members.h"
#include "core/bus/room_memory.h"
#include "core/bus/sessions.h"
#include "core/bus/stats.h"
#include "core/bus/users.h"

#include <stdbool.h>
#include <stddef.h>

enum { BUS_MAX_WORKERS = DIRECTORY_MAX_WORKERS };

struct bus;

/* A bus of one worker. */
struct bus *bus_new(void);
/* Every worker must have left. Accepts NULL. */
void bus_free(struct bus *bus);

/* Call it before the second worker enters and before the first client connects. */
void bus_set_workers(struct bus *bus, unsigned count);
unsigned bus_workers(const struct bus *bus);
/* Is there one worker, and no link? Then it has nothing to announce, and no mail comes. */
bool bus_is_alone(const struct bus *bus);

/* Opens the worker's mailbox. The bus calls `wake`, from any thread and without its lock, when mail
 * comes into an empty mailbox; NULL: no call. `stats` must be readable until bus_free(). */
void bus_enter(struct bus *bus, unsigned worker, void (*wake)(void *user), void *user,
               const struct stats *stats);
/* Closes the mailbox: drops its mail and all that still comes. `wake` is not called any more. */
void bus_leave(struct bus *bus, unsigned worker);

/* ---- mail ---- */

/* True while the worker has mail, which takes no lock to see. Valid as long as the bus. */
const atomic_bool *bus_mail_flag(const struct bus *bus, unsigned worker);
/* All mail of a worker, oldest first, or NULL. The caller frees each with mail_free(). */
struct mail *bus_take_mail(struct bus *bus, unsigned worker);

/* The limit of each mailbox in bytes; 64 MiB without this call. What exceeds it is lost, and a mail
 * says for which receivers (mailbox.h). Changes of presence are lost only above twice the limit. */
void bus_set_mail_max(struct bus *bus, size_t bytes);

/* ---- the memory of all queues (queue_memory.h) ---- */

/* Their limit in bytes; no limit without this call. */
void bus_set_backlog_max(struct bus *bus, size_t bytes);
int64_t bus_backlog_max(const struct bus *bus);

/* All workers' queues together. */
struct bus_backlog {
    int64_t bytes, max;
    unsigned greediest; /* the worker with the largest queue of a client that does not read … */
    uint64_t largest;   /* … and the bytes of that queue */
};
void bus_backlog(struct bus *bus, struct bus_backlog *out);
/* Wakes a worker, which is to make room. */
void bus_ask_for_room(struct bus *bus, unsigned worker);
/* Is this worker to make room? True once for any number of calls of bus_ask_for_room(). */
bool bus_must_make_room(struct bus *bus, unsigned worker);

/* ---- rooms (bus_send.c: publish, codecs; bus.c: the others) ---- */

/* Where a broadcast has gone. */
struct published {
    uint32_t receivers; /* of other workers, without those whose worker's mailbox is full */
    uint64_t offset;    /* in the room's memory; 0: it has none */
    /* A server numbers the messages of the room: no connection has it yet, and mail brings it to
     * this worker, too. `receivers` are those of all workers at this moment. */
    bool is_ordered;
};

/* Posts each encoding to the other workers that have receivers of it, and to the link; remembers it
 * where the room does. The messages stay the caller's. Returns the worker's own mail from before:
 * deliver it before the message. `missing` must be empty; afterwards it lists the codecs of
 * receivers, on any worker, for which there is no encoding. If it lists any, nothing was posted. */
struct mail *bus_publish(struct bus *bus, unsigned worker, const struct broadcast *broadcast,
                         struct published *published, struct codec_list *missing);

/* Adds a connection to a room: see directory_join(). Returns the worker's mail from before: deliver
 * it before the connection joins the worker's own room. */
struct mail *bus_join(struct bus *bus, unsigned worker, struct slice room, conn_id id,
                      uint32_t endpoint, const char *name, struct slice info,
                      struct room_entry **entry);
/* Removes it. `*mail`: the worker's mail from before; deliver it before the connection leaves the
 * worker's own room. The caller reports the change to its own worker. With NULL the bus takes no
 * mail and reports the change to this worker by mail, as to the others. */
void bus_leave_room(struct bus *bus, unsigned worker, struct room_entry *entry, conn_id id,
                    struct mail **mail);
/* Replaces the member's info. Returns the new entry; the old pointer is invalid. */
struct room_entry *bus_set_info(struct bus *bus, struct room_entry *entry, conn_id id,
                                struct slice info);

/* This worker gets MAIL_PRESENCE_CHANGED for joins and leaves on other workers, or does not. */
void bus_watch(struct bus *bus, unsigned worker, struct slice room, bool on);

/* The number of members, those that are known of other machines included. */
uint32_t bus_room_size(struct bus *bus, struct slice room);
/* The codecs of the members. */
void bus_room_codecs(struct bus *bus, struct slice room, struct codec_list *list);
/* A member: its id, or the text of one of another machine (else NULL); its endpoint's name and its
 * info as of room_entry_name() and room_entry_info(), and the name of its user (no bytes: none). */
typedef void bus_member_fn(void *user, conn_id id, const char *remote_id, const char *name,
                           const char *info, struct slice user_name);
/* Calls f for each member; f must not call the bus. */
void bus_room_members(struct bus *bus, struct slice room, bus_member_fn *f, void *user);

/* ---- users (bus_users.c) ---- */

/* A connection, announced before, that becomes one of a user's. */
struct user_join {
    struct slice room; /* of the user: users.h */
    conn_id id;
    uint32_t endpoint;
    const char *endpoint_name; /* as JSON */
    uint32_t max;              /* the user's connections of this endpoint at most; 0: any number */
    bool replaces;             /* above it: close the oldest one, instead of no entry */
    conn_id except;            /* a connection that does not count; 0: none */
};

/* Adds it to the user's room. `*entry`: NULL: the user has `max` connections. `*replaced`: the
 * number of connections that their workers are to close for it. Returns the worker's own mail from
 * before: deliver it before the connection joins the worker's own room. */
struct mail *bus_join_user(struct bus *bus, unsigned worker, const struct user_join *join,
                           struct room_entry **entry, uint32_t *replaced);
/* A member of a room has another user now: reports it to all workers that watch the room. */
void bus_user_changed(struct bus *bus, const struct room_entry *entry, conn_id id);

/* ---- rooms with a memory (bus_memory.c; room_memory.h) ---- */

/* True while rooms of some names have a memory, which takes no lock to see. Valid as long as the
 * bus. */
const atomic_bool *bus_memory_flag(const struct bus *bus);
/* The rules of the app: see room_memory_set(). A thread that has a count of memory (queue_memory.h)
 * must call. */
void bus_memory_set(struct bus *bus, const struct room_rule *rules, uint32_t count,
                    size_t max_bytes);
/* Does a room of this name have a memory? */
bool bus_memory_applies(struct bus *bus, struct slice room);
/* What a connection of this worker gets of a room that it has just joined, in the directory and in
 * its hub: all messages but those that wait in the worker's mailbox, which it will get as a member.
 * Sets request->before. See room_memory_replay(). */
void bus_memory_replay(struct bus *bus, unsigned worker, struct slice room,
                       struct replay_request *request, struct replay *replay);
/* See room_memory_list(), room_memory_position(), room_memory_clear(); f must not call the bus. */
void bus_memory_list(struct bus *bus, struct slice room, const struct memory_query *query,
                     void (*f)(void *user, const struct remembered *remembered), void *user);
bool bus_memory_position(struct bus *bus, struct slice room, uint64_t *epoch, uint64_t *offset);
void bus_memory_clear(struct bus *bus, struct slice room, const struct slice *key);
/* Milliseconds until bus_memory_sweep() has work, or -1. Takes no lock. */
int64_t bus_memory_next_ms(const struct bus *bus);
/* Forgets what is too old. Each worker calls it when bus_memory_next_ms() is over. */
void bus_memory_sweep(struct bus *bus);
/* What the rooms remember, as bytes for a later process: see room_memory_save.c. Any thread; no
 * worker can publish meanwhile. */
void bus_memory_save(struct bus *bus, struct sink *out);
/* Are these bytes of bus_memory_save()? */
bool bus_memory_is_one(struct slice from);
/* Takes what was saved. The app's endpoints must be there (hub_add_endpoint()), and no client yet;
 * rooms that remember already keep what they have. False: the bytes are damaged, and nothing was
 * taken. */
bool bus_memory_restore(struct bus *bus, struct slice from);
/* Sets the figures of all memory. */
void bus_memory_add_to(struct bus *bus, struct stats_total *total);

/* ---- connections (bus_send.c) ---- */

/* Lets other workers reach a connection of this worker, until bus_withdraw(). Returns the worker's
 * mail from before: deliver it before the connection opens. */
struct mail *bus_announce(struct bus *bus, unsigned worker, conn_id id, uint32_t endpoint);
void bus_withdraw(struct bus *bus, unsigned worker, conn_id id);
/* The codec of a connection of any worker. False: the connection is closed. */
bool bus_codec_of(struct bus *bus, conn_id id, uint32_t *codec);
/* Posts a message to the worker of a connection. The message stays the caller's. BUS_CLOSED: the
 * connection is closed, or is about to be because its endpoint has another codec. BUS_LOST: that
 * worker's mailbox is full, and its hub handles the connection, of `*endpoint`, as a slow
 * client. */
enum bus_result { BUS_SENT, BUS_CLOSED, BUS_LOST };
enum bus_result bus_send(struct bus *bus, conn_id id, uint32_t codec, struct message *message,
                         uint32_t *endpoint);

/* Asks the worker of a connection to close it, after all that was sent to it before. Later sends
 * fail. False: the connection is closed, or a worker has asked before. */
bool bus_close(struct bus *bus, conn_id id, unsigned code, struct slice reason);

/* The number of sessions of an endpoint that wait, the same for all workers; its maximum is the
 * hubs' matter. After bus_endpoint_limit(). */
struct limit *bus_endpoint_waiting(struct bus *bus, uint32_t endpoint);

/* The sessions of all workers, by their secrets. */
struct sessions *bus_sessions(const struct bus *bus);

/* ---- sessions and other machines (bus_sessions.c) ---- */

/* Can other machines be asked? */
bool bus_link_reaches(struct bus *bus);

/* Tells the link a step of a session, if there is a link. */
void bus_session_news(struct bus *bus, conn_id id, enum session_step step, struct slice body);
/* SESSION_CUT. Returns the worker's mail from before: deliver it before the session becomes
 * bytes. */
struct mail *bus_session_cut(struct bus *bus, unsigned worker, conn_id id);
/* SESSION_OPENED of a session with this text. Returns the worker's mail from before: deliver it
 * before the session opens. */
struct mail *bus_session_open(struct bus *bus, unsigned worker, struct slice text);
/* The link asks the worker of a session, by the text of its id, for a step. */
void bus_link_session(struct bus *bus, const char *id, enum session_step step);

/* ---- endpoints ---- */

/* The limit on connections of the endpoint with this number, the same for all workers; `max` (0: no
 * limit) is that of the first caller. `codec` is the endpoint's on this worker. */
struct limit *bus_endpoint_limit(struct bus *bus, unsigned worker, uint32_t endpoint,
                                 const char *path, uint32_t max, uint32_t codec);

enum bus_subject { BUS_SUBPROTOCOLS = 1, BUS_ORIGINS = 2 };
enum { BUS_NO_ENDPOINT = UINT32_MAX };

/* True for the first caller about this subject of each endpoint, or of none (BUS_NO_ENDPOINT): for
 * log lines that one worker writes for all. */
bool bus_is_first(struct bus *bus, uint32_t endpoint, enum bus_subject subject);

/* Changes the endpoint's codec on this worker. Returns the worker's mail from before, encoded by
 * the old codec: deliver it first. */
struct mail *bus_set_codec(struct bus *bus, unsigned worker, uint32_t endpoint, uint32_t codec);

/* ---- the link to other machines (bus_link.c; link.h) ---- */

/* From now on there is a link, to so many servers. Call it before the second worker enters and
 * before the first client connects. The bus calls `wake`, from any thread and without its lock,
 * when there is an item and was none. */
void bus_open_link(struct bus *bus, size_t max_bytes, unsigned servers, link_server_fn *server_of,
                   void (*wake)(void *user), void *user);
/* Drops all items, and takes no other; requests are answered at once. `wake` is not called any
 * more. */
void bus_close_link(struct bus *bus);
bool bus_has_link(const struct bus *bus); /* also a closed one */
/* The bytes of queues that the link's thread counts: queue_memory.h. */
_Atomic uint64_t *bus_link_backlog(struct bus *bus);

/* The limit in bytes of what is known of members on other machines. */
void bus_set_remote_max(struct bus *bus, size_t bytes);

/* For workers. Each returns at once. */

/* Asks for something: MAIL_ANSWER follows, with this number. False: there is no link. */
bool bus_request(struct bus *bus, unsigned worker, enum link_request request, struct slice body,
                 uint64_t number);
/* Does a join have to wait until the room is live on this machine (LINK_ROOM_SYNC)? */
bool bus_room_must_sync(struct bus *bus, struct slice room);
/* For a connection of another machine, by the text of its id: LINK_REFUSED: that machine does not
 * live. */
enum link_status bus_send_away(struct bus *bus, const char id[CONN_ID_LEN + 1],
                               const struct encoding *encodings, uint32_t count);
enum link_status bus_close_away(struct bus *bus, const char id[CONN_ID_LEN + 1], unsigned code,
                                struct slice reason);

/* The figures of the link, for tw.stats(). */
typedef void bus_figure_fn(void *context, const char *name, uint64_t value);
/* Calls add(context, name, value) for each figure. Any thread. */
typedef void bus_figures_fn(void *user, bus_figure_fn *add, void *context);
/* Before bus_open_link(). */
void bus_set_link_figures(struct bus *bus, bus_figures_fn *figures, void *user);
/* Adds nothing where there is no link. */
void bus_link_figures(const struct bus *bus, bus_figure_fn *add, void *context);

/* For the link's thread. */

/* All items, oldest first, or NULL; the caller frees each with link_item_free(). `*dropped`: how
 * many messages were dropped since the last call because there were too many bytes. */
struct link_item *bus_take_items(struct bus *bus, uint64_t *dropped);
/* A broadcast of another machine or an ordered one, to all workers. `except`: the text of an id, or
 * "". The messages stay the caller's. The room's memory takes it at this position;
 * `remember_only`: and that is all. */
void bus_link_publish(struct bus *bus, const struct broadcast *broadcast, const char *except,
                      const struct memory_position *position, bool remember_only);
/* From now on a server orders the messages of rooms with a memory, or does not. Then ordered items
 * that the link has not taken are delivered at once, before all that is published afterwards. */
void bus_link_set_ordered(struct bus *bus, unsigned server, bool is_ordered);
/* See room_memory_limits(), room_memory_reset(), room_memory_clear(). */
bool bus_memory_limits(struct bus *bus, struct slice room,
                       struct memory_limits limits[MEMORY_KINDS]);
void bus_link_reset_memory(struct bus *bus, struct slice room, uint64_t epoch, uint64_t offset,
                           uint64_t dropped);
void bus_link_clear_retained(struct bus *bus, struct slice room, struct slice key);
/* For a connection of this machine, if it is open. */
void bus_link_send(struct bus *bus, const char *id, const struct encoding *encodings,
                   uint32_t count);
void bus_link_close(struct bus *bus, const char *id, unsigned code, struct slice reason);
void bus_link_answer(struct bus *bus, struct link_token token, enum link_status status,
                     struct slice body);
/* See link_set_live(), link_set_up(), link_set_machine(). */
void bus_link_set_live(struct bus *bus, struct slice room, bool is_live);
void bus_link_set_up(struct bus *bus, unsigned server, bool is_up);
void bus_link_set_machine(struct bus *bus, struct slice id, bool lives);
/* A connection of another machine is a member of a room now, and has come or changed
 * (PRESENCE_JOINED), or is none any more (PRESENCE_LEFT). See struct node_bus. */
void bus_link_member(struct bus *bus, enum presence_change change, struct slice room,
                     const char *id, const struct link_member *member);
void bus_link_forget_members(struct bus *bus, struct slice room);
void bus_link_online(struct bus *bus, struct slice name, bool is_online);
/* The app's endpoints; any thread, without the bus's lock. */
struct endpoint_paths bus_endpoint_paths(struct bus *bus);

/* ---- figures ---- */

/* The number of a worker's connections. */
uint64_t bus_connections(struct bus *bus, unsigned worker);
/* The bytes of a worker's scripts. */
uint64_t bus_lua_memory(struct bus *bus, unsigned worker);
/* Refusals, by reason and endpoint, of all workers. */
struct refusals *bus_refusals(const struct bus *bus);
/* The sums of all workers' counters. */
void bus_total(struct bus *bus, struct stats_total *total);

#endif
