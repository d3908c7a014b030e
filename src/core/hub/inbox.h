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
    bool is_handled; /* only a place: see inbox_push_handled() */
    char bytes[];
};

struct inbox;

struct inbox *inbox_new(void);
void inbox_free(struct inbox *inbox); /* accepts NULL; frees the messages, too */

void inbox_push(struct inbox *inbox, const char *bytes, size_t len, bool binary);

uint64_t inbox_count(const struct inbox *inbox); /* accepts NULL */

/* A message that was handled already, before those that wait: it keeps its place among them, so
 * that what is counted as handled is always what came first. */
void inbox_push_handled(struct inbox *inbox);

/* The oldest item, now the caller's (mem_free), or NULL. */
struct inbox_item *inbox_pop(struct inbox *inbox);

/* Bytes of memory of its items. */
size_t inbox_cost(const struct inbox *inbox); /* accepts NULL */

bool inbox_empty(const struct inbox *inbox); /* NULL is empty */
bool inbox_full(const struct inbox *inbox);  /* NULL is not full */
/* The same with the larger limit of a client that is asked: its answers come behind its messages.
 */
bool inbox_full_for_answers(const struct inbox *inbox);

#endif
