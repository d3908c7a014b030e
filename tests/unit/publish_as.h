/* publish_as.h -- a message for those with one codec, and nothing for the others, whatever they
 * have. */
#ifndef TESTS_UNIT_PUBLISH_AS_H
#define TESTS_UNIT_PUBLISH_AS_H

#include "core/hub/hub.h"

struct audience {
    struct slice room;
    uint32_t endpoint, codec;
    conn_id except;
};

/* Takes over the reference. Returns how many got it. */
static inline uint32_t publish_as(struct hub *hub, const struct audience *audience,
                                  struct message *message) {
    struct encoding encodings[16] = {{audience->codec, message}};
    struct broadcast broadcast = {
        audience->room, audience->endpoint, audience->except, encodings, 1, NULL};
    struct codec_list missing;
    uint32_t delivered;
    uint64_t offset;
    while (message_ref(message), !hub_publish(hub, &broadcast, &delivered, &offset, &missing))
        for (uint32_t i = 0; i < missing.count; i++)
            encodings[broadcast.encoding_count++] = (struct encoding){missing.codecs[i], NULL};
    message_unref(message);
    return delivered;
}

#endif
