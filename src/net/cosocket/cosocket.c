/* cosocket.c -- one stream socket of a script. See cosocket.h.
 *
 * The kernel keeps what arrives until the script asks for it, so an idle cosocket has no buffer. A
 * poll for bytes stays on after its waiter was called, because a script that sends a request waits
 * for the next answer; the first event for which no task waits stops it. */
#include "base/clock.h"
#include "base/list.h"
#include "base/mem.h"
#include "net/cosocket/cosocket_parts.h"
#include "net/socket/would_block.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* While the server stops, a wait lasts no longer: its socket is closed then. */
enum { DRAIN_WAIT_MS = 2000 };

/* A socket whose peer has ended is closed when it was not used for so long. */
enum { ENDED_MS = 10 * 1000 };

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

bool cosocket_watch(struct cosocket *socket) {
    int events = socket->polled & UV_READABLE;
    if (waits(socket, COSOCKET_IN))
        events |= UV_READABLE;
    if (waits(socket, COSOCKET_OUT) || cosocket_has_unsent(socket))
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
    struct cosocket_waiter *waiter = &socket->waiters[side];
    cosocket_ready_fn on_ready = waiter->on_ready;
    waiter->on_ready = NULL;
    socket->used = false;
    if (on_ready != NULL)
        on_ready(waiter->context, waiter->tag);
}

static void on_event(uv_poll_t *handle, int status, int events) {
    struct cosocket *socket = LIST_OWNER(handle, struct cosocket_poll, handle)->socket;
    if (status < 0) { /* an error of the socket, which the next read or write returns */
        poll_for(socket, 0);
        events = UV_READABLE | UV_WRITABLE;
    } else if ((events & UV_READABLE) && !waits(socket, COSOCKET_IN)) {
        poll_for(socket, socket->polled & ~UV_READABLE);
    }
    if (events & UV_READABLE)
        ready(socket, COSOCKET_IN);
    if ((events & UV_WRITABLE) && (socket->tls == NULL || tls_flush(socket->tls)))
        ready(socket, COSOCKET_OUT);
    if (status >= 0)
        cosocket_watch(socket);
}

/* ---- deadlines ---- */

static void on_timer(uv_timer_t *timer);

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

/* Its first deadline has come. */
static void end_waits(struct cosocket *socket, uint64_t now) {
    bool is_last = false;
    for (int side = 0; side < COSOCKET_SIDES; side++) {
        const struct cosocket_waiter *waiter = &socket->waiters[side];
        if (waiter->on_ready == NULL || waiter->due_ms > now)
            continue;
        is_last = is_last || waiter->is_last;
        ready(socket, (enum cosocket_side)side);
    }
    uint64_t due = first_due(socket);
    if (is_last)
        cosocket_close(socket);
    else if (due == UINT64_MAX)
        deadlines_remove(&socket->shared->deadlines, &socket->deadline);
    else
        deadlines_set(&socket->shared->deadlines, &socket->deadline, due);
}

static void on_timer(uv_timer_t *timer) {
    struct cosocket_shared *shared = timer->data;
    uint64_t now = clock_monotonic_ms();
    shared->timer_ms = 0;
    for (struct deadline *first;
         (first = deadlines_peek(&shared->deadlines)) != NULL && first->key <= now;)
        end_waits(DEADLINE_OWNER(first, struct cosocket, deadline), now);
    arm_timer(shared);
}

/* The time at which the wait ends. */
static void set_due(struct cosocket *socket, struct cosocket_waiter *waiter, uint64_t due) {
    struct cosocket_shared *shared = socket->shared;
    uint64_t last = shared->draining ? clock_monotonic_ms() + DRAIN_WAIT_MS : UINT64_MAX;
    waiter->is_last = last < due;
    waiter->due_ms = waiter->is_last ? last : due;
    if (waiter->due_ms == UINT64_MAX ||
        (deadlines_contains(&socket->deadline) && socket->deadline.key <= waiter->due_ms))
        return;
    deadlines_set(&shared->deadlines, &socket->deadline, waiter->due_ms);
    arm_timer(shared);
}

void cosocket_drain(struct cosocket *socket) {
    for (int side = 0; side < COSOCKET_SIDES; side++)
        if (waits(socket, (enum cosocket_side)side))
            set_due(socket, &socket->waiters[side], socket->waiters[side].due_ms);
}

bool cosocket_wait(struct cosocket *socket, enum cosocket_side side, uint64_t timeout_ms,
                   cosocket_ready_fn on_ready, void *context, uint64_t tag) {
    struct cosocket_waiter *waiter = &socket->waiters[side];
    if (on_ready != NULL && waiter->on_ready != NULL)
        return false;
    if (on_ready == NULL && waiter->tag != tag)
        return true; /* another one waits by now */
    uint64_t due = timeout_ms == UINT64_MAX ? UINT64_MAX : clock_monotonic_ms() + timeout_ms;
    *waiter = (struct cosocket_waiter){on_ready, context, tag, due, false};
    if (on_ready == NULL)
        return true;
    if (socket->fd < 0 || !cosocket_watch(socket))
        ready(socket, side); /* the next read or write says why */
    else
        set_due(socket, waiter, due);
    return true;
}

