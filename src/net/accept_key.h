/* accept_key.h -- the proof in a handshake's answer (RFC 6455 section 4.2.2, item 5.4). */
#ifndef TIDEWIRE_NET_ACCEPT_KEY_H
#define TIDEWIRE_NET_ACCEPT_KEY_H

#include "base/slice.h"

enum { ACCEPT_KEY_BYTES = 29 }; /* 28 of base64 and a NUL */

/* Writes Sec-WebSocket-Accept for a checked Sec-WebSocket-Key of 24 bytes. */
void accept_key(struct slice key, char out[ACCEPT_KEY_BYTES]);

#endif
