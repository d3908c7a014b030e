/* buffer.h -- bytes that grow at their end and are taken off at their beginning.
 *
 * All zeros is an empty buffer. One owner, any thread; sets no limit on its length. */
#ifndef TIDEWIRE_BASE_BUFFER_H
#define TIDEWIRE_BASE_BUFFER_H

#include <stddef.h>

struct buffer {
    char *bytes;  /* NULL: nothing was added yet; freed by buffer_free() */
    size_t first; /* index of the first byte that was not dropped */
    size_t len;   /* bytes from there on */
    size_t capacity;
};

/* The first byte; valid until more is added. */
static inline char *buffer_start(const struct buffer *buffer) {
    return buffer->bytes + buffer->first;
}

/* Makes room for `more` bytes behind the last one. Returns the room; the caller writes there and
 * raises `len`. */
void *buffer_room(struct buffer *buffer, size_t more);
void buffer_add(struct buffer *buffer, const void *bytes, size_t len);
/* Adds text as printf(3) formats it, without a NUL. */
__attribute__((format(printf, 2, 3))) void buffer_printf(struct buffer *buffer, const char *format,
                                                         ...);
/* Removes the first `len` bytes, at most all. */
void buffer_drop(struct buffer *buffer, size_t len);
/* Releases the memory: the buffer is empty, and can be used again. */
void buffer_free(struct buffer *buffer);

#endif
