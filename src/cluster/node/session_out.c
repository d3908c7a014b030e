/* session_out.c -- sessions of this machine whose clients have come back to another one.
 *
 * That machine asks twice: to prepare the session, which comes to rest here, and, when it receives
 * the messages of the session's rooms, to give it. From then on the session is not this machine's,
 * whatever happens: so it is never on two. What comes for the connection waits until the other
 * machine has taken it, and follows it; later messages are passed on. */
#include "cluster/node/session_parts.h"

#include "base/mem.h"

/* How long each step may take, how many sessions leave at once, texts of sessions that have left,
 * and bytes that wait for one on its way. */
enum {
    REST_MS = 2500,
    GIVE_MS = 2500,
    TAKE_MS = 10000,
    MAX_OUTS = 1024,
    MAX_MOVED = 100000,
    MAX_HELD = 1024 * 1024
};

static const struct slice none = {NULL, 0};

/* A message or a close for a connection that has left, as the body of its kind. */
struct held {
    struct list link;
    enum protocol_kind kind;
    size_t len;
    char body[];
};

/* The connection with this id is on another machine now. */
struct moved {
    struct table_entry entry;
    struct list link;
    struct session_out *out; /* it is on its way */
    char id[CONN_ID_LEN + 1], machine[CONN_ID_NODE_LEN + 1];
    struct list held;
    size_t held_bytes;
};

enum out_state {
    OUT_RESTING, /* the worker is to stop its hooks; the question waits */
    OUT_RESTED,  /* until the other machine asks for it */
    OUT_MARKING, /* until what was published before that has come from all servers; the same */
    OUT_GIVING,  /* the worker is to pack it; the question waits */
    OUT_GIVEN    /* until the other machine has it */
};

struct session_out {
    struct node *node;
    struct own_session *own; /* NULL: OUT_GIVEN */
    struct session_key key;
    struct table_entry by_id;
    char id[CONN_ID_LEN + 1];
    enum out_state state;
    struct direct_asker asker;
    struct node_timer timer;
    struct collection collection;
    struct buffer positions;
    uint32_t marks; /* that have not come back */
    struct moved *moved;
};

static void tell_worker(struct node *node, const struct session_out *out, enum session_step step) {
    node->bus.session(node->bus.user, out->id, step);
}

static struct session_out *find_by_id(struct node *node, const char *id) {
    struct table_entry *found = table_find(&node->sessions->out_by_id, slice_of(id));
    return found == NULL ? NULL : TABLE_OWNER(found, struct session_out, by_id);
}

static void out_free(struct session_out *out) {
    struct node *node = out->node;
    node_stop_timer(node, &out->timer);
    session_collect_end(node, &out->collection);
    if (out->own != NULL)
        out->own->out = NULL;
    if (out->moved != NULL)
        out->moved->out = NULL;
    table_remove(&node->sessions->out_by_id, &out->by_id);
    node->sessions->outs--;
    buffer_free(&out->positions);
    mem_free(out);
}

/* Before it is given: the session stays. */
static void refuse(struct session_out *out) {
    if (out->state != OUT_RESTED)
        direct_answer(out->node, &out->asker, LINK_REFUSED, none);
    out_free(out);
}

/* ---- connections that have left ---- */

static void forget_moved(struct node *node, struct moved *moved) {
    table_remove(&node->sessions->moved, &moved->entry);
    list_remove(&moved->link);
    while (!list_empty(&moved->held)) {
        struct held *held = LIST_OWNER(moved->held.next, struct held, link);
        list_remove(&held->link);
        mem_free(held);
    }
    if (moved->out != NULL)
        moved->out->moved = NULL;
    mem_free(moved);
}

static struct moved *find_moved(const struct node *node, const char *id) {
    struct table_entry *found = table_find(&node->sessions->moved, slice_of(id));
    return found == NULL ? NULL : TABLE_OWNER(found, struct moved, entry);
}

bool session_out_knows(const struct node *node, const char *id) {
    return node->sessions->moved.count > 0 && find_moved(node, id) != NULL;
}

void session_out_returned(struct node *node, const char *id) {
    struct moved *moved = find_moved(node, id);
    if (moved != NULL)
        forget_moved(node, moved);
}

static void add_moved(struct session_out *out) {
    struct node *node = out->node;
    struct cluster_sessions *sessions = node->sessions;
    session_out_returned(node, out->id);
    if (sessions->moved.count == MAX_MOVED)
        forget_moved(node, LIST_OWNER(sessions->moved_list.next, struct moved, link));
    struct moved *moved = mem_zalloc(sizeof *moved);
    memcpy(moved->id, out->id, sizeof moved->id);
    memcpy(moved->machine, out->asker.machine, sizeof moved->machine);
    moved->entry.key = slice_of(moved->id);
    moved->out = out;
    list_init(&moved->held);
    out->moved = moved;
    table_add(&sessions->moved, &moved->entry);
    list_append(&sessions->moved_list, &moved->link);
}

