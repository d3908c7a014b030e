/* room.c -- named sets of this worker's connections. See room.h.
 *
 * A room is a dense array of members, so that a broadcast walks memory in order. Leaving moves the
 * last member into the gap. */
#include "core/hub/room.h"

#include "base/mem.h"
#include "core/hub/conn.h"

#include <string.h>

enum { FIRST_MEMBERS = 4 };

/* Of a membership, here and in the directory, beside the texts of both. */
enum { MEMBERSHIP_BYTES = 256 };

static _Thread_local size_t all_bytes;

static size_t bytes_of(const struct member *member) {
    size_t info = member->info == NULL ? 0 : strlen(member->info);
    return MEMBERSHIP_BYTES + 2 * (member->room->entry.key.len + info);
}

size_t room_bytes(void) {
    return all_bytes;
}

struct room *room_find(const struct table *rooms, struct slice name) {
    struct table_entry *found = table_find(rooms, name);
    return found == NULL ? NULL : TABLE_OWNER(found, struct room, entry);
}

static struct room *add_room(struct table *rooms, struct slice name) {
    struct room *room = mem_zalloc(sizeof *room + name.len + 1);
    memcpy(room->name, name.bytes, name.len);
    room->entry.key = (struct slice){room->name, name.len};
    room->rooms = rooms;
    table_add(rooms, &room->entry);
    return room;
}

static void remove_room(struct room *room) {
    table_remove(room->rooms, &room->entry);
    mem_free(room->members);
    mem_free(room->endpoints);
    mem_free(room);
}

/* Adds `change`, 1 or -1, to the endpoint's members. */
static void count_endpoint(struct room *room, const struct endpoint *endpoint, int change) {
    for (uint32_t i = 0; i < room->endpoint_count; i++) {
        struct room_endpoint *entry = &room->endpoints[i];
        if (entry->endpoint != endpoint)
            continue;
        entry->members += (uint32_t)change;
        if (entry->members == 0)
            *entry = room->endpoints[--room->endpoint_count];
        return;
    }
    size_t size = (room->endpoint_count + 1) * sizeof *room->endpoints;
    room->endpoints = mem_realloc(room->endpoints, size);
    room->endpoints[room->endpoint_count++] = (struct room_endpoint){endpoint, 1};
}

/* The connection's membership in a room, or NULL. It is in the connection's list and in the room's
 * array; one of them is mostly short, so this walks both at once until one ends. */
static struct member *membership(const struct conn *conn, const struct room *room) {
    struct member *member = conn->rooms;
    for (uint32_t i = 0; i < room->count && member != NULL; i++) {
        if (room->members[i]->conn == conn)
            return room->members[i];
        if (member->room == room)
            return member;
        member = member->next;
    }
    return NULL;
}

struct member *room_member(const struct table *rooms, struct slice name, struct conn *conn) {
    const struct room *room = room_find(rooms, name);
    return room == NULL ? NULL : membership(conn, room);
}

static void set_info(struct member *member, struct slice info) {
    mem_free(member->info);
    member->info = info.bytes == NULL ? NULL : mem_strndup(info.bytes, info.len);
}

bool room_join(struct table *rooms, struct slice name, struct conn *conn, struct slice info) {
    struct room *room = room_find(rooms, name);
    struct member *old = room == NULL ? NULL : membership(conn, room);
    if (old != NULL) {
        all_bytes -= bytes_of(old);
        set_info(old, info);
        all_bytes += bytes_of(old);
        return false;
    }
    if (room == NULL)
        room = add_room(rooms, name);
    if (room->count == room->capacity) {
        room->capacity = room->capacity == 0 ? FIRST_MEMBERS : room->capacity * 2;
        room->members = mem_realloc(room->members, room->capacity * sizeof(struct member *));
    }
    struct member *member = mem_alloc(sizeof *member);
    *member = (struct member){
        .conn = conn,
        .room = room,
        .next = conn->rooms,
        .link = &conn->rooms,
        .index = room->count,
    };
    if (member->next != NULL)
        member->next->link = &member->next;
    set_info(member, info);
    all_bytes += bytes_of(member);
    room->members[room->count++] = member;
    conn->rooms = member;
    count_endpoint(room, conn->endpoint, 1);
    return true;
}

static void leave(struct member *member) {
    struct room *room = member->room;
    all_bytes -= bytes_of(member);
    *member->link = member->next;
    if (member->next != NULL)
        member->next->link = member->link;
    struct member *last = room->members[--room->count];
    room->members[member->index] = last;
    last->index = member->index;
    count_endpoint(room, member->conn->endpoint, -1);
    mem_free(member->info);
    mem_free(member);
    if (room->count == 0)
        remove_room(room);
}

bool room_leave(struct table *rooms, struct slice name, struct conn *conn) {
    const struct room *room = room_find(rooms, name);
    struct member *member = room == NULL ? NULL : membership(conn, room);
    if (member == NULL)
        return false;
    leave(member);
    return true;
}

void room_leave_all(struct conn *conn) {
    while (conn->rooms != NULL)
        leave(conn->rooms);
}
