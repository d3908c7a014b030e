/* proxy_header.h -- the header of the PROXY protocol, with which a proxy begins a connection.
 *
 * Versions 1 (a line of text) and 2 (binary), as
 * https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt describes them. Pure functions on the
 * bytes that have arrived: owns nothing, allocates nothing, any thread. Does not know which peers
 * may send the header. */
#ifndef TIDEWIRE_NET_SOCKET_PROXY_HEADER_H
#define TIDEWIRE_NET_SOCKET_PROXY_HEADER_H

#include "net/socket/ip.h"

enum {
    PROXY_HEADER_MAX_V1 = 107, /* bytes of the line, with its end (the specification's section 2.1)
                                */
    PROXY_HEADER_MAX = 4096,   /* bytes of version 2, which permits 16 + 65535 */
};

struct proxy_header {
    /* After success: */
    bool has_source;  /* false: the connection is the proxy's own, or of an unknown kind */
    bool is_unix;     /* the source is a Unix socket, without an address */
    struct ip source; /* the client, if it has an address */
    bool secure;      /* version 2 says that the client uses TLS */
    /* After failure: what is wrong, for the log; a constant. */
    const char *error;
};

/* Reads the header of the `len` bytes that have arrived.
 *
 * > 0: complete: its length. Bytes behind it are the client's.
 * 0:   incomplete, and good so far: call again with the same bytes and more behind them.
 * -1:  refused: absent, malformed or too long, and `error` says why. */
int proxy_header_parse(const char *bytes, size_t len, struct proxy_header *out);

/* Do the bytes begin as a header does? For the message to a peer that must not send one. */
bool proxy_header_begins(const char *bytes, size_t len);

#endif
