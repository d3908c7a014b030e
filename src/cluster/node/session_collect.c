/* session_collect.c -- which messages a session that moves has got, and which it has missed.
 *
 * The machine that gives the session says what it has got: of each sender in each of its rooms the
 * last sequence (protocol.h), at one moment of the order of its bus. The machine that takes it
 * keeps the messages of these rooms from before that moment until the session is a member there.
 * So it knows the ones between: those behind the positions, in the order in which it has collected
 * them. */
#include "cluster/node/session_parts.h"

#include "base/mem.h"

enum { MAX_ROOMS = 1024, MAX_BYTES = 4 * 1024 * 1024, MESSAGE_COST = 64 };

static const struct slice none = {NULL, 0};
/* The sender of messages that Redis has numbered, which no machine can be. */
static const struct slice redis_itself = {"-----------", CONN_ID_NODE_LEN};

static void close_rooms(struct collection *collection) {
    for (uint32_t i = 0; i < collection->count; i++) {
        if (collection->rooms[i].room != NULL)
            rooms_drop(collection->rooms[i].room);
        mem_free((char *)collection->rooms[i].name.bytes);
    }
    mem_free(collection->rooms);
    collection->rooms = NULL;
    collection->count = 0;
}

static void add_room(struct node *node, struct collection *collection, struct slice name) {
    struct collected_room *room = &collection->rooms[collection->count++];
    *room = (struct collected_room){.name = {NULL, name.len}};
    if (name.len == 0)
        return;
    room->name.bytes = mem_strndup(name.bytes, name.len);
    room->room = rooms_hold(node, name);
}

bool session_collect_begin(struct node *node, struct collection *collection, struct slice names,
                           bool keeps_bodies) {
    uint32_t count = 1;
    struct slice name, rest = names;
    for (; rest.len > 0; count++)
        if (!unpack_text(&rest, &name) || name.len == 0 || count == MAX_ROOMS)
            return false;
    *collection = (struct collection){.rooms = mem_zalloc(count * sizeof *collection->rooms),
                                      .keeps_bodies = keeps_bodies};
    list_init(&collection->list);
    add_room(node, collection, none);
    while (unpack_text(&names, &name))
        add_room(node, collection, name);
    list_append(&node->sessions->collections, &collection->link);
    return true;
}

void session_collect_end(struct node *node, struct collection *collection) {
    (void)node;
    if (collection->rooms == NULL)
        return;
    list_remove(&collection->link);
    while (!list_empty(&collection->list)) {
        struct collected *collected = LIST_OWNER(collection->list.next, struct collected, link);
        list_remove(&collected->link);
        mem_free(collected);
    }
    close_rooms(collection);
}

static struct collected_room *find_room(const struct collection *collection, struct slice name) {
    for (uint32_t i = 0; i < collection->count; i++)
        if (slice_equal(collection->rooms[i].name, name))
            return &collection->rooms[i];
    return NULL;
}

/* As core.session_insert() takes it. */
static void pack_broadcast(struct sink *out, const struct broadcast *broadcast,
                           const char *except) {
    uint64_t count = 0;
    struct slice key = none;
    for (uint32_t i = 0; i < broadcast->encoding_count; i++)
        if (broadcast->encodings[i].message != NULL) {
            key = message_key(broadcast->encodings[i].message);
            count++;
        }
    pack_text(out, except, strlen(except));
    pack_number(out, broadcast->endpoint);
    pack_text(out, key.bytes, key.len);
    pack_number(out, count);
    for (uint32_t i = 0; i < broadcast->encoding_count; i++) {
        const struct encoding *encoding = &broadcast->encodings[i];
        if (encoding->message == NULL)
            continue;
        struct slice payload = message_payload(encoding->message);
        pack_number(out, encoding->codec);
        pack_number(out, message_opcode(encoding->message));
        pack_text(out, payload.bytes, payload.len);
    }
}

static void collect(struct collection *collection, const struct collected *model,
                    const struct broadcast *broadcast, struct slice body) {
    const struct collected_room *room = find_room(collection, broadcast->room);
    if (room == NULL || collection->is_over || (room->is_closed && model->post == 0))
        return;
    size_t len = collection->keeps_bodies ? body.len : 0;
    if (collection->bytes + len + MESSAGE_COST > MAX_BYTES) {
        collection->is_over = true;
        return;
    }
    struct collected *collected = mem_alloc(sizeof *collected + len);
    *collected = *model;
    collected->room = (uint32_t)(room - collection->rooms);
    collected->len = len;
    list_init(&collected->link);
    if (len > 0)
        memcpy(collected->body, body.bytes, len);
    list_append(&collection->list, &collected->link);
    collection->bytes += len + MESSAGE_COST;
}

