/* transport.c -- connected sockets on libuv's uv_poll. See transport.h.
 *
 * The poll tells when a socket has bytes or takes bytes; reads and writes are here. When the client
 * has ended its direction, or the connection broke, the poll is stopped and the stream is `due`:
 * the bytes that had arrived are read to their end, then the owner learns of it. Streams that are
 * due, those to be closed among them, have a slice of each turn of the loop: thousands of clients
 * may leave in one moment, and the others are served meanwhile. Before the slice is over, a stream
 * is closed in the turn that reports its end: a client that comes back at once finds the place of
 * its last connection free. */
#include "net/socket/transport.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/log/log.h"
#include "base/mem.h"
#include "base/turn.h"
#include "net/socket/tls.h"
#include "net/socket/would_block.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Bytes of one read at most. */
enum { READ_BYTES = 128 * 1024 };

struct transport {
    uv_loop_t *loop;
    struct stats *stats;
    struct list streams; /* all but those in `due` */
    struct list due;     /* streams with work for on_work() */
    uv_idle_t work;      /* active while there are any */
    uint64_t worked_ns;  /* how long this turn has worked on them, while `work` is active */
    uint64_t shook_ns;   /* how long handshakes of TLS have taken since the last turn of `work` */
    char *bytes;         /* of one read */
    char *plain;         /* the same, decrypted; made when first needed */
};

/* The client's direction of a stream. */
enum read_side {
    READ_OPEN,
    READ_REST,  /* no more bytes come: those that have arrived are read without the poll */
    READ_ENDED, /* the owner knows of the end */
};

/* Our direction. */
enum write_side {
    WRITE_OPEN,
    WRITE_ENDING, /* stream_shutdown() waits until TLS has sent its last bytes */
    WRITE_ENDED,  /* the client sees the end */
};

struct stream {
    struct transport *transport;
    const struct stream_events *events;
    void *owner;
    struct tls *tls; /* NULL: not encrypted */
    struct list link;
    int fd;
    uint8_t polled;     /* the events that the poll reports; 0: it is stopped */
    uint8_t read_side;  /* enum read_side */
    uint8_t write_side; /* enum write_side */
    bool is_due;        /* it is in the transport's `due` */
    bool broken;        /* the socket takes no bytes any more; those that arrived are still read */
    bool reported;      /* the owner, which has paused the stream, knows that it is broken */
    bool dead;          /* the owner gets only `closed` */
    bool paused;        /* by the owner: neither bytes nor the end are reported */
    bool owner_waits;   /* for `writable` */
    char *remote;       /* with TLS: the address, which the system does not know after a reset */
    uv_poll_t poll;
};

static struct stream *stream_of(void *poll) {
    return LIST_OWNER(poll, struct stream, poll);
}

/* ---- what a stream waits for ---- */

static void on_ready(uv_poll_t *poll, int status, int events);
static void on_work(uv_idle_t *work);

static void watch(struct stream *stream) {
    int events = 0;
    if (stream->read_side == READ_OPEN && !stream->paused)
        events = UV_READABLE | UV_DISCONNECT;
    if (stream->owner_waits || !stream_is_flushed(stream))
        events |= UV_WRITABLE;
    if (stream->broken || stream->dead)
        events = 0;
    if (events == stream->polled)
        return;
    stream->polled = (uint8_t)events;
    if (events == 0)
        uv_poll_stop(&stream->poll);
    else
        uv_poll_start(&stream->poll, events, on_ready);
}

/* Has the client ended its direction by TLS's close_notify, which the owner does not know? */
static bool tls_has_ended(const struct stream *stream) {
    return stream->tls != NULL && tls_state(stream->tls) == TLS_ENDED &&
           stream->read_side != READ_ENDED;
}

static void set_broken(struct stream *stream) {
    stream->broken = true;
    if (stream->read_side == READ_ENDED)
        stream->dead = true;
    else
        stream->read_side = READ_REST;
}

