/* listener.c -- listening sockets. See listener.h.
 *
 * When the process runs out of descriptors, the spare one is given up for a moment to accept and
 * close the connection that waits: otherwise the loop would spin on it. */
#include "net/listener.h"

#include "base/log.h"
#include "base/mem.h"
#include "net/address.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 4096, ACCEPTS_A_TURN = 64 };

struct socket_ {
    struct listener *listener;
    int fd, spare;
    uv_poll_t poll;
    char unix_path[sizeof((struct sockaddr_un *)0)->sun_path];
};

struct listener {
    struct http_server *http;
    const char *purpose;
    unsigned open; /* sockets whose handles live */
    size_t count;
    struct socket_ sockets[ADDRESS_LIST_MAX];
};

/* ---- accepting ---- */

/* Small frames leave at once; a dead peer's TCP is noticed even where heartbeats are off. */
static void tune(int fd, int family) {
    if (family == AF_UNIX)
        return;
    int on = 1, idle = 300, interval = 30, count = 4;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
}

static void turn_away(struct socket_ *s) {
    static time_t last;
    close(s->spare);
    int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0)
        close(fd);
    s->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (time(NULL) != last)
        log_event(
            LOG_ERROR, "accept_failed",
            "no file descriptors left: raise the limit (ulimit -n) or lower limits.connections");
    last = time(NULL);
}

/* True: there may be more. */
static bool accept_one(struct socket_ *s) {
    struct sockaddr_storage from;
    socklen_t len = sizeof from;
    int fd = accept4(s->fd, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE)
            turn_away(s);
        return errno == EINTR || errno == ECONNABORTED;
    }
    char remote[ADDRESS_TEXT_BYTES];
    address_format_ip((struct sockaddr *)&from, len, remote, sizeof remote);
    tune(fd, from.ss_family);
    http_accept(s->listener->http, fd, remote);
    return true;
}

static void on_readable(uv_poll_t *poll, int status, int events) {
    (void)status;
    (void)events;
    for (int i = 0; i < ACCEPTS_A_TURN && accept_one(poll->data); i++) {
    }
}

/* ---- opening ---- */

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

static int open_socket(const struct address *address) {
    int family = address->storage.ss_family, on = 1, v6only = !address->dual_stack;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (family != AF_UNIX)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof v6only);
    const struct sockaddr *where = (const struct sockaddr *)&address->storage;
    int result = bind(fd, where, address->len) == 0 ? 0 : -errno;
    if (result == -EADDRINUSE && family == AF_UNIX &&
        is_stale((const struct sockaddr_un *)where, address->len)) {
        unlink(((const struct sockaddr_un *)where)->sun_path);
        result = bind(fd, where, address->len) == 0 ? 0 : -errno;
    }
    if (result == 0 && listen(fd, BACKLOG) != 0)
        result = -errno;
    if (result != 0) {
        close(fd);
        return result;
    }
    return fd;
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
static int add_socket(struct listener *listener, uv_loop_t *loop, struct address *address,
                      int *port) {
    if (*port != 0 && address_port((struct sockaddr *)&address->storage) == 0)
        address_set_port(address, *port);
    int fd = open_socket(address);
    if (fd == -EAFNOSUPPORT && address->dual_stack) {
        struct address without = address_without_ipv6(address);
        fd = open_socket(&without);
    }
    if (fd < 0)
        return address->optional && (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL) ? 0 : fd;
    struct socket_ *s = &listener->sockets[listener->count];
    s->listener = listener;
    s->fd = fd;
    s->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (address->storage.ss_family == AF_UNIX)
        snprintf(s->unix_path, sizeof s->unix_path, "%s",
                 ((struct sockaddr_un *)&address->storage)->sun_path);
    uv_poll_init(loop, &s->poll, fd);
    s->poll.data = s;
    listener->count++;
    listener->open++;
    uv_poll_start(&s->poll, UV_READABLE, on_readable);
    announce(fd, listener->purpose);
    struct sockaddr_storage storage;
    socklen_t len = sizeof storage;
    getsockname(fd, (struct sockaddr *)&storage, &len);
    *port = address_port((struct sockaddr *)&storage);
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

struct listener *listener_open(uv_loop_t *loop, const char *text, const char *purpose,
                               struct http_server *http, char *error, size_t error_size) {
    struct address_list list;
    if (!address_parse(text, &list, error, error_size))
        return NULL;
    struct listener *listener = mem_zalloc(sizeof *listener);
    listener->http = http;
    listener->purpose = purpose;
    int port = 0;
    for (size_t i = 0; i < list.count; i++) {
        int result = add_socket(listener, loop, &list.at[i], &port);
        if (result != 0) {
            snprintf(error, error_size, "cannot listen on %s: %s%s", text, strerror(-result),
                     hint(&list.at[i], result));
            listener_close(listener);
            return NULL;
        }
    }
    return listener;
}

static void on_handle_closed(uv_handle_t *handle) {
    struct socket_ *s = handle->data;
    struct listener *listener = s->listener;
    close(s->fd);
    close(s->spare);
    if (--listener->open == 0)
        mem_free(listener);
}

void listener_close(struct listener *listener) {
    if (listener == NULL)
        return;
    if (listener->count == 0) {
        mem_free(listener);
        return;
    }
    for (size_t i = 0; i < listener->count; i++) {
        struct socket_ *s = &listener->sockets[i];
        if (s->unix_path[0] != '\0')
            unlink(s->unix_path);
        uv_close((uv_handle_t *)&s->poll, on_handle_closed);
    }
}
