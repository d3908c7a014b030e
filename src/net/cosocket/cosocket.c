/* cosocket.c -- one stream socket of a script. See cosocket.h.
 *
 * The kernel keeps what arrives until the script asks for it, so an idle cosocket has no buffer. A
 * poll for bytes stays on after its waiter was called, because a script that sends a request waits
 * for the next answer; the first event for which no task waits stops it. */
#include "net/cosocket/cosocket.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/mem.h"
#include "net/socket/would_block.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Bytes of one read at most. */
enum { READ_BYTES = 32 * 1024 };

/* A descriptor on the loop. It outlives its socket until libuv has closed it. */
struct poll {
    uv_poll_t handle;
    struct cosocket *socket;
};

struct waiter {
    cosocket_ready_fn on_ready; /* NULL: none */
    void *context;
    uint64_t tag;
    uint64_t due_ms; /* UINT64_MAX: never */
};

struct cosocket {
    struct cosocket_shared *shared;
    struct poll *poll; /* NULL: it has not waited yet */
    int fd;            /* -1: none */
    uint8_t polled;    /* the events that the poll reports; 0: it is stopped */
    bool ended;        /* the peer has ended its direction */
    struct buffer in;
    struct waiter waiters[COSOCKET_SIDES];
    struct deadline deadline; /* no later than the first waiter's */
    uint64_t received, sent;
    uint64_t made_ms;
};

/* ---- waiting ---- */

static void on_event(uv_poll_t *handle, int status, int events);

static bool waits(const struct cosocket *socket, enum cosocket_side side) {
    return socket->waiters[side].on_ready != NULL;
}

static void poll_for(struct cosocket *socket, int events) {
    if (events == socket->polled)
        return;
    socket->polled = (uint8_t)events;
    if (events == 0)
        uv_poll_stop(&socket->poll->handle);
    else
        uv_poll_start(&socket->poll->handle, events, on_event);
}

/* Polls for what is waited for, at least. */
static bool watch(struct cosocket *socket) {
    int events = socket->polled & UV_READABLE;
    if (waits(socket, COSOCKET_IN))
        events |= UV_READABLE;
    if (waits(socket, COSOCKET_OUT))
        events |= UV_WRITABLE;
    if (events == socket->polled)
        return true;
    if (socket->poll == NULL) {
        socket->poll = mem_zalloc(sizeof *socket->poll);
        socket->poll->socket = socket;
        if (uv_poll_init(socket->shared->loop, &socket->poll->handle, socket->fd) != 0) {
            mem_free(socket->poll);
            socket->poll = NULL;
            return false;
        }
    }
    poll_for(socket, events);
    return true;
}

static void ready(struct cosocket *socket, enum cosocket_side side) {
    struct waiter *waiter = &socket->waiters[side];
    cosocket_ready_fn on_ready = waiter->on_ready;
    waiter->on_ready = NULL;
    if (on_ready != NULL)
        on_ready(waiter->context, waiter->tag);
}

static void on_event(uv_poll_t *handle, int status, int events) {
    struct cosocket *socket = LIST_OWNER(handle, struct poll, handle)->socket;
    if (status < 0) { /* an error of the socket, which the next read or write returns */
        poll_for(socket, 0);
        events = UV_READABLE | UV_WRITABLE;
    } else if ((events & UV_READABLE) && !waits(socket, COSOCKET_IN)) {
        poll_for(socket, socket->polled & ~UV_READABLE);
    }
    if (events & UV_READABLE)
        ready(socket, COSOCKET_IN);
    if (events & UV_WRITABLE)
        ready(socket, COSOCKET_OUT);
    if (status >= 0)
        watch(socket);
}

/* ---- deadlines ---- */

static void on_timer(uv_timer_t *timer) {
    struct cosocket_shared *shared = timer->data;
    shared->timer_ms = 0;
    cosocket_run_deadlines(shared);
}

static void arm_timer(struct cosocket_shared *shared) {
    const struct deadline *first = deadlines_peek(&shared->deadlines);
    if (first == NULL || (shared->timer_ms != 0 && shared->timer_ms <= first->key))
        return;
    uint64_t now = clock_monotonic_ms();
    shared->timer_ms = first->key;
    uv_update_time(shared->loop);
    uv_timer_start(&shared->timer, on_timer, first->key > now ? first->key - now : 0, 0);
}

static uint64_t first_due(const struct cosocket *socket) {
    uint64_t first = UINT64_MAX;
    for (int side = 0; side < COSOCKET_SIDES; side++)
        if (waits(socket, (enum cosocket_side)side) && socket->waiters[side].due_ms < first)
            first = socket->waiters[side].due_ms;
    return first;
}

