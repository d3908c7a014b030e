/* static.h -- finds the file below a folder that a request's path names.
 *
 * No path leads out of the folder: not by "..", not by an encoded slash, not by a symbolic link.
 * Files and folders whose name begins with a dot do not exist, except ".well-known" right below the
 * folder. Opens the file and decides the response's status and headers; the caller sends them and
 * the bytes. Keeps nothing between calls. Blocking file system calls; any thread. Knows no routes
 * and no sockets. */
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
    STATIC_MAX_QUERY = 4096 /* bytes; a redirect drops a longer query */
};

struct static_file {
    int status;   /* 200, 206, 301, 304, 400, 403, 404, 405, 412, 416, 500 or 503 */
    int fd;       /* open when it has bytes to send, else -1; static_close() closes it */
    off_t offset; /* of the first byte to send */
    off_t length; /* bytes to send; for HEAD those that GET would send; 0 without a file */
    off_t size;   /* of the whole file */
    time_t modified;
    const char *type;   /* Content-Type, a constant; NULL without a file */
    const char *coding; /* Content-Encoding, a constant; NULL: none */
    bool varies;        /* other clients may get another variant of the file */
    const char *text;   /* a sentence for the body of a status that is not 2xx or 304; else "" */
    char etag[STATIC_ETAG_BYTES]; /* with its quotes; "" without a file */
    struct slice location;        /* for 301: the last part of the request's path, … */
    struct slice query;           /* … and its query. Views into the request */
    int folder_errno;             /* why the folder cannot be opened; 0: it was; -1: not tried */
};

/* A compressed file beside the one that is asked for is sent in its place to clients that accept
 * its coding (precompressed.h); `size`, `modified` and `etag` are its own.
 *
 * Finds `path`, which is the percent-encoded end of the request's path below the mount: "" or a
 * text that begins with "/". Checks the method, If-Match, If-Unmodified-Since, If-None-Match,
 * If-Modified-Since, Range (one; for several the whole file is sent) and If-Range. Opens `folder`
 * by its name at each call: it may be replaced, or be a link that changes. A folder below it means
 * its index.html; without its final slash the status is 301. Returns out->status. */
int static_find(const char *folder, const struct request *r, struct slice path,
                struct static_file *out);

/* Adds the headers of the response: Content-Type, Content-Encoding, Vary, ETag, Last-Modified,
 * Accept-Ranges, Content-Range, Location, Allow, X-Content-Type-Options, and "Cache-Control:
 * no-cache" (browsers keep the file, but ask each time whether it has changed). False when the
 * response has failed; a buffer of 8 KiB is enough for all of them. For a status with a `text` the
 * caller sends that as the body, with a Content-Type of its own. */
bool static_headers(const struct static_file *file, struct response *res);

/* Closes the file, if one is open. */
void static_close(struct static_file *file);

#endif
