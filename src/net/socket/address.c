/* address.c -- socket addresses, between text and sockaddr. See address.h. */
#include "net/socket/address.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- parsing ---- */

/* The text that is parsed, and where its error goes. */
struct parser {
    const char *text;
    char *error;
    size_t error_size;
};

__attribute__((format(printf, 2, 3))) static bool fail(const struct parser *p, const char *format,
                                                       ...) {
    if (p->error_size == 0)
        return false;
    int len = snprintf(p->error, p->error_size, "listen address \"%s\": ", p->text);
    if (len < 0 || (size_t)len >= p->error_size)
        return false;
    va_list args;
    va_start(args, format);
    vsnprintf(p->error + len, p->error_size - (size_t)len, format, args);
    va_end(args);
    return false;
}

static bool all_digits(const char *text) {
    return text[0] != '\0' && text[strspn(text, "0123456789")] == '\0';
}

static bool parse_port(const struct parser *p, const char *text, int *port) {
    if (!all_digits(text) || strlen(text) > 5 || atoi(text) > 65535)
        return fail(p, "the port must be a number from 0 to 65535");
    *port = atoi(text);
    return true;
}

static void set_ipv4(struct address *a, struct in_addr ip, int port) {
    *a = (struct address){
        .in = {.sin_family = AF_INET, .sin_addr = ip, .sin_port = htons(port)},
        .len = sizeof a->in,
    };
}

static void set_ipv6(struct address *a, struct in6_addr ip, int port) {
    *a = (struct address){
        .in6 = {.sin6_family = AF_INET6, .sin6_addr = ip, .sin6_port = htons(port)},
        .len = sizeof a->in6,
    };
}

/* `host` is the text between the brackets: an IPv6 address, perhaps with "%" and an interface. */
static bool parse_ipv6(const struct parser *p, const char *host, int port, struct address *out) {
    char ip_text[INET6_ADDRSTRLEN];
    size_t len = strcspn(host, "%");
    struct in6_addr ip;
    snprintf(ip_text, sizeof ip_text, "%.*s", (int)len, host);
    if (len >= sizeof ip_text || inet_pton(AF_INET6, ip_text, &ip) != 1)
        return fail(p, "an IPv6 address must stand between the brackets");
    if (IN6_IS_ADDR_V4MAPPED(&ip)) { /* an IPv6-only socket cannot be bound to it */
        struct in_addr ip4;
        memcpy(&ip4, ip.s6_addr + 12, sizeof(ip4));
        set_ipv4(out, ip4, port);
        return true;
    }
    set_ipv6(out, ip, port);
    if (host[len] == '%') {
        const char *name = host + len + 1;
        unsigned index = !all_digits(name)   ? if_nametoindex(name)
                         : strlen(name) <= 9 ? (unsigned)strtoul(name, NULL, 10)
                                             : 0;
        if (index == 0)
            return fail(p, "there is no network interface \"%s\"", name);
        out->in6.sin6_scope_id = index;
    }
    return true;
}

static bool parse_host(const struct parser *p, char *host, int port, struct address_list *out) {
    struct in_addr ip;
    out->count = 1;
    if (host[0] == '[') {
        host[strlen(host) - 1] = '\0';
        return parse_ipv6(p, host + 1, port, &out->at[0]);
    }
    if (host[0] == '\0' || strcmp(host, "*") == 0) {
        set_ipv6(&out->at[0], in6addr_any, port);
        out->at[0].dual_stack = true;
        return true;
    }
    if (strcmp(host, "localhost") == 0) {
        set_ipv4(&out->at[0], (struct in_addr){htonl(INADDR_LOOPBACK)}, port);
        set_ipv6(&out->at[1], in6addr_loopback, port);
        out->at[1].optional = true;
        out->count = 2;
        return true;
    }
    if (inet_pton(AF_INET, host, &ip) != 1)
        return fail(p,
                    "\"%s\" is not an IP address. Names other than \"localhost\" are not looked "
                    "up: give the address, or \":%d\" for all interfaces",
                    host, port);
    set_ipv4(&out->at[0], ip, port);
    return true;
}

static bool parse_unix(const struct parser *p, const char *path, struct address *out) {
    size_t len = strlen(path);
    if (len == 0)
        return fail(p, "a path must follow \"unix:\", as in \"unix:/run/app.sock\"");
    if (len >= sizeof out->un.sun_path)
        return fail(p, "the path is %zu bytes long; the system allows a Unix socket %zu", len,
                    sizeof out->un.sun_path - 1);
    *out = (struct address){
        .un.sun_family = AF_UNIX,
        .len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1),
    };
    memcpy(out->un.sun_path, path, len + 1);
    return true;
}

