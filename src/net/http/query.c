/* query.c -- a value of a request's query. See query.h. */
#include "net/http/query.h"

#include "net/http/request.h"

/* Takes a byte, decoded, off the front. An invalid escape stays as it is. */
static char next_byte(struct slice *text) {
    char byte = *text->bytes == '+' ? ' ' : *text->bytes;
    int high = -1, low = -1;
    if (byte == '%' && text->len >= 3) {
        high = request_hex_digit((unsigned char)text->bytes[1]);
        low = request_hex_digit((unsigned char)text->bytes[2]);
    }
    slice_skip(text, high >= 0 && low >= 0 ? 3 : 1);
    return high >= 0 && low >= 0 ? (char)(high << 4 | low) : byte;
}

static bool is_name(struct slice encoded, const char *name) {
    for (; *name != '\0'; name++)
        if (encoded.len == 0 || next_byte(&encoded) != *name)
            return false;
    return encoded.len == 0;
}

/* Takes the part before the next separator off the front, and the separator. */
static struct slice next_part(struct slice *text, char separator) {
    const char *end = text->len == 0 ? NULL : memchr(text->bytes, separator, text->len);
    struct slice part = {text->bytes, end == NULL ? text->len : (size_t)(end - text->bytes)};
    slice_skip(text, end == NULL ? text->len : part.len + 1);
    return part;
}

bool query_find(struct slice query, const char *name, char *value, size_t room, size_t *len) {
    bool found = false;
    while (query.len > 0) {
        struct slice rest = next_part(&query, '&');
        if (rest.len == 0 || !is_name(next_part(&rest, '='), name))
            continue;
        found = true;
        for (*len = 0; rest.len > 0; ++*len) {
            char byte = next_byte(&rest);
            if (*len < room)
                value[*len] = byte;
        }
    }
    return found;
}
