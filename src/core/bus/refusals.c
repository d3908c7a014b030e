/* refusals.c -- refusals by reason and endpoint. See refusals.h. */
#include "core/bus/refusals.h"

#include "base/mem.h"
#include "base/table.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

enum { REASON_BYTES = 64, KEY_BYTES = 1024 };

struct counter {
    struct table_entry entry;
    struct counter *next;
    struct refusal refusal; /* `count` is unused */
    _Atomic uint64_t count;
    char key[]; /* kind, code, reason, endpoint */
};

struct pattern {
    struct pattern *next;
    char text[];
};

struct refusals {
    uv_mutex_t lock;
    struct table table;
    struct counter *first, **end;
    struct pattern *patterns;
};

struct refusals *refusals_new(void) {
    struct refusals *refusals = mem_zalloc(sizeof *refusals);
    uv_mutex_init(&refusals->lock);
    refusals->end = &refusals->first;
    return refusals;
}

void refusals_free(struct refusals *refusals) {
    if (refusals == NULL)
        return;
    for (struct counter *counter; (counter = refusals->first) != NULL;) {
        refusals->first = counter->next;
        mem_free(counter);
    }
    for (struct pattern *pattern; (pattern = refusals->patterns) != NULL;) {
        refusals->patterns = pattern->next;
        mem_free(pattern);
    }
    table_close(&refusals->table);
    uv_mutex_destroy(&refusals->lock);
    mem_free(refusals);
}

/* ---- the endpoint of a path ---- */

void refusals_add_endpoint(struct refusals *refusals, const char *pattern) {
    if (refusals == NULL || pattern == NULL)
        return;
    uv_mutex_lock(&refusals->lock);
    struct pattern **at = &refusals->patterns;
    while (*at != NULL && strcmp((*at)->text, pattern) != 0)
        at = &(*at)->next;
    if (*at == NULL) {
        *at = mem_zalloc(sizeof **at + strlen(pattern) + 1);
        strcpy((*at)->text, pattern);
    }
    uv_mutex_unlock(&refusals->lock);
}

/* The length of the part of a path behind its slash. */
static size_t part_len(const char *bytes, const char *end) {
    const char *slash = memchr(bytes, '/', (size_t)(end - bytes));
    return slash == NULL ? (size_t)(end - bytes) : (size_t)(slash - bytes);
}

/* Does the path have the pattern "/game/:room" or "/files/" with a star? Encoded characters are
 * compared as they are. */
static bool matches(const char *pattern, struct slice path) {
    if (path.len == 0) /* of a malformed request; its bytes may be NULL */
        return false;
    const char *p = pattern, *pattern_end = pattern + strlen(pattern);
    const char *at = path.bytes, *end = path.bytes + path.len;
    while (p < pattern_end && at < end && *at == '/') {
        size_t wanted = part_len(++p, pattern_end), given = part_len(++at, end);
        if (wanted == 1 && *p == '*')
            return true;
        if (wanted > 0 && *p == ':' ? given == 0 : wanted != given || memcmp(p, at, given) != 0)
            return false;
        p += wanted;
        at += given;
    }
    return p == pattern_end && at == end;
}

/* Is the first one more specific? From left to right a plain part goes before ":name", and that
 * before "*". */
static bool is_better(const char *one, const char *other) {
    while (*one != '\0' && *one == *other)
        one++, other++;
    return *other == '*' || (*other == ':' && *one != '*');
}

/* Under the lock. NULL: no endpoint has the path. */
static const char *find_pattern(const struct refusals *refusals, struct slice path) {
    const char *best = NULL;
    for (const struct pattern *p = refusals->patterns; p != NULL; p = p->next)
        if (matches(p->text, path) && (best == NULL || is_better(p->text, best)))
            best = p->text;
    return best;
}

/* ---- counters ---- */

static void write_label(char *label, size_t size, const char *text) {
    size_t i = 0;
    for (; text[i] != '\0' && i + 1 < size; i++) {
        char c = text[i];
        bool is_plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        label[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : is_plain ? c : '_';
    }
    while (i > 0 && label[i - 1] == '_') /* the end of a sentence */
        i--;
    label[i] = '\0';
}

/* Under the lock. */
static struct counter *find(struct refusals *refusals, enum refusal_kind kind, unsigned code,
                            const char *reason, const char *endpoint) {
    char key[KEY_BYTES], label[REASON_BYTES];
    write_label(label, sizeof label, reason);
    int before = snprintf(key, sizeof key, "%d %u %s", (int)kind, code, label) + 1;
    int len = before + snprintf(key + before, sizeof key - (size_t)before, "%s", endpoint);
    if ((size_t)len >= sizeof key)
        len = sizeof key - 1;
    struct table_entry *found = table_find(&refusals->table, (struct slice){key, (size_t)len});
    if (found != NULL)
        return TABLE_OWNER(found, struct counter, entry);
    if (refusals->table.count >= REFUSALS_MAX + kind && strcmp(reason, "other") != 0)
        return find(refusals, kind, 0, "other", "");
    struct counter *counter = mem_zalloc(sizeof *counter + (size_t)len + 1);
    memcpy(counter->key, key, (size_t)len);
    counter->entry.key = (struct slice){counter->key, (size_t)len};
    counter->refusal = (struct refusal){
        .kind = kind,
        .code = code,
        .reason = counter->key + before - 1 - strlen(label),
        .endpoint = counter->key + before,
    };
    table_add(&refusals->table, &counter->entry);
    *refusals->end = counter;
    refusals->end = &counter->next;
    return counter;
}

_Atomic uint64_t *refusals_counter(struct refusals *refusals, enum refusal_kind kind, unsigned code,
                                   const char *reason, const char *endpoint) {
    uv_mutex_lock(&refusals->lock);
    struct counter *counter = find(refusals, kind, code, reason, endpoint == NULL ? "" : endpoint);
    uv_mutex_unlock(&refusals->lock);
    return &counter->count;
}

void refusals_count(struct refusals *refusals, enum refusal_kind kind, unsigned code,
                    const char *reason, const char *endpoint) {
    if (refusals != NULL)
        atomic_fetch_add_explicit(refusals_counter(refusals, kind, code, reason, endpoint), 1,
                                  memory_order_relaxed);
}

void refusals_count_path(struct refusals *refusals, unsigned status, const char *reason,
                         struct slice path) {
    if (refusals == NULL)
        return;
    uv_mutex_lock(&refusals->lock);
    const char *endpoint = find_pattern(refusals, path);
    uv_mutex_unlock(&refusals->lock); /* patterns stay */
    refusals_count(refusals, REFUSAL_REQUEST, status, reason, endpoint);
}

void refusals_each(struct refusals *refusals, void (*f)(void *user, const struct refusal *refusal),
                   void *user) {
    uv_mutex_lock(&refusals->lock);
    for (const struct counter *counter = refusals->first; counter != NULL;
         counter = counter->next) {
        struct refusal refusal = counter->refusal;
        refusal.count = atomic_load_explicit(&counter->count, memory_order_relaxed);
        f(user, &refusal);
    }
    uv_mutex_unlock(&refusals->lock);
}
