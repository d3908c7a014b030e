/* http_parts.h -- what http.c, http_read.c and http_write.c share and nobody else sees. */
#ifndef TIDEWIRE_NET_HTTP_HTTP_PARTS_H
#define TIDEWIRE_NET_HTTP_HTTP_PARTS_H

#include "net/http/http.h"

#include "base/deadlines.h"
#include "base/slots.h"
#include "net/http/chunked.h"
#include "net/http/static.h"

enum http_state {
    HTTP_READING, /* until the request is whole */
    HTTP_WAITING, /* while the handler thinks */
    HTTP_WRITING, /* the answer */
    HTTP_ENDING   /* until the client has closed too */
};

struct http_server {
    uv_loop_t *loop;
    struct transport *transport;
    struct http_options options; /* for those who are accepted from now on */
    struct stats *stats;
    http_request_fn on_request;
    void *on_request_user;
    http_handshake_fn on_handshake; /* NULL: refused */
    void *on_handshake_user;
    struct slots open;
    char *piece; /* for bytes of a file on their way; made when first needed */
    struct deadlines timers;
    bool draining;
    uv_timer_t timer; /* runs while there are deadlines; they need no precision */
};

struct http {
    struct http_server *server;
    struct stream *stream;
    uint64_t number;
    enum http_state state;
    struct deadline deadline;
    size_t max_head_bytes, max_body_bytes; /* the limits in force when it was accepted */
    struct permit permit;
    enum admission_result admitted;
    char *head; /* what has arrived of the head; does not move once that is whole */
    size_t head_used, head_capacity;
    bool head_whole;
    size_t held;      /* bytes of `out` that count in admission.responses */
    uint64_t sent;    /* bytes that the socket has taken of the answer */
    uint64_t look_ms; /* when it was looked at last how many of these the client has taken */
    uint64_t look_taken;
    char *body; /* decoded, but for the end of what has arrived of chunks */
    size_t body_len, body_capacity;
    bool ended;     /* nothing more comes from the client */
    bool head_only; /* a HEAD request: the answer has no body */
    bool wants_tls; /* a client that speaks in plain is refused */
    struct request request;
    struct chunked chunks;
    char *out; /* what is still to be written: "100 Continue" or an answer; then `file` */
    size_t out_len, out_sent;
    struct static_file file;
    uint64_t began_ns; /* when the first byte of the request arrived */
    const char *why;   /* of a refusal, until it is answered; borrowed */
    char remote[64];
};

/* http.c: what is to happen `ms` milliseconds from now replaces what was to happen before. */
void http_deadline_in(struct http *http, uint64_t ms);
void http_no_deadline(struct http *http);
/* http_read.c: lets go of what has arrived of the request. */
void http_forget_request(struct http *http);
/* http_write.c: lets go of what is still to be written. */
void http_forget_answer(struct http *http);
/* http_write.c: its time is over while it is written to: is the client too slow? Else it has more
 * time. */
bool http_is_slow(struct http *http);
/* http_read.c: bytes of the client's. */
void http_read(struct http *http, char *bytes, size_t len);
/* http_write.c: answers with a refusal, whatever the request's method. */
void http_refuse(struct http *http, int status, const char *text);
/* The same where a limit is reached: that of all clients (`full`), or the share of one address. It
 * is counted in one of the server's figures. */
void http_refuse_by_limit(struct http *http, _Atomic uint64_t *counter, bool full, const char *why);
/* http_log.c: the end without an answer. */
void http_log_end(const struct http *http, const char *why);
/* http_write.c: tells the client to send the body (RFC 9110 section 10.1.1). */
void http_continue(struct http *http);
/* http_write.c: the socket takes bytes again. */
void http_write_on(struct http *http);

#endif
