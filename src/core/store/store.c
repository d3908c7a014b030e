/* store.c -- small values under keys, shared by threads. See store.h.
 *
 * A table of entries behind one lock. An entry is one block of memory: its links, its value, then
 * the bytes of key and text. Calls allocate it before they take the lock and free it after, so the
 * lock is held for a look-up and little else; only a number changes in place. Entries with a
 * time-to-live are in the deadlines, too. */
#include "core/store/store.h"

#include "base/deadlines.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/packing.h"
#include "base/table.h"

#include <stdatomic.h>
#include <string.h>
#include <uv.h>

enum {
    SWEEP_GRAIN_MS = 1000,  /* entries that expire in the same second are swept together */
    SWEEP_ENTRIES = 5000,   /* the most that one sweep frees: about a millisecond */
    SWEEP_UNDER_LOCK = 100, /* the most that it takes out in one hold of the lock */
    /* Bytes of the allocator, the table and the deadlines for an entry, beside the entry. */
    ENTRY_OVERHEAD = 48,
};

struct store_entry {
    struct table_entry in;
    struct deadline end; /* when it expires, ms; in store.ends while it has a time-to-live */
    struct list link;    /* in store.entries; after take_out() in a list of entries to free */
    struct store_value value;
    char bytes[];
};

struct store {
    struct store_clock *clock;
    struct slice name;
    atomic_size_t max_bytes;
    uv_mutex_t lock; /* of all below */
    size_t bytes;
    struct table table;
    struct deadlines ends;
    struct list entries;
};

struct store *store_new(struct slice name, size_t max_bytes, struct store_clock *clock) {
    struct store *store = mem_zalloc(sizeof *store);
    store->clock = clock;
    store->name = (struct slice){mem_strndup(name.bytes, name.len), name.len};
    atomic_init(&store->max_bytes, max_bytes);
    uv_mutex_init(&store->lock);
    list_init(&store->entries);
    return store;
}

static void free_all(struct list *entries) {
    while (!list_empty(entries)) {
        struct store_entry *entry = LIST_OWNER(entries->next, struct store_entry, link);
        list_remove(&entry->link);
        mem_free(entry);
    }
}

void store_free(struct store *store) {
    free_all(&store->entries);
    table_close(&store->table);
    deadlines_close(&store->ends);
    uv_mutex_destroy(&store->lock);
    mem_free((char *)store->name.bytes);
    mem_free(store);
}

struct slice store_name(const struct store *store) {
    return store->name;
}

size_t store_max_bytes(const struct store *store) {
    return atomic_load_explicit(&store->max_bytes, memory_order_relaxed);
}

void store_set_max_bytes(struct store *store, size_t max_bytes) {
    atomic_store_explicit(&store->max_bytes, max_bytes, memory_order_relaxed);
}

size_t store_bytes(struct store *store) {
    uv_mutex_lock(&store->lock);
    size_t bytes = store->bytes;
    uv_mutex_unlock(&store->lock);
    return bytes;
}

size_t store_entry_bytes(void) {
    return sizeof(struct store_entry) + ENTRY_OVERHEAD;
}

/* ---- entries; the callers of this part's functions hold the lock ---- */

static size_t text_len(const struct store_value *value) {
    return value->type == STORE_TEXT ? value->text.len : 0;
}

static size_t cost_of(struct slice key, const struct store_value *value) {
    return store_entry_bytes() + key.len + text_len(value);
}

static size_t cost(const struct store_entry *entry) {
    return cost_of(entry->in.key, &entry->value);
}

/* Needs no lock. */
static struct store_entry *entry_new(struct slice key, const struct store_value *value) {
    struct store_entry *entry = mem_alloc(sizeof *entry + key.len + text_len(value));
    *entry = (struct store_entry){.in.key = {entry->bytes, key.len}, .value = *value};
    list_init(&entry->link);
    if (key.len > 0)
        memcpy(entry->bytes, key.bytes, key.len);
    if (text_len(value) > 0)
        memcpy(entry->bytes + key.len, value->text.bytes, value->text.len);
    if (value->type == STORE_TEXT)
        entry->value.text.bytes = entry->bytes + key.len;
    return entry;
}

