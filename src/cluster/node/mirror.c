/* mirror.c -- the members that the rooms of this machine have on other machines.
 *
 * A room that concerns this machine is read once; then each change that is published brings the
 * room's next version. A version that is not the next one means that something was missed, and the
 * room is read again. Only differences reach the workers.
 *
 * A member that is missing in what was read has left. But a server that has lost its data gets it
 * back from the machines one after the other, so the members of a machine that has not announced
 * all of its own yet stay until it has, or is dead. */
#include "cluster/node/node_parts.h"

#include "base/mem.h"
#include "base/siphash.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>

/* Members that one read brings; those of larger rooms are read in steps. */
enum { READ_MEMBERS = 1000 };
/* Bytes of changes that wait for the end of a read: beyond them the room is read again. */
enum { WAITING_MAX = 4 * 1024 * 1024 };
enum { RETRY_MS = 1000 };

enum change { CHANGE_LEFT, CHANGE_JOINED, CHANGE_MACHINE };

struct mirrored {
    struct table_entry entry; /* its key is the id and the room's name */
    struct list link;
    bool is_seen; /* by the read that is under way */
    uint64_t digest;
    char machine[CONN_ID_NODE_LEN];
    char key[];
};

/* A machine whose members are read in steps. */
struct step {
    struct list link;
    char machine[CONN_ID_NODE_LEN];
    char cursor[24];
};

struct room_members {
    struct cluster_room *room;
    struct list list;     /* struct mirrored */
    struct list doubtful; /* in mirror->doubtful, or in no list */
    struct list steps;
    struct buffer waiting; /* changes that came during a read, packed */
    uint64_t version, read_version;
    uint32_t count;
    bool is_known;   /* was read */
    bool is_reading; /* a command is under way */
    bool must_read;  /* again, when this read has ended */
    bool is_part;    /* rooms_part_done() is owed */
};

struct mirror {
    struct table by_key;
    struct list doubtful; /* rooms that have to be read again */
    struct node_timer retry;
    struct buffer key;
    uint64_t secret[2];
};

static struct slice view(const struct buffer *buffer) {
    return (struct slice){buffer_start(buffer), buffer->len};
}

static struct slice nothing(void) {
    return (struct slice){NULL, 0};
}

/* ---- life ---- */

struct mirror *mirror_new(struct node *node) {
    (void)node;
    struct mirror *mirror = mem_zalloc(sizeof *mirror);
    list_init(&mirror->doubtful);
    siphash_draw_key(mirror->secret);
    return mirror;
}

void mirror_free(struct mirror *mirror) {
    if (mirror == NULL)
        return;
    table_close(&mirror->by_key);
    buffer_free(&mirror->key);
    mem_free(mirror);
}

static struct room_members *use(struct cluster_room *room) {
    if (room->members != NULL)
        return room->members;
    struct room_members *members = mem_zalloc(sizeof *members);
    members->room = room;
    list_init(&members->list);
    list_init(&members->doubtful);
    list_init(&members->steps);
    return room->members = members;
}

static void free_steps(struct room_members *members) {
    while (!list_empty(&members->steps)) {
        struct step *step = LIST_OWNER(members->steps.next, struct step, link);
        list_remove(&step->link);
        mem_free(step);
    }
}

static void forget(struct room_members *members, struct mirrored *mirrored) {
    struct node *node = members->room->node;
    list_remove(&mirrored->link);
    table_remove(&node->mirror->by_key, &mirrored->entry);
    members->count--;
    node->figures.members--;
    mem_free(mirrored);
}

void mirror_end(struct cluster_room *room) {
    struct room_members *members = room->members;
    if (members == NULL)
        return;
    struct node *node = room->node;
    if (node->bus.forget_members != NULL)
        node->bus.forget_members(node->bus.user, rooms_name(room));
    while (!list_empty(&members->list))
        forget(members, LIST_OWNER(members->list.next, struct mirrored, link));
    free_steps(members);
    list_remove(&members->doubtful);
    buffer_free(&members->waiting);
    room->members = NULL;
    members->room = NULL;
    if (!members->is_reading) /* else the answer comes yet */
        mem_free(members);
}

/* Did the room end while the command was under way? */
static bool has_ended(struct room_members *members) {
    if (members->room != NULL)
        return false;
    mem_free(members);
    return true;
}

/* ---- members ---- */

static struct mirrored *find(struct room_members *members, struct slice id) {
    struct mirror *mirror = members->room->node->mirror;
    struct slice name = rooms_name(members->room);
    buffer_drop(&mirror->key, mirror->key.len);
    buffer_add(&mirror->key, id.bytes, id.len);
    buffer_add(&mirror->key, name.bytes, name.len);
    struct table_entry *entry = table_find(&mirror->by_key, view(&mirror->key));
    return entry == NULL ? NULL : TABLE_OWNER(entry, struct mirrored, entry);
}

