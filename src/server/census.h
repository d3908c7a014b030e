/* census.h -- how many connections and waiting hooks hold which code.
 *
 * Counted by each worker for itself, and added up. A plain value. */
#ifndef TIDEWIRE_SERVER_CENSUS_H
#define TIDEWIRE_SERVER_CENSUS_H

#include <stdint.h>

enum { CENSUS_MOST = 16 }; /* generations; older ones count as the oldest */

struct census {
    unsigned count;
    struct census_row {
        unsigned generation;
        uint64_t connections, waiting;
    } rows[CENSUS_MOST]; /* the newest first */
};

/* The row of a generation; makes one. */
struct census_row *census_row(struct census *census, unsigned generation);
void census_add(struct census *census, const struct census *other);

#endif
