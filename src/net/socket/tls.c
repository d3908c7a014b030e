/* tls.c -- TLS on one connection. See tls.h.
 *
 * OpenSSL reads from and writes to a BIO of ours. A read takes what tls_receive() was given, and
 * then asks to be repeated. A write always succeeds: OpenSSL wants a write that the socket did not
 * take to be repeated with the same bytes, but by then the queue above may have other bytes at its
 * front (a control frame, a message that replaced another). So the rest of a record is kept here,
 * and no other record begins before it is sent. */
#include "net/socket/tls.h"

#include "base/mem.h"
#include "net/socket/tls_budget.h"
#include "net/socket/tls_facts.h"
#include "net/socket/tls_keys.h"
#include "net/socket/tls_out.h"
#include "net/socket/tls_records.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>
#include <uv.h>

/* Of a server's handshake: what tls_records.c needs to go on after it. */
struct handshake {
    struct tls_secrets secrets;
    struct tls_server *server;
};

struct tls {
    SSL *ssl; /* NULL: the client has sent nothing, or `records` has the connection */
    struct tls_records *records; /* NULL: OpenSSL has it */
    struct handshake *handshake; /* NULL: a client, or the handshake is done */
    enum tls_state state;
    const char *why;
    char *why_text; /* owned, if `why` is no static text */
    const char *refusal;
    struct tls_facts *facts;
    const char *in; /* while tls_receive() runs: the bytes that OpenSSL has not read yet */
    size_t in_len;
    struct tls_out out;
    struct tls_budget budget;
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

static void on_secret(const SSL *ssl, const char *line);
static void make_method(void);

static BIO_METHOD *method; /* NULL: there was no memory for it */
static uv_once_t method_once = UV_ONCE_INIT;

/* OpenSSL frees the buffers of idle connections. It writes one record at a time, and the caller may
 * repeat a write from another place in memory. Sessions are resumed by tickets alone, so the server
 * stores none. */
struct ssl_ctx_st *tls_new_context(void) {
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    uv_once(&method_once, make_method); /* not in a connection, which may have no memory */
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
    SSL_CTX_set_keylog_callback(context, on_secret);
    return context;
}

static void fail(struct tls *tls, const char *why) {
    if (tls->state != TLS_BROKEN)
        tls->why = why;
    if (tls->handshake != NULL && tls->refusal == NULL)
        tls->refusal = "tls_handshake";
    tls->state = TLS_BROKEN;
}

static void check_out(struct tls *tls) {
    if (tls->out.full)
        fail(tls, "the peer asks and does not read");
}

bool tls_has_unsent(const struct tls *tls) {
    return tls->out.bytes != NULL && tls->state != TLS_BROKEN;
}

bool tls_socket_is_broken(const struct tls *tls) {
    return tls->out.broken;
}

size_t tls_unsent_bytes(const struct tls *tls) {
    return tls_out_waiting(&tls->out);
}

bool tls_flush(struct tls *tls) {
    return !tls_has_unsent(tls) || tls_out_flush(&tls->out);
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
    tls_out_write(&tls->out, bytes, (size_t)len);
    check_out(tls);
    return len;
}

static long bio_control(BIO *bio, int command, long number, void *pointer) {
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

/* The last keys begin behind change_cipher_spec in TLS 1.2, whose Finished may be more than one
 * record, and behind Finished in TLS 1.3 (RFC 8446 section 7.1), where tickets follow. OpenSSL
 * calls for the records of a message before it calls for the message. */
static void count_record(struct tls *tls, bool sent, int type, const uint8_t *bytes) {
    struct tls_secrets *secrets = &tls->handshake->secrets;
    uint64_t *count = sent ? &secrets->sent : &secrets->received;
    if (type == SSL3_RT_HEADER)
        *count = *bytes == SSL3_RT_CHANGE_CIPHER_SPEC ? 0 : *count + 1;
    else if (type == SSL3_RT_HANDSHAKE && *bytes == SSL3_MT_FINISHED &&
             SSL_version(tls->ssl) == TLS1_3_VERSION)
        *count = 0;
}

/* OpenSSL calls it for each record and for each message of TLS itself. */
static void on_protocol(int sent, int version, int type, const void *bytes, size_t len, SSL *ssl,
                        void *user) {
    struct tls *tls = user;
    (void)version;
    (void)ssl;
    if (tls->handshake != NULL && len > 0)
        count_record(tls, sent != 0, type, bytes);
    if (sent || tls->state != TLS_OPEN || (type != SSL3_RT_HANDSHAKE && type != SSL3_RT_ALERT))
        return;
    if (!tls_budget_take(&tls->budget))
        fail(tls, "the peer sends too many records without data");
}

static int digit(char c) {
    return c <= '9' ? c - '0' : (c | 32) - 'a' + 10;
}

/* OpenSSL gives the secrets of TLS 1.3 only in the lines of a log of keys (NSS Key Log Format):
 * label, random number of the client, secret, the last two in hexadecimal. */
static void on_secret(const SSL *ssl, const char *line) {
    static const char in[] = "CLIENT_TRAFFIC_SECRET_0 ", out[] = "SERVER_TRAFFIC_SECRET_0 ";
    struct tls *tls = SSL_get_app_data(ssl);
    uint8_t *secret = NULL;
    if (tls == NULL || tls->handshake == NULL)
        return;
    if (strncmp(line, in, sizeof in - 1) == 0)
        secret = tls->handshake->secrets.in_secret;
    else if (strncmp(line, out, sizeof out - 1) == 0)
        secret = tls->handshake->secrets.out_secret;
    if (secret == NULL)
        return;
    const char *hex = strrchr(line, ' ') + 1;
    for (size_t i = 0; i < TLS_SECRET_BYTES && hex[2 * i] != '\0'; i++)
        secret[i] = (uint8_t)(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
}

static void make_method(void) {
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "tidewire");
    if (method == NULL)
        return;
    BIO_meth_set_read(method, bio_read);
    BIO_meth_set_write(method, bio_write);
    BIO_meth_set_ctrl(method, bio_control);
}

/* ---- life ---- */

static struct tls *new_tls(int fd) {
    struct tls *tls = mem_zalloc(sizeof *tls);
    tls->out.fd = fd;
    tls->why = "";
    tls_budget_init(&tls->budget);
    return tls;
}

static bool use_ssl(struct tls *tls, SSL *ssl) {
    uv_once(&method_once, make_method);
    tls->ssl = ssl;
    BIO *bio = method == NULL ? NULL : BIO_new(method);
    if (bio == NULL)
        return false;
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_msg_callback(ssl, on_protocol);
    SSL_set_msg_callback_arg(ssl, tls);
    return true;
}

struct tls *tls_new(struct tls_server *server, int fd) {
    struct tls *tls = new_tls(fd);
    tls->handshake = mem_zalloc(sizeof *tls->handshake);
    tls->handshake->server = tls_server_ref(server); /* OpenSSL's contexts refer to it */
    return tls;
}

/* The client has sent its first bytes: one that sends none costs no object of OpenSSL. */
static void begin_handshake(struct tls *tls) {
    SSL *ssl = SSL_new(tls_server_context(tls->handshake->server));
    if (ssl == NULL || !use_ssl(tls, ssl)) {
        fail(tls, "OpenSSL has no memory");
        return;
    }
    SSL_set_accept_state(ssl);
    SSL_set_app_data(ssl, tls);
}

struct tls *tls_new_client(struct ssl_st *ssl, int fd) {
    struct tls *tls = new_tls(fd);
    SSL_set_connect_state(ssl);
    if (!use_ssl(tls, ssl))
        fail(tls, "OpenSSL has no memory");
    return tls;
}

static void end_handshake(struct tls *tls) {
    struct handshake *handshake = tls->handshake;
    tls->handshake = NULL;
    if (handshake == NULL)
        return;
    tls_server_unref(handshake->server);
    OPENSSL_cleanse(handshake, sizeof *handshake);
    mem_free(handshake);
}

void tls_free(struct tls *tls) {
    if (tls == NULL)
        return;
    SSL_free(tls->ssl);
    end_handshake(tls);
    tls_records_free(tls->records);
    tls_out_close(&tls->out);
    tls_facts_free(tls->facts);
    mem_free(tls->why_text);
    mem_free(tls);
}

enum tls_state tls_state(const struct tls *tls) {
    return tls->state;
}

const char *tls_refusal(const struct tls *tls) {
    return tls->refusal;
}

const struct tls_facts *tls_facts(const struct tls *tls) {
    return tls->facts;
}

struct slice tls_client_alpn(const struct tls *tls) {
    const unsigned char *protocol;
    unsigned len;
    SSL_get0_alpn_selected(tls->ssl, &protocol, &len);
    return (struct slice){(const char *)protocol, len};
}

struct tls_facts *tls_client_facts_new(const struct tls *tls) {
    return tls_facts_new(tls->ssl);
}

bool tls_is_small(const struct tls *tls) {
    return tls->records != NULL;
}

const char *tls_why(const struct tls *tls) {
    return tls->why;
}

/* ---- receiving and sending ---- */

/* As fail(), with two parts of a sentence, which are copied. */
static void refuse(struct tls *tls, const char *refusal, const char *what, const char *which) {
    if (tls->state == TLS_BROKEN)
        return;
    tls->refusal = refusal;
    tls->why_text = mem_concat(what, which);
    fail(tls, tls->why_text);
}

/* Why OpenSSL has failed, in words for the log. */
static void fail_by_openssl(struct tls *tls) {
    unsigned long error = ERR_peek_error();
    const char *text = ERR_reason_error_string(error);
    const char *name = SSL_get_servername(tls->ssl, TLSEXT_NAMETYPE_host_name);
    int reason = ERR_GET_LIB(error) == ERR_LIB_SSL ? ERR_GET_REASON(error) : 0;
    bool is_server = tls->handshake != NULL;
    if (is_server && reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
        refuse(tls, "client_certificate", "the client's certificate is refused: ",
               X509_verify_cert_error_string(SSL_get_verify_result(tls->ssl)));
    } else if (is_server && reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
        refuse(tls, "client_certificate", "the client has no certificate", "");
    } else if (is_server && reason == SSL_R_CALLBACK_FAILED && name != NULL) {
        refuse(tls, "server_name", "no certificate is for the name ", name);
    } else {
        fail(tls, text == NULL ? "the peer does not speak TLS" : text);
    }
}

/* After an operation of OpenSSL that did not succeed. */
static void check_failure(struct tls *tls, int result) {
    switch (SSL_get_error(tls->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return;
    case SSL_ERROR_ZERO_RETURN:
        if (tls->state != TLS_BROKEN)
            tls->state = TLS_ENDED;
        return;
    default:
        fail_by_openssl(tls);
    }
}

/* A ticket may outlive the certificate of its client, which nothing else checks again. */
static bool client_has_expired(const SSL *ssl) {
    const X509 *x509 = SSL_get0_peer_certificate(ssl);
    return x509 != NULL && X509_cmp_current_time(X509_get0_notAfter(x509)) < 0;
}

/* The handshake is done: a server's connection goes on without OpenSSL's object where it can. */
static void open_connection(struct tls *tls) {
    tls->state = TLS_OPEN;
    if (tls->handshake == NULL)
        return;
    if (client_has_expired(tls->ssl)) {
        refuse(tls, "client_certificate", "the client's certificate is refused: ",
               X509_verify_cert_error_string(X509_V_ERR_CERT_HAS_EXPIRED));
        return;
    }
    tls->facts = tls_facts_new(tls->ssl);
    if (tls->facts == NULL) {
        refuse(tls, "client_certificate", "the client's certificate cannot be read", "");
        return;
    }
    tls->records = tls_records_new(tls->ssl, &tls->handshake->secrets, &tls->out, &tls->budget);
    end_handshake(tls);
    if (tls->records == NULL)
        return;
    SSL_free(tls->ssl);
    tls->ssl = NULL;
}

static void shake_hands(struct tls *tls) {
    int result = SSL_do_handshake(tls->ssl);
    if (result == 1)
        open_connection(tls);
    else
        check_failure(tls, result);
}

static size_t receive_by_openssl(struct tls *tls, char *out, size_t room) {
    size_t got = 0;
    while (tls->state == TLS_OPEN && got < room) {
        size_t n = 0;
        int result = SSL_read_ex(tls->ssl, out + got, room - got, &n);
        got += n;
        tls_budget_earn(&tls->budget, n);
        if (result != 1) {
            check_failure(tls, result);
            break;
        }
    }
    return got;
}

/* What tls_records.c has found out. */
static void check_records(struct tls *tls) {
    if (tls_records_failure(tls->records) != NULL)
        fail(tls, tls_records_failure(tls->records));
    else if (tls->state == TLS_OPEN && tls_records_ended(tls->records))
        tls->state = TLS_ENDED;
    check_out(tls);
}

size_t tls_receive(struct tls *tls, const void *bytes, size_t len, void *out) {
    size_t got = 0;
    if (tls->state == TLS_NEW && tls->handshake != NULL && len > 0)
        begin_handshake(tls);
    if (tls->state == TLS_NEW && tls->ssl != NULL)
        tls->state = TLS_HANDSHAKE;
    tls->in = bytes;
    tls->in_len = len;
    ERR_clear_error();
    if (tls->state == TLS_HANDSHAKE)
        shake_hands(tls);
    if (tls->state == TLS_OPEN && tls->records == NULL) {
        got = receive_by_openssl(tls, out, len + TLS_RECORD_BYTES);
    } else if (tls->state == TLS_OPEN) {
        got = tls_records_receive(tls->records, (const uint8_t *)tls->in, tls->in_len, out);
        check_records(tls);
    }
    ERR_clear_error();
    tls->in = NULL;
    tls->in_len = 0;
    return got;
}

static size_t write_by_openssl(struct tls *tls, const char *bytes, size_t len) {
    size_t taken = 0;
    while (taken < len && tls->state != TLS_BROKEN && tls->out.bytes == NULL) {
        size_t n = 0;
        int result = SSL_write_ex(tls->ssl, bytes + taken, len - taken, &n);
        taken += n;
        if (result != 1) {
            check_failure(tls, result);
            fail(tls, "OpenSSL could not encrypt the data");
        }
    }
    return taken;
}

size_t tls_write(struct tls *tls, const void *bytes, size_t len) {
    size_t taken;
    if (tls->state <= TLS_HANDSHAKE || tls->state == TLS_BROKEN)
        return 0;
    ERR_clear_error();
    if (tls->records == NULL) {
        taken = write_by_openssl(tls, bytes, len);
    } else {
        taken = tls_records_write(tls->records, bytes, len);
        check_records(tls);
    }
    ERR_clear_error();
    return taken;
}

void tls_end(struct tls *tls) {
    if (tls->state != TLS_OPEN && tls->state != TLS_ENDED)
        return;
    ERR_clear_error();
    if (tls->records != NULL)
        tls_records_end(tls->records);
    else
        SSL_shutdown(tls->ssl); /* once: we do not wait for the peer's close_notify */
    ERR_clear_error();
}
