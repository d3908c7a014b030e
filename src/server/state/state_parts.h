/* state_parts.h -- private to state.c, which reads a state at the start, and state_save.c, which
 * writes one at the end. */
#ifndef TIDEWIRE_SERVER_STATE_STATE_PARTS_H
#define TIDEWIRE_SERVER_STATE_STATE_PARTS_H

#include "base/clock.h"
#include "base/log/log.h"
#include "server/state/state.h"
#include "server/state/state_lock.h"
#include "server/state/state_writer.h"

#include <uv.h>

enum { PROBLEM_BYTES = 512, NAMES_BYTES = 1024, MAX_REASONS = 8 };

/* A table of tw.keep in the file. */
struct state_kept {
    unsigned worker;
    struct slice name, value;
};

/* What a file has. */
struct state_counts {
    size_t sessions;
    size_t rooms_bytes;             /* of what the rooms remember */
    size_t stores, tables, dropped; /* dropped: tables of workers that there are no more */
    struct store_unpacked keys;
};

/* What is left out, by name. */
struct state_names {
    char names[NAMES_BYTES]; /* different ones, as long as there is room */
    size_t len, more;        /* `more`: values that are not named */
};

/* Sessions that have no place, for one reason. */
struct state_refused {
    const char *why;
    size_t count;
};

struct state {
    struct shared *shared;
    struct bus *bus;
    uv_mutex_t lock; /* of state_take() and state_refuse_session() */
    char *file;      /* an absolute name; NULL: the app has not named one */
    bool is_usable;
    bool is_expected; /* the process before passes the state */
    char problem[PROBLEM_BYTES];
    struct state_lock running;
    struct state_file read;
    uint64_t took_ns;
    struct state_counts counts;
    struct state_kept *kept;
    struct state_session *sessions;
    struct slice rooms;
    struct state_refused refused[MAX_REASONS];
    bool is_passed; /* the process before has passed it */
    bool is_moved;  /* FILE is FILE.taken, until the server serves */
    /* while a state is written */
    struct state_writer *writer;
    uint64_t began_ns;
    struct state_counts written;
    char missing[128];   /* workers that have not answered */
    char part_name[128]; /* of the table or the session that is written, for the log */
    struct state_names left_out;
    struct plain_data_left_out omits;
};

static inline uint64_t state_wall_ms(void) {
    return (uint64_t)(clock_wall_seconds() * 1000);
}

/* state.c: adds a name, if it is not there; without room for it, counts it. */
void state_add_name(struct state_names *list, const char *name);
/* Adds what a file has to a line of the log. */
void state_log_counts(struct log_line *line, const struct state_counts *counts);

#endif
