/* redis_pipeline.h -- commands that Redis has not answered: their bytes, and where their answers
 * go.
 *
 * The bytes stay until the answer is there, because a script that Redis has lost (SCRIPT FLUSH) is
 * loaded and called again, before all that was sent later. One thread; knows no socket. */
#ifndef TIDEWIRE_CLUSTER_REDIS_REDIS_PIPELINE_H
#define TIDEWIRE_CLUSTER_REDIS_REDIS_PIPELINE_H

#include "base/buffer.h"
#include "cluster/redis/redis.h"

/* All zeros is an empty one. */
struct redis_pipeline {
    struct buffer bytes;    /* of the commands, the oldest first */
    size_t sent;            /* how many of them were written */
    struct buffer awaiting; /* struct redis_awaited, in the same order */
    bool forgets;           /* bytes are dropped when they were written: nothing is repeated */
    /* Commands that are repeated when those that were sent before have been answered. */
    struct buffer again_bytes, again;
    size_t before; /* of them, so many are not answered */
    size_t limit;  /* bytes behind these are not written */
    bool holds;
};

struct redis_awaited {
    redis_reply_fn *on_reply;
    void *context;
    size_t len;       /* bytes of the command */
    unsigned repeats; /* how often it was sent again */
};

/* Adds a command. on_reply NULL: there is no answer of its own. */
void redis_pipeline_add(struct redis_pipeline *pipeline, unsigned argc, const struct slice *argv,
                        redis_reply_fn *on_reply, void *context);
/* The bytes that are to be written next. */
struct slice redis_pipeline_unsent(const struct redis_pipeline *pipeline);
void redis_pipeline_wrote(struct redis_pipeline *pipeline, size_t len);
/* The command that is answered next. on_reply is NULL: none is, or it was not written yet. */
struct redis_awaited redis_pipeline_first(const struct redis_pipeline *pipeline);
/* It is answered. */
void redis_pipeline_answered(struct redis_pipeline *pipeline);
/* It must be repeated. False: it was, more than once, so its error is an answer. */
bool redis_pipeline_repeat(struct redis_pipeline *pipeline);
/* Have all commands been answered that were sent before the first that is repeated? */
bool redis_pipeline_may_repeat(const struct redis_pipeline *pipeline);
/* Then: the commands that `prepare` adds go first, then the repeated ones, then the later ones. */
void redis_pipeline_send_again(struct redis_pipeline *pipeline, void (*prepare)(void *owner),
                               void *owner);
/* From now on bytes are dropped when they were written. */
void redis_pipeline_forget(struct redis_pipeline *pipeline);
/* Calls all that wait for an answer with NULL. */
void redis_pipeline_close(struct redis_pipeline *pipeline);

/* Does a command wait for its answer? */
static inline bool redis_pipeline_waits(const struct redis_pipeline *pipeline) {
    return pipeline->awaiting.len > 0 || pipeline->again.len > 0;
}

#endif
