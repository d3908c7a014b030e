/* addresses.c -- how many connections each remote address has. See addresses.h. */
#include "net/addresses.h"

#include "base/mem.h"
#include "base/table.h"

#include <string.h>

struct addresses {
    struct table table;
};

struct address_entry {
    struct table_entry entry;
    struct addresses *addresses;
    uint32_t connections;
    char text[];
};

struct addresses *addresses_new(void) {
    return mem_zalloc(sizeof(struct addresses));
}

void addresses_free(struct addresses *addresses) {
    if (addresses == NULL)
        return;
    table_close(&addresses->table);
    mem_free(addresses);
}

static struct address_entry *find(const struct addresses *addresses, const char *text) {
    struct table_entry *found = table_find(&addresses->table, slice_of(text));
    return found == NULL ? NULL : TABLE_OWNER(found, struct address_entry, entry);
}

uint32_t addresses_count(const struct addresses *addresses, const char *text) {
    const struct address_entry *entry = find(addresses, text);
    return entry == NULL ? 0 : entry->connections;
}

struct address_entry *addresses_add(struct addresses *addresses, const char *text) {
    struct address_entry *entry = find(addresses, text);
    if (entry == NULL) {
        entry = mem_zalloc(sizeof *entry + strlen(text) + 1);
        entry->addresses = addresses;
        strcpy(entry->text, text);
        entry->entry.key = slice_of(entry->text);
        table_add(&addresses->table, &entry->entry);
    }
    entry->connections++;
    return entry;
}

void addresses_remove(struct address_entry *entry) {
    if (--entry->connections > 0)
        return;
    table_remove(&entry->addresses->table, &entry->entry);
    mem_free(entry);
}
