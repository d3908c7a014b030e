/* static.h -- finds the file below a folder that a request's path names.
 *
 * Nothing outside of the folder can be reached: not by "..", not by an encoded slash, not by a
 * symbolic link. Files and folders whose name begins with a dot do not exist, but for ".well-known"
 * right below the folder. Opens the file and works out the answer's status and headers; the caller
 * sends them and the bytes. Keeps nothing between calls. Blocking file system calls; any thread.
 * Does not know routes or sockets. */
#ifndef TIDEWIRE_NET_HTTP_STATIC_H
#define TIDEWIRE_NET_HTTP_STATIC_H

#include "base/slice.h"
#include "net/http/request.h"
#include "net/http/response.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

enum {
    STATIC_ETAG_BYTES = 64,
    STATIC_MAX_QUERY = 4096 /* a longer query is not repeated in a redirect */
};

struct static_file {
    int status;   /* 200, 206, 301, 304, 400, 403, 404, 405, 412, 416, 500 or 503 */
    int fd;       /* open when there are bytes to send from it, else -1; static_close closes it */
    off_t offset; /* first byte to send */
    off_t length; /* bytes to send; for HEAD what GET would send. 0 when there is no file to send */
    off_t size;   /* of the whole file */
    time_t modified;
    const char *type; /* Content-Type, a constant; NULL without a file */
    const char *text; /* a sentence for the body of a status that is not 2xx or 304; else "" */
    char etag[STATIC_ETAG_BYTES]; /* with its quotes; "" without a file */
    struct slice location;        /* for 301: the last part of the request's path … */
    struct slice query;           /* … and its query, if below 4 KiB. Views into the request */
    int folder_errno; /* why the folder itself cannot be opened; 0: it was; -1: not tried */
};

/* Looks up `path`, the percent-encoded end of the request's path below the place where the
 * folder is served ("" or something that begins with "/"), and judges method, If-Match,
 * If-Unmodified-Since, If-None-Match, If-Modified-Since, Range (a single one; several are answered
 * with the whole file) and If-Range. `folder` is opened by its name at each call: it may be made
 * anew, or be a link that is moved. A folder below it means its index.html; without its final slash
 * it is a 301. Returns out->status. */
int static_find(const char *folder, const struct request *r, struct slice path,
                struct static_file *out);

/* Adds the headers that belong to the answer: Content-Type, ETag, Last-Modified, Accept-Ranges,
 * Content-Range, Location, Allow, X-Content-Type-Options, and "Cache-Control: no-cache" (browsers
 * keep the file, but ask each time whether it is still good). False when the response has failed;
 * a buffer of 8 KiB is enough for all of them. For a status with a `text` the caller sends that
 * text as the body and adds its own Content-Type. */
bool static_headers(const struct static_file *file, struct response *res);

/* Closes the file, if one is open. */
void static_close(struct static_file *file);

#endif