void cosocket_run_deadlines(struct cosocket_shared *shared) {
    uint64_t now = clock_monotonic_ms();
    for (struct deadline *first;
         (first = deadlines_peek(&shared->deadlines)) != NULL && first->key <= now;) {
        struct cosocket *socket = DEADLINE_OWNER(first, struct cosocket, deadline);
        for (int side = 0; side < COSOCKET_SIDES; side++)
            if (socket->waiters[side].due_ms <= now)
                ready(socket, (enum cosocket_side)side);
        uint64_t due = first_due(socket);
        if (due == UINT64_MAX)
            deadlines_remove(&shared->deadlines, first);
        else
            deadlines_set(&shared->deadlines, first, due);
    }
    arm_timer(shared);
}

bool cosocket_wait(struct cosocket *socket, enum cosocket_side side, uint64_t timeout_ms,
                   cosocket_ready_fn on_ready, void *context, uint64_t tag) {
    struct cosocket_shared *shared = socket->shared;
    struct waiter *waiter = &socket->waiters[side];
    if (on_ready != NULL && waiter->on_ready != NULL)
        return false;
    if (on_ready == NULL && waiter->tag != tag)
        return true; /* another one waits by now */
    uint64_t due = timeout_ms == UINT64_MAX ? UINT64_MAX : clock_monotonic_ms() + timeout_ms;
    *waiter = (struct waiter){on_ready, context, tag, due};
    if (on_ready == NULL)
        return true;
    if (socket->fd < 0 || !watch(socket))
        ready(socket, side); /* the next read or write says why */
    else if (due != UINT64_MAX &&
             (!deadlines_contains(&socket->deadline) || due < socket->deadline.key)) {
        deadlines_set(&shared->deadlines, &socket->deadline, due);
        arm_timer(shared);
    }
    return true;
}

bool cosocket_is_ready(const struct cosocket *socket, enum cosocket_side side) {
    struct pollfd poll_fd = {socket->fd, side == COSOCKET_IN ? POLLIN : POLLOUT, 0};
    return socket->fd < 0 || poll(&poll_fd, 1, 0) > 0;
}

/* ---- the descriptor ---- */

static void on_poll_closed(uv_handle_t *handle) {
    mem_free(LIST_OWNER((void *)handle, struct poll, handle));
}

static void close_descriptor(struct cosocket *socket) {
    if (socket->poll != NULL)
        uv_close((uv_handle_t *)&socket->poll->handle, on_poll_closed);
    socket->poll = NULL;
    socket->polled = 0;
    if (socket->fd < 0)
        return;
    close(socket->fd); /* after uv_close(), which has removed it from the loop */
    socket->fd = -1;
    socket->shared->live--;
    stats_add(&socket->shared->stats->cosockets, (uint64_t)-1);
}

void cosocket_close(struct cosocket *socket) {
    close_descriptor(socket);
    buffer_free(&socket->in);
    for (int side = 0; side < COSOCKET_SIDES; side++)
        ready(socket, (enum cosocket_side)side);
    deadlines_remove(&socket->shared->deadlines, &socket->deadline);
}

int cosocket_descriptor(const struct cosocket *socket) {
    return socket->fd;
}

