/* trusted_proxies.c -- the peers that may name the client. See trusted_proxies.h. */
#include "net/socket/trusted_proxies.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

struct trusted_proxies {
    bool has_unix;
    size_t count;
    struct ip_network networks[];
};

static bool is_unix(const char *text) {
    return strcmp(text, "unix") == 0 || strcmp(text, "unix:") == 0;
}

bool trusted_proxies_check(const char *text, char *error, size_t error_size) {
    struct ip_network network;
    if (is_unix(text))
        return true;
    if (strncmp(text, "unix:", 5) != 0)
        return ip_network_parse(text, &network, error, error_size);
    snprintf(error, error_size,
             "\"%s\": a peer of a Unix socket has no path: write \"unix\", which trusts the "
             "peers of all Unix sockets",
             text);
    return false;
}

struct trusted_proxies *trusted_proxies_new(const char *const *texts, size_t count) {
    if (count == 0)
        return NULL;
    struct trusted_proxies *proxies =
        mem_zalloc(sizeof *proxies + count * sizeof proxies->networks[0]);
    for (size_t i = 0; i < count; i++) {
        if (is_unix(texts[i]))
            proxies->has_unix = true;
        else if (ip_network_parse(texts[i], &proxies->networks[proxies->count], NULL, 0))
            proxies->count++;
    }
    return proxies;
}

void trusted_proxies_free(struct trusted_proxies *proxies) {
    mem_free(proxies);
}

bool trusted_proxies_has(const struct trusted_proxies *proxies, const struct ip *ip) {
    for (size_t i = 0; proxies != NULL && i < proxies->count; i++) {
        if (ip_network_has(&proxies->networks[i], ip))
            return true;
    }
    return false;
}

bool trusted_proxies_has_peer(const struct trusted_proxies *proxies, const char *peer) {
    struct ip ip;
    if (proxies == NULL)
        return false;
    if (is_unix(peer))
        return proxies->has_unix;
    return ip_parse((struct slice){peer, strcspn(peer, "%")}, &ip) &&
           trusted_proxies_has(proxies, &ip);
}
