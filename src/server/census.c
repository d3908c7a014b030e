/* census.c -- how many connections and waiting hooks hold which code. See census.h. */
#include "server/census.h"

#include <string.h>

struct census_row *census_row(struct census *census, unsigned generation) {
    unsigned at = 0;
    while (at < census->count && census->rows[at].generation > generation)
        at++;
    if (at < census->count && census->rows[at].generation == generation)
        return &census->rows[at];
    if (census->count == CENSUS_MOST)
        return &census->rows[CENSUS_MOST - 1];
    for (unsigned i = census->count++; i > at; i--)
        census->rows[i] = census->rows[i - 1];
    census->rows[at] = (struct census_row){.generation = generation};
    return &census->rows[at];
}

void census_timers(struct census *census, const char *where, unsigned generation, uint64_t timers) {
    size_t len = strlen(where);
    if (len >= CENSUS_PLACE_BYTES)
        where += len - CENSUS_PLACE_BYTES + 1; /* the line's number stands at the end */
    for (unsigned i = 0; i < census->place_count; i++) {
        struct census_place *place = &census->places[i];
        if (place->generation == generation && strcmp(place->where, where) == 0) {
            place->timers += timers;
            return;
        }
    }
    if (census->place_count == CENSUS_MOST_PLACES) {
        census->elsewhere += timers;
        return;
    }
    struct census_place *place = &census->places[census->place_count++];
    *place = (struct census_place){.generation = generation, .timers = timers};
    strcpy(place->where, where);
}

void census_add(struct census *census, const struct census *other) {
    for (unsigned i = 0; i < other->count; i++) {
        struct census_row *row = census_row(census, other->rows[i].generation);
        row->connections += other->rows[i].connections;
        row->waiting += other->rows[i].waiting;
        row->timers += other->rows[i].timers;
    }
    for (unsigned i = 0; i < other->place_count; i++)
        census_timers(census, other->places[i].where, other->places[i].generation,
                      other->places[i].timers);
    census->elsewhere += other->elsewhere;
}
