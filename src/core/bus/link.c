/* link.c -- the queue of items for the link, and what the link says of servers, rooms and other
 * machines. See link.h. */
#include "core/bus/link.h"

#include "base/mem.h"

#include <string.h>

/* What an allocation costs beyond its bytes. */
enum { ALLOCATION_BYTES = 16 };

/* ---- items ---- */

static struct slice copy_text(char **at, struct slice text) {
    if (text.bytes == NULL)
        return text;
    struct slice copy = {memcpy(*at, text.bytes, text.len), text.len};
    *at += text.len;
    return copy;
}

struct link_item *link_item_new(enum link_item_kind kind, struct slice room, struct slice body) {
    struct link_item *item = mem_zalloc(sizeof *item + room.len + body.len);
    char *at = item->texts;
    item->kind = kind;
    item->room = copy_text(&at, room);
    item->body = copy_text(&at, body);
    return item;
}

struct link_item *link_item_new_member(enum link_item_kind kind, struct slice room,
                                       const struct link_member *member) {
    struct link_item *item = mem_zalloc(sizeof *item + room.len + member->endpoint_name.len +
                                        member->info.len + member->user.len);
    char *at = item->texts;
    item->kind = kind;
    item->room = copy_text(&at, room);
    item->member.endpoint_name = copy_text(&at, member->endpoint_name);
    item->member.info = copy_text(&at, member->info);
    item->member.user = copy_text(&at, member->user);
    return item;
}

void link_item_set_encodings(struct link_item *item, const struct encoding *encodings,
                             uint32_t count) {
    item->encodings = mem_alloc(count * sizeof *encodings);
    item->encoding_count = count;
    for (uint32_t i = 0; i < count; i++) {
        item->encodings[i] = encodings[i];
        if (encodings[i].message != NULL)
            message_hold(encodings[i].message);
    }
}

void link_item_free(struct link_item *item) {
    for (uint32_t i = 0; i < item->encoding_count; i++)
        if (item->encodings[i].message != NULL)
            message_release(item->encodings[i].message);
    mem_free(item->encodings);
    mem_free(item);
}

static size_t cost_of(const struct link_item *item) {
    const struct link_member *member = &item->member;
    size_t cost = sizeof *item + item->room.len + item->body.len + member->endpoint_name.len +
                  member->info.len + member->user.len + ALLOCATION_BYTES;
    const struct message *before = NULL;
    for (uint32_t i = 0; i < item->encoding_count; i++) {
        const struct message *message = item->encodings[i].message;
        cost += sizeof *item->encodings;
        if (message != NULL && message != before)
            cost += message_memory(message);
        before = message;
    }
    return cost;
}

/* ---- the queue ---- */

static void clear(struct link *link) {
    link->first = NULL;
    link->last = link->droppable = &link->first;
    link->bytes = 0;
}

void link_open(struct link *link, size_t max, unsigned servers, link_server_fn *server_of) {
    *link = (struct link){.max = max, .servers = servers, .server_of = server_of};
    clear(link);
}

struct link_item *link_take(struct link *link) {
    struct link_item *first = link->first;
    clear(link);
    return first;
}

void link_close(struct link *link) {
    link->is_closed = true;
    link->up = link->ordered = 0;
    for (struct link_item *item = link_take(link), *next; item != NULL; item = next) {
        next = item->next;
        link_item_free(item);
    }
}

/* A name in a table. */
struct name {
    struct table_entry entry;
    char bytes[];
};

static void set_name(struct table *table, struct slice text, bool is_in) {
    struct table_entry *found = table_find(table, text);
    if (is_in && found == NULL) {
        struct name *name = mem_zalloc(sizeof *name + text.len);
        memcpy(name->bytes, text.bytes, text.len);
        name->entry.key = (struct slice){name->bytes, text.len};
        table_add(table, &name->entry);
    } else if (!is_in && found != NULL) {
        table_remove(table, found);
        mem_free(TABLE_OWNER(found, struct name, entry));
    }
}

static void close_names(struct table *table) {
    for (struct table_entry *entry; (entry = table_any(table)) != NULL;)
        set_name(table, entry->key, false);
    table_close(table);
}

void link_end(struct link *link) {
    link_close(link);
    close_names(&link->live);
    close_names(&link->machines);
}

/* Drops the oldest messages, until the items fit. */
static void make_room(struct link *link) {
    while (link->bytes > link->max && *link->droppable != NULL) {
        struct link_item *item = *link->droppable;
        if (item->kind != LINK_PUBLISH && item->kind != LINK_SEND) {
            link->droppable = &item->next;
            continue;
        }
        *link->droppable = item->next;
        if (item->next == NULL)
            link->last = link->droppable;
        link->bytes -= cost_of(item);
        link->dropped++;
        link_item_free(item);
    }
}

bool link_push(struct link *link, struct link_item *item) {
    if (link->is_closed) {
        link_item_free(item);
        return false;
    }
    bool was_empty = link->first == NULL;
    *link->last = item;
    link->last = &item->next;
    link->bytes += cost_of(item);
    if (link->bytes > link->max && !was_empty)
        make_room(link);
    return was_empty;
}

uint64_t link_take_dropped(struct link *link) {
    uint64_t dropped = link->dropped - link->dropped_before;
    link->dropped_before = link->dropped;
    return dropped;
}

/* ---- servers, rooms, machines ---- */

void link_set_live(struct link *link, struct slice room, bool is_live) {
    set_name(&link->live, room, is_live);
}

bool link_is_live(const struct link *link, struct slice room) {
    return table_find(&link->live, room) != NULL;
}

void link_set_up(struct link *link, unsigned server, bool is_up) {
    uint64_t bit = (uint64_t)1 << server;
    link->up = is_up && !link->is_closed ? link->up | bit : link->up & ~bit;
}

void link_set_ordered(struct link *link, unsigned server, bool is_ordered) {
    uint64_t bit = (uint64_t)1 << server;
    link->ordered = is_ordered && !link->is_closed ? link->ordered | bit : link->ordered & ~bit;
}

bool link_is_ordered(const struct link *link, struct slice room) {
    return link->ordered >> link->server_of(room, link->servers) & 1;
}

bool link_is_up(const struct link *link, struct slice room) {
    return link->up >> link->server_of(room, link->servers) & 1;
}

void link_set_machine(struct link *link, struct slice id, bool lives) {
    link->knows_machines = true;
    set_name(&link->machines, id, lives);
}

bool link_machine_lives(const struct link *link, struct slice id) {
    return !link->knows_machines || table_find(&link->machines, id) != NULL;
}
