/* events.h -- how the edges and the hub talk: what goes up to the scripts, what goes down to
 * sockets.
 *
 * Two tables of functions, handed to the hub at birth. `struct hub_events` is filled with calls
 * into the Lua state, `struct wire` with calls into the sockets; tests pass fakes. Everything
 * happens on the worker's thread. Pointers are borrowed until the call returns. */
#ifndef TIDEWIRE_CORE_HUB_EVENTS_H
#define TIDEWIRE_CORE_HUB_EVENTS_H

#include "base/conn_id.h"
#include "base/slice.h"
#include "core/frames/close_codes.h"
#include "core/http/http_handler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What became of a hook: it returned, or it sleeps and hub_hook_done() will follow. */
enum hook_state { HOOK_DONE, HOOK_SLEEPS };

/* The scripts' answer to a handshake. The texts are the scripts', until their next event. */
struct handshake_answer {
    /* 101: accepted; 4000 to 4999: accepted, and closed with this code at once; else refuse with
     * it. 0: there is no answer. */
    int status;
    uint32_t endpoint;       /* accepted: which of the hub's endpoints */
    const char *subprotocol; /* accepted: NULL or the chosen one */
    const char *headers;     /* refused: whole "Name: value\r\n" lines, or NULL */
    const char *body; /* refused; or the reason of the close, UTF-8, CLOSE_REASON_MAX at most */
    size_t body_len;
    const char *why; /* refused: for the log; NULL: the log has it already */
};

struct hub_events {
    /* A handshake asks for a connection; must answer at once. */
    void (*handshake)(void *user, conn_id id, const struct http_request *request,
                      struct handshake_answer *answer);

    /* The hooks of one connection: never two at a time, `closed` last. */
    enum hook_state (*opened)(void *user, conn_id id);
    enum hook_state (*message)(void *user, conn_id id, const char *bytes, size_t len, bool binary);
    enum hook_state (*ping)(void *user, conn_id id);
    enum hook_state (*timeout)(void *user, conn_id id);
    enum hook_state (*drained)(void *user, conn_id id);
    enum hook_state (*reloaded)(void *user, conn_id id); /* new code has taken over */
    enum hook_state (*closed)(void *user, conn_id id, unsigned code, const char *reason,
                              size_t len);

    /* A connection joined or left a room that is watched. May come while a hook runs: it must only
     * be noted, and told to scripts later. `info` may be NULL. */
    void (*presence_changed)(void *user, conn_id id, struct slice room, bool joined,
                             const char *endpoint_name, const char *info);

    /* The id means nothing any more: its handshake failed, or `closed` has ended. */
    void (*forgotten)(void *user, conn_id id);
};

/* What the hub asks of sockets. `peer` is what hub_open() was given. None of these may free the
 * peer or call back into the hub before it returns. */
struct wire {
    /* Writes bytes of frames; returns how many the socket took. Less than all: hub_writable() will
     * follow when it takes more (or hub_gone() when it never will). */
    size_t (*write)(void *peer, const unsigned char *bytes, size_t len);
    /* A write follows soon: time to have at hand what it needs. May be NULL. */
    void (*expect)(void *peer);
    /* Reading stops (the client's TCP window closes) or goes on. */
    void (*pause)(void *peer, bool paused);
    /* Everything is said, Close frame included: ends the TCP connection in good order. */
    void (*end)(void *peer);
    /* Ends the TCP connection soon, without ceremony. */
    void (*kill)(void *peer);
    /* What is kept of its messages is dropped, and nothing that it sends is looked at any more. */
    void (*discard)(void *peer);
    /* Milliseconds since the peer's last byte arrived, or UINT64_MAX where that is not known. */
    uint64_t (*quiet_ms)(void *peer);
};

#endif