/* After find() has found none. */
static struct mirrored *add(struct room_members *members) {
    struct node *node = members->room->node;
    struct buffer *key = &node->mirror->key;
    struct mirrored *mirrored = mem_zalloc(sizeof *mirrored + key->len);
    memcpy(mirrored->key, buffer_start(key), key->len);
    mirrored->entry.key = (struct slice){mirrored->key, key->len};
    list_append(&members->list, &mirrored->link);
    table_add(&node->mirror->by_key, &mirrored->entry);
    members->count++;
    node->figures.members++;
    return mirrored;
}

static void report(struct room_members *members, enum presence_change change, struct slice id,
                   const struct link_member *member) {
    const struct node *node = members->room->node;
    char text[CONN_ID_LEN + 1];
    memcpy(text, id.bytes, CONN_ID_LEN);
    text[CONN_ID_LEN] = '\0';
    node->bus.member(node->bus.user, change, rooms_name(members->room), text, member);
}

static void remove_member(struct room_members *members, struct mirrored *mirrored) {
    report(members, PRESENCE_LEFT, (struct slice){mirrored->key, CONN_ID_LEN}, NULL);
    forget(members, mirrored);
}

/* A member is there now, as these bytes say. False: they are damaged. */
static bool set_member(struct room_members *members, struct slice machine, struct slice id,
                       struct slice packed) {
    struct node *node = members->room->node;
    struct link_member member;
    struct slice rest = packed;
    if (id.len != CONN_ID_LEN || !members_unpack(&rest, &member))
        return false;
    packed.len -= rest.len;
    uint64_t digest = siphash(node->mirror->secret, packed);
    struct mirrored *mirrored = find(members, id);
    bool is_new = mirrored == NULL;
    if (is_new) {
        mirrored = add(members);
        leases_seen(node, machine);
    }
    memcpy(mirrored->machine, machine.bytes, CONN_ID_NODE_LEN);
    mirrored->is_seen = true;
    if (is_new || mirrored->digest != digest)
        report(members, PRESENCE_JOINED, id, &member);
    mirrored->digest = digest;
    return true;
}

static bool is_of(const struct mirrored *mirrored, struct slice machine) {
    return memcmp(mirrored->machine, machine.bytes, CONN_ID_NODE_LEN) == 0;
}

static void remove_machine(struct room_members *members, struct slice machine) {
    for (struct list *link = members->list.next, *next; link != &members->list; link = next) {
        next = link->next;
        struct mirrored *mirrored = LIST_OWNER(link, struct mirrored, link);
        if (is_of(mirrored, machine))
            remove_member(members, mirrored);
    }
}

/* ---- reading ---- */

static void start_read(struct room_members *members);
static void read_step(struct room_members *members);
static void apply(struct room_members *members, struct slice sender, struct slice body);

static void read_doubtful(struct node *node, unsigned server);

static void on_retry(struct node *node, struct node_timer *timer) {
    (void)timer;
    read_doubtful(node, UINT32_MAX);
}

static void doubt(struct room_members *members) {
    if (list_empty(&members->doubtful))
        list_append(&members->room->node->mirror->doubtful, &members->doubtful);
}

/* The read has not succeeded: again later. */
static void give_up(struct room_members *members, bool is_down) {
    struct node *node = members->room->node;
    members->is_reading = false;
    members->is_known = false;
    free_steps(members);
    buffer_drop(&members->waiting, members->waiting.len);
    bool is_up = node->servers[members->room->server].is_up;
    if (is_up && (is_down || members->must_read)) { /* it has come back since this read began */
        start_read(members);
        return;
    }
    if (!is_down) {
        doubt(members);
        node_set_timer(node, &node->mirror->retry, node->now_ms + RETRY_MS, on_retry);
    }
    if (members->is_part) {
        members->is_part = false;
        rooms_part_done(members->room);
    }
}

/* Members that the read has not seen have left, if their machines have announced all. */
static void remove_unseen(struct room_members *members) {
    struct cluster_room *room = members->room;
    for (struct list *link = members->list.next, *next; link != &members->list; link = next) {
        next = link->next;
        struct mirrored *mirrored = LIST_OWNER(link, struct mirrored, link);
        if (mirrored->is_seen)
            continue;
        struct slice machine = {mirrored->machine, CONN_ID_NODE_LEN};
        if (leases_is_settled(room->node, room->server, machine))
            remove_member(members, mirrored);
        else
            doubt(members);
    }
}

