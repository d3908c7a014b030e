/* ip_rates.h -- how fast each client's address may connect and send plain requests.
 *
 * One table for all workers, with an entry for each address that has taken tokens and not got all
 * back; the entries outlast the connections. An IPv6 client counts with its /64 network, the
 * smallest that one customer gets. Any thread.
 *
 * The number of entries has a limit: a new one replaces the one that was used the longest time
 * ago, whose address then begins with full buckets. */
#ifndef TIDEWIRE_NET_SOCKET_IP_RATES_H
#define TIDEWIRE_NET_SOCKET_IP_RATES_H

#include "base/token_bucket.h"

#include <stdint.h>

enum ip_rate { IP_RATE_CONNECTIONS, IP_RATE_REQUESTS, IP_RATE_COUNT };

/* Entries at most; each takes some 130 bytes. */
enum { IP_RATES_MAX = 65536 };

struct ip_rates;

struct ip_rates *ip_rates_new(void);
void ip_rates_free(struct ip_rates *rates); /* accepts NULL */

/* Without this call, or with all zeros, there is no limit. */
void ip_rates_set(struct ip_rates *rates, enum ip_rate which, struct token_rate rate);

/* Takes a token of this address, a numeric one, perhaps with a zone; any other text ("unix") has no
 * limit. Returns 0, or the milliseconds until there is a token. `now_ms` is monotonic, and that of
 * one thread may be somewhat behind that of another. */
uint64_t ip_rates_take(struct ip_rates *rates, enum ip_rate which, const char *address,
                       uint64_t now_ms);

/* The number of entries. */
uint32_t ip_rates_count(struct ip_rates *rates);

#endif
