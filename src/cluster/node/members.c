/* members.c -- the members of rooms on this machine, as the servers are to have them.
 *
 * What workers report changes a table here; what the servers do not have yet is dirty, and goes to
 * them in batches, one under way for each partition. A batch says how things are now, so one that
 * was lost is replaced by a later one, and what came and went between two batches is never sent.
 * After a server has lost data all members are dirty, and what the server still has of this machine
 * is read: members that it has too many are removed. mirror.c has the members of other machines. */
#include "cluster/node/node_parts.h"

#include "base/mem.h"
#include "core/bus/users.h"

#include <hiredis/hiredis.h>
#include <stdio.h>

/* Of one batch. */
enum { BATCH_MEMBERS = 128, BATCH_BYTES = 64 * 1024, CHANGE_ARGS = 7, RETRY_MS = 1000 };
enum { HAS_INFO = 1, HAS_USER = 2 };

struct own_room {
    struct table_entry entry; /* its key is the name */
    struct list in_all, link; /* in the partition's dirty rooms, or in no list */
    struct list members, dirty;
    unsigned partition;
    char name[];
};

struct own_member {
    struct table_entry entry;  /* its key is the id and the room's name */
    struct list in_room, link; /* in the room's dirty members, or in no list */
    struct own_room *room;
    bool is_present; /* false: it has left, and the server may still have it */
    bool was_sent;   /* the server may have it */
    bool is_under_way;
    struct buffer packed;
    char key[];
};

struct partition {
    struct node *node;
    struct list dirty; /* rooms */
    bool is_under_way; /* a batch */
    bool must_read;    /* what the server has of this machine */
    bool is_reading;
    bool announces; /* all its members are to be there */
};

struct members {
    struct table rooms, by_key;
    struct list all_rooms;
    struct partition partitions[PARTITIONS];
    unsigned announcing; /* partitions */
    struct node_timer retry;
    struct buffer base, head, key;
    char *nodes_key, *users_key;
    bool has_left;
};

/* What is under way. */
struct batch {
    struct node *node;
    unsigned partition;
    uint32_t count;
    struct own_member *members[BATCH_MEMBERS];
};

static struct slice nothing(void) {
    return (struct slice){NULL, 0};
}

static struct slice view(const struct buffer *buffer) {
    return (struct slice){buffer_start(buffer), buffer->len};
}

static unsigned server_of(const struct node *node, unsigned partition) {
    return partitions_server(partition, node->redis.count);
}

/* ---- life ---- */

static char *copy_key(struct slice key) {
    return mem_strndup(key.bytes, key.len);
}

struct members *members_new(struct node *node) {
    struct members *members = mem_zalloc(sizeof *members);
    list_init(&members->all_rooms);
    for (unsigned i = 0; i < PARTITIONS; i++) {
        members->partitions[i].node = node;
        list_init(&members->partitions[i].dirty);
    }
    members->nodes_key = copy_key(node_common_key(node, "nodes", nothing()));
    members->users_key = copy_key(node_common_key(node, "users", nothing()));
    struct buffer_sink sink = buffer_sink_of(&members->head);
    protocol_pack_head(&sink.sink, &(struct protocol_head){PROTOCOL_MEMBERS, node_id(node), 0, 0});
    return members;
}

/* And its room, if it has no other. */
static void forget_member(struct members *members, struct own_member *member) {
    struct own_room *room = member->room;
    list_remove(&member->link);
    list_remove(&member->in_room);
    table_remove(&members->by_key, &member->entry);
    buffer_free(&member->packed);
    mem_free(member);
    if (!list_empty(&room->members))
        return;
    list_remove(&room->link);
    list_remove(&room->in_all);
    table_remove(&members->rooms, &room->entry);
    mem_free(room);
}

void members_free(struct members *members) {
    if (members == NULL)
        return;
    while (!list_empty(&members->all_rooms)) {
        struct own_room *room = LIST_OWNER(members->all_rooms.next, struct own_room, in_all);
        forget_member(members, LIST_OWNER(room->members.next, struct own_member, in_room));
    }
    table_close(&members->rooms);
    table_close(&members->by_key);
    buffer_free(&members->key);
    buffer_free(&members->base);
    buffer_free(&members->head);
    mem_free(members->nodes_key);
    mem_free(members->users_key);
    mem_free(members);
}

/* ---- what is dirty ---- */