/* The text is a URL; its authority is the address that was meant. */
static bool fail_url(const struct parser *p, const char *host) {
    int len = (int)strcspn(host, "/?#");
    bool has_port = len > 0 && host[len - 1] != ']' && memchr(host, ':', (size_t)len) != NULL;
    bool is_secure = strncmp(p->text, "https:", 6) == 0 || strncmp(p->text, "wss:", 4) == 0;
    return fail(p, "an address has neither a scheme nor a path: write \"%.*s%s\"%s", len, host,
                has_port ? "" : ":8080",
                is_secure ? "; TLS comes with --tls-certificate and --tls-key" : "");
}

bool address_parse(const char *text, struct address_list *out, char *error, size_t error_size) {
    struct parser p = {text, error, error_size};
    char host[128];
    int port;
    *out = (struct address_list){.count = 1};
    if (strncmp(text, "unix:", 5) == 0)
        return parse_unix(&p, text + 5, &out->at[0]);
    if (all_digits(text)) {
        if (!parse_port(&p, text, &port))
            return false;
        set_ipv4(&out->at[0], (struct in_addr){htonl(INADDR_LOOPBACK)}, port);
        return true;
    }
    const char *scheme = strstr(text, "://");
    if (scheme != NULL)
        return fail_url(&p, scheme + 3);
    if (text[0] == '/' || text[0] == '.')
        return fail(&p, "a Unix socket is written \"unix:%s\"", text);
    if (strchr(text, '/') != NULL)
        return fail_url(&p, text);
    const char *bracket = strchr(text, ']');
    const char *colon = bracket != NULL ? bracket + 1 : strrchr(text, ':');
    if (text[0] == '[' ? bracket == NULL : bracket != NULL)
        return fail(&p, "an IPv6 address is written in brackets, as in \"[::1]:8080\"");
    if (colon == NULL || *colon != ':')
        return fail(&p, "a port is missing, as in \"127.0.0.1:8080\"");
    if (text[0] != '[' && memchr(text, ':', (size_t)(colon - text)) != NULL)
        return fail(&p, "an IPv6 address is written in brackets, as in \"[::1]:8080\"");
    if ((size_t)(colon - text) >= sizeof(host))
        return fail(&p, "the host is too long");
    if (!parse_port(&p, colon + 1, &port))
        return false;
    snprintf(host, sizeof host, "%.*s", (int)(colon - text), text);
    return parse_host(&p, host, port, out);
}

struct address address_without_ipv6(const struct address *address) {
    struct address plain;
    set_ipv4(&plain, (struct in_addr){htonl(INADDR_ANY)}, address_port(address));
    return plain;
}

/* ---- formatting ---- */

int address_port(const struct address *address) {
    if (address->any.sa_family == AF_INET)
        return ntohs(address->in.sin_port);
    return address->any.sa_family == AF_INET6 ? ntohs(address->in6.sin6_port) : 0;
}

void address_set_port(struct address *address, int port) {
    if (address->any.sa_family == AF_INET)
        address->in.sin_port = htons((uint16_t)port);
    else if (address->any.sa_family == AF_INET6)
        address->in6.sin6_port = htons((uint16_t)port);
}

/* The IPv4 address, also one that is mapped into IPv6. False: it is neither. */
static bool get_ipv4(const struct address *address, struct in_addr *ip) {
    if (address->any.sa_family == AF_INET) {
        *ip = address->in.sin_addr;
        return true;
    }
    const struct in6_addr *ip6 = &address->in6.sin6_addr;
    if (address->any.sa_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(ip6))
        return false;
    memcpy(ip, ip6->s6_addr + 12, sizeof *ip);
    return true;
}

const char *address_format_ip(const struct address *address, char *out, size_t cap) {
    char ip[INET6_ADDRSTRLEN] = "unknown", zone[IF_NAMESIZE + 1] = "";
    struct in_addr ip4;
    if (address->len >= sizeof(sa_family_t) && address->any.sa_family == AF_UNIX) {
        snprintf(ip, sizeof ip, "unix");
    } else if (get_ipv4(address, &ip4)) {
        inet_ntop(AF_INET, &ip4, ip, sizeof ip);
    } else if (address->any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &address->in6.sin6_addr, ip, sizeof ip);
        unsigned scope = address->in6.sin6_scope_id;
        if (scope != 0) {
            zone[0] = '%';
            if (if_indextoname(scope, zone + 1) == NULL)
                snprintf(zone + 1, IF_NAMESIZE, "%u", scope);
        }
    }
    snprintf(out, cap, "%s%s", ip, zone);
    return out;
}

const char *address_format(const struct address *address, char *out, size_t cap) {
    if (address->any.sa_family == AF_UNIX) {
        const size_t before = offsetof(struct sockaddr_un, sun_path);
        size_t path_len = address->len > before ? address->len - before : 0;
        const char *path = address->un.sun_path;
        snprintf(out, cap, "unix:%.*s", (int)strnlen(path, path_len), path);
        return out;
    }
    char ip[INET6_ADDRSTRLEN + IF_NAMESIZE + 1];
    address_format_ip(address, ip, sizeof ip);
    snprintf(out, cap, strchr(ip, ':') != NULL ? "[%s]:%d" : "%s:%d", ip, address_port(address));
    return out;
}
