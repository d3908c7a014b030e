/* proxy_header.c -- the header of the PROXY protocol. See proxy_header.h. */
#include "net/socket/proxy_header.h"

#include <stdlib.h>
#include <string.h>

static const char start_v1[] = "PROXY ";
static const char start_v2[] = "\r\n\r\n\0\r\nQUIT\n"; /* section 2.2 */

enum {
    START_V1 = sizeof start_v1 - 1,
    START_V2 = sizeof start_v2 - 1,
    FIXED_V2 = 16, /* the bytes before the addresses */
};

static int fail(struct proxy_header *out, const char *why) {
    out->error = why;
    return -1;
}

/* ---- version 1: "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n" ---- */

/* Takes the word before the next space, or the last one, off the front of the line. */
static struct slice next_word(struct slice *line) {
    const char *space = line->len == 0 ? NULL : memchr(line->bytes, ' ', line->len);
    struct slice word = {line->bytes, space == NULL ? line->len : (size_t)(space - line->bytes)};
    size_t taken = space == NULL ? word.len : word.len + 1;
    line->bytes += taken;
    line->len -= taken;
    return word;
}

/* A decimal number up to 65535, without zeros before it. */
static bool is_port(struct slice text) {
    unsigned value = 0;
    if (text.len == 0 || text.len > 5 || (text.len > 1 && text.bytes[0] == '0'))
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.bytes[i] < '0' || text.bytes[i] > '9')
            return false;
        value = value * 10 + (unsigned)(text.bytes[i] - '0');
    }
    return value <= 65535;
}

/* An address of the family that the line names. */
static bool parse_address(struct slice text, bool is_ipv6, struct ip *out) {
    bool has_colon = text.len > 0 && memchr(text.bytes, ':', text.len) != NULL;
    return has_colon == is_ipv6 && ip_parse(text, out);
}

/* The line without its start and its end. */
static int parse_line(struct slice line, int len, struct proxy_header *out) {
    struct slice family = next_word(&line);
    if (slice_is(family, "UNKNOWN"))
        return len;
    bool is_ipv6 = slice_is(family, "TCP6");
    if (!is_ipv6 && !slice_is(family, "TCP4"))
        return fail(out, "the PROXY header names no known protocol");
    struct ip destination;
    if (!parse_address(next_word(&line), is_ipv6, &out->source) ||
        !parse_address(next_word(&line), is_ipv6, &destination))
        return fail(out, "the PROXY header has a malformed address");
    if (!is_port(next_word(&line)))
        return fail(out, "the PROXY header has a malformed port");
    if (!is_port(line)) /* the rest, so nothing follows it */
        return fail(out, "the PROXY header has a malformed port");
    out->has_source = true;
    return len;
}

static int parse_v1(const char *bytes, size_t len, struct proxy_header *out) {
    size_t seen = len < PROXY_HEADER_MAX_V1 ? len : PROXY_HEADER_MAX_V1;
    const char *end = memchr(bytes, '\r', seen);
    size_t line = end == NULL ? seen : (size_t)(end - bytes);
    if (memchr(bytes, '\n', line) != NULL)
        return fail(out, "the line of the PROXY header does not end with CRLF");
    if (end == NULL)
        return seen < PROXY_HEADER_MAX_V1 ? 0 : fail(out, "the PROXY header is too long");
    if (line + 1 >= seen)
        return seen < PROXY_HEADER_MAX_V1 ? 0 : fail(out, "the PROXY header is too long");
    if (end[1] != '\n')
        return fail(out, "the line of the PROXY header does not end with CRLF");
    return parse_line((struct slice){bytes + START_V1, line - START_V1}, (int)line + 2, out);
}

/* ---- version 2 ---- */

enum { LOCAL = 0x20, PROXY = 0x21 };
enum { FAMILY_UNSPEC = 0x0, FAMILY_IPV4 = 0x1, FAMILY_IPV6 = 0x2, FAMILY_UNIX = 0x3 };
enum { PROTOCOL_UNSPEC = 0x0, PROTOCOL_STREAM = 0x1 };
enum { TLV_TLS = 0x20, TLV_TLS_USED = 0x01 };

