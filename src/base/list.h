/* list.h -- intrusive doubly linked lists: the links live in the members.
 *
 * A list is a link that points at itself when empty. Members join and leave in O(1) and need no
 * memory. Owns nothing; one thread at a time. */
#ifndef TIDEWIRE_BASE_LIST_H
#define TIDEWIRE_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *prev, *next;
};

/* The owner of a link: LIST_OWNER(link, struct conn, dirty). */
#define LIST_OWNER(link, type, member) ((type *)(((char *)(link)) - offsetof(type, member)))

/* An empty list; also a link that is in no list. */
static inline void list_init(struct list *list) {
    list->prev = list->next = list;
}

static inline bool list_empty(const struct list *list) {
    return list->next == list;
}

/* The link must be in no list. */
static inline void list_append(struct list *list, struct list *link) {
    link->prev = list->prev;
    link->next = list;
    list->prev->next = link;
    list->prev = link;
}

/* Removes a link from its list; does nothing for a link that is in none. */
static inline void list_remove(struct list *link) {
    link->prev->next = link->next;
    link->next->prev = link->prev;
    list_init(link);
}

/* Moves all members of `from` to the end of `to`. */
static inline void list_move(struct list *to, struct list *from) {
    if (list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

#endif