static void log_failure(const struct stream *stream) {
    enum log_level level = log_refusal_level();
    if (!log_enabled(level))
        return;
    struct log_line line;
    log_begin_limited(&line, level, "tls_failed");
    log_str(&line, "remote", stream->remote);
    log_str(&line, "why", tls_why(stream->tls));
    log_end(&line);
}

static void check_tls(struct stream *stream) {
    if (tls_state(stream->tls) == TLS_BROKEN) {
        log_failure(stream);
        stream->dead = true;
    } else if (tls_socket_is_broken(stream->tls)) {
        set_broken(stream);
    }
}

/* Is it broken, but not read to its end, because the owner has paused it and does not know? */
static bool must_report_break(const struct stream *stream) {
    return stream->broken && stream->paused && !stream->reported && !stream->dead;
}

static bool has_work(const struct stream *stream) {
    if (stream->dead || (stream->broken && stream->owner_waits) || must_report_break(stream))
        return true;
    return !stream->paused && (stream->read_side == READ_REST || tls_has_ended(stream));
}

/* After each change of a stream. */
static void update(struct stream *stream) {
    struct transport *transport = stream->transport;
    if (stream->tls != NULL && !stream->dead)
        check_tls(stream);
    if (!stream->is_due && has_work(stream)) {
        stream->is_due = true;
        list_remove(&stream->link);
        list_append(&transport->due, &stream->link);
        if (!uv_is_active((uv_handle_t *)&transport->work))
            transport->worked_ns = 0;
        uv_idle_start(&transport->work, on_work);
    }
    watch(stream);
}

/* ---- in ---- */

static bool is_in_handshake(const struct stream *stream) {
    return stream->tls != NULL && tls_state(stream->tls) <= TLS_HANDSHAKE;
}

static void received_encrypted(struct stream *stream, const char *bytes, size_t len) {
    struct transport *transport = stream->transport;
    bool in_handshake = is_in_handshake(stream);
    uint64_t began = in_handshake ? clock_monotonic_ns() : 0;
    if (transport->plain == NULL)
        transport->plain = mem_alloc(READ_BYTES + TLS_RECORD_BYTES);
    size_t got = tls_receive(stream->tls, bytes, len, transport->plain);
    enum tls_state state = tls_state(stream->tls);
    if (in_handshake)
        transport->shook_ns += clock_monotonic_ns() - began;
    if (in_handshake && state > TLS_HANDSHAKE)
        stats_add(state == TLS_BROKEN ? &transport->stats->tls_failures
                                      : &transport->stats->tls_handshakes,
                  1);
    if (got > 0)
        stream->events->received(stream->owner, transport->plain, got);
}

/* A TLS handshake begins with the byte 22 (RFC 8446 section 5.1), an HTTP request with a letter. */
static bool is_plain(const char *bytes) {
    return (*bytes >= 'A' && *bytes <= 'Z') || (*bytes >= 'a' && *bytes <= 'z');
}

static inline void received(struct stream *stream, char *bytes, size_t len) {
    if (stream->tls != NULL && tls_state(stream->tls) == TLS_NEW && is_plain(bytes)) {
        tls_free(stream->tls);
        stream->tls = NULL;
    }
    if (stream->tls == NULL)
        stream->events->received(stream->owner, bytes, len);
    else
        received_encrypted(stream, bytes, len);
}

/* The client has ended its direction, and the owner has all before that. */
static void report_end(struct stream *stream) {
    stream->read_side = READ_ENDED;
    if (!stream->events->ended(stream->owner))
        stream_shutdown(stream);
    if (stream->write_side == WRITE_ENDED)
        stream->dead = true;
}