static void note(struct node *node, const struct collected *model,
                 const struct broadcast *broadcast, const char *except) {
    struct list *collections = &node->sessions->collections;
    struct buffer body = {0};
    struct buffer_sink sink = buffer_sink_of(&body);
    pack_broadcast(&sink.sink, broadcast, except);
    for (struct list *link = collections->next; link != collections; link = link->next)
        collect(LIST_OWNER(link, struct collection, link), model, broadcast,
                (struct slice){buffer_start(&body), body.len});
    buffer_free(&body);
}

void session_collect_note(struct node *node, struct slice sender, uint64_t sequence, uint64_t post,
                          const struct broadcast *broadcast, const char *except) {
    struct collected model = {.sequence = sequence, .post = post};
    memcpy(model.sender, sender.bytes, CONN_ID_NODE_LEN);
    note(node, &model, broadcast, except);
}

void session_collect_note_entry(struct node *node, uint64_t offset,
                                const struct broadcast *broadcast, const char *except) {
    session_collect_note(node, redis_itself, offset, node->posts, broadcast, except);
}

bool session_collect_any(const struct node *node) {
    return !list_empty(&node->sessions->collections);
}

/* ---- positions: of each room its name, their number, and the senders with their sequences ---- */

struct packing {
    const struct collection *collection;
    uint32_t room;
    uint64_t post;
    struct sink *out;
};

/* The first sequence that was collected of the sender after this post; 0: none. */
static uint64_t first_after(const struct packing *packing, struct slice sender) {
    const struct list *list = &packing->collection->list;
    for (const struct list *link = list->next; link != list; link = link->next) {
        const struct collected *collected = LIST_OWNER(link, struct collected, link);
        if (collected->room == packing->room && collected->post > packing->post &&
            memcmp(collected->sender, sender.bytes, CONN_ID_NODE_LEN) == 0)
            return collected->sequence;
    }
    return 0;
}

static void pack_sender(void *user, struct slice sender, uint64_t sequence) {
    const struct packing *packing = user;
    uint64_t after = first_after(packing, sender);
    pack_text(packing->out, sender.bytes, CONN_ID_NODE_LEN);
    pack_number(packing->out, after == 0 ? sequence : after - 1);
}

static void count_sender(void *user, struct slice sender, uint64_t sequence) {
    (void)sender;
    (void)sequence;
    ++*(uint64_t *)user;
}

void session_collect_pack_positions(struct node *node, const struct collection *collection,
                                    uint64_t post, struct sink *out) {
    struct packing packing = {collection, 0, post, out};
    for (; packing.room < collection->count; packing.room++) {
        const struct collected_room *room = &collection->rooms[packing.room];
        const struct senders *senders =
            room->room == NULL ? &node->all_senders : &room->room->senders;
        struct slice channel = room->room == NULL
                                   ? slice_of(node->channel_all)
                                   : node_key(node, room->room->partition, "c", room->name);
        uint64_t count = 2, own = outgoing_sequence(node, channel);
        peers_each_sender(node, senders, count_sender, &count);
        pack_text(out, room->name.bytes, room->name.len);
        pack_number(out, count);
        pack_text(out, node->id, CONN_ID_NODE_LEN);
        pack_number(out, own);
        pack_sender(&packing, redis_itself, room->room == NULL ? 0 : room->room->last_entry);
        peers_each_sender(node, senders, pack_sender, &packing);
    }
}

/* The sequence of a sender in a room; 0: none, or the positions are damaged. */
static uint64_t position_of(struct slice positions, struct slice room, const char *sender) {
    uint64_t count, sequence;
    struct slice name, id;
    while (unpack_text(&positions, &name) && unpack_number(&positions, &count))
        for (; count > 0; count--) {
            if (!unpack_text(&positions, &id) || id.len != CONN_ID_NODE_LEN ||
                !unpack_number(&positions, &sequence))
                return 0;
            if (slice_equal(name, room) && memcmp(id.bytes, sender, CONN_ID_NODE_LEN) == 0)
                return sequence;
        }
    return 0;
}

/* ---- what was missed ---- */

void session_collect_pack_missed(const struct collection *collection, struct slice positions,
                                 struct sink *out) {
    for (const struct list *link = collection->list.next; link != &collection->list;
         link = link->next) {
        const struct collected *collected = LIST_OWNER(link, struct collected, link);
        const struct collected_room *room = &collection->rooms[collected->room];
        bool was_got = collected->sequence <= position_of(positions, room->name, collected->sender);
        bool is_here = room->is_closed && collected->post > room->cut;
        if (!was_got && !is_here)
            out->write(out, collected->body, collected->len);
    }
}
