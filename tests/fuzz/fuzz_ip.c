/* fuzz_ip.c -- IP addresses against inet_pton(3), networks, elements of trusted_proxies. */
#include "fuzz.h"

#include "net/socket/trusted_proxies.h"

#include <arpa/inet.h>

static void check_address(const char *text, size_t len) {
    struct ip ip, again;
    unsigned char bytes[16] = {0};
    char *copy = fuzz_copy(text, len); /* without a NUL behind it */
    bool good = ip_parse((struct slice){copy, len}, &ip);
    fuzz_check(good ==
               (inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1));
    free(copy);
    if (!good)
        return;
    char out[IP_TEXT_BYTES];
    ip_format(&ip, out);
    fuzz_check(ip_parse(slice_of(out), &again) && memcmp(&ip, &again, sizeof ip) == 0);
}

static void check_network(const char *text) {
    char error[IP_ERROR_BYTES] = "";
    struct ip_network network;
    bool good = ip_network_parse(text, &network, error, sizeof error);
    if (good) {
        fuzz_check(network.bits <= (network.ip.is_ipv6 ? 128 : 32));
        fuzz_check(ip_network_has(&network, &network.ip));
        fuzz_check(trusted_proxies_check(text, error, sizeof error));
        struct trusted_proxies *proxies = trusted_proxies_new(&text, 1);
        fuzz_check(trusted_proxies_has(proxies, &network.ip));
        trusted_proxies_free(proxies);
    } else {
        fuzz_check(error[0] != '\0');
        struct trusted_proxies *proxies = trusted_proxies_new(&text, 1);
        trusted_proxies_has_peer(proxies, text);
        trusted_proxies_free(proxies);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (memchr(data, '\0', size) != NULL)
        return 0;
    char *text = fuzz_text(data, size);
    check_address(text, size);
    check_network(text);
    free(text);
    return 0;
}
