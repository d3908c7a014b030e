/* tls.c -- TLS on one connection. See tls.h.
 *
 * OpenSSL reads from and writes to a BIO of ours. A read takes what tls_receive() was given, and
 * then asks to be repeated. A write always succeeds: OpenSSL wants a write that the socket did not
 * take to be repeated with the same bytes, but by then the queue above may have other bytes at its
 * front (a control frame, a message that replaced another). So the rest of a record is kept here,
 * and no other record begins before it is sent. */
#include "net/socket/tls.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/socket.h>
#include <uv.h>

/* Only a client that makes us answer and does not read lets more than a record and its ends wait.
 */
enum { MAX_UNSENT = 4 * TLS_RECORD_BYTES };

/* Once the connection is open, a client may send EMPTY_FREE messages that carry no data (KeyUpdate,
 * attempts to renegotiate, warnings), and one more for each EMPTY_BYTES of data and for each
 * second: each costs new keys and an answer, and no client needs many (RFC 8446 section 4.6.3). */
enum { EMPTY_FREE = 32, EMPTY_BYTES = TLS_RECORD_BYTES };

struct tls {
    SSL *ssl;
    int fd;
    bool socket_broken; /* what is to be sent is dropped */
    enum tls_state state;
    const char *why;
    unsigned empty_left; /* of EMPTY_FREE */
    size_t empty_bytes;  /* data that has not yet earned one more */
    uint64_t empty_ns;   /* until when seconds have earned more */
    const char *in;      /* while tls_receive() runs: the bytes that OpenSSL has not read yet */
    size_t in_len;
    char *unsent; /* what the socket did not take, from `unsent_from` on */
    size_t unsent_len, unsent_from;
};

/* ---- versions, ciphers, protocols ---- */

/* ALPN (RFC 7301): the only protocol is "http/1.1". Section 3.2 asks for an alert to a client that
 * offers others only. */
