/* events.h -- the hub's calls: up to scripts, down to sockets.
 *
 * Two tables of functions. `struct hub_events` calls into the Lua state, `struct wire` into the
 * sockets; tests pass fakes. Everything happens on the worker's thread. Pointers are borrowed until
 * the call returns. */
#ifndef TIDEWIRE_CORE_HUB_EVENTS_H
#define TIDEWIRE_CORE_HUB_EVENTS_H

#include "base/conn_id.h"
#include "base/packing.h"
#include "base/slice.h"
#include "core/bus/presence.h"
#include "core/frames/close_codes.h"
#include "core/http/http_handler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct conn; /* one client: see hub.h */

/* What script/ keeps with a connection: where its object is. All zeros: there is none. */
struct conn_object {
    const void *address; /* in Lua */
    int ref;             /* in the registry */
};

/* A hook has returned, or it sleeps and hub_hook_done() follows. */
enum hook_state { HOOK_DONE, HOOK_SLEEPS };

/* The script's answer to a handshake. Its texts are valid until the next event. */
struct handshake_answer {
    /* 101: accepted; 4000 to 4999: accepted, and closed with this code at once; others: refused
     * with this HTTP status; 0: no answer, the script has failed. */
    int status;
    uint32_t endpoint;       /* accepted: which of the hub's endpoints */
    const char *subprotocol; /* accepted: NULL or the chosen one */
    struct slice session;    /* accepted: the secret of the client's session; no bytes: none */
    int64_t received;    /* the messages that the client has of it; negative: it said no number */
    struct slice user;   /* accepted: the name of its user; no bytes: none */
    const char *headers; /* refused: whole "Name: value\r\n" lines, or NULL */
    const char *body;    /* refused; or the reason of the close, UTF-8, CLOSE_REASON_MAX at most */
    size_t body_len;
    const char *why;    /* refused: for the log; NULL: the log says it already */
    const char *reason; /* refused: for the counts; NULL: that of its status */
};

struct hub_events {
    /* A client asks for a connection. Answers before it returns. */
    void (*handshake)(void *user, struct conn *conn, const struct http_request *request,
                      struct handshake_answer *answer);

    /* The hooks of one connection: never two at a time, `closed` last. */
    enum hook_state (*opened)(void *user, struct conn *conn);
    enum hook_state (*message)(void *user, struct conn *conn, const char *bytes, size_t len,
                               bool binary);
    enum hook_state (*ping)(void *user, struct conn *conn);
    enum hook_state (*timeout)(void *user, struct conn *conn);
    enum hook_state (*drained)(void *user, struct conn *conn);
    enum hook_state (*reloaded)(void *user, struct conn *conn); /* new code is active */
    /* `rate` has dropped a text of a session's client that may be one of the JSON heartbeat, which
     * is handled even then. A hook may sleep meanwhile. */
    void (*dropped)(void *user, struct conn *conn, const char *bytes, size_t len);
    /* A session has lost its socket, with this close code. */
    enum hook_state (*disconnected)(void *user, struct conn *conn, unsigned code);
    /* Its client is back, by `next`, which is gone after the session has taken its socket.
     * hub_refuse_resume() before the hook has ended: the client gets a new session. */
    enum hook_state (*resumed)(void *user, struct conn *conn, struct conn *next);
    enum hook_state (*closed)(void *user, struct conn *conn, unsigned code, const char *reason,
                              size_t len);

    /* A text that may be an answer for which the script waits, and that no hook has to get first: a
     * hook sleeps. False: it is none. */
    bool (*answered)(void *user, struct conn *conn, const char *bytes, size_t len);
    /* No answers come any more while the script waits for some: the connection closes, or (`lost`)
     * it has lost its socket. A hook may run at this moment. */
    void (*unanswered)(void *user, conn_id id, bool lost);

    /* Another machine may have the session with this secret: asks for it, and takes it. The
     * handshake of its client has this number, which http_responder.go_on() gets at the end. */
    void (*fetch)(void *user, uint64_t handshake, struct slice secret);
    /* Packs the object of a session, which goes to another machine. False: that failed. */
    bool (*given)(void *user, struct conn *conn, struct sink *out);

    /* A change of a watched room. A hook may run at this moment: only note the change, and call
     * scripts later. */
    void (*presence_changed)(void *user, const struct presence *presence);

    /* The connection is freed after this: its handshake failed, or `closed` has ended. */
    void (*forgotten)(void *user, struct conn *conn);
};

/* Calls to sockets. `peer` is hub_open()'s argument. None of these may free the peer or call the
 * hub before it returns. */
struct wire {
    /* Writes bytes of frames; returns how many the socket took. Less than all: hub_writable()
     * follows when it takes more, or hub_gone(). */
    size_t (*write)(void *peer, const unsigned char *bytes, size_t len);
    /* A write follows soon: prefetches the memory that it needs. May be NULL. */
    void (*expect)(void *peer);
    /* Reading stops (the client's TCP window closes) or goes on. */
    void (*pause)(void *peer, bool paused);
    /* Everything is written, Close frame included: ends the TCP connection in good order. */
    void (*end)(void *peer);
    /* Closes the TCP connection soon, without the bytes that wait. */
    void (*kill)(void *peer);
    /* Drops the kept bytes of its messages and ignores all that it still sends. */
    void (*discard)(void *peer);
    /* From now on the socket is that of another connection. */
    void (*rebind)(void *peer, struct conn *conn);
    /* Has the client ended the connection, or its direction? The end may not be read yet. */
    bool (*has_end)(void *peer);
    /* Milliseconds since the client's last byte, or UINT64_MAX if unknown. */
    uint64_t (*quiet_ms)(void *peer);
};

#endif
