/* ip_counts.h -- what each remote address has: connections, bytes of uploads and of responses.
 *
 * One entry for each address, which its connections share; the last one frees it. One table for all
 * workers: any thread. Knows an address only as its text, which for IPv6 is that of a /64 network.
 *
 * Another limit on one address is one more field of struct ip_count; one that must outlast the
 * connections, such as a rate, needs entries that outlast them too. */
#ifndef TIDEWIRE_NET_SOCKET_IP_COUNTS_H
#define TIDEWIRE_NET_SOCKET_IP_COUNTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ip_counts;
struct ip_count;

struct ip_counts *ip_counts_new(void);
/* All entries must be removed before. Accepts NULL. */
void ip_counts_free(struct ip_counts *counts);

/* The connections of this address. */
uint32_t ip_counts_get(struct ip_counts *counts, const char *ip);

/* Is the entry of this address? */
bool ip_counts_is(const struct ip_count *entry, const char *ip);

/* Counts one more connection. The caller keeps the entry and passes it to ip_counts_remove() once.
 * NULL: the address has `max` connections already (0: no limit). */
struct ip_count *ip_counts_add(struct ip_counts *counts, const char *ip, uint32_t max);
void ip_counts_remove(struct ip_count *entry);
/* The text that it was added with. */
const char *ip_counts_text(const struct ip_count *entry);

/* Bytes of request bodies that arrive, and of responses that wait, of this address: the share of
 * one owner in limit_take_bytes(). */
_Atomic size_t *ip_counts_uploads(struct ip_count *entry);
_Atomic size_t *ip_counts_responses(struct ip_count *entry);

#endif
