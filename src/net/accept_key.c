/* accept_key.c -- the proof in a handshake's answer. See accept_key.h. Any thread. */
#include "net/accept_key.h"

#include <libwebsockets.h>
#include <string.h>

void accept_key(struct slice key, char out[ACCEPT_KEY_BYTES]) {
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* of the RFC */
    unsigned char text[24 + sizeof guid], digest[20];
    char base64[ACCEPT_KEY_BYTES + 4];
    memcpy(text, key.bytes, 24);
    memcpy(text + 24, guid, sizeof guid - 1);
    lws_SHA1(text, 24 + sizeof guid - 1, digest);
    lws_b64_encode_string((const char *)digest, sizeof digest, base64, sizeof base64);
    memcpy(out, base64, ACCEPT_KEY_BYTES - 1);
    out[ACCEPT_KEY_BYTES - 1] = '\0';
}
