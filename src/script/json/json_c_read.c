/* json_c_read.c -- JSON text to Lua values: RFC 8259 and no extensions.
 *
 * One pass, no tree between: each value is pushed as it is read. The members of a container collect
 * on the Lua stack until its end is read, so that its table is made once, in the right size. The
 * functions recurse with the nesting of the text, up to JSON_C_MAX_DEPTH. A function that fails has
 * pushed a message and returns false; the caller of json_c_read removes other values that it has
 * left on the stack.
 *
 * Owns nothing. The state's scratch buffer holds strings with escapes while they are built. */
#include "base/utf8.h"
#include "script/json/json_c_parts.h"

#include <float.h>
#include <lauxlib.h>
#include <math.h>
#include <stdio.h>

enum {
    COLLECT = 32,     /* most stack slots that wait for their table */
    SHOWN_DIGITS = 40 /* most bytes of a number in a message */
};

struct reader {
    lua_State *L;
    const char *at; /* the next byte */
    const char *end;
    const char *start;
    int mark;  /* stack index of the metatable of arrays */
    int depth; /* containers around the next byte */
};

static bool read_value(struct reader *r);

/* --- messages --------------------------------------------------------------------------------- */

/* Pushes "byte N" or "byte N (line L)", both counted from 1, and returns it. */
static const char *place(struct reader *r, const char *at) {
    lua_Integer line = 1;
    luaL_checkstack(r->L, 4, NULL);
    for (const char *p = r->start; p < at; p++)
        line += *p == '\n';
    lua_Integer byte = (lua_Integer)(at - r->start) + 1;
    if (line == 1)
        return lua_pushfstring(r->L, "byte %I", (LUAI_UACINT)byte);
    return lua_pushfstring(r->L, "byte %I (line %I)", (LUAI_UACINT)byte, (LUAI_UACINT)line);
}

/* The message `text`, in which %s is the place of `at`. */
static bool fail(struct reader *r, const char *at, const char *text) {
    lua_pushfstring(r->L, text, place(r, at));
    return false;
}

/* The grammar does not have the next byte at this place. */
static bool fail_expected(struct reader *r, const char *what) {
    char found[32] = "the text ends";
    if (r->at < r->end) {
        unsigned char c = (unsigned char)*r->at;
        bool visible = c > ' ' && c < 0x7f;
        snprintf(found, sizeof found, visible ? "there is '%c'" : "there is the byte 0x%02X", c);
    }
    lua_pushfstring(r->L, "expected %s at %s, but %s", what, place(r, r->at), found);
    return false;
}

/* The message `text`, in which the first %s is the number from `from` to `to`, the second its
 * place. */
static bool fail_number(struct reader *r, const char *from, const char *to, const char *text) {
    luaL_checkstack(r->L, 4, NULL);
    size_t len = (size_t)(to - from);
    const char *digits = lua_pushlstring(r->L, from, len < SHOWN_DIGITS ? len : SHOWN_DIGITS);
    if (len > SHOWN_DIGITS)
        digits = lua_pushfstring(r->L, "%s...", digits);
    lua_pushfstring(r->L, text, digits, place(r, from));
    return false;
}

/* --- small steps ------------------------------------------------------------------------------ */

