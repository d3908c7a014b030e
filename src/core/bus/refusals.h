/* refusals.h -- how often the server has refused, closed or held back clients, by reason and
 * endpoint.
 *
 * One table for all workers. The reasons are the program's own texts and the endpoints are patterns
 * of the app, so no client can add an entry; their number has a limit all the same. Any thread. */
#ifndef TIDEWIRE_CORE_BUS_REFUSALS_H
#define TIDEWIRE_CORE_BUS_REFUSALS_H

#include "base/slice.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum refusal_kind {
    REFUSAL_REQUEST, /* a request, a handshake or a socket; the code is its HTTP status, or that of
                        a Close frame; 0: no answer */
    REFUSAL_CLOSE,   /* an open connection; the code is that of its Close frame */
    REFUSAL_RATE,    /* a message above the option `rate`; no code */
    REFUSAL_BLOCKED, /* the clients of a worker, by a turn that took too long: the reason is the
                        hook, or ""; no code */
};

/* Entries at most; what does not fit is counted as "other", without an endpoint. */
enum { REFUSALS_MAX = 4096 };

struct refusals;

/* A count, for reading. */
struct refusal {
    enum refusal_kind kind;
    unsigned code;
    uint64_t count;
    const char *reason, *endpoint; /* endpoint: a pattern, or "": it is not known */
};

struct refusals *refusals_new(void);
void refusals_free(struct refusals *refusals); /* accepts NULL */

/* The app has this endpoint. */
void refusals_add_endpoint(struct refusals *refusals, const char *pattern);

/* The counter of these refusals, which lives as long as `refusals`. The label is the reason in
 * lower case with "_" for all but letters and digits. `endpoint` is a pattern, or NULL. */
_Atomic uint64_t *refusals_counter(struct refusals *refusals, enum refusal_kind kind, unsigned code,
                                   const char *reason, const char *endpoint);
/* Counts one; `refusals` may be NULL. */
void refusals_count(struct refusals *refusals, enum refusal_kind kind, unsigned code,
                    const char *reason, const char *endpoint);
/* The same for a request that has not reached an endpoint: the one whose pattern its path has. */
void refusals_count_path(struct refusals *refusals, unsigned status, const char *reason,
                         struct slice path);

/* Calls f for each count, in the order of their first refusals. */
void refusals_each(struct refusals *refusals, void (*f)(void *user, const struct refusal *refusal),
                   void *user);

#endif
