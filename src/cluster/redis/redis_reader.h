/* redis_reader.h -- reads what Redis answers (RESP2), with hiredis and with limits.
 *
 * Redis may be any server, so everything has a limit: the bytes of a reply, its depth, a line.
 * A reply's memory is one block or a few, freed at once. One thread. */
#ifndef TIDEWIRE_CLUSTER_REDIS_REDIS_READER_H
#define TIDEWIRE_CLUSTER_REDIS_REDIS_READER_H

#include "base/slice.h"

#include <hiredis/hiredis.h>
#include <stdbool.h>

/* Bytes of one reply, of its elements too. A script that answers with many messages counts them. */
enum { REDIS_REPLY_BYTES = 256 * 1024 * 1024 };
enum { REDIS_REPLY_DEPTH = 7, REDIS_LINE_BYTES = 64 * 1024 };

struct redis_reader;

/* Handles a reply, which is borrowed, and does not free the reader. False: nothing more is read. */
typedef bool redis_reader_fn(void *context, const struct redisReply *reply);

/* `max_bytes`: REDIS_REPLY_BYTES, or fewer in tests. */
struct redis_reader *redis_reader_new(size_t max_bytes);
void redis_reader_free(struct redis_reader *reader); /* accepts NULL */

/* Reads bytes that have come; calls on_reply for each reply that is whole. Returns NULL, or why
 * the bytes are no replies: then nothing more can be read. NULL as well when on_reply has returned
 * false. */
const char *redis_reader_feed(struct redis_reader *reader, struct slice bytes,
                              redis_reader_fn *on_reply, void *context);

/* ---- looking at replies; NULL is no reply ---- */

static inline bool redis_reply_is(const struct redisReply *reply, int type) {
    return reply != NULL && reply->type == type;
}
/* The text of a string, a status or an error; empty for others. */
struct slice redis_reply_text(const struct redisReply *reply);
/* The element of an array; NULL: there is none. */
const struct redisReply *redis_reply_at(const struct redisReply *reply, size_t index);

#endif
