/* generation_counts.h -- how many connections, waiting hooks and timers hold which code, and where
 * timers were made.
 *
 * Counted by each worker for itself, and added up. A plain value. */
#ifndef TIDEWIRE_SERVER_WORKERS_GENERATION_COUNTS_H
#define TIDEWIRE_SERVER_WORKERS_GENERATION_COUNTS_H

#include <stdint.h>

enum {
    GENERATION_COUNTS_MOST = 16, /* generations; older ones count as the oldest */
    /* places at which timers were made; timers of other places are only counted */
    GENERATION_COUNTS_MOST_PLACES = 32,
    GENERATION_COUNTS_PLACE_BYTES = 96,
};

struct generation_counts {
    unsigned count;
    struct generation_row {
        unsigned generation;
        uint64_t connections, waiting;
        uint64_t timers;            /* repeating or not */
    } rows[GENERATION_COUNTS_MOST]; /* the newest first */
    unsigned place_count;
    struct timer_place {
        char where[GENERATION_COUNTS_PLACE_BYTES]; /* "app.lua:12" */
        unsigned generation;
        uint64_t timers;
    } places[GENERATION_COUNTS_MOST_PLACES]; /* of repeating timers */
    uint64_t elsewhere;                      /* repeating timers at places beyond the last */
};

/* The row of a generation; makes one. */
struct generation_row *generation_counts_row(struct generation_counts *counts, unsigned generation);
/* More repeating timers that were made there. What is too long is cut at its beginning. */
void generation_counts_add_timers(struct generation_counts *counts, const char *where,
                                  unsigned generation, uint64_t timers);
void generation_counts_add(struct generation_counts *counts, const struct generation_counts *other);

#endif
