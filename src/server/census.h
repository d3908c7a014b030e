/* census.h -- how many connections, waiting hooks and timers hold which code, and where timers were
 * made.
 *
 * Counted by each worker for itself, and added up. A plain value. */
#ifndef TIDEWIRE_SERVER_CENSUS_H
#define TIDEWIRE_SERVER_CENSUS_H

#include <stdint.h>

enum {
    CENSUS_MOST = 16,        /* generations; older ones count as the oldest */
    CENSUS_MOST_PLACES = 32, /* that timers were made at; those at others are only counted */
    CENSUS_PLACE_BYTES = 96,
};

struct census {
    unsigned count;
    struct census_row {
        unsigned generation;
        uint64_t connections, waiting;
        uint64_t timers; /* repeating or not */
    } rows[CENSUS_MOST]; /* the newest first */
    unsigned place_count;
    struct census_place {
        char where[CENSUS_PLACE_BYTES]; /* "app.lua:12" */
        unsigned generation;
        uint64_t timers;
    } places[CENSUS_MOST_PLACES]; /* of repeating timers */
    uint64_t elsewhere;           /* repeating timers at places beyond the last */
};

/* The row of a generation; makes one. */
struct census_row *census_row(struct census *census, unsigned generation);
/* More repeating timers that were made there. What is too long is cut at its beginning. */
void census_timers(struct census *census, const char *where, unsigned generation, uint64_t timers);
void census_add(struct census *census, const struct census *other);

#endif
