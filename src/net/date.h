/* date.h -- the dates of HTTP headers (RFC 9110 §5.6.7).
 *
 * Writes and reads "Sun, 06 Nov 1994 08:49:37 GMT", whatever the locale. Owns nothing, any
 * thread. */
#ifndef TIDEWIRE_NET_DATE_H
#define TIDEWIRE_NET_DATE_H

#include "base/slice.h"

#include <stdbool.h>
#include <time.h>

enum { DATE_BYTES = 30 }; /* a date with its NUL */

/* Writes the date of `when` (seconds since 1970; years 1 to 9999), NUL-terminated. */
void date_format(time_t when, char out[DATE_BYTES]);

/* Reads a date of exactly that form. The two obsolete forms are not read: no client has sent them
 * for decades, and a condition that is not understood is ignored. False: it is no such date. */
bool date_parse(struct slice text, time_t *when);

#endif
