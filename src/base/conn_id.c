/* conn_id.c -- the text of a connection's id. See conn_id.h. */
#include "base/conn_id.h"

#include "base/list.h"
#include "base/mem.h"
#include "base/table.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <uv.h>

enum { BITS = 5 }; /* of a character */

/* As text, because no other form is used. */
static char node_[CONN_ID_NODE_LEN + 1] = "00000000000";

/* Writes the lowest bits of the number as `len` characters. */
static void format(char *text, int len, uint64_t number) {
    for (; len-- > 0; number >>= BITS)
        text[len] = "0123456789abcdefghijklmnopqrstuv"[number & 31];
}

void conn_id_draw_node(void) {
    uint64_t node;
    if (getrandom(&node, sizeof node, 0) != (ssize_t)sizeof node) {
        perror("tidewire: no random numbers for the ids of connections");
        abort();
    }
    format(node_, CONN_ID_NODE_LEN, node);
}

/* ---- texts of earlier processes ---- */

struct kept_text {
    struct table_entry by_text, by_id;
    conn_id id;
    char text[CONN_ID_LEN];
};

/* The connection with this text goes to another machine, or has gone. */
struct given_text {
    struct table_entry by_text;
    struct list link; /* in kept.given_list, oldest first */
    conn_id id;
    char text[CONN_ID_LEN];
};

/* Texts of connections that have gone, at most. That of the oldest is then as any that is closed.
 */
enum { MAX_GIVEN = 100000 };

static struct {
    uv_once_t once;
    uv_rwlock_t lock;
    atomic_bool is_used;
    struct table by_text, by_id, given;
    struct list given_list;
} kept = {.once = UV_ONCE_INIT};

static void init_kept(void) {
    uv_rwlock_init(&kept.lock);
    list_init(&kept.given_list);
}

/* Under the lock. */
static void drop_given(struct slice text) {
    struct table_entry *found = table_find(&kept.given, text);
    if (found == NULL)
        return;
    struct given_text *entry = TABLE_OWNER(found, struct given_text, by_text);
    table_remove(&kept.given, found);
    list_remove(&entry->link);
    mem_free(entry);
}

void conn_id_keep_text(const char text[CONN_ID_LEN], conn_id id) {
    struct kept_text *entry = mem_zalloc(sizeof *entry);
    entry->id = id;
    memcpy(entry->text, text, CONN_ID_LEN);
    entry->by_text.key = (struct slice){entry->text, CONN_ID_LEN};
    entry->by_id.key = (struct slice){(const char *)&entry->id, sizeof entry->id};
    uv_once(&kept.once, init_kept);
    uv_rwlock_wrlock(&kept.lock);
    struct table_entry *other = table_find(&kept.by_text, entry->by_text.key);
    if (other != NULL) /* the newest connection of this text counts */
        table_remove(&kept.by_text, other);
    drop_given(entry->by_text.key);
    table_add(&kept.by_text, &entry->by_text);
    table_add(&kept.by_id, &entry->by_id);
    atomic_store(&kept.is_used, true);
    uv_rwlock_wrunlock(&kept.lock);
}

void conn_id_forget_text(conn_id id) {
    struct slice key = {(const char *)&id, sizeof id};
    uv_once(&kept.once, init_kept);
    uv_rwlock_wrlock(&kept.lock);
    struct table_entry *found = table_find(&kept.by_id, key);
    if (found != NULL) {
        struct kept_text *entry = TABLE_OWNER(found, struct kept_text, by_id);
        table_remove(&kept.by_id, found);
        if (table_find(&kept.by_text, entry->by_text.key) == &entry->by_text)
            table_remove(&kept.by_text, &entry->by_text);
        if (memcmp(entry->text, node_, CONN_ID_NODE_LEN) != 0) /* else parsing would find it */
            drop_given(entry->by_text.key);
        mem_free(entry);
    }
    uv_rwlock_wrunlock(&kept.lock);
}

