/* census.c -- how many connections and waiting hooks hold which code. See census.h. */
#include "server/census.h"

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
    census->rows[at] = (struct census_row){generation, 0, 0};
    return &census->rows[at];
}

void census_add(struct census *census, const struct census *other) {
    for (unsigned i = 0; i < other->count; i++) {
        struct census_row *row = census_row(census, other->rows[i].generation);
        row->connections += other->rows[i].connections;
        row->waiting += other->rows[i].waiting;
    }
}
