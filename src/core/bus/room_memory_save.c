/* room_memory_save.c -- what rooms remember as bytes, and back, in a later process. See
 * room_memory.h.
 *
 * In this order: the next epoch; the number of rooms; of each room its name, its epoch and the
 * offset of its last message; of each kind the largest offset that went and the number of messages;
 * of each message its offset, its time, the path of the only endpoint that gets it, its key, and
 * its encodings, each with its codec, opcode, flags and payload. Codecs of scripts have the paths
 * of their endpoints. A connection that a message leaves out is not saved: its id has no meaning in
 * another process. */
#include "core/bus/room_memory_parts.h"

#include "base/mem.h"

/* The least bytes of a room and of a message: counts beyond that are damaged. */
enum { LEAST_BYTES = 3 };

/* ---- out ---- */

static void pack_kept(struct sink *out, const struct kept *kept,
                      const struct endpoint_paths *paths) {
    struct slice key = message_key(kept->encodings[0].message);
    pack_number(out, kept->offset);
    pack_number(out, (uint64_t)kept->wall_ms);
    encodings_pack_path(out, paths, kept->endpoint);
    pack_text(out, key.bytes, key.len);
    encodings_pack(out, kept->encodings, kept->count, paths);
}

static void pack_room(struct sink *out, const struct kept_room *room,
                      const struct endpoint_paths *paths) {
    pack_text(out, room->entry.key.bytes, room->entry.key.len);
    pack_bits(out, room->epoch);
    pack_number(out, room->offset);
    for (int kind = 0; kind < MEMORY_KINDS; kind++) {
        const struct kept_list *list = &room->kinds[kind];
        pack_number(out, list->dropped);
        pack_number(out, list->count);
        for (const struct list *link = list->list.next; link != &list->list; link = link->next)
            pack_kept(out, kept_at(link), paths);
    }
}

void room_memory_save(const struct room_memory *memory, const struct endpoint_paths *paths,
                      struct sink *out) {
    const struct list *lists[] = {&memory->fitting, &memory->stale};
    pack_bits(out, memory->next_epoch);
    pack_number(out, memory->rooms);
    for (int i = 0; i < 2; i++)
        for (const struct list *link = lists[i]->next; link != lists[i]; link = link->next)
            pack_room(out, LIST_OWNER(link, struct kept_room, link), paths);
}

/* ---- in: with no memory it only checks ---- */

struct restoring {
    struct room_memory *memory; /* NULL: only checks */
    const struct endpoint_paths *paths;
    const struct memory_time *now;
};

static bool unpack_count(struct slice *from, uint64_t *count) {
    return unpack_number(from, count) && *count <= from->len / LEAST_BYTES;
}

/* One message. `*kept`: NULL: only checked, or nothing of it has a meaning here. */
static bool unpack_kept(struct slice *from, const struct restoring *restoring, struct kept **kept,
                        uint64_t *offset) {
    uint64_t wall_ms;
    uint32_t endpoint;
    struct slice path, key;
    struct encodings encodings;
    const struct endpoint_paths *paths = restoring->memory == NULL ? NULL : restoring->paths;
    *kept = NULL;
    if (!unpack_number(from, offset) || !unpack_number(from, &wall_ms) ||
        !unpack_text(from, &path) || !unpack_text(from, &key) ||
        !encodings_unpack(from, paths, key, &encodings))
        return false;
    if (paths != NULL && encodings_find_path(paths, path, &endpoint))
        *kept = kept_new(encodings.list, encodings.count);
    encodings_release(&encodings);
    if (*kept != NULL) {
        int64_t age_ms = restoring->now->wall_ms - (int64_t)wall_ms;
        uint64_t most = restoring->now->monotonic_ms;
        (*kept)->offset = *offset;
        (*kept)->wall_ms = (int64_t)wall_ms;
        (*kept)->monotonic_ms = age_ms <= 0                ? most
                                : (uint64_t)age_ms >= most ? 0
                                                           : most - (uint64_t)age_ms;
        (*kept)->endpoint = endpoint;
    }
    return true;
}

/* The messages of one kind. `room` is NULL: only checks. */
static bool unpack_list(struct slice *from, const struct restoring *restoring,
                        struct kept_room *room, enum memory_kind kind, uint64_t last) {
    uint64_t dropped, count, before = 0;
    if (!unpack_number(from, &dropped) || dropped > last || !unpack_count(from, &count))
        return false;
    for (; count > 0; count--) {
        struct kept *kept;
        uint64_t offset;
        if (!unpack_kept(from, restoring, &kept, &offset) || offset <= before || offset > last) {
            if (kept != NULL)
                kept_free(kept);
            return false;
        }
        before = offset;
        if (kept != NULL)
            kept_room_append(restoring->memory, room, kind, kept);
        else
            dropped = offset;
    }
    if (room != NULL)
        room->kinds[kind].dropped = dropped;
    return true;
}

static bool unpack_room(struct slice *from, const struct restoring *restoring) {
    struct slice name;
    uint64_t epoch, last;
    struct kept_room *room = NULL;
    struct restoring checking = {NULL, NULL, NULL};
    if (!unpack_text(from, &name) || name.len == 0 || !unpack_bits(from, &epoch) ||
        !unpack_number(from, &last))
        return false;
    if (restoring->memory != NULL)
        room = kept_room_restore(restoring->memory, name, epoch, last);
    if (room == NULL) /* or it has begun to remember here, which counts */
        restoring = &checking;
    for (enum memory_kind kind = 0; kind < MEMORY_KINDS; kind++)
        if (!unpack_list(from, restoring, room, kind, last))
            return false;
    return true;
}

static bool unpack(struct slice from, const struct restoring *restoring) {
    uint64_t next_epoch, rooms;
    if (!unpack_bits(&from, &next_epoch) || !unpack_count(&from, &rooms))
        return false;
    for (; rooms > 0; rooms--)
        if (!unpack_room(&from, restoring))
            return false;
    if (restoring->memory != NULL)
        restoring->memory->next_epoch = next_epoch;
    return from.len == 0;
}

bool room_memory_is_one(struct slice from) {
    return unpack(from, &(struct restoring){NULL, NULL, NULL});
}

bool room_memory_restore(struct room_memory *memory, const struct endpoint_paths *paths,
                         struct slice from, const struct memory_time *now) {
    return room_memory_is_one(from) && unpack(from, &(struct restoring){memory, paths, now});
}
