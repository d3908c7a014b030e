/* test_utf8.c -- what is UTF-8 and what is not, by RFC 3629 and the cases WebSocket servers are
 * tried with. Every check is repeated at every place of a longer text, because ASCII takes a
 * faster way. */
#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The judgement on `text` alone, in an allocation of exactly its size so that a sanitizer sees a
 * byte read too far. */
static bool judge(const char *text, size_t len) {
    char *copy = malloc(len == 0 ? 1 : len);
    memcpy(copy, text, len);
    bool valid = utf8_valid(copy, len);
    free(copy);
    return valid;
}

/* The judgement has to be the same with 0 to 70 ASCII bytes before and behind. */
static void check(const char *text, size_t len, bool valid) {
    char buffer[256];
    for (size_t before = 0; before <= 70; before++) {
        for (size_t after = 0; after <= 70; after += 7) {
            memset(buffer, 'a', before);
            memcpy(buffer + before, text, len);
            memset(buffer + before + len, 'z', after);
            if (judge(buffer, before + len + after) != valid)
                fail_msg("with %zu bytes before and %zu after it is taken for %s", before, after,
                         valid ? "invalid" : "valid");
        }
    }
}

#define VALID(text)   check(text, sizeof(text) - 1, true)
#define INVALID(text) check(text, sizeof(text) - 1, false)

static void test_good_text(void **state) {
    assert_true(utf8_valid(NULL, 0));
    VALID("");
    VALID("Hello");
    VALID("with\0a NUL");
    VALID("\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5"); /* kosme, of Autobahn 6.5 */
    VALID("\xF0\x9F\x91\x8B caf\xC3\xA9");
    VALID("\xEF\xBB\xBF"); /* a byte order mark is a character */
    /* The first and last of each length, and those beside the surrogates. */
    VALID("\x7F");
    VALID("\xC2\x80");
    VALID("\xDF\xBF");
    VALID("\xE0\xA0\x80");
    VALID("\xED\x9F\xBF");
    VALID("\xEE\x80\x80");
    VALID("\xEF\xBF\xBF"); /* not a character, but well-formed */
    VALID("\xF0\x90\x80\x80");
    VALID("\xF4\x8F\xBF\xBF");
}

static void test_bad_text(void **state) {
    INVALID("\x80"); /* a tail byte without a head */
    INVALID("\xBF");
    INVALID("\xC3\xA9\x80"); /* one tail byte too many */
    INVALID("\xC0\x80");     /* overlong */
    INVALID("\xC1\xBF");
    INVALID("\xE0\x80\x80");
    INVALID("\xE0\x9F\xBF");
    INVALID("\xF0\x80\x80\x80");
    INVALID("\xF0\x8F\xBF\xBF");
    INVALID("\xED\xA0\x80"); /* surrogates */
    INVALID("\xED\xBF\xBF");
    INVALID("\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xED\xA0\x80\x65\x64"); /* Autobahn 6.3 */
    INVALID("\xF4\x90\x80\x80"); /* above U+10FFFF */
    INVALID("\xF5\x80\x80\x80");
    INVALID("\xF8\x88\x80\x80\x80"); /* five and six bytes */
    INVALID("\xFC\x84\x80\x80\x80\x80");
    INVALID("\xFE");
    INVALID("\xFF");
    INVALID("\xC3("); /* no tail where one belongs */
    INVALID("\xE2\x82(");
    INVALID("\xE2(\x82");
    INVALID("\xF0\x9F\x91(");
    INVALID("\xF0\x9F(\x8B");
    INVALID("\xF0(\x91\x8B");
}

static void test_cut_short(void **state) {
    const char *const whole[] = {"\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x91\x8B"};
    char buffer[128];
    for (size_t i = 0; i < 3; i++) {
        for (size_t before = 0; before <= 70; before++) {
            for (size_t len = 1; len <= strlen(whole[i]); len++) {
                memset(buffer, 'a', before);
                memcpy(buffer + before, whole[i], len);
                assert_int_equal(judge(buffer, before + len), len == strlen(whole[i]));
            }
        }
    }
}

/* A second judge, built the other way round: decode each code point, then look at its value. */
static bool slow_valid(const unsigned char *p, size_t len) {
    static const uint32_t smallest[5] = {0, 0, 0x80, 0x800, 0x10000};
    for (size_t i = 0; i < len;) {
        size_t n = p[i] < 0x80             ? 1
                   : (p[i] & 0xE0) == 0xC0 ? 2
                   : (p[i] & 0xF0) == 0xE0 ? 3
                   : (p[i] & 0xF8) == 0xF0 ? 4
                                           : 0;
        if (n == 0 || n > len - i)
            return false;
        uint32_t value = n == 1 ? p[i] : p[i] & (0x7Fu >> n);
        for (size_t k = 1; k < n; k++) {
            if ((p[i + k] & 0xC0) != 0x80)
                return false;
            value = value << 6 | (p[i + k] & 0x3F);
        }
        if (value < smallest[n] || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF))
            return false;
        i += n;
    }
    return true;
}

