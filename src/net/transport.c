/* transport.c -- accepted sockets on libwebsockets. See transport.h.
 *
 * libwebsockets' own HTTP and WebSocket roles are not used: 4.1 accepts unmasked frames, drops bad
 * handshakes without an answer, and tells nobody of PINGs. In the raw role it hands over bytes as they
 * come. We write to the socket ourselves, because lws_write() copies what a slow socket does not take
 * and stops reading until it is gone; our queue keeps the rest instead. */
#include "net/transport.h"

#include "base/log.h"
#include "base/mem.h"
#include "net/address.h"
#include "net/tls.h"

#include <errno.h>
#include <libwebsockets.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

/* One read takes this much at most; the buffer is the context's, not the connection's. */
enum { READ_BYTES = 128 * 1024 };

/* Since 4.3 contexts count the references to their log context. One that several threads share is counted
 * without a lock, and ends the process by an assertion: so each transport has its own. */
#define HAVE_LOG_CONTEXTS (LWS_LIBRARY_VERSION_NUMBER >= 4003000)

struct transport {
    struct lws_context *context;
    struct lws_vhost *vhost;
#if HAVE_LOG_CONTEXTS
    lws_log_cx_t log;
#endif
    struct stats *stats;
    struct stream *adopting; /* the stream whose lws object is being made */
    char *plain;             /* for what a read of encrypted bytes says; made when first needed */
};

struct stream {
    struct lws *wsi;
    const struct stream_events *events;
    void *owner;
    struct tls *tls; /* NULL: in plain */
    int fd;
    bool dead;                    /* killed or broken: its owner hears only `closed` */
    bool heard;                   /* something has come */
    bool paused;                  /* what has come is not all looked at: its end is not heard yet */
    bool owner_waits, shut_waits; /* with TLS, for what it has to write first */
};

/* ---- encrypted ones ---- */

static struct transport *transport_of(struct lws *wsi) {
    return lws_context_user(lws_get_context(wsi));
}

static void tell_broken(const struct stream *stream) {
    struct sockaddr_storage peer;
    socklen_t len = sizeof peer;
    char remote[ADDRESS_TEXT_BYTES] = "";
    if (getpeername(stream->fd, (struct sockaddr *)&peer, &len) == 0)
        address_format_ip((struct sockaddr *)&peer, len, remote, sizeof remote);
    struct log_line line;
    log_begin(&line, LOG_DEBUG, "tls_failed");
    log_str(&line, "remote", remote);
    log_str(&line, "why", tls_why(stream->tls));
    log_end(&line);
}

/* Has the client said that no more comes, and its owner heard all that came before? */
static bool has_ended(const struct stream *stream) {
    return tls_state(stream->tls) == TLS_ENDED && !stream->paused;
}

/* What must be done after each call of tls.c's: it may wait for the socket, have heard the end, or be broken. */
static void look_at_tls(struct stream *stream) {
    if (tls_state(stream->tls) == TLS_BROKEN) {
        if (!stream->dead)
            tell_broken(stream);
        stream_kill(stream);
    } else if (tls_waits(stream->tls) || has_ended(stream)) {
        lws_callback_on_writable(stream->wsi);
    }
}

static void received_secured(struct stream *stream, const char *bytes, size_t len) {
    struct transport *transport = transport_of(stream->wsi);
    bool greeting = tls_state(stream->tls) == TLS_GREETING;
    if (transport->plain == NULL)
        transport->plain = mem_alloc(READ_BYTES + TLS_RECORD_BYTES);
    size_t got = tls_receive(stream->tls, bytes, len, transport->plain);
    enum tls_state state = tls_state(stream->tls);
    if (greeting && state != TLS_GREETING)
        stats_add(state == TLS_BROKEN ? &transport->stats->tls_failures
                                      : &transport->stats->tls_handshakes,
                  1);
    if (got > 0)
        stream->events->received(stream->owner, transport->plain, got);
    look_at_tls(stream);
}

/* A handshake of TLS begins with the byte 22 (RFC 8446 section 5.1), a request of HTTP with a letter. */
static bool is_plain(const char *bytes) {
    return (*bytes >= 'A' && *bytes <= 'Z') || (*bytes >= 'a' && *bytes <= 'z');
}

static void received(struct stream *stream, char *bytes, size_t len) {
    if (stream->tls != NULL && !stream->heard && is_plain(bytes)) {
        tls_free(stream->tls);
        stream->tls = NULL;
    }
    stream->heard = true;
    if (stream->tls == NULL)
        stream->events->received(stream->owner, bytes, len);
    else
        received_secured(stream, bytes, len);
}

/* Its own rest goes first; then it is the owner's turn. True: the socket is to be closed. */
static bool secured_is_over(struct stream *stream) {
    if (!tls_flush(stream->tls)) {
        look_at_tls(stream);
        return false;
    }
    if (stream->shut_waits)
        shutdown(stream->fd, SHUT_WR);
    stream->shut_waits = false;
    if (!has_ended(stream))
        return tls_state(stream->tls) == TLS_BROKEN;
    tls_end(stream->tls);
    return true;
}

static void forget_tls(struct stream *stream) {
    if (stream->heard && tls_state(stream->tls) == TLS_GREETING)
        stats_add(&transport_of(stream->wsi)->stats->tls_failures, 1);
    tls_free(stream->tls);
}

