/* addresses.c -- how many connections each remote address has. See addresses.h.
 *
 * A hash table of chains that doubles with its entries. */
#include "net/addresses.h"

#include "base/mem.h"

#include <stddef.h>
#include <string.h>

enum { FIRST_BUCKETS = 64 };

struct addresses {
    struct address_entry **buckets;
    uint32_t bucket_count, entry_count; /* buckets: a power of two */
};

struct address_entry {
    struct addresses *table;
    struct address_entry *next;
    uint32_t hash, connections;
    char text[];
};

/* FNV-1a, 32 bits. Whoever can choose many addresses has a network anyway: no secret is needed. */
static uint32_t hash_of(const char *text) {
    uint32_t hash = 2166136261u;
    for (; *text != '\0'; text++)
        hash = (hash ^ (uint8_t)*text) * 16777619u;
    return hash;
}

struct addresses *addresses_new(void) {
    struct addresses *addresses = mem_zalloc(sizeof *addresses);
    addresses->bucket_count = FIRST_BUCKETS;
    addresses->buckets = mem_zalloc(FIRST_BUCKETS * sizeof(struct address_entry *));
    return addresses;
}

void addresses_free(struct addresses *addresses) {
    if (addresses == NULL)
        return;
    mem_free(addresses->buckets);
    mem_free(addresses);
}

static struct address_entry **bucket(const struct addresses *addresses, uint32_t hash) {
    return &addresses->buckets[hash & (addresses->bucket_count - 1)];
}

static struct address_entry *find(const struct addresses *addresses, uint32_t hash,
                                  const char *text) {
    struct address_entry *entry = *bucket(addresses, hash);
    while (entry != NULL && (entry->hash != hash || strcmp(entry->text, text) != 0))
        entry = entry->next;
    return entry;
}

uint32_t addresses_count(const struct addresses *addresses, const char *text) {
    const struct address_entry *entry = find(addresses, hash_of(text), text);
    return entry == NULL ? 0 : entry->connections;
}

static void grow(struct addresses *addresses) {
    struct address_entry **old = addresses->buckets;
    uint32_t count = addresses->bucket_count;
    addresses->bucket_count *= 2;
    addresses->buckets = mem_zalloc(addresses->bucket_count * sizeof *old);
    for (uint32_t i = 0; i < count; i++) {
        for (struct address_entry *entry = old[i], *next; entry != NULL; entry = next) {
            next = entry->next;
            struct address_entry **to = bucket(addresses, entry->hash);
            entry->next = *to;
            *to = entry;
        }
    }
    mem_free(old);
}

struct address_entry *addresses_add(struct addresses *addresses, const char *text) {
    uint32_t hash = hash_of(text);
    struct address_entry *entry = find(addresses, hash, text);
    if (entry == NULL) {
        if (addresses->entry_count++ == addresses->bucket_count)
            grow(addresses);
        entry = mem_zalloc(sizeof *entry + strlen(text) + 1);
        entry->table = addresses;
        entry->hash = hash;
        strcpy(entry->text, text);
        struct address_entry **to = bucket(addresses, hash);
        entry->next = *to;
        *to = entry;
    }
    entry->connections++;
    return entry;
}

void addresses_remove(struct address_entry *entry) {
    if (--entry->connections > 0)
        return;
    struct address_entry **link = bucket(entry->table, entry->hash);
    while (*link != entry)
        link = &(*link)->next;
    *link = entry->next;
    entry->table->entry_count--;
    mem_free(entry);
}
