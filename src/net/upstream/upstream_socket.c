/* upstream_socket.c -- connected sockets to other servers, on libwebsockets. See
 * upstream_socket.h.
 *
 * We write to the socket ourselves, because lws_write() copies what a slow socket does not take and
 * stops reading until that is sent: two sides that wait for each other would wait for ever. */
#include "net/upstream/upstream_socket.h"

#include "base/list.h"
#include "base/log/log.h"
#include "base/mem.h"

#include <errno.h>
#include <libwebsockets.h>
#include <netinet/in.h>
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
    struct upstream_tls_context *tls;
    struct list sockets;
};

struct upstream_socket {
    struct upstream_sockets *sockets;
    struct list link;
    struct lws *wsi;
    struct upstream_tls *tls; /* NULL: not encrypted */
    const struct upstream_socket_events *events;
    void *owner;
    bool connecting; /* inside of the library's function that begins to connect */
    bool failed;     /* it has failed there */
    bool opened;     /* the owner knows */
    bool dead;       /* killed: the owner gets only `closed` */
};

/* ---- the end ---- */

static void free_socket(struct upstream_socket *socket) {
    list_remove(&socket->link);
    mem_free(socket);
}

static int system_error(struct lws *wsi) {
    int error = 0;
    socklen_t len = sizeof error;
    getsockopt(lws_get_socket_fd(wsi), SOL_SOCKET, SO_ERROR, &error, &len);
    return error;
}

/* libuv tells of a reset before the library has read what came before it. */
static void read_rest(struct upstream_socket *socket) {
    char bytes[READ_BYTES];
    int fd = lws_get_socket_fd(socket->wsi);
    for (ssize_t n = 1; n > 0 && !socket->dead;) {
        n = socket->tls == NULL ? recv(fd, bytes, sizeof bytes, MSG_DONTWAIT)
                                : upstream_tls_read(lws_get_ssl(socket->wsi), bytes, sizeof bytes);
        if (n > 0)
            socket->events->received(socket->owner, bytes, (size_t)n);
    }
}

static void finish(struct upstream_socket *socket) {
    lws_set_opaque_user_data(socket->wsi, NULL);
    if (socket->connecting) {
        socket->failed = true;
        return;
    }
    char why[256] = "";
    struct error_text error = {why, sizeof why};
    int number = system_error(socket->wsi);
    if (socket->opened && !socket->dead)
        read_rest(socket);
    if (!socket->opened && number != 0)
        error_text_fail(&error, "%s", uv_strerror(uv_translate_sys_error(number)));
    else if (!socket->opened && socket->tls != NULL)
        upstream_tls_describe(socket->tls, lws_get_ssl(socket->wsi), &error);
    else if (!socket->opened)
        error_text_fail(&error, "cannot connect");
    socket->events->closed(socket->owner, why);
    free_socket(socket);
}

/* ---- libwebsockets ---- */

static void opened(struct upstream_socket *socket) {
    if (socket->opened || socket->dead)
        return;
    socket->opened = true;
    lws_set_timeout(socket->wsi, NO_PENDING_TIMEOUT, 0); /* 4.1 keeps that of the connecting */
    socket->events->opened(socket->owner);
}

static void on_tls(void *user, int fd, struct ssl_st *ssl, bool done) {
    struct upstream_sockets *sockets = user;
    for (struct list *at = sockets->sockets.next; at != &sockets->sockets; at = at->next) {
        struct upstream_socket *socket = LIST_OWNER(at, struct upstream_socket, link);
        if (socket->opened || socket->tls == NULL || socket->wsi == NULL ||
            lws_get_socket_fd(socket->wsi) != fd)
            continue;
        if (!done)
            upstream_tls_configure(socket->tls, ssl);
        else
            lws_callback_on_writable(socket->wsi); /* here OpenSSL is busy */
        return;
    }
}

static bool is_connected(const struct upstream_socket *socket) {
    return socket->tls == NULL || upstream_tls_is_open(lws_get_ssl(socket->wsi));
}

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
    switch (reason) {
    case LWS_CALLBACK_RAW_CONNECTED:
        if (is_connected(socket))
            opened(socket);
        return 0;
    case LWS_CALLBACK_RAW_RX:
        opened(socket); /* of TLS: the first bytes came before the socket was writable */
        if (!socket->dead && len > 0)
            socket->events->received(socket->owner, in, len);
        return socket->dead ? -1 : 0;
    case LWS_CALLBACK_RAW_WRITEABLE:
        if (!socket->opened && is_connected(socket))
            opened(socket);
        else if (socket->opened && !socket->dead)
            socket->events->writable(socket->owner);
        return socket->dead ? -1 : 0;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
    case LWS_CALLBACK_RAW_CLOSE:
    case LWS_CALLBACK_WSI_DESTROY:
        socket->wsi = wsi;
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
    struct log_line line;
    log_begin_limited(&line, level == LLL_ERR ? LOG_ERROR : LOG_WARN, "libwebsockets");
    log_bytes(&line, "why", text, strcspn(text, "\n"));
    log_end(&line);
}

/* ---- the context ---- */

/* The library has state of the whole process: contexts are made and destroyed one after another. */
static uv_mutex_t contexts;
static uv_once_t contexts_once = UV_ONCE_INIT;

static void init_contexts(void) {
    uv_mutex_init(&contexts);
    lws_set_log_level(0, on_lws_log); /* a server's faults are errors for the library */
}

