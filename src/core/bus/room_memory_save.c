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

enum { STAYS_PLAIN = 0x80, OPCODE_BITS = 0x0f };

/* The least bytes of a room, of a message and of an encoding: counts beyond that are damaged. */
enum { LEAST_BYTES = 3, ENCODINGS_MAX = 1024 };

/* ---- out ---- */

static void pack_path(struct sink *out, const struct endpoint_paths *paths, uint32_t endpoint) {
    const char *path = paths->path_of(paths->user, endpoint);
    pack_text(out, path, path == NULL ? 0 : strlen(path));
}

static void pack_encoding(struct sink *out, const struct encoding *encoding,
                          const struct endpoint_paths *paths) {
    const struct message *message = encoding->message;
    struct slice payload = message_payload(message);
    bool is_custom = encoding->codec >= CODEC_CUSTOM;
    pack_number(out, is_custom ? CODEC_CUSTOM : encoding->codec);
    if (is_custom)
        pack_path(out, paths, encoding->codec - CODEC_CUSTOM);
    pack_number(out, message_opcode(message) | (message->stays_plain ? STAYS_PLAIN : 0u));
    pack_text(out, payload.bytes, payload.len);
}

static void pack_kept(struct sink *out, const struct kept *kept,
                      const struct endpoint_paths *paths) {
    struct slice key = message_key(kept->encodings[0].message);
    pack_number(out, kept->offset);
    pack_number(out, (uint64_t)kept->wall_ms);
    if (kept->endpoint == ANY_ENDPOINT)
        pack_text(out, NULL, 0);
    else
        pack_path(out, paths, kept->endpoint);
    pack_text(out, key.bytes, key.len);
    pack_number(out, kept->count);
    for (uint32_t i = 0; i < kept->count; i++)
        pack_encoding(out, &kept->encodings[i], paths);
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

static bool is_same(const struct message *message, uint64_t flags, struct slice payload) {
    return message != NULL && message_opcode(message) == (flags & OPCODE_BITS) &&
           message->stays_plain == ((flags & STAYS_PLAIN) != 0) &&
           slice_equal(message_payload(message), payload);
}

/* One encoding. Its message has a reference of its own; NULL: this process has no such codec.
 * `before`: the message of the encoding before, which may be the same. */
static bool unpack_encoding(struct slice *from, const struct restoring *restoring, struct slice key,
                            struct message *before, struct encoding *encoding) {
    uint64_t codec, flags;
    struct slice path = {NULL, 0}, payload;
    *encoding = (struct encoding){0, NULL};
    if (!unpack_number(from, &codec) || codec > CODEC_CUSTOM ||
        (codec == CODEC_CUSTOM && !unpack_text(from, &path)) || !unpack_number(from, &flags) ||
        !unpack_text(from, &payload))
        return false;
    uint64_t opcode = flags & OPCODE_BITS;
    if ((opcode != OPCODE_TEXT && opcode != OPCODE_BINARY) ||
        (flags & ~(uint64_t)(OPCODE_BITS | STAYS_PLAIN)) != 0)
        return false;
    if (restoring->memory == NULL)
        return true;
    encoding->codec = (uint32_t)codec;
    if (codec == CODEC_CUSTOM) {
        uint32_t endpoint = restoring->paths->endpoint_of(restoring->paths->user, path);
        if (endpoint == ANY_ENDPOINT)
            return true;
        encoding->codec = CODEC_CUSTOM + endpoint;
    }
    if (is_same(before, flags, payload)) {
        encoding->message = message_ref(before);
        return true;
    }
    encoding->message = message_new_keyed((enum opcode)opcode, payload.bytes, payload.len, key);
    encoding->message->stays_plain = (flags & STAYS_PLAIN) != 0;
    return true;
}

/* The path names an endpoint of this process, or none. */
static bool find_endpoint(const struct restoring *restoring, struct slice path,
                          uint32_t *endpoint) {
    *endpoint = ANY_ENDPOINT;
    if (path.len > 0 && restoring->memory != NULL)
        *endpoint = restoring->paths->endpoint_of(restoring->paths->user, path);
    return path.len == 0 || *endpoint != ANY_ENDPOINT;
}

/* One message. `*kept`: NULL: only checked, or nothing of it has a meaning here. */
static bool unpack_kept(struct slice *from, const struct restoring *restoring, struct kept **kept,
                        uint64_t *offset) {
    uint64_t wall_ms, count, done = 0;
    struct slice path, key;
    *kept = NULL;
    if (!unpack_number(from, offset) || !unpack_number(from, &wall_ms) ||
        !unpack_text(from, &path) || !unpack_text(from, &key) || key.len > MESSAGE_KEY_MAX ||
        !unpack_count(from, &count) || count == 0 || count > ENCODINGS_MAX)
        return false;
    struct encoding *encodings = mem_zalloc(count * sizeof *encodings);
    struct message *before = NULL;
    while (done < count && unpack_encoding(from, restoring, key, before, &encodings[done]))
        before = encodings[done++].message;
    uint32_t endpoint;
    if (find_endpoint(restoring, path, &endpoint))
        *kept = kept_new(encodings, (uint32_t)done);
    for (uint64_t i = 0; i < done; i++)
        if (encodings[i].message != NULL)
            message_unref(encodings[i].message);
    mem_free(encodings);
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
    return done == count;
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
