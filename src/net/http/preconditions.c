/* preconditions.c -- conditional requests and range requests. See preconditions.h. */
#include "net/http/preconditions.h"

#include "net/http/date.h"

#include <string.h>

static void skip_blank(struct slice *s) {
    while (s->len > 0 && (s->bytes[0] == ' ' || s->bytes[0] == '\t'))
        slice_skip(s, 1);
}

/* Has this list `etag`? Entity tags may have commas, so request_list_next() cannot split it. Weak
 * tags count (`weak_counts`) in If-None-Match, not in If-Match (RFC 9110 §13.1.1, §13.1.2). */
static bool lists_etag(struct slice list, const char *etag, bool weak_counts) {
    for (;;) {
        while (list.len > 0 &&
               (list.bytes[0] == ',' || list.bytes[0] == ' ' || list.bytes[0] == '\t'))
            slice_skip(&list, 1); /* elements may be empty (§5.6.1.2) */
        bool weak = list.len >= 2 && memcmp(list.bytes, "W/", 2) == 0;
        if (weak)
            slice_skip(&list, 2);
        if (list.len == 0 || list.bytes[0] != '"')
            return false;
        const char *end = memchr(list.bytes + 1, '"', list.len - 1);
        if (end == NULL)
            return false;
        struct slice one = {list.bytes, (size_t)(end - list.bytes) + 1};
        if (slice_is(one, etag) && (weak_counts || !weak))
            return true;
        slice_skip(&list, one.len);
        skip_blank(&list);
        if (list.len == 0 || list.bytes[0] != ',')
            return false;
    }
}

enum tags {
    TAGS_NONE,  /* the request has no such header */
    TAGS_OTHER, /* it names other tags */
    TAGS_MATCH  /* it names this one, or "*" */
};

/* Compares `etag` with the tags of all headers of this name. */
static enum tags match_tags(const struct request *r, const char *name, const char *etag,
                            bool weak_counts) {
    enum tags found = TAGS_NONE;
    for (size_t i = 0; i < r->field_count; i++) {
        if (!slice_is_nocase(r->fields[i].name, name))
            continue;
        found = TAGS_OTHER;
        struct slice value = r->fields[i].value;
        if (slice_is(value, "*") || lists_etag(value, etag, weak_counts))
            return TAGS_MATCH;
    }
    return found;
}

/* The date of this header. False: no such header, several, or a malformed date, which are ignored
 * (§13.1.3, §13.1.4). */
static bool read_date(const struct request *r, const char *name, time_t *when) {
    size_t count;
    const struct slice *value = request_header(r, name, &count);
    return count == 1 && date_parse(*value, when);
}

bool preconditions_fail(const struct request *r, const char *etag, time_t modified) {
    enum tags tags = match_tags(r, "If-Match", etag, false);
    if (tags != TAGS_NONE)
        return tags == TAGS_OTHER;
    time_t when;
    return read_date(r, "If-Unmodified-Since", &when) && modified > when;
}

bool preconditions_not_modified(const struct request *r, const char *etag, time_t modified) {
    enum tags tags = match_tags(r, "If-None-Match", etag, true);
    if (tags != TAGS_NONE)
        return tags == TAGS_MATCH;
    time_t when;
    return read_date(r, "If-Modified-Since", &when) && modified <= when;
}

/* If-Range: has the client the version that the part comes from? Strong comparison only. */
static bool same_version(const struct request *r, const char *etag, time_t modified) {
    size_t count;
    const struct slice *version = request_header(r, "If-Range", &count);
    if (count == 0)
        return true;
    time_t when;
    return count == 1 &&
           (slice_is(*version, etag) || (date_parse(*version, &when) && when == modified));
}

/* Takes a number off the front; INT64_MAX for one that is larger. False: it begins with no digit.
 */
static bool take_number(struct slice *s, int64_t *number) {
    if (s->len == 0 || s->bytes[0] < '0' || s->bytes[0] > '9')
        return false;
    *number = 0;
    while (s->len > 0 && s->bytes[0] >= '0' && s->bytes[0] <= '9') {
        int digit = s->bytes[0] - '0';
        *number = *number > (INT64_MAX - digit) / 10 ? INT64_MAX : *number * 10 + digit;
        slice_skip(s, 1);
    }
    return true;
}

enum preconditions_range preconditions_range(const struct request *r, const char *etag,
                                             time_t modified, int64_t size, int64_t *offset,
                                             int64_t *length) {
    size_t count;
    const struct slice *value = request_header(r, "Range", &count);
    if (count != 1 || value->len < 6 || strncasecmp(value->bytes, "bytes=", 6) != 0 ||
        !same_version(r, etag, modified))
        return RANGE_WHOLE;
    struct slice rest = *value;
    slice_skip(&rest, 6);
    skip_blank(&rest);
    int64_t first, last;
    bool has_first = take_number(&rest, &first);
    if (rest.len == 0 || rest.bytes[0] != '-')
        return RANGE_WHOLE;
    slice_skip(&rest, 1);
    bool has_last = take_number(&rest, &last);
    if (rest.len > 0 || (!has_first && !has_last) || (has_first && has_last && last < first))
        return RANGE_WHOLE;
    if (!has_first) { /* "-500": the last 500 bytes */
        if (last == 0 || size == 0)
            return RANGE_UNSATISFIABLE;
        *length = last < size ? last : size;
        *offset = size - *length;
        return RANGE_PART;
    }
    if (first >= size)
        return RANGE_UNSATISFIABLE;
    if (!has_last || last >= size)
        last = size - 1;
    *offset = first;
    *length = last - first + 1;
    return RANGE_PART;
}
