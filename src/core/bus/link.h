/* link.h -- what the workers and the link to other machines exchange.
 *
 * What a worker does that concerns other machines becomes an item: a broadcast, a message or a
 * close for a connection of another machine, a join, a leave, a request. The bus appends items
 * under its lock, so their order is that of the bus. The link, a thread of its own, takes them; it
 * calls the bus for what comes from other machines, and answers requests by mail. A process has one
 * link or none. All functions here: under the bus's lock (bus_link.c). */
#ifndef TIDEWIRE_CORE_BUS_LINK_H
#define TIDEWIRE_CORE_BUS_LINK_H

#include "base/conn_id.h"
#include "base/slice.h"
#include "base/table.h"
#include "core/bus/broadcast.h"
#include "core/bus/room_memory.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum link_item_kind {
    LINK_PUBLISH,
    LINK_SEND,
    LINK_CLOSE,
    LINK_JOINED,
    LINK_LEFT,
    LINK_CHANGED, /* a member has another info or user */
    LINK_WATCH,
    LINK_CLEAR, /* a room with a memory forgets */
    LINK_RULES, /* rooms of other names have a memory now */
    LINK_REQUEST,
    LINK_SESSION_NEWS
};

/* How a session goes to another machine, step by step; and where it begins and ends. */
enum session_step {
    /* the link asks the session's worker: MAIL_SESSION */
    SESSION_REST,  /* it is to lose its socket and run no more hooks: RESTED or CANNOT follows */
    SESSION_KEEP,  /* it stays after all */
    SESSION_GIVE,  /* it is to become bytes: CUT and GIVEN follow, or CANNOT */
    SESSION_TAKEN, /* another machine has it */
    SESSION_LOST,  /* no machine has it */
    /* the worker says: LINK_SESSION_NEWS */
    SESSION_BEGAN,  /* body: its secret */
    SESSION_ENDED,  /* the same */
    SESSION_RESTED, /* body: the packed names of its rooms */
    SESSION_CANNOT, /* it stays, or has ended */
    SESSION_CUT,    /* what comes in the bus's order from now on is not in its bytes */
    SESSION_GIVEN,  /* body: its bytes */
    SESSION_OPENED  /* one of another machine gets what goes to all connections from now on */
};

/* What a hook asks the link for; the bodies are the matter of both ends. */
enum link_request {
    LINK_ROOM_SYNC, /* body: a room's name; answered when the room is live on this machine */
    LINK_SHARED,    /* an operation of tw.shared in the cluster */
    LINK_SESSION    /* where a session is, and bring it here */
};

/* How a request has ended. */
enum link_status {
    LINK_OK,
    LINK_UNREACHABLE, /* no server can be reached, or the connection was lost meanwhile */
    LINK_TIMED_OUT,
    LINK_REFUSED /* the answer's body says why */
};

/* Where the answer to a request goes. */
struct link_token {
    unsigned worker;
    uint64_t number; /* of that worker */
};

/* A member of a room, as other machines know it. */
struct link_member {
    struct slice endpoint_name; /* as JSON */
    struct slice info;          /* as JSON; NULL: none */
    struct slice user;          /* NULL: none */
};

