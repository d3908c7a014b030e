/* cosocket_bytes.c -- the bytes of a script's socket, encrypted or not. See cosocket_parts.h. */
#include "base/clock.h"
#include "base/error_text.h"
#include "base/mem.h"
#include "base/turn.h"
#include "net/cosocket/cosocket_parts.h"
#include "net/socket/would_block.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

/* Bytes of one read at most. */
enum { READ_BYTES = 32 * 1024 };
/* Bytes of one write at most. */
enum { WRITE_BYTES = 256 * 1024 };

/* Is the socket to act as one that is not ready? A peer that is faster than the script would keep
 * its task running otherwise. So when the turn has been long, each socket is used once more, and
 * its task waits, which ends when the others have had their turn. Asked again, it answers no. */
static bool gives_way(struct cosocket *socket) {
    uint64_t began_ms = turn_began_ms(&turn_of_thread);
    socket->used =
        !socket->used || began_ms == 0 || clock_monotonic_ms() < began_ms + TURN_SLICE_NS / 1000000;
    return !socket->used;
}

/* ---- TLS ---- */

bool cosocket_has_unsent(const struct cosocket *socket) {
    return socket->tls != NULL && tls_has_unsent(socket->tls);
}

void cosocket_end_tls(struct cosocket *socket) {
    if (socket->tls != NULL)
        tls_end(socket->tls);
    tls_free(socket->tls);
    client_tls_free(socket->settings);
    socket->tls = NULL;
    socket->settings = NULL;
}

static struct error_text why_of(struct cosocket *socket) {
    return (struct error_text){socket->shared->why, sizeof socket->shared->why};
}

static int fail_tls(struct cosocket *socket) {
    struct error_text why = why_of(socket);
    client_tls_describe(socket->settings, socket->tls, &why);
    return COSOCKET_TLS_FAILED;
}

/* Reads once. Returns DONE with the bytes, or why there are none. */
static int read_once(struct cosocket *socket, struct slice *out) {
    struct cosocket_shared *shared = socket->shared;
    if (gives_way(socket))
        return COSOCKET_AGAIN;
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
    cosocket_used(socket);
    *out = (struct slice){shared->bytes, (size_t)n};
    return COSOCKET_DONE;
}

/* Decrypts bytes into the buffer. */
static void decrypt(struct cosocket *socket, struct slice bytes) {
    struct cosocket_shared *shared = socket->shared;
    if (shared->plain == NULL)
        shared->plain = mem_alloc(READ_BYTES + TLS_RECORD_BYTES);
    size_t got = tls_receive(socket->tls, bytes.bytes, bytes.len, shared->plain);
    if (got > 0)
        buffer_add(&socket->in, shared->plain, got);
    if (tls_state(socket->tls) == TLS_ENDED)
        socket->ended = true;
    if (cosocket_has_unsent(socket))
        cosocket_watch(socket);
}

int cosocket_shake_hands(struct cosocket *socket) {
    if (socket->fd < 0 || socket->tls == NULL)
        return COSOCKET_CLOSED;
    while (tls_state(socket->tls) <= TLS_HANDSHAKE) {
        struct slice bytes;
        int result = read_once(socket, &bytes);
        if (result == COSOCKET_CLOSED)
            return fail_tls(socket);
        if (result != COSOCKET_DONE)
            return result;
        decrypt(socket, bytes);
    }
    if (tls_state(socket->tls) == TLS_BROKEN)
        return fail_tls(socket);
    return COSOCKET_DONE;
}

int cosocket_begin_tls(struct cosocket *socket, const struct cosocket_tls *options) {
    struct error_text why = why_of(socket);
    struct client_tls_options settings = {
        .host = options->host,
        .verify = options->verify,
        .ca = options->ca,
        .certificate = options->certificate,
        .key = options->key,
        .password = options->password,
        .ciphers = options->ciphers,
        .cipher_suites = options->cipher_suites,
        .min_minor = options->min_minor,
        .max_minor = options->max_minor,
        .alpn = options->alpn,
    };
    if (socket->fd < 0)
        return COSOCKET_CLOSED;
    const char *fault = socket->tls != NULL ? "TLS: it has begun already"
                        : socket->in.len > 0
                            ? "TLS: bytes that are not encrypted have come before the handshake"
                            : NULL;
    if (fault != NULL) {
        error_text_fail(&why, "%s", fault);
        return COSOCKET_TLS_FAILED;
    }
    socket->settings = client_tls_new(socket->shared->tls, &settings, &why);
    if (socket->settings == NULL)
        return COSOCKET_TLS_FAILED;
    socket->tls = client_tls_begin(socket->settings, socket->fd);
    decrypt(socket, (struct slice){"", 0}); /* begins the handshake */
    return cosocket_shake_hands(socket);
}

