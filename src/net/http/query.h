/* query.h -- a value of a request's query, decoded (application/x-www-form-urlencoded).
 *
 * As uri.parse_query() of lua/tidewire/base/uri.lua reads it. Owns nothing, any thread. */
#ifndef TIDEWIRE_NET_HTTP_QUERY_H
#define TIDEWIRE_NET_HTTP_QUERY_H

#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>

/* Finds the last pair with this name. Writes its decoded value, at most `room` bytes and no NUL;
 * `*len` gets the length of the whole value, which may be more. False: there is no such pair. */
bool query_find(struct slice query, const char *name, char *value, size_t room, size_t *len);

#endif
