/* precompressed.c -- compressed files beside a static file. See precompressed.h. */
#include "net/http/precompressed.h"

#include <string.h>
#include <unistd.h>

/* Of two with the same weight the first is chosen. */
static const struct { const char *coding, *suffix; } VARIANTS[] = {{"br", ".br"}, {"gzip", ".gz"}};
enum { VARIANT_COUNT = sizeof VARIANTS / sizeof VARIANTS[0] };

/* ---- Accept-Encoding ---- */

/* "0.5" is 500 (RFC 9110 §12.4.2); -1: malformed. */
static int read_weight(struct slice s) {
    if (s.len == 0 || s.len > 5 || (s.bytes[0] != '0' && s.bytes[0] != '1') ||
        (s.len > 1 && s.bytes[1] != '.'))
        return -1;
    int weight = (s.bytes[0] - '0') * 1000, unit = 100;
    for (size_t i = 2; i < s.len; i++, unit /= 10) {
        if (s.bytes[i] < '0' || s.bytes[i] > '9')
            return -1;
        weight += (s.bytes[i] - '0') * unit;
    }
    return weight <= 1000 ? weight : -1;
}

/* The weight of one element of the list, whose coding is left in it; -1: malformed. */
static int take_weight(struct slice *item) {
    const char *semicolon = memchr(item->bytes, ';', item->len);
    if (semicolon == NULL)
        return 1000;
    struct slice parameter = {semicolon + 1, item->len - (size_t)(semicolon + 1 - item->bytes)};
    item->len = (size_t)(semicolon - item->bytes);
    *item = slice_trim(*item);
    parameter = slice_trim(parameter);
    if (parameter.len < 2 || (parameter.bytes[0] | 0x20) != 'q' || parameter.bytes[1] != '=')
        return -1;
    slice_skip(&parameter, 2);
    return read_weight(parameter);
}

static bool is_coding(struct slice item, const char *coding) {
    return slice_is_nocase(item, coding) ||
           (strcmp(coding, "gzip") == 0 && slice_is_nocase(item, "x-gzip"));
}

int precompressed_weight(const struct request *r, const char *coding) {
    int any = -1;
    for (size_t i = 0; i < r->field_count; i++) {
        struct slice list = r->fields[i].value, item;
        if (!slice_is_nocase(r->fields[i].name, "Accept-Encoding"))
            continue;
        while (request_list_next(&list, &item)) {
            int weight = take_weight(&item);
            if (weight >= 0 && is_coding(item, coding))
                return weight;
            if (weight >= 0 && slice_is(item, "*"))
                any = weight;
        }
    }
    return any;
}

/* ---- the files ---- */

/* Opens the variant that `name` names. -1: there is none that counts. */
static int open_variant(const struct beneath *root, const char *name, const struct stat *file,
                        struct stat *st) {
    int fd = beneath_open(root, name);
    if (fd < 0)
        return -1;
    if (fstat(fd, st) == 0 && S_ISREG(st->st_mode) && st->st_size > 0 &&
        st->st_mtim.tv_sec >= file->st_mtim.tv_sec)
        return fd;
    close(fd);
    return -1;
}

const char *precompressed_choose(const struct beneath *root, const struct request *r, char *name,
                                 int *fd, struct stat *st, bool *varies) {
    const struct stat file = *st;
    const char *chosen = NULL;
    size_t len = strlen(name);
    int best = precompressed_weight(r, "identity");
    *varies = false;
    /* the file itself is acceptable unless it is named (RFC 9110 §12.5.3); without a weight of its
     * own any variant that is acceptable is better */
    for (size_t i = 0; i < VARIANT_COUNT; i++) {
        struct stat variant;
        strcpy(name + len, VARIANTS[i].suffix);
        int opened = open_variant(root, name, &file, &variant);
        int weight = precompressed_weight(r, VARIANTS[i].coding);
        *varies = *varies || opened >= 0;
        bool is_better = weight > 0 && (chosen == NULL ? weight >= best : weight > best);
        if (opened >= 0 && is_better) {
            close(*fd);
            *fd = opened;
            *st = variant;
            chosen = VARIANTS[i].coding;
            best = weight;
        } else if (opened >= 0) {
            close(opened);
        }
    }
    name[len] = '\0';
    return chosen;
}
