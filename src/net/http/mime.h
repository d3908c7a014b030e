/* mime.h -- the media type of a file, by its name's ending.
 *
 * What browsers, players and feed readers need to use a file, and what people commonly put on a web
 * server. Owns nothing, any thread. */
#ifndef TIDEWIRE_NET_HTTP_MIME_H
#define TIDEWIRE_NET_HTTP_MIME_H

#include "base/slice.h"

/* The Content-Type for a file name or path, by its ending in any case; text is UTF-8.
 * "application/octet-stream" for an unknown ending or none; a few names without one that are known
 * to be JSON are that. A constant. */
const char *mime_type(struct slice name);

#endif
