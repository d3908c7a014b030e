/* endpoint_counts.h -- how many connections of an endpoint each worker has, in a room or in all.
 *
 * A list with one entry for each endpoint that has connections. One thread at a time. */
#ifndef TIDEWIRE_CORE_BUS_ENDPOINT_COUNTS_H
#define TIDEWIRE_CORE_BUS_ENDPOINT_COUNTS_H

#include <stdint.h>

struct endpoint_counts {
    struct endpoint_counts *next;
    uint32_t endpoint, total;
    uint32_t by_worker[];
};

/* Adds a connection of an endpoint, on one of `workers` workers. */
void endpoint_counts_add(struct endpoint_counts **list, unsigned workers, uint32_t endpoint,
                         unsigned worker);
/* Removes one that was added. */
void endpoint_counts_remove(struct endpoint_counts **list, uint32_t endpoint, unsigned worker);
void endpoint_counts_clear(struct endpoint_counts **list);

#endif
