/* chunked.h -- decodes a request body in chunks (RFC 9112 §7.1).
 *
 * Takes bytes as they arrive and moves the data together at the front of the same buffer. Strict
 * about line ends and sizes; checks chunk extensions and trailer fields, limits their size, and
 * drops them. Owns nothing; any thread; does not know where the bytes come from. */
#ifndef TIDEWIRE_NET_HTTP_CHUNKED_H
#define TIDEWIRE_NET_HTTP_CHUNKED_H

#include <stddef.h>
#include <stdint.h>

/* Zero it before the first call for a body. */
struct chunked {
    /* For reading only: */
    uint64_t total;    /* bytes of all chunks so far, by their sizes */
    const char *error; /* after a failure: a sentence for the response's body; a constant */
    /* Only for chunked.c: */
    uint64_t remaining; /* of this chunk */
    uint32_t extra;     /* bytes of extensions and trailers so far */
    uint8_t state;      /* enum chunk_state in chunked.c */
    uint8_t digits;     /* of this chunk's size */
};

/* Decodes `len` bytes in place.
 *
 * Returns 1 when the body has ended, 0 when it goes on, and minus an HTTP status when it is
 * refused: 400 malformed, 413 more than `max_body` bytes (known from a chunk's size, before its
 * data), 431 too many extensions and trailers. Otherwise `body` gets the number of data bytes at
 * the front of `bytes`, and `used` how many of the `len` bytes were the body's: less than `len`
 * only at its end, and the bytes from there on are untouched. */
int chunked_decode(struct chunked *c, char *bytes, size_t len, uint64_t max_body, size_t *body,
                   size_t *used);

#endif
