/* snapshot.h -- the state of files at one moment, to find out later which have changed.
 *
 * Has the scripts that an app was loaded from, the files that it looked for and did not find, and
 * all other scripts in the same directories. Reads each by its name, through symbolic links.
 * Blocking file system calls; owns its memory; any thread. Does not know when to look. */
#ifndef TIDEWIRE_SERVER_WATCH_SNAPSHOT_H
#define TIDEWIRE_SERVER_WATCH_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>

struct snapshot;

/* Has these files, one a line, whether they exist or not, and the files that end in ".lua" in their
 * directories, but for hidden files and those that editors put beside a file. */
struct snapshot *snapshot_take(const char *sources);
void snapshot_free(struct snapshot *snapshot); /* accepts NULL */

/* For a snapshot of other files than the one before, `old`, which may be NULL. A file that both
 * have keeps its old state. A file that only `snapshot` has will count as changed if it was
 * modified since that time, in seconds of Unix time. */
void snapshot_carry_over(struct snapshot *snapshot, const struct snapshot *old, double since);

struct snapshot_diff {
    size_t changed; /* files that exist, and did not exist before or had another state */
    size_t gone;    /* sources that existed before, and do not now */
    /* The first that changed, else the first that is gone; NULL: none. Borrowed from `newer`. */
    const char *file;
};

struct snapshot_diff snapshot_compare(const struct snapshot *old, const struct snapshot *newer);

#endif
