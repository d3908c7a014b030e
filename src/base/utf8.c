/* utf8.c -- is this text UTF-8, and which characters are in it? See utf8.h.
 *
 * Most text is ASCII, which is checked 64 bytes at a time. Other text is checked one sequence at a
 * time by the table of RFC 3629 §4, whose second byte alone shows overlong forms, surrogates and
 * values above U+10FFFF. */
#include "base/utf8.h"

#include <string.h>

#define HIGH_BITS UINT64_C(0x8080808080808080)

/* GCC and Clang make vector instructions of it where the processor has them. */
typedef uint64_t block __attribute__((vector_size(16)));

static uint64_t load(const unsigned char *p) {
    uint64_t word;
    memcpy(&word, p, sizeof(word));
    return word;
}

static block load_block(const unsigned char *p) {
    block b;
    memcpy(&b, p, sizeof(b));
    return b;
}

static bool is_tail(unsigned char byte) {
    return (byte & 0xC0) == 0x80;
}

/* The first byte at or after `p` that may not be ASCII; `end` when there is none. */
static const unsigned char *skip_ascii(const unsigned char *p, const unsigned char *end) {
    for (; end - p >= 64; p += 64) {
        block all = load_block(p) | load_block(p + 16) | load_block(p + 32) | load_block(p + 48);
        if ((all[0] | all[1]) & HIGH_BITS)
            break;
    }
    while (end - p >= 8 && !(load(p) & HIGH_BITS))
        p += 8;
    while (p < end && *p < 0x80)
        p++;
    return p;
}

/* Length of the well-formed sequence at `p`, which begins with a byte above 0x7F; 0: it is none. */
static size_t sequence(const unsigned char *p, size_t left) {
    unsigned char lead = p[0];
    if (lead < 0xC2 || lead > 0xF4) /* a tail byte, an overlong form, above U+10FFFF */
        return 0;
    if (lead < 0xE0)
        return left >= 2 && is_tail(p[1]) ? 2 : 0;
    if (lead < 0xF0) {
        if (left < 3 || !is_tail(p[1]) || !is_tail(p[2]))
            return 0;
        if (lead == 0xE0 && p[1] < 0xA0) /* overlong */
            return 0;
        if (lead == 0xED && p[1] > 0x9F) /* surrogates */
            return 0;
        return 3;
    }
    if (left < 4 || !is_tail(p[1]) || !is_tail(p[2]) || !is_tail(p[3]))
        return 0;
    if (lead == 0xF0 && p[1] < 0x90) /* overlong */
        return 0;
    if (lead == 0xF4 && p[1] > 0x8F) /* above U+10FFFF */
        return 0;
    return 4;
}

size_t utf8_sequence(const char *bytes, size_t len) {
    if (len == 0)
        return 0;
    unsigned char lead = (unsigned char)bytes[0];
    return lead < 0x80 ? 1 : sequence((const unsigned char *)bytes, len);
}

uint32_t utf8_character(const char *bytes, size_t len) {
    static const unsigned char masks[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t character = (unsigned char)bytes[0] & masks[len];
    for (size_t i = 1; i < len; i++)
        character = character << 6 | ((unsigned char)bytes[i] & 0x3f);
    return character;
}

bool utf8_is_unsafe(uint32_t character) {
    static const struct {
        uint32_t first, last;
    } ranges[] = {
        {0x00, 0x1f},     {0x7f, 0x9f},     {0x061c, 0x061c}, {0x200e, 0x200f},   {0x2028, 0x202e},
        {0x2066, 0x206f}, {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0xe0000, 0xe007f},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        if (character >= ranges[i].first && character <= ranges[i].last)
            return true;
    return false;
}

bool utf8_valid(const char *bytes, size_t len) {
    if (len == 0)
        return true;
    const unsigned char *p = (const unsigned char *)bytes;
    const unsigned char *end = p + len;
    while ((p = skip_ascii(p, end)) < end) {
        /* Text that is not ASCII seldom is so for one letter only. */
        do {
            size_t n = sequence(p, (size_t)(end - p));
            if (n == 0)
                return false;
            p += n;
        } while (p < end && *p >= 0x80);
    }
    return true;
}
