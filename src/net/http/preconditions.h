/* preconditions.h -- conditional and range requests: is the client's copy still good, and which
 * part does it want?
 *
 * The comparisons of RFC 9110 §13 and §14 on a request and what is known of a file. Owns nothing,
 * any thread; does not open files or write answers. */
#ifndef TIDEWIRE_NET_HTTP_PRECONDITIONS_H
#define TIDEWIRE_NET_HTTP_PRECONDITIONS_H

#include "net/http/request.h"

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* Does the request want the file only as it is not? By If-Match (strong comparison), and only
 * without it by If-Unmodified-Since. Then the answer is 412, whatever else the request says (RFC
 * 9110 §13.2.2). A date that cannot be read is ignored; tags that cannot be read match nothing. */
bool preconditions_fail(const struct request *r, const char *etag, time_t modified);

/* Is the client's copy the present one? By If-None-Match, and only without it by
 * If-Modified-Since. `etag` is a strong one, with its quotes. A condition that cannot be read is
 * not met. Then the answer is 304. */
bool preconditions_not_modified(const struct request *r, const char *etag, time_t modified);

enum preconditions_range {
    RANGE_WHOLE,        /* no range asked for, or one that may be ignored: 200 */
    RANGE_PART,         /* 206 with the bytes found */
    RANGE_UNSATISFIABLE /* 416 */
};

/* Which bytes of `size` does the request want? Only a single range is honoured; several, other
 * units, what cannot be read, and a range whose If-Range names another version mean the whole. For
 * RANGE_PART offset and length get the part, which is within the size and not empty. */
enum preconditions_range preconditions_range(const struct request *r, const char *etag,
                                             time_t modified, int64_t size, int64_t *offset,
                                             int64_t *length);

#endif
