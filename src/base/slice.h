/* slice.h -- a view of bytes that another object owns.
 *
 * Not NUL-terminated, never freed, valid as long as the memory it points into. The parsers of net/
 * return slices. Owns nothing, any thread. */
#ifndef TIDEWIRE_BASE_SLICE_H
#define TIDEWIRE_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

struct slice {
    const char *bytes; /* may be NULL when len is 0 */
    size_t len;
};

/* A view of a C string, without its NUL. */
static inline struct slice slice_of(const char *text) {
    return (struct slice){text, strlen(text)};
}

static inline bool slice_equal(struct slice one, struct slice other) {
    return one.len == other.len && (one.len == 0 || memcmp(one.bytes, other.bytes, one.len) == 0);
}

/* Is it exactly this C string? */
static inline bool slice_is(struct slice s, const char *text) {
    return s.len == strlen(text) && (s.len == 0 || memcmp(s.bytes, text, s.len) == 0);
}

/* Is it this C string, without regard to the case of ASCII letters? */
static inline bool slice_is_nocase(struct slice s, const char *text) {
    return s.len == strlen(text) && (s.len == 0 || strncasecmp(s.bytes, text, s.len) == 0);
}

/* Drops the first `n` bytes, which it must have. */
static inline void slice_skip(struct slice *s, size_t n) {
    s->bytes += n;
    s->len -= n;
}

/* Without the spaces and tabs around it. */
static inline struct slice slice_trim(struct slice s) {
    while (s.len > 0 && (*s.bytes == ' ' || *s.bytes == '\t'))
        slice_skip(&s, 1);
    while (s.len > 0 && (s.bytes[s.len - 1] == ' ' || s.bytes[s.len - 1] == '\t'))
        s.len--;
    return s;
}

#endif
