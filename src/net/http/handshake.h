/* handshake.h -- checks the form of a WebSocket handshake, and computes its Sec-WebSocket-Accept.
 *
 * RFC 6455 §4.2.1, strictly; every fault has a status and a sentence. Pure functions on a parsed
 * request: owns nothing, any thread. Does not know which paths exist, which clients are allowed,
 * which subprotocol is chosen (accept.lua), or how the response is written
 * (handshake_server.c). */
#ifndef TIDEWIRE_NET_HTTP_HANDSHAKE_H
#define TIDEWIRE_NET_HTTP_HANDSHAKE_H

#include "base/slice.h"
#include "net/http/request.h"

#include <stdbool.h>

enum {
    HANDSHAKE_KEY_BYTES = 24,   /* of Sec-WebSocket-Key: 16 bytes in base64 */
    HANDSHAKE_ACCEPT_BYTES = 29 /* of Sec-WebSocket-Accept: 28 of base64 and a NUL */
};

/* The result of handshake_check(). The texts are constants. */
struct handshake {
    int status;          /* 0: valid; else the status of the refusal */
    const char *text;    /* a sentence for the body of the refusal; "" when valid */
    const char *headers; /* header lines of the refusal, each with its CRLF; or "" */
    struct slice key;    /* when valid: Sec-WebSocket-Key, 24 bytes */
};

/* Does this request ask for a WebSocket? True when an Upgrade header lists "websocket", and also
 * when the request has Sec-WebSocket-Key or Sec-WebSocket-Version: a proxy has then removed
 * Upgrade, and the client needs a clear refusal, not a web page. False for an Upgrade to another
 * protocol (h2c, TLS/1.0, foo): RFC 9110 §7.8 lets a server ignore it, and the request is plain
 * HTTP. */
bool handshake_wanted(const struct request *r);

/* Checks a request that asks for a WebSocket. Returns out->status:
 *   405 (Allow: GET)                  the method is not GET
 *   400                               HTTP/1.0; Host missing or empty; no "Upgrade: websocket"; no
 *                                     "Connection: Upgrade"; a body; key missing, twice, or not
 *                                     16 bytes in base64; version, Origin twice; malformed
 *                                     Sec-WebSocket-Protocol
 *   426 (Sec-WebSocket-Version: 13,
 *        Upgrade: websocket)          the version is missing or not 13 */
int handshake_check(const struct request *r, struct handshake *out);

/* Computes Sec-WebSocket-Accept from a valid Sec-WebSocket-Key: the proof that the server has read
 * the request (RFC 6455 section 4.2.2, item 5.4). False: OpenSSL has no memory. */
bool handshake_accept(struct slice key, char out[HANDSHAKE_ACCEPT_BYTES]);

/* Lets OpenSSL make its tables, at the start of the process. It does so when it is first used, and
 * crashes if malloc fails then (3.0). False: there was no memory for them, and no other function
 * may use OpenSSL. */
bool handshake_prepare(void);

#endif