struct link_item {
    struct link_item *next;
    enum link_item_kind kind;
    /* PUBLISH (no bytes: to all connections), JOINED, LEFT, CHANGED, WATCH, CLEAR */
    struct slice room;
    /* PUBLISH: the connection to skip; SEND, CLOSE: the receiver; JOINED, LEFT, CHANGED: the
     * member; SESSION_NEWS: the session. The text of an id; "": none. */
    char id[CONN_ID_LEN + 1];
    /* PUBLISH, SEND: an encoding for each codec of the app, with references of their own; one whose
     * message is NULL says that receivers with this codec get nothing */
    struct encoding *encodings;
    uint32_t encoding_count;
    uint32_t endpoint; /* PUBLISH: only to its connections, or ANY_ENDPOINT */
    /* PUBLISH to a room with a memory: no client of this machine has the message yet: it is
     * delivered when the server has numbered it. */
    bool is_ordered;
    struct memory_limits limits[MEMORY_KINDS]; /* PUBLISH to a room with a memory; CLEAR */
    struct link_member member;                 /* JOINED, CHANGED */
    bool is_hidden;                            /* JOINED: other machines do not know the member */
    bool on;                   /* WATCH; CLEAR: only the message that is retained for a key */
    unsigned code;             /* CLOSE */
    enum link_request request; /* REQUEST */
    struct link_token token;   /* REQUEST */
    struct slice body;         /* CLOSE: the reason; CLEAR: the key; REQUEST; SESSION_NEWS */
    enum session_step step;    /* SESSION_NEWS */
    uint64_t posts; /* JOINED, SESSION_NEWS: how often the link had published here before */
    char texts[];
};

/* An item with copies of these texts (no bytes: none); all other fields are zero. */
struct link_item *link_item_new(enum link_item_kind kind, struct slice room, struct slice body);
/* A JOINED or CHANGED, which copies all texts. */
struct link_item *link_item_new_member(enum link_item_kind kind, struct slice room,
                                       const struct link_member *member);
/* Copies the encodings, each message with a reference of its own. Until the item is freed its
 * memory counts in the link's limit, and not as memory of queues (message_hold()). */
void link_item_set_encodings(struct link_item *item, const struct encoding *encodings,
                             uint32_t count);
void link_item_free(struct link_item *item);

/* The server of a room, by its name. Pure function, any thread. */
typedef unsigned link_server_fn(struct slice room, unsigned servers);

enum { LINK_SERVERS_MAX = 64 };

/* What the link and the bus share. */
struct link {
    size_t max;       /* bytes of all items; beyond it the oldest messages are dropped */
    unsigned servers; /* their number, which are up, and which order messages (bits) */
    uint64_t up, ordered;
    link_server_fn *server_of;
    bool is_closed;      /* takes no item any more */
    bool knows_machines; /* the list of machines has been read */
    /* private */
    struct link_item *first, **last;
    struct link_item **droppable; /* no message stands before this place */
    size_t bytes;
    uint64_t dropped, dropped_before; /* messages, since the start; those that the log has */
    struct table live;                /* rooms that are live on this machine */
    struct table machines;            /* others that live */
};

void link_open(struct link *link, size_t max, unsigned servers, link_server_fn *server_of);
/* Drops all items, and takes no other. */
void link_close(struct link *link);
/* Frees its memory. */
void link_end(struct link *link);

/* Takes over the item. True: there was none before. */
bool link_push(struct link *link, struct link_item *item);
/* All items, oldest first, or NULL. */
struct link_item *link_take(struct link *link);
/* How many messages were dropped since the last call. */
uint64_t link_take_dropped(struct link *link);

/* The room is live on this machine from now on, or not any more. */
void link_set_live(struct link *link, struct slice room, bool is_live);
/* Is it? */
bool link_is_live(const struct link *link, struct slice room);
/* A server is up or down. When it is down, no room of it is live. */
void link_set_up(struct link *link, unsigned server, bool is_up);
/* Is the room's server up? */
bool link_is_up(const struct link *link, struct slice room);
/* A server orders the messages of rooms with a memory, or does not: see bus_link_set_ordered(). */
void link_set_ordered(struct link *link, unsigned server, bool is_ordered);
/* Does the room's server? */
bool link_is_ordered(const struct link *link, struct slice room);
/* Another machine lives from now on, or does not. `id`: the first CONN_ID_NODE_LEN characters of
 * its ids. */
void link_set_machine(struct link *link, struct slice id, bool lives);
/* Does it live, as far as is known? */
bool link_machine_lives(const struct link *link, struct slice id);

#endif
