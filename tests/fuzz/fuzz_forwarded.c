/* fuzz_forwarded.c -- X-Forwarded-For and Forwarded: the client that trusted proxies name.
 *
 * Input: one byte decides which headers count; the rest are header lines. What a client writes
 * before the elements of proxies must not change the result. */
#include "fuzz.h"

#include "net/http/forwarded.h"

static struct trusted_proxies *proxies;

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    static const char *const trusted[] = {"10.0.0.0/8", "::1", "unix"};
    proxies = trusted_proxies_new(trusted, 3);
    return 0;
}

/* Reads the headers below `first`, a whole header line or "". False: the request is malformed. */
static bool read_lines(const char *first, const uint8_t *lines, size_t len,
                       enum forwarded_header header, struct forwarded *out) {
    static const char start[] = "GET / HTTP/1.1\r\nHost: x\r\n";
    char *head = malloc(sizeof start + strlen(first) + len + 4), *bytes;
    size_t at = (size_t)sprintf(head, "%s%s", start, first);
    memcpy(head + at, lines, len);
    memcpy(head + at + len, "\r\n\r\n", 4);
    bytes = fuzz_copy(head, at + len + 4);
    struct request request;
    memset(&request, 0, sizeof request);
    bool good = request_parse(&request, bytes, at + len + 4, 1 << 20) > 0;
    *out = (struct forwarded){0};
    if (good) {
        forwarded_read(&request, proxies, header, out);
        fuzz_check(fuzz_is_within(out->host, bytes, at + len + 4));
        for (size_t i = 0; i < out->host.len; i++)
            fuzz_check(out->host.bytes[i] != '\r' && out->host.bytes[i] != '\n');
        out->host = (struct slice){NULL, 0}; /* of memory that is freed now */
    }
    free(bytes);
    free(head);
    return good;
}

static void check_parts(const uint8_t *bytes, size_t len) {
    char *copy = fuzz_copy(bytes, len);
    struct slice list = {copy, len}, item;
    for (size_t count = 0; forwarded_take_last(&list, &item); count++) {
        struct forwarded_element element;
        struct ip ip;
        fuzz_check(count < len && item.len > 0 && fuzz_is_within(item, copy, len));
        forwarded_parse_node(item, &ip);
        if (forwarded_parse_element(item, &element)) {
            fuzz_check(fuzz_is_within(element.node, copy, len));
            fuzz_check(fuzz_is_within(element.proto, copy, len));
            fuzz_check(fuzz_is_within(element.host, copy, len));
        }
    }
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fuzz_input input = {data, size};
    enum forwarded_header header = fuzz_below(&input, 3);
    struct forwarded plain, prefixed;
    check_parts(input.at, input.left);
    if (!read_lines("", input.at, input.left, header, &plain))
        return 0;
    const char *forged = header == FORWARDED_RFC7239 ? "Forwarded: for=203.0.113.9\r\n"
                                                     : "X-Forwarded-For: 203.0.113.9\r\n";
    if (header == FORWARDED_EITHER || !plain.has_client ||
        trusted_proxies_has(proxies, &plain.client))
        return 0;
    fuzz_check(read_lines(forged, input.at, input.left, header, &prefixed));
    fuzz_check(prefixed.has_client);
    fuzz_check(memcmp(&prefixed.client, &plain.client, sizeof plain.client) == 0);
    return 0;
}
