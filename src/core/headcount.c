/* headcount.c -- how many connections of an endpoint each worker has. See headcount.h. */
#include "core/headcount.h"

#include "base/mem.h"

#include <stddef.h>

/* The link to the entry of an endpoint; it holds NULL where there is none. */
static struct headcount **find(struct headcount **list, uint32_t endpoint) {
    while (*list != NULL && (*list)->endpoint != endpoint)
        list = &(*list)->next;
    return list;
}

void headcount_add(struct headcount **list, unsigned workers, uint32_t endpoint, unsigned worker) {
    struct headcount **link = find(list, endpoint);
    if (*link == NULL) {
        *link = mem_zalloc(sizeof **link + workers * sizeof *(*link)->by_worker);
        (*link)->endpoint = endpoint;
    }
    (*link)->total++;
    (*link)->by_worker[worker]++;
}

void headcount_remove(struct headcount **list, uint32_t endpoint, unsigned worker) {
    struct headcount **link = find(list, endpoint), *entry = *link;
    entry->by_worker[worker]--;
    if (--entry->total == 0) {
        *link = entry->next;
        mem_free(entry);
    }
}

void headcount_clear(struct headcount **list) {
    for (struct headcount *entry; (entry = *list) != NULL;) {
        *list = entry->next;
        mem_free(entry);
    }
}