static void apply_waiting(struct room_members *members) {
    struct buffer waiting = members->waiting;
    members->waiting = (struct buffer){0};
    struct slice from = view(&waiting), sender, body;
    while (unpack_text(&from, &sender) && unpack_text(&from, &body))
        apply(members, sender, body);
    buffer_free(&waiting);
}

static void end_read(struct room_members *members) {
    members->is_reading = false;
    members->is_known = true;
    members->version = members->read_version;
    remove_unseen(members);
    apply_waiting(members); /* may begin another read */
    if (members->must_read && !members->is_reading)
        start_read(members);
    if (!members->is_reading && members->is_part) {
        members->is_part = false;
        rooms_part_done(members->room);
    }
}

static void set_members(struct room_members *members, struct slice machine,
                        const struct redisReply *list) {
    struct cluster_room *room = members->room;
    if (slice_equal(machine, node_id(room->node)))
        return;
    if (leases_is_doubtful(room->node, room->server, machine)) {
        doubt(members); /* the machine says soon what is right */
        return;
    }
    for (size_t i = 0; i + 1 < list->elements; i += 2) {
        const struct redisReply *id = list->element[i], *packed = list->element[i + 1];
        if (id->type == REDIS_REPLY_STRING && packed->type == REDIS_REPLY_STRING)
            set_member(members, machine, (struct slice){id->str, id->len},
                       (struct slice){packed->str, packed->len});
    }
}

static void add_step(struct room_members *members, struct slice machine) {
    if (slice_equal(machine, node_id(members->room->node)))
        return;
    struct step *step = mem_zalloc(sizeof *step);
    memcpy(step->machine, machine.bytes, CONN_ID_NODE_LEN);
    step->cursor[0] = '0';
    list_append(&members->steps, &step->link);
}

/* { version, machine, { id, member, … } or number, … } */
static void on_read(void *context, const struct redisReply *reply) {
    struct room_members *members = context;
    if (has_ended(members))
        return;
    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY || reply->elements == 0 ||
        reply->element[0]->type != REDIS_REPLY_STRING) {
        give_up(members, reply == NULL);
        return;
    }
    members->read_version = strtoull(reply->element[0]->str, NULL, 10);
    for (size_t i = 1; i + 1 < reply->elements; i += 2) {
        struct slice machine = {reply->element[i]->str, reply->element[i]->len};
        if (reply->element[i]->type != REDIS_REPLY_STRING || machine.len != CONN_ID_NODE_LEN)
            continue;
        if (reply->element[i + 1]->type == REDIS_REPLY_ARRAY)
            set_members(members, machine, reply->element[i + 1]);
        else
            add_step(members, machine);
    }
    read_step(members);
}

static void start_read(struct room_members *members) {
    struct cluster_room *room = members->room;
    struct node *node = room->node;
    members->is_reading = true;
    members->must_read = false;
    list_remove(&members->doubtful);
    for (struct list *link = members->list.next; link != &members->list; link = link->next)
        LIST_OWNER(link, struct mirrored, link)->is_seen = false;
    struct buffer base = {0};
    char max[16];
    snprintf(max, sizeof max, "%d", READ_MEMBERS);
    const struct slice argv[] = {
        {"read", 4},   partitions_key(&base, node->prefix, room->partition, "", nothing()),
        node_id(node), rooms_name(room),
        slice_of(max),
    };
    node->redis.call(node->redis.user, room->server, REDIS_SCRIPT_MEMBERS,
                     node_key(node, room->partition, "m", rooms_name(room)), 5, argv, on_read,
                     members);
    buffer_free(&base);
}

/* { cursor, { id, member, … } } */
static void on_step(void *context, const struct redisReply *reply) {
    struct room_members *members = context;
    if (has_ended(members))
        return;
    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
        reply->element[0]->type != REDIS_REPLY_STRING ||
        reply->element[1]->type != REDIS_REPLY_ARRAY) {
        give_up(members, reply == NULL);
        return;
    }
    struct step *step = LIST_OWNER(members->steps.next, struct step, link);
    set_members(members, (struct slice){step->machine, CONN_ID_NODE_LEN}, reply->element[1]);
    snprintf(step->cursor, sizeof step->cursor, "%s", reply->element[0]->str);
    if (strcmp(step->cursor, "0") == 0) {
        list_remove(&step->link);
        mem_free(step);
    }
    read_step(members);
}

/* The next members of a machine that has many. What changes meanwhile comes as changes after the
 * version that was read first. */
