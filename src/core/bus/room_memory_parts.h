/* room_memory_parts.h -- what the files room_memory*.c share; no other file includes it. */
#ifndef TIDEWIRE_CORE_BUS_ROOM_MEMORY_PARTS_H
#define TIDEWIRE_CORE_BUS_ROOM_MEMORY_PARTS_H

#include "core/bus/room_memory.h"

/* One message of one kind. */
struct kept {
    struct list link; /* in its room's list */
    uint64_t offset;
    uint64_t monotonic_ms; /* of its broadcast */
    int64_t wall_ms;
    conn_id except;
    uint32_t endpoint;
    uint32_t count;       /* of encodings, each with a message that is held */
    struct kept_key *key; /* of a retained message */
    struct encoding encodings[];
};

/* A retained message in the table of all rooms' keys. */
struct kept_key {
    struct table_entry entry;
    struct kept *kept;
    char bytes[];
};

struct kept_list {
    struct list list; /* oldest first */
    uint32_t count;
    size_t bytes;
    uint64_t dropped; /* the largest offset that a limit has removed */
};

/* A room that remembers something. */
struct kept_room {
    struct table_entry entry; /* its key is the name */
    struct list link;         /* in one of the lists of all rooms */
    const struct room_rule *rule;
    uint32_t rules_number; /* another than the memory's: `rule` is not valid */
    uint64_t epoch, offset;
    bool is_numbered; /* by a server: it keeps its position without a message, too */
    struct kept_list kinds[MEMORY_KINDS];
    size_t memory;                /* bytes, with its messages */
    struct deadline size, expiry; /* in the heaps of all rooms */
    char name[];
};

static inline struct kept *kept_at(const struct list *link) {
    return LIST_OWNER(link, struct kept, link);
}

/* A message with references of its own. NULL: none of the encodings has one. */
struct kept *kept_new(const struct encoding *encodings, uint32_t count);
void kept_free(struct kept *kept);
/* The room as it is at this moment; NULL: it remembers nothing. */
struct kept_room *kept_room_find(struct room_memory *memory, struct slice name, uint64_t now_ms);
/* A room without a message, whose life goes on; rules apply to it later. NULL: there is a room of
 * this name. */
struct kept_room *kept_room_restore(struct room_memory *memory, struct slice name, uint64_t epoch,
                                    uint64_t offset);
/* Adds a message with a larger offset than all others. Takes it over. */
void kept_room_append(struct room_memory *memory, struct kept_room *room, enum memory_kind kind,
                      struct kept *kept);
#endif
