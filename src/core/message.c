/* message.c -- unchangeable, counted frames. See message.h. Any thread. */
#include "core/message.h"

#include "base/mem.h"

#include <string.h>

/* RFC 6455 section 5.2: 7, 7+16 or 7+64 bits of length. */
static uint32_t header_size(size_t len) {
    return len < 126 ? 2 : len < 65536 ? 4 : 10;
}

struct message *message_reserve(enum message_kind kind, size_t len) {
    uint32_t header = header_size(len);
    struct message *message = mem_alloc(sizeof *message + header + len);
    atomic_init(&message->refs, 1);
    message->header_len = header;
    message->len = header + len;
    unsigned char *out = message->bytes;
    out[0] = (unsigned char)(0x80 | kind); /* FIN: we never fragment */
    if (header == 2) {
        out[1] = (unsigned char)len;
    } else if (header == 4) {
        out[1] = 126;
        out[2] = (unsigned char)(len >> 8);
        out[3] = (unsigned char)len;
    } else {
        out[1] = 127;
        for (int i = 0; i < 8; i++)
            out[2 + i] = (unsigned char)((uint64_t)len >> (56 - 8 * i));
    }
    return message;
}

struct message *message_new(enum message_kind kind, const void *payload, size_t len) {
    struct message *message = message_reserve(kind, len);
    if (len > 0)
        memcpy(message_payload(message), payload, len);
    return message;
}

void message_unref(struct message *message) {
    if (atomic_load_explicit(&message->refs, memory_order_acquire) == 1 ||
        atomic_fetch_sub_explicit(&message->refs, 1, memory_order_acq_rel) == 1)
        mem_free(message);
}
