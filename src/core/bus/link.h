/* link.h -- what the workers and the link to other machines exchange.
 *
 * What a worker does that concerns other machines becomes an item: a broadcast, a message or a
 * close for a connection of another machine, a join, a leave, a request. The bus appends items
 * under its lock, so their order is that of the bus. The link, a thread of its own, takes them; it
 * calls the bus for what comes from other machines, and answers requests by mail. A process has one
 * link or none. */
#ifndef TIDEWIRE_CORE_BUS_LINK_H
#define TIDEWIRE_CORE_BUS_LINK_H

#include "base/conn_id.h"
#include "base/slice.h"
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
    LINK_REQUEST
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
    /* PUBLISH (no bytes: to all connections), JOINED, LEFT, CHANGED, WATCH */
    struct slice room;
    /* PUBLISH: the connection to skip; SEND, CLOSE: the receiver; JOINED, LEFT, CHANGED: the
     * member. The text of an id; "": none. */
    char id[CONN_ID_LEN + 1];
    /* PUBLISH, SEND: an encoding for each codec of the app, with references of their own; one whose
     * message is NULL says that receivers with this codec get nothing */
    struct encoding *encodings;
    uint32_t encoding_count;
    uint32_t endpoint; /* PUBLISH: only to its connections, or ANY_ENDPOINT */
    /* PUBLISH to a room with a memory: no client of this machine has the message yet: it is
     * delivered when the server has numbered it. */
    bool is_ordered;
    struct memory_limits limits[MEMORY_KINDS]; /* PUBLISH to a room with a memory */
    struct link_member member;                 /* JOINED, CHANGED */
    bool on;                                   /* WATCH */
    unsigned code;                             /* CLOSE */
    enum link_request request;                 /* REQUEST */
    struct link_token token;                   /* REQUEST */
    struct slice body;                         /* CLOSE: the reason; REQUEST */
};

#endif
