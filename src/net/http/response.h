/* response.h -- writes the head of an HTTP/1.1 response into the caller's buffer.
 *
 * Begin, add, end. Nothing that was passed in can end a line early: names and values are checked,
 * and the headers that frame the message (Content-Length, Connection, Date, …) are written only
 * here. The first failure makes all later calls do nothing, so only the end needs checking.
 * Owns nothing, any thread; sends nothing. */
#ifndef TIDEWIRE_NET_HTTP_RESPONSE_H
#define TIDEWIRE_NET_HTTP_RESPONSE_H

#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct response {
    /* For reading only: */
    const char *error; /* NULL, or a constant sentence: the first thing that went wrong */
    /* Only for response.c: */
    char *out;
    size_t cap;
    size_t len;
    int status;
    bool upgrade; /* an Upgrade header is there, so Connection has to name it */
};

/* The reason phrase: 404 -> "Not Found". For a status that is not in the table a phrase of its
 * class ("Client Error"); never NULL. */
const char *response_reason(int status);

/* Starts a head in out[0..cap): status line and Date. `status` is 100 to 999, `now` in seconds
 * since 1970. The buffer must stay until response_end. */
void response_begin(struct response *res, char *out, size_t cap, int status, time_t now);

/* Adds one header. False, and `error` set, when the name is no token, the value has a control
 * character (a line end above all), the header is one that only this file writes (Date,
 * Content-Length, Transfer-Encoding, Connection, Trailer), or the buffer is full. A refused
 * header leaves the head as it was before; whether to carry on without it is response_forgive's
 * matter. */
bool response_add(struct response *res, struct slice name, struct slice value);

/* The same for C strings. */
bool response_set(struct response *res, const char *name, const char *value);

/* The body of each refusal, {"error":"why","status":404}, in this order and on one line, as
 * replies.lua writes it: into out[0..cap), which is long enough for the texts of this program. What
 * does not fit is left out. Returns its length; it needs the header RESPONSE_JSON. */
size_t response_refusal(char *out, size_t cap, int status, const char *why);
#define RESPONSE_JSON "Content-Type: application/json\r\n"

/* Clears `error` after a refused header, to carry on without it. Has no effect on a full buffer. */
void response_forgive(struct response *res);

/* Adds Content-Length, "Connection: close" and the blank line. `length` is the body's; -1 leaves
 * Content-Length out (the body then ends with the connection). 1xx, 204 and 304 never get one: they
 * have no body. Returns the length of the head; 0 when anything failed, and `error` says what. */
size_t response_end(struct response *res, int64_t length);

#endif