static void pass_on(struct node *node, const struct moved *moved, enum protocol_kind kind,
                    struct slice body) {
    struct sink *sink = direct_begin(node, moved->machine, kind);
    sink->write(sink, body.bytes, body.len);
    direct_end(node);
}

static void pass_held(struct node *node, struct moved *moved) {
    while (!list_empty(&moved->held)) {
        struct held *held = LIST_OWNER(moved->held.next, struct held, link);
        pass_on(node, moved, held->kind, (struct slice){held->body, held->len});
        list_remove(&held->link);
        mem_free(held);
    }
    moved->held_bytes = 0;
}

bool session_out_pass_on(struct node *node, const char *id, enum protocol_kind kind,
                         struct slice body) {
    struct moved *moved = find_moved(node, id);
    if (moved == NULL)
        return false;
    if (moved->out == NULL) {
        pass_on(node, moved, kind, body);
    } else if (moved->held_bytes + body.len <= MAX_HELD) {
        struct held *held = mem_alloc(sizeof *held + body.len);
        held->kind = kind;
        held->len = body.len;
        memcpy(held->body, body.bytes, body.len);
        list_append(&moved->held, &held->link);
        moved->held_bytes += body.len;
    } else {
        node->figures.dropped++;
    }
    return true;
}

/* ---- the end of a session that has left ---- */

static void on_lost(struct session_out *out) {
    struct node *node = out->node;
    if (out->moved != NULL)
        forget_moved(node, out->moved);
    tell_worker(node, out, SESSION_LOST);
    out_free(out);
}

static void on_timer(struct node *node, struct node_timer *timer) {
    struct session_out *out = NODE_TIMER_OWNER(timer, struct session_out, timer);
    if (out->state == OUT_GIVEN) {
        on_lost(out);
        return;
    }
    tell_worker(node, out, SESSION_KEEP);
    refuse(out);
}

static void wait(struct session_out *out, enum out_state state, uint64_t ms) {
    out->state = state;
    node_set_timer(out->node, &out->timer, out->node->now_ms + ms, on_timer);
}

/* ---- what other machines ask ---- */

static void prepare(struct node *node, const struct direct_asker *asker,
                    const struct session_key *key) {
    struct cluster_sessions *sessions = node->sessions;
    struct own_session *own = cluster_sessions_find(node, key);
    if (own == NULL || own->out != NULL || sessions->outs == MAX_OUTS ||
        session_in_is_coming(node, key)) {
        bool is_unknown = own == NULL && !session_out_is_going(node, key);
        direct_answer(node, asker, LINK_REFUSED, slice_of(is_unknown ? "unknown" : "busy"));
        return;
    }
    struct session_out *out = mem_zalloc(sizeof *out);
    out->node = node;
    out->own = own;
    out->key = *key;
    out->asker = *asker;
    memcpy(out->id, own->id, sizeof out->id);
    out->by_id.key = slice_of(out->id);
    table_add(&sessions->out_by_id, &out->by_id);
    sessions->outs++;
    own->out = out;
    wait(out, OUT_RESTING, REST_MS);
    tell_worker(node, out, SESSION_REST);
}

static void give(struct session_out *out) {
    wait(out, OUT_GIVING, GIVE_MS);
    tell_worker(out->node, out, SESSION_GIVE);
}

static void mark(struct session_out *out, struct cluster_room *room) {
    struct node *node = out->node;
    struct sink *sink = outgoing_begin(node, room->partition, PROTOCOL_MARK,
                                       node_key(node, room->partition, "c", rooms_name(room)));
    sink->write(sink, &out->key, sizeof out->key);
    outgoing_end(node, room->server);
    out->marks++;
}

/* The other machine has subscribed the rooms now. What was published before that is still on its
 * way here from servers other than the one that has brought its question: a message of this
 * machine's own comes back behind it. */
static void catch_up(struct session_out *out) {
    uint64_t servers = 1;
    for (uint32_t i = 0; i < out->collection.count; i++) {
        struct cluster_room *room = out->collection.rooms[i].room;
        if (room == NULL || servers >> room->server & 1)
            continue;
        servers |= (uint64_t)1 << room->server;
        mark(out, room);
    }
    if (out->marks == 0)
        give(out);
    else
        wait(out, OUT_MARKING, GIVE_MS);
}

void session_out_marked(struct node *node, const struct protocol_head *head, struct slice body) {
    struct session_key key;
    if (body.len != sizeof key || memcmp(head->sender.bytes, node->id, CONN_ID_NODE_LEN) != 0)
        return;
    memcpy(&key, body.bytes, sizeof key);
    const struct own_session *own = cluster_sessions_find(node, &key);
    if (own != NULL && own->out != NULL && own->out->state == OUT_MARKING && --own->out->marks == 0)
        give(own->out);
}

static bool is_same_machine(const struct session_out *out, const struct direct_asker *asker) {
    return memcmp(out->asker.machine, asker->machine, CONN_ID_NODE_LEN) == 0;
}

