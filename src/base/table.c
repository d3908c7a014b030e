/* table.c -- objects by name. See table.h.
 *
 * Chains in a number of buckets that is a power of two and doubles with the entries. */
#include "base/table.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stddef.h>
#include <sys/random.h>

enum { FIRST_BUCKETS = 64 };

/* ---- the hash: SipHash with 1 and 3 rounds (Aumasson and Bernstein, 2012) ----
 *
 * Clients choose names, too: rooms, keys of stores. Without a secret they could choose names of one
 * bucket, and each look-up would compare them all. */

static uint64_t turned(uint64_t x, int bits) {
    return x << bits | x >> (64 - bits);
}

static void mix(uint64_t v[4]) {
    v[0] += v[1], v[1] = turned(v[1], 13) ^ v[0], v[0] = turned(v[0], 32);
    v[2] += v[3], v[3] = turned(v[3], 16) ^ v[2];
    v[0] += v[3], v[3] = turned(v[3], 21) ^ v[0];
    v[2] += v[1], v[1] = turned(v[1], 17) ^ v[2], v[2] = turned(v[2], 32);
}

static uint32_t hash_of(const struct table *table, struct slice key) {
    const uint64_t *secret = table->secret;
    uint64_t v[4] = {secret[0] ^ 0x736f6d6570736575, secret[1] ^ 0x646f72616e646f6d,
                     secret[0] ^ 0x6c7967656e657261, secret[1] ^ 0x7465646279746573};
    for (size_t at = 0;; at += 8) {
        size_t left = key.len - at;
        uint64_t word = (uint64_t)key.len << 56;
        if (left > 0)
            memcpy(&word, key.bytes + at, left < 8 ? left : 8);
        v[3] ^= word;
        mix(v);
        v[0] ^= word;
        if (left < 8)
            break;
    }
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        mix(v);
    return (uint32_t)(v[0] ^ v[1] ^ v[2] ^ v[3]);
}

static void draw_secret(struct table *table) {
    if (getrandom(table->secret, sizeof table->secret, 0) != (ssize_t)sizeof table->secret) {
        table->secret[0] = clock_monotonic_ns(); /* better than no secret */
        table->secret[1] = (uint64_t)(uintptr_t)table;
    }
}

/* ---- the table ---- */

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
        draw_secret(table);
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

void table_close(struct table *table) {
    mem_free(table->buckets);
    *table = (struct table){0};
}
