/* decompressor.c -- decompresses messages by zlib. See decompressor.h. */
#include "core/frames/decompressor.h"

#include "base/mem.h"

#include <stdint.h>
#include <zlib.h>

/* Game JSON is a quarter to a tenth of its size. */
enum { USUAL_RATIO = 4, OUT_MIN = 512 };

/* Input is fed in steps. No compressor makes more than a half more bytes of a message than it has,
 * but for some at its beginning. A message above that costs much time and holds little, such as
 * blocks with a table of codes each. */
enum { STEP_BYTES = 16 * 1024, EXCESS_BYTES = 64 * 1024 };

/* Bits of zlib's `data_type` after a call: unused bits of the last byte; between two blocks. */
enum { UNUSED_BITS = 63, BETWEEN_BLOCKS = 128 };

struct decompressor {
    z_stream z;
    bool keeps_context;
    bool ended; /* the last block was marked as final: the next one begins a new stream */
};

/* The decompressed bytes so far. */
struct output {
    unsigned char *bytes;
    size_t len, capacity, max;
};

static voidpf allocate(voidpf opaque, uInt items, uInt size) {
    (void)opaque;
    return mem_zalloc((size_t)items * size);
}

static void release(voidpf opaque, voidpf memory) {
    (void)opaque;
    mem_free(memory);
}

struct decompressor *decompressor_new(unsigned window_bits, bool keeps_context) {
    struct decompressor *decompressor = mem_zalloc(sizeof *decompressor);
    decompressor->keeps_context = keeps_context;
    decompressor->z.zalloc = allocate;
    decompressor->z.zfree = release;
    /* A client's zlib uses 9 bits for 8: it cannot do less. */
    if (window_bits < COMPRESSION_ZLIB_BITS_MIN)
        window_bits = COMPRESSION_ZLIB_BITS_MIN;
    inflateInit2(&decompressor->z, -(int)window_bits); /* negative: raw deflate */
    return decompressor;
}

void decompressor_free(struct decompressor *decompressor) {
    if (decompressor == NULL)
        return;
    inflateEnd(&decompressor->z);
    mem_free(decompressor);
}

/* Makes room for more output, one byte above the limit at most. False: there is no memory. */
static bool grow(struct output *out, size_t wanted) {
    size_t capacity = wanted > out->max ? out->max + 1 : wanted;
    if (!mem_has(capacity))
        return false;
    out->capacity = capacity;
    out->bytes = mem_realloc(out->bytes, capacity);
    return true;
}

/* Sets zlib's next output. It counts in 32 bits. */
static void offer(z_stream *z, const struct output *out) {
    size_t room = out->capacity - out->len;
    z->next_out = out->bytes + out->len;
    z->avail_out = room > UINT32_MAX ? UINT32_MAX : (uInt)room;
}

/* A final block does not end the message (RFC 7692 section 7.2.3.5): others may follow, which refer
 * to the window as it is. */
static void begin_again(struct decompressor *decompressor) {
    inflateResetKeep(&decompressor->z);
    decompressor->ended = false;
}

/* Decompresses these bytes. */
static enum decompressor_result feed(struct decompressor *decompressor, const void *bytes,
                                     size_t len, struct output *out) {
    z_stream *z = &decompressor->z;
    z->next_in = (z_const Bytef *)(uintptr_t)bytes;
    z->avail_in = (uInt)len;
    while (z->avail_in > 0 || z->avail_out == 0) {
        if (decompressor->ended && z->avail_in == 0)
            break;
        if (decompressor->ended)
            begin_again(decompressor);
        if (out->len == out->capacity && !grow(out, out->capacity * 2))
            return DECOMPRESSOR_NO_MEMORY;
        offer(z, out);
        uInt room = z->avail_out;
        int result = inflate(z, Z_SYNC_FLUSH);
        out->len += room - z->avail_out;
        if (out->len > out->max)
            return DECOMPRESSOR_TOO_BIG;
        decompressor->ended = result == Z_STREAM_END;
        /* Z_BUF_ERROR: nothing more waits in the stream; more input comes, or is missed below */
        if (result != Z_OK && result != Z_STREAM_END && (result != Z_BUF_ERROR || z->avail_in > 0))
            return DECOMPRESSOR_INVALID;
    }
    return DECOMPRESSOR_OK;
}

/* Is the message complete? Without this check a truncated one would be taken for a shorter one. */
static bool is_complete(const struct decompressor *decompressor) {
    int state = decompressor->z.data_type;
    return decompressor->ended || (state & (UNUSED_BITS | BETWEEN_BLOCKS)) == BETWEEN_BLOCKS;
}

static enum decompressor_result inflate_all(struct decompressor *decompressor, const void *payload,
                                            size_t len, struct output *out) {
    enum decompressor_result result = DECOMPRESSOR_OK;
    for (size_t at = 0; at < len && result == DECOMPRESSOR_OK; at += STEP_BYTES) {
        size_t step = len - at < STEP_BYTES ? len - at : STEP_BYTES;
        result = feed(decompressor, (const char *)payload + at, step, out);
        if (result == DECOMPRESSOR_OK && at + step > out->len + out->len / 2 + EXCESS_BYTES)
            result = DECOMPRESSOR_TOO_BIG;
    }
    if (result == DECOMPRESSOR_OK && !decompressor->ended)
        result = feed(decompressor, COMPRESSION_TAIL, COMPRESSION_TAIL_BYTES, out);
    if (result == DECOMPRESSOR_OK && !is_complete(decompressor))
        result = DECOMPRESSOR_INVALID;
    return result;
}

enum decompressor_result decompressor_run(struct decompressor *decompressor, const void *payload,
                                          size_t len, size_t max, char **out, size_t *out_len) {
    struct output output = {.max = max};
    *out = NULL;
    *out_len = 0;
    /* What zlib returns for an empty message behind another one, without the tail, is nothing. */
    if (len == 0)
        return DECOMPRESSOR_OK;
    if (len > UINT32_MAX)
        return DECOMPRESSOR_TOO_BIG;
    if (!grow(&output, len * USUAL_RATIO < OUT_MIN ? OUT_MIN : len * USUAL_RATIO))
        return DECOMPRESSOR_NO_MEMORY;
    decompressor->z.avail_out = 1; /* any but 0: nothing waits in the stream */
    enum decompressor_result result = inflate_all(decompressor, payload, len, &output);
    if (!decompressor->keeps_context) {
        inflateReset(&decompressor->z);
        decompressor->ended = false;
    }
    if (result != DECOMPRESSOR_OK) {
        mem_free(output.bytes);
        return result;
    }
    *out = (char *)output.bytes;
    *out_len = output.len;
    return DECOMPRESSOR_OK;
}
