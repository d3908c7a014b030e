/* fuzz_proxy_header.c -- the header of the PROXY protocol, versions 1 and 2.
 *
 * Each beginning of a good header is incomplete, and what is refused stays refused. */
#include "fuzz.h"

#include "net/socket/proxy_header.h"

static int parse(const uint8_t *bytes, size_t len, struct proxy_header *out) {
    char *copy = fuzz_copy(bytes, len);
    int result = proxy_header_parse(copy, len, out);
    fuzz_check(result >= -1 && result <= (int)len && result <= PROXY_HEADER_MAX);
    if (result == -1)
        fuzz_check(out->error != NULL && out->error[0] != '\0');
    proxy_header_begins(copy, len);
    free(copy);
    return result;
}

static void check_source(const struct proxy_header *header) {
    char text[IP_TEXT_BYTES];
    struct ip again;
    if (!header->has_source || header->is_unix)
        return;
    ip_format(&header->source, text);
    fuzz_check(ip_parse(slice_of(text), &again));
    fuzz_check(memcmp(&again, &header->source, sizeof again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct proxy_header header = {0}, part = {0};
    int result = parse(data, size, &header);
    if (result > 0)
        check_source(&header);
    bool refused = false;
    size_t end = result > 0 ? (size_t)result : size;
    for (size_t len = 0; len < end; len++) {
        int before = parse(data, len, &part);
        fuzz_check(before <= 0 && (!refused || before < 0));
        fuzz_check(result < 0 || before == 0);
        refused = before < 0;
    }
    if (result > 0) {
        fuzz_check(parse(data, end, &part) == result);
        fuzz_check(part.has_source == header.has_source && part.secure == header.secure);
    }
    return 0;
}
