/* transport.c -- connected sockets on libwebsockets. See transport.h.
 *
 * libwebsockets' own HTTP and WebSocket roles are not used: 4.1 accepts unmasked frames, drops bad
 * handshakes without an answer, and does not report PINGs. Its raw role passes bytes on as they
 * arrive. We write to the socket ourselves, because lws_write() copies what a slow socket does not
 * take and stops reading until that is sent; our queue keeps it instead. */
#include "net/socket/transport.h"

#include "base/list.h"
#include "base/log/log.h"
#include "base/mem.h"
#include "net/socket/half_closed.h"
#include "net/socket/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <libwebsockets.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* Bytes of one read at most. The buffer belongs to the context, not to a connection. */
enum { READ_BYTES = 128 * 1024 };

/* Since 4.3 contexts count references to their log context, without a lock. When threads share one,
 * the count goes wrong and an assertion ends the process: so each transport has its own. */
#define HAVE_LOG_CONTEXTS (LWS_LIBRARY_VERSION_NUMBER >= 4003000)

struct transport {
    uv_loop_t *loop;
    struct lws_context *context;
    struct lws_vhost *vhost;
#if HAVE_LOG_CONTEXTS
    lws_log_cx_t log;
#endif
    struct stats *stats;
    struct stream *adopting; /* the stream whose lws object is being made */
    char *plain;             /* decrypted bytes of one read; made when first needed */
    struct list half_closed; /* streams with a `half` */
    bool stopped;
};

/* Our direction of a stream. */
enum write_side {
    WRITE_OPEN,
    WRITE_ENDING, /* stream_shutdown() waits until TLS has sent its last bytes */
    WRITE_ENDED,  /* the client sees the end */
};

struct stream {
    struct transport *transport;
    struct lws *wsi;          /* NULL: libwebsockets has closed its descriptor */
    struct half_closed *half; /* the socket from then on, or NULL: it is closed */
    struct list half_closed;
    const struct stream_events *events;
    void *owner;
    struct tls *tls; /* NULL: not encrypted */
    char *remote;    /* with TLS: the address, which the system does not know after a reset */
    int fd;
    enum write_side write_side;
    bool dead;        /* killed or broken: the owner gets only `closed` */
    bool ended;       /* the owner knows that the client has ended its direction */
    bool paused;      /* the owner does not read, so the end is not reported yet */
    bool owner_waits; /* for `writable` */
};

/* ---- encrypted streams ---- */

static void want_writable(struct stream *stream) {
    if (stream->wsi != NULL)
        lws_callback_on_writable(stream->wsi);
    else if (stream->half != NULL)
        half_closed_want_write(stream->half);
}

static void log_tls_failure(const struct stream *stream) {
    struct log_line line;
    log_begin(&line, LOG_DEBUG, "tls_failed");
    log_str(&line, "remote", stream->remote);
    log_str(&line, "why", tls_why(stream->tls));
    log_end(&line);
}

/* Has the client ended its direction, and the owner received all before that, but not the end? */
static bool must_report_end(const struct stream *stream) {
    return tls_state(stream->tls) == TLS_ENDED && !stream->paused && !stream->ended;
}

/* After each call of tls.c: TLS may be broken, have bytes for the socket, or have received the
 * end. */
static void check_tls(struct stream *stream) {
    if (tls_state(stream->tls) == TLS_BROKEN) {
        if (!stream->dead)
            log_tls_failure(stream);
        stream_kill(stream);
    } else if (tls_has_unsent(stream->tls) || must_report_end(stream)) {
        want_writable(stream);
    }
}

static void received_encrypted(struct stream *stream, const char *bytes, size_t len) {
    struct transport *transport = stream->transport;
    bool in_handshake = tls_state(stream->tls) <= TLS_HANDSHAKE;
    if (transport->plain == NULL)
        transport->plain = mem_alloc(READ_BYTES + TLS_RECORD_BYTES);
    size_t got = tls_receive(stream->tls, bytes, len, transport->plain);
    enum tls_state state = tls_state(stream->tls);
    if (in_handshake && state > TLS_HANDSHAKE)
        stats_add(state == TLS_BROKEN ? &transport->stats->tls_failures
                                      : &transport->stats->tls_handshakes,
                  1);
    if (got > 0)
        stream->events->received(stream->owner, transport->plain, got);
    check_tls(stream);
}

