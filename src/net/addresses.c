/* addresses.c -- how many connections each remote address has. See addresses.h. */
#include "net/addresses.h"

#include "base/mem.h"
#include "base/table.h"

#include <string.h>
#include <uv.h>

struct addresses {
    uv_mutex_t lock;
    struct table table;
};

struct address_entry {
    struct table_entry entry;
    struct addresses *addresses;
    uint32_t connections;
    _Atomic size_t uploads, responses;
    char text[];
};

struct addresses *addresses_new(void) {
    struct addresses *addresses = mem_zalloc(sizeof *addresses);
    uv_mutex_init(&addresses->lock);
    return addresses;
}

void addresses_free(struct addresses *addresses) {
    if (addresses == NULL)
        return;
    table_close(&addresses->table);
    uv_mutex_destroy(&addresses->lock);
    mem_free(addresses);
}

/* Under the lock. */
static struct address_entry *find(const struct addresses *addresses, const char *text) {
    struct table_entry *found = table_find(&addresses->table, slice_of(text));
    return found == NULL ? NULL : TABLE_OWNER(found, struct address_entry, entry);
}

uint32_t addresses_count(struct addresses *addresses, const char *text) {
    uv_mutex_lock(&addresses->lock);
    const struct address_entry *entry = find(addresses, text);
    uint32_t count = entry == NULL ? 0 : entry->connections;
    uv_mutex_unlock(&addresses->lock);
    return count;
}

static struct address_entry *new_entry(struct addresses *addresses, const char *text) {
    struct address_entry *entry = mem_zalloc(sizeof *entry + strlen(text) + 1);
    entry->addresses = addresses;
    strcpy(entry->text, text);
    entry->entry.key = slice_of(entry->text);
    table_add(&addresses->table, &entry->entry);
    return entry;
}

struct address_entry *addresses_add(struct addresses *addresses, const char *text, uint32_t max) {
    uv_mutex_lock(&addresses->lock);
    struct address_entry *entry = find(addresses, text);
    if (entry != NULL && max > 0 && entry->connections >= max) {
        entry = NULL;
    } else {
        if (entry == NULL)
            entry = new_entry(addresses, text);
        entry->connections++;
    }
    uv_mutex_unlock(&addresses->lock);
    return entry;
}

void addresses_remove(struct address_entry *entry) {
    struct addresses *addresses = entry->addresses;
    uv_mutex_lock(&addresses->lock);
    if (--entry->connections == 0) {
        table_remove(&addresses->table, &entry->entry);
        mem_free(entry);
    }
    uv_mutex_unlock(&addresses->lock);
}

_Atomic size_t *addresses_uploads(struct address_entry *entry) {
    return &entry->uploads;
}

_Atomic size_t *addresses_responses(struct address_entry *entry) {
    return &entry->responses;
}
