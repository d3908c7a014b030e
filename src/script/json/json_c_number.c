/* json_c_number.c -- numbers as JSON text.
 *
 * Integers with all their digits; floats with the fewest digits that are read as the same float,
 * and always with a point or an exponent, so that they are read as floats. Pure functions on bytes
 * and numbers: no Lua, nothing owned, any thread. */
#include "script/json/json_c_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

size_t json_c_format_digits(char *out, uint64_t n, size_t least) {
    char digits[24];
    size_t len = 0;
    do {
        digits[len++] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    while (len < least)
        digits[len++] = '0';
    for (size_t i = 0; i < len; i++)
        out[i] = digits[len - 1 - i];
    return len;
}

#ifdef __SIZEOF_INT128__

/* 5^k; shifted left by k, they are the powers of ten. */
/* clang-format off */
static const uint64_t fives[] = {
    1, 5, 25, 125, 625, 3125, 15625, 78125, 390625, 1953125, 9765625, 48828125, 244140625,
    1220703125, 6103515625, 30517578125, 152587890625, 762939453125, 3814697265625,
    19073486328125, 95367431640625, 476837158203125, 2384185791015625,
};
/* clang-format on */

/* m * 2^e * 10^k is m * 5^k / 2^s with s = -(e + k), and while k is at most 22 the product fits 128
 * bits, so that the integer nearest to it is found exactly. True: that number, divided by 10^k, is
 * read as the double m * 2^e, because it is off by less than half the way to the next double. */
static bool nearest(uint64_t m, int e, int k, uint64_t *digits) {
    int s = -(e + k);
    if (s < 0 || k < 0 || k > 22)
        return false;
    unsigned __int128 exact = (unsigned __int128)m * fives[k];
    unsigned __int128 unit = (unsigned __int128)1 << s, rest = exact & (unit - 1);
    *digits = (uint64_t)(exact >> s);
    bool up = rest * 2 > unit || (rest * 2 == unit && (*digits & 1)); /* a tie goes to even */
    *digits += up;
    unsigned __int128 off = up ? unit - rest : rest;
    /* Below a power of two the next double is half as far. */
    return off * (m == (uint64_t)1 << 52 ? 4 : 2) < fives[k];
}

/* The shortest text for a float of common size, by calculation with integers only. If a decimal of
 * up to 15 digits is read as x, it is the nearest one of 15 digits, without the zeros at its end;
 * else x takes 16 or 17. Returns the length, or 0 for a float of another size. */
static size_t format_short(char *out, double x) {
    double size = fabs(x);
    if (size < 1e-4 || size >= 1e15)
        return 0;
    uint64_t bits;
    memcpy(&bits, &size, sizeof bits);
    uint64_t m = (bits & (((uint64_t)1 << 52) - 1)) | (uint64_t)1 << 52;
    int e = (int)(bits >> 52) - 1075;

    /* For 15 digits there must be k behind the point. The magnitude in tens that follows from e
     * alone may be one too low. */
    uint64_t digits = 0;
    int k = 14 - (int)floor((e + 52) * 0.30102999566398120);
    bool good = nearest(m, e, k, &digits);
    if (digits >= 1000000000000000)
        good = nearest(m, e, --k, &digits);
    for (int more = 0; !good && more < 2; more++)
        good = nearest(m, e, ++k, &digits);
    if (!good)
        return 0;

    size_t len = 0, places = k > 0 ? (size_t)k : 1;
    uint64_t unit = k < 20 ? fives[k] << k : UINT64_MAX; /* 10^k, or more than there are digits */
    if (signbit(x))
        out[len++] = '-';
    len += json_c_format_digits(out + len, digits / unit, 1);
    out[len++] = '.';
    for (digits %= unit; places > 1 && digits % 10 == 0; places--)
        digits /= 10;
    return len + json_c_format_digits(out + len, digits, places);
}

#else

static size_t format_short(char *out, double x) {
    return 0;
}

#endif

/* The text of other floats: the shortest of 15 to 17 digits that is read as x. A dot replaces the
 * locale's decimal point. A text of digits alone gets ".0": it would be read as an integer. */
static size_t format_long(char *out, double x) {
    char text[JSON_C_NUMBER_ROOM];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if (strtod(text, NULL) == x)
            break;
    }
    size_t len = 0;
    bool integer = true;
    for (const char *p = text; *p; p++) {
        bool plain = (*p >= '0' && *p <= '9') || *p == '-' || *p == '+' || *p == 'e';
        integer = integer && plain && *p != 'e';
        if (plain)
            out[len++] = *p;
        else if (out[len - 1] != '.')
            out[len++] = '.';
    }
    if (integer) {
        out[len++] = '.';
        out[len++] = '0';
    }
    return len;
}

size_t json_c_format_float(char *out, double x) {
    if (x == 0) {
        memcpy(out, "-0.0", 4);
        if (signbit(x))
            return 4;
        memcpy(out, "0.0", 3);
        return 3;
    }
    size_t len = format_short(out, x);
    return len > 0 ? len : format_long(out, x);
}