/* A TLS handshake begins with the byte 22 (RFC 8446 section 5.1), an HTTP request with a letter. */
static bool is_plain(const char *bytes) {
    return (*bytes >= 'A' && *bytes <= 'Z') || (*bytes >= 'a' && *bytes <= 'z');
}

static void received(struct stream *stream, char *bytes, size_t len) {
    if (stream->tls != NULL && tls_state(stream->tls) == TLS_NEW && is_plain(bytes)) {
        tls_free(stream->tls);
        stream->tls = NULL;
    }
    if (stream->tls == NULL)
        stream->events->received(stream->owner, bytes, len);
    else
        received_encrypted(stream, bytes, len);
}

static void finish_shutdown(struct stream *stream) {
    stream->write_side = WRITE_ENDED;
    shutdown(stream->fd, SHUT_WR);
    if (stream->wsi == NULL) /* both directions have ended */
        stream_kill(stream);
}

/* Tells the owner that the client has ended its direction. True: the stream goes on. */
static bool report_end(struct stream *stream) {
    stream->ended = true;
    bool goes_on = stream->events->ended(stream->owner);
    if (!goes_on && !stream_is_flushed(stream)) { /* TLS keeps the end of the owner's bytes */
        stream_shutdown(stream);
        goes_on = true;
    }
    return goes_on && !stream->dead;
}

/* The socket takes bytes. The client's end is reported at once; TLS's own bytes go before the
 * owner's. False: the socket is to be closed. */
static bool tls_goes_on(struct stream *stream) {
    if (must_report_end(stream) && !report_end(stream)) {
        tls_end(stream->tls);
        return false;
    }
    if (!tls_flush(stream->tls)) {
        check_tls(stream);
        return true;
    }
    if (stream->write_side == WRITE_ENDING)
        finish_shutdown(stream);
    return tls_state(stream->tls) != TLS_BROKEN;
}

/* The same for each stream. */
static bool writable(struct stream *stream) {
    if (stream->tls != NULL) {
        if (!tls_goes_on(stream))
            return false;
        if (!stream->owner_waits || tls_has_unsent(stream->tls))
            return true;
    }
    stream->owner_waits = false;
    stream->events->writable(stream->owner);
    return true;
}

/* ---- the end ---- */

static void free_closed(struct stream *stream) {
    list_remove(&stream->half_closed);
    stream->events->closed(stream->owner);
    if (stream->tls != NULL && tls_state(stream->tls) == TLS_HANDSHAKE)
        stats_add(&stream->transport->stats->tls_failures, 1);
    tls_free(stream->tls);
    mem_free(stream->remote);
    mem_free(stream);
}

static void on_half_writable(void *owner) {
    struct stream *stream = owner;
    if (!writable(stream))
        stream_kill(stream);
}

static void on_half_broken(void *owner) {
    stream_kill(owner);
}

static void on_half_closed(void *owner) {
    free_closed(owner);
}

static const struct half_closed_events half_closed_events = {on_half_writable, on_half_broken,
                                                             on_half_closed};

/* libwebsockets closes the socket. When only the client's direction has ended and the owner still
 * writes, the stream goes on with a descriptor of its own. */
static bool keep_half_closed(struct stream *stream) {
    stream->wsi = NULL;
    if (stream->dead || stream->transport->stopped || !half_closed_is(stream->fd))
        return false;
    if (stream->ended ? stream->write_side == WRITE_ENDED : !report_end(stream))
        return false;
    int fd = fcntl(stream->fd, F_DUPFD_CLOEXEC, 0);
    stream->half =
        fd < 0 ? NULL : half_closed_new(stream->transport->loop, fd, &half_closed_events, stream);
    if (stream->half == NULL)
        return false;
    stream->fd = fd;
    if (stream->tls != NULL)
        tls_set_fd(stream->tls, fd);
    list_append(&stream->transport->half_closed, &stream->half_closed);
    if (stream->owner_waits || !stream_is_flushed(stream))
        half_closed_want_write(stream->half);
    return true;
}

