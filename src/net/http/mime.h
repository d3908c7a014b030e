/* mime.h -- the media type of a file, by the ending of its name.
 *
 * Has what browsers, media players and feed readers need, and what people commonly put on a web
 * server. Owns nothing, any thread. */
#ifndef TIDEWIRE_NET_HTTP_MIME_H
#define TIDEWIRE_NET_HTTP_MIME_H

#include "base/slice.h"

/* The Content-Type of a file name or path, by its ending in any case; text is UTF-8. For a name
 * without a known ending "application/octet-stream", except a few that are known to be JSON. A
 * constant. */
const char *mime_type(struct slice name);

#endif
