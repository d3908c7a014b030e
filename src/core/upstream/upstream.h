/* upstream.h -- WebSocket connections to other servers, between scripts and sockets.
 *
 * An upstream is such a connection. net/upstream fills `struct upstream_functions`, which the
 * worker passes to script/; scripts know an upstream by its number, which no other one gets.
 * Everything happens on the worker's thread. Nothing here blocks, and nothing here calls Lua. */
#ifndef TIDEWIRE_CORE_UPSTREAM_UPSTREAM_H
#define TIDEWIRE_CORE_UPSTREAM_UPSTREAM_H

#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Borrowed until `open` has returned. */
struct upstream_options {
    const char *url;
    const char *const *headers; /* "Name: value" each, checked */
    size_t header_count;
    const char *const *subprotocols; /* tokens, the preferred one first */
    size_t subprotocol_count;
    uint64_t timeout_ms;           /* for everything until the connection is open */
    uint64_t ping_ms;              /* the period of pings; 0: none */
    uint64_t pong_ms;              /* the silence that is allowed; 0: any */
    size_t max_message_size;       /* bytes of a message */
    size_t max_backlog;            /* bytes that may wait for the server to read */
    size_t max_inbox;              /* bytes of messages that may wait for `receive` */
    bool verify;                   /* check the server's certificate */
    const char *ca;                /* a file of trusted authorities; NULL: the system's */
    const char *certificate, *key; /* files of the client's certificate; NULL: none */
    const char *server_name;       /* for SNI and the certificate; NULL: the URL's host */
};

enum upstream_state { UPSTREAM_CONNECTING, UPSTREAM_OPEN, UPSTREAM_CLOSING, UPSTREAM_CLOSED };

enum { UPSTREAM_HEADERS_MAX = 256, UPSTREAM_SUBPROTOCOLS_MAX = 32 };

/* Borrowed until the next call of any function. */
struct upstream_status {
    enum upstream_state state;
    const char *problem;     /* a sentence: it was never open; else NULL */
    unsigned http_status;    /* of the answer that refused the handshake; else 0 */
    const char *subprotocol; /* the chosen one, or NULL */
    unsigned code;           /* of the close, when it is closed */
    struct slice reason;     /* the same */
    size_t backlog;          /* bytes that the socket has not taken */
};

enum upstream_sent {
    UPSTREAM_SENT,
    UPSTREAM_SEND_CLOSED,
    UPSTREAM_SEND_BACKLOG,
    UPSTREAM_SEND_TOO_LARGE, /* it never fits into max_backlog */
    UPSTREAM_SEND_BAD_UTF8   /* of a text */
};

/* What `wait` waits for, beside a change of the state. */
enum upstream_event { UPSTREAM_MESSAGE, UPSTREAM_FLUSHED /* nothing waits to be sent */ };
enum { UPSTREAM_EVENTS = 2 };

/* Something has happened to an upstream that `wait` was called for. May call no function below. */
typedef void (*upstream_ready_fn)(void *context, uint64_t tag);

struct upstream_functions {
    /* Is it the URL of a WebSocket? False, with a sentence in `error`, if it is not. */
    bool (*check_url)(const char *url, char *error, size_t error_size);
    /* Begins to connect. Returns the number, for which the caller calls `release` later; 0 and a
     * sentence, borrowed until the next call, when that cannot begin. */
    uint64_t (*open)(void *user, const struct upstream_options *options, const char **why_not);
    /* False: no upstream has this number. */
    bool (*status)(void *user, uint64_t number, struct upstream_status *out);
    /* Queues a message. */
    enum upstream_sent (*send)(void *user, uint64_t number, bool binary, struct slice payload);
    /* Takes the oldest message; the payload is borrowed until the next call. False: none waits. */
    bool (*receive)(void *user, uint64_t number, bool *binary, struct slice *payload);
    /* Calls on_ready(context, tag) once, when the state changes or the event comes. NULL: not. A
     * second call for the same event replaces the first one's. */
    void (*wait)(void *user, uint64_t number, enum upstream_event event, upstream_ready_fn on_ready,
                 void *context, uint64_t tag);
    /* Begins the closing handshake of an open one. An upstream that connects, or is closed already,
     * closes at once. */
    void (*close)(void *user, uint64_t number, unsigned code, struct slice reason);
    /* Writes what scripts have sent; each turn of the loop ends with a call. */
    void (*flush)(void *user);
    /* The number is not used any more. Closes with 1001 what is not closed. */
    void (*release)(void *user, uint64_t number);
    void *user;
};

#endif