bool cosocket_is_ready(const struct cosocket *socket, enum cosocket_side side) {
    struct pollfd poll_fd = {socket->fd, side == COSOCKET_IN ? POLLIN : POLLOUT, 0};
    return socket->fd < 0 || poll(&poll_fd, 1, 0) > 0;
}

/* ---- the descriptor ---- */

/* Counts the connection, or its failure. Returns `result`. */
static int end_connecting(struct cosocket *socket, int result) {
    struct stats *stats = socket->shared->stats;
    socket->connecting = false;
    stats_add(result == COSOCKET_DONE ? &stats->cosockets_connected : &stats->cosockets_failed, 1);
    return result;
}

static void on_poll_closed(uv_handle_t *handle) {
    mem_free(LIST_OWNER((void *)handle, struct cosocket_poll, handle));
}

static void close_descriptor(struct cosocket *socket) {
    if (socket->poll != NULL)
        uv_close((uv_handle_t *)&socket->poll->handle, on_poll_closed);
    socket->poll = NULL;
    socket->polled = 0;
    if (socket->fd < 0)
        return;
    if (socket->connecting)
        end_connecting(socket, COSOCKET_CLOSED);
    close(socket->fd); /* after uv_close(), which has removed it from the loop */
    socket->fd = -1;
    limit_release(socket->shared->limit);
    stats_add(&socket->shared->stats->cosockets, (uint64_t)-1);
}

void cosocket_close(struct cosocket *socket) {
    cosocket_end_tls(socket);
    close_descriptor(socket);
    if (!waits(socket, COSOCKET_IN)) /* a task that waits takes the part that has come */
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
    buffer_free(&socket->in);
    if (!limit_take(socket->shared->limit))
        return COSOCKET_LIMIT;
    int fd = new_descriptor(family);
    if (fd < 0) {
        int error = errno;
        limit_release(socket->shared->limit);
        return error;
    }
    socket->fd = fd;
    socket->ended = false;
    cosocket_used(socket);
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
        return end_connecting(socket, COSOCKET_DONE);
    if (errno == EISCONN && socket->connecting) {
        end_connecting(socket, COSOCKET_DONE);
        return EISCONN;
    }
    if (errno != EINPROGRESS && errno != EINTR && errno != EAGAIN)
        return errno == EALREADY || errno == EISCONN ? errno : end_connecting(socket, errno);
    socket->connecting = true;
    return errno == EAGAIN ? EAGAIN : COSOCKET_AGAIN; /* the queue of a Unix socket is full */
}

int cosocket_connected(struct cosocket *socket) {
    struct sockaddr_storage peer;
    int error = 0;
    socklen_t len = sizeof error, peer_len = sizeof peer;
    if (socket->fd < 0)
        return COSOCKET_CLOSED;
    if (getsockopt(socket->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0)
        return end_connecting(socket, error == 0 ? errno : error);
    if (getpeername(socket->fd, (struct sockaddr *)&peer, &peer_len) != 0)
        return COSOCKET_AGAIN;
    return socket->connecting ? end_connecting(socket, COSOCKET_DONE) : COSOCKET_DONE;
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

/* Has the peer ended, behind all that was received? */
static bool has_ended(const struct cosocket *socket) {
    char byte;
    if (socket->in.len > 0)
        return false;
    ssize_t n = recv(socket->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n < 0) /* ENOTCONN: it has no peer yet */
        return !would_block(errno) && errno != EINTR && errno != ENOTCONN;
    return n == 0;
}

bool cosocket_is_idle(struct cosocket *socket, uint64_t ms) {
    uint64_t now = uv_now(socket->shared->loop);
    if (socket->fd < 0 || waits(socket, COSOCKET_IN) || waits(socket, COSOCKET_OUT))
        return false;
    if (now >= socket->used_ms + ENDED_MS && !socket->connecting && has_ended(socket))
        cosocket_close(socket);
    if (socket->fd < 0 || socket->was_idle || now < socket->used_ms + ms)
        return false;
    socket->was_idle = true;
    return true;
}

int cosocket_check_idle(struct cosocket *socket) {
    if (waits(socket, COSOCKET_IN) || waits(socket, COSOCKET_OUT) || cosocket_has_unsent(socket))
        return COSOCKET_BUSY;
    socket->used = false;               /* it does not give way: what it says would not be known */
    int result = cosocket_fill(socket); /* TLS has messages of its own, which bring no bytes */
    if (socket->in.len > 0)
        return COSOCKET_BUSY;
    return result == COSOCKET_AGAIN ? COSOCKET_DONE : COSOCKET_CLOSED;
}

uint32_t *cosocket_times(struct cosocket *socket) {
    return &socket->times;
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
    buffer_free(&socket->in);
    mem_free(socket);
}
