/* protocol.h -- the messages that machines publish for each other, as bytes.
 *
 * A message begins with a head: one byte for the version, one for the kind, the sender's id (11
 * characters), its number and its sequence as packed numbers (base/packing.h). The body follows, of
 * which each kind has its own. A machine ignores versions and kinds that it does not know. Any
 * client of Redis can send such bytes, so every reader here checks all of them. Scripts that Redis
 * runs put a head, which the machine gives them, before what they publish. Any thread. */
#ifndef TIDEWIRE_CLUSTER_NODE_PROTOCOL_H
#define TIDEWIRE_CLUSTER_NODE_PROTOCOL_H

#include "base/conn_id.h"
#include "base/packing.h"
#include "core/bus/encodings_pack.h"
#include "core/bus/link.h"

enum { PROTOCOL_VERSION = 1 };

enum protocol_kind {
    PROTOCOL_BROADCAST = 1, /* a room's channel, or that of all: protocol_pack_broadcast() */
    PROTOCOL_ENTRY = 2,     /* a room's channel: a broadcast that Redis has numbered: history.c */
    PROTOCOL_MEMBERS = 3,   /* a room's channel: joins and leaves: members.c */
    PROTOCOL_SEND = 4,      /* a machine's channel: protocol_pack_send() */
    PROTOCOL_CLOSE = 5,     /* a machine's channel: protocol_pack_close() */
    PROTOCOL_ASK = 6,       /* a machine's channel: protocol_pack_question() */
    PROTOCOL_ANSWER = 7,    /* a machine's channel: protocol_pack_answer() */
    PROTOCOL_MARK = 8       /* a room's channel: only for the machine that has sent it */
};

struct protocol_head {
    enum protocol_kind kind;
    struct slice sender;
    /* Of the sender's messages in this partition, from 1 on; 0: it numbers none of this kind. */
    uint64_t number;
    /* Of its messages in this channel. 1 says nothing about earlier ones, which the sender may have
     * forgotten. */
    uint64_t sequence;
};

void protocol_pack_head(struct sink *out, const struct protocol_head *head);
/* Takes it from the beginning of `from`. The sender is a view. False: another version, or
 * damaged. */
bool protocol_unpack_head(struct slice *from, struct protocol_head *head);

/* ---- bodies ---- */

/* A broadcast: the text of the id to skip or no bytes, the path of the only endpoint or no bytes,
 * the key or no bytes, the encodings. */
void protocol_pack_broadcast(struct sink *out, const struct link_item *item,
                             const struct endpoint_paths *paths);

struct protocol_broadcast {
    char except[CONN_ID_LEN + 1]; /* "": none */
    uint32_t endpoint;            /* or ANY_ENDPOINT */
    bool has_receivers;           /* false: this machine has no such endpoint */
    struct encodings encodings;   /* encodings_release() */
};

/* `from` is the whole body. `paths` is NULL: only checks. */
bool protocol_unpack_broadcast(struct slice from, const struct endpoint_paths *paths,
                               struct protocol_broadcast *broadcast);

/* A message for one connection: the text of its id, the key, the encodings. */
void protocol_pack_send(struct sink *out, const struct link_item *item,
                        const struct endpoint_paths *paths);
bool protocol_unpack_send(struct slice from, const struct endpoint_paths *paths,
                          char id[CONN_ID_LEN + 1], struct encodings *encodings);

/* A close: the text of the id, the code, the reason. */
void protocol_pack_close(struct sink *out, const struct link_item *item);
bool protocol_unpack_close(struct slice from, char id[CONN_ID_LEN + 1], unsigned *code,
                           struct slice *reason);

/* A question: its number, its kind, its body. */
struct protocol_question {
    uint64_t number;
    uint64_t kind;
    struct slice body;
};
void protocol_pack_question(struct sink *out, const struct protocol_question *question);
bool protocol_unpack_question(struct slice from, struct protocol_question *question);

/* The answer to it: the question's number, the status, the body. */
struct protocol_answer {
    uint64_t number;
    enum link_status status;
    struct slice body;
};
void protocol_pack_answer(struct sink *out, const struct protocol_answer *answer);
bool protocol_unpack_answer(struct slice from, struct protocol_answer *answer);

#endif
