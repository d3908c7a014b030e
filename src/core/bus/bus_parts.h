/* bus_parts.h -- what bus.c and bus_send.c share; no other file includes it. */
#ifndef TIDEWIRE_CORE_BUS_BUS_PARTS_H
#define TIDEWIRE_CORE_BUS_BUS_PARTS_H

#include "core/bus/bus.h"
#include "core/bus/link.h"
#include "core/bus/room_memory.h"

#include <uv.h>

/* The call that wakes the thread of a worker, or of the link. */
struct bus_wake {
    uv_mutex_t lock; /* held during the call, so its owner's end can wait for the call's */
    void (*call)(void *user);
    void *user;
};

/* A connection of one worker, as the others know it, at its slot's index. */
struct conn_entry {
    conn_id id; /* 0: none */
    uint32_t endpoint;
    bool is_closing;         /* a worker has called bus_close() */
    uint64_t number;         /* in the order in which connections were announced */
    struct room_entry *user; /* in the room of its user; NULL: it has none */
};

struct bus_worker {
    bool open;
    struct mailbox box;
    atomic_bool has_mail;
    atomic_bool must_make_room;
    bool logged_half, logged_full; /* the log says that its mailbox is so full */
    struct conn_entry *conns;
    uint32_t conn_count;
    const struct stats *stats;
    struct bus_wake wake;
};

struct shared_endpoint {
    struct limit limit;
    struct limit waiting;             /* sessions that wait for their clients */
    char *path;                       /* its pattern; NULL: unknown */
    unsigned asked;                   /* bus_is_first(): bits of enum bus_subject */
    uint32_t codecs[BUS_MAX_WORKERS]; /* by worker */
};

struct bus {
    uv_mutex_t lock;
    atomic_uint worker_count;
    atomic_bool is_alone, has_link;
    size_t mail_max;             /* bytes, of each mailbox */
    _Atomic int64_t backlog_max; /* bytes, of all queues */
    struct directory directory;
    struct refusals *refusals;
    struct sessions *sessions;
    struct shared_endpoint **endpoints;
    unsigned asked; /* as an endpoint's, for what belongs to none */
    uint32_t endpoint_count;
    struct endpoint_counts *counts; /* of all announced connections */
    uint64_t announced;             /* how many there have been */
    struct room_memory memory;
    bool logged_memory;           /* the log says that it is full */
    atomic_bool remembers;        /* rooms of some names have a memory */
    _Atomic uint64_t sweep_at;    /* monotonic ms: bus_memory_sweep() has work; UINT64_MAX: never */
    struct link *link;            /* to other machines; NULL: none */
    struct remote_members remote; /* the members of rooms there */
    bool knows_users;             /* of other machines: changes of them are reported */
    struct bus_wake link_wake;    /* of its thread */
    bus_figures_fn *link_figures; /* valid once has_link is true */
    void *link_figures_user;
    uint64_t posts;                /* how often bus_link_publish() was called */
    _Atomic uint64_t link_backlog; /* bytes of queues that its thread has made: queue_memory.h */
    struct bus_worker workers[BUS_MAX_WORKERS];
};

/* Work for after the lock: the workers to wake, whose mailboxes were empty and have mail now. */
struct wakeups {
    uint64_t workers[BUS_MAX_WORKERS / 64];
    bool link;          /* the link's thread as well */
    unsigned behind;    /* a worker with much mail: for the log */
    size_t waiting;     /* its bytes; 0: no worker has much */
    bool is_full;       /* from now on mail is lost */
    size_t memory_full; /* bytes; rooms forget messages now for lack of memory; 0: they do not */
};

/* Under the lock. NULL: the connection is closed. */
struct conn_entry *bus_find_conn(struct bus *bus, conn_id id);
/* Under the lock: the name of its user; no bytes: it has none. */
struct slice bus_user_of(struct bus *bus, conn_id id);
/* Under the lock: asks the worker of a connection to close it. */
void bus_post_close(struct bus *bus, struct conn_entry *conn, unsigned code, struct slice reason,
                    struct wakeups *wakeups);
/* Under the lock: posts a change of a room to the workers that watch it, but for `except`
 * (BUS_MAX_WORKERS: to all). */