static struct own_room *find_room(const struct members *members, struct slice name) {
    struct table_entry *entry = table_find(&members->rooms, name);
    return entry == NULL ? NULL : TABLE_OWNER(entry, struct own_room, entry);
}

static struct own_room *add_room(struct members *members, struct slice name) {
    struct own_room *room = mem_zalloc(sizeof *room + name.len);
    memcpy(room->name, name.bytes, name.len);
    room->entry.key = (struct slice){room->name, name.len};
    room->partition = partitions_of(name);
    list_init(&room->link);
    list_init(&room->members);
    list_init(&room->dirty);
    list_append(&members->all_rooms, &room->in_all);
    table_add(&members->rooms, &room->entry);
    return room;
}

/* The id has CONN_ID_LEN characters. */
static struct own_member *find_member(struct members *members, struct slice room, struct slice id) {
    buffer_drop(&members->key, members->key.len);
    buffer_add(&members->key, id.bytes, id.len);
    buffer_add(&members->key, room.bytes, room.len);
    struct table_entry *entry = table_find(&members->by_key, view(&members->key));
    return entry == NULL ? NULL : TABLE_OWNER(entry, struct own_member, entry);
}

/* After find_member() has found none. */
static struct own_member *add_member(struct members *members, struct slice name) {
    struct own_room *room = find_room(members, name);
    struct own_member *member = mem_zalloc(sizeof *member + members->key.len);
    memcpy(member->key, buffer_start(&members->key), members->key.len);
    member->entry.key = (struct slice){member->key, members->key.len};
    member->room = room != NULL ? room : add_room(members, name);
    list_init(&member->link);
    list_append(&member->room->members, &member->in_room);
    table_add(&members->by_key, &member->entry);
    return member;
}

static struct slice id_of(const struct own_member *member) {
    return (struct slice){member->key, CONN_ID_LEN};
}

static void set_dirty(struct members *members, struct own_member *member) {
    struct own_room *room = member->room;
    if (list_empty(&member->link))
        list_append(&room->dirty, &member->link);
    if (list_empty(&room->link))
        list_append(&members->partitions[room->partition].dirty, &room->link);
}

/* The member, after a change of it or the end of its batch: is it still needed? */
static void forget_if_gone(struct members *members, struct own_member *member) {
    if (!member->is_present && !member->is_under_way && list_empty(&member->link))
        forget_member(members, member);
}

static void set_all_dirty(struct members *members, struct own_room *room) {
    for (struct list *link = room->members.next; link != &room->members; link = link->next)
        set_dirty(members, LIST_OWNER(link, struct own_member, in_room));
}

/* ---- what workers report ---- */

static void pack(struct own_member *member, const struct link_member *from) {
    buffer_drop(&member->packed, member->packed.len);
    struct buffer_sink sink = buffer_sink_of(&member->packed);
    bool has_info = from->info.bytes != NULL, has_user = from->user.bytes != NULL;
    pack_number(&sink.sink, (has_info ? HAS_INFO : 0) | (has_user ? HAS_USER : 0));
    pack_text(&sink.sink, from->endpoint_name.bytes, from->endpoint_name.len);
    if (has_info)
        pack_text(&sink.sink, from->info.bytes, from->info.len);
    if (has_user)
        pack_text(&sink.sink, from->user.bytes, from->user.len);
}

bool members_unpack(struct slice *from, struct link_member *member) {
    uint64_t flags;
    *member = (struct link_member){0};
    return unpack_number(from, &flags) && flags <= (HAS_INFO | HAS_USER) &&
           unpack_text(from, &member->endpoint_name) &&
           (!(flags & HAS_INFO) || unpack_text(from, &member->info)) &&
           (!(flags & HAS_USER) || unpack_text(from, &member->user));
}

void members_take(struct node *node, const struct link_item *item) {
    struct members *members = node->members;
    struct slice id = slice_of(item->id);
    if (id.len != CONN_ID_LEN)
        return;
    struct own_member *member = find_member(members, item->room, id);
    if (item->kind == LINK_LEFT) {
        if (member == NULL)
            return;
        member->is_present = false;
        list_remove(&member->link);
        if (member->was_sent)
            set_dirty(members, member);
        else
            forget_if_gone(members, member);
        return;
    }
    if (item->kind == LINK_JOINED && item->is_hidden)
        return;
    if (item->kind == LINK_CHANGED && (member == NULL || !member->is_present))
        return;
    if (member == NULL)
        member = add_member(members, item->room);
    member->is_present = true;
    pack(member, &item->member);
    set_dirty(members, member);
}

