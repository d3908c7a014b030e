/* fuzz_chunked.c -- a request body in chunks.
 *
 * Input: two bytes decide the pieces in which it arrives, one the limit of the body. The rest is
 * the body. Data and result must not depend on the pieces. */
#include "fuzz.h"

#include "net/http/chunked.h"

struct outcome {
    int result;
    size_t data_len, used;
    char data[8192];
};

static void decode(const uint8_t *bytes, size_t len, uint64_t max, struct fuzz_pieces pieces,
                   struct outcome *out) {
    struct chunked chunked = {0};
    out->result = 0;
    out->data_len = out->used = 0;
    for (size_t at = 0, n; at < len && out->result == 0; at += n) {
        n = fuzz_next_piece(&pieces, len - at);
        char *piece = fuzz_copy(bytes + at, n);
        size_t body = 0, used = 0;
        out->result = chunked_decode(&chunked, piece, n, max, &body, &used);
        if (out->result >= 0) {
            fuzz_check(body <= used && used <= n && (out->result == 1 || used == n));
            fuzz_check(memcmp(piece + used, bytes + at + used, n - used) == 0);
            fuzz_check(out->data_len + body <= max && out->data_len + body <= sizeof out->data);
            memcpy(out->data + out->data_len, piece, body);
            out->data_len += body;
            out->used += used;
        } else {
            fuzz_check(out->result == -400 || out->result == -413 || out->result == -431);
            fuzz_check(chunked.error != NULL);
        }
        free(piece);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct outcome whole, parts;
    struct fuzz_input input = {data, size};
    struct fuzz_pieces pieces = fuzz_pieces_of(&input);
    uint64_t max = fuzz_byte(&input) * 4;
    if (input.left > sizeof whole.data)
        return 0;
    decode(input.at, input.left, max, (struct fuzz_pieces){0}, &whole);
    decode(input.at, input.left, max, pieces, &parts);
    fuzz_check(whole.result == parts.result);
    if (whole.result >= 0) {
        fuzz_check(whole.used == parts.used && whole.data_len == parts.data_len);
        fuzz_check(memcmp(whole.data, parts.data, whole.data_len) == 0);
    }
    return 0;
}
