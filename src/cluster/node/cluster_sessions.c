/* cluster_sessions.c -- sessions whose clients come back to another machine: where each session is.
 *
 * Redis has a key for each session, which says its machine: "PREFIX:{PARTITION}:s:KEY". It is set
 * when the session begins or comes here, and taken away when it ends. It lasts a day and is set
 * anew before that is over, and when Redis was away: so a machine that was cut off learns of its
 * sessions whose clients have begun others. A machine that finds none has it for ten seconds, so
 * that a session is known before its client has the answer. session_out.c and session_in.c move
 * sessions. */
#include "cluster/node/session_parts.h"

#include "base/mem.h"
#include "core/frames/close_codes.h"

#include <hiredis/hiredis.h>
#include <stdio.h>

/* How long a key lasts and after what time it is set anew; how many are set at the same time. */
enum { KEY_MS = 86400000, RENEW_MS = 28800000, AGAIN_MS = 1000, MAX_ASKED = 256 };

static const struct slice none = {NULL, 0};

static void register_some(struct node *node);

static void on_timer(struct node *node, struct node_timer *timer) {
    (void)timer;
    register_some(node);
}

struct cluster_sessions *cluster_sessions_new(struct node *node) {
    (void)node;
    struct cluster_sessions *sessions = mem_zalloc(sizeof *sessions);
    list_init(&sessions->unregistered);
    list_init(&sessions->registered);
    list_init(&sessions->collections);
    list_init(&sessions->moved_list);
    list_init(&sessions->fetches);
    return sessions;
}

void cluster_sessions_free(struct node *node) {
    struct cluster_sessions *sessions = node->sessions;
    session_in_free(node);
    session_out_free(node);
    for (struct table_entry *any; (any = table_any(&sessions->own)) != NULL;)
        cluster_sessions_forget(node, TABLE_OWNER(any, struct own_session, entry));
    node_stop_timer(node, &sessions->timer);
    table_close(&sessions->own);
    mem_free(sessions);
}

/* ---- the sessions of this machine ---- */

struct own_session *cluster_sessions_find(struct node *node, const struct session_key *key) {
    struct table_entry *found = table_find(&node->sessions->own, session_key_slice(key));
    return found == NULL ? NULL : TABLE_OWNER(found, struct own_session, entry);
}

void cluster_sessions_forget(struct node *node, struct own_session *own) {
    session_out_cancel(node, own);
    table_remove(&node->sessions->own, &own->entry);
    list_remove(&own->link);
    mem_free(own);
}

/* ---- their keys in Redis ---- */

struct asking {
    struct node *node;
    struct session_key key;
};

/* Runs the script of sessions. False: the server is down. */
static bool call(struct node *node, const struct session_key *key, const char *operation,
                 uint64_t age_ms, redis_reply_fn *on_reply, void *context) {
    char hex[2 * SESSION_KEY_BYTES + 1], ms[24], age[24];
    for (int i = 0; i < SESSION_KEY_BYTES; i++)
        snprintf(hex + 2 * i, 3, "%02x", (unsigned char)key->bytes[i]);
    struct slice name = {hex, 2 * SESSION_KEY_BYTES};
    unsigned partition = partitions_of(name);
    unsigned server = partitions_server(partition, node->redis.count);
    if (!node->servers[server].is_up)
        return false;
    snprintf(ms, sizeof ms, "%d", KEY_MS);
    snprintf(age, sizeof age, "%llu", (unsigned long long)age_ms);
    const struct slice arguments[] = {slice_of(operation), node_id(node), slice_of(ms),
                                      slice_of(age)};
    node->redis.call(node->redis.user, server, REDIS_SCRIPT_SESSION,
                     node_key(node, partition, "s", name), 4, arguments, on_reply, context);
    return true;
}

bool cluster_sessions_get_owner(struct node *node, const struct session_key *key,
                                redis_reply_fn *on_reply, void *context) {
    return call(node, key, "find", 0, on_reply, context);
}

static void on_told(struct node *node, void *context, enum link_status status, struct slice body) {
    (void)node, (void)context, (void)status, (void)body;
}

/* The client has begun a new session on another machine. */
static void end_replaced(struct node *node, struct own_session *own) {
    session_out_cancel(node, own); /* a question that came late, because this machine stood still */
    node->bus.close(node->bus.user, own->id, CLOSE_REPLACED, slice_of("replaced"));
}

/* The reply to "begin": the machine that had the session before, or "!". */
static void on_registered(void *context, const struct redisReply *reply) {
    struct asking *asking = context;
    struct node *node = asking->node;
    struct own_session *own = cluster_sessions_find(node, &asking->key);
    bool is_done = reply != NULL && reply->type == REDIS_REPLY_STRING;
    node->sessions->asked--;
    if (own != NULL) {
        own->is_asked = false;
        list_remove(&own->link);
        list_append(is_done ? &node->sessions->registered : &node->sessions->unregistered,
                    &own->link);
    }
    if (own != NULL && is_done && reply->len == 1)
        end_replaced(node, own);
    else if (own != NULL && is_done && reply->len == CONN_ID_NODE_LEN &&
             memcmp(reply->str, node->id, CONN_ID_NODE_LEN) != 0)
        cluster_sessions_ask(node, (struct slice){reply->str, reply->len}, SESSION_ASK_REPLACED,
                             &asking->key, 2000, on_told, NULL);
    mem_free(asking);
    if (is_done)
        register_some(node);
    else
        node_set_timer(node, &node->sessions->timer, node->now_ms + AGAIN_MS, on_timer);
}

