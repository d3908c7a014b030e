/* table.h -- objects by name: an intrusive hash table.
 *
 * Owners embed their entries. An entry has its key, a view of bytes that must stay while the entry
 * is in the table. The table owns only its buckets. One thread at a time. */
#ifndef TIDEWIRE_BASE_TABLE_H
#define TIDEWIRE_BASE_TABLE_H

#include "base/slice.h"

#include <stdint.h>

struct table_entry {
    struct slice key;
    /* private */
    struct table_entry *next;
    uint32_t hash;
};

/* All zeros is an empty table. */
struct table {
    uint32_t count; /* for reading */
    /* private */
    uint32_t bucket_count;
    uint64_t secret[2]; /* drawn with the first entry */
    struct table_entry **buckets;
};

/* The owner of an entry: TABLE_OWNER(entry, struct room, entry). */
#define TABLE_OWNER(entry, type, member) ((type *)(((char *)(entry)) - offsetof(type, member)))

/* The entry with this key, or NULL. */
struct table_entry *table_find(const struct table *table, struct slice key);

/* Adds an entry. Its key must be set, and the table must have no equal key. */
void table_add(struct table *table, struct table_entry *entry);

/* Removes an entry that is in the table. */
void table_remove(struct table *table, struct table_entry *entry);

/* Any entry; NULL when the table is empty. */
struct table_entry *table_any(const struct table *table);

/* Calls f for each entry, in no order; f must not change the table. */
void table_each(const struct table *table, void (*f)(void *user, struct table_entry *entry),
                void *user);

/* Frees the buckets; the entries are their owners'. */
void table_close(struct table *table);

#endif
