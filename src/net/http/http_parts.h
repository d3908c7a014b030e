/* http_parts.h -- private to http.c, http_read.c, http_write.c and http_log.c. */
#ifndef TIDEWIRE_NET_HTTP_HTTP_PARTS_H
#define TIDEWIRE_NET_HTTP_HTTP_PARTS_H

#include "net/http/http.h"

#include "base/deadlines.h"
#include "base/slots.h"
#include "net/http/chunked.h"
#include "net/http/static.h"

enum http_state {
    HTTP_READING, /* the request; until it is whole */
    HTTP_WAITING, /* for the handler's response */
    HTTP_WRITING, /* the response */
    HTTP_ENDING   /* the response is written; until the client has closed too */
};

struct http_server {
    uv_loop_t *loop;
    struct transport *transport;
    struct http_options options; /* of exchanges that begin from now on */
    struct stats *stats;
    http_request_fn on_request;
    void *on_request_user;
    http_handshake_fn on_handshake; /* NULL: answers 404 */
    void *on_handshake_user;
    struct slots open;
    char *piece; /* a buffer for bytes of files; made when first needed */
    struct deadlines timers;
    bool draining;
    uv_timer_t timer; /* active while there are deadlines */
};

struct http {
    struct http_server *server;
    struct stream *stream;
    uint64_t number;
    enum http_state state;
    struct deadline deadline;
    size_t max_head_bytes, max_body_bytes; /* of when it was accepted */
    struct permit permit;
    enum admission_result admitted;
    char *head; /* what has arrived of it; does not move once it is whole */
    size_t head_used, head_capacity;
    bool head_whole;
    char *body; /* decoded, but for the end of the chunks that have arrived */
    size_t body_len, body_capacity;
    struct request request;
    struct chunked chunks;
    bool ended;     /* the client has ended its direction */
    bool head_only; /* the method is HEAD: the response has no body */
    bool wants_tls; /* the server refuses a client without TLS */
    char *out;      /* to be written: "100 Continue" or a response; then `file` */
    size_t out_len, out_sent;
    struct static_file file;
    size_t held;          /* bytes of `out` that count in admission.responses */
    uint64_t sent;        /* bytes of the response that the socket has taken */
    uint64_t check_ms;    /* the last check of the client's reading: when, … */
    uint64_t check_taken; /* … and how many bytes it had taken */
    uint64_t began_ns;    /* when the first byte of the request arrived */
    const char *why;      /* of a refusal that is not answered yet; borrowed */
    char remote[64];
};

/* http.c: calls on_deadline() after `ms` milliseconds; replaces the deadline before. */
void http_deadline_in(struct http *http, uint64_t ms);
void http_no_deadline(struct http *http);

/* http_read.c: takes bytes from the client. */
void http_read(struct http *http, char *bytes, size_t len);
void http_free_request(struct http *http);

/* http_write.c: refuses the request, with a body whatever its method. */
void http_refuse(struct http *http, int status, const char *text);
/* The same for a limit, and counts it: 503 where all clients together are over it (`full`), 429
 * where one address is over its share. */
void http_refuse_by_limit(struct http *http, _Atomic uint64_t *counter, bool full, const char *why);
/* Tells the client to send the body (RFC 9110 section 10.1.1). */
void http_send_continue(struct http *http);
/* Writes as much as the socket takes and the turn allows. */
void http_write(struct http *http);
/* At the deadline of a response: has the client taken too little of it? Then the connection is
 * reset; else the client has more time. */
bool http_is_slow(struct http *http);
void http_free_response(struct http *http);

/* http_log.c: logs an end without a response. */
void http_log_end(const struct http *http, const char *why);

#endif
