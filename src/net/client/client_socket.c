/* client_socket.c -- a connection to a server. See client_socket.h. */
#include "net/client/client_socket.h"

#include "base/clock.h"
#include "base/error_text.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct client_socket {
    int fd;
    SSL_CTX *context;
    SSL *ssl; /* NULL: no TLS */
    bool tls_wants_write;
};

/* A connection that is being opened. */
struct opening {
    const struct url *url;
    uint64_t deadline; /* ms */
    struct error_text error;
};

/* False: the deadline has passed, or poll() fails. */
static bool wait_for(const struct opening *opening, int fd, short events) {
    for (;;) {
        uint64_t now = clock_monotonic_ms();
        if (now >= opening->deadline)
            return error_text_fail(&opening->error, "no answer in time");
        struct pollfd poll_fd = {.fd = fd, .events = events};
        int n = poll(&poll_fd, 1, (int)(opening->deadline - now));
        if (n > 0)
            return true;
        if (n < 0 && errno != EINTR)
            return error_text_fail(&opening->error, "%s", strerror(errno));
    }
}

/* ---- TCP and Unix sockets ---- */

/* The socket, or -1. */
static int connect_to(const struct opening *opening, const struct sockaddr *address,
                      socklen_t len) {
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        error_text_fail(&opening->error, "%s", strerror(errno));
        return -1;
    }
    int error = 0, on = 1;
    socklen_t size = sizeof error;
    if (address->sa_family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, address, len) == 0)
        return fd;
    if (errno != EINPROGRESS)
        error_text_fail(&opening->error, "%s", strerror(errno));
    else if (wait_for(opening, fd, POLLOUT)) {
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error == 0)
            return fd;
        error_text_fail(&opening->error, "%s", strerror(error));
    }
    close(fd);
    return -1;
}

static int connect_unix(const struct opening *opening) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(opening->url->host) >= sizeof address.sun_path) {
        error_text_fail(&opening->error, "the path of the socket is too long");
        return -1;
    }
    strcpy(address.sun_path, opening->url->host);
    return connect_to(opening, (struct sockaddr *)&address, sizeof address);
}

static int connect_tcp(const struct opening *opening) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
    int problem = getaddrinfo(opening->url->host, opening->url->port, &hints, &list);
    if (problem != 0) {
        error_text_fail(&opening->error, "%s", gai_strerror(problem));
        return -1;
    }
    int fd = -1;
    for (const struct addrinfo *one = list; one != NULL && fd < 0; one = one->ai_next)
        fd = connect_to(opening, one->ai_addr, one->ai_addrlen);
    freeaddrinfo(list);
    return fd;
}

/* ---- TLS ---- */

static bool is_ip(const char *host) {
    ASN1_OCTET_STRING *ip = a2i_IPADDRESS(host);
    ASN1_OCTET_STRING_free(ip);
    return ip != NULL;
}

/* Requires a certificate for this host, and sends a name to the server (SNI). */
static bool expect_host(SSL *ssl, const char *host) {
    if (is_ip(host))
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    return SSL_set_tlsext_host_name(ssl, host) == 1 && SSL_set1_host(ssl, host) == 1;
}

static bool fail_tls(const struct opening *opening, const SSL *ssl) {
    long verified = SSL_get_verify_result(ssl);
    unsigned long code = ERR_peek_error();
    const char *why = ERR_reason_error_string(code);
    if (verified != X509_V_OK)
        return error_text_fail(&opening->error,
                               "its certificate is not trusted: %s; --insecure accepts any",
                               X509_verify_cert_error_string(verified));
    if (ERR_GET_REASON(code) == SSL_R_WRONG_VERSION_NUMBER)
        return error_text_fail(&opening->error, "it does not speak TLS: should wss:// be ws://?");
    return error_text_fail(&opening->error, "TLS failed: %s",
                           why == NULL ? "the connection was lost" : why);
}

