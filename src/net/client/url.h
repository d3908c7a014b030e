/* url.h -- the URL of a WebSocket as people write it, for a client.
 *
 * ws://HOST[:PORT][/PATH][?QUERY] and wss:// (RFC 6455 section 3); http:// and https:// mean the
 * same, and without a scheme it is ws://. unix:/path/of/socket[:/PATH] is a Unix socket. A struct
 * url owns its texts. */
#ifndef TIDEWIRE_NET_CLIENT_URL_H
#define TIDEWIRE_NET_CLIENT_URL_H

#include <stdbool.h>
#include <stddef.h>

struct url {
    bool secure;
    char *host;      /* a name or an IP address without brackets; or the path of a Unix socket */
    char port[6];    /* "" for a Unix socket */
    char *authority; /* for the header Host */
    char *target;    /* path and query, for the request line */
    bool is_unix;
};

/* False, with a sentence in `error`, when the text is no such URL. The caller calls url_close() in
 * both cases. */
bool url_parse(const char *text, struct url *url, char *error, size_t error_size);
void url_close(struct url *url);

#endif
