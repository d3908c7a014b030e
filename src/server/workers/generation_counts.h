/* generation_counts.h -- the numbers of connections, waiting hooks and timers by generation of the
 * code, and the places that have made timers.
 *
 * Each worker counts its own; the counts are added up. A plain value. */
#ifndef TIDEWIRE_SERVER_WORKERS_GENERATION_COUNTS_H
#define TIDEWIRE_SERVER_WORKERS_GENERATION_COUNTS_H

#include <stdint.h>

enum {
    GENERATION_COUNTS_MOST = 16, /* generations; older ones count as the oldest */
    /* places that have made timers; timers of further places are only counted */
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

/* The row of a generation, made where it is missing. */
struct generation_row *generation_counts_row(struct generation_counts *counts, unsigned generation);
/* Adds repeating timers that were made at this place. A long name is cut at its beginning. */
void generation_counts_add_timers(struct generation_counts *counts, const char *where,
                                  unsigned generation, uint64_t timers);
void generation_counts_add(struct generation_counts *counts, const struct generation_counts *other);

#endif
