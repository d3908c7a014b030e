/* fuzz.h -- what the fuzz targets share: numbers and pieces taken from an input, and checks.
 *
 * A target is a file fuzz_NAME.c with LLVMFuzzerTestOneInput(). libFuzzer calls it with inputs that
 * it makes up (preset `fuzz`), replay.c with files (all other presets). A target reports a fault by
 * a failed fuzz_check(), or by a sanitizer. Nothing is kept between two inputs, so that each input
 * repeats its fault alone. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Optional: called once, before the first input. */
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* For LLVMFuzzerInitialize() of a target that keeps memory between inputs, such as a Lua state:
 * leaks are looked for at the end of the program, not after each input, which would take most of
 * the time. */
static inline void fuzz_no_leak_check(int *argc, char ***argv) {
    static char option[] = "-detect_leaks=0";
    static char *more[64];
    if (*argc + 2 > (int)(sizeof more / sizeof *more))
        return;
    memcpy(more, *argv, (size_t)*argc * sizeof *more);
    more[(*argc)++] = option;
    more[*argc] = NULL;
    *argv = more;
}

/* Like assert(), which a build may leave out. */
#define fuzz_check(condition)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);              \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* The rest of an input. */
struct fuzz_input {
    const uint8_t *at;
    size_t left;
};

/* The next byte; 0 behind the end. */
static inline unsigned fuzz_byte(struct fuzz_input *input) {
    if (input->left == 0)
        return 0;
    input->left--;
    return *input->at++;
}

/* A number below `limit`, from one byte. */
static inline unsigned fuzz_below(struct fuzz_input *input, unsigned limit) {
    return fuzz_byte(input) % limit;
}

/* A copy in memory of exactly this size, so that a sanitizer sees a read behind its end. The caller
 * frees it. */
static inline char *fuzz_copy(const void *bytes, size_t len) {
    char *copy = malloc(len > 0 ? len : 1);
    if (len > 0)
        memcpy(copy, bytes, len);
    return copy;
}

/* The same as a C string; it ends at the first NUL of the bytes. */
static inline char *fuzz_text(const void *bytes, size_t len) {
    char *text = malloc(len + 1);
    if (len > 0)
        memcpy(text, bytes, len);
    text[len] = '\0';
    return text;
}

static inline bool fuzz_is_within(struct slice part, const char *bytes, size_t len) {
    return part.len == 0 || (part.bytes >= bytes && part.bytes + part.len <= bytes + len);
}

static inline bool fuzz_same(struct slice a, struct slice b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.bytes, b.bytes, a.len) == 0);
}

/* How the bytes of an input arrive: in one piece (0), each alone (1), or in pieces that the number
 * decides. */
struct fuzz_pieces {
    uint32_t how, state;
};

/* From two bytes of the input. */
static inline struct fuzz_pieces fuzz_pieces_of(struct fuzz_input *input) {
    uint32_t how = fuzz_byte(input);
    how |= fuzz_byte(input) << 8;
    return (struct fuzz_pieces){.how = how, .state = how};
}

/* The length of the next piece: at least 1 and at most `left`, which is at least 1. */
static inline size_t fuzz_next_piece(struct fuzz_pieces *pieces, size_t left) {
    if (pieces->how == 0)
        return left;
    if (pieces->how == 1)
        return 1;
    pieces->state = pieces->state * 1664525u + 1013904223u;
    uint32_t number = pieces->state >> 8;
    size_t len = 1 + (number & 0xffff) % (number >> 16 & 1 ? 4 : left);
    return len < left ? len : left;
}

#endif
