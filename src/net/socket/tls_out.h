/* tls_out.h -- the encrypted bytes of one TLS connection on their way to its socket.
 *
 * A write always takes everything: what the socket does not take is kept here, up to a limit. Used
 * by tls.c and tls_records.c; knows neither records nor OpenSSL. On the worker's thread. */
#ifndef TIDEWIRE_NET_SOCKET_TLS_OUT_H
#define TIDEWIRE_NET_SOCKET_TLS_OUT_H

#include <stdbool.h>
#include <stddef.h>

struct tls_out {
    int fd;      /* borrowed */
    bool broken; /* the socket takes nothing any more: what is written is dropped */
    bool full;   /* the peer makes us write and does not read: more than the limit waits */
    char *bytes; /* what the socket did not take, from `from` on; NULL: nothing */
    size_t len, from;
};

void tls_out_write(struct tls_out *out, const void *bytes, size_t len);
/* True: the socket has taken all that was kept. */
bool tls_out_flush(struct tls_out *out);
size_t tls_out_waiting(const struct tls_out *out);
void tls_out_close(struct tls_out *out);

#endif
