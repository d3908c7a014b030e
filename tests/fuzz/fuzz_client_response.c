/* fuzz_client_response.c -- a server's response to the handshake of a client.
 *
 * Input: one byte decides which subprotocols were offered. In the rest, "\1" stands for the value
 * of Sec-WebSocket-Accept that the key needs. The result must be the same once the head is whole,
 * whatever follows it. */
#include "fuzz.h"

#include "net/client/ws_client.h"
#include "net/http/handshake.h"

static const char key[] = "dGhlIHNhbXBsZSBub25jZQ==";
static const char accept_value[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const offered[] = {"chat", "json"};
    struct fuzz_input input = {data, size};
    const struct ws_client_options options = {.subprotocols = offered,
                                              .subprotocol_count = fuzz_below(&input, 3)};
    char *bytes = malloc(input.left * sizeof accept_value + 1);
    size_t len = 0;
    for (size_t i = 0; i < input.left; i++) {
        if (input.at[i] == 1) {
            memcpy(bytes + len, accept_value, sizeof accept_value - 1);
            len += sizeof accept_value - 1;
        } else {
            bytes[len++] = (char)input.at[i];
        }
    }
    bytes = realloc(bytes, len > 0 ? len : 1); /* so that a sanitizer sees a read behind its end */
    struct ws_client_response response;
    if (ws_client_read_response(bytes, len, key, &options, &response)) {
        fuzz_check(response.head_len <= len);
        fuzz_check(fuzz_is_within(response.reason, bytes, response.head_len));
        fuzz_check(fuzz_is_within(response.protocol, bytes, response.head_len));
        fuzz_check(fuzz_is_within(response.location, bytes, response.head_len));
        fuzz_check(response.content_length >= -1);
        if (response.status == 101 && response.fault == NULL && response.protocol.len > 0)
            fuzz_check(slice_is(response.protocol, "chat") || slice_is(response.protocol, "json"));
        struct ws_client_response again = response;
        if (response.head_len > 0) /* it is a response of HTTP */
            fuzz_check(ws_client_read_response(bytes, response.head_len, key, &options, &again));
        fuzz_check(again.status == response.status && again.fault == response.fault);
        fuzz_check(again.head_len == response.head_len);
    }
    free(bytes);
    return 0;
}
