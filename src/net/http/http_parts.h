/* http_parts.h -- private to http.c, http_peer.c, http_read.c, http_write.c, http_keep.c,
 * http_pass.c and http_log.c. */
#ifndef TIDEWIRE_NET_HTTP_HTTP_PARTS_H
#define TIDEWIRE_NET_HTTP_HTTP_PARTS_H

#include "net/http/http.h"

#include "base/buffer.h"
#include "base/deadlines.h"
#include "base/list.h"
#include "base/slots.h"
#include "net/http/chunked.h"
#include "net/http/static.h"

enum http_state {
    HTTP_IDLE,    /* kept after a response: for the first byte of the next request */
    HTTP_READING, /* the request; until it is whole */
    HTTP_WHOLE,   /* the request is whole: for the call of its handler */
    HTTP_WAITING, /* for the handler's response */
    HTTP_WRITING, /* the response */
    HTTP_ENDING   /* the last response is written; until the client has closed too */
};

struct http_server {
    uv_loop_t *loop;
    struct transport *transport;
    struct http_options options; /* of connections that are accepted from now on */
    uint32_t generation;         /* of the options */
    struct stats *stats;
    http_request_fn on_request;
    void *on_request_user;
    http_handshake_fn on_handshake; /* NULL: answers 404 */
    void *on_handshake_user;
    http_full_fn on_full; /* NULL: no socket is admitted over limits.connections */
    void *on_full_user;
    struct slots open;
    char *piece; /* a buffer for bytes of files; made when first needed */
    struct deadlines timers;
    bool draining, ends_keep_alive;
    uv_timer_t timer;    /* active while there are deadlines */
    struct list pending; /* connections whose next request has come ahead */
    uv_idle_t next;      /* active while there are any */
    struct idle_worker idle;
    uv_async_t mail; /* a new socket has the permit of an idle one, or a connection was passed */
};

struct http {
    struct http_server *server;
    struct stream *stream;
    uint64_t number;
    enum http_state state;
    struct deadline deadline;
    size_t max_head_bytes, max_body_bytes; /* of when it was accepted */
    uint32_t generation;                   /* of the options then */
    uint32_t requests;                     /* that were whole, the present one included */
    struct permit permit;
    enum admission_result admitted;
    struct session_place *place; /* its socket is admitted by; or NULL */
    bool rate_is_due; /* a trusted proxy has not named the client that connection_rate judges */
    uint64_t wait_ms; /* of ADMISSION_ADDRESS_FAST: until the address may connect again */
    uint64_t fast_ms; /* the request is over a rate: until the address may send the next one */
    bool ended;       /* the client has ended its direction */
    bool wants_tls;   /* the server refuses a client without TLS */
    bool keeps;       /* after this request another one may come on the connection */
    bool head_only;   /* the method is HEAD: the response has no body */
    bool head_whole;
    char *head; /* what has arrived of it; does not move once it is whole */
    size_t head_used, head_capacity;
    char *body; /* decoded, but for the end of the chunks that have arrived */
    size_t body_len, body_capacity;
    struct request *request; /* NULL: no byte of it has arrived, or it has its response */
    struct chunked chunks;
    struct buffer ahead;    /* bytes behind the present request */
    size_t ahead_held;      /* how many bytes for them count in admission.uploads */
    struct list in_pending; /* of the server */
    struct idle_socket idle;
    char *out; /* to be written: "100 Continue" or a response; then `file` */
    size_t out_len, out_sent;
    struct static_file file;
    size_t held;          /* bytes of `out` that count in admission.responses */
    uint64_t sent;        /* bytes of all responses that the socket has taken */
    uint64_t check_ms;    /* the last check of the client's reading: when, … */
    uint64_t check_taken; /* … and how many bytes it had taken */
    uint64_t began_ns;    /* when the first byte of the request arrived */
    const char *reason;   /* of it, for the counts; borrowed; NULL: the name of its status */
    const char *why;      /* of a refusal that is not answered yet; borrowed */
    uint8_t passes;       /* from worker to worker */
    bool is_held;         /* http_hold() */
    bool was_held;
    bool over_unix;          /* the socket is a Unix socket, which has no TLS */
    bool needs_proxy_header; /* the PROXY header of a trusted proxy has not arrived */
    bool proxy_is_secure;    /* it says that the client uses TLS */
    bool secure;             /* the client uses TLS */
    struct slice forwarded_host;
    char peer[64];   /* the peer's address, or what its PROXY header says */
    char remote[64]; /* the client's, by the headers of the request; until then the peer's */
};

