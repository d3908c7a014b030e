/* tls_pair.h -- the server's side of a TLS connection and OpenSSL's own client, over a pair of
 * sockets, for tests of TLS. */
#ifndef TESTS_UNIT_TLS_PAIR_H
#define TESTS_UNIT_TLS_PAIR_H

#include "certificate_files.h"

#include "base/mem.h"
#include "net/socket/tls.h"

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER = 1024 * 1024 };

static char folder[] = "/tmp/tidewire-tls-XXXXXX";
static struct certificate_files files;
static struct tls_server *tls_server;

static struct tls *tls; /* the server's side */
static int fds[2];      /* its socket, the client's */
static SSL_CTX *client_context;
static SSL *client;
static char received[BUFFER]; /* what the server has decrypted */
static size_t received_len;

static inline int start_group(void **state) {
    struct tls_problem problem = {.text = ""};
    assert_non_null(mkdtemp(folder));
    certificate_files_make(&files, folder, "tls", 1000);
    struct tls_options options = certificate_files_options(&files, 1);
    tls_server = tls_server_load(&options, NULL, &problem);
    free(options.certificates);
    assert_string_equal(problem.text, "");
    return 0;
}

static inline int finish_group(void **state) {
    tls_server_unref(tls_server);
    certificate_files_remove(&files);
    return rmdir(folder);
}

static inline int start(void **state) {
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    tls = tls_new(tls_server, fds[0]);
    client_context = SSL_CTX_new(TLS_client_method());
    client = SSL_new(client_context);
    SSL_set_fd(client, fds[1]);
    SSL_set_connect_state(client);
    received_len = 0;
    return 0;
}

static inline int finish(void **state) {
    tls_free(tls);
    SSL_free(client);
    SSL_CTX_free(client_context);
    close(fds[0]);
    close(fds[1]);
    return 0;
}

/* Passes the bytes that have arrived to the server, `piece` at a time. */
static inline void receive(size_t piece) {
    char bytes[64 * 1024];
    static char out[sizeof bytes + TLS_RECORD_BYTES];
    for (ssize_t n; (n = read(fds[0], bytes, piece)) > 0;) {
        size_t got = tls_receive(tls, bytes, (size_t)n, out);
        assert_true(got <= (size_t)n + TLS_RECORD_BYTES);
        assert_true(received_len + got <= sizeof received);
        if (got > 0)
            memcpy(received + received_len, out, got);
        received_len += got;
    }
}

static inline void shake_hands(size_t piece) {
    assert_int_equal(tls_state(tls), TLS_NEW);
    for (int i = 0; i < 10 && SSL_do_handshake(client) != 1; i++)
        receive(piece);
    receive(piece);
    assert_int_equal(tls_state(tls), TLS_OPEN);
}

static inline void check_client_reads(const char *want, size_t len) {
    char *got = mem_alloc(len + 1);
    size_t have = 0, n;
    while (have < len) {
        if (SSL_read_ex(client, got + have, len - have, &n) == 1)
            have += n;
        else if (tls_has_unsent(tls))
            tls_flush(tls);
        else
            break;
    }
    assert_int_equal(have, len);
    assert_memory_equal(got, want, len);
    mem_free(got);
}

static inline void fill(char *bytes, size_t len, unsigned seed) {
    for (size_t i = 0; i < len; i++)
        bytes[i] = (char)((i * 31 + (i >> 8) * 7 + seed) & 0xff);
}

#endif
