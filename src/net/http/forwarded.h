/* forwarded.h -- the client of a request, as the proxies before this server name it.
 *
 * Reads X-Forwarded-For, -Proto and -Host, and Forwarded (RFC 7239), from the right, the end to
 * which each proxy appends: as far as the elements come from trusted proxies. What a client has put
 * before them cannot change the result. Pure functions on a parsed request: owns nothing, allocates
 * nothing, any thread. The caller knows whether the peer is trusted. */
#ifndef TIDEWIRE_NET_HTTP_FORWARDED_H
#define TIDEWIRE_NET_HTTP_FORWARDED_H

#include "net/http/request.h"
#include "net/socket/trusted_proxies.h"

/* Which headers count: the option `forwarded_header`. */
enum forwarded_header {
    FORWARDED_EITHER, /* X-Forwarded-…; without X-Forwarded-For, Forwarded */
    FORWARDED_X,      /* X-Forwarded-For, -Proto, -Host */
    FORWARDED_RFC7239,
};

struct forwarded {
    bool has_client; /* false: no proxy names one, and the peer is the client */
    struct ip client;
    bool has_scheme;
    bool secure;       /* with has_scheme: the client uses TLS */
    struct slice host; /* the host that the client has asked for; empty: unknown */
};

/* Reads the headers of a request whose peer is trusted. The client is the last address, from the
 * right, that is not a trusted proxy's; or the last one before an element that is no address
 * ("unknown", "_hidden", garbage). Slices point into the request. */
void forwarded_read(const struct request *r, const struct trusted_proxies *proxies,
                    enum forwarded_header header, struct forwarded *out);

/* The parts, for tests. */

/* Takes the last element, trimmed, off the end of a comma-separated list; commas between double
 * quotes separate nothing; skips empty elements. False: the list has no more. */
bool forwarded_take_last(struct slice *list, struct slice *item);
/* The address of a node (RFC 7239 section 6): with or without brackets, with or without a port.
 * False: it has none. */
bool forwarded_parse_node(struct slice node, struct ip *out);

/* An element of Forwarded. A parameter that it lacks is empty; quotes are removed. */
struct forwarded_element {
    struct slice node, proto, host;
};
/* False: it is malformed (RFC 7239 section 4), or has a parameter twice. */
bool forwarded_parse_element(struct slice text, struct forwarded_element *out);

#endif