/* Takes an entry out; `freed` are freed after the lock. */
static void take_out(struct store *store, struct store_entry *entry, struct list *freed) {
    table_remove(&store->table, &entry->in);
    deadlines_remove(&store->ends, &entry->end);
    list_remove(&entry->link);
    list_append(freed, &entry->link);
    store->bytes -= cost(entry);
}

static void put_in(struct store *store, struct store_entry *entry) {
    table_add(&store->table, &entry->in);
    list_append(&store->entries, &entry->link);
    store->bytes += cost(entry);
}

/* Takes out the entry that expired first. False: none has expired. */
static bool take_out_ended(struct store *store, uint64_t now, struct list *freed) {
    struct deadline *first = deadlines_peek(&store->ends);
    if (first == NULL || first->key > now)
        return false;
    take_out(store, DEADLINE_OWNER(first, struct store_entry, end), freed);
    return true;
}

/* The entry of a key, or NULL. Takes out an expired one. */
static struct store_entry *find(struct store *store, struct slice key, uint64_t now,
                                struct list *freed) {
    struct table_entry *in = table_find(&store->table, key);
    struct store_entry *entry = in == NULL ? NULL : TABLE_OWNER(in, struct store_entry, in);
    if (entry == NULL || !deadlines_contains(&entry->end) || entry->end.key > now)
        return entry;
    take_out(store, entry, freed);
    return NULL;
}

/* Is there room for `more` bytes, after `less` bytes are freed? Takes out expired entries first. */
static bool make_room(struct store *store, size_t more, size_t less, uint64_t now,
                      struct list *freed) {
    size_t max = store_max_bytes(store);
    if (more > max)
        return false; /* not even in an empty store */
    while (store->bytes - less > max - more)
        if (!take_out_ended(store, now, freed))
            return false;
    return true;
}

void store_sweep_at(struct store_clock *clock, uint64_t ms) {
    uint64_t known = atomic_load(&clock->sweep_at);
    while (ms < known && !atomic_compare_exchange_weak(&clock->sweep_at, &known, ms))
        ;
}

/* An entry expires: sweeps after the end of that second. */
static void note_end(struct store_clock *clock, uint64_t end) {
    store_sweep_at(clock, end - end % SWEEP_GRAIN_MS + SWEEP_GRAIN_MS);
}

/* Sets an entry's time-to-live; 0: none. */
static void set_end(struct store *store, struct store_entry *entry, uint64_t now, uint64_t ttl_ms) {
    if (ttl_ms == 0) {
        deadlines_remove(&store->ends, &entry->end);
        return;
    }
    uint64_t end = ttl_ms < STORE_NEVER / 2 - now ? now + ttl_ms : STORE_NEVER / 2;
    deadlines_set(&store->ends, &entry->end, end);
    note_end(store->clock, end);
}

/* ---- one call, one lock ---- */

/* A call: it holds the store's lock from enter() to leave(). */
struct call {
    struct store *store;
    uint64_t now;
    struct list freed; /* entries that leave() frees after the lock */
};

static void enter(struct call *call, struct store *store) {
    call->store = store;
    list_init(&call->freed);
    uv_mutex_lock(&store->lock);
    /* under the lock, so that the time of a call is never before that of an earlier call */
    call->now = store->clock->now_ms(store->clock->user);
}

static void leave(struct call *call) {
    uv_mutex_unlock(&call->store->lock);
    free_all(&call->freed);
}

enum store_result store_get(struct store *store, struct slice key, struct store_value *value,
                            char *buffer, size_t size) {
    struct call call;
    enter(&call, store);
    const struct store_entry *entry = find(store, key, call.now, &call.freed);
    if (entry != NULL) {
        *value = entry->value;
        if (value->type == STORE_TEXT) {
            value->text.bytes = value->text.len <= size ? buffer : NULL;
            if (value->text.len > 0 && value->text.len <= size)
                memcpy(buffer, entry->value.text.bytes, value->text.len);
        }
    }
    leave(&call);
    return entry == NULL ? STORE_NONE : STORE_OK;
}

/* Are they equal, to the last bit? */
static bool same(const struct store_value *one, const struct store_value *other) {
    if (one->type != other->type)
        return false;
    switch (one->type) {
    case STORE_BOOLEAN:
        return one->boolean == other->boolean;
    case STORE_INTEGER:
        return one->integer == other->integer;
    case STORE_NUMBER:
        return memcmp(&one->number, &other->number, sizeof one->number) == 0;
    case STORE_TEXT:
        break;
    }
    size_t len = one->text.len;
    return len == other->text.len &&
           (len == 0 || memcmp(one->text.bytes, other->text.bytes, len) == 0);
}

