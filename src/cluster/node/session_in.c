/* session_in.c -- sessions of other machines whose clients have come back to this one.
 *
 * Each is a fetch: Redis says which machine has the session; that machine prepares it and names its
 * rooms; this machine subscribes these rooms; that machine gives the session, which a worker makes
 * a session of this machine; the worker asks for what came on the way, and its client goes on. All
 * of it may take two seconds, until the session is here. After that the client gets a new session.
 */
#include "cluster/node/session_parts.h"

#include "base/mem.h"

#include <hiredis/hiredis.h>

/* Until the session is here; until the worker has taken it; between two tries; at most at once. */
enum { FETCH_MS = 2000, TAKE_MS = 8000, AGAIN_MS = 30, MAX_FETCHES = 4096, TOLD_MS = 2000 };

static const struct slice none = {NULL, 0};

enum fetch_state {
    FETCH_OWNER,      /* Redis is asked for the machine */
    FETCH_AGAIN,      /* the session is on its way to a machine: until the next try */
    FETCH_PREPARING,  /* the machine is asked to prepare it */
    FETCH_COLLECTING, /* until its rooms are live here */
    FETCH_GIVING,     /* the machine is asked to give it */
    FETCH_TAKING      /* the worker has it */
};

struct fetch {
    struct list link;
    struct node *node;
    struct session_key key;
    struct link_token token;
    enum fetch_state state;
    bool is_asked;   /* a reply or an answer comes still */
    bool is_unknown; /* to `machine` */
    bool was_own;    /* Redis has named this machine */
    bool is_over;    /* and the fetch ends with it */
    uint64_t ends_at;
    struct node_timer timer;
    char machine[CONN_ID_NODE_LEN + 1];
    char id[CONN_ID_LEN + 1]; /* of the session; "": not known yet */
    struct collection collection;
    struct buffer positions;
    struct list waiters; /* other handshakes with the secret */
};

/* A handshake that waits until the fetch of another one has ended. */
struct waiter {
    struct list link;
    struct link_token token;
};

static void find_owner(struct fetch *fetch);

/* ---- the end ---- */

static void release(struct fetch *fetch) {
    node_stop_timer(fetch->node, &fetch->timer);
    session_collect_end(fetch->node, &fetch->collection);
    while (!list_empty(&fetch->waiters)) {
        struct waiter *waiter = LIST_OWNER(fetch->waiters.next, struct waiter, link);
        list_remove(&waiter->link);
        cluster_sessions_answer(fetch->node, waiter->token, none);
        mem_free(waiter);
    }
    buffer_drop(&fetch->positions, fetch->positions.len);
}

static void destroy(struct fetch *fetch) {
    fetch->node->sessions->fetch_count--;
    list_remove(&fetch->link);
    buffer_free(&fetch->positions);
    mem_free(fetch);
}

static void end(struct fetch *fetch) {
    release(fetch);
    if (fetch->is_asked)
        fetch->is_over = true;
    else
        destroy(fetch);
}

static void on_told(struct node *node, void *context, enum link_status status, struct slice body) {
    (void)node, (void)context, (void)status, (void)body;
}

static void tell(const struct fetch *fetch, char operation) {
    cluster_sessions_ask(fetch->node, (struct slice){fetch->machine, CONN_ID_NODE_LEN}, operation,
                         &fetch->key, TOLD_MS, on_told, NULL);
}

/* There is no session: the handshake goes on. */
static void give_up(struct fetch *fetch) {
    bool is_prepared = fetch->state == FETCH_COLLECTING || fetch->state == FETCH_GIVING;
    if (is_prepared)
        tell(fetch, SESSION_ASK_REFUSED);
    cluster_sessions_answer(fetch->node, fetch->token, none);
    end(fetch);
}

static void on_timer(struct node *node, struct node_timer *timer) {
    struct fetch *fetch = NODE_TIMER_OWNER(timer, struct fetch, timer);
    if (fetch->state == FETCH_TAKING) { /* the worker does not return */
        tell(fetch, SESSION_ASK_REFUSED);
        end(fetch);
    } else if (fetch->state == FETCH_AGAIN && node->now_ms < fetch->ends_at) {
        find_owner(fetch);
    } else {
        give_up(fetch);
    }
}

static void set_timer(struct fetch *fetch, uint64_t at_ms) {
    node_set_timer(fetch->node, &fetch->timer, at_ms, on_timer);
}

/* An answer or a reply has come. False: the fetch has ended meanwhile, and is freed. */
static bool is_answered(struct fetch *fetch) {
    bool is_over = fetch->is_over;
    fetch->is_asked = false;
    if (is_over)
        destroy(fetch);
    return !is_over;
}