/* ---- libwebsockets ---- */

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                    size_t len) {
    (void)user;
    struct stream *stream = lws_get_opaque_user_data(wsi);
    switch (reason) {
    case LWS_CALLBACK_RAW_ADOPT: {
        const struct transport *transport = lws_context_user(lws_get_context(wsi));
        stream = transport->adopting;
        stream->wsi = wsi;
        lws_set_opaque_user_data(wsi, stream);
        return 0;
    }
    case LWS_CALLBACK_RAW_RX:
        if (stream == NULL || stream->dead || len == 0)
            return -1;
        received(stream, in, len);
        return stream->dead ? -1 : 0;
    case LWS_CALLBACK_RAW_WRITEABLE:
        if (stream == NULL || stream->dead)
            return -1;
        stream->dead = !writable(stream) || stream->dead;
        return stream->dead ? -1 : 0;
    case LWS_CALLBACK_RAW_CLOSE:
        if (stream == NULL)
            return 0;
        lws_set_opaque_user_data(wsi, NULL);
        if (!keep_half_closed(stream))
            free_closed(stream);
        return 0;
    default:
        return 0;
    }
}

static const struct lws_protocols protocols[] = {
    {.name = "tidewire", .callback = on_event, .rx_buffer_size = READ_BYTES},
    {0},
};

enum { LOGGED_LEVELS = LLL_ERR | LLL_WARN };

static void on_lws_log(int level, const char *text) {
    size_t len = strcspn(text, "\n");
    struct log_line line;
    log_begin_limited(&line, level == LLL_ERR ? LOG_ERROR : LOG_WARN, "libwebsockets");
    log_bytes(&line, "why", text, len);
    log_end(&line);
}

/* The library has state of the whole process: contexts are made and destroyed one after another. */
static uv_mutex_t contexts;
static bool contexts_fail; /* the first failed and is logged; others would fail as well */
static uv_once_t contexts_once = UV_ONCE_INIT;

static void init_contexts(void) {
    uv_mutex_init(&contexts);
    lws_set_log_level(LOGGED_LEVELS, on_lws_log);
}

static void destroy_context(struct transport *transport) {
    uv_mutex_lock(&contexts);
    lws_context_destroy(transport->context);
    uv_mutex_unlock(&contexts);
}

static void create_context(struct transport *transport,
                           const struct lws_context_creation_info *info) {
    uv_once(&contexts_once, init_contexts);
    uv_mutex_lock(&contexts);
    if (!contexts_fail)
        transport->context = lws_create_context(info);
    if (transport->context != NULL)
        transport->vhost = lws_create_vhost(transport->context, info);
    contexts_fail = contexts_fail || transport->vhost == NULL;
    uv_mutex_unlock(&contexts);
}

const char transport_cannot_start[] =
    "libwebsockets cannot load its event library for libuv: install the package "
    "libwebsockets-evlib-uv (Debian, Ubuntu), or build libwebsockets with LWS_WITH_LIBUV";

struct transport *transport_new(uv_loop_t *loop, struct stats *stats) {
    struct transport *transport = mem_zalloc(sizeof *transport);
    transport->loop = loop;
    transport->stats = stats;
    list_init(&transport->half_closed);
    void *loops[] = {loop};
#if HAVE_LOG_CONTEXTS
    /* Its warnings at the start do not concern us: only one context of a process can listen to the
     * kernel's changes of routes. */
    transport->log = (lws_log_cx_t){.u.emit = on_lws_log, .lll_flags = LLL_ERR};
#endif
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
        /* A context without this looks for a proxy in the environment; we connect to nothing. */
        .http_proxy_address = "",
        .http_proxy_port = 1,
        .protocols = protocols,
        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS,
        .foreign_loops = loops,
        .pt_serv_buf_size = READ_BYTES,
        .user = transport,
        .gid = (gid_t)-1,
        .uid = (uid_t)-1,
#if HAVE_LOG_CONTEXTS
        .log_cx = &transport->log,
#endif
    };
    create_context(transport, &info);
    if (transport->vhost != NULL) {
#if HAVE_LOG_CONTEXTS
        transport->log.lll_flags = LOGGED_LEVELS;
#endif
        return transport;
    }
    if (transport->context != NULL)
        destroy_context(transport);
    mem_free(transport);
    return NULL;
}

