/* chunked.h -- takes the chunks off a request body (RFC 9112 §7.1).
 *
 * Fed with whatever has arrived, it moves the body's bytes together at the front of the same
 * buffer. Strict about line ends and sizes; chunk extensions and trailer fields are checked,
 * bounded and dropped. Owns nothing; any thread; does not know where the bytes come from. */
#ifndef TIDEWIRE_NET_HTTP_CHUNKED_H
#define TIDEWIRE_NET_HTTP_CHUNKED_H

#include <stddef.h>
#include <stdint.h>

/* Zero it before the first call for a body. */
struct chunked {
    /* For reading only: */
    uint64_t total;    /* body bytes announced so far by the chunks' sizes */
    const char *error; /* after a failure: a constant sentence for the response's body */
    /* Only for chunked.c: */
    uint64_t remaining; /* of the present chunk */
    uint32_t extra;     /* bytes of extensions and trailers so far */
    uint8_t state;
    uint8_t digits;
};

/* Decodes `len` bytes in place.
 *
 * Returns 1 when the body has ended, 0 when more is to come, and minus an HTTP status when it is
 * refused: 400 malformed, 413 the body passes `max_body` bytes (known from a chunk's size, before
 * its data), 431 too much beside the data. `body`, if not negative, gets the number of body bytes
 * that now stand at the front of `bytes`. `used` gets how many of the `len` bytes were the body's:
 * less than `len` only at its end, and the rest is untouched at bytes + used. */
int chunked_decode(struct chunked *c, char *bytes, size_t len, uint64_t max_body, size_t *body,
                   size_t *used);

#endif
