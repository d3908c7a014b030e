/* handshake.c -- checks the form of a WebSocket handshake. See handshake.h. */
#include "net/http/handshake.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <openssl/sha.h>
#include <string.h>

static int refuse(struct handshake *out, int status, const char *headers, const char *text) {
    out->status = status;
    out->headers = headers;
    out->text = text;
    return status;
}

static int bad_request(struct handshake *out, const char *text) {
    return refuse(out, 400, "", text);
}

bool handshake_wanted(const struct request *r) {
    return request_header_has(r, "Upgrade", "websocket") ||
           request_header(r, "Sec-WebSocket-Key", NULL) != NULL ||
           request_header(r, "Sec-WebSocket-Version", NULL) != NULL;
}

/* 16 bytes in base64: 22 letters and two of padding. The bits that the last letter leaves unused
 * are ignored: some clients fill them at random. */
static bool is_key(struct slice key) {
    if (key.len != HANDSHAKE_KEY_BYTES || memcmp(key.bytes + 22, "==", 2) != 0)
        return false;
    for (size_t i = 0; i < 22; i++) {
        char c = key.bytes[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!alnum && c != '+' && c != '/')
            return false;
    }
    return true;
}

/* Method, version of HTTP, Host, Upgrade, Connection, body: RFC 6455 §4.2.1, 1 to 4. */
static int check_upgrade(const struct request *r, struct handshake *out) {
    if (!slice_is(r->method, "GET"))
        return refuse(out, 405, "Allow: GET\r\n", "A WebSocket handshake must be a GET request.");
    if (r->minor < 1)
        return bad_request(out, "A WebSocket handshake needs HTTP/1.1. If there is a proxy in "
                                "between, make it speak HTTP/1.1 to this server.");
    if (r->host.len == 0)
        return bad_request(out, "A WebSocket handshake needs a Host header.");
    if (!request_header_has(r, "Upgrade", "websocket"))
        return bad_request(out, "The header \"Upgrade: websocket\" is missing. If there is a proxy "
                                "in between, make it pass on Upgrade and Connection.");
    if (!request_header_has(r, "Connection", "upgrade"))
        return bad_request(out, "The header \"Connection: Upgrade\" is missing. If there is a "
                                "proxy in between, make it pass on Upgrade and Connection.");
    if (r->content_length > 0 || r->chunked)
        return bad_request(out, "A WebSocket handshake must not have a body.");
    return 0;
}

/* Sec-WebSocket-Key and Sec-WebSocket-Version: RFC 6455 §4.2.1, 5 and 6. */
static int check_websocket(const struct request *r, struct handshake *out) {
    size_t versions, keys;
    const struct slice *version = request_header(r, "Sec-WebSocket-Version", &versions);
    if (versions > 1)
        return bad_request(out, "Sec-WebSocket-Version must appear once.");
    /* RFC 9110 §15.5.22: a 426 names the protocol it asks for. */
    if (versions == 0 || !slice_is(*version, "13"))
        return refuse(out, 426, "Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n",
                      "This server supports only version 13 of the WebSocket protocol (RFC "
                      "6455); Sec-WebSocket-Version must be 13.");
    const struct slice *key = request_header(r, "Sec-WebSocket-Key", &keys);
    if (keys != 1)
        return bad_request(out, "Sec-WebSocket-Key must appear once.");
    if (!is_key(*key))
        return bad_request(out, "Sec-WebSocket-Key must be 16 bytes in base64.");
    out->key = *key;
    return 0;
}

/* The other headers that later decisions rely on must have one meaning. */
static int check_origin_and_protocols(const struct request *r, struct handshake *out) {
    size_t origins;
    request_header(r, "Origin", &origins);
    if (origins > 1)
        return bad_request(out, "Origin must not appear more than once.");
    for (size_t i = 0; i < r->field_count; i++) {
        if (!slice_is_nocase(r->fields[i].name, "Sec-WebSocket-Protocol"))
            continue;
        struct slice list = r->fields[i].value, name;
        size_t count = 0;
        while (request_list_next(&list, &name)) {
            if (!request_is_token(name))
                return bad_request(out, "Sec-WebSocket-Protocol has a name with a character that "
                                        "is not allowed there.");
            count++;
        }
        if (count == 0)
            return bad_request(out, "Sec-WebSocket-Protocol is empty.");
    }
    return 0;
}

int handshake_check(const struct request *r, struct handshake *out) {
    *out = (struct handshake){.text = "", .headers = ""};
    if (check_upgrade(r, out) == 0 && check_websocket(r, out) == 0)
        check_origin_and_protocols(r, out);
    if (out->status != 0)
        out->key = (struct slice){NULL, 0};
    return out->status;
}

bool handshake_accept(struct slice key, char out[HANDSHAKE_ACCEPT_BYTES]) {
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* of the RFC */
    unsigned char text[HANDSHAKE_KEY_BYTES + sizeof guid], digest[SHA_DIGEST_LENGTH];
    memcpy(text, key.bytes, HANDSHAKE_KEY_BYTES);
    memcpy(text + HANDSHAKE_KEY_BYTES, guid, sizeof guid);
    if (SHA1(text, sizeof text - 1, digest) == NULL)
        return false;
    EVP_EncodeBlock((unsigned char *)out, digest, sizeof digest);
    return true;
}

bool handshake_prepare(void) {
    /* OpenSSL uses these without asking whether there was memory for them */
    if (OSSL_LIB_CTX_get0_global_default() == NULL || !OSSL_PROVIDER_available(NULL, "default"))
        return false;
    char accept[HANDSHAKE_ACCEPT_BYTES];
    return handshake_accept(slice_of("dGhlIHNhbXBsZSBub25jZQ=="), accept);
}