/* ---- batches ---- */

static void on_retry(struct node *node, struct node_timer *timer) {
    (void)node;
    (void)timer; /* members_turn() */
}

static void on_batch(void *context, const struct redisReply *reply) {
    struct batch *batch = context;
    struct node *node = batch->node;
    struct members *members = node->members;
    bool is_done = reply != NULL && reply->type == REDIS_REPLY_INTEGER && reply->integer == 1;
    members->partitions[batch->partition].is_under_way = false;
    for (uint32_t i = 0; i < batch->count; i++) {
        struct own_member *member = batch->members[i];
        member->is_under_way = false;
        if (!is_done)
            set_dirty(members, member);
        forget_if_gone(members, member);
    }
    if (!is_done && reply != NULL && reply->type == REDIS_REPLY_INTEGER)
        leases_lost(node, server_of(node, batch->partition));
    else if (!is_done && reply != NULL) /* refused */
        node_set_timer(node, &members->retry, node->now_ms + RETRY_MS, on_retry);
    mem_free(batch);
}

/* Arguments of a call: the texts are borrowed. */
struct arguments {
    unsigned count;
    size_t bytes;
    char numbers[BATCH_MEMBERS][8]; /* one for each room */
    unsigned number_count;
    struct slice list[CHANGE_ARGS + 4 * BATCH_MEMBERS + 1];
};

static void add(struct arguments *arguments, struct slice text) {
    arguments->list[arguments->count++] = text;
    arguments->bytes += text.len;
}

/* What change and remove begin with. */
static void add_common(struct node *node, struct arguments *arguments, const char *operation,
                       unsigned partition, struct slice machine) {
    struct members *members = node->members;
    partitions_key(&members->base, node->prefix, partition, "", nothing());
    add(arguments, slice_of(operation));
    add(arguments, view(&members->base));
    add(arguments, machine);
    add(arguments, slice_of(members->nodes_key));
    add(arguments, slice_of(members->users_key));
    add(arguments, (struct slice){USER_ROOM_PREFIX, USER_ROOM_PREFIX_LEN});
    add(arguments, view(&members->head));
}

static void call(struct node *node, unsigned partition, struct slice machine,
                 const struct arguments *arguments, redis_reply_fn *on_reply, void *context) {
    node->redis.call(node->redis.user, server_of(node, partition), REDIS_SCRIPT_MEMBERS,
                     node_key(node, partition, "r", machine), arguments->count, arguments->list,
                     on_reply, context);
}

/* Adds dirty members of a room. */
static void add_members(struct batch *batch, struct arguments *arguments, struct own_room *room) {
    add(arguments, room->entry.key);
    struct slice *number = &arguments->list[arguments->count++];
    uint32_t count = 0;
    while (!list_empty(&room->dirty) && batch->count < BATCH_MEMBERS &&
           arguments->bytes < BATCH_BYTES) {
        struct own_member *member = LIST_OWNER(room->dirty.next, struct own_member, link);
        list_remove(&member->link);
        member->is_under_way = member->was_sent = true;
        batch->members[batch->count++] = member;
        count++;
        add(arguments, id_of(member));
        add(arguments, member->is_present ? view(&member->packed) : (struct slice){"", 0});
    }
    char *text = arguments->numbers[arguments->number_count++];
    snprintf(text, sizeof arguments->numbers[0], "%u", count);
    *number = slice_of(text);
}

static void send_batch(struct node *node, unsigned number) {
    struct partition *partition = &node->members->partitions[number];
    struct arguments arguments = {0};
    struct batch *batch = mem_zalloc(sizeof *batch);
    batch->node = node;
    batch->partition = number;
    add_common(node, &arguments, "change", number, node_id(node));
    while (!list_empty(&partition->dirty) && batch->count < BATCH_MEMBERS &&
           arguments.bytes < BATCH_BYTES) {
        struct own_room *room = LIST_OWNER(partition->dirty.next, struct own_room, link);
        list_remove(&room->link);
        if (!list_empty(&room->dirty)) /* else they came and went */
            add_members(batch, &arguments, room);
        if (!list_empty(&room->dirty))
            list_append(&partition->dirty, &room->link);
    }
    if (batch->count == 0) {
        mem_free(batch);
        return;
    }
    partition->is_under_way = true;
    call(node, number, node_id(node), &arguments, on_batch, batch);
}

