/* response.h -- writes the head of an HTTP/1.1 response into the caller's buffer.
 *
 * Begin, add, end. No argument can end a line early: names and values are checked, and only this
 * file writes the headers that frame the message (Content-Length, Connection, Date, …). After the
 * first failure all calls do nothing, so the caller checks only the last. Owns nothing, any thread;
 * sends nothing. */
#ifndef TIDEWIRE_NET_HTTP_RESPONSE_H
#define TIDEWIRE_NET_HTTP_RESPONSE_H

#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct response {
    /* For reading only: */
    const char *error; /* NULL, or the first failure: a sentence, a constant */
    /* Only for response.c: */
    char *out;
    size_t cap;
    size_t len;
    int status;
    bool upgrade; /* it has an Upgrade header, which Connection must name */
};

/* The reason phrase: "Not Found" for 404. For a status that the table lacks, a phrase of its class
 * ("Client Error"); never NULL. */
const char *response_reason(int status);

/* May a response with this status have content? Not 1xx, 204 and 304, and not 205, whose
 * Content-Length is 0 (RFC 9110 §15.3.6). */
bool response_has_content(int status);

/* Starts a head in out[0..cap): status line and Date. `status` is 100 to 999, `now` in seconds
 * since 1970. The buffer must be valid until response_end(). */
void response_begin(struct response *res, char *out, size_t cap, int status, time_t now);

/* Adds one header. False, with `error` set, when the name is no token, the value has a control
 * character (above all a line end), only this file writes the header (Date, Content-Length,
 * Transfer-Encoding, Connection, Trailer), or the buffer is full. A refused header leaves the head
 * as it was; response_forgive() lets the caller go on without it. */
bool response_add(struct response *res, struct slice name, struct slice value);

/* The same for C strings. */
bool response_set(struct response *res, const char *name, const char *value);

/* Writes the body of a refusal, {"error":"why","status":404}, as replies.lua does. `cap` must be
 * enough for the texts of this program; the rest is cut. Returns the length. The response needs the
 * header RESPONSE_JSON. */
size_t response_refusal(char *out, size_t cap, int status, const char *why);
#define RESPONSE_JSON "Content-Type: application/json\r\n"

/* Clears the `error` of a refused header. Has no effect on a full buffer. */
void response_forgive(struct response *res);

/* Adds Content-Length, Connection, Keep-Alive and the blank line. `length` is the body's; -1 leaves
 * Content-Length out, and the body ends with the connection. 1xx, 204 and 304 have no body and
 * never get one. `keep_seconds`: how long the connection waits for another request; 0: for less
 * than a second; RESPONSE_CLOSE: it ends. Returns the length of the head; 0: a call has failed, and
 * `error` says why. */
enum { RESPONSE_CLOSE = -1 };
size_t response_end(struct response *res, int64_t length, int keep_seconds);

#endif