void bus_post_presence(struct bus *bus, unsigned except, const struct room_entry *entry, conn_id id,
                       enum presence_change change, struct wakeups *wakeups);
/* Under the lock: the same, for a connection of any machine. */
void bus_post_change(struct bus *bus, unsigned except, const struct presence *presence,
                     struct wakeups *wakeups);
/* Under the lock: the number of members on other machines that get a broadcast to a room. */
uint32_t bus_remote_receivers(const struct bus *bus, const struct broadcast *broadcast);
/* Under the lock: has the user of this room a connection on another machine, as far as is known? */
bool bus_is_online_elsewhere(const struct bus *bus, struct slice room);
/* Under the lock, before a connection leaves the room of its user. */
void bus_leave_user(struct bus *bus, const struct room_entry *entry, conn_id id,
                    struct wakeups *wakeups);

/* Under the lock: all mail of a worker, oldest first. */
struct mail *bus_take(struct bus *bus, unsigned worker);
/* Under the lock: remembers a broadcast to a room. Returns its offset; 0: the room has none. *
 */
uint64_t bus_remember(struct bus *bus, const struct broadcast *broadcast, struct wakeups *wakeups);
/* Under the lock: remembers one that a server has numbered. */
void bus_remember_numbered(struct bus *bus, const struct broadcast *broadcast,
                           const struct memory_position *position, struct wakeups *wakeups);
/* Under the lock, with a link: a room with a memory forgets, or with a key its retained message;
 * the rules have changed. */
void bus_push_clear(struct bus *bus, struct slice room, const struct slice *key,
                    struct wakeups *wakeups);
void bus_push_rules(struct bus *bus, struct wakeups *wakeups);
/* Under the lock: is there room for a mail of this cost? */
bool bus_has_room(const struct bus *bus, unsigned worker, size_t cost);
/* Under the lock. Takes over the mail. */
void bus_post(struct bus *bus, unsigned worker, struct mail *mail, struct wakeups *wakeups);
/* Under the lock: notes a loss. Takes over the mail, a LOST one, which names the receivers. */
void bus_lose(struct bus *bus, unsigned worker, struct mail *mail, struct wakeups *wakeups);
/* Under the lock: an item for the link, which must exist. Takes it over. */
void bus_push_item(struct bus *bus, struct link_item *item, struct wakeups *wakeups);
/* Under the lock: a connection has joined a room, left it, or has another info or user. Does
 * nothing without a link. */
void bus_push_member(struct bus *bus, enum link_item_kind kind, const struct room_entry *entry,
                     conn_id id, struct wakeups *wakeups);
/* Under the lock, with a link: a worker watches a room, which none did, or none does any more. */
void bus_push_watch(struct bus *bus, struct slice room, bool on, struct wakeups *wakeups);
/* Under the lock: a broadcast. Does nothing without a link. */
void bus_push_broadcast(struct bus *bus, const struct broadcast *broadcast, bool is_ordered,
                        struct wakeups *wakeups);
/* Under the lock: does the server of this room number its messages, so that no client gets one
 * before that? */
bool bus_is_ordered(const struct bus *bus, struct slice room);
/* Under the lock: posts a broadcast to all workers but `publisher` (BUS_MAX_WORKERS: to all).
 * Returns the number of receivers. */
uint32_t bus_post_broadcast(struct bus *bus, unsigned publisher, const struct broadcast *broadcast,
                            const struct memory_position *position, struct wakeups *wakeups);
/* Under the lock, as bus_find_conn(), but NULL after bus_close(), too. */
struct conn_entry *bus_find_open_conn(struct bus *bus, conn_id id);
/* Under the lock: posts a message to the worker of an open connection, if it has this codec. */
enum bus_result bus_post_send(struct bus *bus, const struct conn_entry *conn, uint32_t codec,
                              struct message *message, struct wakeups *wakeups);
/* Under the lock: the codec of an endpoint on one worker. */
uint32_t bus_codec_on(const struct bus *bus, unsigned worker, uint32_t endpoint);

/* Without the lock: wakes the workers and the link, and logs. */
void bus_wake(struct bus *bus, const struct wakeups *wakeups);

#endif
