/* request.h -- the head of an HTTP/1.x request, checked strictly (RFC 9112).
 *
 * Refuses everything that a proxy in front may read in another way: bare line feeds, folded lines,
 * space before a colon, two lengths, a length beside chunks. Works on the caller's buffer without
 * copying or allocating; owns nothing; any thread. Knows no sockets, no WebSocket (handshake.h) and
 * no bodies (chunked.h). */
#ifndef TIDEWIRE_NET_HTTP_REQUEST_H
#define TIDEWIRE_NET_HTTP_REQUEST_H

#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    REQUEST_MAX_HEADERS = 100, /* header lines; for more: 431 */
    REQUEST_MAX_METHOD = 32    /* bytes of the method; for more: 501 */
};

struct request_field {
    struct slice name;  /* as written by the client */
    struct slice value; /* trimmed; may be empty */
};

/* Zero it before the first call for a request: `scan` must be zeros. The slices point into the
 * buffer of the call that returned the head's length; they are invalid when that buffer moves. */
struct request {
    /* After success: */
    struct slice head;      /* from the request line to the blank line, both included */
    struct slice method;    /* "GET"; case matters */
    struct slice target;    /* as sent: "/chat?x=1" or "http://host/chat?x=1" */
    struct slice path;      /* begins with "/", percent-encoded; or is "*", of OPTIONS */
    struct slice query;     /* behind the "?"; may be empty */
    struct slice host;      /* of an absolute target, else the Host header; may be empty */
    int minor;              /* HTTP/1.<minor>: 0 or 1 (any later 1.x counts as 1) */
    int64_t content_length; /* -1: the request has none */
    bool chunked;           /* a body in chunks follows, and content_length is -1 */
    bool expect_continue;   /* the client waits for "100 Continue" before it sends the body */
    size_t field_count;
    struct request_field fields[REQUEST_MAX_HEADERS];

    /* After failure: what is wrong, a sentence for the response's body; a constant. */
    const char *error;

    /* Only for request.c, between calls: what the scan has found good. */
    struct {
        size_t start; /* where the request line begins */
        size_t mark;  /* where the current word begins */
        size_t next;  /* the first byte that is not scanned yet */
        uint32_t lines;
        uint8_t state; /* enum scan_state in request.c */
    } scan;
};

/* Parses a request head from the `len` bytes received so far.
 *
 * > 0: complete: the length of the head with its blank line, and with an empty line before it where
 *      the client sent one. Bytes behind it are the body, or what the client sent ahead.
 * 0:   incomplete, and good so far. Call again with the same bytes and more behind them; the buffer
 *      may have moved. Only the new bytes are scanned. After success another call makes the slices
 *      point into a buffer that has moved.
 * < 0: refused: minus the HTTP status, and `error` says why. 400 malformed; 413 a Content-Length
 * too large for a number; 414 a request line longer than `max_bytes`; 417 an unknown Expect; 431 a
 *      head longer than `max_bytes`, or with too many lines; 501 too long a method, or a
 *      Transfer-Encoding other than "chunked"; 505 not HTTP/1. Bytes that cannot become a request
 * (a TLS hello, binary data) are refused at the first wrong one.
 *
 * `max_bytes` limits the whole head and must be below INT_MAX. */
int request_parse(struct request *r, const char *bytes, size_t len, size_t max_bytes);

/* The value of the first header with this name, in any case; NULL: none. `count`, unless NULL, gets
 * the number of such headers. */
const struct slice *request_header(const struct request *r, const char *name, size_t *count);

/* Has the comma-separated list this token, in any case? "keep-alive, Upgrade" has "upgrade";
 * "upgrades" has not. */
bool request_list_has(struct slice value, const char *token);

/* The same for all headers of this name, which are one list (RFC 9110 §5.3). */
bool request_header_has(const struct request *r, const char *name, const char *token);

/* Takes the next element, trimmed, off the front of a comma-separated list; skips empty ones.
 * False: the list has no more. */
bool request_list_next(struct slice *list, struct slice *item);

/* The number that consists of these decimal digits; -1: other bytes, or none; INT64_MAX: more than
 * 18 digits. */
int64_t request_decimal(struct slice s);

/* The value of a hexadecimal digit; -1: it is none. */
int request_hex_digit(unsigned char byte);

/* May a token have this byte (RFC 9110 §5.6.2)? Methods, header names and subprotocols are tokens.
 */
bool request_token_byte(unsigned char byte);

/* Is it a token: at least one byte, all of them request_token_byte? */
bool request_is_token(struct slice s);

/* Is it a host with or without a port: uri-host [":" port] of RFC 3986 §3.2, without user
 * information? Not with the comma that its grammar allows: a proxy joins two Host headers by it. */
bool request_is_host(struct slice s);

#endif
