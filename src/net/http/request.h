/* request.h -- the head of an HTTP/1.x request, checked strictly (RFC 9112).
 *
 * Everything that could be read in two ways is refused, because a proxy in front may read it in the
 * other: bare line feeds, folded lines, space before a colon, two lengths, a length beside chunks.
 * Works on the caller's buffer without copying or allocating; owns nothing; any thread. Does not
 * know sockets, WebSocket (handshake.h) or bodies (chunked.h). */
#ifndef TIDEWIRE_NET_HTTP_REQUEST_H
#define TIDEWIRE_NET_HTTP_REQUEST_H

#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    REQUEST_MAX_HEADERS = 100, /* header lines; more is answered with 431 */
    REQUEST_MAX_METHOD = 32    /* bytes of the method; more is answered with 501 */
};

struct request_field {
    struct slice name;  /* as written by the client */
    struct slice value; /* without the white space around it; may be empty */
};

/* Zero it before the first call for a request (only what stands under "Between calls" has to be
 * zero). The slices point into the buffer of the call that returned the head's length, so they are
 * lost when that buffer is moved or freed. */
struct request {
    /* After success: */
    struct slice head;   /* request line to blank line included, without an empty line before it */
    struct slice method; /* "GET"; case matters */
    struct slice target; /* as sent: "/chat?x=1" or "http://host/chat?x=1" */
    struct slice path;   /* begins with "/", still percent-encoded; or is "*", of OPTIONS */
    struct slice query;  /* what follows the "?"; empty when there is none */
    struct slice host;   /* of an absolute target, else the Host header; empty when there is none */
    int minor;           /* HTTP/1.<minor>: 0 or 1 (any later 1.x counts as 1) */
    int64_t content_length; /* -1 = none given */
    bool chunked;           /* a body in chunks follows; never together with content_length >= 0 */
    bool expect_continue;   /* the client waits for "100 Continue" before it sends the body */
    size_t field_count;
    struct request_field fields[REQUEST_MAX_HEADERS];

    /* After failure: a constant sentence that says what is wrong, fit for the response's body. */
    const char *error;

    /* Between calls, only for request.c: how much is known to be good so far. */
    struct {
        size_t start; /* where the request line begins */
        size_t mark;  /* where the word being read begins */
        size_t next;  /* first byte not looked at */
        uint32_t lines;
        uint8_t state; /* enum state in request.c */
    } scan;
};

/* Reads a request head from the first `len` of the bytes received so far.
 *
 * > 0: complete; the length of the head with its blank line, and with an empty line before it if
 * the
 *      client sent one. Bytes after it are the body, or whatever the client sent ahead.
 * 0:   incomplete, and nothing wrong so far. Call again with the same bytes and more behind them
 *      (the buffer may have moved); only the new bytes are looked at.
 *      After success it may be called again too, to have the slices point into a buffer that moved.
 * < 0: refused: minus the HTTP status to answer with, `error` says why. 400 malformed; 413
 *      Content-Length too large for a number; 414 the request line alone passes `max_bytes`; 417
 *      an Expect we do not know; 431 the head passes `max_bytes` or has too many lines; 501 an
 *      overlong method or a Transfer-Encoding other than "chunked"; 505 not HTTP/1. What cannot
 *      become a request (a TLS hello, binary data) is refused at its first wrong byte.
 *
 * `max_bytes` is the ceiling for the whole head and must be below INT_MAX. */
int request_parse(struct request *r, const char *bytes, size_t len, size_t max_bytes);

/* The value of the first header with this name (any case); NULL when there is none. `count`, when
 * not NULL, gets the number of headers with that name. */
const struct slice *request_header(const struct request *r, const char *name, size_t *count);

/* Does a comma-separated list hold this token, in any case? request_list_has(v, "upgrade") finds
 * it in "keep-alive, Upgrade", and not in "upgrades". */
bool request_list_has(struct slice value, const char *token);

/* The same over all headers of this name, which together are one list (RFC 9110 §5.3). */
bool request_header_has(const struct request *r, const char *name, const char *token);

/* Takes the next element off the front of a comma-separated list into `item`, trimmed; empty
 * elements are skipped. False when none is left. */
bool request_list_next(struct slice *list, struct slice *item);

/* The number that these decimal digits are, and nothing else; -1: they are none; INT64_MAX: more
 * than 18 digits. */
int64_t request_decimal(struct slice s);

/* May this byte stand in a token: a method, a header's name, a subprotocol (RFC 9110 §5.6.2)? */
bool request_token_byte(unsigned char byte);

/* Is it a token: at least one byte, all of them request_token_byte? */
bool request_is_token(struct slice s);

#endif
