/* acceptor.c -- accepts connections. See acceptor.h.
 *
 * A process without free descriptors cannot accept, and the loop would spin on the waiting
 * connection. So each socket has a spare descriptor: it is closed for a moment, which makes room to
 * accept the connection and close it. Where another worker takes that room first, the socket rests
 * for a moment. */
#include "net/listen/acceptor.h"

#include "base/log/log.h"
#include "base/mem.h"
#include "base/turn.h"
#include "net/socket/address.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_ACCEPTS_PER_TURN = 64, REST_MS = 100 };

/* A listening socket. */
struct listening {
    struct acceptor *acceptor;
    int fd, spare;
    uv_poll_t poll;
    uv_timer_t rest; /* active: the socket accepts nothing */
};

struct acceptor {
    struct http_server *http;
    unsigned handles; /* that are not closed */
    size_t count;
    struct listening sockets[];
};

/* ---- accepting ---- */

/* TCP_NODELAY sends small frames at once. Keepalive ends the connection of a dead peer also where
 * heartbeats are off. */
static void set_tcp_options(int fd, int family) {
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

static void open_spare(struct listening *s) {
    if (s->spare < 0)
        s->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void close_spare(struct listening *s) {
    if (s->spare >= 0)
        close(s->spare);
    s->spare = -1;
}

static void on_rested(uv_timer_t *rest) {
    struct listening *s = rest->data;
    open_spare(s);
    uv_poll_start(&s->poll, UV_READABLE, on_readable);
}

static void log_failure(const char *why) {
    static _Atomic time_t last; /* one for all workers: these things are the process's */
    if (time(NULL) != last)
        log_event(LOG_ERROR, "accept_failed", why);
    last = time(NULL);
}

/* The connection stays in the kernel's queue for a while. */
static void rest(struct listening *s) {
    uv_poll_stop(&s->poll);
    uv_timer_start(&s->rest, on_rested, REST_MS, 0);
}

static void refuse_connection(struct listening *s) {
    http_server_make_room(s->acceptor->http); /* for later ones: it takes a moment */
    close_spare(s);
    int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0)
        close(fd);
    open_spare(s);
    if (fd < 0 || s->spare < 0)
        rest(s);
    log_failure("no file descriptors left: raise the limit (ulimit -n) or lower "
                "limits.connections");
}

/* Returns true if there may be another connection. */
static bool on_accept_failed(struct listening *s, int why) {
    if (why == EMFILE || why == ENFILE)
        refuse_connection(s);
    else if (why == ENOBUFS || why == ENOMEM) {
        rest(s);
        log_failure("the kernel has no memory for another socket");
    }
    return why == EINTR || why == ECONNABORTED;
}

/* True: there may be another connection. */
static bool accept_one(struct listening *s) {
    struct address from = {.len = sizeof from.storage};
    int fd = accept4(s->fd, &from.any, &from.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return on_accept_failed(s, errno);
    if (mem_is_low()) { /* those that are there need it */
        close(fd);
        log_failure("malloc has failed: connections are refused until there is memory again");
        return true;
    }
    char remote[ADDRESS_TEXT_BYTES];
    address_format_ip(&from, remote, sizeof remote);
    set_tcp_options(fd, from.any.sa_family);
    http_accept(s->acceptor->http, fd, remote);
    return true;
}

static void on_readable(uv_poll_t *poll, int status, int events) {
    (void)status;
    (void)events;
    turn_begin(poll->loop);
    for (int i = 0; i < MAX_ACCEPTS_PER_TURN && accept_one(poll->data); i++) {
    }
}

/* ---- life ---- */

static void add_socket(struct acceptor *acceptor, uv_loop_t *loop, int fd) {
    struct listening *s = &acceptor->sockets[acceptor->count++];
    s->acceptor = acceptor;
    s->fd = fd;
    s->spare = -1;
    open_spare(s);
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
    acceptor->handles = 2 * (unsigned)count;
    mem_free(fds);
    return acceptor;
}

static void on_handle_closed(uv_handle_t *handle) {
    struct listening *s = handle->data;
    struct acceptor *acceptor = s->acceptor;
    if (handle->type == UV_POLL) {
        close(s->fd);
        close_spare(s);
    }
    if (--acceptor->handles == 0)
        mem_free(acceptor);
}

void acceptor_close(struct acceptor *acceptor) {
    if (acceptor == NULL)
        return;
    size_t count = acceptor->count; /* the last handle frees the acceptor */
    for (size_t i = 0; i < count; i++) {
        uv_close((uv_handle_t *)&acceptor->sockets[i].rest, on_handle_closed);
        uv_close((uv_handle_t *)&acceptor->sockets[i].poll, on_handle_closed);
    }
}