static uint64_t rest_ms(const struct fetch *fetch) {
    uint64_t now = fetch->node->now_ms;
    return fetch->ends_at > now ? fetch->ends_at - now : 0;
}

static void try_again(struct fetch *fetch) {
    fetch->state = FETCH_AGAIN;
    uint64_t at = fetch->node->now_ms + AGAIN_MS;
    set_timer(fetch, at < fetch->ends_at ? at : fetch->ends_at);
}

/* ---- the steps ---- */

/* The answer of GIVE: a text with the positions, and the session, which begins with a text that
 * begins with its id. */
static void on_given(struct node *node, void *context, enum link_status status, struct slice body) {
    struct fetch *fetch = context;
    struct slice positions, session, id, rest;
    if (fetch->is_over && status == LINK_OK)
        tell(fetch, SESSION_ASK_REFUSED); /* too late */
    if (!is_answered(fetch))
        return;
    bool is_sound = status == LINK_OK && unpack_text(&body, &positions);
    rest = body;
    if (!is_sound || !unpack_text(&rest, &session) || !unpack_text(&session, &id) ||
        id.len != CONN_ID_LEN) {
        give_up(fetch);
        return;
    }
    memcpy(fetch->id, id.bytes, CONN_ID_LEN);
    buffer_add(&fetch->positions, positions.bytes, positions.len);
    fetch->state = FETCH_TAKING;
    set_timer(fetch, node->now_ms + TAKE_MS);
    cluster_sessions_answer(node, fetch->token, body);
}

static bool are_live(const struct collection *collection) {
    for (uint32_t i = 0; i < collection->count; i++)
        if (collection->rooms[i].room != NULL && collection->rooms[i].room->state != ROOM_LIVE)
            return false;
    return true;
}

static void ask_for_it(struct fetch *fetch) {
    fetch->state = FETCH_GIVING;
    fetch->is_asked = true;
    cluster_sessions_ask(fetch->node, (struct slice){fetch->machine, CONN_ID_NODE_LEN},
                         SESSION_ASK_GIVE, &fetch->key, rest_ms(fetch), on_given, fetch);
}

static void on_prepared(struct node *node, void *context, enum link_status status,
                        struct slice body) {
    struct fetch *fetch = context;
    if (!is_answered(fetch))
        return;
    if (status == LINK_REFUSED && slice_is(body, "busy")) {
        try_again(fetch);
    } else if (status == LINK_REFUSED && !fetch->is_unknown) {
        fetch->is_unknown = true; /* it may have just gone to another one */
        find_owner(fetch);
    } else if (status != LINK_OK || !session_collect_begin(node, &fetch->collection, body, true)) {
        give_up(fetch);
    } else {
        fetch->state = FETCH_COLLECTING;
        if (are_live(&fetch->collection))
            ask_for_it(fetch);
    }
}

void session_in_turn(struct node *node) {
    struct list *fetches = &node->sessions->fetches;
    for (struct list *link = fetches->next, *next; link != fetches; link = next) {
        struct fetch *fetch = LIST_OWNER(link, struct fetch, link);
        next = link->next;
        if (fetch->state == FETCH_COLLECTING && !fetch->is_over && are_live(&fetch->collection))
            ask_for_it(fetch);
    }
}

static void on_owner(void *context, const struct redisReply *reply) {
    struct fetch *fetch = context;
    struct node *node = fetch->node;
    if (!is_answered(fetch))
        return;
    bool is_machine =
        reply != NULL && reply->type == REDIS_REPLY_STRING && reply->len == CONN_ID_NODE_LEN;
    bool is_own = is_machine && memcmp(reply->str, node->id, CONN_ID_NODE_LEN) == 0;
    bool may_have_gone = is_own && !fetch->was_own; /* while the reply was on its way */
    fetch->was_own = is_own;
    if (may_have_gone && rest_ms(fetch) > 0) {
        find_owner(fetch);
    } else if (is_own && session_out_is_going(node, &fetch->key)) {
        try_again(fetch); /* the machine that gets it has not told Redis yet */
    } else if (!is_machine || is_own || rest_ms(fetch) == 0 ||
               (fetch->is_unknown && memcmp(reply->str, fetch->machine, CONN_ID_NODE_LEN) == 0)) {
        give_up(fetch);
    } else {
        fetch->is_unknown = false;
        memcpy(fetch->machine, reply->str, CONN_ID_NODE_LEN);
        fetch->state = FETCH_PREPARING;
        fetch->is_asked = true;
        cluster_sessions_ask(node, (struct slice){fetch->machine, CONN_ID_NODE_LEN},
                             SESSION_ASK_PREPARE, &fetch->key, rest_ms(fetch), on_prepared, fetch);
    }
}

