/* fuzz_inflate.c -- compressed messages: what is decompressed stays below its limit, and what is
 * compressed is decompressed to the same.
 *
 * Input: one byte for the client's window and whether its context is kept, one for the limit; then
 * messages, each behind its length. */
#include "fuzz.h"

#include "base/mem.h"
#include "core/frames/compressor.h"
#include "core/frames/decompressor.h"

/* The payload of a frame that compressor_run() has made. */
static struct slice payload_of(const struct message *message) {
    const uint8_t *bytes = (const uint8_t *)message->bytes;
    size_t len = bytes[1] & 127, header = len < 126 ? 2 : len == 126 ? 4 : 10;
    fuzz_check((bytes[0] & 0x70) == 0x40);
    return (struct slice){(const char *)bytes + header, message->len - header};
}

static void check_round_trip(struct message *message, struct decompressor *decompressor,
                             const char *text, size_t len) {
    char *out = NULL;
    size_t out_len = 0;
    if (message == NULL) /* it would not be shorter */
        return;
    struct slice payload = payload_of(message);
    char *copy = fuzz_copy(payload.bytes, payload.len);
    fuzz_check(decompressor_run(decompressor, copy, payload.len, len, &out, &out_len) ==
               DECOMPRESSOR_OK);
    fuzz_check(out_len == len && memcmp(out, text, len) == 0);
    free(copy);
    mem_free(out);
    if (len > 0) { /* a limit that is one byte too low */
        out = NULL;
        struct decompressor *other = decompressor_new(15, false);
        copy = fuzz_copy(payload.bytes, payload.len);
        fuzz_check(decompressor_run(other, copy, payload.len, len - 1, &out, &out_len) !=
                   DECOMPRESSOR_OK);
        free(copy);
        decompressor_free(other);
    }
    message_unref(message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct compressor_pool *pool;
    if (pool == NULL)
        pool = compressor_pool_new();
    struct fuzz_input input = {data, size};
    unsigned flags = fuzz_byte(&input), bits = 8 + flags % 8, own_bits = bits < 9 ? 9 : bits;
    bool context = flags & 0x80;
    size_t max = fuzz_byte(&input) * 8;
    struct decompressor *client = decompressor_new(bits, context);
    struct decompressor *reader = decompressor_new(15, false);
    bool broken = false;
    while (input.left > 0) {
        size_t len = fuzz_byte(&input), out_len = 0;
        len = len < input.left ? len : input.left;
        char *payload = fuzz_copy(input.at, len), *out = NULL;
        if (!broken) {
            broken = decompressor_run(client, payload, len, max, &out, &out_len) != DECOMPRESSOR_OK;
            fuzz_check(broken || out_len <= max);
            if (!broken && out_len > 0)
                check_round_trip(compressor_pool_run(pool, own_bits, 1 + (int)flags % 9,
                                                     OPCODE_BINARY, out, out_len,
                                                     (struct slice){NULL, 0}),
                                 reader, out, out_len);
            if (!broken)
                mem_free(out);
        }
        check_round_trip(compressor_pool_run(pool, own_bits, 6, OPCODE_TEXT, payload, len,
                                             (struct slice){NULL, 0}),
                         reader, payload, len);
        free(payload);
        input.at += len;
        input.left -= len;
    }
    decompressor_free(client);
    decompressor_free(reader);
    return 0;
}