static size_t read_16(const unsigned char *bytes) {
    return (size_t)bytes[0] << 8 | bytes[1];
}

/* The type-length-values behind the addresses (section 2.2). Only that of TLS counts. */
static int parse_tlvs(const unsigned char *bytes, size_t len, int header_len,
                      struct proxy_header *out) {
    while (len > 0) {
        if (len < 3 || read_16(bytes + 1) > len - 3)
            return fail(out, "the PROXY header has a malformed TLV");
        size_t value_len = read_16(bytes + 1);
        if (bytes[0] == TLV_TLS && value_len < 5)
            return fail(out, "the PROXY header has a malformed TLV");
        if (bytes[0] == TLV_TLS)
            out->secure = (bytes[3] & TLV_TLS_USED) != 0;
        bytes += 3 + value_len;
        len -= 3 + value_len;
    }
    return header_len;
}

/* The bytes behind the fixed ones, of the command PROXY. */
static int parse_addresses(const unsigned char *bytes, size_t len, unsigned family, int header_len,
                           struct proxy_header *out) {
    static const size_t sizes[] = {[FAMILY_IPV4] = 12, [FAMILY_IPV6] = 36, [FAMILY_UNIX] = 216};
    if (len < sizes[family])
        return fail(out, "the PROXY header is too short for its addresses");
    out->has_source = true;
    if (family == FAMILY_IPV4)
        out->source = ip_from_ipv4(bytes);
    else if (family == FAMILY_IPV6)
        out->source = ip_from_ipv6(bytes);
    else
        out->is_unix = true;
    return parse_tlvs(bytes + sizes[family], len - sizes[family], header_len, out);
}

static int parse_v2(const unsigned char *bytes, size_t len, struct proxy_header *out) {
    if (len > 12 && bytes[12] != LOCAL && bytes[12] != PROXY)
        return fail(out, "the PROXY header has an unknown version or command");
    unsigned family = len > 13 ? bytes[13] >> 4 : 0, protocol = len > 13 ? bytes[13] & 0xf : 0;
    if (len > 13 && bytes[12] == PROXY && (family > FAMILY_UNIX || protocol > PROTOCOL_STREAM))
        return fail(out, "the PROXY header names no known protocol");
    if (len < FIXED_V2)
        return 0;
    size_t rest = read_16(bytes + 14);
    if (FIXED_V2 + rest > PROXY_HEADER_MAX)
        return fail(out, "the PROXY header is too long");
    if (len < FIXED_V2 + rest)
        return 0;
    int header_len = (int)(FIXED_V2 + rest);
    if (bytes[12] == LOCAL || family == FAMILY_UNSPEC || protocol == PROTOCOL_UNSPEC)
        return header_len;
    return parse_addresses(bytes + FIXED_V2, rest, family, header_len, out);
}

/* ---- both ---- */

/* Are the bytes so far those of `start`? */
static bool begins(const char *bytes, size_t len, const char *start, size_t start_len) {
    return memcmp(bytes, start, len < start_len ? len : start_len) == 0;
}

int proxy_header_parse(const char *bytes, size_t len, struct proxy_header *out) {
    *out = (struct proxy_header){.has_source = false};
    if (len == 0)
        return 0;
    if (begins(bytes, len, start_v1, START_V1))
        return len < START_V1 ? 0 : parse_v1(bytes, len, out);
    if (begins(bytes, len, start_v2, START_V2))
        return len < START_V2 ? 0 : parse_v2((const unsigned char *)bytes, len, out);
    return fail(out, "a trusted proxy has sent no PROXY header");
}

bool proxy_header_begins(const char *bytes, size_t len) {
    return (len >= START_V1 && begins(bytes, len, start_v1, START_V1)) ||
           (len >= START_V2 && begins(bytes, len, start_v2, START_V2));
}
