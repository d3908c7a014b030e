/* compressor.h -- compresses messages for permessage-deflate (RFC 7692), by zlib.
 *
 * A compressor is one stream of zlib's. A pool has those of a worker, for messages that are
 * compressed without a context: they serve all connections and are made when they are first needed.
 * One thread at a time; knows no connections. */
#ifndef TIDEWIRE_CORE_FRAMES_COMPRESSOR_H
#define TIDEWIRE_CORE_FRAMES_COMPRESSOR_H

#include "core/frames/compression.h"
#include "core/frames/message.h"

#include <stdbool.h>

/* The stream of one connection whose context is kept. `window_bits`: 9 to 15; more than
 * COMPRESSOR_CONTEXT_BITS are not used. `level`: 1 to 9. */
enum { COMPRESSOR_CONTEXT_BITS = 12, COMPRESSOR_CONTEXT_MEMORY_LEVEL = 5 };
struct compressor;
struct compressor *compressor_new(unsigned window_bits, int level);
void compressor_free(struct compressor *compressor); /* accepts NULL */

/* A message around the compressed payload, with RSV1 set. NULL: its frame would not be shorter than
 * the plain one; the context begins anew then, because the client does not see that payload. */
struct message *compressor_run(struct compressor *compressor, enum opcode opcode,
                               const void *payload, size_t len);

/* The last message does not reach the client: later ones must not refer to it. */
void compressor_reset(struct compressor *compressor);

struct compressor_pool;
struct compressor_pool *compressor_pool_new(void);
void compressor_pool_free(struct compressor_pool *pool); /* accepts NULL */

/* The same without a context, for a client that allows so many bits of window (9 to 15). `key` as
 * of message_new_keyed(), or no bytes. */
struct message *compressor_pool_run(struct compressor_pool *pool, unsigned window_bits, int level,
                                    enum opcode opcode, const void *payload, size_t len,
                                    struct slice key);

/* The window that compressor_pool_run() uses for a payload of this length. */
unsigned compressor_pool_bits(unsigned window_bits, size_t len);

#endif