static void destroy_context(struct upstream_sockets *sockets) {
    uv_mutex_lock(&contexts);
    lws_context_destroy(sockets->context);
    uv_mutex_unlock(&contexts);
}

static void create_context(struct upstream_sockets *sockets,
                           const struct lws_context_creation_info *info) {
    uv_once(&contexts_once, init_contexts);
    uv_mutex_lock(&contexts);
    sockets->context = lws_create_context(info);
    if (sockets->context != NULL)
        sockets->vhost = lws_create_vhost(sockets->context, info);
    uv_mutex_unlock(&contexts);
}

struct upstream_sockets *upstream_sockets_new(uv_loop_t *loop, const char **why_not) {
    struct upstream_sockets *sockets = mem_zalloc(sizeof *sockets);
    sockets->loop = loop;
    list_init(&sockets->sockets);
    sockets->tls = upstream_tls_context_new(on_tls, sockets);
    void *loops[] = {loop};
#if HAVE_LOG_CONTEXTS
    sockets->log = (lws_log_cx_t){.u.emit = on_lws_log, .lll_flags = 0};
#endif
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
        /* A context without this looks for a proxy in the environment. */
        .http_proxy_address = "",
        .protocols = protocols,
        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
                   LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT,
        .foreign_loops = loops,
        .pt_serv_buf_size = READ_BYTES,
        .fd_limit_per_thread = UPSTREAM_SOCKETS_MAX + OWN_FDS,
        .timeout_secs = NO_TIMEOUT_SECONDS,
        .connect_timeout_secs = NO_TIMEOUT_SECONDS,
        .user = sockets,
        .provided_client_ssl_ctx = upstream_tls_context_ssl(sockets->tls),
        .gid = (gid_t)-1,
        .uid = (uid_t)-1,
#if HAVE_LOG_CONTEXTS
        .log_cx = &sockets->log,
#endif
    };
    create_context(sockets, &info);
    if (sockets->vhost != NULL)
        return sockets;
    *why_not = "libwebsockets cannot start its client";
    if (sockets->context != NULL)
        destroy_context(sockets);
    upstream_tls_context_free(sockets->tls);
    mem_free(sockets);
    return NULL;
}

struct upstream_tls_context *upstream_sockets_tls(struct upstream_sockets *sockets) {
    return sockets->tls;
}

void upstream_sockets_stop(struct upstream_sockets *sockets) {
    destroy_context(sockets);
}

void upstream_sockets_free(struct upstream_sockets *sockets) {
    if (sockets == NULL)
        return;
    destroy_context(sockets); /* on a foreign loop the library needs a second call */
    upstream_tls_context_free(sockets->tls);
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

/* When connect() fails at once, the library frees its object and forgets the handle of libuv. */
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
                                                struct upstream_tls *tls,
                                                const struct upstream_socket_events *events,
                                                void *owner, const char **why_not) {
    char text[128];
    int port;
    *why_not = "the address is neither IPv4 nor IPv6";
    if (!write_address(address, text, sizeof text, &port))
        return NULL;
    struct upstream_socket *socket = mem_zalloc(sizeof *socket);
    socket->sockets = sockets;
    socket->tls = tls;
    socket->events = events;
    socket->owner = owner;
    list_append(&sockets->sockets, &socket->link);
    struct lws_client_connect_info info = {
        .context = sockets->context,
        .vhost = sockets->vhost,
        .address = text,
        .port = port,
        .host = "tidewire", /* upstream_tls.c sets the server's name */
        .path = "/",
        .method = "RAW",
        .local_protocol_name = "tidewire",
        .alpn = "http/1.1",
        .ssl_connection = tls == NULL ? 0 : LCCSCF_USE_SSL | LCCSCF_SKIP_SERVER_CERT_HOSTNAME_CHECK,
        .opaque_user_data = socket,
        .pwsi = &socket->wsi,
    };
    sockets->bound = NULL;
    socket->connecting = true;
    struct lws *wsi = lws_client_connect_via_info(&info);
    socket->connecting = false;
    if (wsi != NULL && !socket->failed)
        return socket;
    close_forgotten_handle(sockets);
    *why_not = connect_error(address, len);
    free_socket(socket);
    return NULL;
}

size_t upstream_socket_write(struct upstream_socket *socket, const void *bytes, size_t len) {
    size_t sent = 0;
    while (sent < len && !socket->dead) {
        const char *at = (const char *)bytes + sent;
        ssize_t n =
            socket->tls == NULL
                ? send(lws_get_socket_fd(socket->wsi), at, len - sent, MSG_NOSIGNAL | MSG_DONTWAIT)
                : upstream_tls_write(lws_get_ssl(socket->wsi), at, len - sent);
        if (n > 0)
            sent += (size_t)n;
        else
            break; /* a broken socket is reported by the loop, with the bytes that it still has */
    }
    return sent;
}

void upstream_socket_want_write(struct upstream_socket *socket) {
    if (!socket->dead)
        lws_callback_on_writable(socket->wsi);
}

void upstream_socket_pause(struct upstream_socket *socket, bool paused) {
    if (!socket->dead)
        lws_rx_flow_control(socket->wsi, !paused);
}

void upstream_socket_kill(struct upstream_socket *socket) {
    if (socket->dead)
        return;
    socket->dead = true;
    lws_set_timeout(socket->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
    /* the library checks timeouts only after some event */
    lws_cancel_service(lws_get_context(socket->wsi));
}