/* All sequences of up to three bytes, then four bytes from a set of telling ones. */
static void test_all_short_sequences(void **state) {
    static const unsigned char telling[] = {0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF,
                                            0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE,
                                            0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xF8, 0xFF};
    unsigned char b[4];
    for (uint32_t n = 0; n < 1u << 24; n++) {
        b[0] = (unsigned char)(n >> 16);
        b[1] = (unsigned char)(n >> 8);
        b[2] = (unsigned char)n;
        size_t len = n < 256 ? 1 : n < 65536 ? 2 : 3;
        if (utf8_valid((char *)b + 3 - len, len) != slow_valid(b + 3 - len, len))
            fail_msg("wrong about %02x %02x %02x (the last %zu)", b[0], b[1], b[2], len);
    }
    size_t count = sizeof(telling);
    for (size_t n = 0; n < count * count * count * count; n++) {
        size_t rest = n;
        for (int k = 0; k < 4; k++, rest /= count)
            b[k] = telling[rest % count];
        if (utf8_valid((char *)b, 4) != slow_valid(b, 4))
            fail_msg("wrong about %02x %02x %02x %02x", b[0], b[1], b[2], b[3]);
    }
}

static void test_random_text(void **state) {
    static const char *const parts[] = {
        "a",        "abcdefgh",     "0123456789abcdef0123456789abcdef",
        "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x91\x8B"};
    uint32_t seed = 7;
    char text[512];
    for (int round = 0; round < 50000; round++) {
        size_t len = 0;
        seed = seed * 1664525u + 1013904223u;
        for (uint32_t n = (seed >> 8) % 12; n > 0; n--) {
            seed = seed * 1664525u + 1013904223u;
            const char *part = parts[(seed >> 8) % 6];
            memcpy(text + len, part, strlen(part));
            len += strlen(part);
        }
        assert_true(judge(text, len));
        seed = seed * 1664525u + 1013904223u;
        if (len > 0)
            text[(seed >> 8) % len] = (char)(seed >> 3);
        assert_int_equal(judge(text, len), slow_valid((unsigned char *)text, len));
    }
}

/* A byte that never is in UTF-8 and a sequence, at each place of each length and at each place in
 * memory: the check takes ASCII in steps of several sizes. */
static void test_every_place(void **state) {
    enum { LENGTHS = 200, PLACES = 32 };
    for (size_t len = 0; len <= LENGTHS; len++) {
        for (size_t place = 0; place < PLACES; place++) {
            char *memory = malloc(place + len + 1), *text = memory + place + 1;
            memset(text, 'a', len);
            assert_true(utf8_valid(text, len));
            for (size_t at = 0; at < len; at++) {
                text[at] = '\xff';
                assert_false(utf8_valid(text, len));
                text[at] = '\xc3';
                assert_false(utf8_valid(text, len));
                if (at + 1 < len) {
                    text[at + 1] = '\xa9';
                    assert_true(utf8_valid(text, len));
                    text[at + 1] = 'a';
                }
                text[at] = '\x80';
                assert_false(utf8_valid(text, len));
                text[at] = 'a';
            }
            free(memory);
        }
    }
}

static void test_characters(void **state) {
    (void)state;
    assert_int_equal(utf8_character("a", 1), 'a');
    assert_int_equal(utf8_character("\xC3\xA9", 2), 0xe9);
    assert_int_equal(utf8_character("\xE2\x82\xAC", 3), 0x20ac);
    assert_int_equal(utf8_character("\xF0\x9F\x91\x8B", 4), 0x1f44b);
    static const uint32_t unsafe[] = {0,      0x1f,   0x7f,   0x9f,   0x61c,  0x200e,
                                      0x2028, 0x202e, 0x2066, 0xfeff, 0xfff9, 0xe0041};
    for (size_t i = 0; i < sizeof unsafe / sizeof *unsafe; i++)
        assert_true(utf8_is_unsafe(unsafe[i]));
    static const uint32_t safe[] = {' ', '~', 0xa0, 0xe9, 0x200d, 0x20ac, 0xfffd, 0x1f44b};
    for (size_t i = 0; i < sizeof safe / sizeof *safe; i++)
        assert_false(utf8_is_unsafe(safe[i]));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_text),   cmocka_unit_test(test_bad_text),
        cmocka_unit_test(test_cut_short),   cmocka_unit_test(test_all_short_sequences),
        cmocka_unit_test(test_random_text), cmocka_unit_test(test_every_place),
        cmocka_unit_test(test_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