static inline void skip_space(struct reader *r) {
    const char *p = r->at;
    while (p < r->end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    r->at = p;
}

static inline bool is_next(const struct reader *r, char c) {
    return r->at < r->end && *r->at == c;
}

static inline bool is_digit(const char *p, const char *end) {
    return p < end && *p >= '0' && *p <= '9';
}

static bool read_literal(struct reader *r, const char *literal, size_t len) {
    if ((size_t)(r->end - r->at) < len || memcmp(r->at, literal, len) != 0)
        return fail_expected(r, "a value (true, false and null are written in full)");
    r->at += len;
    return true;
}

/* --- numbers ---------------------------------------------------------------------------------- */

/* The value of the grammar's number: (-1)^negative * digits * 10^exponent. */
struct decimal {
    uint64_t digits;  /* the first 19, from the first that is not 0 */
    int count;        /* of all digits, from the first that is not 0 */
    int64_t exponent; /* a written exponent stops growing far beyond the range of a double */
    bool negative;
    bool integer; /* written without a fraction and an exponent */
};

static inline void add_digit(struct decimal *d, char c) {
    if (d->count < 19)
        d->digits = d->digits * 10 + (uint64_t)(c - '0');
    else
        d->exponent++;
    d->count += d->count > 0 || c != '0';
}

static bool scan_exponent(struct reader *r, struct decimal *d) {
    int64_t exponent = 0;
    bool negative = is_next(r, '-');
    if (negative || is_next(r, '+'))
        r->at++;
    if (!is_digit(r->at, r->end))
        return fail_expected(r, "a digit of the exponent");
    for (; is_digit(r->at, r->end); r->at++)
        if (exponent < 100000)
            exponent = exponent * 10 + (*r->at - '0');
    d->exponent += negative ? -exponent : exponent;
    d->integer = false;
    return true;
}

static bool scan_number(struct reader *r, struct decimal *d) {
    *d = (struct decimal){.integer = true, .negative = *r->at == '-'};
    const char *from = r->at;
    r->at += d->negative;
    if (!is_digit(r->at, r->end))
        return fail_expected(r, "a digit");
    if (*r->at == '0' && is_digit(r->at + 1, r->end))
        return fail(r, from, "the number at %s starts with a needless 0");
    for (; is_digit(r->at, r->end); r->at++)
        add_digit(d, *r->at);
    if (is_next(r, '.')) {
        r->at++;
        if (!is_digit(r->at, r->end))
            return fail_expected(r, "a digit after the decimal point");
        for (; is_digit(r->at, r->end); r->at++) {
            add_digit(d, *r->at);
            d->exponent--;
        }
        d->integer = false;
    }
    if (is_next(r, 'e') || is_next(r, 'E')) {
        r->at++;
        return scan_exponent(r, d);
    }
    return true;
}

/* Numbers of few digits are exact in a double, and so are small powers of ten: one correctly
 * rounded operation on the two is then the correctly rounded result (Clinger, 1990). */
static bool quick_float(const struct decimal *d, double *result) {
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                    1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (FLT_EVAL_METHOD != 0 || d->digits > (uint64_t)1 << 53 || d->exponent < -22 ||
        d->exponent > 22)
        return false;
    double digits = (double)d->digits;
    double x = d->exponent < 0 ? digits / powers[-d->exponent] : digits * powers[d->exponent];
    *result = d->negative ? -x : x;
    return true;
}

/* Lua's own conversion, which knows the locale's decimal point, takes the other numbers. */
static bool push_float(struct reader *r, const struct decimal *d, const char *from) {
    lua_State *L = r->L;
    double x;
    if (quick_float(d, &x)) {
        lua_pushnumber(L, x);
        return true;
    }
    const char *literal = lua_pushlstring(L, from, (size_t)(r->at - from)); /* literal */
    if (lua_stringtonumber(L, literal) == 0)                                /* literal x */
        return fail_number(r, from, r->at, "the number %s at %s is too long to be read");
    lua_remove(L, -2); /* x */
    x = lua_tonumber(L, -1);
    if (isinf(x))
        return fail_number(r, from, r->at, "the number %s at %s is too large for a 64-bit float");
    if (x == 0 && d->digits != 0)
        return fail_number(r, from, r->at, "the number %s at %s is too small for a 64-bit float");
    return true;
}

static bool read_number(struct reader *r) {
    const char *from = r->at;
    struct decimal d;
    if (!scan_number(r, &d))
        return false;
    if (!d.integer)
        return push_float(r, &d, from);
    if (d.count > 19 || d.digits > (uint64_t)LUA_MAXINTEGER + d.negative)
        return fail_number(r, from, r->at,
                           "integer %s at %s does not fit 64 bits; send it as a string");
    lua_pushinteger(r->L, (lua_Integer)(d.negative ? 0 - d.digits : d.digits));
    return true;
}

/* --- strings ---------------------------------------------------------------------------------- */

/* The four hexadecimal digits at p, or -1. */
static int hex4(const char *p, const char *end) {
    int code = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = p[i], letter = (char)(c | 0x20);
        if (c >= '0' && c <= '9')
            code = code * 16 + (c - '0');
        else if (letter >= 'a' && letter <= 'f')
            code = code * 16 + (letter - 'a' + 10);
        else
            return -1;
    }
    return code;
}

static size_t put_utf8(char *out, uint32_t code) {
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    for (size_t i = more; i > 0; i--) {
        out[i] = (char)(0x80 | (code & 0x3f));
        code >>= 6;
    }
    static const unsigned char lead[] = {0, 0xc0, 0xe0, 0xf0};
    out[0] = (char)(lead[more] | code);
    return more + 1;
}