/* store_exchange(), or, with `always`, store_set(). */
static enum store_result put(struct store *store, struct slice key, bool always,
                             const struct store_value *expected, const struct store_value *value,
                             uint64_t ttl_ms) {
    if (value != NULL && cost_of(key, value) > store_max_bytes(store))
        return STORE_FULL; /* before it is copied */
    struct store_entry *entry = value == NULL ? NULL : entry_new(key, value);
    enum store_result result = STORE_OK;
    struct call call;
    enter(&call, store);
    struct store_entry *old = find(store, key, call.now, &call.freed);
    bool is_expected =
        old == NULL ? expected == NULL : expected != NULL && same(&old->value, expected);
    if (!always && !is_expected) {
        result = STORE_EXISTS;
    } else if (entry != NULL &&
               !make_room(store, cost(entry), old == NULL ? 0 : cost(old), call.now, &call.freed)) {
        result = STORE_FULL;
    } else {
        bool had_end = old != NULL && deadlines_contains(&old->end);
        if (old != NULL)
            take_out(store, old, &call.freed);
        if (entry != NULL)
            put_in(store, entry);
        if (entry != NULL && (always || old == NULL))
            set_end(store, entry, call.now, ttl_ms);
        else if (entry != NULL && had_end)
            deadlines_set(&store->ends, &entry->end, old->end.key);
    }
    leave(&call);
    if (result != STORE_OK)
        mem_free(entry);
    return result;
}

enum store_result store_set(struct store *store, struct slice key, const struct store_value *value,
                            uint64_t ttl_ms) {
    return put(store, key, true, NULL, value, ttl_ms);
}

enum store_result store_exchange(struct store *store, struct slice key,
                                 const struct store_value *expected,
                                 const struct store_value *value, uint64_t ttl_ms) {
    return put(store, key, false, expected, value, ttl_ms);
}

static bool is_number(const struct store_value *value) {
    return value->type == STORE_INTEGER || value->type == STORE_NUMBER;
}

static double as_float(const struct store_value *value) {
    return value->type == STORE_INTEGER ? (double)value->integer : value->number;
}

/* Adds as Lua does, but integers do not wrap. */
static enum store_result sum(const struct store_value *a, const struct store_value *b,
                             struct store_value *result) {
    if (!is_number(a) || !is_number(b))
        return STORE_NO_NUMBER;
    if (a->type == STORE_INTEGER && b->type == STORE_INTEGER) {
        int64_t total;
        if (__builtin_add_overflow(a->integer, b->integer, &total))
            return STORE_OVERFLOW;
        *result = (struct store_value){.type = STORE_INTEGER, .integer = total};
    } else {
        *result = (struct store_value){.type = STORE_NUMBER, .number = as_float(a) + as_float(b)};
    }
    return STORE_OK;
}

enum store_result store_incr(struct store *store, struct slice key, const struct store_value *by,
                             const struct store_value *initial, uint64_t ttl_ms,
                             struct store_value *now) {
    struct call call;
    enter(&call, store);
    struct store_entry *entry = find(store, key, call.now, &call.freed);
    enum store_result result = sum(entry == NULL ? initial : &entry->value, by, now);
    if (result == STORE_OK && entry != NULL) {
        entry->value = *now;
    } else if (result == STORE_OK) {
        entry = entry_new(key, now);
        if (make_room(store, cost(entry), 0, call.now, &call.freed)) {
            put_in(store, entry);
            set_end(store, entry, call.now, ttl_ms);
        } else {
            list_append(&call.freed, &entry->link);
            result = STORE_FULL;
        }
    }
    leave(&call);
    return result;
}

bool store_delete(struct store *store, struct slice key) {
    struct call call;
    enter(&call, store);
    struct store_entry *entry = find(store, key, call.now, &call.freed);
    if (entry != NULL)
        take_out(store, entry, &call.freed);
    leave(&call);
    return entry != NULL;
}

bool store_expire(struct store *store, struct slice key, uint64_t ttl_ms) {
    struct call call;
    enter(&call, store);
    struct store_entry *entry = find(store, key, call.now, &call.freed);
    if (entry != NULL)
        set_end(store, entry, call.now, ttl_ms);
    leave(&call);
    return entry != NULL;
}

