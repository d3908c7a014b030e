/* room_memory.c -- what rooms remember. See room_memory.h.
 *
 * A room has two lists of messages, each in the order of offsets: the history, of which the oldest
 * go, and the retained messages, of which a newer one with the same key takes the place. Offsets
 * of the history have no gaps, so one number says what is missing: the largest one that went. One
 * heap has all rooms by their size, another by the time at which their next message is too old. */
#include "core/bus/room_memory.h"

#include "base/mem.h"
#include "base/siphash.h"
#include "core/bus/room_memory_parts.h"
#include "core/bus/users.h"
#include "core/frames/twin.h"

#include <limits.h>

enum { ALLOCATION_BYTES = QUEUE_MEMORY_ALLOCATION };

/* Messages are forgotten together that are too old within the same second. */
enum { SWEEP_GRAIN_MS = 1000 };

/* ---- rules ---- */

/* `*` stands for any bytes. After a mismatch only the last star takes one byte more. */
static bool matches(const char *pattern, struct slice name) {
    const char *star = NULL;
    size_t at = 0, star_at = 0;
    while (at < name.len) {
        if (*pattern == '*') {
            star = ++pattern;
            star_at = at;
        } else if (*pattern != '\0' && *pattern == name.bytes[at]) {
            pattern++, at++;
        } else if (star != NULL) {
            pattern = star;
            at = ++star_at;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

static bool remembers(const struct room_rule *rule) {
    return rule->limits[MEMORY_HISTORY].messages > 0 || rule->limits[MEMORY_RETAINED].messages > 0;
}

/* The first that fits, or NULL. */
static const struct room_rule *find_any(const struct room_memory *memory, struct slice name) {
    if (is_user_room(name)) /* no pattern is meant for it */
        return NULL;
    for (uint32_t i = 0; i < memory->rule_count; i++)
        if (matches(memory->rules[i].pattern, name))
            return &memory->rules[i];
    return NULL;
}

/* NULL: none, or one without a memory. */
static const struct room_rule *find_rule(const struct room_memory *memory, struct slice name) {
    const struct room_rule *rule = find_any(memory, name);
    return rule != NULL && remembers(rule) ? rule : NULL;
}

bool room_memory_hides_members(const struct room_memory *memory, struct slice room) {
    const struct room_rule *rule = find_any(memory, room);
    return rule != NULL && rule->hides_members;
}

bool room_memory_applies(const struct room_memory *memory, struct slice name) {
    return find_rule(memory, name) != NULL;
}

bool room_memory_limits(const struct room_memory *memory, struct slice room,
                        struct memory_limits limits[MEMORY_KINDS]) {
    const struct room_rule *rule = find_rule(memory, room);
    if (rule != NULL)
        memcpy(limits, rule->limits, sizeof rule->limits);
    return rule != NULL;
}

static bool is_same_rule(const struct room_rule *one, const struct room_rule *other) {
    bool is_same =
        strcmp(one->pattern, other->pattern) == 0 && one->hides_members == other->hides_members;
    for (int kind = 0; kind < MEMORY_KINDS; kind++) {
        const struct memory_limits *a = &one->limits[kind], *b = &other->limits[kind];
        is_same = is_same && a->messages == b->messages && a->bytes == b->bytes && a->ms == b->ms;
    }
    return is_same;
}

static void free_rules(struct room_memory *memory) {
    for (uint32_t i = 0; i < memory->rule_count; i++)
        mem_free((char *)memory->rules[i].pattern);
    mem_free(memory->rules);
}

bool room_memory_set(struct room_memory *memory, const struct room_rule *rules, uint32_t count,
                     size_t max_bytes) {
    bool is_same = count == memory->rule_count && max_bytes == memory->max_bytes;
    for (uint32_t i = 0; i < count && is_same; i++)
        is_same = is_same_rule(&rules[i], &memory->rules[i]);
    if (is_same)
        return false;
    free_rules(memory);
    memory->rules = mem_zalloc(count * sizeof *rules);
    memory->rule_count = count;
    memory->rules_number++;
    memory->max_bytes = max_bytes;
    for (uint32_t i = 0; i < count; i++) {
        memory->rules[i] = rules[i];
        memory->rules[i].pattern = mem_strdup(rules[i].pattern);
    }
    list_move(&memory->stale, &memory->fitting);
    return true;
}

/* ---- one message ---- */

/* Is this message of another encoding, too, which comes before it? */
static bool is_repeated(const struct kept *kept, uint32_t i) {
    for (uint32_t before = 0; before < i; before++)
        if (kept->encodings[before].message == kept->encodings[i].message)
            return true;
    return false;
}

/* What counts in the limits of its room. */
static size_t size_of(const struct kept *kept) {
    size_t largest = 0;
    for (uint32_t i = 0; i < kept->count; i++) {
        size_t len = message_payload(kept->encodings[i].message).len;
        if (len > largest)
            largest = len;
    }
    return largest + kept->encodings[0].message->key_len;
}

/* Bytes of its memory. */
static size_t memory_of(const struct kept *kept) {
    size_t bytes = sizeof *kept + kept->count * sizeof *kept->encodings + ALLOCATION_BYTES;
    for (uint32_t i = 0; i < kept->count; i++)
        if (!is_repeated(kept, i))
            bytes += message_memory(kept->encodings[i].message);
    if (kept->key != NULL)
        bytes += sizeof *kept->key + kept->key->entry.key.len + ALLOCATION_BYTES;
    return bytes;
}

struct kept *kept_new(const struct encoding *encodings, uint32_t count) {
    uint32_t with_message = 0;
    for (uint32_t i = 0; i < count; i++)
        with_message += encodings[i].message != NULL;
    if (with_message == 0)
        return NULL;
    struct kept *kept = mem_zalloc(sizeof *kept + with_message * sizeof *kept->encodings);
    for (uint32_t i = 0; i < count; i++)
        if (encodings[i].message != NULL) {
            encodings[i].message->is_kept = true;
            message_hold(encodings[i].message);
            kept->encodings[kept->count++] = encodings[i];
        }
    return kept;
}

void kept_free(struct kept *kept) {
    for (uint32_t i = 0; i < kept->count; i++)
        message_release(kept->encodings[i].message);
    mem_free(kept);
}

/* ---- a room ---- */

static struct kept *oldest(const struct kept_room *room, enum memory_kind kind) {
    const struct list *list = &room->kinds[kind].list;
    return list_empty(list) ? NULL : kept_at(list->next);
}

static bool is_empty(const struct kept_room *room) {
    return oldest(room, MEMORY_HISTORY) == NULL && oldest(room, MEMORY_RETAINED) == NULL;
}

static void count_memory(struct room_memory *memory, struct kept_room *room, size_t more,
                         size_t less) {
    room->memory += more - less;
    memory->bytes += more - less;
}

/* The heap may have a size that is wrong by a few percent. */
static void note_size(struct room_memory *memory, struct kept_room *room) {
    uint64_t known = deadlines_contains(&room->size) ? UINT64_MAX - room->size.key : 0;
    uint64_t change = room->memory > known ? room->memory - known : known - room->memory;
    if (change > known / 32)
        deadlines_set(&memory->by_size, &room->size, UINT64_MAX - room->memory);
}

static void note_expiry(struct room_memory *memory, struct kept_room *room) {
    uint64_t at = UINT64_MAX;
    for (enum memory_kind kind = 0; kind < MEMORY_KINDS; kind++) {
        const struct kept *first = oldest(room, kind);
        uint64_t ms = room->rule->limits[kind].ms;
        if (first != NULL && ms > 0 && first->monotonic_ms + ms < at)
            at = first->monotonic_ms + ms;
    }
    if (at == UINT64_MAX)
        deadlines_remove(&memory->by_expiry, &room->expiry);
    else if (!deadlines_contains(&room->expiry) || room->expiry.key != at)
        deadlines_set(&memory->by_expiry, &room->expiry, at);
}

static struct kept_room *room_new(struct room_memory *memory, struct slice name,
                                  const struct room_rule *rule) {
    struct kept_room *room = mem_zalloc(sizeof *room + name.len + 1);
    memcpy(room->name, name.bytes, name.len);
    room->entry.key = (struct slice){room->name, name.len};
    room->rule = rule;
    room->rules_number = memory->rules_number;
    room->epoch = memory->next_epoch;
    for (int kind = 0; kind < MEMORY_KINDS; kind++)
        list_init(&room->kinds[kind].list);
    table_add(&memory->by_name, &room->entry);
    list_init(&room->link);
    list_append(&memory->fitting, &room->link);
    memory->rooms++;
    count_memory(memory, room, sizeof *room + name.len + ALLOCATION_BYTES, 0);
    return room;
}

struct kept_room *kept_room_restore(struct room_memory *memory, struct slice name, uint64_t epoch,
                                    uint64_t offset) {
    if (table_find(&memory->by_name, name) != NULL)
        return NULL;
    struct kept_room *room = room_new(memory, name, NULL);
    room->rules_number = 0; /* no rules have this number */
    room->epoch = epoch;
    room->offset = offset;
    list_remove(&room->link);
    list_append(&memory->stale, &room->link);
    return room;
}

static void draw_epoch(struct room_memory *memory) {
    struct slice last = {(const char *)&memory->next_epoch, sizeof memory->next_epoch};
    uint64_t key[2];
    siphash_draw_key(key);
    memory->next_epoch = siphash(key, last);
}

/* Its life ends. */
static void room_free(struct room_memory *memory, struct kept_room *room) {
    memory->rooms--;
    memory->bytes -= room->memory;
    table_remove(&memory->by_name, &room->entry);
    list_remove(&room->link);
    deadlines_remove(&memory->by_size, &room->size);
    deadlines_remove(&memory->by_expiry, &room->expiry);
    if (room->epoch == memory->next_epoch)
        draw_epoch(memory);
    mem_free(room);
}

/* ---- keys of retained messages: one table has those of all rooms ---- */

/* The room and the message's key, in the caller's memory. */
struct key_bytes {
    const struct kept_room *room;
    char key[MESSAGE_KEY_MAX];
};

static struct slice key_in(struct key_bytes *bytes, const struct kept_room *room,
                           struct slice key) {
    bytes->room = room;
    if (key.len > 0)
        memcpy(bytes->key, key.bytes, key.len);
    return (struct slice){(const char *)bytes, offsetof(struct key_bytes, key) + key.len};
}

static struct kept *find_retained(struct room_memory *memory, const struct kept_room *room,
                                  struct slice key) {
    struct key_bytes bytes;
    struct table_entry *found =
        key.len > MESSAGE_KEY_MAX ? NULL : table_find(&memory->by_key, key_in(&bytes, room, key));
    return found == NULL ? NULL : TABLE_OWNER(found, struct kept_key, entry)->kept;
}

static void add_key(struct room_memory *memory, const struct kept_room *room, struct kept *kept) {
    struct key_bytes bytes;
    struct slice key = key_in(&bytes, room, message_key(kept->encodings[0].message));
    kept->key = mem_zalloc(sizeof *kept->key + key.len);
    memcpy(kept->key->bytes, key.bytes, key.len);
    kept->key->kept = kept;
    kept->key->entry.key = (struct slice){kept->key->bytes, key.len};
    table_add(&memory->by_key, &kept->key->entry);
}

/* ---- messages come and go ---- */

/* Does not free the room with its last message. */
static void forget(struct room_memory *memory, struct kept_room *room, enum memory_kind kind,
                   struct kept *kept) {
    struct kept_list *list = &room->kinds[kind];
    list_remove(&kept->link);
    list->count--;
    list->bytes -= size_of(kept);
    memory->messages--;
    count_memory(memory, room, 0, memory_of(kept));
    if (kept->key != NULL) {
        table_remove(&memory->by_key, &kept->key->entry);
        mem_free(kept->key);
    }
    kept_free(kept);
}

/* Its place is given up: a client that asks for it has a gap. */
static void drop_oldest(struct room_memory *memory, struct kept_room *room, enum memory_kind kind) {
    struct kept *kept = oldest(room, kind);
    room->kinds[kind].dropped = kept->offset;
    forget(memory, room, kind, kept);
}

static bool is_too_much(const struct kept_room *room, enum memory_kind kind) {
    const struct memory_limits *limits = &room->rule->limits[kind];
    const struct kept_list *list = &room->kinds[kind];
    return list->count > limits->messages || list->bytes > limits->bytes;
}

static bool is_too_old(const struct kept_room *room, enum memory_kind kind, uint64_t now_ms) {
    const struct kept *first = oldest(room, kind);
    uint64_t ms = room->rule->limits[kind].ms;
    return first != NULL && ms > 0 && first->monotonic_ms + ms <= now_ms;
}

/* Drops what is too old, and what is too much, `most` messages at most. Returns their number. */
static unsigned fit(struct room_memory *memory, struct kept_room *room, uint64_t now_ms,
                    unsigned most) {
    unsigned dropped = 0;
    for (enum memory_kind kind = 0; kind < MEMORY_KINDS; kind++)
        for (; dropped < most && (is_too_old(room, kind, now_ms) ||
                                  (oldest(room, kind) != NULL && is_too_much(room, kind)));
             dropped++)
            drop_oldest(memory, room, kind);
    return dropped;
}

/* Notes what has changed. Returns the room; NULL: it remembers nothing any more, and is freed. */
static struct kept_room *changed(struct room_memory *memory, struct kept_room *room) {
    if (is_empty(room) && !room->is_numbered) {
        room_free(memory, room);
        return NULL;
    }
    note_size(memory, room);
    note_expiry(memory, room);
    return room;
}

static void forget_all(struct room_memory *memory, struct kept_room *room) {
    for (enum memory_kind kind = 0; kind < MEMORY_KINDS; kind++)
        for (struct kept *kept; (kept = oldest(room, kind)) != NULL;)
            forget(memory, room, kind, kept);
    room_free(memory, room);
}

/* Applies the rules as they are now. Returns the room; NULL: it does not remember any more. */
static struct kept_room *adapt(struct room_memory *memory, struct kept_room *room,
                               uint64_t now_ms) {
    room->rules_number = memory->rules_number;
    room->rule = find_rule(memory, room->entry.key);
    if (room->rule == NULL) {
        forget_all(memory, room);
        return NULL;
    }
    list_remove(&room->link);
    list_append(&memory->fitting, &room->link);
    fit(memory, room, now_ms, UINT_MAX);
    return changed(memory, room);
}

struct kept_room *kept_room_find(struct room_memory *memory, struct slice name, uint64_t now_ms) {
    struct table_entry *found = table_find(&memory->by_name, name);
    if (found == NULL)
        return NULL;
    struct kept_room *room = TABLE_OWNER(found, struct kept_room, entry);
    if (room->rules_number != memory->rules_number)
        return adapt(memory, room, now_ms);
    return fit(memory, room, now_ms, UINT_MAX) > 0 ? changed(memory, room) : room;
}

static bool is_full(const struct room_memory *memory) {
    return memory->bytes + twin_kept_bytes() > memory->max_bytes;
}

/* The oldest message of the largest room goes. False: there is none. */
static bool evict(struct room_memory *memory, uint64_t now_ms) {
    const struct deadline *largest = deadlines_peek(&memory->by_size);
    if (largest == NULL)
        return false;
    struct kept_room *room = DEADLINE_OWNER(largest, struct kept_room, size);
    if (room->rules_number != memory->rules_number) {
        adapt(memory, room, now_ms);
        return true;
    }
    if (is_empty(room)) {
        room_free(memory, room);
        return true;
    }
    const struct kept *history = oldest(room, MEMORY_HISTORY);
    const struct kept *retained = oldest(room, MEMORY_RETAINED);
    bool is_history = retained == NULL || (history != NULL && history->offset <= retained->offset);
    drop_oldest(memory, room, is_history ? MEMORY_HISTORY : MEMORY_RETAINED);
    memory->evicted++;
    changed(memory, room);
    return true;
}

void kept_room_append(struct room_memory *memory, struct kept_room *room, enum memory_kind kind,
                      struct kept *kept) {
    if (kind == MEMORY_RETAINED) {
        struct slice key = message_key(kept->encodings[0].message);
        struct kept *former = find_retained(memory, room, key);
        if (former != NULL)
            forget(memory, room, kind, former);
        add_key(memory, room, kept);
    }
    struct kept_list *list = &room->kinds[kind];
    list_append(&list->list, &kept->link);
    list->count++;
    list->bytes += size_of(kept);
    memory->messages++;
    count_memory(memory, room, memory_of(kept), 0);
}

/* Adds a message to the room's memories of these kinds. */
static void add(struct room_memory *memory, struct kept_room *room,
                const struct broadcast *broadcast, const struct memory_position *position,
                const struct memory_time *now) {
    for (enum memory_kind kind = 0; kind < MEMORY_KINDS; kind++) {
        const struct list *list = &room->kinds[kind].list;
        if (room->rule->limits[kind].messages == 0 || (position->kinds & 1u << kind) == 0 ||
            (!list_empty(list) && kept_at(list->prev)->offset >= position->offset))
            continue;
        struct kept *kept = kept_new(broadcast->encodings, broadcast->encoding_count);
        if (kept == NULL) /* no codec could encode it */
            continue;
        kept->offset = position->offset;
        kept->monotonic_ms =
            now->monotonic_ms > position->age_ms ? now->monotonic_ms - position->age_ms : 0;
        kept->wall_ms = position->wall_ms;
        kept->except = broadcast->except;
        kept->endpoint = broadcast->endpoint;
        kept_room_append(memory, room, kind, kept);
    }
    fit(memory, room, now->monotonic_ms, UINT_MAX);
    changed(memory, room);
    while (is_full(memory) && evict(memory, now->monotonic_ms))
        ;
}

uint64_t room_memory_add(struct room_memory *memory, const struct broadcast *broadcast,
                         const struct memory_time *now) {
    struct kept_room *room = kept_room_find(memory, broadcast->room, now->monotonic_ms);
    const struct room_rule *rule = room != NULL ? room->rule : find_rule(memory, broadcast->room);
    if (rule == NULL)
        return 0;
    if (room == NULL)
        room = room_new(memory, broadcast->room, rule);
    if (room->is_numbered) { /* from here on in an epoch of its own */
        draw_epoch(memory);
        room->epoch = memory->next_epoch;
        draw_epoch(memory);
        room->is_numbered = false;
    }
    const struct memory_position position = {
        .offset = ++room->offset, .wall_ms = now->wall_ms, .kinds = UINT_MAX};
    add(memory, room, broadcast, &position, now);
    return position.offset;
}

void room_memory_add_numbered(struct room_memory *memory, const struct broadcast *broadcast,
                              const struct memory_position *position,
                              const struct memory_time *now) {
    struct kept_room *room = kept_room_find(memory, broadcast->room, now->monotonic_ms);
    if (room == NULL || !room->is_numbered || room->epoch != position->epoch) {
        room_memory_reset(memory, broadcast->room, position->epoch, position->offset - 1, 0, now);
        room = kept_room_find(memory, broadcast->room, now->monotonic_ms);
    }
    if (room == NULL) /* no rule */
        return;
    if (position->offset > room->offset)
        room->offset = position->offset;
    add(memory, room, broadcast, position, now);
}

void room_memory_reset(struct room_memory *memory, struct slice name, uint64_t epoch,
                       uint64_t offset, uint64_t dropped, const struct memory_time *now) {
    struct kept_room *room = kept_room_find(memory, name, now->monotonic_ms);
    const struct room_rule *rule = find_rule(memory, name);
    if (room != NULL)
        forget_all(memory, room);
    if (epoch == 0 || rule == NULL)
        return;
    room = room_new(memory, name, rule);
    room->epoch = epoch;
    room->offset = offset;
    room->is_numbered = true;
    room->kinds[MEMORY_HISTORY].dropped = offset;
    room->kinds[MEMORY_RETAINED].dropped = dropped;
    changed(memory, room);
}

void room_memory_clear(struct room_memory *memory, struct slice name, const struct slice *key,
                       const struct memory_time *now) {
    struct kept_room *room = kept_room_find(memory, name, now->monotonic_ms);
    if (room == NULL)
        return;
    if (key == NULL) {
        forget_all(memory, room);
        return;
    }
    struct kept *kept = find_retained(memory, room, *key);
    if (kept == NULL)
        return;
    forget(memory, room, MEMORY_RETAINED, kept);
    changed(memory, room);
}

/* ---- life ---- */

bool room_memory_sweep(struct room_memory *memory, const struct memory_time *now, unsigned steps) {
    uint64_t now_ms = now->monotonic_ms;
    for (unsigned done = 0; done < steps; done++) {
        const struct deadline *next = deadlines_peek(&memory->by_expiry);
        if (!list_empty(&memory->stale)) {
            adapt(memory, LIST_OWNER(memory->stale.next, struct kept_room, link), now_ms);
        } else if (next != NULL && next->key <= now_ms) {
            struct kept_room *room = DEADLINE_OWNER(next, struct kept_room, expiry);
            done += fit(memory, room, now_ms, steps - done);
            changed(memory, room);
        } else if (!is_full(memory) || !evict(memory, now_ms)) {
            return true;
        }
    }
    return false;
}

uint64_t room_memory_sweep_at(const struct room_memory *memory) {
    const struct deadline *next = deadlines_peek(&memory->by_expiry);
    if (!list_empty(&memory->stale))
        return 0;
    return next == NULL ? UINT64_MAX : next->key + SWEEP_GRAIN_MS - next->key % SWEEP_GRAIN_MS;
}

void room_memory_init(struct room_memory *memory) {
    *memory = (struct room_memory){.max_bytes = SIZE_MAX, .rules_number = 1};
    list_init(&memory->fitting);
    list_init(&memory->stale);
    draw_epoch(memory);
}

static void close_rooms(struct room_memory *memory, struct list *rooms) {
    while (!list_empty(rooms))
        forget_all(memory, LIST_OWNER(rooms->next, struct kept_room, link));
}

void room_memory_close(struct room_memory *memory) {
    close_rooms(memory, &memory->fitting);
    close_rooms(memory, &memory->stale);
    free_rules(memory);
    table_close(&memory->by_name);
    table_close(&memory->by_key);
    deadlines_close(&memory->by_size);
    deadlines_close(&memory->by_expiry);
}
