/* compressor.c -- compresses messages by zlib. See compressor.h.
 *
 * zlib clears its hash table for each message without a context: 64 KiB at the usual sizes. So
 * short messages have streams with a small window and a table of 8 KiB; they lose nothing, because
 * they fit into the window, and clients whose windows differ share them. */
#include "core/frames/compressor.h"

#include "base/mem.h"

#include <zlib.h>

/* Messages of up to so many bytes use a stream with the small window: zlib's matches reach back to
 * 262 bytes less than the window has. */
enum { SMALL_BITS = 12, SMALL_BYTES = (1 << SMALL_BITS) - 262 };
enum { SMALL_MEMORY_LEVEL = 5, LARGE_MEMORY_LEVEL = 8 };

/* zlib counts bytes in 32 bits; longer payloads stay plain. */
enum { PAYLOAD_MAX = 1 << 30 };

struct compressor {
    z_stream z;
    int level;
    bool used; /* since its last reset */
};

static voidpf allocate(voidpf opaque, uInt items, uInt size) {
    (void)opaque;
    return mem_zalloc((size_t)items * size);
}

static void release(voidpf opaque, voidpf memory) {
    (void)opaque;
    mem_free(memory);
}

static struct compressor *new_compressor(unsigned window_bits, int memory_level, int level) {
    struct compressor *compressor = mem_zalloc(sizeof *compressor);
    compressor->z.zalloc = allocate;
    compressor->z.zfree = release;
    compressor->level = level;
    /* negative: raw deflate, without zlib's header (RFC 7692 section 7.2.1) */
    int result = deflateInit2(&compressor->z, level, Z_DEFLATED, -(int)window_bits, memory_level,
                              Z_DEFAULT_STRATEGY);
    if (result != Z_OK) { /* no memory is no case: allocate() does not fail */
        mem_free(compressor);
        return NULL;
    }
    return compressor;
}

struct compressor *compressor_new(unsigned window_bits, int level) {
    if (window_bits > COMPRESSOR_CONTEXT_BITS)
        window_bits = COMPRESSOR_CONTEXT_BITS;
    return new_compressor(window_bits, COMPRESSOR_CONTEXT_MEMORY_LEVEL, level);
}

void compressor_free(struct compressor *compressor) {
    if (compressor == NULL)
        return;
    deflateEnd(&compressor->z);
    mem_free(compressor);
}

void compressor_reset(struct compressor *compressor) {
    if (!compressor->used)
        return;
    deflateReset(&compressor->z);
    compressor->used = false;
}

/* Compresses the payload into `out`, which has room for it and the tail. Returns the compressed
 * bytes without the tail, fewer than `len`; 0: they would be no fewer. */
static size_t compress_into(struct compressor *compressor, const void *payload, size_t len,
                            unsigned char *out) {
    z_stream *z = &compressor->z;
    z->next_in = (z_const Bytef *)(uintptr_t)payload;
    z->avail_in = (uInt)len;
    z->next_out = out;
    z->avail_out = (uInt)(len + COMPRESSION_TAIL_BYTES);
    compressor->used = true;
    /* with room left, the flush is complete, and ends with the tail */
    if (deflate(z, Z_SYNC_FLUSH) != Z_OK || z->avail_out == 0)
        return 0;
    return len - z->avail_out;
}

static struct message *run(struct compressor *compressor, enum opcode opcode, const void *payload,
                           size_t len, struct slice key) {
    /* the bytes are there twice for a moment, in `out` and in the message */
    if (len == 0 || len > PAYLOAD_MAX || !mem_has(2 * len))
        return NULL;
    unsigned char *out = mem_alloc(len + COMPRESSION_TAIL_BYTES);
    size_t compressed = compress_into(compressor, payload, len, out);
    struct message *message = NULL;
    if (compressed > 0)
        message =
            message_new_keyed((enum opcode)(opcode | OPCODE_COMPRESSED), out, compressed, key);
    else
        compressor_reset(compressor);
    mem_free(out);
    return message;
}

struct message *compressor_run(struct compressor *compressor, enum opcode opcode,
                               const void *payload, size_t len) {
    return run(compressor, opcode, payload, len, (struct slice){NULL, 0});
}

/* ---- pools ---- */

enum { SIZES = COMPRESSION_BITS_MAX - COMPRESSION_ZLIB_BITS_MIN + 1 };

struct compressor_pool {
    struct compressor *small[SIZES], *large[SIZES]; /* by their windows; NULL: not made yet */
};

struct compressor_pool *compressor_pool_new(void) {
    return mem_zalloc(sizeof(struct compressor_pool));
}

void compressor_pool_free(struct compressor_pool *pool) {
    if (pool == NULL)
        return;
    for (int i = 0; i < SIZES; i++) {
        compressor_free(pool->small[i]);
        compressor_free(pool->large[i]);
    }
    mem_free(pool);
}

unsigned compressor_pool_bits(unsigned window_bits, size_t len) {
    return len <= SMALL_BYTES && window_bits > SMALL_BITS ? SMALL_BITS : window_bits;
}

static struct compressor *pool_compressor(struct compressor_pool *pool, unsigned window_bits,
                                          int level, size_t len) {
    bool small = len <= SMALL_BYTES;
    unsigned bits = compressor_pool_bits(window_bits, len);
    struct compressor **place =
        &(small ? pool->small : pool->large)[bits - COMPRESSION_ZLIB_BITS_MIN];
    if (*place == NULL)
        *place = new_compressor(bits, small ? SMALL_MEMORY_LEVEL : LARGE_MEMORY_LEVEL, level);
    compressor_reset(*place);
    if ((*place)->level != level && deflateParams(&(*place)->z, level, Z_DEFAULT_STRATEGY) == Z_OK)
        (*place)->level = level;
    return *place;
}

struct message *compressor_pool_run(struct compressor_pool *pool, unsigned window_bits, int level,
                                    enum opcode opcode, const void *payload, size_t len,
                                    struct slice key) {
    return run(pool_compressor(pool, window_bits, level, len), opcode, payload, len, key);
}