static bool open_tls(const struct opening *opening, struct client_socket *client, bool insecure) {
    static const unsigned char http[] = "\x08http/1.1";
    client->context = SSL_CTX_new(TLS_client_method());
    if (client->context == NULL)
        return error_text_fail(&opening->error, "OpenSSL has no memory");
    SSL_CTX_set_min_proto_version(client->context, TLS1_2_VERSION);
    SSL_CTX_set_default_verify_paths(client->context); /* SSL_CERT_FILE and SSL_CERT_DIR count */
    SSL_CTX_set_verify(client->context, insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(client->context,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    client->ssl = SSL_new(client->context);
    if (client->ssl == NULL || SSL_set_fd(client->ssl, client->fd) != 1 ||
        !expect_host(client->ssl, opening->url->host))
        return error_text_fail(&opening->error, "TLS cannot be begun");
    SSL_set_alpn_protos(client->ssl, http, sizeof http - 1);
    for (;;) {
        ERR_clear_error();
        int result = SSL_connect(client->ssl);
        if (result == 1)
            return true;
        int want = SSL_get_error(client->ssl, result);
        if (want != SSL_ERROR_WANT_READ && want != SSL_ERROR_WANT_WRITE)
            return fail_tls(opening, client->ssl);
        if (!wait_for(opening, client->fd, want == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT))
            return false;
    }
}

/* ---- life ---- */

struct client_socket *client_socket_open(const struct url *url, bool insecure, int timeout_ms,
                                         char *error, size_t error_size) {
    struct opening opening = {
        url, clock_monotonic_ms() + (uint64_t)timeout_ms, {error, error_size}};
    int fd = url->is_unix ? connect_unix(&opening) : connect_tcp(&opening);
    if (fd < 0)
        return NULL;
    struct client_socket *client = mem_zalloc(sizeof *client);
    client->fd = fd;
    if (url->secure && !open_tls(&opening, client, insecure)) {
        client_socket_close(client);
        return NULL;
    }
    return client;
}

void client_socket_close(struct client_socket *client) {
    if (client == NULL)
        return;
    SSL_free(client->ssl);
    SSL_CTX_free(client->context);
    close(client->fd);
    mem_free(client);
}

int client_socket_fd(const struct client_socket *client) {
    return client->fd;
}

short client_socket_events(const struct client_socket *client, bool wants_write) {
    return (short)(POLLIN | (wants_write || client->tls_wants_write ? POLLOUT : 0));
}

bool client_socket_has_pending(const struct client_socket *client) {
    return client->ssl != NULL && SSL_pending(client->ssl) > 0;
}

/* ---- bytes ---- */

static ssize_t tls_result(struct client_socket *client, int result) {
    if (result > 0)
        return result;
    switch (SSL_get_error(client->ssl, result)) {
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_WANT_WRITE:
        client->tls_wants_write = true;
        return CLIENT_SOCKET_LATER;
    case SSL_ERROR_WANT_READ:
        return CLIENT_SOCKET_LATER;
    default:
        return CLIENT_SOCKET_BROKEN;
    }
}

static ssize_t plain_result(ssize_t n) {
    if (n >= 0)
        return n;
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? CLIENT_SOCKET_LATER
                                                                     : CLIENT_SOCKET_BROKEN;
}

ssize_t client_socket_read(struct client_socket *client, void *bytes, size_t size) {
    if (client->ssl == NULL)
        return plain_result(recv(client->fd, bytes, size, 0));
    client->tls_wants_write = false;
    ERR_clear_error();
    return tls_result(client, SSL_read(client->ssl, bytes, (int)size));
}

ssize_t client_socket_write(struct client_socket *client, const void *bytes, size_t len) {
    if (client->ssl == NULL)
        return plain_result(send(client->fd, bytes, len, MSG_NOSIGNAL));
    enum { PIECE = 16 * 1024 };
    client->tls_wants_write = false;
    ERR_clear_error();
    return tls_result(client, SSL_write(client->ssl, bytes, (int)(len < PIECE ? len : PIECE)));
}
