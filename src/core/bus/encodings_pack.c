/* encodings_pack.c -- the encodings of one value as bytes, and back. See encodings_pack.h. */
#include "core/bus/encodings_pack.h"

enum { STAYS_PLAIN = 0x80, OPCODE_BITS = 0x0f };

/* ---- out ---- */

void encodings_pack_path(struct sink *out, const struct endpoint_paths *paths, uint32_t endpoint) {
    const char *path = endpoint == ANY_ENDPOINT ? NULL : paths->path_of(paths->user, endpoint);
    pack_text(out, path, path == NULL ? 0 : strlen(path));
}

static void pack_encoding(struct sink *out, const struct encoding *encoding,
                          const struct endpoint_paths *paths) {
    const struct message *message = encoding->message;
    struct slice payload = message_payload(message);
    bool is_custom = encoding->codec >= CODEC_CUSTOM;
    pack_number(out, is_custom ? CODEC_CUSTOM : encoding->codec);
    if (is_custom)
        encodings_pack_path(out, paths, encoding->codec - CODEC_CUSTOM);
    pack_number(out, message_opcode(message) | (message->stays_plain ? STAYS_PLAIN : 0u));
    pack_text(out, payload.bytes, payload.len);
}

void encodings_pack(struct sink *out, const struct encoding *encodings, uint32_t count,
                    const struct endpoint_paths *paths) {
    uint32_t packed = 0;
    for (uint32_t i = 0; i < count; i++)
        packed += encodings[i].message != NULL;
    if (packed > ENCODINGS_MAX)
        packed = ENCODINGS_MAX;
    pack_number(out, packed);
    for (uint32_t i = 0; packed > 0; i++)
        if (encodings[i].message != NULL) {
            pack_encoding(out, &encodings[i], paths);
            packed--;
        }
}

/* ---- in ---- */

static bool is_same(const struct message *message, uint64_t flags, struct slice payload) {
    return message != NULL && message_opcode(message) == (flags & OPCODE_BITS) &&
           message->stays_plain == ((flags & STAYS_PLAIN) != 0) &&
           slice_equal(message_payload(message), payload);
}

/* One encoding. `before`: the message of the encoding before, which may be the same. */
static bool unpack_encoding(struct slice *from, const struct endpoint_paths *paths,
                            struct slice key, struct message *before, struct encoding *encoding) {
    uint64_t codec, flags;
    struct slice path = {NULL, 0}, payload;
    *encoding = (struct encoding){0, NULL};
    if (!unpack_number(from, &codec) || codec > CODEC_CUSTOM ||
        (codec == CODEC_CUSTOM && !unpack_text(from, &path)) || !unpack_number(from, &flags) ||
        !unpack_text(from, &payload))
        return false;
    uint64_t opcode = flags & OPCODE_BITS;
    if ((opcode != OPCODE_TEXT && opcode != OPCODE_BINARY) ||
        (flags & ~(uint64_t)(OPCODE_BITS | STAYS_PLAIN)) != 0)
        return false;
    if (paths == NULL)
        return true;
    encoding->codec = (uint32_t)codec;
    if (codec == CODEC_CUSTOM) {
        uint32_t endpoint = paths->endpoint_of(paths->user, path);
        if (endpoint == ANY_ENDPOINT)
            return true;
        encoding->codec = CODEC_CUSTOM + endpoint;
    }
    if (is_same(before, flags, payload)) {
        encoding->message = message_ref(before);
        return true;
    }
    encoding->message = message_new_keyed((enum opcode)opcode, payload.bytes, payload.len, key);
    encoding->message->stays_plain = (flags & STAYS_PLAIN) != 0;
    return true;
}

bool encodings_unpack(struct slice *from, const struct endpoint_paths *paths, struct slice key,
                      struct encodings *encodings) {
    uint64_t count;
    encodings->count = 0;
    if (key.len > MESSAGE_KEY_MAX || !unpack_number(from, &count) || count == 0 ||
        count > ENCODINGS_MAX)
        return false;
    struct message *before = NULL;
    while (encodings->count < count) {
        struct encoding *encoding = &encodings->list[encodings->count];
        if (!unpack_encoding(from, paths, key, before, encoding)) {
            encodings_release(encodings);
            return false;
        }
        before = encoding->message;
        encodings->count++;
    }
    return true;
}

void encodings_release(struct encodings *encodings) {
    for (uint32_t i = 0; i < encodings->count; i++)
        if (encodings->list[i].message != NULL)
            message_unref(encodings->list[i].message);
    encodings->count = 0;
}

bool encodings_find_path(const struct endpoint_paths *paths, struct slice path,
                         uint32_t *endpoint) {
    *endpoint = path.len == 0 ? ANY_ENDPOINT : paths->endpoint_of(paths->user, path);
    return path.len == 0 || *endpoint != ANY_ENDPOINT;
}