/* http.c: the calls of a connection's stream. */
extern const struct stream_events http_stream_events;
/* Calls on_deadline() after `ms` milliseconds; replaces the deadline before. */
void http_deadline_in(struct http *http, uint64_t ms);
void http_no_deadline(struct http *http);
/* The handler has the time that it wants. But the server answers also a client that has ended its
 * direction, and cannot see whether that still reads: then the handler has limited time. */
void http_set_handler_deadline(struct http *http);

/* http_peer.c: takes bytes of the PROXY header. Those behind it come by http_read(). */
void http_read_proxy_header(struct http *http, char *bytes, size_t len);
/* Refuses a connection without a whole PROXY header, which cannot be answered. */
void http_refuse_proxy_header(struct http *http, const char *why);
/* Asks whether the client's address may connect now (limits.connection_rate). False: it may not,
 * and the connection is to be closed without an answer, which would cost a TLS handshake. Without
 * TLS the permit becomes one for the refusal. */
bool http_take_rate(struct http *http);
/* Finds the client of the request, whose head is whole, and counts the connection in its address.
 * False: the request is refused, or the connection is closed. */
bool http_find_client(struct http *http);
/* The connection waits for its next request, whose client may be another one. */
void http_forget_client(struct http *http);

/* May the connection begin a TLS handshake now (limits.tls_handshake_rate)? */
bool http_take_tls(struct http *http);

/* Why a socket is refused by limits.tls_handshake_rate. */
#define HTTP_WHY_TLS_FAST "Too many TLS handshakes."
/* The same by limits.connection_rate. */
#define HTTP_WHY_ADDRESS_FAST "Too many new connections from this address."

/* http_read.c: takes bytes from the client. The connection may be freed then. */
void http_read(struct http *http, char *bytes, size_t len);
/* Takes the bytes of one request, or of its beginning. Returns how many. In HTTP_WHOLE
 * http_call_handler() follows; the request may be refused as well. */
size_t http_take(struct http *http, const char *bytes, size_t len);
/* Passes the request to its handler; `ahead` are the bytes behind it. The connection may be freed
 * then. */
void http_call_handler(struct http *http, char *ahead, size_t ahead_len);
void http_free_request(struct http *http);
/* Refuses the request, whose bytes are over a limit. */
void http_refuse_upload(struct http *http, enum limit_result result);

/* http_keep.c: connections with more than one request. */
/* Does the request's head allow another one behind it (RFC 9112 section 9.3)? */
bool http_allows_next(const struct request *request);
/* Decides whether the connection is kept after the response that begins now. Returns what its head
 * says, for response_end(). */
int http_keep_seconds(struct http *http);
/* The response is written. True: the connection waits for the next request. */
bool http_keep(struct http *http);
/* Keeps bytes behind the present request. */
void http_add_ahead(struct http *http, const char *bytes, size_t len);
void http_free_ahead(struct http *http);
/* The connection does not wait for its next request any more. False: another one has taken its
 * permit, and it closes. */
bool http_leave_idle(struct http *http);
/* Closes a connection that waits for its next request, unless that has just arrived. */
void http_end_idle(struct http *http);
/* Closes it at once. */
void http_close_idle(struct http *http);
/* Closes those whose permits were taken. */
void http_close_evicted(struct http_server *server);
/* Calls http_on_next() for the connection. */
void http_schedule(struct http *http);
/* Takes the requests that wait in `ahead` buffers, and those from other workers. */
void http_on_next(uv_idle_t *next);

/* http_pass.c: takes the connections that other workers have passed. */
void http_enter_passed(struct http_server *server);
/* Passes the request of one to its handler. The connection may be freed then. */
void http_handle_passed(struct http *http);
/* Closes those that are on the way, and takes no more. */
void http_close_passed(struct http_server *server);

/* http_write.c: refuses the request, and ends the connection then. */
void http_refuse(struct http *http, int status, const char *text);
/* The same for a limit, and counts it: 503 where all clients together are over it (`full`), 429
 * where one address is over its share. */
void http_refuse_by_limit(struct http *http, _Atomic uint64_t *counter, bool full, const char *why);
/* Refuses a request that is over a rate, counts it, and says when to come again: 429. Ends the
 * connection then, unless `keeps` is set. */
void http_refuse_by_rate(struct http *http, _Atomic uint64_t *counter, uint64_t wait_ms,
                         const char *why);
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
