/* directory.c -- the members of each room, over all workers. See directory.h.
 *
 * A room keeps its members in a dense array, so leaving is a swap with the last, and counts them by
 * endpoint and worker, so a broadcast goes to the workers that have receivers and to no other. */
#include "core/bus/directory.h"

#include "base/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

enum { FIRST_MEMBERS = 4 };

struct room_entry {
    struct shared_room *room;
    conn_id id;
    uint32_t index; /* in the room's members */
    uint32_t endpoint;
    unsigned worker;
    bool has_info;
    size_t name_len;
    char texts[]; /* the name, NUL, the info, NUL */
};

struct shared_room {
    struct table_entry entry; /* its key is the name */
    struct endpoint_counts *counts;
    struct room_entry **members;
    uint32_t count, capacity;
    char name[];
};

struct presence_watch {
    struct table_entry entry;
    uint64_t workers[DIRECTORY_MAX_WORKERS / 64];
    char name[];
};

/* ---- rooms ---- */

static struct shared_room *find(const struct directory *directory, struct slice name) {
    struct table_entry *found = table_find(&directory->rooms, name);
    return found == NULL ? NULL : TABLE_OWNER(found, struct shared_room, entry);
}

static struct shared_room *add_room(struct directory *directory, struct slice name) {
    struct shared_room *room = mem_zalloc(sizeof *room + name.len + 1);
    memcpy(room->name, name.bytes, name.len);
    room->entry.key = (struct slice){room->name, name.len};
    table_add(&directory->rooms, &room->entry);
    return room;
}

/* ---- members ---- */

static struct room_entry *entry_new(const char *name, struct slice info) {
    size_t name_len = strlen(name);
    struct room_entry *entry = mem_zalloc(sizeof *entry + name_len + info.len + 2);
    entry->name_len = name_len;
    entry->has_info = info.bytes != NULL;
    memcpy(entry->texts, name, name_len);
    if (info.len > 0)
        memcpy(entry->texts + name_len + 1, info.bytes, info.len);
    return entry;
}

struct room_entry *directory_join(struct directory *directory, unsigned worker, struct slice name,
                                  conn_id id, uint32_t endpoint, const char *endpoint_name,
                                  struct slice info) {
    struct shared_room *room = find(directory, name);
    if (room == NULL)
        room = add_room(directory, name);
    if (room->count == room->capacity) {
        room->capacity = room->capacity == 0 ? FIRST_MEMBERS : room->capacity * 2;
        room->members = mem_realloc(room->members, room->capacity * sizeof *room->members);
    }
    struct room_entry *entry = entry_new(endpoint_name, info);
    entry->room = room;
    entry->id = id;
    entry->endpoint = endpoint;
    entry->worker = worker;
    entry->index = room->count;
    room->members[room->count++] = entry;
    endpoint_counts_add(&room->counts, directory->workers, endpoint, worker);
    return entry;
}

void directory_leave(struct directory *directory, struct room_entry *entry) {
    struct shared_room *room = entry->room;
    endpoint_counts_remove(&room->counts, entry->endpoint, entry->worker);
    struct room_entry *last = room->members[--room->count];
    room->members[entry->index] = last;
    last->index = entry->index;
    mem_free(entry);
    if (room->count > 0)
        return;
    table_remove(&directory->rooms, &room->entry);
    mem_free(room->members);
    mem_free(room);
}

struct room_entry *directory_set_info(struct room_entry *old, struct slice info) {
    struct room_entry *entry = entry_new(old->texts, info);
    entry->room = old->room;
    entry->id = old->id;
    entry->endpoint = old->endpoint;
    entry->worker = old->worker;
    entry->index = old->index;
    entry->room->members[entry->index] = entry;
    mem_free(old);
    return entry;
}

struct slice room_entry_room(const struct room_entry *entry) {
    return entry->room->entry.key;
}

const char *room_entry_name(const struct room_entry *entry) {
    return entry->texts;
}

const char *room_entry_info(const struct room_entry *entry) {
    return entry->has_info ? entry->texts + entry->name_len + 1 : NULL;
}

/* ---- reading ---- */

uint32_t directory_size(const struct directory *directory, struct slice name) {
    const struct shared_room *room = find(directory, name);
    return room == NULL ? 0 : room->count;
}

bool directory_has(const struct directory *directory, struct slice name, conn_id id) {
    const struct shared_room *room = find(directory, name);
    for (uint32_t i = 0; room != NULL && i < room->count; i++)
        if (room->members[i]->id == id)
            return true;
    return false;
}

const struct endpoint_counts *directory_endpoint_counts(const struct directory *directory,
                                                        struct slice name) {
    const struct shared_room *room = find(directory, name);
    return room == NULL ? NULL : room->counts;
}

void directory_members(const struct directory *directory, struct slice name,
                       void (*f)(void *user, conn_id id, const char *name, const char *info),
                       void *user) {
    const struct shared_room *room = find(directory, name);
    for (uint32_t i = 0; room != NULL && i < room->count; i++)
        f(user, room->members[i]->id, room_entry_name(room->members[i]),
          room_entry_info(room->members[i]));
}

/* ---- watches ---- */

static struct presence_watch *find_watch(const struct directory *directory, struct slice room) {
    struct table_entry *found = table_find(&directory->watched, room);
    return found == NULL ? NULL : TABLE_OWNER(found, struct presence_watch, entry);
}

static void remove_watch(struct directory *directory, struct presence_watch *watch) {
    table_remove(&directory->watched, &watch->entry);
    mem_free(watch);
}

static bool is_empty(const struct presence_watch *watch) {
    uint64_t any = 0;
    for (size_t i = 0; i < DIRECTORY_MAX_WORKERS / 64; i++)
        any |= watch->workers[i];
    return any == 0;
}

void directory_watch(struct directory *directory, unsigned worker, struct slice room, bool on) {
    struct presence_watch *watch = find_watch(directory, room);
    if (watch == NULL && on) {
        watch = mem_zalloc(sizeof *watch + room.len + 1);
        memcpy(watch->name, room.bytes, room.len);
        watch->entry.key = (struct slice){watch->name, room.len};
        table_add(&directory->watched, &watch->entry);
    }
    if (watch == NULL)
        return;
    uint64_t bit = (uint64_t)1 << worker % 64;
    if (on)
        watch->workers[worker / 64] |= bit;
    else
        watch->workers[worker / 64] &= ~bit;
    if (is_empty(watch))
        remove_watch(directory, watch);
}

bool directory_is_watched(const struct directory *directory, struct slice room) {
    return find_watch(directory, room) != NULL;
}

bool directory_watches(const struct directory *directory, unsigned worker, struct slice room) {
    const struct presence_watch *watch = find_watch(directory, room);
    return watch != NULL && (watch->workers[worker / 64] >> worker % 64 & 1) != 0;
}

void directory_close(struct directory *directory) {
    for (struct table_entry *entry; (entry = table_any(&directory->watched)) != NULL;)
        remove_watch(directory, TABLE_OWNER(entry, struct presence_watch, entry));
    table_close(&directory->watched);
    table_close(&directory->rooms);
}
