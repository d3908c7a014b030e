/* sni.c -- certificates by server name. See sni.h. */
#include "net/socket/sni.h"

#include "base/mem.h"

#include <string.h>

enum { MAX_NAME_BYTES = 255 };

struct entry {
    struct table_entry entry;
    void *value;
    char name[];
};

/* Writes the name in small letters, without the dot at its end. Returns its length; 0: it is none.
 */
static size_t normalize(const char *name, char *out) {
    size_t len = strlen(name);
    if (len > 0 && name[len - 1] == '.')
        len--;
    if (len > MAX_NAME_BYTES)
        return 0;
    for (size_t i = 0; i < len; i++)
        out[i] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] | 32) : name[i];
    return len;
}

void sni_add(struct sni *sni, const char *name, void *value) {
    char text[MAX_NAME_BYTES];
    size_t len = normalize(name, text);
    if (len == 0 || table_find(&sni->names, (struct slice){text, len}) != NULL)
        return;
    struct entry *entry = mem_zalloc(sizeof *entry + len);
    memcpy(entry->name, text, len);
    entry->value = value;
    entry->entry.key = (struct slice){entry->name, len};
    table_add(&sni->names, &entry->entry);
}

static void *find(const struct sni *sni, const char *name, size_t len) {
    struct table_entry *entry = table_find(&sni->names, (struct slice){name, len});
    return entry == NULL ? NULL : TABLE_OWNER(entry, struct entry, entry)->value;
}

void *sni_find(const struct sni *sni, const char *name) {
    char text[MAX_NAME_BYTES];
    size_t len = normalize(name, text);
    if (len == 0 || *text == '*')
        return NULL;
    void *value = find(sni, text, len);
    char *dot = memchr(text, '.', len);
    if (value != NULL || dot == NULL || dot == text)
        return value;
    dot[-1] = '*';
    return find(sni, dot - 1, len - (size_t)(dot - 1 - text));
}

void sni_close(struct sni *sni) {
    for (struct table_entry *entry; (entry = table_any(&sni->names)) != NULL;) {
        table_remove(&sni->names, entry);
        mem_free(TABLE_OWNER(entry, struct entry, entry));
    }
    table_close(&sni->names);
}
