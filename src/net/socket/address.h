/* address.h -- addresses between text and socket.
 *
 * Reads the listen addresses of the configuration and the command line, writes addresses for logs
 * and scripts. Names are not looked up: a server that waits for DNS before it listens is a
 * server that does not start. Owns nothing, any thread, opens no socket. */
#ifndef TIDEWIRE_NET_SOCKET_ADDRESS_H
#define TIDEWIRE_NET_SOCKET_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

enum {
    ADDRESS_LIST_MAX = 2,     /* sockets one text can stand for */
    ADDRESS_TEXT_BYTES = 128, /* enough for any address_format, its NUL included */
    ADDRESS_ERROR_BYTES = 256 /* enough for most texts of address_parse; longer ones are cut */
};

struct address {
    struct sockaddr_storage storage;
    socklen_t len;
    bool dual_stack; /* [::] that takes IPv4 as well: clear IPV6_V6ONLY (set it for all other
                        IPv6 addresses). Where the machine has no IPv6, use address_without_ipv6 */
    bool optional;   /* the ::1 of "localhost": not there on some machines, and then no error
                        (EAFNOSUPPORT, EADDRNOTAVAIL). With port 0 it takes the first one's port */
};

struct address_list {
    size_t count; /* at least 1 */
    struct address at[ADDRESS_LIST_MAX];
};

/* Reads a listen address:
 *   "127.0.0.1:8080"       that address
 *   "[::1]:8080"           that address (IPv6 only); "[fe80::1%eth0]:8080" with its interface
 *   "localhost:8080"       127.0.0.1 and, where there is one, ::1
 *   "8080"                 as "127.0.0.1:8080": a port alone opens nothing to the world
 *   ":8080", "*:8080"      all interfaces, IPv4 and IPv6, in one dual-stack socket
 *   "0.0.0.0:8080"         all interfaces, IPv4 only; "[::]:8080" IPv6 only
 *   "unix:/run/app.sock"   a Unix socket; a relative path is taken from the working directory
 * Port 0 lets the system choose. True, or false with a sentence in `error` (NUL-terminated, may be
 * NULL with size 0) that quotes the text and says what would be right. */
bool address_parse(const char *text, struct address_list *out, char *error, size_t error_size);

/* The same port on 0.0.0.0: what a dual_stack address becomes on a machine without IPv6. */
struct address address_without_ipv6(const struct address *address);

/* The port; 0 for a Unix socket. */
int address_port(const struct sockaddr *address);

/* Sets the port. No effect on a Unix socket. */
void address_set_port(struct address *address, int port);

/* Writes the address as address_parse reads it: "127.0.0.1:8080", "[::1]:8080",
 * "unix:/run/app.sock". An IPv4 address mapped into IPv6 is shown as IPv4. Always NUL-terminated;
 * returns `out`. */
const char *address_format(const struct sockaddr *address, socklen_t len, char *out, size_t cap);

/* Writes who the peer is, for `remote_address`: the IP without port, or "unix". An IPv4 address
 * mapped into IPv6 is shown as IPv4. Always NUL-terminated; returns `out`. */
const char *address_format_ip(const struct sockaddr *address, socklen_t len, char *out, size_t cap);

#endif
