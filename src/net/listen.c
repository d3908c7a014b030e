/* listen.c -- opening listening sockets. See listen.h.
 *
 * SO_REUSEPORT would also let another program of the same user listen on the address beside us, and take a
 * part of the clients: so a socket without it is bound first, and only when that succeeds those of the
 * workers are. */
#include "net/listen.h"

#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 4096 };

/* One address. */
struct spot {
    int *fds; /* by worker; -1: taken */
    char unix_path[sizeof((struct sockaddr_un *)0)->sun_path];
};

struct listen_set {
    unsigned workers;
    size_t count;
    struct spot spots[ADDRESS_LIST_MAX];
};

/* ---- sockets ---- */

static bool is_socket_file(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISSOCK(info.st_mode);
}

/* A socket file that nobody listens on is a leftover of a crash; one that answers, or is too busy to
 * (EAGAIN), is in use. */
static bool is_stale(const struct sockaddr_un *address, socklen_t len) {
    if (!is_socket_file(address->sun_path))
        return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool stale = connect(fd, (const struct sockaddr *)address, len) != 0 && errno == ECONNREFUSED;
    close(fd);
    return stale;
}

/* A bound socket that does not listen yet, or -errno. */
static int bind_socket(const struct address *address, bool shared) {
    int family = address->storage.ss_family, on = 1, v6only = !address->dual_stack;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (family != AF_UNIX)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (family != AF_UNIX && shared)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof v6only);
    const struct sockaddr *where = (const struct sockaddr *)&address->storage;
    int result = bind(fd, where, address->len) == 0 ? 0 : -errno;
    if (result == -EADDRINUSE && family == AF_UNIX &&
        is_stale((const struct sockaddr_un *)where, address->len)) {
        unlink(((const struct sockaddr_un *)where)->sun_path);
        result = bind(fd, where, address->len) == 0 ? 0 : -errno;
    }
    if (result != 0)
        close(fd);
    return result != 0 ? result : fd;
}

/* A listening socket, or -errno. */
static int open_socket(const struct address *address, bool shared) {
    int fd = bind_socket(address, shared);
    if (fd >= 0 && listen(fd, BACKLOG) != 0) {
        int result = -errno;
        close(fd);
        return result;
    }
    return fd;
}

static void learn_port(int fd, struct address *address) {
    struct sockaddr_storage storage;
    socklen_t len = sizeof storage;
    getsockname(fd, (struct sockaddr *)&storage, &len);
    address_set_port(address, address_port((struct sockaddr *)&storage));
}

/* One socket for each worker. 0 or -errno. The address learns its port. */
static int open_shared(struct address *address, int *fds, unsigned count) {
    if (address_port((struct sockaddr *)&address->storage) != 0) { /* is it free? */
        int probe = open_socket(address, false);
        if (probe < 0)
            return probe;
        close(probe);
    }
    for (unsigned i = 0; i < count; i++) {
        fds[i] = open_socket(address, true);
        if (fds[i] < 0)
            return fds[i];
        learn_port(fds[i], address);
    }
    return 0;
}

/* One socket, for each worker a descriptor of it. */
static int open_single(struct address *address, int *fds, unsigned count) {
    fds[0] = open_socket(address, false);
    if (fds[0] < 0)
        return fds[0];
    learn_port(fds[0], address);
    for (unsigned i = 1; i < count; i++) {
        fds[i] = fcntl(fds[0], F_DUPFD_CLOEXEC, 0);
        if (fds[i] < 0)
            return -errno;
    }
    return 0;
}

static int open_fds(struct address *address, int *fds, unsigned count) {
    return count > 1 && address->storage.ss_family != AF_UNIX ? open_shared(address, fds, count)
                                                              : open_single(address, fds, count);
}

static void announce(int fd, const char *purpose) {
    struct sockaddr_storage storage;
    socklen_t len = sizeof storage;
    char text[ADDRESS_TEXT_BYTES];
    getsockname(fd, (struct sockaddr *)&storage, &len);
    struct log_line line;
    log_begin(&line, LOG_INFO, "listening");
    log_str(&line, "address", address_format((struct sockaddr *)&storage, len, text, sizeof text));
    if (purpose != NULL)
        log_str(&line, "for", purpose);
    log_end(&line);
}

/* 0 or -errno. `port`, when not 0, is what the system chose for the first socket of port 0. */
static int add_spot(struct listen_set *set, struct address *address, const char *purpose,
                    int *port) {
    if (*port != 0 && address_port((struct sockaddr *)&address->storage) == 0)
        address_set_port(address, *port);
    struct spot *spot = &set->spots[set->count];
    spot->fds = mem_alloc(set->workers * sizeof *spot->fds);
    for (unsigned i = 0; i < set->workers; i++)
        spot->fds[i] = -1;
    set->count++;
    int result = open_fds(address, spot->fds, set->workers);
    if (result == -EAFNOSUPPORT && address->dual_stack) {
        *address = address_without_ipv6(address);
        result = open_fds(address, spot->fds, set->workers);
    }
    if (result == -EAFNOSUPPORT || result == -EADDRNOTAVAIL) {
        if (address->optional) {
            set->count--;
            mem_free(spot->fds);
            return 0;
        }
    }
    if (result != 0)
        return result;
    if (address->storage.ss_family == AF_UNIX)
        snprintf(spot->unix_path, sizeof spot->unix_path, "%s",
                 ((struct sockaddr_un *)&address->storage)->sun_path);
    announce(spot->fds[0], purpose);
    *port = address_port((struct sockaddr *)&address->storage);
    return 0;
}

/* What may be the reason of a failure, in brackets. */
static const char *hint(const struct address *address, int result) {
    if (result != -EADDRINUSE)
        return "";
    if (address->storage.ss_family == AF_UNIX &&
        !is_socket_file(((const struct sockaddr_un *)&address->storage)->sun_path))
        return " (there is a file of that name, and it is no socket)";
    return " (is another server running there?)";
}

/* ---- life ---- */

struct listen_set *listen_open(const char *text, const char *purpose, unsigned workers, char *error,
                               size_t error_size) {
    struct address_list list;
    if (!address_parse(text, &list, error, error_size))
        return NULL;
    struct listen_set *set = mem_zalloc(sizeof *set);
    set->workers = workers;
    int port = 0;
    for (size_t i = 0; i < list.count; i++) {
        int result = add_spot(set, &list.at[i], purpose, &port);
        if (result != 0) {
            snprintf(error, error_size, "cannot listen on %s: %s%s", text, strerror(-result),
                     hint(&list.at[i], result));
            listen_end(set);
            return NULL;
        }
    }
    return set;
}

size_t listen_take(struct listen_set *set, unsigned worker, int fds[ADDRESS_LIST_MAX]) {
    for (size_t i = 0; i < set->count; i++) {
        fds[i] = set->spots[i].fds[worker];
        set->spots[i].fds[worker] = -1;
    }
    return set->count;
}

void listen_end(struct listen_set *set) {
    if (set == NULL)
        return;
    for (size_t i = 0; i < set->count; i++) {
        struct spot *spot = &set->spots[i];
        for (unsigned j = 0; j < set->workers; j++)
            if (spot->fds[j] >= 0)
                close(spot->fds[j]);
        if (spot->unix_path[0] != '\0')
            unlink(spot->unix_path);
        mem_free(spot->fds);
    }
    mem_free(set);
}
