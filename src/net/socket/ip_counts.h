/* ip_counts.h -- how many connections each remote address has.
 *
 * A counted entry per address, shared by its connections; gone with the last. One for all workers:
 * any thread. Knows the text of the address only. */
#ifndef TIDEWIRE_NET_SOCKET_IP_COUNTS_H
#define TIDEWIRE_NET_SOCKET_IP_COUNTS_H

#include <stddef.h>
#include <stdint.h>

struct ip_counts;
struct ip_count;

struct ip_counts *ip_counts_new(void);
/* All entries must have left. Accepts NULL. */
void ip_counts_free(struct ip_counts *counts);

uint32_t ip_counts_get(struct ip_counts *counts, const char *text);

/* One connection more. Keep the entry and give it to ip_counts_remove() once. NULL: there are `max`
 * already (0: no limit). */
struct ip_count *ip_counts_add(struct ip_counts *counts, const char *text, uint32_t max);
void ip_counts_remove(struct ip_count *entry);

/* For limit_take_bytes(): bytes of request bodies that are under way from there, and of answers
 * that wait. */
_Atomic size_t *ip_counts_uploads(struct ip_count *entry);
_Atomic size_t *ip_counts_responses(struct ip_count *entry);

#endif
