/* fake_stream.h -- streams without sockets, instead of net/socket/transport.c.
 *
 * Defines the stream_… functions of transport.h, so a test that includes this is linked without
 * transport.c. A stream keeps the bytes that were written to it and takes as many as its `room`;
 * the test plays the network: fake_stream_gives(), fake_stream_takes(), fake_stream_closes().
 * Included by the tests of net/ws, http, http_dispatch and handshake_server. */
#ifndef TESTS_UNIT_FAKE_STREAM_H
#define TESTS_UNIT_FAKE_STREAM_H

#include "base/mem.h"
#include "net/socket/transport.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct stream {
    const struct stream_events *events;
    void *owner;
    char *bytes; /* that were written */
    size_t len, capacity;
    size_t room; /* bytes that it takes until it is full */
    uint64_t quiet_ms;
    int fd; /* with which it was adopted */
    bool wants_write, paused, shut, killed, inside;
    size_t waiting; /* bytes that the client has not acknowledged */
    bool reset;
    bool has_input; /* bytes that were not read */
    bool unflushed; /* it keeps the end of the bytes, as TLS does */
    bool secure;
    bool released; /* its socket has gone; the test frees it by fake_stream_free() */
};

/* The last stream that was adopted. */
static struct stream *fake_adopted;
static bool fake_adopt_fails;
static int fake_sockets_closed; /* on their way to another worker */
static struct tls_server *fake_adopted_with;
static void (*fake_on_write)(void); /* or NULL: is called before bytes are written */

static inline struct stream *fake_stream_new(void) {
    struct stream *stream = mem_zalloc(sizeof *stream);
    stream->room = SIZE_MAX;
    stream->quiet_ms = UINT64_MAX;
    return stream;
}

struct stream *stream_adopt(struct transport *transport, int fd, const char *remote,
                            struct tls_server *tls, const struct stream_events *events,
                            void *owner) {
    (void)transport;
    (void)remote;
    fake_adopted_with = tls;
    if (fake_adopt_fails)
        return NULL;
    fake_adopted = fake_stream_new();
    fake_adopted->events = events;
    fake_adopted->owner = owner;
    fake_adopted->fd = fd;
    return fake_adopted;
}

bool stream_release(struct stream *stream, struct stream_socket *socket) {
    if (stream->killed)
        return false;
    *socket = (struct stream_socket){.fd = stream->fd};
    stream->released = true;
    return true;
}

struct stream *stream_adopt_released(struct transport *transport,
                                     const struct stream_socket *socket,
                                     const struct stream_events *events, void *owner) {
    return stream_adopt(transport, socket->fd, NULL, NULL, events, owner);
}

void stream_socket_close(const struct stream_socket *socket) {
    (void)socket;
    fake_sockets_closed++;
}

bool stream_is_secure(const struct stream *stream) {
    return stream->secure;
}

const char *stream_tls_refusal(const struct stream *stream) {
    (void)stream;
    return NULL;
}

const struct tls_facts *stream_tls(const struct stream *stream) {
    (void)stream;
    return NULL;
}

void stream_set_owner(struct stream *stream, const struct stream_events *events, void *owner) {
    stream->events = events;
    stream->owner = owner;
}

size_t stream_write(struct stream *stream, const void *bytes, size_t len) {
    assert_false(stream->shut);
    size_t taken = len < stream->room ? len : stream->room;
    if (fake_on_write != NULL)
        fake_on_write();
    if (stream->killed)
        taken = 0; /* a broken socket takes nothing */
    if (stream->room != SIZE_MAX)
        stream->room -= taken;
    if (stream->len + taken + 1 > stream->capacity) {
        stream->capacity = (stream->len + taken + 1) * 2;
        stream->bytes = mem_realloc(stream->bytes, stream->capacity);
    }
    if (taken > 0)
        memcpy(stream->bytes + stream->len, bytes, taken);
    stream->len += taken;
    stream->bytes[stream->len] = '\0';
    return taken;
}

void stream_begin_client(struct stream *stream, struct tls_server *tls, const char *remote,
                         char *rest, size_t len) {
    (void)remote;
    fake_adopted_with = tls;
    if (len > 0)
        stream->events->received(stream->owner, rest, len);
}

void stream_want_write(struct stream *stream) {
    stream->wants_write = true;
}

bool stream_is_flushed(const struct stream *stream) {
    return !stream->unflushed;
}

bool stream_has_input(const struct stream *stream) {
    return stream->has_input;
}

bool stream_has_end(const struct stream *stream) {
    return stream->shut || stream->killed;
}

size_t stream_unacked_bytes(const struct stream *stream) {
    return stream->waiting;
}

void stream_reset(struct stream *stream) {
    stream->killed = stream->reset = true;
}

void stream_pause(struct stream *stream, bool paused) {
    stream->paused = paused;
}

void stream_shutdown(struct stream *stream) {
    stream->shut = true;
}

void stream_kill(struct stream *stream) {
    stream->killed = true;
}

uint64_t stream_quiet_ms(const struct stream *stream) {
    return stream->quiet_ms;
}

/* ---- the network's side ---- */

/* Bytes come in, in memory of exactly their size that is gone afterwards. */
static inline void fake_stream_gives(struct stream *stream, const char *bytes, size_t len) {
    assert_false(stream->paused);
    char *copy = mem_alloc(len);
    memcpy(copy, bytes, len);
    stream->inside = true;
    stream->events->received(stream->owner, copy, len);
    stream->inside = false;
    mem_free(copy);
}

/* The socket takes more; it is told if it was waited for. */
static inline void fake_stream_takes(struct stream *stream, size_t bytes) {
    stream->room = bytes == SIZE_MAX || stream->room == SIZE_MAX ? SIZE_MAX : stream->room + bytes;
    if (stream->wants_write && !stream->killed) {
        stream->wants_write = false;
        stream->events->writable(stream->owner);
    }
}

static inline void fake_stream_free(struct stream *stream) {
    mem_free(stream->bytes);
    mem_free(stream);
}

/* The client ends its direction. False: so does the stream, and its owner is told. */
static inline bool fake_stream_ends(struct stream *stream) {
    bool goes_on = stream->events->ended(stream->owner) && !stream->killed && !stream->shut;
    if (goes_on)
        return true;
    stream->events->closed(stream->owner);
    fake_stream_free(stream);
    return false;
}

/* The socket is closed, and the stream with it. */
static inline void fake_stream_closes(struct stream *stream) {
    assert_false(stream->inside);
    stream->events->closed(stream->owner);
    fake_stream_free(stream);
}

#endif