void transport_stop(struct transport *transport) {
    transport->stopped = true;
    while (!list_empty(&transport->half_closed)) {
        struct stream *stream = LIST_OWNER(transport->half_closed.next, struct stream, half_closed);
        half_closed_abandon(stream->half);
        free_closed(stream);
    }
    destroy_context(transport);
}

void transport_free(struct transport *transport) {
    if (transport == NULL)
        return;
    destroy_context(transport); /* on a foreign loop the library needs a second call */
    mem_free(transport->plain);
    mem_free(transport);
}

struct stream *stream_adopt(struct transport *transport, int fd, const char *remote,
                            struct certificate *certificate, const struct stream_events *events,
                            void *owner) {
    struct stream *stream = mem_zalloc(sizeof *stream);
    stream->transport = transport;
    stream->events = events;
    stream->owner = owner;
    stream->fd = fd;
    list_init(&stream->half_closed);
    if (certificate != NULL) {
        stream->tls = tls_new(certificate, fd);
        stream->remote = mem_strdup(remote);
    }
    transport->adopting = stream;
    lws_sock_file_fd_type descriptor = {.sockfd = fd};
    struct lws *wsi = lws_adopt_descriptor_vhost(transport->vhost, LWS_ADOPT_SOCKET, descriptor,
                                                 "tidewire", NULL);
    transport->adopting = NULL;
    if (wsi == NULL) {
        tls_free(stream->tls);
        mem_free(stream->remote);
        mem_free(stream);
        return NULL;
    }
    return stream;
}

bool stream_is_secure(const struct stream *stream) {
    return stream->tls != NULL;
}

void stream_set_owner(struct stream *stream, const struct stream_events *events, void *owner) {
    stream->events = events;
    stream->owner = owner;
}

size_t stream_write(struct stream *stream, const void *bytes, size_t len) {
    if (stream->dead)
        return 0;
    if (stream->tls != NULL) {
        size_t taken = tls_write(stream->tls, bytes, len);
        check_tls(stream);
        return taken;
    }
    for (;;) {
        ssize_t n = send(stream->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0)
            return (size_t)n;
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN && errno != EWOULDBLOCK)
            stream_kill(stream);
        return 0;
    }
}

void stream_want_write(struct stream *stream) {
    stream->owner_waits = true;
    if (!stream->dead)
        want_writable(stream);
}

bool stream_is_flushed(const struct stream *stream) {
    return stream->tls == NULL || !tls_has_unsent(stream->tls);
}

size_t stream_unacked_bytes(const struct stream *stream) {
    int queued = 0;
    if (ioctl(stream->fd, SIOCOUTQ, &queued) != 0 || queued < 0)
        queued = 0;
    return (size_t)queued + (stream->tls == NULL ? 0 : tls_unsent_bytes(stream->tls));
}

void stream_pause(struct stream *stream, bool paused) {
    if (stream->dead || stream->wsi == NULL)
        return;
    stream->paused = paused;
    lws_rx_flow_control(stream->wsi, !paused);
    if (stream->tls != NULL)
        check_tls(stream);
}

void stream_shutdown(struct stream *stream) {
    if (stream->dead || stream->write_side != WRITE_OPEN)
        return;
    stream->write_side = WRITE_ENDING;
    if (stream->tls != NULL) {
        tls_end(stream->tls);
        check_tls(stream);
    }
    if (stream_is_flushed(stream))
        finish_shutdown(stream);
}

void stream_kill(struct stream *stream) {
    if (stream->dead)
        return;
    stream->dead = true;
    if (stream->half != NULL)
        half_closed_close(stream->half);
    if (stream->wsi == NULL)
        return;
    lws_set_timeout(stream->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
    /* the library checks timeouts only after some event */
    lws_cancel_service(lws_get_context(stream->wsi));
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
