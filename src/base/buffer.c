/* buffer.c -- bytes, appended at the end and removed at the beginning. See buffer.h. */
#include "base/buffer.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void *buffer_room(struct buffer *buffer, size_t more) {
    if (buffer->first > 0 && buffer->first >= buffer->len) {
        memcpy(buffer->bytes, buffer_start(buffer), buffer->len);
        buffer->first = 0;
    }
    size_t wanted = buffer->first + buffer->len + more;
    if (wanted > buffer->capacity) {
        buffer->capacity = wanted > buffer->capacity * 2 ? wanted : buffer->capacity * 2;
        buffer->bytes = mem_realloc(buffer->bytes, buffer->capacity);
    }
    return buffer->bytes + buffer->first + buffer->len;
}

void buffer_add(struct buffer *buffer, const void *bytes, size_t len) {
    if (len == 0)
        return;
    memcpy(buffer_room(buffer, len), bytes, len);
    buffer->len += len;
}

void buffer_printf(struct buffer *buffer, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    vsnprintf(buffer_room(buffer, (size_t)len + 1), (size_t)len + 1, format, again);
    va_end(again);
    buffer->len += (size_t)len;
}

void buffer_drop(struct buffer *buffer, size_t len) {
    buffer->first += len;
    buffer->len -= len;
}

char *buffer_take_text(struct buffer *buffer) {
    buffer_add(buffer, "", 1);
    char *text = mem_strndup(buffer_start(buffer), buffer->len - 1);
    buffer_free(buffer);
    return text;
}

void buffer_free(struct buffer *buffer) {
    mem_free(buffer->bytes);
    *buffer = (struct buffer){0};
}
