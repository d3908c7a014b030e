/* ws_client.h -- the client's half of the WebSocket protocol (RFC 6455): its handshake and its
 * frames.
 *
 * Texts in, texts out: who uses it owns the connection. What comes after the handshake is read by
 * frame_reader.h, with `from_server`. Random numbers are the kernel's. */
#ifndef TIDEWIRE_NET_CLIENT_WS_CLIENT_H
#define TIDEWIRE_NET_CLIENT_WS_CLIENT_H

#include "base/slice.h"
#include "core/frames/message.h"
#include "net/client/url.h"

#include <stdbool.h>
#include <stddef.h>

enum { WS_CLIENT_KEY_BYTES = 25 }; /* 24 of base64 and a NUL */

/* What is said beside the handshake's own headers. */
struct ws_client_options {
    const char *const *headers; /* "Name: value" each, checked by ws_client_is_header() */
    size_t header_count;
    const char *const *subprotocols; /* tokens, the best first */
    size_t subprotocol_count;
};

/* Is it "Name: value", with no control character and none of the handshake's own names? NULL, or
 * what is wrong. */
const char *ws_client_header_fault(const char *line);
/* Can it be a subprotocol's name (RFC 6455 section 4.1: a token)? */
bool ws_client_is_subprotocol(const char *name);

/* The request of a handshake; the caller frees it. Its key, which the answer must prove to know,
 * into `key`. */
char *ws_client_write_request(const struct url *url, const struct ws_client_options *options,
                              char key[WS_CLIENT_KEY_BYTES]);

struct ws_client_response {
    int status;             /* 101: the WebSocket is open */
    size_t head_len;        /* what comes behind is the first frame, or the body of a refusal */
    struct slice reason;    /* of the status line */
    struct slice protocol;  /* the chosen subprotocol; no bytes: none */
    struct slice location;  /* of a redirect */
    int64_t content_length; /* of a refusal; -1: not said */
    const char *fault;      /* NULL, or why it is no sound answer */
};

/* Reads the head of the answer. False: it is not whole yet. The slices point into the bytes. */
bool ws_client_read_response(const char *bytes, size_t len, const char *key,
                             const struct ws_client_options *options,
                             struct ws_client_response *answer);

enum { WS_CLIENT_HEADER_BYTES = 14 };
/* Writes a whole masked frame, `len` + WS_CLIENT_HEADER_BYTES bytes at most. Returns its size. */
size_t ws_client_frame(unsigned char *out, enum opcode opcode, const void *payload, size_t len);

#endif
