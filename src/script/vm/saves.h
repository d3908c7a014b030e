/* saves.h -- for --watch: were scripts saved, and is the change complete?
 *
 * lua/tidewire/watch decides that, in a Lua state of its own. Blocking file system calls; one
 * thread. Does not know when to look. */
#ifndef TIDEWIRE_SCRIPT_VM_SAVES_H
#define TIDEWIRE_SCRIPT_VM_SAVES_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct saves;

/* `since`: when the app began to load, in seconds of Unix time. The loop is borrowed. */
struct saves *saves_new(uv_loop_t *loop, double since);
void saves_free(struct saves *saves);

/* A load has ended, or has failed: these are the scripts that it asked for, one a line. */
void saves_set_sources(struct saves *saves, const char *sources);
/* A load begins at this moment, in seconds of Unix time: saves before it do not count any more. */
void saves_before_load(struct saves *saves, double since);

struct saves_result {
    bool is_changing; /* files have changed, and must settle first */
    const char *file; /* the first of a complete change; NULL: none; borrowed until the next call */
    int64_t others;   /* how many others have changed */
};

/* Compares the files with those that were loaded. `now_ms`: of any clock. */
struct saves_result saves_look(struct saves *saves, uint64_t now_ms);

#endif
