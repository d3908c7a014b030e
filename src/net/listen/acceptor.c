/* acceptor.c -- accepting connections. See acceptor.h.
 *
 * When the process runs out of descriptors, the spare one is given up for a moment to accept and
 * close the connection that waits: otherwise the loop would spin on it. Another worker may be
 * quicker to take what was given up; then nothing is accepted for a moment. */
#include "net/listen/acceptor.h"

#include "base/log/log.h"
#include "base/mem.h"
#include "net/socket/address.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ACCEPTS_A_TURN = 64, REST_MS = 100 };

struct socket_ {
    struct acceptor *acceptor;
    int fd, spare;
    uv_poll_t poll;
    uv_timer_t rest; /* active: nothing is accepted */
};

struct acceptor {
    struct http_server *http;
    unsigned open; /* handles that live */
    size_t count;
    struct socket_ sockets[];
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

static void on_readable(uv_poll_t *poll, int status, int events);

static void take_spare(struct socket_ *s) {
    if (s->spare < 0)
        s->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void give_spare(struct socket_ *s) {
    if (s->spare >= 0)
        close(s->spare);
    s->spare = -1;
}

static void on_rested(uv_timer_t *rest) {
    struct socket_ *s = rest->data;
    take_spare(s);
    uv_poll_start(&s->poll, UV_READABLE, on_readable);
}

static void turn_away(struct socket_ *s) {
    static _Atomic time_t last; /* for all workers: it is about the process */
    give_spare(s);
    int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0)
        close(fd);
    take_spare(s);
    if (fd < 0 || s->spare < 0) {
        uv_poll_stop(&s->poll);
        uv_timer_start(&s->rest, on_rested, REST_MS, 0);
    }
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
    http_accept(s->acceptor->http, fd, remote);
    return true;
}

static void on_readable(uv_poll_t *poll, int status, int events) {
    (void)status;
    (void)events;
    for (int i = 0; i < ACCEPTS_A_TURN && accept_one(poll->data); i++) {
    }
}

/* ---- life ---- */

static void add_socket(struct acceptor *acceptor, uv_loop_t *loop, int fd) {
    struct socket_ *s = &acceptor->sockets[acceptor->count++];
    s->acceptor = acceptor;
    s->fd = fd;
    s->spare = -1;
    take_spare(s);
    uv_timer_init(loop, &s->rest);
    uv_poll_init(loop, &s->poll, fd);
    s->poll.data = s->rest.data = s;
    uv_poll_start(&s->poll, UV_READABLE, on_readable);
}

struct acceptor *acceptor_start(uv_loop_t *loop, struct listen_set *set, unsigned worker,
                                struct http_server *http) {
    int *fds;
    size_t count = listen_take_fds(set, worker, &fds);
    struct acceptor *acceptor = mem_zalloc(sizeof *acceptor + count * sizeof acceptor->sockets[0]);
    acceptor->http = http;
    for (size_t i = 0; i < count; i++)
        add_socket(acceptor, loop, fds[i]);
    acceptor->open = 2 * (unsigned)count;
    mem_free(fds);
    return acceptor;
}

static void on_handle_closed(uv_handle_t *handle) {
    struct socket_ *s = handle->data;
    struct acceptor *acceptor = s->acceptor;
    if (handle->type == UV_POLL) {
        close(s->fd);
        give_spare(s);
    }
    if (--acceptor->open == 0)
        mem_free(acceptor);
}

void acceptor_close(struct acceptor *acceptor) {
    if (acceptor == NULL)
        return;
    size_t count = acceptor->count; /* it is freed with its last handle */
    for (size_t i = 0; i < count; i++) {
        uv_close((uv_handle_t *)&acceptor->sockets[i].rest, on_handle_closed);
        uv_close((uv_handle_t *)&acceptor->sockets[i].poll, on_handle_closed);
    }
}
