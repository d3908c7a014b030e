/* trusted_proxies.h -- the peers that may name the client of a request: the option
 * `trusted_proxies`.
 *
 * A list of addresses and networks, which does not change once it is made. Knows neither headers
 * (net/http/forwarded.h) nor the PROXY protocol (proxy_header.h). Any thread. */
#ifndef TIDEWIRE_NET_SOCKET_TRUSTED_PROXIES_H
#define TIDEWIRE_NET_SOCKET_TRUSTED_PROXIES_H

#include "net/socket/ip.h"

struct trusted_proxies;

/* Is it an element of the option: an address, a network, or "unix" ("unix:" too) for the peers of
 * Unix sockets? False: a sentence in `error`. */
bool trusted_proxies_check(const char *text, char *error, size_t error_size);

/* Elements that trusted_proxies_check() refuses are left out. NULL: no peer is trusted. */
struct trusted_proxies *trusted_proxies_new(const char *const *texts, size_t count);
void trusted_proxies_free(struct trusted_proxies *proxies); /* accepts NULL */

/* Is the address in the list? `proxies` may be NULL. */
bool trusted_proxies_has(const struct trusted_proxies *proxies, const struct ip *ip);
/* The same for a peer, as address_format_ip() writes it: perhaps with its zone, or "unix". */
bool trusted_proxies_has_peer(const struct trusted_proxies *proxies, const char *peer);

#endif