/* False: its server is down. */
static bool register_one(struct node *node, struct own_session *own) {
    struct asking *asking = mem_alloc(sizeof *asking);
    *asking = (struct asking){node, own->key};
    if (!call(node, &own->key, "begin", node->now_ms - own->began_at, on_registered, asking)) {
        mem_free(asking);
        return false;
    }
    own->is_asked = true;
    own->registered_at = node->now_ms;
    list_remove(&own->link);
    node->sessions->asked++;
    return true;
}

/* The session's server is down: others have theirs first. */
static void move_to_end(struct own_session *own, struct list *list) {
    list_remove(&own->link);
    list_append(list, &own->link);
}

static void register_some(struct node *node) {
    struct cluster_sessions *sessions = node->sessions;
    struct list *list = &sessions->registered, *waiting = &sessions->unregistered;
    while (!list_empty(list) && sessions->asked < MAX_ASKED) {
        struct own_session *oldest = LIST_OWNER(list->next, struct own_session, link);
        if (oldest->registered_at + RENEW_MS > node->now_ms) {
            node_set_timer(node, &sessions->timer, oldest->registered_at + RENEW_MS, on_timer);
            break;
        }
        if (!register_one(node, oldest))
            move_to_end(oldest, waiting);
    }
    for (unsigned i = 0; i < MAX_ASKED && !list_empty(waiting) && sessions->asked < MAX_ASKED;
         i++) {
        struct own_session *own = LIST_OWNER(waiting->next, struct own_session, link);
        if (!register_one(node, own))
            move_to_end(own, waiting);
    }
    if (!list_empty(waiting) && sessions->asked == 0)
        node_set_timer(node, &sessions->timer, node->now_ms + AGAIN_MS, on_timer);
}

void cluster_sessions_up(struct node *node, unsigned server) {
    struct cluster_sessions *sessions = node->sessions;
    (void)server;
    list_move(&sessions->unregistered, &sessions->registered);
    register_some(node);
}

void cluster_sessions_down(struct node *node, unsigned server) {
    (void)node, (void)server; /* what was asked gets no reply */
}

static void on_unregistered(void *context, const struct redisReply *reply) {
    (void)context;
    (void)reply;
}

/* ---- what workers say and ask ---- */

static void began(struct node *node, const struct link_item *item) {
    struct session_key key = session_key_of(item->body);
    struct own_session *own = cluster_sessions_find(node, &key);
    if (own != NULL) /* another one with the secret, which ends */
        cluster_sessions_forget(node, own);
    own = mem_zalloc(sizeof *own);
    own->key = key;
    own->entry.key = session_key_slice(&own->key);
    own->began_at = node->now_ms;
    memcpy(own->id, item->id, sizeof own->id);
    table_add(&node->sessions->own, &own->entry);
    list_append(&node->sessions->unregistered, &own->link);
    register_some(node);
}

static void ended(struct node *node, const struct link_item *item) {
    struct session_key key = session_key_of(item->body);
    struct own_session *own = cluster_sessions_find(node, &key);
    if (own == NULL || strcmp(own->id, item->id) != 0)
        return;
    cluster_sessions_forget(node, own);
    call(node, &key, "end", 0, on_unregistered, NULL);
}

void cluster_sessions_news(struct node *node, const struct link_item *item) {
    switch (item->step) {
    case SESSION_BEGAN:
        began(node, item);
        break;
    case SESSION_ENDED:
        ended(node, item);
        break;
    case SESSION_OPENED:
        session_in_opened(node, item);
        break;
    default:
        session_out_news(node, item);
    }
}

void cluster_sessions_joined(struct node *node, const struct link_item *item) {
    if (!list_empty(&node->sessions->fetches))
        session_in_joined(node, item);
}

void cluster_sessions_answer(struct node *node, struct link_token token, struct slice body) {
    node->bus.answer(node->bus.user, token, LINK_OK, body);
}

void cluster_sessions_take(struct node *node, const struct link_item *item) {
    struct slice secret = item->body;
    char operation = secret.len == 0 ? '\0' : secret.bytes[0];
    if (secret.len > 0)
        slice_skip(&secret, 1);
    if (operation == 'F')
        session_in_fetch(node, item, secret);
    else if (operation == 'T')
        session_in_taken(node, item, secret);
    else if (operation == 'R')
        session_in_refused(node, item, secret);
    else
        node->bus.answer(node->bus.user, item->token, LINK_REFUSED, none);
}

/* ---- between machines ---- */

void cluster_sessions_ask(struct node *node, struct slice machine, char operation,
                          const struct session_key *key, uint64_t ms, direct_answer_fn *on_answer,
                          void *context) {
    char body[1 + SESSION_KEY_BYTES];
    body[0] = operation;
    memcpy(body + 1, key->bytes, SESSION_KEY_BYTES);
    direct_ask(node, machine, QUESTION_SESSION, (struct slice){body, sizeof body}, ms, on_answer,
               context);
}

/* The client has begun a new session on the machine that asks. */
static void replaced(struct node *node, const struct session_key *key) {
    struct own_session *own = cluster_sessions_find(node, key);
    if (own != NULL)
        end_replaced(node, own);
}

void cluster_sessions_asked(struct node *node, const struct direct_asker *asker,
                            struct slice body) {
    struct session_key key;
    if (body.len != 1 + SESSION_KEY_BYTES) {
        direct_answer(node, asker, LINK_REFUSED, none);
        return;
    }
    memcpy(key.bytes, body.bytes + 1, SESSION_KEY_BYTES);
    if (body.bytes[0] == SESSION_ASK_REPLACED) {
        replaced(node, &key);
        direct_answer(node, asker, LINK_OK, none);
        return;
    }
    session_out_asked(node, asker, body.bytes[0], &key);
}

void cluster_sessions_turn(struct node *node) {
    if (!list_empty(&node->sessions->fetches))
        session_in_turn(node);
}
