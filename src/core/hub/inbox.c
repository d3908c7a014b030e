/* inbox.c -- a client's messages that wait for a sleeping hook. See inbox.h. */
#include "core/hub/inbox.h"

#include "base/mem.h"

#include <string.h>

/* From either on the inbox is full. A message that has arrived already may exceed the bytes. */
enum { FULL_ITEMS = 64, FULL_BYTES = 64 * 1024, ASKED = 16 /* times as much */ };

struct inbox {
    struct inbox_item *first, *last;
    size_t count, bytes;
};

struct inbox *inbox_new(void) {
    return mem_zalloc(sizeof(struct inbox));
}

void inbox_free(struct inbox *inbox) {
    if (inbox == NULL)
        return;
    for (struct inbox_item *item; (item = inbox_pop(inbox)) != NULL;)
        mem_free(item);
    mem_free(inbox);
}

void inbox_push(struct inbox *inbox, const char *bytes, size_t len, bool binary) {
    struct inbox_item *item = mem_alloc(sizeof *item + len);
    item->next = NULL;
    item->len = len;
    item->binary = binary;
    item->is_handled = false;
    if (len > 0)
        memcpy(item->bytes, bytes, len);
    if (inbox->last == NULL)
        inbox->first = item;
    else
        inbox->last->next = item;
    inbox->last = item;
    inbox->count++;
    inbox->bytes += len;
}

void inbox_push_handled(struct inbox *inbox) {
    inbox_push(inbox, NULL, 0, false);
    inbox->last->is_handled = true;
}

uint64_t inbox_count(const struct inbox *inbox) {
    return inbox == NULL ? 0 : inbox->count;
}

struct inbox_item *inbox_pop(struct inbox *inbox) {
    struct inbox_item *item = inbox->first;
    if (item == NULL)
        return NULL;
    inbox->first = item->next;
    if (inbox->first == NULL)
        inbox->last = NULL;
    inbox->count--;
    inbox->bytes -= item->len;
    return item;
}

/* What an allocation costs beyond its bytes. */
enum { ALLOCATION_BYTES = 16 };

size_t inbox_cost(const struct inbox *inbox) {
    if (inbox == NULL)
        return 0;
    return inbox->bytes + inbox->count * (sizeof(struct inbox_item) + ALLOCATION_BYTES);
}

bool inbox_empty(const struct inbox *inbox) {
    return inbox == NULL || inbox->first == NULL;
}

static bool is_full(const struct inbox *inbox, size_t times) {
    return inbox != NULL &&
           (inbox->count >= FULL_ITEMS * times || inbox->bytes >= FULL_BYTES * times);
}

bool inbox_full(const struct inbox *inbox) {
    return is_full(inbox, 1);
}

bool inbox_full_for_answers(const struct inbox *inbox) {
    return is_full(inbox, ASKED);
}
