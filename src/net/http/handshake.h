/* handshake.h -- may this request be answered with 101, as a WebSocket handshake; and its proof.
 *
 * RFC 6455 §4.2.1, strictly, with a status and a sentence for everything else. Pure functions on a
 * parsed request: owns nothing, any thread. Does not know which paths exist, who is allowed, which
 * subprotocol is chosen (accept.lua), or how the answer is written (handshake_server.c). */
#ifndef TIDEWIRE_NET_HTTP_HANDSHAKE_H
#define TIDEWIRE_NET_HTTP_HANDSHAKE_H

#include "base/slice.h"
#include "net/http/request.h"

#include <stdbool.h>

enum {
    HANDSHAKE_KEY_BYTES = 24,   /* of Sec-WebSocket-Key: 16 bytes in base64 */
    HANDSHAKE_ACCEPT_BYTES = 29 /* of Sec-WebSocket-Accept: 28 of base64 and a NUL */
};

/* What handshake_check found. The texts are constants. */
struct handshake {
    int status;          /* 0 = valid; else the HTTP status to refuse with */
    const char *text;    /* why, a sentence for the body; "" when valid */
    const char *headers; /* lines for the refusal, each ended by CRLF; "" when there are none */
    struct slice key;    /* when valid: Sec-WebSocket-Key, 24 bytes */
};

/* Does this request ask for a WebSocket? True when an Upgrade header lists "websocket", and also
 * when Sec-WebSocket-Key or Sec-WebSocket-Version is there without it: so looks a handshake whose
 * Upgrade a proxy has eaten, and it deserves a clear refusal instead of a web page. An Upgrade to
 * anything else (h2c, TLS/1.0, foo) is false: RFC 9110 §7.8 lets a server ignore it, and the
 * request is served as plain HTTP. */
bool handshake_wanted(const struct request *r);

/* Judges a request that wants a WebSocket. Returns out->status:
 *   405 (Allow: GET)                  the method is not GET
 *   400                               HTTP/1.0; Host missing or empty; no "Upgrade: websocket"; no
 *                                     "Connection: Upgrade"; a body; key missing, twice, or not
 *                                     16 bytes in base64; version, Origin twice; malformed
 *                                     Sec-WebSocket-Protocol
 *   426 (Sec-WebSocket-Version: 13,
 *        Upgrade: websocket)          the version is missing or not 13 */
int handshake_check(const struct request *r, struct handshake *out);

/* Writes Sec-WebSocket-Accept for a checked Sec-WebSocket-Key: the proof that the request was read
 * (RFC 6455 section 4.2.2, item 5.4). */
void handshake_accept(struct slice key, char out[HANDSHAKE_ACCEPT_BYTES]);

#endif
