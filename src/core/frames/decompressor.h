/* decompressor.h -- decompresses messages of permessage-deflate (RFC 7692), by zlib.
 *
 * A decompressor is one stream of zlib's: of a worker, for messages without a context, or of one
 * connection whose client keeps its context. One thread at a time; knows no connections. */
#ifndef TIDEWIRE_CORE_FRAMES_DECOMPRESSOR_H
#define TIDEWIRE_CORE_FRAMES_DECOMPRESSOR_H

#include "core/frames/compression.h"

#include <stdbool.h>
#include <stddef.h>

enum decompressor_result {
    DECOMPRESSOR_OK,
    DECOMPRESSOR_TOO_BIG,   /* the message has more than `max` bytes, or much fewer than its payload
                             */
    DECOMPRESSOR_NO_MEMORY, /* malloc has no room for it */
    DECOMPRESSOR_INVALID    /* it is not deflate data, or it is truncated */
};

/* `window_bits`: the client's window, 8 to 15. `keeps_context`: messages refer to earlier ones. */
struct decompressor;
struct decompressor *decompressor_new(unsigned window_bits, bool keeps_context);
void decompressor_free(struct decompressor *decompressor); /* accepts NULL */

/* Decompresses the payload of a whole message, in steps: never has more than `max` + 1 bytes of
 * memory for it. DECOMPRESSOR_OK: the caller frees *out (mem_free), which may be NULL for an empty
 * message. After another result the stream's context is lost: the connection must be closed. */
enum decompressor_result decompressor_run(struct decompressor *decompressor, const void *payload,
                                          size_t len, size_t max, char **out, size_t *out_len);

#endif
