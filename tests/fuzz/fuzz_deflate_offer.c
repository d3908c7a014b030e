/* fuzz_deflate_offer.c -- offers of permessage-deflate, and our answer to them.
 *
 * Input: one byte decides whether contexts are kept; the rest is the value of the header. The
 * answer must be an offer that we would accept ourselves. */
#include "fuzz.h"

#include "net/ws/deflate_offer.h"

/* False: the request is malformed. */
static bool read_offer(const char *value, size_t len, struct deflate_offer *offer, bool *conforms) {
    static const char start[] = "GET / HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Extensions: ";
    size_t head = sizeof start - 1 + len + 4;
    char *bytes = malloc(head);
    memcpy(bytes, start, sizeof start - 1);
    memcpy(bytes + sizeof start - 1, value, len);
    memcpy(bytes + sizeof start - 1 + len, "\r\n\r\n", 4);
    struct request request;
    memset(&request, 0, sizeof request);
    bool good = request_parse(&request, bytes, head, 1 << 20) > 0;
    if (good)
        *conforms = deflate_offer_read(&request, offer);
    free(bytes);
    return good;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fuzz_input input = {data, size};
    unsigned flags = fuzz_byte(&input);
    struct deflate_offer offer = {0}, again = {0};
    bool conforms = false;
    if (!read_offer((const char *)input.at, input.left, &offer, &conforms) || !conforms ||
        !offer.is_acceptable)
        return 0;
    struct compression agreed = {0};
    char line[DEFLATE_OFFER_ANSWER_BYTES];
    deflate_offer_answer(&offer, flags & 1, flags & 2, &agreed, line);
    fuzz_check(agreed.server_bits >= 9 && agreed.server_bits <= 15);
    fuzz_check(agreed.client_bits >= 8 && agreed.client_bits <= 15);
    fuzz_check(offer.server_bits == 0 ||
               agreed.server_bits <= (offer.server_bits < 9 ? 9 : offer.server_bits));
    fuzz_check(!(offer.server_no_context && agreed.server_context));
    fuzz_check((flags & 1) || !agreed.client_context);
    size_t len = strlen(line);
    static const char name[] = "Sec-WebSocket-Extensions: ";
    fuzz_check(len > sizeof name + 1 && strncmp(line, name, sizeof name - 1) == 0);
    fuzz_check(strcmp(line + len - 2, "\r\n") == 0 && strcspn(line, "\r\n") == len - 2);
    fuzz_check(read_offer(line + sizeof name - 1, len - sizeof name - 1, &again, &conforms));
    fuzz_check(conforms && again.is_acceptable);
    return 0;
}
