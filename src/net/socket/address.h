/* address.h -- socket addresses, between text and sockaddr.
 *
 * Parses the listen addresses of the configuration and the command line; formats addresses for the
 * log and for scripts. Looks no names up: a server that waits for DNS before it listens may never
 * start. Owns nothing, opens no socket; any thread. */
#ifndef TIDEWIRE_NET_SOCKET_ADDRESS_H
#define TIDEWIRE_NET_SOCKET_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

enum {
    ADDRESS_LIST_MAX = 2,     /* addresses that one text stands for, at most */
    ADDRESS_TEXT_BYTES = 128, /* enough for each address_format(), with its NUL */
    ADDRESS_ERROR_BYTES = 256 /* enough for most errors of address_parse(), which cuts the others */
};

struct address {
    union {
        struct sockaddr_storage storage; /* first: an initialiser without it zeros all bytes */
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    };
    socklen_t len;
    bool dual_stack; /* [::] that accepts IPv4 as well: IPV6_V6ONLY is off for it and on for all
                        other IPv6 addresses. Without IPv6, use address_without_ipv6() instead */
    bool optional;   /* ::1 of "localhost": a machine without it (EAFNOSUPPORT, EADDRNOTAVAIL) is no
                        error. With port 0 it takes the port of 127.0.0.1 */
};

struct address_list {
    size_t count; /* at least 1 */
    struct address at[ADDRESS_LIST_MAX];
};

/* Parses a listen address:
 *   "127.0.0.1:8080"       that address
 *   "[::1]:8080"           that address (IPv6 only); "[fe80::1%eth0]:8080" with its interface
 *   "localhost:8080"       127.0.0.1, and ::1 where the machine has it
 *   "8080"                 as "127.0.0.1:8080": a port alone is not reachable from outside
 *   ":8080", "*:8080"      all interfaces, IPv4 and IPv6, in one dual-stack socket
 *   "0.0.0.0:8080"         all interfaces, IPv4 only; "[::]:8080" IPv6 only
 *   "unix:/run/app.sock"   a Unix socket; a relative path begins at the working directory
 * With port 0 the system chooses the port. Returns false with a sentence in `error` that quotes the
 * text and says what is right. `error` is NUL-terminated; it may be NULL with size 0. */
bool address_parse(const char *text, struct address_list *out, char *error, size_t error_size);

/* 0.0.0.0 with the same port: what a dual_stack address becomes on a machine without IPv6. */
struct address address_without_ipv6(const struct address *address);

/* The port; 0 for a Unix socket. */
int address_port(const struct address *address);

/* Sets the port. No effect on a Unix socket. */
void address_set_port(struct address *address, int port);

/* Writes the address as address_parse() reads it: "127.0.0.1:8080", "[::1]:8080",
 * "unix:/run/app.sock". An IPv4 address that is mapped into IPv6 is written as IPv4. Returns `out`,
 * NUL-terminated. */
const char *address_format(const struct address *address, char *out, size_t cap);

/* Writes the IP address without port, or "unix": the `remote_address` of a peer. An IPv4 address
 * that is mapped into IPv6 is written as IPv4. Returns `out`, NUL-terminated. */
const char *address_format_ip(const struct address *address, char *out, size_t cap);

#endif
