/* buffer.h -- bytes: a producer appends them at the end, a consumer removes them at the beginning.
 *
 * All zeros is an empty buffer. One owner, any thread; sets no limit on its length. */
#ifndef TIDEWIRE_BASE_BUFFER_H
#define TIDEWIRE_BASE_BUFFER_H

#include <stddef.h>

struct buffer {
    char *bytes;  /* NULL: no byte was added yet; buffer_free() frees it */
    size_t first; /* index of the first remaining byte */
    size_t len;   /* bytes from there on */
    size_t capacity;
};

/* The first byte; valid until the next addition. NULL: no byte was added yet. */
static inline char *buffer_start(const struct buffer *buffer) {
    return buffer->bytes == NULL ? NULL : buffer->bytes + buffer->first; /* NULL + 0 is undefined */
}

/* Makes room for `more` bytes after the last one. Returns the room; the caller writes there and
 * raises `len`. */
void *buffer_room(struct buffer *buffer, size_t more);
void buffer_add(struct buffer *buffer, const void *bytes, size_t len);
/* Adds text as printf(3) formats it, without a NUL. */
__attribute__((format(printf, 2, 3))) void buffer_printf(struct buffer *buffer, const char *format,
                                                         ...);
/* Removes the first `len` bytes, at most all. */
void buffer_drop(struct buffer *buffer, size_t len);
/* Returns the bytes with a NUL behind them, which the caller frees. The buffer is empty then. */
char *buffer_take_text(struct buffer *buffer);
/* Releases the memory. The buffer is empty then, and ready for use. */
void buffer_free(struct buffer *buffer);

#endif