const struct tls *cosocket_tls_of(const struct cosocket *socket) {
    return socket->tls;
}

/* ---- out ---- */

static int send_encrypted(struct cosocket *socket, struct slice bytes, size_t *sent) {
    struct tls *tls = socket->tls;
    if (tls_state(tls) <= TLS_HANDSHAKE) {
        struct error_text why = why_of(socket);
        error_text_fail(&why, "TLS: the handshake has not ended");
        return COSOCKET_TLS_FAILED;
    }
    if (tls_flush(tls) && bytes.len > 0) {
        size_t taken = tls_write(tls, bytes.bytes, bytes.len);
        *sent += taken;
        socket->sent += taken;
        bytes.len -= taken;
    }
    if (tls_state(tls) == TLS_BROKEN)
        return fail_tls(socket);
    if (tls_socket_is_broken(tls))
        return COSOCKET_CLOSED;
    if (!tls_has_unsent(tls))
        return bytes.len > 0 ? COSOCKET_AGAIN : COSOCKET_DONE;
    cosocket_watch(socket); /* the task may not come back for it */
    return COSOCKET_AGAIN;
}

int cosocket_send(struct cosocket *socket, struct slice bytes, size_t *sent) {
    cosocket_used(socket);
    if (socket->tls != NULL)
        return send_encrypted(socket, bytes, sent);
    if (socket->fd < 0 && bytes.len > 0)
        return COSOCKET_CLOSED;
    while (bytes.len > 0) {
        if (gives_way(socket))
            return COSOCKET_AGAIN;
        size_t part = bytes.len < WRITE_BYTES ? bytes.len : WRITE_BYTES;
        ssize_t n = send(socket->fd, bytes.bytes, part, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && would_block(errno))
            return COSOCKET_AGAIN;
        if (n < 0)
            return errno == EPIPE ? COSOCKET_CLOSED : errno;
        *sent += (size_t)n;
        socket->sent += (uint64_t)n;
        slice_skip(&bytes, (size_t)n);
    }
    return COSOCKET_DONE;
}

/* ---- in ---- */

struct slice cosocket_peek(const struct cosocket *socket) {
    return (struct slice){buffer_start(&socket->in), socket->in.len};
}

void cosocket_drop(struct cosocket *socket, size_t len) {
    buffer_drop(&socket->in, len);
    socket->received += len;
    if (socket->in.len == 0)
        buffer_free(&socket->in);
}

/* One read, which may bring no data. */
static int fill_encrypted(struct cosocket *socket) {
    struct slice bytes;
    size_t before = socket->in.len;
    int result = COSOCKET_DONE;
    while (result == COSOCKET_DONE && socket->in.len == before && !socket->ended) {
        result = read_once(socket, &bytes);
        if (result == COSOCKET_DONE)
            decrypt(socket, bytes);
        if (tls_state(socket->tls) == TLS_BROKEN && socket->in.len == before)
            return fail_tls(socket);
    }
    if (socket->in.len > before)
        return COSOCKET_DONE;
    return socket->ended ? COSOCKET_CLOSED : result;
}

int cosocket_fill(struct cosocket *socket) {
    struct slice bytes;
    if (socket->in.len >= COSOCKET_BUFFER_BYTES)
        return COSOCKET_DONE;
    if (socket->fd < 0 || socket->ended)
        return COSOCKET_CLOSED;
    if (socket->tls != NULL)
        return fill_encrypted(socket);
    int result = read_once(socket, &bytes);
    if (result == COSOCKET_DONE)
        buffer_add(&socket->in, bytes.bytes, bytes.len);
    return result;
}

int cosocket_shutdown(struct cosocket *socket, unsigned sides) {
    static const int how[] = {[1U << COSOCKET_IN] = SHUT_RD,
                              [1U << COSOCKET_OUT] = SHUT_WR,
                              [1U << COSOCKET_IN | 1U << COSOCKET_OUT] = SHUT_RDWR};
    if (socket->fd < 0)
        return COSOCKET_CLOSED;
    if (socket->tls != NULL && (sides & 1U << COSOCKET_OUT))
        tls_end(socket->tls);
    return shutdown(socket->fd, how[sides]) == 0 ? COSOCKET_DONE : errno;
}
