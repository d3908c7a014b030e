/* date.h -- the dates of HTTP headers (RFC 9110 §5.6.7).
 *
 * Formats "Sun, 06 Nov 1994 08:49:37 GMT"; parses that form and two obsolete ones; independent of
 * the locale. Owns nothing, any thread. */
#ifndef TIDEWIRE_NET_HTTP_DATE_H
#define TIDEWIRE_NET_HTTP_DATE_H

#include "base/slice.h"

#include <stdbool.h>
#include <time.h>

enum { DATE_BYTES = 30 }; /* a date with its NUL */

/* Later than all dates: the year 10000. */
#define DATE_LAST ((time_t)253402300800)

/* Formats `when` (seconds since 1970; years 1000 to 9999), NUL-terminated. */
void date_format(time_t when, char out[DATE_BYTES]);

/* Parses one of the three forms that a recipient must know:
 *
 *     Sun, 06 Nov 1994 08:49:37 GMT
 *     Sunday, 06-Nov-94 08:49:37 GMT      (RFC 850)
 *     Sun Nov  6 08:49:37 1994            (asctime)
 *
 * A year of two digits that is more than 50 years ahead means the year 100 before it. The day of
 * the week need not be right. False: the text is no such date. */
bool date_parse(struct slice text, time_t *when);

#endif
