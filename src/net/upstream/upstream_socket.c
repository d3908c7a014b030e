/* upstream_socket.c -- connected sockets to other servers, on libwebsockets. See
 * upstream_socket.h.
 *
 * The library connects, polls and reads; TLS is tls.c's, because the client of the raw role of 4.1
 * begins its own TLS before it has connected. We write to the socket ourselves, because lws_write()
 * copies what a slow socket does not take and stops reading until that is sent: two sides that wait
 * for each other would wait for ever. */
#include "net/upstream/upstream_socket.h"

#include "base/list.h"
#include "base/log/log.h"
#include "base/mem.h"
#include "net/socket/would_block.h"

#include <errno.h>
#include <libwebsockets.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    READ_BYTES = 32 * 1024, /* of one read at most; a TLS record has 16 KiB, so none stays unread */
    OWN_FDS = 8,            /* descriptors of the context itself */
    NO_TIMEOUT_SECONDS = 1000000 /* the owner has a timeout of its own */
};

/* Since 4.3 contexts count references to their log context, without a lock. When threads share one,
 * the count goes wrong and an assertion ends the process: so each context has its own. */
#define HAVE_LOG_CONTEXTS (LWS_LIBRARY_VERSION_NUMBER >= 4003000)

struct upstream_sockets {
    struct lws_context *context;
    struct lws_vhost *vhost;
#if HAVE_LOG_CONTEXTS
    lws_log_cx_t log;
#endif
    uv_loop_t *loop;
    struct lws *bound; /* the last object that the library has made */
    struct list sockets;
    char plain[READ_BYTES + TLS_RECORD_BYTES]; /* decrypted bytes of one read */
};

struct upstream_socket {
    struct upstream_sockets *sockets;
    struct list link;
    struct lws *wsi;
    struct client_tls *settings; /* of TLS; NULL: not encrypted */
    struct tls *tls;             /* NULL: not connected yet, or not encrypted */
    const struct upstream_socket_events *events;
    void *owner;
    bool connecting; /* inside of the library's function that begins to connect */
    bool failed;     /* it has failed there, and the library has freed its object */
    bool abandoned;  /* the same, but the library still has its object */
    bool opened;     /* the owner knows */
    bool closing;    /* the library closes it; its functions must not be called any more */
    bool dead;       /* killed: the owner gets only `closed` */
};

/* ---- bytes ---- */

static void want_writable(struct upstream_socket *socket) {
    if (!socket->dead && !socket->closing)
        lws_callback_on_writable(socket->wsi);
}

static void opened(struct upstream_socket *socket) {
    if (socket->opened || socket->dead)
        return;
    socket->opened = true;
    socket->events->opened(socket->owner);
}

/* After each call of tls.c: it may have bytes for the socket, or be at its end. */
static void check_tls(struct upstream_socket *socket) {
    enum tls_state state = tls_state(socket->tls);
    if (tls_has_unsent(socket->tls))
        want_writable(socket);
    if (state == TLS_ENDED || state == TLS_BROKEN)
        upstream_socket_kill(socket);
}

static void received_encrypted(struct upstream_socket *socket, const char *bytes, size_t len) {
    char *plain = socket->sockets->plain;
    size_t got = tls_receive(socket->tls, bytes, len, plain);
    enum tls_state state = tls_state(socket->tls);
    if (state == TLS_OPEN || state == TLS_ENDED)
        opened(socket);
    if (got > 0 && !socket->dead)
        socket->events->received(socket->owner, plain, got);
    check_tls(socket);
}

static void received(struct upstream_socket *socket, char *bytes, size_t len) {
    if (socket->dead || len == 0)
        return;
    if (socket->tls != NULL)
        received_encrypted(socket, bytes, len);
    else
        socket->events->received(socket->owner, bytes, len);
}