static void read_bytes(struct stream *stream) {
    char *bytes = stream->transport->bytes;
    ssize_t n;
    do
        n = recv(stream->fd, bytes, READ_BYTES, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        received(stream, bytes, (size_t)n);
    else if (n == 0 && !stream->broken)
        report_end(stream);
    else if (n == 0 || stream->broken || !would_block(errno))
        stream->dead = true;
}

/* ---- out ---- */

static void finish_shutdown(struct stream *stream) {
    stream->write_side = WRITE_ENDED;
    if (stream->read_side == READ_ENDED)
        stream->dead = true;
    else
        shutdown(stream->fd, SHUT_WR);
}

/* The socket takes bytes. TLS's own go before the owner's. */
static void writable(struct stream *stream) {
    if (stream->tls != NULL && !tls_flush(stream->tls))
        return;
    if (stream->write_side == WRITE_ENDING)
        finish_shutdown(stream);
    if (!stream->owner_waits || stream->dead)
        return;
    stream->owner_waits = false;
    stream->events->writable(stream->owner);
}

/* ---- the loop ---- */

static void on_poll_closed(uv_handle_t *poll) {
    mem_free(stream_of(poll));
}

static void close_stream(struct stream *stream) {
    stream->is_due = false;
    list_remove(&stream->link);
    uv_close((uv_handle_t *)&stream->poll, on_poll_closed);
    close(stream->fd); /* after uv_close(), which has removed it from the loop */
    stream->events->closed(stream->owner);
    if (stream->tls != NULL && tls_state(stream->tls) == TLS_HANDSHAKE)
        stats_add(&stream->transport->stats->tls_failures, 1);
    tls_free(stream->tls);
    mem_free(stream->remote);
}

/* Has the owner given the socket away? */
static bool is_released(const struct stream *stream) {
    return stream->fd < 0;
}

/* One step of a stream that is due. */
static void work_on(struct stream *stream) {
    struct transport *transport = stream->transport;
    uint64_t began = clock_monotonic_ns();
    stream->is_due = false;
    list_remove(&stream->link);
    list_append(&transport->streams, &stream->link);
    if (stream->broken && !stream->dead)
        writable(stream); /* it drops what waits */
    if (must_report_break(stream)) {
        stream->reported = true;
        stream->events->broken(stream->owner);
    }
    if (!stream->dead && !stream->paused) {
        if (tls_has_ended(stream))
            report_end(stream);
        else if (stream->read_side == READ_REST)
            read_bytes(stream);
    }
    if (stream->dead && !is_released(stream))
        close_stream(stream);
    else
        update(stream);
    transport->worked_ns += clock_monotonic_ns() - began;
}

static void on_work(uv_idle_t *work) {
    struct transport *transport = work->data;
    struct list batch; /* the next step of a stream is in the next turn */
    turn_begin(transport->loop);
    turn_note_work();
    list_init(&batch);
    list_move(&batch, &transport->due);
    transport->shook_ns = 0;
    transport->worked_ns = 0; /* not by uv_now(): a turn that reports many ends updates it often */
    while (!list_empty(&batch) && transport->worked_ns < TURN_SLICE_NS)
        work_on(LIST_OWNER(batch.next, struct stream, link));
    list_move(&batch, &transport->due); /* the rest of the batch comes first */
    list_move(&transport->due, &batch);
    if (list_empty(&transport->due))
        uv_idle_stop(work);
}

/* Must the handshake wait for the next turn? Handshakes have a slice of each turn: thousands of
 * clients may begin one in a moment, and open connections are served meanwhile. The poll reports
 * the socket again. */
static bool must_wait(const struct stream *stream) {
    struct transport *transport = stream->transport;
    if (!is_in_handshake(stream) || transport->shook_ns < TURN_SLICE_NS)
        return false;
    uv_idle_start(&transport->work, on_work); /* which begins the next slice */
    return true;
}

static void on_ready(uv_poll_t *poll, int status, int events) {
    struct stream *stream = stream_of(poll);
    turn_begin(poll->loop);
    if (status >= 0 && (events & UV_READABLE) && must_wait(stream))
        return;
    if (status < 0) {
        set_broken(stream); /* update() stops the poll: libuv leaves the socket in its epoll */
    } else if ((events & UV_DISCONNECT) && stream->read_side == READ_OPEN) {
        stream->read_side = READ_REST;
    } else if (events & UV_READABLE) {
        read_bytes(stream);
    }
    if ((events & UV_WRITABLE) && !stream->dead)
        writable(stream);
    update(stream);
    /* one step reads what has arrived, the other closes */
    const struct transport *transport = stream->transport;
    for (int step = 0;
         step < 2 && stream->is_due && !is_released(stream) && transport->worked_ns < TURN_SLICE_NS;
         step++)
        work_on(stream);
}

/* ---- all streams of a worker ---- */

struct transport *transport_new(uv_loop_t *loop, struct stats *stats) {
    struct transport *transport = mem_zalloc(sizeof *transport);
    transport->loop = loop;
    transport->stats = stats;
    transport->bytes = mem_alloc(READ_BYTES);
    list_init(&transport->streams);
    list_init(&transport->due);
    uv_idle_init(loop, &transport->work);
    transport->work.data = transport;
    return transport;
}

void transport_stop(struct transport *transport) {
    list_move(&transport->due, &transport->streams);
    while (!list_empty(&transport->due))
        close_stream(LIST_OWNER(transport->due.next, struct stream, link));
    uv_close((uv_handle_t *)&transport->work, NULL);
}

void transport_free(struct transport *transport) {
    if (transport == NULL)
        return;
    mem_free(transport->bytes);
    mem_free(transport->plain);
    mem_free(transport);
}

/* ---- one stream ---- */

static void set_tls(struct stream *stream, struct tls_server *tls, const char *remote) {
    if (tls == NULL)
        return;
    stream->tls = tls_new(tls, stream->fd);
    stream->remote = mem_strdup(remote);
}

/* NULL: the loop cannot poll the socket. */
static struct stream *new_stream(struct transport *transport, int fd,
                                 const struct stream_events *events, void *owner) {
    struct stream *stream = mem_zalloc(sizeof *stream);
    if (uv_poll_init(transport->loop, &stream->poll, fd) != 0) {
        mem_free(stream);
        return NULL;
    }
    stream->transport = transport;
    stream->events = events;
    stream->owner = owner;
    stream->fd = fd;
    list_init(&stream->link);
    list_append(&transport->streams, &stream->link);
    return stream;
}

struct stream *stream_adopt(struct transport *transport, int fd, const char *remote,
                            struct tls_server *tls, const struct stream_events *events,
                            void *owner) {
    struct stream *stream = new_stream(transport, fd, events, owner);
    if (stream == NULL) {
        close(fd);
        return NULL;
    }
    set_tls(stream, tls, remote);
    update(stream);
    return stream;
}

/* The handle is closed at once: once another worker has the descriptor, its number may become that
 * of another socket. */
bool stream_release(struct stream *stream, struct stream_socket *socket) {
    if (stream->dead)
        return false;
    *socket = (struct stream_socket){stream->fd, stream->tls, stream->remote};
    stream->fd = -1;
    stream->tls = NULL;
    stream->dead = true;
    stream->is_due = true; /* update() has nothing to do any more */
    stream->polled = 0;
    list_remove(&stream->link);
    uv_close((uv_handle_t *)&stream->poll, on_poll_closed);
    return true;
}

struct stream *stream_adopt_released(struct transport *transport,
                                     const struct stream_socket *socket,
                                     const struct stream_events *events, void *owner) {
    struct stream *stream = new_stream(transport, socket->fd, events, owner);
    if (stream == NULL) {
        stream_socket_close(socket);
        return NULL;
    }
    stream->tls = socket->tls;
    stream->remote = socket->remote;
    update(stream);
    return stream;
}

void stream_socket_close(const struct stream_socket *socket) {
    close(socket->fd);
    tls_free(socket->tls);
    mem_free(socket->remote);
}

void stream_begin_client(struct stream *stream, struct tls_server *tls, const char *remote,
                         char *rest, size_t len) {
    set_tls(stream, tls, remote);
    if (len > 0)
        received(stream, rest, len);
}

bool stream_is_secure(const struct stream *stream) {
    return stream->tls != NULL;
}

const struct tls_facts *stream_tls(const struct stream *stream) {
    return stream->tls == NULL ? NULL : tls_facts(stream->tls);
}

const char *stream_tls_refusal(const struct stream *stream) {
    return stream->tls == NULL ? NULL : tls_refusal(stream->tls);
}

void stream_set_owner(struct stream *stream, const struct stream_events *events, void *owner) {
    stream->events = events;
    stream->owner = owner;
    if (stream->read_side == READ_ENDED && !stream->dead) { /* it is reported to this one as well */
        stream->read_side = READ_OPEN;
        update(stream);
    }
}

static __attribute__((noinline)) size_t write_encrypted(struct stream *stream, const void *bytes,
                                                        size_t len) {
    size_t taken = tls_write(stream->tls, bytes, len);
    update(stream);
    return taken;
}

/* send() has failed. Returns what stream_write() returns. */
static __attribute__((noinline)) size_t not_sent(struct stream *stream, size_t len) {
    if (would_block(errno))
        return 0;
    set_broken(stream);
    update(stream);
    return len;
}

/* `inline`, for the caller that writes messages: what is rare has functions of its own. */
inline size_t stream_write(struct stream *stream, const void *bytes, size_t len) {
    if (stream->dead)
        return 0;
    if (stream->broken)
        return len;
    if (stream->tls != NULL)
        return write_encrypted(stream, bytes, len);
    ssize_t n;
    do
        n = send(stream->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n >= 0 ? (size_t)n : not_sent(stream, len);
}

void stream_want_write(struct stream *stream) {
    stream->owner_waits = true;
    update(stream);
}

bool stream_is_flushed(const struct stream *stream) {
    return stream->tls == NULL || !tls_has_unsent(stream->tls);
}

bool stream_has_input(const struct stream *stream) {
    int waiting = 0;
    return ioctl(stream->fd, FIONREAD, &waiting) == 0 && waiting > 0;
}

bool stream_has_end(const struct stream *stream) {
    struct pollfd poll_fd = {.fd = stream->fd, .events = POLLRDHUP};
    return stream->dead || stream->broken || poll(&poll_fd, 1, 0) > 0;
}

size_t stream_unacked_bytes(const struct stream *stream) {
    int queued = 0;
    if (ioctl(stream->fd, SIOCOUTQ, &queued) != 0 || queued < 0)
        queued = 0;
    return (size_t)queued + (stream->tls == NULL ? 0 : tls_unsent_bytes(stream->tls));
}

void stream_pause(struct stream *stream, bool paused) {
    stream->paused = paused;
    update(stream);
}

void stream_shutdown(struct stream *stream) {
    if (stream->dead || stream->write_side != WRITE_OPEN)
        return;
    stream->write_side = WRITE_ENDING;
    if (stream->tls != NULL)
        tls_end(stream->tls);
    if (stream_is_flushed(stream))
        finish_shutdown(stream);
    update(stream);
}

void stream_kill(struct stream *stream) {
    stream->dead = true;
    update(stream);
}

void stream_reset(struct stream *stream) {
    struct linger none = {.l_onoff = 1, .l_linger = 0};
    setsockopt(stream->fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    stream_kill(stream);
}

uint64_t stream_quiet_ms(const struct stream *stream) {
    struct tcp_info info;
    socklen_t len = sizeof info;
    if (getsockopt(stream->fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
        return UINT64_MAX;
    return info.tcpi_last_data_recv;
}