/* The one with this key that this machine has asked for. */
static struct session_out *find_by_key(struct node *node, const struct direct_asker *asker,
                                       const struct session_key *key) {
    struct own_session *own = cluster_sessions_find(node, key);
    if (own != NULL && own->out != NULL)
        return is_same_machine(own->out, asker) ? own->out : NULL;
    for (const struct list *link = node->sessions->moved_list.prev;
         link != &node->sessions->moved_list; link = link->prev) {
        struct session_out *out = LIST_OWNER(link, struct moved, link)->out;
        if (out != NULL && memcmp(&out->key, key, sizeof *key) == 0)
            return is_same_machine(out, asker) ? out : NULL;
    }
    return NULL;
}

void session_out_asked(struct node *node, const struct direct_asker *asker, char operation,
                       const struct session_key *key) {
    if (operation == SESSION_ASK_PREPARE) {
        prepare(node, asker, key);
        return;
    }
    struct session_out *out = find_by_key(node, asker, key);
    if (out != NULL && operation == SESSION_ASK_GIVE && out->state == OUT_RESTED) {
        out->asker = *asker;
        catch_up(out);
        return;
    }
    direct_answer(node, asker, out == NULL ? LINK_REFUSED : LINK_OK, none);
    if (out == NULL)
        return;
    if (operation == SESSION_ASK_TAKEN && out->state == OUT_GIVEN) {
        tell_worker(node, out, SESSION_TAKEN);
        if (out->moved != NULL)
            pass_held(node, out->moved);
        out_free(out);
    } else if (operation == SESSION_ASK_REFUSED && out->state == OUT_GIVEN) {
        on_lost(out);
    } else if (operation == SESSION_ASK_REFUSED) {
        tell_worker(node, out, SESSION_KEEP);
        refuse(out);
    }
}

/* ---- what the worker says ---- */

static void on_rested(struct session_out *out, struct slice names) {
    if (!session_collect_begin(out->node, &out->collection, names, false)) {
        tell_worker(out->node, out, SESSION_KEEP);
        refuse(out);
        return;
    }
    direct_answer(out->node, &out->asker, LINK_OK, names);
    wait(out, OUT_RESTED, GIVE_MS);
}

static void on_cut(struct session_out *out, uint64_t post) {
    struct buffer_sink sink = buffer_sink_of(&out->positions);
    session_collect_pack_positions(out->node, &out->collection, post, &sink.sink);
}

static void on_given(struct session_out *out, struct slice session) {
    struct node *node = out->node;
    struct buffer body = {0};
    struct buffer_sink sink = buffer_sink_of(&body);
    pack_text(&sink.sink, buffer_start(&out->positions), out->positions.len);
    sink.sink.write(&sink.sink, session.bytes, session.len);
    direct_answer(node, &out->asker, LINK_OK, (struct slice){buffer_start(&body), body.len});
    buffer_free(&body);
    session_collect_end(node, &out->collection);
    struct own_session *own = out->own;
    own->out = NULL;
    out->own = NULL;
    cluster_sessions_forget(node, own);
    add_moved(out);
    wait(out, OUT_GIVEN, TAKE_MS);
}

void session_out_news(struct node *node, const struct link_item *item) {
    struct session_out *out = find_by_id(node, item->id);
    if (out == NULL)
        return;
    switch (item->step) {
    case SESSION_RESTED:
        if (out->state == OUT_RESTING)
            on_rested(out, item->body);
        break;
    case SESSION_CUT:
        if (out->state == OUT_GIVING)
            on_cut(out, item->posts);
        break;
    case SESSION_GIVEN:
        if (out->state == OUT_GIVING)
            on_given(out, item->body);
        else
            tell_worker(node, out, SESSION_LOST);
        break;
    case SESSION_CANNOT:
        if (out->state != OUT_GIVEN)
            refuse(out);
        break;
    default:
        break;
    }
}

bool session_out_is_going(const struct node *node, const struct session_key *key) {
    const struct list *list = &node->sessions->moved_list;
    for (const struct list *link = list->prev; link != list; link = link->prev) {
        const struct session_out *out = LIST_OWNER(link, struct moved, link)->out;
        if (out != NULL && memcmp(&out->key, key, sizeof *key) == 0)
            return true;
    }
    return false;
}

void session_out_cancel(struct node *node, struct own_session *own) {
    if (own->out == NULL)
        return;
    tell_worker(node, own->out, SESSION_KEEP);
    refuse(own->out);
}

void session_out_free(struct node *node) {
    struct table_entry *any;
    while ((any = table_any(&node->sessions->out_by_id)) != NULL) {
        struct session_out *out = TABLE_OWNER(any, struct session_out, by_id);
        if (out->state == OUT_GIVEN)
            on_lost(out);
        else
            out_free(out);
    }
    while (!list_empty(&node->sessions->moved_list))
        forget_moved(node, LIST_OWNER(node->sessions->moved_list.next, struct moved, link));
    table_close(&node->sessions->moved);
    table_close(&node->sessions->out_by_id);
}
