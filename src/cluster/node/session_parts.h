/* session_parts.h -- what the files of sessions share: cluster_sessions.c, session_key.c,
 * session_collect.c, session_out.c, session_in.c. */
#ifndef TIDEWIRE_CLUSTER_NODE_SESSION_PARTS_H
#define TIDEWIRE_CLUSTER_NODE_SESSION_PARTS_H

#include "cluster/node/node_parts.h"

/* ---- session_key.c ---- */

enum { SESSION_KEY_BYTES = 16 };

/* What other machines and Redis see of a secret, which stays in this process. */
struct session_key {
    char bytes[SESSION_KEY_BYTES];
};
struct session_key session_key_of(struct slice secret);
static inline struct slice session_key_slice(const struct session_key *key) {
    return (struct slice){key->bytes, SESSION_KEY_BYTES};
}

/* ---- session_collect.c: the messages of the rooms of a session that moves ---- */

/* A room of the session, or, without a name, what goes to all connections. */
struct collected_room {
    struct slice name;
    struct cluster_room *room; /* held; NULL: of all */
    bool is_closed;            /* the session is a member here: own messages reach it */
    uint64_t cut;              /* the last post before that */
};

/* A message in one of them. */
struct collected {
    struct list link;
    uint32_t room; /* its index */
    char sender[CONN_ID_NODE_LEN];
    uint64_t sequence; /* in the room's channel */
    uint64_t post;     /* node->posts with it; 0: a message of this machine */
    size_t len;
    char body[]; /* for core.session_insert(); none where only the sequence counts */
};

/* All zeros, but for `list`, collects nothing. */
struct collection {
    struct list link; /* in node->sessions->collections */
    struct collected_room *rooms;
    uint32_t count;
    struct list list; /* struct collected, oldest first */
    size_t bytes;
    bool keeps_bodies, is_over; /* over: there was too much */
};

/* Begins with the packed names of rooms, which it holds, and with what goes to all. False: the
 * names are damaged or too many, and nothing has begun. */
bool session_collect_begin(struct node *node, struct collection *collection, struct slice names,
                           bool keeps_bodies);
void session_collect_end(struct node *node, struct collection *collection);
/* Packs what a member of the rooms has got: of each sender the last sequence, without what was
 * collected after this post, and this machine's own. */
void session_collect_pack_positions(struct node *node, const struct collection *collection,
                                    uint64_t post, struct sink *out);
/* Packs the messages behind these positions and before the cuts of the rooms, decoded, for
 * core.session_insert(). */
void session_collect_pack_missed(const struct collection *collection, struct slice positions,
                                 struct sink *out);

/* ---- cluster_sessions.c ---- */

/* A session of this machine. */
struct own_session {
    struct table_entry entry; /* by its key */
    struct session_key key;
    char id[CONN_ID_LEN + 1];
    struct list link; /* in `unregistered`, or in `registered`, that of longest ago first */
    uint64_t began_at, registered_at; /* monotonic ms: when it began or came here; the key */
    bool is_asked;                    /* Redis gets its key, and has not answered */
    struct session_out *out;
};

struct cluster_sessions {
    struct table own;
    struct list unregistered, registered;
    uint32_t asked;
    struct node_timer timer; /* registers some more */
    struct list collections;
    struct table moved, out_by_id; /* session_out.c */
    struct list moved_list;
    uint32_t outs;
    struct list fetches; /* session_in.c */
    uint32_t fetch_count;
};

struct own_session *cluster_sessions_find(struct node *node, const struct session_key *key);
void cluster_sessions_forget(struct node *node, struct own_session *own);
/* Asks Redis which machine has it. False: the server is down. */
bool cluster_sessions_get_owner(struct node *node, const struct session_key *key,
                                redis_reply_fn *on_reply, void *context);
/* The answer to a request; no bytes: there is no session. */
void cluster_sessions_answer(struct node *node, struct link_token token, struct slice body);

/* ---- session_out.c: sessions that leave ---- */

struct session_out;

void session_out_asked(struct node *node, const struct direct_asker *asker, char operation,
                       const struct session_key *key);
void session_out_news(struct node *node, const struct link_item *item);
void session_out_free(struct node *node);
/* The session ends, or begins anew: it does not leave. */
void session_out_cancel(struct node *node, struct own_session *own);
/* Is the session on its way, so that its next machine is not known yet? */
bool session_out_is_going(const struct node *node, const struct session_key *key);

/* ---- session_in.c: sessions that come ---- */

void session_in_fetch(struct node *node, const struct link_item *item, struct slice secret);
void session_in_taken(struct node *node, const struct link_item *item, struct slice secret);
void session_in_refused(struct node *node, const struct link_item *item, struct slice secret);
void session_in_joined(struct node *node, const struct link_item *item);
void session_in_opened(struct node *node, const struct link_item *item);
/* Does a worker make the session one of this machine at this moment? */
bool session_in_is_coming(const struct node *node, const struct session_key *key);
void session_in_turn(struct node *node);
void session_in_free(struct node *node);

/* ---- what machines ask each other of a session (QUESTION_SESSION): a letter and the key ---- */

enum {
    SESSION_ASK_PREPARE = 'P',  /* answer: its rooms */
    SESSION_ASK_GIVE = 'G',     /* answer: a text of positions, and the session */
    SESSION_ASK_TAKEN = 'T',    /* it is here */
    SESSION_ASK_REFUSED = 'L',  /* it is not taken */
    SESSION_ASK_REPLACED = 'X', /* its client has begun a new one here */
};
void cluster_sessions_ask(struct node *node, struct slice machine, char operation,
                          const struct session_key *key, uint64_t ms, direct_answer_fn *on_answer,
                          void *context);

#endif
