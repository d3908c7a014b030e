/* packing.c -- numbers and strings as bytes and back. See packing.h. */
#include "base/packing.h"

static void add_to_buffer(struct sink *sink, const void *bytes, size_t len) {
    buffer_add(((struct buffer_sink *)sink)->out, bytes, len);
}

struct buffer_sink buffer_sink_of(struct buffer *out) {
    return (struct buffer_sink){.sink = {add_to_buffer}, .out = out};
}

void pack_number(struct sink *sink, uint64_t number) {
    unsigned char bytes[10];
    size_t len = 0;
    for (; number >= 0x80; number >>= 7)
        bytes[len++] = (unsigned char)(number | 0x80);
    bytes[len++] = (unsigned char)number;
    sink->write(sink, bytes, len);
}

void pack_bits(struct sink *sink, uint64_t bits) {
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(bits >> (8 * i));
    sink->write(sink, bytes, sizeof bytes);
}

void pack_text(struct sink *sink, const void *bytes, size_t len) {
    pack_number(sink, len);
    if (len > 0)
        sink->write(sink, bytes, len);
}

bool unpack_number(struct slice *from, uint64_t *number) {
    *number = 0;
    for (unsigned shift = 0; shift < 64 && from->len > 0; shift += 7) {
        unsigned char byte = (unsigned char)*from->bytes;
        slice_skip(from, 1);
        if (shift == 63 && byte > 1) /* more than 64 bits */
            return false;
        *number |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

bool unpack_bits(struct slice *from, uint64_t *bits) {
    if (from->len < 8)
        return false;
    *bits = 0;
    for (int i = 0; i < 8; i++)
        *bits |= (uint64_t)(unsigned char)from->bytes[i] << (8 * i);
    slice_skip(from, 8);
    return true;
}

bool unpack_text(struct slice *from, struct slice *text) {
    uint64_t len;
    if (!unpack_number(from, &len) || len > from->len)
        return false;
    *text = (struct slice){from->bytes, (size_t)len};
    slice_skip(from, (size_t)len);
    return true;
}
