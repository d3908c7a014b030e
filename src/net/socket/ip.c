/* ip.c -- IP addresses and networks as values. See ip.h. */
#include "net/socket/ip.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff}; /* RFC 4291 section 2.5.5.2 */

struct ip ip_from_ipv4(const void *bytes) {
    struct ip ip = {.is_ipv6 = false};
    memcpy(ip.bytes, bytes, 4);
    return ip;
}

struct ip ip_from_ipv6(const void *bytes) {
    if (memcmp(bytes, mapped, sizeof mapped) == 0)
        return ip_from_ipv4((const uint8_t *)bytes + sizeof mapped);
    struct ip ip = {.is_ipv6 = true};
    memcpy(ip.bytes, bytes, 16);
    return ip;
}

/* `family` gets the one of the text. */
static bool parse(struct slice text, uint8_t bytes[16], int *family) {
    char copy[IP_TEXT_BYTES];
    if (text.len == 0 || text.len >= sizeof copy || memchr(text.bytes, '\0', text.len) != NULL)
        return false;
    memcpy(copy, text.bytes, text.len);
    copy[text.len] = '\0';
    *family = memchr(copy, ':', text.len) != NULL ? AF_INET6 : AF_INET;
    return inet_pton(*family, copy, bytes) == 1;
}

bool ip_parse(struct slice text, struct ip *out) {
    uint8_t bytes[16];
    int family;
    if (!parse(text, bytes, &family))
        return false;
    *out = family == AF_INET ? ip_from_ipv4(bytes) : ip_from_ipv6(bytes);
    return true;
}

struct ip ip_client_network(const struct ip *ip) {
    struct ip network = *ip;
    if (ip->is_ipv6)
        memset(network.bytes + 8, 0, 8);
    return network;
}

const char *ip_format(const struct ip *ip, char out[IP_TEXT_BYTES]) {
    return inet_ntop(ip->is_ipv6 ? AF_INET6 : AF_INET, ip->bytes, out, IP_TEXT_BYTES);
}

/* ---- networks ---- */

static bool fail(char *error, size_t error_size, const char *text, const char *why) {
    snprintf(error, error_size, "\"%s\": %s", text, why);
    return false;
}

/* The number of digits[0..]; -1: it is none, or above 128. */
static int parse_bits(const char *digits) {
    size_t len = strspn(digits, "0123456789");
    if (len == 0 || len > 3 || digits[len] != '\0' || atoi(digits) > 128)
        return -1;
    return atoi(digits);
}

bool ip_network_parse(const char *text, struct ip_network *out, char *error, size_t error_size) {
    const char *slash = strchr(text, '/');
    struct slice address = {text, slash == NULL ? strlen(text) : (size_t)(slash - text)};
    uint8_t bytes[16];
    int family;
    if (!parse(address, bytes, &family))
        return fail(error, error_size, text,
                    "this is no IP address and no network: write it as in \"10.0.0.0/8\", "
                    "\"192.0.2.1\", \"2001:db8::/32\" or \"::1\", without a port; names are not "
                    "looked up");
    int longest = family == AF_INET ? 32 : 128;
    int bits = slash == NULL ? longest : parse_bits(slash + 1);
    if (bits < 0 || bits > longest)
        return fail(error, error_size, text,
                    family == AF_INET ? "the number behind the slash is from 0 to 32"
                                      : "the number behind the slash is from 0 to 128");
    *out = (struct ip_network){.ip = {.is_ipv6 = family == AF_INET6}, .bits = (unsigned)bits};
    if (family == AF_INET) {
        out->ip = ip_from_ipv4(bytes);
    } else if (bits >= 96 && memcmp(bytes, mapped, sizeof mapped) == 0) {
        out->ip = ip_from_ipv4(bytes + sizeof mapped);
        out->bits -= 96;
    } else {
        memcpy(out->ip.bytes, bytes, sizeof bytes);
    }
    return true;
}

bool ip_network_has(const struct ip_network *network, const struct ip *ip) {
    unsigned whole = network->bits / 8, rest = network->bits % 8;
    if (network->ip.is_ipv6 != ip->is_ipv6 || memcmp(network->ip.bytes, ip->bytes, whole) != 0)
        return false;
    return rest == 0 || (network->ip.bytes[whole] ^ ip->bytes[whole]) >> (8 - rest) == 0;
}