/* At the backslash of \uXXXX, or of the first of two that make a surrogate pair. */
static bool read_unicode(struct reader *r, struct json_c_scratch *out) {
    const char *from = r->at;
    int code = hex4(from + 2, r->end);
    if (code < 0)
        return fail(r, from, "the escape \\u at %s needs four hexadecimal digits");
    r->at += 6;
    if (code >= 0xdc00 && code <= 0xdfff)
        return fail(r, from,
                    "the escape at %s is the second half of a surrogate pair without "
                    "the first");
    if (code >= 0xd800 && code <= 0xdbff) {
        int low = -1;
        if (r->end - r->at >= 2 && r->at[0] == '\\' && r->at[1] == 'u')
            low = hex4(r->at + 2, r->end);
        if (low < 0xdc00 || low > 0xdfff)
            return fail(r, from,
                        "the escape at %s is the first half of a surrogate pair without "
                        "the second");
        r->at += 6;
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    out->len += put_utf8(json_c_room(r->L, out, 4), (uint32_t)code);
    return true;
}

/* At a backslash. */
static bool read_escape(struct reader *r, struct json_c_scratch *out) {
    char c = r->end - r->at >= 2 ? r->at[1] : 0;
    switch (c) {
    case '"':
    case '\\':
    case '/':
        break;
    case 'b':
        c = '\b';
        break;
    case 'f':
        c = '\f';
        break;
    case 'n':
        c = '\n';
        break;
    case 'r':
        c = '\r';
        break;
    case 't':
        c = '\t';
        break;
    case 'u':
        return read_unicode(r, out);
    default:
        return fail(r, r->at,
                    "the backslash at %s does not start an escape (\\\" \\\\ \\/ \\b "
                    "\\f \\n \\r \\t \\uXXXX)");
    }
    *json_c_room(r->L, out, 1) = c;
    out->len++;
    r->at += 2;
    return true;
}

/* A string ends at a control character, or with the text. */
static bool fail_string(struct reader *r, const char *opening) {
    if (r->at == r->end)
        return fail(r, opening, "the string that starts at %s has no closing quote");
    return fail(r, r->at, "the control character at %s must be written as an escape in a string");
}

/* At the first backslash of the string whose text starts at `from`. */
static bool read_escaped(struct reader *r, const char *from, bool beyond_ascii) {
    struct json_c_scratch *out = json_c_scratch(r->L);
    const char *run = from;
    for (;;) {
        size_t len = (size_t)(r->at - run);
        memcpy(json_c_room(r->L, out, len), run, len);
        out->len += len;
        if (r->at == r->end || (unsigned char)*r->at < 0x20)
            return fail_string(r, from - 1);
        if (*r->at == '"')
            break;
        if (!read_escape(r, out))
            return false;
        run = r->at;
        r->at = json_c_plain(run, r->end, &beyond_ascii);
    }
    /* Escapes are ASCII, so it is enough to check the text before they are replaced. */
    if (beyond_ascii && !utf8_valid(from, (size_t)(r->at - from)))
        return fail(r, from - 1, "the string that starts at %s is not valid UTF-8");
    lua_pushlstring(r->L, out->data, out->len);
    r->at++;
    return true;
}

/* At the opening quote. */
static bool read_string(struct reader *r) {
    const char *from = r->at + 1;
    bool beyond_ascii = false;
    r->at = json_c_plain(from, r->end, &beyond_ascii);
    if (is_next(r, '\\'))
        return read_escaped(r, from, beyond_ascii);
    if (!is_next(r, '"'))
        return fail_string(r, from - 1);
    size_t len = (size_t)(r->at - from);
    if (beyond_ascii && !utf8_valid(from, len))
        return fail(r, from - 1, "the string that starts at %s is not valid UTF-8");
    lua_pushlstring(r->L, from, len);
    r->at++;
    return true;
}

/* --- containers ------------------------------------------------------------------------------- */

/* At the opening bracket: goes in, with room on the stack for the container's members. */
static bool enter(struct reader *r) {
    if (r->depth == JSON_C_MAX_DEPTH)
        return fail(r, r->at, "the value at %s is nested deeper than " JSON_C_DEPTH_TEXT " levels");
    r->depth++;
    luaL_checkstack(r->L, COLLECT + LUA_MINSTACK, NULL);
    r->at++;
    skip_space(r);
    return true;
}

static void leave(struct reader *r) {
    r->at++;
    r->depth--;
}

/* Between two members: true at the next one or at the end, where *more is false. */
static bool read_comma(struct reader *r, char closing, bool *more, const char *what) {
    skip_space(r);
    *more = is_next(r, ',');
    if (!*more)
        return is_next(r, closing) || fail_expected(r, what);
    r->at++;
    skip_space(r);
    return true;
}

/* Moves the `waiting` values above `slot` into the array there, after its `stored` elements. The
 * first move makes the table; if it is the last one, too, in the right size. */
static void store_elements(lua_State *L, int slot, int stored, int waiting, bool last) {
    if (stored == 0) {
        lua_createtable(L, last ? waiting : 2 * waiting, 0);
        lua_replace(L, slot);
    }
    for (int i = waiting; i > 0; i--)
        lua_rawseti(L, slot, (lua_Integer)stored + i);
}

static bool read_array(struct reader *r) {
    lua_State *L = r->L;
    if (!enter(r))
        return false;
    lua_pushnil(L); /* the table's place; values above it wait */
    int slot = lua_gettop(L), stored = 0, waiting = 0;
    bool more = !is_next(r, ']');
    while (more) {
        if (!read_value(r))
            return false;
        if (++waiting == COLLECT) {
            store_elements(L, slot, stored, waiting, false);
            stored += waiting;
            waiting = 0;
        }
        if (!read_comma(r, ']', &more, "',' or ']' after an element"))
            return false;
        if (more && is_next(r, ']'))
            return fail_expected(r, "an element after ','");
    }
    store_elements(L, slot, stored, waiting, true); /* table */
    lua_pushvalue(L, r->mark);
    lua_setmetatable(L, slot);
    leave(r);
    return true;
}

/* As store_elements, from the first to the last: of two equal keys the later one counts. */
static void store_members(lua_State *L, int slot, bool first, int waiting, bool last) {
    if (first) {
        lua_createtable(L, 0, last ? waiting / 2 : waiting);
        lua_replace(L, slot);
    }
    for (int i = 1; i <= waiting; i += 2) {
        lua_pushvalue(L, slot + i);
        lua_pushvalue(L, slot + i + 1);
        lua_rawset(L, slot);
    }
    lua_settop(L, slot);
}

static bool read_object(struct reader *r) {
    lua_State *L = r->L;
    if (!enter(r))
        return false;
    lua_pushnil(L); /* the table's place; keys and values above it wait */
    int slot = lua_gettop(L), waiting = 0;
    bool more = !is_next(r, '}'), first = true;
    while (more) {
        if (!is_next(r, '"'))
            return fail_expected(r, "a key in double quotes");
        if (!read_string(r))
            return false;
        skip_space(r);
        if (!is_next(r, ':'))
            return fail_expected(r, "':' after a key");
        r->at++;
        skip_space(r);
        if (!read_value(r))
            return false;
        waiting += 2;
        if (waiting == COLLECT) {
            store_members(L, slot, first, waiting, false);
            waiting = 0;
            first = false;
        }
        if (!read_comma(r, '}', &more, "',' or '}' after a member"))
            return false;
    }
    store_members(L, slot, first, waiting, true); /* table */
    leave(r);
    return true;
}

/* --- values ----------------------------------------------------------------------------------- */

/* At the first byte of a value; leaves `at` behind its last. */
static bool read_value(struct reader *r) {
    if (r->at == r->end)
        return fail_expected(r, "a value");
    switch (*r->at) {
    case '"':
        return read_string(r);
    case '{':
        return read_object(r);
    case '[':
        return read_array(r);
    case 't':
        lua_pushboolean(r->L, true);
        return read_literal(r, "true", 4);
    case 'f':
        lua_pushboolean(r->L, false);
        return read_literal(r, "false", 5);
    case 'n':
        json_c_push_null(r->L);
        return read_literal(r, "null", 4);
    default:
        if (*r->at == '-' || is_digit(r->at, r->end))
            return read_number(r);
        return fail_expected(r, "a value");
    }
}

bool json_c_read(lua_State *L, const char *bytes, size_t len) {
    struct reader r = {.L = L, .at = bytes, .start = bytes, .end = bytes + len};
    luaL_checkstack(L, LUA_MINSTACK, NULL);
    json_c_push_array_mark(L);
    r.mark = lua_gettop(L);
    if (len >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0)
        return fail(&r, bytes, "there is a byte order mark at %s; JSON is sent without one");
    skip_space(&r);
    if (r.at == r.end)
        return fail(&r, bytes, "expected a value at %s, but the text is empty");
    if (!read_value(&r))
        return false;
    skip_space(&r);
    return r.at == r.end || fail_expected(&r, "the end of the text");
}
