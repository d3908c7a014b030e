/* broadcast.h -- a value for many connections: the receivers, and an encoding for each codec.
 *
 * Receivers may have different codecs, so the publisher encodes a value once for each of these.
 * Which codecs there are can change at any time, as connections of other workers join: the
 * publisher passes all encodings at once, and the bus returns the missing codecs. Plain values; any
 * thread. */
#ifndef TIDEWIRE_CORE_BUS_BROADCAST_H
#define TIDEWIRE_CORE_BUS_BROADCAST_H

#include "base/conn_id.h"
#include "core/frames/message.h"

/* Codecs by number. Their names are the same on every machine: "text", "binary", "json", and
 * "custom:" with the endpoint's path: these have the endpoint's number added to CODEC_CUSTOM. */
enum codec { CODEC_TEXT, CODEC_BINARY, CODEC_JSON, CODEC_CUSTOM };

/* The value for receivers with this codec. */
struct encoding {
    uint32_t codec;
    struct message *message; /* NULL: they get no message */
};

#define ANY_ENDPOINT UINT32_MAX

struct broadcast {
    struct slice room; /* to its members; no bytes: to all connections */
    uint32_t endpoint; /* only to connections of this endpoint, or ANY_ENDPOINT */
    conn_id except;    /* not to this connection; 0: to all */
    const struct encoding *encodings;
    uint32_t encoding_count;
    const char *except_text; /* not to this connection of another machine; NULL: to all */
};

/* The encoding for a codec, or NULL. */
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

/* Codecs, each once, in ascending order; a full list ignores further ones. */
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
