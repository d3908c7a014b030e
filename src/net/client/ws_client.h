/* ws_client.h -- the client's side of the WebSocket protocol (RFC 6455): its handshake and its
 * frames.
 *
 * Writes and reads texts; the caller owns the connection. frame_reader.h, with `from_server`, reads
 * what follows the handshake. Random numbers are the kernel's. */
#ifndef TIDEWIRE_NET_CLIENT_WS_CLIENT_H
#define TIDEWIRE_NET_CLIENT_WS_CLIENT_H

#include "base/slice.h"
#include "core/frames/message.h"
#include "net/client/url.h"

#include <stdbool.h>
#include <stddef.h>

enum { WS_CLIENT_KEY_BYTES = 25 }; /* 24 of base64 and a NUL */

/* What the handshake has beside its own headers. */
struct ws_client_options {
    const char *const *headers; /* "Name: value" each, checked */
    size_t header_count;
    const char *const *subprotocols; /* tokens, the preferred one first */
    size_t subprotocol_count;
};

/* Returns the request of a handshake, which the caller frees with mem_free(). Sets `key`, which the
 * response must prove to know. */
char *ws_client_write_request(const struct url *url, const struct ws_client_options *options,
                              char key[WS_CLIENT_KEY_BYTES]);

struct ws_client_response {
    int status;             /* 101: the WebSocket is open */
    size_t head_len;        /* behind it is the first frame, or the body of a refusal */
    struct slice reason;    /* of the status line */
    struct slice protocol;  /* the chosen subprotocol; no bytes: none */
    struct slice location;  /* of a redirect */
    int64_t content_length; /* of a refusal; -1: it has none */
    const char *fault;      /* NULL, or why the response is invalid */
};

/* Reads the head of the response. False: it is not whole. The slices point into the bytes. */
bool ws_client_read_response(const char *bytes, size_t len, const char *key,
                             const struct ws_client_options *options,
                             struct ws_client_response *response);

enum { WS_CLIENT_HEADER_BYTES = 14 };
/* Writes a masked frame, `len` + WS_CLIENT_HEADER_BYTES bytes at most. Returns its size. */
size_t ws_client_frame(unsigned char *out, enum opcode opcode, const void *payload, size_t len);

#endif
