/* broadcast.h -- a value for many: who is meant, and what each of them gets.
 *
 * Receivers may have different codecs, so a value is encoded once for each that is among them.
 * Which those are can change at any time, as connections of other workers join: the publisher hands
 * over all encodings at once, and is told instead which are missing. Plain values; any thread. */
#ifndef TIDEWIRE_CORE_BUS_BROADCAST_H
#define TIDEWIRE_CORE_BUS_BROADCAST_H

#include "base/conn_id.h"
#include "core/frames/message.h"

/* The value as those get it who have this codec. */
struct encoding {
    uint32_t codec;
    struct message *message; /* NULL: they get nothing */
};

#define ANY_ENDPOINT UINT32_MAX

struct broadcast {
    struct slice room; /* its members; no bytes: everyone */
    uint32_t endpoint; /* only those of this one, or ANY_ENDPOINT */
    conn_id except;    /* 0: nobody */
    const struct encoding *encodings;
    uint32_t encoding_count;
};

/* NULL: there is none for this codec. */
static inline const struct encoding *broadcast_encoding(const struct broadcast *broadcast,
                                                        uint32_t codec) {
    for (uint32_t i = 0; i < broadcast->encoding_count; i++)
        if (broadcast->encodings[i].codec == codec)
            return &broadcast->encodings[i];
    return NULL;
}

static inline bool broadcast_is_for(const struct broadcast *broadcast, uint32_t endpoint) {
    return broadcast->endpoint == ANY_ENDPOINT || broadcast->endpoint == endpoint;
}

/* Codecs, each once, the smallest first; what does not fit is left out. */
enum { CODEC_LIST_MAX = 64 };

struct codec_list {
    uint32_t count;
    uint32_t codecs[CODEC_LIST_MAX];
};

static inline void codec_list_add(struct codec_list *list, uint32_t codec) {
    uint32_t at = list->count;
    while (at > 0 && list->codecs[at - 1] >= codec)
        if (list->codecs[--at] == codec)
            return;
    if (list->count == CODEC_LIST_MAX)
        return;
    for (uint32_t i = list->count++; i > at; i--)
        list->codecs[i] = list->codecs[i - 1];
    list->codecs[at] = codec;
}

#endif
