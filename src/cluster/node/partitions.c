/* partitions.c -- partitions, servers, names of keys and channels. See partitions.h. */
#include "cluster/node/partitions.h"

#include <stdint.h>

/* FNV-1a with 64 bits. */
static uint64_t hash(struct slice name) {
    uint64_t sum = 0xcbf29ce484222325;
    for (size_t i = 0; i < name.len; i++)
        sum = (sum ^ (unsigned char)name.bytes[i]) * 0x100000001b3;
    return sum;
}

unsigned partitions_of(struct slice name) {
    uint64_t sum = hash(name);
    return (unsigned)((sum ^ sum >> 32) % PARTITIONS); /* its lowest bits alone mix badly */
}

/* John Lamping, Eric Veach: A Fast, Minimal Memory, Consistent Hash Algorithm (2014). */
unsigned partitions_server(unsigned partition, unsigned servers) {
    uint64_t key = hash((struct slice){(const char[]){(char)partition}, 1});
    int64_t bucket = 0, next = 0;
    while (next < (int64_t)servers) {
        bucket = next;
        key = key * 2862933555777941757u + 1;
        next = (int64_t)((double)(bucket + 1) * (2147483648.0 / (double)((key >> 33) + 1)));
    }
    return (unsigned)bucket;
}

static struct slice add_name(struct buffer *buffer, const char *kind, struct slice name) {
    buffer_add(buffer, kind, strlen(kind));
    if (name.len > 0) {
        buffer_add(buffer, ":", 1);
        buffer_add(buffer, name.bytes, name.len);
    }
    return (struct slice){buffer_start(buffer), buffer->len};
}

struct slice partitions_key(struct buffer *buffer, struct slice prefix, unsigned partition,
                            const char *kind, struct slice name) {
    char tag[8];
    size_t at = sizeof tag;
    tag[--at] = ':';
    tag[--at] = '}';
    do
        tag[--at] = (char)('0' + partition % 10);
    while ((partition /= 10) > 0);
    tag[--at] = '{';
    tag[--at] = ':';
    buffer_drop(buffer, buffer->len);
    buffer_add(buffer, prefix.bytes, prefix.len);
    buffer_add(buffer, tag + at, sizeof tag - at);
    return add_name(buffer, kind, name);
}

struct slice partitions_common_key(struct buffer *buffer, struct slice prefix, const char *kind,
                                   struct slice name) {
    buffer_drop(buffer, buffer->len);
    buffer_add(buffer, prefix.bytes, prefix.len);
    buffer_add(buffer, ":", 1);
    return add_name(buffer, kind, name);
}

static bool skip(struct slice *from, struct slice text) {
    if (from->len < text.len || memcmp(from->bytes, text.bytes, text.len) != 0)
        return false;
    slice_skip(from, text.len);
    return true;
}

bool partitions_room_of(struct slice channel, struct slice prefix, struct slice *room) {
    if (!skip(&channel, prefix) || !skip(&channel, slice_of(":{")))
        return false;
    while (channel.len > 0 && *channel.bytes >= '0' && *channel.bytes <= '9')
        slice_skip(&channel, 1);
    if (!skip(&channel, slice_of("}:c:")))
        return false;
    *room = channel;
    return room->len > 0;
}
