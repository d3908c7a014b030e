/* half_closed.c -- a socket whose client has ended its direction. See half_closed.h. */
#include "net/socket/half_closed.h"

#include "base/mem.h"

#include <sys/socket.h>
#include <unistd.h>

struct half_closed {
    uv_poll_t poll;
    int fd;
    const struct half_closed_events *events;
    void *owner; /* NULL: abandoned */
};

bool half_closed_is(int fd) {
    char byte;
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

struct half_closed *half_closed_new(uv_loop_t *loop, int fd,
                                    const struct half_closed_events *events, void *owner) {
    struct half_closed *half = mem_zalloc(sizeof *half);
    half->fd = fd;
    half->events = events;
    half->owner = owner;
    half->poll.data = half;
    if (uv_poll_init(loop, &half->poll, fd) == 0)
        return half;
    close(fd);
    mem_free(half);
    return NULL;
}

static void on_ready(uv_poll_t *poll, int status, int events) {
    struct half_closed *half = poll->data;
    (void)events;
    uv_poll_stop(poll);
    if (status < 0)
        half->events->broken(half->owner);
    else
        half->events->writable(half->owner);
}

void half_closed_want_write(struct half_closed *half) {
    if (!uv_is_closing((uv_handle_t *)&half->poll))
        uv_poll_start(&half->poll, UV_WRITABLE, on_ready);
}

static void on_closed(uv_handle_t *handle) {
    struct half_closed *half = handle->data;
    close(half->fd);
    if (half->owner != NULL)
        half->events->closed(half->owner);
    mem_free(half);
}

void half_closed_close(struct half_closed *half) {
    if (!uv_is_closing((uv_handle_t *)&half->poll))
        uv_close((uv_handle_t *)&half->poll, on_closed);
}

void half_closed_abandon(struct half_closed *half) {
    half->owner = NULL;
    half_closed_close(half);
}
