/* inbox.h -- messages of a client that came while a hook of its connection slept, oldest first.
 *
 * Small: when it is full, the hub stops reading from the socket. Copies payloads. One worker. */
#ifndef TIDEWIRE_CORE_HUB_INBOX_H
#define TIDEWIRE_CORE_HUB_INBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct inbox_item {
    struct inbox_item *next;
    size_t len;
    bool binary;
    char bytes[];
};

struct inbox;

struct inbox *inbox_new(void);
void inbox_free(struct inbox *inbox); /* accepts NULL; frees the messages, too */

void inbox_push(struct inbox *inbox, const char *bytes, size_t len, bool binary);

uint64_t inbox_count(const struct inbox *inbox); /* accepts NULL */

/* The oldest item, now the caller's (mem_free), or NULL. */
struct inbox_item *inbox_pop(struct inbox *inbox);

/* Bytes of memory of its items. */
size_t inbox_cost(const struct inbox *inbox); /* accepts NULL */

bool inbox_empty(const struct inbox *inbox); /* NULL is empty */
bool inbox_full(const struct inbox *inbox);  /* NULL is not full */

#endif