static void read_step(struct room_members *members) {
    struct cluster_room *room = members->room;
    struct node *node = room->node;
    if (list_empty(&members->steps)) {
        end_read(members);
        return;
    }
    struct step *step = LIST_OWNER(members->steps.next, struct step, link);
    struct buffer name = {0};
    buffer_add(&name, step->machine, CONN_ID_NODE_LEN);
    buffer_add(&name, ":", 1);
    buffer_add(&name, room->name, rooms_name(room).len);
    char count[16];
    snprintf(count, sizeof count, "%d", READ_MEMBERS);
    const struct slice argv[] = {
        {"HSCAN", 5},           node_key(node, room->partition, "n", view(&name)),
        slice_of(step->cursor), {"COUNT", 5},
        slice_of(count),
    };
    node->redis.command(node->redis.user, room->server, 5, argv, on_step, members);
    buffer_free(&name);
}

static void read_again(struct room_members *members) {
    if (members->is_reading)
        members->must_read = true;
    else
        start_read(members);
}

void mirror_begin(struct cluster_room *room) {
    struct room_members *members = use(room);
    members->is_part = true;
    read_again(members);
}

static void read_doubtful(struct node *node, unsigned server) {
    struct list list;
    list_init(&list);
    list_move(&list, &node->mirror->doubtful);
    while (!list_empty(&list)) {
        struct room_members *members = LIST_OWNER(list.next, struct room_members, doubtful);
        list_remove(&members->doubtful);
        if (!node->servers[members->room->server].is_up)
            continue; /* it is read when the server is up */
        if (server == UINT32_MAX || members->room->server == server)
            read_again(members);
        else
            doubt(members);
    }
}

void mirror_machines_changed(struct node *node, unsigned server, bool is_new_life) {
    for (struct list *link = node->rooms.next; link != &node->rooms; link = link->next) {
        struct cluster_room *room = LIST_OWNER(link, struct cluster_room, link);
        if (is_new_life && room->server == server && room->members != NULL &&
            room->members->is_known)
            doubt(room->members);
    }
    read_doubtful(node, server);
}

/* ---- changes ---- */

/* The changes of one version, of which the sender has made those of single members. */
static void apply_changes(struct room_members *members, struct slice sender, struct slice body) {
    struct node *node = members->room->node;
    bool is_own = slice_equal(sender, node_id(node));
    while (body.len > 0) {
        enum change change = (enum change)(unsigned char)body.bytes[0];
        size_t len = change == CHANGE_MACHINE ? CONN_ID_NODE_LEN : CONN_ID_LEN;
        slice_skip(&body, 1);
        if (body.len < len || change > CHANGE_MACHINE)
            break;
        struct slice id = {body.bytes, len};
        slice_skip(&body, len);
        if (change == CHANGE_MACHINE) {
            if (slice_equal(id, node_id(node)))
                leases_beat(node, members->room->server); /* the others took this one for dead */
            remove_machine(members, id);
        } else if (change == CHANGE_LEFT) {
            struct mirrored *mirrored = is_own ? NULL : find(members, id);
            if (mirrored != NULL && is_of(mirrored, sender))
                remove_member(members, mirrored);
        } else {
            struct link_member member;
            struct slice packed = body;
            if (!members_unpack(&body, &member))
                break;
            packed.len -= body.len;
            if (!is_own)
                set_member(members, sender, id, packed);
        }
    }
    if (body.len > 0)
        node->figures.damaged++;
}

static void apply(struct room_members *members, struct slice sender, struct slice body) {
    struct node *node = members->room->node;
    uint64_t before, version;
    if (!unpack_number(&body, &before) || !unpack_number(&body, &version)) {
        node->figures.damaged++;
        return;
    }
    if (version <= members->version || members->is_reading)
        return; /* known, or in what is being read anew */
    bool is_next = before == members->version || (before == 0 && members->count == 0);
    if (before == 0 && !slice_equal(sender, node_id(node)))
        members_lost(node, rooms_name(members->room));
    if (!is_next) {
        start_read(members);
        return;
    }
    members->version = version;
    apply_changes(members, sender, body);
}

void mirror_message(struct cluster_room *room, const struct protocol_head *head,
                    struct slice body) {
    struct room_members *members = room->members;
    struct slice sender = head->sender;
    if (members == NULL || (!members->is_known && !members->is_reading))
        return; /* it will be read */
    if (!members->is_reading) {
        apply(members, sender, body);
        return;
    }
    if (members->waiting.len + body.len > WAITING_MAX) {
        members->must_read = true;
        buffer_drop(&members->waiting, members->waiting.len);
        return;
    }
    struct buffer_sink sink = buffer_sink_of(&members->waiting);
    pack_text(&sink.sink, sender.bytes, sender.len);
    pack_text(&sink.sink, body.bytes, body.len);
}
