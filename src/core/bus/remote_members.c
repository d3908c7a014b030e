/* remote_members.c -- the members that rooms have on other machines. See remote_members.h. */
#include "core/bus/remote_members.h"

#include "base/mem.h"

/* What an allocation costs beyond its bytes. */
enum { ALLOCATION_BYTES = 16 };

struct remote_room {
    struct table_entry entry; /* its key is the name */
    struct list members;
    uint32_t count;
    char name[];
};

struct online_name {
    struct table_entry entry;
    char name[];
};

/* ---- rooms ---- */

static struct remote_room *find_room(const struct remote_members *members, struct slice name) {
    struct table_entry *found = table_find(&members->rooms, name);
    return found == NULL ? NULL : TABLE_OWNER(found, struct remote_room, entry);
}

static struct remote_room *use_room(struct remote_members *members, struct slice name) {
    struct remote_room *room = find_room(members, name);
    if (room != NULL)
        return room;
    room = mem_zalloc(sizeof *room + name.len);
    memcpy(room->name, name.bytes, name.len);
    room->entry.key = (struct slice){room->name, name.len};
    list_init(&room->members);
    table_add(&members->rooms, &room->entry);
    return room;
}

uint32_t remote_members_size(const struct remote_members *members, struct slice name) {
    const struct remote_room *room = find_room(members, name);
    return room == NULL ? 0 : room->count;
}

/* ---- members ---- */

static size_t text_size(struct slice text) {
    return text.bytes == NULL ? 0 : text.len + 1;
}

static const char *add_text(char **at, struct slice text) {
    if (text.bytes == NULL)
        return NULL;
    char *copy = *at;
    memcpy(copy, text.bytes, text.len);
    copy[text.len] = '\0';
    *at += text.len + 1;
    return copy;
}

/* The key is the id and the room's name, behind the texts. */
static struct remote_member *new_member(struct slice room, const char *id,
                                        const struct link_member *from) {
    size_t texts = text_size(from->endpoint_name) + text_size(from->info) + text_size(from->user);
    size_t size = sizeof(struct remote_member) + texts + CONN_ID_LEN + room.len;
    struct remote_member *member = mem_zalloc(size);
    char *at = member->texts;
    memcpy(member->id, id, CONN_ID_LEN);
    member->bytes = size + ALLOCATION_BYTES;
    member->endpoint_name = add_text(&at, from->endpoint_name);
    member->info = add_text(&at, from->info);
    const char *user = add_text(&at, from->user);
    if (user != NULL)
        member->user = (struct slice){user, from->user.len};
    memcpy(at, id, CONN_ID_LEN);
    memcpy(at + CONN_ID_LEN, room.bytes, room.len);
    member->entry.key = (struct slice){at, CONN_ID_LEN + room.len};
    return member;
}

static struct remote_member *find(const struct remote_members *members, struct slice room,
                                  const char *id) {
    char few[512], *key = few;
    size_t len = CONN_ID_LEN + room.len;
    if (len > sizeof few)
        key = mem_alloc(len);
    memcpy(key, id, CONN_ID_LEN);
    memcpy(key + CONN_ID_LEN, room.bytes, room.len);
    struct table_entry *found = table_find(&members->by_key, (struct slice){key, len});
    if (key != few)
        mem_free(key);
    return found == NULL ? NULL : TABLE_OWNER(found, struct remote_member, entry);
}

static void take(struct remote_members *members, struct remote_member *member) {
    list_remove(&member->link);
    table_remove(&members->by_key, &member->entry);
    members->bytes -= member->bytes;
    member->room->count--;
}

struct remote_member *remote_members_take(struct remote_members *members, struct slice room,
                                          const char *id) {
    struct remote_member *member = find(members, room, id);
    if (member != NULL)
        take(members, member);
    return member;
}

void remote_members_free(struct remote_member *member) {
    mem_free(member);
}

struct remote_member *remote_members_set(struct remote_members *members, struct slice room,
                                         const char *id, const struct link_member *from,
                                         struct remote_member **before) {
    static const struct link_member nothing;
    *before = remote_members_take(members, room, id);
    struct remote_member *member = new_member(room, id, from);
    if (members->max > 0 && members->bytes + member->bytes > members->max) {
        mem_free(member);
        member = new_member(room, id, &nothing);
        members->is_full = true;
    }
    member->room = use_room(members, room);
    member->room->count++;
    members->bytes += member->bytes;
    list_append(&member->room->members, &member->link);
    table_add(&members->by_key, &member->entry);
    return member;
}

void remote_members_forget(struct remote_members *members, struct slice name) {
    struct remote_room *room = find_room(members, name);
    if (room == NULL)
        return;
    while (!list_empty(&room->members)) {
        struct remote_member *member = LIST_OWNER(room->members.next, struct remote_member, link);
        take(members, member);
        mem_free(member);
    }
    table_remove(&members->rooms, &room->entry);
    mem_free(room);
}

bool remote_members_has(const struct remote_members *members, struct slice room, const char *id) {
    return find(members, room, id) != NULL;
}

void remote_members_each(const struct remote_members *members, struct slice name,
                         void (*f)(void *user, const struct remote_member *member), void *user) {
    const struct remote_room *room = find_room(members, name);
    if (room == NULL)
        return;
    for (const struct list *link = room->members.next; link != &room->members; link = link->next)
        f(user, LIST_OWNER(link, struct remote_member, link));
}

/* ---- users ---- */

bool remote_members_is_online(const struct remote_members *members, struct slice name) {
    return table_find(&members->online, name) != NULL;
}

bool remote_members_set_online(struct remote_members *members, struct slice name, bool is_online) {
    struct table_entry *found = table_find(&members->online, name);
    if ((found != NULL) == is_online)
        return false;
    if (is_online) {
        struct online_name *online = mem_zalloc(sizeof *online + name.len);
        memcpy(online->name, name.bytes, name.len);
        online->entry.key = (struct slice){online->name, name.len};
        table_add(&members->online, &online->entry);
        members->bytes += sizeof *online + name.len + ALLOCATION_BYTES;
    } else {
        struct online_name *online = TABLE_OWNER(found, struct online_name, entry);
        members->bytes -= sizeof *online + found->key.len + ALLOCATION_BYTES;
        table_remove(&members->online, found);
        mem_free(online);
    }
    return true;
}

void remote_members_clear_online(struct remote_members *members) {
    for (struct table_entry *any; (any = table_any(&members->online)) != NULL;)
        remote_members_set_online(members, any->key, false);
    table_close(&members->online);
}

void remote_members_close(struct remote_members *members) {
    for (struct table_entry *any; (any = table_any(&members->rooms)) != NULL;)
        remote_members_forget(members, any->key);
    remote_members_clear_online(members);
    table_close(&members->rooms);
    table_close(&members->by_key);
}