static int new_descriptor(enum cosocket_family family) {
    static const int families[] = {
        [COSOCKET_INET] = AF_INET, [COSOCKET_INET6] = AF_INET6, [COSOCKET_UNIX] = AF_UNIX};
    return socket(families[family], SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

int cosocket_open(struct cosocket *socket, enum cosocket_family family) {
    cosocket_close(socket);
    int fd = new_descriptor(family);
    if (fd < 0)
        return errno;
    socket->fd = fd;
    socket->ended = false;
    socket->shared->live++;
    stats_add(&socket->shared->stats->cosockets, 1);
    return COSOCKET_DONE;
}

/* ---- addresses ---- */

union any_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un path;
};

/* Returns its length; 0: the text is no such address. */
static socklen_t write_address(const struct cosocket_address *address, union any_address *out) {
    memset(out, 0, sizeof *out);
    switch (address->family) {
    case COSOCKET_INET:
        return uv_ip4_addr(address->host, (int)address->port, &out->v4) == 0 ? sizeof out->v4 : 0;
    case COSOCKET_INET6:
        return uv_ip6_addr(address->host, (int)address->port, &out->v6) == 0 ? sizeof out->v6 : 0;
    case COSOCKET_UNIX:
        if (strlen(address->host) >= sizeof out->path.sun_path)
            return 0;
        out->path.sun_family = AF_UNIX;
        strcpy(out->path.sun_path, address->host);
        return sizeof out->path;
    default:
        return 0;
    }
}

int cosocket_bind(struct cosocket *socket, const struct cosocket_address *address) {
    union any_address any;
    socklen_t len = write_address(address, &any);
    if (len == 0)
        return EINVAL;
    if (socket->fd < 0)
        return EBADF;
    return bind(socket->fd, &any.any, len) == 0 ? COSOCKET_DONE : errno;
}

int cosocket_connect(struct cosocket *socket, const struct cosocket_address *address) {
    union any_address any;
    socklen_t len = write_address(address, &any);
    if (len == 0)
        return EINVAL;
    if (socket->fd < 0)
        return COSOCKET_CLOSED;
    if (connect(socket->fd, &any.any, len) == 0)
        return COSOCKET_DONE;
    return errno == EINPROGRESS || errno == EINTR ? COSOCKET_AGAIN : errno;
}

int cosocket_connected(struct cosocket *socket) {
    struct sockaddr_storage peer;
    int error = 0;
    socklen_t len = sizeof error, peer_len = sizeof peer;
    if (socket->fd < 0)
        return COSOCKET_CLOSED;
    if (getsockopt(socket->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0)
        return error == 0 ? errno : error;
    return getpeername(socket->fd, (struct sockaddr *)&peer, &peer_len) == 0 ? COSOCKET_DONE
                                                                             : COSOCKET_AGAIN;
}

/* ---- bytes ---- */

int cosocket_send(struct cosocket *socket, struct slice bytes, size_t *sent) {
    if (socket->fd < 0)
        return COSOCKET_CLOSED;
    while (bytes.len > 0) {
        ssize_t n = send(socket->fd, bytes.bytes, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && would_block(errno))
            return COSOCKET_AGAIN;
        if (n < 0)
            return errno == EPIPE ? COSOCKET_CLOSED : errno;
        *sent += (size_t)n;
        socket->sent += (uint64_t)n;
        bytes = (struct slice){bytes.bytes + n, bytes.len - (size_t)n};
    }
    return COSOCKET_DONE;
}

struct slice cosocket_peek(const struct cosocket *socket) {
    return (struct slice){buffer_start(&socket->in), socket->in.len};
}

void cosocket_drop(struct cosocket *socket, size_t len) {
    buffer_drop(&socket->in, len);
    socket->received += len;
    if (socket->in.len == 0)
        buffer_free(&socket->in);
}

int cosocket_fill(struct cosocket *socket) {
    struct cosocket_shared *shared = socket->shared;
    if (socket->in.len >= COSOCKET_BUFFER_BYTES)
        return COSOCKET_DONE;
    if (socket->fd < 0 || socket->ended)
        return COSOCKET_CLOSED;
    if (shared->bytes == NULL)
        shared->bytes = mem_alloc(READ_BYTES);
    ssize_t n;
    do
        n = recv(socket->fd, shared->bytes, READ_BYTES, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return would_block(errno) ? COSOCKET_AGAIN : errno;
    if (n == 0) {
        socket->ended = true;
        return COSOCKET_CLOSED;
    }
    buffer_add(&socket->in, shared->bytes, (size_t)n);
    return COSOCKET_DONE;
}

int cosocket_shutdown(struct cosocket *socket, unsigned sides) {
    static const int how[] = {
        [1U << COSOCKET_IN] = SHUT_RD, [1U << COSOCKET_OUT] = SHUT_WR, [3] = SHUT_RDWR};
    if (socket->fd < 0)
        return COSOCKET_CLOSED;
    return shutdown(socket->fd, how[sides]) == 0 ? COSOCKET_DONE : errno;
}

/* ---- life ---- */

struct cosocket_counts cosocket_counts(const struct cosocket *socket) {
    return (struct cosocket_counts){socket->received, socket->sent,
                                    (double)(clock_monotonic_ms() - socket->made_ms) / 1000};
}

void cosocket_set_counts(struct cosocket *socket, const struct cosocket_counts *counts) {
    socket->received = counts->received;
    socket->sent = counts->sent;
    socket->made_ms = clock_monotonic_ms() - (uint64_t)(counts->age * 1000);
}

struct cosocket *cosocket_new(struct cosocket_shared *shared) {
    struct cosocket *socket = mem_zalloc(sizeof *socket);
    socket->shared = shared;
    socket->fd = -1;
    socket->made_ms = clock_monotonic_ms();
    return socket;
}

void cosocket_free(struct cosocket *socket) {
    cosocket_close(socket);
    mem_free(socket);
}
