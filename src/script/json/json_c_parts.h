/* json_c_parts.h -- for the reader and the writer of JSON: the scratch buffer, the special values,
 * and the scan over plain text. Private to json_c*.c. */
#ifndef TIDEWIRE_SCRIPT_JSON_JSON_C_PARTS_H
#define TIDEWIRE_SCRIPT_JSON_JSON_C_PARTS_H

#include "script/json/json_c.h"

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* JSON_C_MAX_DEPTH as the text of a message. */
#define JSON_C_TEXT_OF(x)  #x
#define JSON_C_EXPANDED(x) JSON_C_TEXT_OF(x)
#define JSON_C_DEPTH_TEXT  JSON_C_EXPANDED(JSON_C_MAX_DEPTH)

/* One for each Lua state, kept in its registry and used by each call. Its memory comes from the
 * state's allocator, so that it counts as the script's and no Lua error can leak it. No code of
 * scripts runs between the first write to it and the last read. */
struct json_c_scratch {
    char *data;
    size_t len;
    size_t cap;
};

/* The state's scratch buffer, empty. */
struct json_c_scratch *json_c_scratch(lua_State *L);

/* Grows `s` so that `more` bytes fit behind its `len`; raises Lua's memory error. */
void json_c_scratch_grow(lua_State *L, struct json_c_scratch *s, size_t more);

static inline char *json_c_room(lua_State *L, struct json_c_scratch *s, size_t more) {
    if (s->cap - s->len < more)
        json_c_scratch_grow(L, s, more);
    return s->data + s->len;
}

/* Pushes the metatable that marks a table as an array; pushes tw.null. */
void json_c_push_array_mark(lua_State *L);
void json_c_push_null(lua_State *L);

/* Reads a whole text. Pushes the value and returns true, or a message and returns false; below it
 * there may be other values on the stack. */
bool json_c_read(lua_State *L, const char *bytes, size_t len);

/* Writes the value at `index` (absolute) to `out`. False: a message was pushed, as above. */
bool json_c_write(lua_State *L, int index, struct json_c_scratch *out);

/* More bytes than any number takes. */
#define JSON_C_NUMBER_ROOM 48

/* Write the decimal digits of `n`, with zeros before them up to `least` digits in all; and a finite
 * float. Both return the number of bytes, at most JSON_C_NUMBER_ROOM. */
size_t json_c_format_digits(char *out, uint64_t n, size_t least);
size_t json_c_format_float(char *out, double x);

/* The first byte in [p, end) that is a quote, a backslash or a control character, or end. Sets
 * *beyond_ascii if a byte before it is not ASCII, and else does not change it. Takes eight bytes a
 * step: a subtraction borrows from the next byte only above the first hit, and only the first hit
 * is used. */
static inline const char *json_c_plain(const char *p, const char *end, bool *beyond_ascii) {
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
    uint64_t high = 0;

    while (end - p >= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        word = __builtin_bswap64(word);
#endif
        uint64_t quote = word ^ (ones * '"'), backslash = word ^ (ones * '\\');
        uint64_t hit = (((quote - ones) & ~quote) | ((backslash - ones) & ~backslash) |
                        ((word - ones * 0x20) & ~word)) &
                       tops;
        if (hit) {
            unsigned bits = (unsigned)__builtin_ctzll(hit) & ~7u;
            high |= word & (((uint64_t)1 << bits) - 1);
            *beyond_ascii |= (high & tops) != 0;
            return p + bits / 8;
        }
        high |= word;
        p += 8;
    }
    for (; p < end; p++) {
        unsigned char c = (unsigned char)*p;
        if (c == '"' || c == '\\' || c < 0x20)
            break;
        high |= c;
    }
    *beyond_ascii |= (high & tops) != 0;
    return p;
}

#endif
