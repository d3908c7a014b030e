/* sessions.c -- the connections that have secrets. See sessions.h.
 *
 * The table's keys are 128 bits of a keyed hash, whose comparison tells a client nothing. So a
 * look-up compares at most one secret, in constant time. */
#include "core/bus/sessions.h"

#include "base/mem.h"
#include "base/siphash.h"
#include "base/table.h"

#include <stdatomic.h>
#include <string.h>
#include <uv.h>

enum { DIGEST_WORDS = 2 };

struct sessions {
    uv_mutex_t lock;
    struct table table;
    _Atomic uint32_t count; /* the table's, for readers without the lock */
    uint64_t keys[DIGEST_WORDS][2];
};

struct entry {
    struct table_entry entry;
    uint64_t digest[DIGEST_WORDS];
    conn_id id;
    uint64_t asked_ms; /* 0: unknown */
    bool waits;        /* sessions_set_waiting() */
    bool is_lent;      /* its place: sessions_lend_place() */
    size_t len;
    char secret[];
};

struct session_place {
    struct sessions *sessions;
    conn_id id;
    size_t len;
    char secret[];
};

struct sessions *sessions_new(void) {
    struct sessions *sessions = mem_zalloc(sizeof *sessions);
    uv_mutex_init(&sessions->lock);
    for (int i = 0; i < DIGEST_WORDS; i++)
        siphash_draw_key(sessions->keys[i]);
    return sessions;
}

static void remove_entry(struct sessions *sessions, struct entry *entry) {
    table_remove(&sessions->table, &entry->entry);
    atomic_store_explicit(&sessions->count, sessions->table.count, memory_order_relaxed);
    mem_free(entry);
}

void sessions_free(struct sessions *sessions) {
    if (sessions == NULL)
        return;
    for (struct table_entry *any; (any = table_any(&sessions->table)) != NULL;)
        remove_entry(sessions, TABLE_OWNER(any, struct entry, entry));
    table_close(&sessions->table);
    uv_mutex_destroy(&sessions->lock);
    mem_free(sessions);
}

static void make_digest(const struct sessions *sessions, struct slice secret,
                        uint64_t digest[DIGEST_WORDS]) {
    for (int i = 0; i < DIGEST_WORDS; i++)
        digest[i] = siphash(sessions->keys[i], secret);
}

static struct slice key_of(const uint64_t digest[DIGEST_WORDS]) {
    return (struct slice){(const char *)digest, DIGEST_WORDS * sizeof *digest};
}

/* In a time that depends on the length alone. */
static bool is_equal(const struct entry *entry, struct slice secret) {
    unsigned char difference = 0;
    if (entry->len != secret.len)
        return false;
    for (size_t i = 0; i < secret.len; i++)
        difference |= (unsigned char)(entry->secret[i] ^ secret.bytes[i]);
    return difference == 0;
}

/* Under the lock. */
static struct entry *find(const struct sessions *sessions, struct slice secret) {
    uint64_t digest[DIGEST_WORDS];
    make_digest(sessions, secret, digest);
    struct table_entry *found = table_find(&sessions->table, key_of(digest));
    struct entry *entry = found == NULL ? NULL : TABLE_OWNER(found, struct entry, entry);
    return entry != NULL && is_equal(entry, secret) ? entry : NULL;
}

static struct entry *new_entry(const struct sessions *sessions, struct slice secret, conn_id id) {
    struct entry *entry = mem_zalloc(sizeof *entry + secret.len);
    make_digest(sessions, secret, entry->digest);
    entry->entry.key = key_of(entry->digest);
    entry->id = id;
    entry->len = secret.len;
    memcpy(entry->secret, secret.bytes, secret.len);
    return entry;
}

/* Under the lock. */
static void add_entry(struct sessions *sessions, struct entry *entry) {
    table_add(&sessions->table, &entry->entry);
    atomic_store_explicit(&sessions->count, sessions->table.count, memory_order_relaxed);
}

bool sessions_add(struct sessions *sessions, struct slice secret, conn_id id) {
    struct entry *entry = new_entry(sessions, secret, id);
    uv_mutex_lock(&sessions->lock);
    bool is_new = table_find(&sessions->table, entry->entry.key) == NULL;
    if (is_new)
        add_entry(sessions, entry);
    uv_mutex_unlock(&sessions->lock);
    if (!is_new)
        mem_free(entry);
    return is_new;
}

bool sessions_replace(struct sessions *sessions, struct slice secret, conn_id id, uint64_t asked_ms,
                      conn_id *other) {
    struct entry *entry = new_entry(sessions, secret, id);
    entry->asked_ms = asked_ms;
    uv_mutex_lock(&sessions->lock);
    struct entry *before = find(sessions, secret);
    bool is_newest = before == NULL || before->asked_ms <= asked_ms + SESSION_TICKS_MS;
    *other = before == NULL ? 0 : before->id;
    if (is_newest && before != NULL)
        remove_entry(sessions, before);
    if (is_newest)
        add_entry(sessions, entry);
    uv_mutex_unlock(&sessions->lock);
    if (!is_newest)
        mem_free(entry);
    return is_newest;
}

void sessions_remove(struct sessions *sessions, struct slice secret, conn_id id) {
    uv_mutex_lock(&sessions->lock);
    struct entry *entry = find(sessions, secret);
    if (entry != NULL && entry->id == id)
        remove_entry(sessions, entry);
    uv_mutex_unlock(&sessions->lock);
}

conn_id sessions_find(struct sessions *sessions, struct slice secret) {
    if (sessions_count(sessions) == 0)
        return 0;
    uv_mutex_lock(&sessions->lock);
    const struct entry *entry = find(sessions, secret);
    conn_id id = entry == NULL ? 0 : entry->id;
    uv_mutex_unlock(&sessions->lock);
    return id;
}

void sessions_set_waiting(struct sessions *sessions, struct slice secret, conn_id id, bool waits) {
    uv_mutex_lock(&sessions->lock);
    struct entry *entry = find(sessions, secret);
    if (entry != NULL && entry->id == id)
        entry->waits = waits;
    uv_mutex_unlock(&sessions->lock);
}

struct session_place *sessions_lend_place(struct sessions *sessions, struct slice secret) {
    struct session_place *place = NULL;
    uv_mutex_lock(&sessions->lock);
    struct entry *entry = find(sessions, secret);
    if (entry != NULL && entry->waits && !entry->is_lent) {
        entry->is_lent = true;
        place = mem_zalloc(sizeof *place + secret.len);
        place->sessions = sessions;
        place->id = entry->id;
        place->len = secret.len;
        memcpy(place->secret, secret.bytes, secret.len);
    }
    uv_mutex_unlock(&sessions->lock);
    return place;
}

void session_place_return(struct session_place *place) {
    if (place == NULL)
        return;
    struct sessions *sessions = place->sessions;
    uv_mutex_lock(&sessions->lock);
    struct entry *entry = find(sessions, (struct slice){place->secret, place->len});
    if (entry != NULL && entry->id == place->id)
        entry->is_lent = false;
    uv_mutex_unlock(&sessions->lock);
    mem_free(place);
}

uint32_t sessions_count(const struct sessions *sessions) {
    return atomic_load_explicit(&sessions->count, memory_order_relaxed);
}
