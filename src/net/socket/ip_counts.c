/* ip_counts.c -- how many connections each remote address has. See ip_counts.h. */
#include "net/socket/ip_counts.h"

#include "base/mem.h"
#include "base/table.h"

#include <string.h>
#include <uv.h>

struct ip_counts {
    uv_mutex_t lock;
    struct table table;
};

struct ip_count {
    struct table_entry entry;
    struct ip_counts *addresses;
    uint32_t connections;
    _Atomic size_t uploads, responses;
    char text[];
};

struct ip_counts *ip_counts_new(void) {
    struct ip_counts *addresses = mem_zalloc(sizeof *addresses);
    uv_mutex_init(&addresses->lock);
    return addresses;
}

void ip_counts_free(struct ip_counts *addresses) {
    if (addresses == NULL)
        return;
    table_close(&addresses->table);
    uv_mutex_destroy(&addresses->lock);
    mem_free(addresses);
}

/* Under the lock. */
static struct ip_count *find(const struct ip_counts *addresses, const char *text) {
    struct table_entry *found = table_find(&addresses->table, slice_of(text));
    return found == NULL ? NULL : TABLE_OWNER(found, struct ip_count, entry);
}

uint32_t ip_counts_count(struct ip_counts *addresses, const char *text) {
    uv_mutex_lock(&addresses->lock);
    const struct ip_count *entry = find(addresses, text);
    uint32_t count = entry == NULL ? 0 : entry->connections;
    uv_mutex_unlock(&addresses->lock);
    return count;
}

static struct ip_count *new_entry(struct ip_counts *addresses, const char *text) {
    struct ip_count *entry = mem_zalloc(sizeof *entry + strlen(text) + 1);
    entry->addresses = addresses;
    strcpy(entry->text, text);
    entry->entry.key = slice_of(entry->text);
    table_add(&addresses->table, &entry->entry);
    return entry;
}

struct ip_count *ip_counts_add(struct ip_counts *addresses, const char *text, uint32_t max) {
    uv_mutex_lock(&addresses->lock);
    struct ip_count *entry = find(addresses, text);
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

void ip_counts_remove(struct ip_count *entry) {
    struct ip_counts *addresses = entry->addresses;
    uv_mutex_lock(&addresses->lock);
    if (--entry->connections == 0) {
        table_remove(&addresses->table, &entry->entry);
        mem_free(entry);
    }
    uv_mutex_unlock(&addresses->lock);
}

_Atomic size_t *ip_counts_uploads(struct ip_count *entry) {
    return &entry->uploads;
}

_Atomic size_t *ip_counts_responses(struct ip_count *entry) {
    return &entry->responses;
}