/* A Unix socket connects at once, before the owner has the socket: writable() comes later. */
static void connected(struct upstream_socket *socket) {
    if (socket->connecting) {
        want_writable(socket);
        return;
    }
    if (socket->settings == NULL) {
        opened(socket);
        return;
    }
    socket->tls = client_tls_begin(socket->settings, lws_get_socket_fd(socket->wsi));
    received_encrypted(socket, "", 0); /* begins the handshake */
}

static void writable(struct upstream_socket *socket) {
    if (socket->dead)
        return;
    if (socket->tls == NULL && !socket->opened)
        connected(socket);
    else if (socket->tls != NULL && !tls_flush(socket->tls))
        check_tls(socket);
    else if (socket->opened)
        socket->events->writable(socket->owner);
}

/* ---- the end ---- */

static void free_socket(struct upstream_socket *socket) {
    list_remove(&socket->link);
    tls_free(socket->tls);
    mem_free(socket);
}

/* libuv reports a reset before the library has read what came before it. */
static void read_rest(struct upstream_socket *socket) {
    char bytes[READ_BYTES];
    int fd = lws_get_socket_fd(socket->wsi);
    for (ssize_t n = 1; n > 0 && !socket->dead;) {
        n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n > 0)
            received(socket, bytes, (size_t)n);
    }
}

/* Why it is not open. */
static void describe(const struct upstream_socket *socket, int system_error,
                     const struct error_text *error) {
    if (socket->tls != NULL)
        client_tls_describe(socket->settings, socket->tls, error);
    else if (system_error != 0)
        error_text_fail(error, "%s", uv_strerror(uv_translate_sys_error(system_error)));
    else
        error_text_fail(error, "cannot connect");
}

static void finish(struct upstream_socket *socket) {
    lws_set_opaque_user_data(socket->wsi, NULL);
    if (socket->connecting) {
        socket->failed = true;
        return;
    }
    if (socket->abandoned) {
        free_socket(socket);
        return;
    }
    socket->closing = true;
    char why[256] = "";
    int error = 0;
    socklen_t len = sizeof error;
    getsockopt(lws_get_socket_fd(socket->wsi), SOL_SOCKET, SO_ERROR, &error, &len);
    if (socket->opened)
        read_rest(socket);
    else
        describe(socket, error, &(struct error_text){why, sizeof why});
    socket->events->closed(socket->owner, why);
    free_socket(socket);
}

/* ---- libwebsockets ---- */

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                    size_t len) {
    (void)user;
    struct upstream_socket *socket = lws_get_opaque_user_data(wsi);
    if (reason == LWS_CALLBACK_RAW_SKT_BIND_PROTOCOL) {
        struct upstream_sockets *sockets = lws_context_user(lws_get_context(wsi));
        sockets->bound = wsi;
    }
    if (socket == NULL)
        return 0;
    socket->wsi = wsi;
    switch (reason) {
    case LWS_CALLBACK_RAW_CONNECTED:
        connected(socket);
        return socket->dead ? -1 : 0;
    case LWS_CALLBACK_RAW_RX:
        received(socket, in, len);
        return socket->dead ? -1 : 0;
    case LWS_CALLBACK_RAW_WRITEABLE:
        writable(socket);
        return socket->dead ? -1 : 0;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
    case LWS_CALLBACK_RAW_CLOSE:
    case LWS_CALLBACK_WSI_DESTROY:
        finish(socket);
        return 0;
    default:
        return 0;
    }
}

static const struct lws_protocols protocols[] = {
    {.name = "tidewire", .callback = on_event, .rx_buffer_size = READ_BYTES},
    {0},
};

static void on_lws_log(int level, const char *text) {
    (void)level;
    struct log_line line;
    log_begin_limited(&line, LOG_ERROR, "libwebsockets");
    log_bytes(&line, "why", text, strcspn(text, "\n"));
    log_end(&line);
}

/* ---- the context ---- */

/* The library has state of the whole process: contexts are made and destroyed one after another. */
static uv_mutex_t contexts;
static uv_once_t contexts_once = UV_ONCE_INIT;