static bool writable(struct stream *stream) {
    if (stream->tls == NULL) {
        stream->events->writable(stream->owner);
        return true;
    }
    if (secured_is_over(stream))
        return false;
    if (stream->owner_waits && !tls_waits(stream->tls)) {
        stream->owner_waits = false;
        stream->events->writable(stream->owner);
    }
    return true;
}

/* ---- what the library tells ---- */

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                    size_t len) {
    (void)user;
    struct stream *stream = lws_get_opaque_user_data(wsi);
    switch (reason) {
    case LWS_CALLBACK_RAW_ADOPT: {
        stream = transport_of(wsi)->adopting;
        stream->wsi = wsi;
        lws_set_opaque_user_data(wsi, stream);
        return 0;
    }
    case LWS_CALLBACK_RAW_RX:
        if (stream == NULL || stream->dead)
            return -1;
        received(stream, in, len);
        return stream->dead ? -1 : 0;
    case LWS_CALLBACK_RAW_WRITEABLE:
        if (stream == NULL || stream->dead)
            return -1;
        return writable(stream) && !stream->dead ? 0 : -1;
    case LWS_CALLBACK_RAW_CLOSE:
        if (stream == NULL)
            return 0;
        lws_set_opaque_user_data(wsi, NULL);
        stream->events->closed(stream->owner);
        if (stream->tls != NULL)
            forget_tls(stream);
        mem_free(stream);
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
    log_begin(&line, level == LLL_ERR ? LOG_ERROR : LOG_WARN, "libwebsockets");
    log_bytes(&line, "why", text, len);
    log_end(&line);
}

/* The library has state of the whole process: contexts come and go one after another. */
static uv_mutex_t contexts;
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
    transport->context = lws_create_context(info);
    if (transport->context != NULL)
        transport->vhost = lws_create_vhost(transport->context, info);
    uv_mutex_unlock(&contexts);
}

struct transport *transport_new(uv_loop_t *loop, struct stats *stats) {
    struct transport *transport = mem_zalloc(sizeof *transport);
    transport->stats = stats;
    void *loops[] = {loop};
#if HAVE_LOG_CONTEXTS
    transport->log = (lws_log_cx_t){.u.emit = on_lws_log, .lll_flags = LOGGED_LEVELS};
#endif
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
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
    if (transport->vhost != NULL)
        return transport;
    log_event(LOG_ERROR, "start_failed",
              "libwebsockets cannot start on a libuv loop; is its libuv "
              "event library installed?");
    if (transport->context != NULL)
        destroy_context(transport);
    mem_free(transport);
    return NULL;
}

void transport_stop(struct transport *transport) {
    destroy_context(transport);
}

void transport_free(struct transport *transport) {
    if (transport == NULL)
        return;
    destroy_context(transport); /* with a foreign loop it takes two: see the library */
    mem_free(transport->plain);
    mem_free(transport);
}

struct stream *stream_adopt(struct transport *transport, int fd, struct certificate *certificate,
                            const struct stream_events *events, void *owner) {
    struct stream *stream = mem_zalloc(sizeof *stream);
    stream->events = events;
    stream->owner = owner;
    stream->fd = fd;
    if (certificate != NULL)
        stream->tls = tls_new(certificate, fd);
    transport->adopting = stream;
    lws_sock_file_fd_type descriptor = {.sockfd = fd};
    struct lws *wsi = lws_adopt_descriptor_vhost(transport->vhost, LWS_ADOPT_SOCKET, descriptor,
                                                 "tidewire", NULL);
    transport->adopting = NULL;
    if (wsi == NULL) {
        tls_free(stream->tls);
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

static size_t write_secured(struct stream *stream, const void *bytes, size_t len) {
    size_t taken = tls_write(stream->tls, bytes, len);
    look_at_tls(stream);
    return taken;
}

size_t stream_write(struct stream *stream, const void *bytes, size_t len) {
    if (stream->dead)
        return 0;
    if (stream->tls != NULL)
        return write_secured(stream, bytes, len);
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
        lws_callback_on_writable(stream->wsi);
}

void stream_pause(struct stream *stream, bool paused) {
    if (stream->dead)
        return;
    stream->paused = paused;
    lws_rx_flow_control(stream->wsi, !paused);
    if (stream->tls != NULL)
        look_at_tls(stream);
}

void stream_shutdown(struct stream *stream) {
    if (stream->dead)
        return;
    if (stream->tls != NULL) {
        tls_end(stream->tls);
        look_at_tls(stream);
        stream->shut_waits = tls_waits(stream->tls);
    }
    if (!stream->shut_waits)
        shutdown(stream->fd, SHUT_WR);
}

void stream_kill(struct stream *stream) {
    if (stream->dead)
        return;
    stream->dead = true;
    lws_set_timeout(stream->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
    lws_cancel_service(
        lws_get_context(stream->wsi)); /* it looks at timeouts only after some event */
}

uint64_t stream_quiet_ms(const struct stream *stream) {
    struct tcp_info info;
    socklen_t len = sizeof info;
    if (getsockopt(stream->fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
        return UINT64_MAX;
    return info.tcpi_last_data_recv;
}
