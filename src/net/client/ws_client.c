/* ws_client.c -- the client's side of the WebSocket protocol. See ws_client.h. */
#include "net/client/ws_client.h"

#include "base/mem.h"
#include "net/http/handshake.h"
#include "net/http/request.h"

#include <openssl/evp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static void random_bytes(void *bytes, size_t len) {
    if (getrandom(bytes, len, 0) != (ssize_t)len)
        abort(); /* does not happen for so few bytes on a running system */
}

/* ---- the request ---- */

static bool has_host(const struct ws_client_options *options) {
    for (size_t i = 0; i < options->header_count; i++)
        if (slice_is_nocase((struct slice){options->headers[i], strcspn(options->headers[i], ":")},
                            "Host"))
            return true;
    return false;
}

char *ws_client_write_request(const struct url *url, const struct ws_client_options *options,
                              char key[WS_CLIENT_KEY_BYTES]) {
    unsigned char nonce[16];
    random_bytes(nonce, sizeof nonce);
    EVP_EncodeBlock((unsigned char *)key, nonce, sizeof nonce);
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    if (out == NULL)
        abort();
    fprintf(out, "GET %s HTTP/1.1\r\n", url->target);
    if (!has_host(options))
        fprintf(out, "Host: %s\r\n", url->authority);
    fprintf(out,
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: %s\r\n"
            "Sec-WebSocket-Version: 13\r\n",
            key);
    for (size_t i = 0; i < options->subprotocol_count; i++)
        fprintf(out, "%s%s", i == 0 ? "Sec-WebSocket-Protocol: " : ", ", options->subprotocols[i]);
    fprintf(out, "%s", options->subprotocol_count == 0 ? "" : "\r\n");
    for (size_t i = 0; i < options->header_count; i++)
        fprintf(out, "%s\r\n", options->headers[i]);
    fprintf(out, "\r\n");
    fclose(out);
    char *request = mem_strdup(text);
    free(text);
    return request;
}

/* ---- the response ---- */

/* Takes the next line, without its end. False: none is whole. */
static bool next_line(struct slice *rest, struct slice *line) {
    const char *end = memchr(rest->bytes, '\n', rest->len);
    if (end == NULL)
        return false;
    size_t len = (size_t)(end - rest->bytes);
    *line = (struct slice){rest->bytes, len > 0 && rest->bytes[len - 1] == '\r' ? len - 1 : len};
    slice_skip(rest, len + 1);
    return true;
}

static bool read_status(struct slice line, struct ws_client_response *response) {
    if (line.len < 12 || strncmp(line.bytes, "HTTP/1.", 7) != 0 || line.bytes[8] != ' ')
        return false;
    for (int i = 9; i < 12; i++) {
        if (line.bytes[i] < '0' || line.bytes[i] > '9')
            return false;
        response->status = response->status * 10 + (line.bytes[i] - '0');
    }
    response->reason = slice_trim((struct slice){line.bytes + 12, line.len - 12});
    return true;
}

/* What the headers must prove (RFC 6455 section 4.1). */
struct proofs {
    bool upgrade, connection, key;
};

static void read_header(struct slice line, const char *accept, struct proofs *proofs,
                        struct ws_client_response *response) {
    const char *colon = memchr(line.bytes, ':', line.len);
    if (colon == NULL)
        return;
    struct slice name = {line.bytes, (size_t)(colon - line.bytes)};
    struct slice value = slice_trim((struct slice){colon + 1, line.len - name.len - 1});
    if (slice_is_nocase(name, "Upgrade"))
        proofs->upgrade |= request_list_has(value, "websocket");
    else if (slice_is_nocase(name, "Connection"))
        proofs->connection |= request_list_has(value, "upgrade");
    else if (slice_is_nocase(name, "Sec-WebSocket-Accept"))
        proofs->key = slice_is(value, accept);
    else if (slice_is_nocase(name, "Sec-WebSocket-Protocol"))
        response->protocol = value;
    else if (slice_is_nocase(name, "Location"))
        response->location = value;
    else if (slice_is_nocase(name, "Content-Length"))
        response->content_length = request_decimal(value);
    else if (slice_is_nocase(name, "Sec-WebSocket-Extensions") && value.len > 0)
        response->fault = "it uses an extension that was not offered";
}

static bool was_offered(struct slice protocol, const struct ws_client_options *options) {
    for (size_t i = 0; i < options->subprotocol_count; i++)
        if (slice_is(protocol, options->subprotocols[i]))
            return true;
    return false;
}

static void check(const struct proofs *proofs, const struct ws_client_options *options,
                  struct ws_client_response *response) {
    if (response->status != 101)
        response->fault = NULL;
    else if (!proofs->upgrade || !proofs->connection)
        response->fault = "it does not upgrade to a WebSocket";
    else if (!proofs->key)
        response->fault = "its Sec-WebSocket-Accept does not belong to this handshake";
    else if (response->protocol.bytes != NULL && !was_offered(response->protocol, options))
        response->fault = "it has chosen a subprotocol that was not offered";
}

bool ws_client_read_response(const char *bytes, size_t len, const char *key,
                             const struct ws_client_options *options,
                             struct ws_client_response *response) {
    *response = (struct ws_client_response){.content_length = -1};
    struct slice rest = {bytes, len}, line;
    char accept[HANDSHAKE_ACCEPT_BYTES];
    struct proofs proofs = {0};
    if (!handshake_accept(slice_of(key), accept)) {
        response->fault = "there is no memory to check it";
        return true;
    }
    if (len >= 5 && strncmp(bytes, "HTTP/", 5) != 0) {
        response->fault = "it does not speak HTTP: should ws:// be wss://?";
        return true;
    }
    if (!next_line(&rest, &line))
        return false;
    bool is_sound = read_status(line, response);
    while (next_line(&rest, &line) && line.len > 0)
        read_header(line, accept, &proofs, response);
    if (line.len > 0)
        return false;
    response->head_len = len - rest.len;
    if (is_sound)
        check(&proofs, options, response);
    else
        response->fault = "its status line is not one of HTTP/1.1";
    return true;
}

/* ---- frames ---- */

size_t ws_client_frame(unsigned char *out, enum opcode opcode, const void *payload, size_t len) {
    size_t at = 0;
    out[at++] = (unsigned char)(0x80 | opcode);
    int bytes = len < 126 ? 0 : len < 65536 ? 2 : 8;
    out[at++] = (unsigned char)(0x80 | (bytes == 0 ? len : bytes == 2 ? 126 : 127));
    for (int i = bytes; i-- > 0;)
        out[at++] = (unsigned char)((uint64_t)len >> (8 * i));
    unsigned char *mask = out + at;
    random_bytes(mask, 4);
    at += 4;
    for (size_t i = 0; i < len; i++)
        out[at + i] = ((const unsigned char *)payload)[i] ^ mask[i & 3];
    return at + len;
}
