/* addresses.h -- how many connections each remote address has.
 *
 * A counted entry per address, shared by its connections; gone with the last. One for all workers: any
 * thread. Knows the text of the address only. */
#ifndef TIDEWIRE_NET_ADDRESSES_H
#define TIDEWIRE_NET_ADDRESSES_H

#include <stddef.h>
#include <stdint.h>

struct addresses;
struct address_entry;

struct addresses *addresses_new(void);
/* All entries must have left. Accepts NULL. */
void addresses_free(struct addresses *addresses);

uint32_t addresses_count(struct addresses *addresses, const char *text);

/* One connection more. Keep the entry and give it to addresses_remove() once. NULL: there are `max` already
 * (0: no limit). */
struct address_entry *addresses_add(struct addresses *addresses, const char *text, uint32_t max);
void addresses_remove(struct address_entry *entry);

/* For quota.h: bytes of request bodies that are under way from there, and of answers that wait. */
_Atomic size_t *addresses_uploads(struct address_entry *entry);
_Atomic size_t *addresses_responses(struct address_entry *entry);

#endif