static void init_contexts(void) {
    uv_mutex_init(&contexts);
}

static void destroy_context(struct upstream_sockets *sockets) {
    uv_mutex_lock(&contexts);
    lws_context_destroy(sockets->context);
    uv_mutex_unlock(&contexts);
}

/* The library's errors are logged while a context is made. Later ones are faults of servers, which
 * scripts see. */
static void set_log(struct upstream_sockets *sockets, int levels) {
#if HAVE_LOG_CONTEXTS
    sockets->log.lll_flags = (uint32_t)levels;
#else
    (void)sockets;
#endif
    lws_set_log_level(levels, on_lws_log);
}

/* The library makes the process ignore SIGPIPE, which the processes that scripts start would do,
 * too. */
static void create_context(struct upstream_sockets *sockets,
                           const struct lws_context_creation_info *info) {
    struct sigaction on_sigpipe;
    uv_once(&contexts_once, init_contexts);
    uv_mutex_lock(&contexts);
    sigaction(SIGPIPE, NULL, &on_sigpipe);
    set_log(sockets, LLL_ERR);
    sockets->context = lws_create_context(info);
    sigaction(SIGPIPE, &on_sigpipe, NULL);
    if (sockets->context != NULL)
        sockets->vhost = lws_create_vhost(sockets->context, info);
    set_log(sockets, 0);
    uv_mutex_unlock(&contexts);
}

struct upstream_sockets *upstream_sockets_new(uv_loop_t *loop, const char **why_not) {
    struct upstream_sockets *sockets = mem_zalloc(sizeof *sockets);
    sockets->loop = loop;
    list_init(&sockets->sockets);
    void *loops[] = {loop};
#if HAVE_LOG_CONTEXTS
    sockets->log = (lws_log_cx_t){.u.emit = on_lws_log};
#endif
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
        /* No proxy, also not that of the environment. */
        .http_proxy_address = "none:0",
        .protocols = protocols,
        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS,
        .foreign_loops = loops,
        .pt_serv_buf_size = READ_BYTES,
        .fd_limit_per_thread = UPSTREAM_SOCKETS_MAX + OWN_FDS,
        .timeout_secs = NO_TIMEOUT_SECONDS,
        .connect_timeout_secs = NO_TIMEOUT_SECONDS,
        .user = sockets,
        .gid = (gid_t)-1,
        .uid = (uid_t)-1,
#if HAVE_LOG_CONTEXTS
        .log_cx = &sockets->log,
#endif
    };
    create_context(sockets, &info);
    if (sockets->vhost != NULL)
        return sockets;
    *why_not = "libwebsockets cannot start (package libwebsockets-evlib-uv)";
    if (sockets->context != NULL)
        destroy_context(sockets);
    mem_free(sockets);
    return NULL;
}

void upstream_sockets_stop(struct upstream_sockets *sockets) {
    destroy_context(sockets);
}

void upstream_sockets_free(struct upstream_sockets *sockets) {
    if (sockets == NULL)
        return;
    destroy_context(sockets);              /* on a foreign loop the library needs a second call */
    while (!list_empty(&sockets->sockets)) /* abandoned ones */
        free_socket(LIST_OWNER(sockets->sockets.next, struct upstream_socket, link));
    mem_free(sockets);
}

/* ---- sockets ---- */

static void on_handle_closed(uv_handle_t *handle) {
    free(handle); /* the library's allocator is the system's */
}

static void close_handle_of(uv_handle_t *handle, void *wsi) {
    if (handle->type == UV_POLL && handle->data == wsi && !uv_is_closing(handle))
        uv_close(handle, on_handle_closed);
}

/* When connect() fails at once, the library 4.1 frees its object and forgets the handle of libuv;
 * later ones free both in a later turn. */
static void close_forgotten_handle(struct upstream_sockets *sockets) {
    if (sockets->bound != NULL)
        uv_walk(sockets->loop, close_handle_of, sockets->bound);
}

