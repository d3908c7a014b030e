/* packing.h -- numbers and strings as bytes and back, for data that outlives the process.
 *
 * A packed number has 7 bits in each byte, the lowest first; all bytes but the last have the bit
 * 0x80. A packed string is its length, as a number, and its bytes. The bytes are the same on every
 * machine. Owns nothing, any thread. */
#ifndef TIDEWIRE_BASE_PACKING_H
#define TIDEWIRE_BASE_PACKING_H

#include "base/buffer.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where packed bytes go. Its owner embeds it, and keeps the error of a failed write. */
struct sink {
    void (*write)(struct sink *sink, const void *bytes, size_t len);
};

/* A sink that appends to a buffer. */
struct buffer_sink {
    struct sink sink;
    struct buffer *out;
};

struct buffer_sink buffer_sink_of(struct buffer *out);

void pack_number(struct sink *sink, uint64_t number);
/* As 8 bytes, the lowest first: for numbers that use all bits. */
void pack_bits(struct sink *sink, uint64_t bits);
void pack_text(struct sink *sink, const void *bytes, size_t len);

/* Each takes a value from the beginning of `from`. False: it does not begin with one. A text is a
 * view of the same bytes. */
bool unpack_number(struct slice *from, uint64_t *number);
bool unpack_bits(struct slice *from, uint64_t *bits);
bool unpack_text(struct slice *from, struct slice *text);

#endif
