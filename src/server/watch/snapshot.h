/* snapshot.h -- how files were at one moment, to see later which have changed.
 *
 * Of the scripts that an app was loaded from, of those that were looked for and not found, and of
 * all others in the same folders. Looks at each by its name, through whatever links there are.
 * Blocking file system calls; owns its memory; any thread. Does not know when to look. */
#ifndef TIDEWIRE_SERVER_WATCH_SNAPSHOT_H
#define TIDEWIRE_SERVER_WATCH_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>

struct snapshot;

/* Of these files, one a line, there or not, and of those ending in ".lua" in their folders, but for
 * hidden ones and what editors put beside a file. */
struct snapshot *snapshot_take(const char *sources);
void snapshot_free(struct snapshot *snapshot); /* accepts NULL */

/* For one that was taken of other files than the one before: what both have is as it was then, and
 * what is new to it and was written since that time (seconds of Unix time) will count as changed.
 * `old` may be NULL. */
void snapshot_inherit(struct snapshot *snapshot, const struct snapshot *old, double since);

/* What differs. */
struct difference {
    size_t changed; /* files that are there and were not, or were otherwise */
    size_t gone;    /* sources that were there */
    /* The first that changed, else the first that is gone; NULL: none. It is the newer one's. */
    const char *file;
};

struct difference snapshot_compare(const struct snapshot *old, const struct snapshot *newer);

#endif