/* ---- all entries ---- */

void store_each(struct store *store, size_t max,
                void (*f)(void *user, struct slice key, const struct store_value *value),
                void *user) {
    struct call call;
    enter(&call, store);
    for (struct list *at = store->entries.next; at != &store->entries && max > 0; at = at->next) {
        const struct store_entry *entry = LIST_OWNER(at, struct store_entry, link);
        if (deadlines_contains(&entry->end) && entry->end.key <= call.now)
            continue; /* it has expired */
        f(user, entry->in.key, &entry->value);
        max--;
    }
    leave(&call);
}

/* ---- packed entries ---- */

static void pack_value(struct sink *sink, const struct store_value *value) {
    uint64_t bits;
    pack_number(sink, value->type);
    switch (value->type) {
    case STORE_BOOLEAN:
        pack_number(sink, value->boolean);
        break;
    case STORE_INTEGER:
        pack_bits(sink, (uint64_t)value->integer);
        break;
    case STORE_NUMBER:
        memcpy(&bits, &value->number, sizeof bits);
        pack_bits(sink, bits);
        break;
    case STORE_TEXT:
        pack_text(sink, value->text.bytes, value->text.len);
        break;
    }
}

size_t store_pack(struct store *store, uint64_t wall_ms, struct sink *sink) {
    struct call call;
    size_t count = 0;
    enter(&call, store);
    for (struct list *at = store->entries.next; at != &store->entries; at = at->next) {
        const struct store_entry *entry = LIST_OWNER(at, struct store_entry, link);
        bool ends = deadlines_contains(&entry->end);
        if (ends && entry->end.key <= call.now)
            continue; /* it has expired */
        pack_number(sink, 1);
        pack_text(sink, entry->in.key.bytes, entry->in.key.len);
        pack_value(sink, &entry->value);
        pack_number(sink, ends ? wall_ms + (entry->end.key - call.now) : 0);
        count++;
    }
    leave(&call);
    pack_number(sink, 0);
    return count;
}

static bool unpack_value(struct slice *from, struct store_value *value) {
    uint64_t type, bits = 0;
    if (!unpack_number(from, &type) || type > STORE_TEXT)
        return false;
    value->type = (enum store_type)type;
    switch (value->type) {
    case STORE_BOOLEAN:
        if (!unpack_number(from, &bits) || bits > 1)
            return false;
        value->boolean = bits == 1;
        return true;
    case STORE_INTEGER:
        if (!unpack_bits(from, &bits))
            return false;
        value->integer = (int64_t)bits;
        return true;
    case STORE_NUMBER:
        if (!unpack_bits(from, &bits))
            return false;
        memcpy(&value->number, &bits, sizeof bits);
        return true;
    case STORE_TEXT:
        break;
    }
    return unpack_text(from, &value->text);
}

bool store_unpack(struct store *store, struct slice *from, uint64_t wall_ms,
                  struct store_unpacked *result) {
    uint64_t more, end;
    while (unpack_number(from, &more) && more <= 1) {
        struct slice key;
        struct store_value value;
        if (more == 0)
            return true;
        if (!unpack_text(from, &key) || key.len > STORE_MAX_KEY_BYTES ||
            !unpack_value(from, &value) || !unpack_number(from, &end))
            return false;
        if (end != 0 && end <= wall_ms)
            result->expired++;
        else if (store == NULL ||
                 store_set(store, key, &value, end == 0 ? 0 : end - wall_ms) == STORE_OK)
            result->entries++;
        else
            result->refused++;
    }
    return false;
}

/* ---- sweeping ---- */

bool store_sweep(struct store *store) {
    for (int left = SWEEP_ENTRIES; left > 0; left -= SWEEP_UNDER_LOCK) {
        struct call call;
        int taken = 0;
        enter(&call, store);
        while (taken < SWEEP_UNDER_LOCK && take_out_ended(store, call.now, &call.freed))
            taken++;
        const struct deadline *next = deadlines_peek(&store->ends);
        bool done = taken < SWEEP_UNDER_LOCK;
        if (done && next != NULL)
            note_end(store->clock, next->key);
        leave(&call);
        if (done)
            return true;
    }
    return false;
}