/* Why does connect() fail at once? The library does not say. */
static const char *connect_error(const struct sockaddr *address, socklen_t len) {
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int error = fd < 0 || connect(fd, address, len) < 0 ? errno : 0;
    if (fd >= 0)
        close(fd);
    return error == 0 || error == EINPROGRESS ? "cannot connect"
                                              : uv_strerror(uv_translate_sys_error(error));
}

/* The address as the library wants it: "::1%2", or "+/run/x.sock". */
static bool write_address(const struct sockaddr *address, char *text, size_t size, int *port) {
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;
    const struct sockaddr_un *un = (const struct sockaddr_un *)(const void *)address;
    *port = ntohs(v4->sin_port);
    switch (address->sa_family) {
    case AF_INET:
        return uv_ip4_name(v4, text, size) == 0;
    case AF_INET6:
        if (uv_ip6_name(v6, text, size) != 0)
            return false;
        if (v6->sin6_scope_id != 0)
            snprintf(text + strlen(text), size - strlen(text), "%%%u", v6->sin6_scope_id);
        return true;
    case AF_UNIX:
        *port = 1; /* none, but the library wants one */
        snprintf(text, size, "+%s", un->sun_path);
        return true;
    default:
        return false;
    }
}

struct upstream_socket *upstream_socket_connect(struct upstream_sockets *sockets,
                                                const struct sockaddr *address, socklen_t len,
                                                struct client_tls *tls,
                                                const struct upstream_socket_events *events,
                                                void *owner, const char **why_not) {
    char text[128];
    int port;
    *why_not = "the address is neither IPv4 nor IPv6";
    if (!write_address(address, text, sizeof text, &port))
        return NULL;
    struct upstream_socket *socket = mem_zalloc(sizeof *socket);
    socket->sockets = sockets;
    socket->settings = tls;
    socket->events = events;
    socket->owner = owner;
    list_append(&sockets->sockets, &socket->link);
    struct lws_client_connect_info info = {
        .context = sockets->context,
        .vhost = sockets->vhost,
        .address = text,
        .port = port,
        .host = text,
        .path = "/",
        .method = "RAW",
        .local_protocol_name = "tidewire",
        .opaque_user_data = socket,
        .pwsi = &socket->wsi,
    };
    sockets->bound = NULL;
    socket->connecting = true;
    struct lws *wsi = lws_client_connect_via_info(&info);
    socket->connecting = false;
    if (wsi != NULL && !socket->failed)
        return socket;
    *why_not = connect_error(address, len);
    if (socket->failed) {
        close_forgotten_handle(sockets);
        free_socket(socket);
    } else {
        socket->abandoned = true;
    }
    return NULL;
}

size_t upstream_socket_write(struct upstream_socket *socket, const void *bytes, size_t len) {
    if (socket->dead)
        return 0;
    if (socket->tls != NULL) {
        size_t taken = tls_write(socket->tls, bytes, len);
        check_tls(socket);
        return taken;
    }
    ssize_t n = send(lws_get_socket_fd(socket->wsi), bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n >= 0)
        return (size_t)n;
    /* Reading reports a broken socket, after what it has received. While it is paused, to wait
     * until it can be written to would be a busy loop. */
    return would_block(errno) || errno == EINTR ? 0 : len;
}

void upstream_socket_want_write(struct upstream_socket *socket) {
    want_writable(socket);
}

void upstream_socket_pause(struct upstream_socket *socket, bool paused) {
    if (!socket->dead && !socket->closing)
        lws_rx_flow_control(socket->wsi, !paused);
}

void upstream_socket_kill(struct upstream_socket *socket) {
    if (socket->dead)
        return;
    socket->dead = true;
    if (socket->tls != NULL)
        tls_end(socket->tls);
    if (socket->closing)
        return;
    lws_set_timeout(socket->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
    /* the library checks timeouts only after some event */
    lws_cancel_service(lws_get_context(socket->wsi));
}
