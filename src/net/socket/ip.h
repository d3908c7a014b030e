/* ip.h -- IP addresses and networks as values: parsed, formatted, compared.
 *
 * An IPv4 address that is mapped into IPv6 (::ffff:192.0.2.1) is that IPv4 address. Zones
 * ("%eth0") and ports are not part of an address here; address.h has those. Pure functions: owns
 * nothing, any thread. */
#ifndef TIDEWIRE_NET_SOCKET_IP_H
#define TIDEWIRE_NET_SOCKET_IP_H

#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    IP_TEXT_BYTES = 46,   /* enough for each ip_format(), with its NUL */
    IP_ERROR_BYTES = 256, /* enough for most errors of ip_network_parse(), which cuts the others */
};

struct ip {
    bool is_ipv6;
    uint8_t bytes[16]; /* network order; IPv4: the first four, the others are 0 */
};

/* The addresses whose first `bits` bits are those of `ip`. */
struct ip_network {
    struct ip ip;
    unsigned bits; /* 0 to 32; IPv6: 0 to 128 */
};

/* Reads "192.0.2.1" or "2001:db8::1", nothing before or behind it. */
bool ip_parse(struct slice text, struct ip *out);
/* From 4 or 16 bytes in network order. */
struct ip ip_from_ipv4(const void *bytes);
struct ip ip_from_ipv6(const void *bytes);

/* The addresses that limits count as one client: an IPv4 address, or the /64 network of an IPv6
 * address, the smallest that one customer gets. All its bytes are defined. */
struct ip ip_client_network(const struct ip *ip);

/* Writes it in its shortest form (RFC 5952). Returns `out`. */
const char *ip_format(const struct ip *ip, char out[IP_TEXT_BYTES]);

/* Reads an address, "192.0.2.1", or a network, "10.0.0.0/8" or "2001:db8::/32"; bits behind the
 * prefix do not count. False, with a sentence in `error`, when it is neither. */
bool ip_network_parse(const char *text, struct ip_network *out, char *error, size_t error_size);

/* Is the address in the network? An IPv4 address is in no network of IPv6, also not in ::/0. */
bool ip_network_has(const struct ip_network *network, const struct ip *ip);

#endif
