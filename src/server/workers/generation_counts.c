/* generation_counts.c -- the numbers of connections, hooks and timers by generation. See
 * generation_counts.h. */
#include "server/workers/generation_counts.h"

#include <string.h>

struct generation_row *generation_counts_row(struct generation_counts *counts,
                                             unsigned generation) {
    unsigned at = 0;
    while (at < counts->count && counts->rows[at].generation > generation)
        at++;
    if (at < counts->count && counts->rows[at].generation == generation)
        return &counts->rows[at];
    if (counts->count == GENERATION_COUNTS_MOST)
        return &counts->rows[GENERATION_COUNTS_MOST - 1];
    for (unsigned i = counts->count++; i > at; i--)
        counts->rows[i] = counts->rows[i - 1];
    counts->rows[at] = (struct generation_row){.generation = generation};
    return &counts->rows[at];
}

void generation_counts_add_timers(struct generation_counts *counts, const char *where,
                                  unsigned generation, uint64_t timers) {
    size_t len = strlen(where);
    if (len >= GENERATION_COUNTS_PLACE_BYTES)
        where += len - GENERATION_COUNTS_PLACE_BYTES + 1; /* the line number is at the end */
    for (unsigned i = 0; i < counts->place_count; i++) {
        struct timer_place *place = &counts->places[i];
        if (place->generation == generation && strcmp(place->where, where) == 0) {
            place->timers += timers;
            return;
        }
    }
    if (counts->place_count == GENERATION_COUNTS_MOST_PLACES) {
        counts->elsewhere += timers;
        return;
    }
    struct timer_place *place = &counts->places[counts->place_count++];
    *place = (struct timer_place){.generation = generation, .timers = timers};
    strcpy(place->where, where);
}

void generation_counts_add(struct generation_counts *counts,
                           const struct generation_counts *other) {
    for (unsigned i = 0; i < other->count; i++) {
        struct generation_row *row = generation_counts_row(counts, other->rows[i].generation);
        row->connections += other->rows[i].connections;
        row->waiting += other->rows[i].waiting;
        row->timers += other->rows[i].timers;
    }
    for (unsigned i = 0; i < other->place_count; i++)
        generation_counts_add_timers(counts, other->places[i].where, other->places[i].generation,
                                     other->places[i].timers);
    counts->elsewhere += other->elsewhere;
}
