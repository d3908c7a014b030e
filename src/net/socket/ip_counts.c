/* ip_counts.c -- what each remote address has. See ip_counts.h. */
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
    struct ip_counts *counts;
    uint32_t connections;
    _Atomic size_t uploads, responses;
    char ip[];
};

struct ip_counts *ip_counts_new(void) {
    struct ip_counts *counts = mem_zalloc(sizeof *counts);
    uv_mutex_init(&counts->lock);
    return counts;
}

void ip_counts_free(struct ip_counts *counts) {
    if (counts == NULL)
        return;
    table_close(&counts->table);
    uv_mutex_destroy(&counts->lock);
    mem_free(counts);
}

/* Under the lock. */
static struct ip_count *find(const struct ip_counts *counts, const char *ip) {
    struct table_entry *found = table_find(&counts->table, slice_of(ip));
    return found == NULL ? NULL : TABLE_OWNER(found, struct ip_count, entry);
}

uint32_t ip_counts_get(struct ip_counts *counts, const char *ip) {
    uv_mutex_lock(&counts->lock);
    const struct ip_count *entry = find(counts, ip);
    uint32_t count = entry == NULL ? 0 : entry->connections;
    uv_mutex_unlock(&counts->lock);
    return count;
}

bool ip_counts_is(const struct ip_count *entry, const char *ip) {
    return strcmp(entry->ip, ip) == 0;
}

static struct ip_count *new_entry(struct ip_counts *counts, const char *ip) {
    struct ip_count *entry = mem_zalloc(sizeof *entry + strlen(ip) + 1);
    entry->counts = counts;
    strcpy(entry->ip, ip);
    entry->entry.key = slice_of(entry->ip);
    table_add(&counts->table, &entry->entry);
    return entry;
}

struct ip_count *ip_counts_add(struct ip_counts *counts, const char *ip, uint32_t max) {
    uv_mutex_lock(&counts->lock);
    struct ip_count *entry = find(counts, ip);
    if (entry != NULL && max > 0 && entry->connections >= max) {
        entry = NULL;
    } else {
        if (entry == NULL)
            entry = new_entry(counts, ip);
        entry->connections++;
    }
    uv_mutex_unlock(&counts->lock);
    return entry;
}

void ip_counts_remove(struct ip_count *entry) {
    struct ip_counts *counts = entry->counts;
    uv_mutex_lock(&counts->lock);
    if (--entry->connections == 0) {
        table_remove(&counts->table, &entry->entry);
        mem_free(entry);
    }
    uv_mutex_unlock(&counts->lock);
}

const char *ip_counts_text(const struct ip_count *entry) {
    return entry->ip;
}

_Atomic size_t *ip_counts_uploads(struct ip_count *entry) {
    return &entry->uploads;
}

_Atomic size_t *ip_counts_responses(struct ip_count *entry) {
    return &entry->responses;
}