void members_remove(struct node *node, unsigned partition, struct slice machine, int max_rooms,
                    redis_reply_fn *on_reply, void *context) {
    struct arguments arguments = {0};
    char max[16];
    add_common(node, &arguments, "remove", partition, machine);
    snprintf(max, sizeof max, "%d", max_rooms);
    add(&arguments, slice_of(max));
    call(node, partition, machine, &arguments, on_reply, context);
}

/* ---- what a server has of this machine ---- */

/* The ids that the server has in a room: those that are not here have left. */
static void compare_room(struct members *members, struct slice name, const struct redisReply *ids) {
    for (size_t i = 0; i < ids->elements; i++) {
        struct slice id = {ids->element[i]->str, ids->element[i]->len};
        if (ids->element[i]->type != REDIS_REPLY_STRING || id.len != CONN_ID_LEN)
            continue;
        struct own_member *member = find_member(members, name, id);
        if (member == NULL)
            member = add_member(members, name);
        member->was_sent = true;
        set_dirty(members, member);
    }
}

static void on_own(void *context, const struct redisReply *reply) {
    struct partition *partition = context;
    struct node *node = partition->node;
    partition->is_reading = false;
    if (reply == NULL)
        return;
    if (reply->type != REDIS_REPLY_ARRAY) {
        node_set_timer(node, &node->members->retry, node->now_ms + RETRY_MS, on_retry);
        return;
    }
    partition->must_read = false;
    for (size_t i = 0; i + 1 < reply->elements; i += 2) {
        const struct redisReply *name = reply->element[i], *ids = reply->element[i + 1];
        if (name->type == REDIS_REPLY_STRING && ids->type == REDIS_REPLY_ARRAY)
            compare_room(node->members, (struct slice){name->str, name->len}, ids);
    }
}

static void read_own(struct node *node, unsigned number) {
    struct partition *partition = &node->members->partitions[number];
    struct arguments arguments = {0};
    add_common(node, &arguments, "own", number, node_id(node));
    partition->is_reading = true;
    call(node, number, node_id(node), &arguments, on_own, partition);
}

void members_registered(struct node *node, unsigned server, bool must_announce) {
    struct members *members = node->members;
    if (!must_announce)
        return;
    for (unsigned i = 0; i < PARTITIONS; i++)
        if (server_of(node, i) == server) {
            members->announcing += !members->partitions[i].announces;
            members->partitions[i].must_read = members->partitions[i].announces = true;
        }
    struct list *all = &members->all_rooms;
    for (struct list *link = all->next; link != all; link = link->next) {
        struct own_room *room = LIST_OWNER(link, struct own_room, in_all);
        if (server_of(node, room->partition) == server)
            set_all_dirty(members, room);
    }
}

void members_lost(struct node *node, struct slice room) {
    struct own_room *own = find_room(node->members, room);
    if (own != NULL)
        set_all_dirty(node->members, own);
}

/* ---- the turn ---- */

/* Is everything of this partition on the server? */
static bool is_settled(const struct partition *partition) {
    return !partition->must_read && !partition->is_under_way && list_empty(&partition->dirty);
}

/* All members of a server's partitions are there: tells the others. */
static void announce(struct node *node, unsigned server) {
    struct members *members = node->members;
    unsigned done = 0, left = 0;
    for (unsigned i = 0; i < PARTITIONS; i++) {
        struct partition *partition = &members->partitions[i];
        if (server_of(node, i) != server || !partition->announces)
            continue;
        left++;
        if (!is_settled(partition))
            continue;
        partition->announces = false;
        done++;
    }
    members->announcing -= done;
    if (done > 0 && done == left)
        leases_announced(node, server);
}

void members_turn(struct node *node) {
    struct members *members = node->members;
    if (members->has_left || deadlines_contains(&members->retry.deadline))
        return;
    for (unsigned i = 0; i < PARTITIONS; i++) {
        struct partition *partition = &members->partitions[i];
        if ((list_empty(&partition->dirty) && !partition->must_read) || partition->is_under_way ||
            partition->is_reading || !leases_is_registered(node, server_of(node, i)))
            continue;
        if (partition->must_read)
            read_own(node, i);
        else
            send_batch(node, i);
    }
    for (unsigned server = 0; server < node->redis.count && members->announcing > 0; server++)
        if (leases_is_registered(node, server))
            announce(node, server);
}

void members_leave(struct node *node) {
    node->members->has_left = true; /* leases_leave() removes them */
}
