/* history_parts.h -- what history.c and history_rooms.c share; no other file includes it. */
#ifndef TIDEWIRE_CLUSTER_NODE_HISTORY_PARTS_H
#define TIDEWIRE_CLUSTER_NODE_HISTORY_PARTS_H

#include "cluster/node/node_parts.h"

/* What a message of a room with a memory is: the first byte of its body, before the sender's id and
 * its packed number. */
enum { BODY_BROADCAST = 'b', BODY_CLEAR = 'c', BODY_CLEAR_KEY = 'k' };

/* The rooms of one partition. */
struct history_lane {
    struct node *node;
    unsigned partition, server;
    struct list queue;     /* of struct history_entry */
    struct list link;      /* in history->ready, or in no list */
    unsigned under_way;    /* the first so many of the queue are one call, … */
    bool is_calling;       /* … which has no answer yet; else it is to be called again */
    uint64_t numbers;      /* of this machine's messages in the partition, the last one */
    uint64_t local_number; /* up to this one they have been delivered here … */
    uint64_t call_local;   /* … when the call was made */
    struct list rooms;     /* struct room_history with a memory */
};

struct history_server {
    struct node *node;
    bool is_ordered;       /* workers wait for what the server says */
    uint64_t not_before;   /* it has refused messages for a while */
    bool is_away;          /* it is down, or refuses messages */
    struct node_timer end; /* it has been away for too long */
    struct node_timer look;
    uint64_t greatest; /* epoch */
    uint64_t former;   /* greatest epoch of a former life */
    int64_t clock;     /* its wall time less this machine's monotonic time, in ms */
};

struct history {
    struct list ready;      /* lanes with messages that can be sent */
    struct table published; /* rooms in which this machine publishes: struct published_room */
    struct list published_list;
    size_t bytes;
    unsigned count;
    bool logged_dropped;
    struct buffer texts, body; /* of the call or the message that is being made */
    struct node_timer compare;
    unsigned next_compare; /* partition */
    uint32_t rooms;        /* struct room_history with a memory */
    struct history_lane lanes[PARTITIONS];
    struct history_server servers[];
};

/* ---- history_rooms.c ---- */

/* Delivers a message of this machine that no server has numbered, if clients of this machine do not
 * have it. */
void history_rooms_deliver_own(struct history_lane *lane, struct slice room, uint64_t number,
                               struct slice body);
/* Messages of the room's memory here have numbers that no server has given. */
void history_rooms_note_own(struct node *node, struct slice room);
/* The server is down: what its rooms have is not complete any more. */
void history_rooms_down(struct node *node, unsigned server);
/* The ms after which a stream without messages expires; 0: never. */
uint64_t history_stream_ttl(const struct memory_limits *limits);

#endif
