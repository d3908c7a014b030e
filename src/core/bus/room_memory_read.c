/* room_memory_read.c -- what rooms remember is read: replays for connections, lists for scripts.
 * See room_memory.h. */
#include "core/bus/room_memory_parts.h"

#include "base/mem.h"

static struct message *encoding_of(const struct kept *kept, uint32_t codec) {
    for (uint32_t i = 0; i < kept->count; i++)
        if (kept->encodings[i].codec == codec)
            return kept->encodings[i].message;
    return NULL;
}

/* The connection's messages of a list, from this link on. */
static bool is_wanted(const struct kept *kept, const struct replay_request *request) {
    return (kept->except == 0 || kept->except != request->id) &&
           (kept->endpoint == ANY_ENDPOINT || kept->endpoint == request->endpoint);
}

static bool is_before(const struct kept *kept, const struct replay_request *request) {
    return request->before == 0 || kept->offset < request->before;
}

/* The first link of the last `most` wanted messages of a list with larger offsets than `after`.
 * `*is_cut`: there are more than `most`. */
static const struct list *first_of(const struct list *list, const struct replay_request *request,
                                   uint64_t after, uint32_t most, bool *is_cut) {
    const struct list *first = list;
    uint32_t count = 0;
    for (const struct list *link = list->prev; link != list; link = link->prev) {
        const struct kept *kept = kept_at(link);
        if (kept->offset <= after)
            break;
        if (is_before(kept, request) && is_wanted(kept, request) && count++ == most) {
            *is_cut = true;
            break;
        }
        first = link;
    }
    return first;
}

static void take(struct replay *replay, uint32_t *capacity, struct message *message) {
    if (replay->count == *capacity) {
        *capacity = *capacity == 0 ? 16 : *capacity * 2;
        replay->messages = mem_realloc(replay->messages, *capacity * sizeof *replay->messages);
    }
    replay->messages[replay->count++] = message_ref(message);
}

/* Takes the messages of both lists, each from a link on; a message of both lists once. */
static void take_all(struct replay *replay, const struct kept_room *room,
                     const struct list *first[MEMORY_KINDS], const struct replay_request *request) {
    const struct list *end[MEMORY_KINDS] = {&room->kinds[MEMORY_HISTORY].list,
                                            &room->kinds[MEMORY_RETAINED].list};
    const struct list *h = first[MEMORY_HISTORY], *r = first[MEMORY_RETAINED];
    uint32_t capacity = 0;
    while (h != end[MEMORY_HISTORY] || r != end[MEMORY_RETAINED]) {
        uint64_t h_offset = h == end[MEMORY_HISTORY] ? UINT64_MAX : kept_at(h)->offset;
        uint64_t r_offset = r == end[MEMORY_RETAINED] ? UINT64_MAX : kept_at(r)->offset;
        const struct kept *kept = h_offset <= r_offset ? kept_at(h) : kept_at(r);
        if (h_offset <= r_offset)
            h = h->next;
        if (r_offset <= h_offset)
            r = r->next;
        if (!is_before(kept, request) || !is_wanted(kept, request))
            continue;
        struct message *message = encoding_of(kept, request->codec);
        if (message == NULL)
            replay->recovered = false;
        else
            take(replay, &capacity, message);
    }
}

/* The room's memory that says what came after an offset. */
static enum memory_kind kind_of_after(const struct kept_room *room) {
    return room->rule->limits[MEMORY_HISTORY].messages > 0 ? MEMORY_HISTORY : MEMORY_RETAINED;
}

static void replay_room(const struct kept_room *room, const struct replay_request *request,
                        struct replay *replay) {
    const struct list *first[MEMORY_KINDS] = {&room->kinds[MEMORY_HISTORY].list,
                                              &room->kinds[MEMORY_RETAINED].list};
    bool is_cut = false;
    uint64_t after = 0;
    enum memory_kind kind = MEMORY_HISTORY;
    if (request->has_after) {
        bool is_known = request->after <= replay->offset &&
                        (!request->has_epoch || request->epoch == replay->epoch);
        kind = kind_of_after(room);
        after = is_known ? request->after : 0;
        /* what went of the messages that wait in the mailbox will come from there */
        uint64_t dropped = room->kinds[kind].dropped;
        replay->recovered = is_known && (after >= dropped || after == replay->offset);
    }
    if (request->has_after || request->has_history)
        first[kind] = first_of(&room->kinds[kind].list, request, after,
                               request->has_history ? request->history : UINT32_MAX, &is_cut);
    if (request->retained)
        first[MEMORY_RETAINED] = room->kinds[MEMORY_RETAINED].list.next;
    if (is_cut)
        replay->recovered = false;
    take_all(replay, room, first, request);
}

void room_memory_replay(struct room_memory *memory, struct slice name,
                        const struct replay_request *request, const struct memory_time *now,
                        struct replay *replay) {
    *replay = (struct replay){0};
    const struct kept_room *room = kept_room_find(memory, name, now->monotonic_ms);
    if (room == NULL && !room_memory_applies(memory, name))
        return;
    replay->has_memory = true;
    replay->epoch = room == NULL ? memory->next_epoch : room->epoch;
    replay->offset = room == NULL ? 0 : room->offset;
    if (request->before != 0 && replay->offset >= request->before)
        replay->offset = request->before - 1;
    if (room != NULL)
        replay_room(room, request, replay);
    else
        replay->recovered = request->has_after && request->after == 0 &&
                            (!request->has_epoch || request->epoch == replay->epoch);
}

void replay_free(struct replay *replay) {
    for (uint32_t i = 0; i < replay->count; i++)
        message_unref(replay->messages[i]);
    mem_free(replay->messages);
    *replay = (struct replay){0};
}

/* The encoding that a query asks for. */
static struct message *message_for(const struct kept *kept, const struct memory_query *query) {
    if (query->has_codec)
        return encoding_of(kept, query->codec);
    const struct encoding *best = &kept->encodings[0];
    for (uint32_t i = 1; i < kept->count; i++)
        if (kept->encodings[i].codec < best->codec)
            best = &kept->encodings[i];
    return best->message;
}

void room_memory_list(struct room_memory *memory, struct slice name,
                      const struct memory_query *query, const struct memory_time *now,
                      void (*f)(void *user, const struct remembered *remembered), void *user) {
    const struct kept_room *room = kept_room_find(memory, name, now->monotonic_ms);
    if (room == NULL)
        return;
    const struct list *list = &room->kinds[query->kind].list, *first = list;
    uint32_t count = 0;
    while (first->prev != list && kept_at(first->prev)->offset > query->after &&
           (!query->from_end || count < query->limit)) {
        first = first->prev;
        count += message_for(kept_at(first), query) != NULL;
    }
    count = 0;
    for (const struct list *link = first; link != list && count < query->limit; link = link->next) {
        const struct kept *kept = kept_at(link);
        struct message *message = message_for(kept, query);
        if (message == NULL)
            continue;
        struct remembered remembered = {kept->offset, kept->wall_ms, message};
        f(user, &remembered);
        count++;
    }
}

bool room_memory_position(struct room_memory *memory, struct slice name,
                          const struct memory_time *now, uint64_t *epoch, uint64_t *offset) {
    const struct kept_room *room = kept_room_find(memory, name, now->monotonic_ms);
    *epoch = room == NULL ? memory->next_epoch : room->epoch;
    *offset = room == NULL ? 0 : room->offset;
    return room != NULL || room_memory_applies(memory, name);
}
