/* table.c -- objects by name. See table.h.
 *
 * Chains in a number of buckets that is a power of two and doubles with the entries. */
#include "base/table.h"

#include "base/mem.h"
#include "base/siphash.h"

#include <stddef.h>

enum { FIRST_BUCKETS = 64 };

/* Clients choose names, too, so the hash has a key. */
static uint32_t hash_of(const struct table *table, struct slice key) {
    return (uint32_t)siphash(table->secret, key);
}

static struct table_entry **bucket(const struct table *table, uint32_t hash) {
    return &table->buckets[hash & (table->bucket_count - 1)];
}

struct table_entry *table_find(const struct table *table, struct slice key) {
    if (table->count == 0)
        return NULL;
    uint32_t hash = hash_of(table, key);
    struct table_entry *entry = *bucket(table, hash);
    while (entry != NULL && (entry->hash != hash || entry->key.len != key.len ||
                             memcmp(entry->key.bytes, key.bytes, key.len) != 0))
        entry = entry->next;
    return entry;
}

static void link_in(struct table *table, struct table_entry *entry) {
    struct table_entry **to = bucket(table, entry->hash);
    entry->next = *to;
    *to = entry;
}

static void grow(struct table *table) {
    struct table_entry **old = table->buckets;
    uint32_t count = table->bucket_count;
    if (count == 0)
        siphash_draw_key(table->secret);
    table->bucket_count = count == 0 ? FIRST_BUCKETS : count * 2;
    table->buckets = mem_zalloc(table->bucket_count * sizeof *old);
    for (uint32_t i = 0; i < count; i++) {
        for (struct table_entry *entry = old[i], *next; entry != NULL; entry = next) {
            next = entry->next;
            link_in(table, entry);
        }
    }
    mem_free(old);
}

void table_add(struct table *table, struct table_entry *entry) {
    if (table->count == table->bucket_count)
        grow(table);
    table->count++;
    entry->hash = hash_of(table, entry->key);
    link_in(table, entry);
}

void table_remove(struct table *table, struct table_entry *entry) {
    struct table_entry **link = bucket(table, entry->hash);
    while (*link != entry)
        link = &(*link)->next;
    *link = entry->next;
    table->count--;
}

struct table_entry *table_any(const struct table *table) {
    for (uint32_t i = 0; table->count > 0 && i < table->bucket_count; i++)
        if (table->buckets[i] != NULL)
            return table->buckets[i];
    return NULL;
}

void table_each(const struct table *table, void (*f)(void *user, struct table_entry *entry),
                void *user) {
    for (uint32_t i = 0; i < table->bucket_count; i++)
        for (struct table_entry *entry = table->buckets[i]; entry != NULL; entry = entry->next)
            f(user, entry);
}

void table_close(struct table *table) {
    mem_free(table->buckets);
    *table = (struct table){0};
}