static int on_alpn(SSL *ssl, const unsigned char **chosen, unsigned char *chosen_len,
                   const unsigned char *offered, unsigned offered_len, void *user) {
    static const unsigned char ours[] = "\x08http/1.1";
    (void)ssl;
    (void)user;
    unsigned char *out;
    int result =
        SSL_select_next_proto(&out, chosen_len, ours, sizeof ours - 1, offered, offered_len);
    *chosen = out;
    return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* The ciphers of TLS 1.2: those that encrypt and authenticate in one step (AEAD) and have forward
 * secrecy, as all of TLS 1.3 have. Clients of the last ten years choose these. */
static const char tls12_ciphers[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                                    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
                                    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";

/* OpenSSL frees the buffers of idle connections. It writes one record at a time, and the caller may
 * repeat a write from another place in memory. Sessions are resumed by tickets alone, so the server
 * stores none. */
struct ssl_ctx_st *tls_new_context(void) {
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (context == NULL)
        return NULL;
    if (SSL_CTX_set_cipher_list(context, tls12_ciphers) != 1) {
        SSL_CTX_free(context);
        return NULL;
    }
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(context, 1);
    SSL_CTX_set_alpn_select_cb(context, on_alpn, NULL);
    return context;
}

static void fail(struct tls *tls, const char *why) {
    if (tls->state != TLS_BROKEN)
        tls->why = why;
    tls->state = TLS_BROKEN;
}

/* ---- the socket ---- */

/* Returns how many bytes the socket took. */
static size_t send_now(struct tls *tls, const char *bytes, size_t len) {
    size_t sent = 0;
    while (sent < len) {
        ssize_t n = send(tls->fd, bytes + sent, len - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0)
            sent += (size_t)n;
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
            break;
        else if (errno != EINTR) {
            tls->socket_broken = true;
            return len;
        }
    }
    return sent;
}

static void keep(struct tls *tls, const char *bytes, size_t len) {
    if (tls->unsent_len - tls->unsent_from + len > MAX_UNSENT) {
        fail(tls, "the client asks and does not read");
        return;
    }
    tls->unsent = mem_realloc(tls->unsent, tls->unsent_len + len);
    memcpy(tls->unsent + tls->unsent_len, bytes, len);
    tls->unsent_len += len;
}

bool tls_has_unsent(const struct tls *tls) {
    return tls->unsent != NULL && tls->state != TLS_BROKEN;
}

bool tls_socket_is_broken(const struct tls *tls) {
    return tls->socket_broken;
}

size_t tls_unsent_bytes(const struct tls *tls) {
    return tls->unsent_len - tls->unsent_from;
}

bool tls_flush(struct tls *tls) {
    if (!tls_has_unsent(tls))
        return true;
    tls->unsent_from +=
        send_now(tls, tls->unsent + tls->unsent_from, tls->unsent_len - tls->unsent_from);
    if (tls->unsent_from < tls->unsent_len)
        return false;
    mem_free(tls->unsent);
    tls->unsent = NULL;
    tls->unsent_len = tls->unsent_from = 0;
    return true;
}

/* ---- the BIO ---- */

static int bio_read(BIO *bio, char *out, int room) {
    struct tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (tls->in_len == 0 || tls->state == TLS_BROKEN) {
        BIO_set_retry_read(bio);
        return -1;
    }
    size_t n = tls->in_len < (size_t)room ? tls->in_len : (size_t)room;
    memcpy(out, tls->in, n);
    tls->in += n;
    tls->in_len -= n;
    return (int)n;
}

static int bio_write(BIO *bio, const char *bytes, int len) {
    struct tls *tls = BIO_get_data(bio);
    size_t sent = tls->unsent == NULL ? send_now(tls, bytes, (size_t)len) : 0;
    if (sent < (size_t)len && tls->state != TLS_BROKEN)
        keep(tls, bytes + sent, (size_t)len - sent);
    return len;
}

static long bio_control(BIO *bio, int command, long number, void *pointer) {
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

/* Adds what time and data have earned since the last call. */
static void earn_empty(struct tls *tls) {
    uint64_t now = clock_monotonic_ns(), seconds = (now - tls->empty_ns) / UINT64_C(1000000000);
    uint64_t earned = seconds + tls->empty_bytes / EMPTY_BYTES;
    tls->empty_ns += seconds * UINT64_C(1000000000);
    tls->empty_bytes %= EMPTY_BYTES;
    uint64_t left = tls->empty_left + earned;
    tls->empty_left = left < EMPTY_FREE ? (unsigned)left : EMPTY_FREE;
}

/* OpenSSL calls it for each record and for each message of TLS itself. */
static void on_protocol(int sent, int version, int type, const void *bytes, size_t len, SSL *ssl,
                        void *user) {
    struct tls *tls = user;
    (void)version;
    (void)bytes;
    (void)len;
    (void)ssl;
    if (sent || tls->state != TLS_OPEN || (type != SSL3_RT_HANDSHAKE && type != SSL3_RT_ALERT))
        return;
    if (tls->empty_left == 0)
        earn_empty(tls);
    if (tls->empty_left == 0)
        fail(tls, "the client sends too many records without data");
    else
        tls->empty_left--;
}

static BIO_METHOD *method;
static uv_once_t method_once = UV_ONCE_INIT;

static void make_method(void) {
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "tidewire");
    BIO_meth_set_read(method, bio_read);
    BIO_meth_set_write(method, bio_write);
    BIO_meth_set_ctrl(method, bio_control);
}

/* ---- life ---- */

static struct tls *new_tls(SSL *ssl, int fd) {
    uv_once(&method_once, make_method);
    struct tls *tls = mem_zalloc(sizeof *tls);
    tls->fd = fd;
    tls->why = "";
    tls->ssl = ssl;
    BIO *bio = BIO_new(method);
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    SSL_set_bio(tls->ssl, bio, bio);
    SSL_set_msg_callback(tls->ssl, on_protocol);
    SSL_set_msg_callback_arg(tls->ssl, tls);
    tls->empty_left = EMPTY_FREE;
    tls->empty_ns = clock_monotonic_ns();
    return tls;
}

struct tls *tls_new(struct certificate *certificate, int fd) {
    SSL *ssl = SSL_new(certificate_context(certificate)); /* takes a reference to the context */
    SSL_set_accept_state(ssl);
    return new_tls(ssl, fd);
}

struct tls *tls_new_client(struct ssl_st *ssl, int fd) {
    SSL_set_connect_state(ssl);
    return new_tls(ssl, fd);
}

void tls_free(struct tls *tls) {
    if (tls == NULL)
        return;
    SSL_free(tls->ssl);
    mem_free(tls->unsent);
    mem_free(tls);
}

enum tls_state tls_state(const struct tls *tls) {
    return tls->state;
}

const char *tls_why(const struct tls *tls) {
    return tls->why;
}

/* ---- receiving and sending ---- */

/* After an operation of OpenSSL that did not succeed. */
static void check_failure(struct tls *tls, int result) {
    switch (SSL_get_error(tls->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return;
    case SSL_ERROR_ZERO_RETURN:
        if (tls->state != TLS_BROKEN)
            tls->state = TLS_ENDED;
        return;
    default: {
        const char *text = ERR_reason_error_string(ERR_peek_error());
        fail(tls, text == NULL ? "the client does not speak TLS" : text);
    }
    }
}

size_t tls_receive(struct tls *tls, const void *bytes, size_t len, void *out) {
    size_t got = 0, room = len + TLS_RECORD_BYTES;
    if (tls->state == TLS_NEW && len > 0)
        tls->state = TLS_HANDSHAKE;
    tls->in = bytes;
    tls->in_len = len;
    ERR_clear_error();
    while (tls->state <= TLS_OPEN && got < room) {
        size_t n = 0;
        int result = SSL_read_ex(tls->ssl, (char *)out + got, room - got, &n);
        if (tls->state == TLS_HANDSHAKE && SSL_is_init_finished(tls->ssl))
            tls->state = TLS_OPEN;
        got += n;
        tls->empty_bytes += n;
        if (result != 1) {
            check_failure(tls, result);
            break;
        }
    }
    ERR_clear_error();
    tls->in = NULL;
    tls->in_len = 0;
    return got;
}

size_t tls_write(struct tls *tls, const void *bytes, size_t len) {
    size_t taken = 0;
    if (tls->state <= TLS_HANDSHAKE || tls->state == TLS_BROKEN)
        return 0;
    ERR_clear_error();
    while (taken < len && tls->state != TLS_BROKEN && tls->unsent == NULL) {
        size_t n = 0;
        int result = SSL_write_ex(tls->ssl, (const char *)bytes + taken, len - taken, &n);
        taken += n;
        if (result != 1) {
            check_failure(tls, result);
            fail(tls, "OpenSSL could not encrypt the data");
        }
    }
    ERR_clear_error();
    return taken;
}

void tls_end(struct tls *tls) {
    if (tls->state != TLS_OPEN && tls->state != TLS_ENDED)
        return;
    ERR_clear_error();
    SSL_shutdown(tls->ssl); /* once: we do not wait for the client's close_notify */
    ERR_clear_error();
}
