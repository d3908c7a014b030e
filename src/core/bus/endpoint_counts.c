/* endpoint_counts.c -- connections by endpoint and worker. See endpoint_counts.h. */
#include "core/bus/endpoint_counts.h"

#include "base/mem.h"

#include <stddef.h>

/* The link to an endpoint's entry; it holds NULL if there is none. */
static struct endpoint_counts **find(struct endpoint_counts **list, uint32_t endpoint) {
    while (*list != NULL && (*list)->endpoint != endpoint)
        list = &(*list)->next;
    return list;
}

void endpoint_counts_add(struct endpoint_counts **list, unsigned workers, uint32_t endpoint,
                         unsigned worker) {
    struct endpoint_counts **link = find(list, endpoint);
    if (*link == NULL) {
        *link = mem_zalloc(sizeof **link + workers * sizeof *(*link)->by_worker);
        (*link)->endpoint = endpoint;
    }
    (*link)->total++;
    (*link)->by_worker[worker]++;
}

void endpoint_counts_remove(struct endpoint_counts **list, uint32_t endpoint, unsigned worker) {
    struct endpoint_counts **link = find(list, endpoint), *entry = *link;
    entry->by_worker[worker]--;
    if (--entry->total == 0) {
        *link = entry->next;
        mem_free(entry);
    }
}

void endpoint_counts_clear(struct endpoint_counts **list) {
    for (struct endpoint_counts *entry; (entry = *list) != NULL;) {
        *list = entry->next;
        mem_free(entry);
    }
}
