/* headcount.h -- how many connections of an endpoint each worker has: in a room, or altogether.
 *
 * A list with one entry for each endpoint that has any. No thread of its own and no lock. */
#ifndef TIDEWIRE_CORE_HEADCOUNT_H
#define TIDEWIRE_CORE_HEADCOUNT_H

#include <stdint.h>

struct headcount {
    struct headcount *next;
    uint32_t endpoint, total;
    uint32_t by_worker[];
};

/* One more, of an endpoint on one of `workers` workers. */
void headcount_add(struct headcount **list, unsigned workers, uint32_t endpoint, unsigned worker);
/* One less, that was added. */
void headcount_remove(struct headcount **list, uint32_t endpoint, unsigned worker);
void headcount_clear(struct headcount **list);

#endif
