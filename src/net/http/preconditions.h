/* preconditions.h -- conditional requests and range requests for a file.
 *
 * Compares a request's headers with what is known of the file, by RFC 9110 §13 and §14. Owns
 * nothing, any thread; opens no files and writes no responses. */
#ifndef TIDEWIRE_NET_HTTP_PRECONDITIONS_H
#define TIDEWIRE_NET_HTTP_PRECONDITIONS_H

#include "net/http/request.h"

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* Does If-Match (strong comparison), or without it If-Unmodified-Since, fail? Then the response is
 * 412, whatever else the request says (RFC 9110 §13.2.2). A malformed date is ignored; malformed
 * tags match nothing. `etag` is strong, with its quotes. */
bool preconditions_fail(const struct request *r, const char *etag, time_t modified);

/* Does If-None-Match, or without it If-Modified-Since, say that the client has the current file?
 * Then the response is 304. A malformed condition does not hold. */
bool preconditions_not_modified(const struct request *r, const char *etag, time_t modified);

enum preconditions_range {
    RANGE_WHOLE,        /* no range, or one that is ignored: 200 */
    RANGE_PART,         /* 206 with the bytes of `offset` and `length` */
    RANGE_UNSATISFIABLE /* 416 */
};

/* Which bytes of `size` does the request want? Ignored are several ranges, units other than bytes,
 * malformed ranges, and a range whose If-Range names another version of the file. For RANGE_PART
 * `offset` and `length` get the part, which is within the size and not empty. */
enum preconditions_range preconditions_range(const struct request *r, const char *etag,
                                             time_t modified, int64_t size, int64_t *offset,
                                             int64_t *length);

#endif