static void find_owner(struct fetch *fetch) {
    fetch->state = FETCH_OWNER;
    set_timer(fetch, fetch->ends_at);
    if (cluster_sessions_find(fetch->node, &fetch->key) != NULL ||
        !cluster_sessions_get_owner(fetch->node, &fetch->key, on_owner, fetch)) {
        give_up(fetch); /* it is here, or Redis is away */
        return;
    }
    fetch->is_asked = true;
}

/* ---- what the worker asks ---- */

static struct fetch *find(const struct node *node, const struct session_key *key) {
    struct list *fetches = &node->sessions->fetches;
    for (struct list *link = fetches->next; link != fetches; link = link->next) {
        struct fetch *fetch = LIST_OWNER(link, struct fetch, link);
        if (!fetch->is_over && memcmp(&fetch->key, key, sizeof *key) == 0)
            return fetch;
    }
    return NULL;
}

bool session_in_is_coming(const struct node *node, const struct session_key *key) {
    const struct fetch *fetch = find(node, key);
    return fetch != NULL && fetch->state == FETCH_TAKING;
}

void session_in_fetch(struct node *node, const struct link_item *item, struct slice secret) {
    struct session_key key = session_key_of(secret);
    struct fetch *fetch = find(node, &key);
    if (fetch != NULL) {
        struct waiter *waiter = mem_zalloc(sizeof *waiter);
        waiter->token = item->token;
        list_append(&fetch->waiters, &waiter->link);
        return;
    }
    if (node->sessions->fetch_count == MAX_FETCHES) {
        cluster_sessions_answer(node, item->token, none); /* the client gets a new session */
        return;
    }
    node->sessions->fetch_count++;
    fetch = mem_zalloc(sizeof *fetch);
    fetch->node = node;
    fetch->key = key;
    fetch->token = item->token;
    fetch->ends_at = node->now_ms + FETCH_MS;
    list_init(&fetch->waiters);
    list_append(&node->sessions->fetches, &fetch->link);
    find_owner(fetch);
}

static struct fetch *find_taking(struct node *node, struct slice secret) {
    struct session_key key = session_key_of(secret);
    struct fetch *fetch = find(node, &key);
    return fetch != NULL && fetch->state == FETCH_TAKING ? fetch : NULL;
}

void session_in_taken(struct node *node, const struct link_item *item, struct slice secret) {
    struct fetch *fetch = find_taking(node, secret);
    struct buffer missed = {0};
    struct buffer_sink sink = buffer_sink_of(&missed);
    if (fetch != NULL) {
        const struct slice positions = {buffer_start(&fetch->positions), fetch->positions.len};
        session_collect_pack_missed(&fetch->collection, positions, &sink.sink);
        session_out_returned(node, fetch->id);
        tell(fetch, SESSION_ASK_TAKEN);
    }
    cluster_sessions_answer(node, item->token, (struct slice){buffer_start(&missed), missed.len});
    buffer_free(&missed);
    if (fetch != NULL)
        end(fetch);
}

void session_in_refused(struct node *node, const struct link_item *item, struct slice secret) {
    struct fetch *fetch = find_taking(node, secret);
    cluster_sessions_answer(node, item->token, none);
    if (fetch == NULL)
        return;
    tell(fetch, SESSION_ASK_REFUSED);
    end(fetch);
}

/* ---- the session becomes a member, and a connection ---- */

static void close_room(struct node *node, const struct link_item *item, struct slice room) {
    struct list *fetches = &node->sessions->fetches;
    for (struct list *link = fetches->next; link != fetches; link = link->next) {
        struct fetch *fetch = LIST_OWNER(link, struct fetch, link);
        if (fetch->state != FETCH_TAKING || fetch->is_over || strcmp(fetch->id, item->id) != 0)
            continue;
        for (uint32_t i = 0; i < fetch->collection.count; i++) {
            struct collected_room *collected = &fetch->collection.rooms[i];
            if (!collected->is_closed && slice_equal(collected->name, room)) {
                collected->is_closed = true;
                collected->cut = item->posts;
            }
        }
    }
}

void session_in_joined(struct node *node, const struct link_item *item) {
    close_room(node, item, item->room);
}

void session_in_opened(struct node *node, const struct link_item *item) {
    close_room(node, item, none);
}

void session_in_free(struct node *node) {
    struct list *fetches = &node->sessions->fetches;
    while (!list_empty(fetches)) {
        struct fetch *fetch = LIST_OWNER(fetches->next, struct fetch, link);
        if (!fetch->is_over && fetch->state != FETCH_TAKING)
            cluster_sessions_answer(node, fetch->token, none);
        if (!fetch->is_over)
            release(fetch);
        destroy(fetch);
    }
}
