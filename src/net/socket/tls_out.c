/* tls_out.c -- encrypted bytes on their way to a socket. See tls_out.h. */
#include "net/socket/tls_out.h"

#include "base/mem.h"
#include "core/frames/queue_memory.h"
#include "net/socket/would_block.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

/* Only a peer that makes us answer and does not read lets more than a record and its ends wait. */
enum { MAX_WAITING = 64 * 1024 };

/* Returns how many bytes the socket took. */
static size_t send_now(struct tls_out *out, const char *bytes, size_t len) {
    size_t sent = 0;
    while (sent < len) {
        ssize_t n = send(out->fd, bytes + sent, len - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0)
            sent += (size_t)n;
        else if (would_block(errno))
            break;
        else if (errno != EINTR) {
            out->broken = true;
            return len;
        }
    }
    return sent;
}

/* Drops the bytes that the socket has taken, so that a socket which never takes all does not let
 * the memory grow. */
static void drop_sent(struct tls_out *out) {
    if (out->from == 0)
        return;
    queue_memory_remove(out->from);
    out->len -= out->from;
    memmove(out->bytes, out->bytes + out->from, out->len);
    out->from = 0;
}

void tls_out_write(struct tls_out *out, const void *bytes, size_t len) {
    size_t sent = out->bytes == NULL ? send_now(out, bytes, len) : 0, rest = len - sent;
    if (rest == 0 || out->full)
        return;
    if (tls_out_waiting(out) + rest > MAX_WAITING) {
        out->full = true;
        return;
    }
    drop_sent(out);
    out->bytes = mem_realloc(out->bytes, out->len + rest);
    queue_memory_add(rest);
    memcpy(out->bytes + out->len, (const char *)bytes + sent, rest);
    out->len += rest;
}

bool tls_out_flush(struct tls_out *out) {
    if (out->bytes == NULL)
        return true;
    out->from += send_now(out, out->bytes + out->from, out->len - out->from);
    if (out->from < out->len)
        return false;
    tls_out_close(out);
    return true;
}

size_t tls_out_waiting(const struct tls_out *out) {
    return out->len - out->from;
}

void tls_out_close(struct tls_out *out) {
    queue_memory_remove(out->len);
    mem_free(out->bytes);
    out->bytes = NULL;
    out->len = out->from = 0;
}