void conn_id_give_text(conn_id id) {
    char text[CONN_ID_LEN + 1];
    conn_id_format(text, id);
    struct given_text *entry = mem_zalloc(sizeof *entry);
    entry->id = id;
    memcpy(entry->text, text, CONN_ID_LEN);
    entry->by_text.key = (struct slice){entry->text, CONN_ID_LEN};
    uv_once(&kept.once, init_kept);
    uv_rwlock_wrlock(&kept.lock);
    drop_given(entry->by_text.key);
    if (kept.given.count == MAX_GIVEN)
        drop_given(LIST_OWNER(kept.given_list.next, struct given_text, link)->by_text.key);
    table_add(&kept.given, &entry->by_text);
    list_append(&kept.given_list, &entry->link);
    struct table_entry *found = table_find(&kept.by_text, entry->by_text.key);
    if (found != NULL)
        table_remove(&kept.by_text, found);
    atomic_store(&kept.is_used, true);
    uv_rwlock_wrunlock(&kept.lock);
}

static bool find_text(conn_id id, char text[CONN_ID_LEN]) {
    struct slice key = {(const char *)&id, sizeof id};
    uv_rwlock_rdlock(&kept.lock);
    struct table_entry *found = table_find(&kept.by_id, key);
    if (found != NULL)
        memcpy(text, TABLE_OWNER(found, struct kept_text, by_id)->text, CONN_ID_LEN);
    uv_rwlock_rdunlock(&kept.lock);
    return found != NULL;
}

/* `*is_given`: the connection has gone. */
static bool find_id(const char *text, size_t len, conn_id *id, bool *is_given) {
    uv_rwlock_rdlock(&kept.lock);
    struct table_entry *found = table_find(&kept.given, (struct slice){text, len});
    *is_given = found != NULL;
    if (found != NULL)
        *id = TABLE_OWNER(found, struct given_text, by_text)->id;
    else
        found = table_find(&kept.by_text, (struct slice){text, len});
    if (found != NULL && !*is_given)
        *id = TABLE_OWNER(found, struct kept_text, by_text)->id;
    uv_rwlock_rdunlock(&kept.lock);
    return found != NULL;
}

/* ---- both forms ---- */

void conn_id_format(char text[CONN_ID_LEN + 1], conn_id id) {
    text[CONN_ID_LEN] = '\0';
    if (atomic_load(&kept.is_used) && find_text(id, text))
        return;
    memcpy(text, node_, CONN_ID_NODE_LEN);
    format(text + CONN_ID_NODE_LEN, CONN_ID_LEN - CONN_ID_NODE_LEN, id);
}

static bool parse_own(const char *text, size_t len, conn_id *id) {
    if (len != CONN_ID_LEN || memcmp(text, node_, CONN_ID_NODE_LEN) != 0)
        return false;
    text += CONN_ID_NODE_LEN;
    if (*text > '7') /* an id has 63 bits */
        return false;
    conn_id number = 0;
    for (int i = 0; i < CONN_ID_LEN - CONN_ID_NODE_LEN; i++) {
        if (text[i] >= '0' && text[i] <= '9')
            number = number << BITS | (conn_id)(text[i] - '0');
        else if (text[i] >= 'a' && text[i] <= 'v')
            number = number << BITS | (conn_id)(text[i] - 'a' + 10);
        else
            return false;
    }
    *id = number;
    return true;
}

bool conn_id_parse(const char *text, size_t len, conn_id *id) {
    bool is_given;
    if (atomic_load(&kept.is_used) && find_id(text, len, id, &is_given))
        return !is_given;
    return parse_own(text, len, id);
}

bool conn_id_find(const char *text, size_t len, conn_id *id) {
    bool is_given;
    return (atomic_load(&kept.is_used) && find_id(text, len, id, &is_given)) ||
           parse_own(text, len, id);
}
