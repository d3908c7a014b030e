/* fuzz_utf8.c -- UTF-8 against a reader that follows the table of RFC 3629 section 4, byte by byte,
 * at each of eight alignments. */
#include "fuzz.h"

#include "base/utf8.h"

static bool is_between(uint8_t byte, unsigned low, unsigned high) {
    return byte >= low && byte <= high;
}

/* The length of the sequence at the front; 0: there is none. */
static size_t sequence(const uint8_t *b, size_t len) {
    if (len == 0)
        return 0;
    if (b[0] < 0x80)
        return 1;
    size_t n = is_between(b[0], 0xc2, 0xdf)   ? 2
               : is_between(b[0], 0xe0, 0xef) ? 3
               : is_between(b[0], 0xf0, 0xf4) ? 4
                                              : 0;
    if (n == 0 || len < n)
        return 0;
    unsigned low = b[0] == 0xe0 ? 0xa0 : b[0] == 0xf0 ? 0x90 : 0x80;
    unsigned high = b[0] == 0xed ? 0x9f : b[0] == 0xf4 ? 0x8f : 0xbf;
    if (!is_between(b[1], low, high))
        return 0;
    for (size_t i = 2; i < n; i++)
        if (!is_between(b[i], 0x80, 0xbf))
            return 0;
    return n;
}

static bool is_valid(const uint8_t *b, size_t len) {
    while (len > 0) {
        size_t n = sequence(b, len);
        if (n == 0)
            return false;
        b += n;
        len -= n;
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    bool valid = is_valid(data, size);
    for (size_t shift = 0; shift < 8; shift++) {
        char *bytes = malloc(size + shift + 1);
        if (size > 0)
            memcpy(bytes + 1 + shift, data, size);
        fuzz_check(utf8_valid(bytes + 1 + shift, size) == valid);
        free(bytes);
    }
    for (size_t i = 0; i < size; i++) {
        const char *at = (const char *)data + i;
        size_t n = utf8_sequence(at, size - i);
        fuzz_check(n == sequence(data + i, size - i));
        if (n > 0) {
            uint32_t character = utf8_character(at, n);
            fuzz_check(character <= 0x10ffff && (n > 1) == (character > 0x7f));
            utf8_is_unsafe(character);
        }
    }
    return 0;
}
