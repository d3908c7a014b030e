/* transport.c -- bytes of a connection of the load generator. See transport.h. */
#include "transport.h"

#include "load.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

static SSL_CTX *context;

void transport_open(struct client *client) {
    if (!options.tls)
        return;
    if (context == NULL) {
        context = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_RELEASE_BUFFERS |
                                      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    }
    client->tls = SSL_new(context);
    if (client->tls == NULL || SSL_set_fd(client->tls, client->fd) != 1 ||
        SSL_connect(client->tls) != 1)
        fail("TLS's handshake failed");
}

void transport_close(struct client *client) {
    SSL_free(client->tls);
    client->tls = NULL;
    close(client->fd);
    client->fd = -1;
}

/* What OpenSSL returned, as a system call returns it. */
static ssize_t result_of(struct client *client, int result, size_t done) {
    if (result == 1)
        return (ssize_t)done;
    switch (SSL_get_error(client->tls, result)) {
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_SYSCALL:
        return errno == 0 ? 0 : -1;
    default:
        errno = EPROTO;
        return -1;
    }
}

ssize_t transport_send(struct client *client, const void *bytes, size_t size) {
    if (client->tls == NULL)
        return send(client->fd, bytes, size, MSG_NOSIGNAL);
    size_t done = 0;
    int result = SSL_write_ex(client->tls, bytes, size, &done);
    return result_of(client, result, done);
}

ssize_t transport_receive(struct client *client, void *bytes, size_t size) {
    if (client->tls == NULL)
        return recv(client->fd, bytes, size, 0);
    size_t done = 0;
    int result = SSL_read_ex(client->tls, bytes, size, &done);
    return result_of(client, result, done);
}
