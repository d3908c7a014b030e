/* protocol.c -- the messages of machines as bytes, and back. See protocol.h. */
#include "cluster/node/protocol.h"

#include "base/utf8.h"
#include "core/frames/close_codes.h"

/* ---- the head ---- */

void protocol_pack_head(struct sink *out, const struct protocol_head *head) {
    const char first[] = {PROTOCOL_VERSION, (char)head->kind};
    out->write(out, first, sizeof first);
    out->write(out, head->sender.bytes, CONN_ID_NODE_LEN);
    pack_number(out, head->number);
    pack_number(out, head->sequence);
}

bool protocol_unpack_head(struct slice *from, struct protocol_head *head) {
    if (from->len < 2 + CONN_ID_NODE_LEN || from->bytes[0] != PROTOCOL_VERSION)
        return false;
    head->kind = (enum protocol_kind)(unsigned char)from->bytes[1];
    head->sender = (struct slice){from->bytes + 2, CONN_ID_NODE_LEN};
    slice_skip(from, 2 + CONN_ID_NODE_LEN);
    return unpack_number(from, &head->number) && unpack_number(from, &head->sequence);
}

/* ---- ids and keys ---- */

static void pack_id(struct sink *out, const char *id) {
    pack_text(out, id, strlen(id));
}

/* The text of an id, or no bytes. */
static bool unpack_id(struct slice *from, char id[CONN_ID_LEN + 1]) {
    struct slice text;
    if (!unpack_text(from, &text) || (text.len != 0 && text.len != CONN_ID_LEN))
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (!(text.bytes[i] >= '0' && text.bytes[i] <= '9') &&
            !(text.bytes[i] >= 'a' && text.bytes[i] <= 'v'))
            return false;
    if (text.len > 0)
        memcpy(id, text.bytes, text.len);
    id[text.len] = '\0';
    return true;
}

/* Of a value that has a key, each encoding has it. */
static void pack_key(struct sink *out, const struct link_item *item) {
    struct slice key = {NULL, 0};
    for (uint32_t i = 0; i < item->encoding_count && key.len == 0; i++)
        if (item->encodings[i].message != NULL)
            key = message_key(item->encodings[i].message);
    pack_text(out, key.bytes, key.len);
}

/* Key and encodings, as the last of a body. A text that is no UTF-8 would end the connections that
 * get it (RFC 6455 section 8.1). */
static bool unpack_rest(struct slice from, const struct endpoint_paths *paths,
                        struct encodings *encodings) {
    struct slice key;
    if (!unpack_text(&from, &key) || !encodings_unpack(&from, paths, key, encodings))
        return false;
    bool is_sound = from.len == 0;
    for (uint32_t i = 0; i < encodings->count && is_sound; i++) {
        const struct message *message = encodings->list[i].message;
        if (message != NULL && message_opcode(message) == OPCODE_TEXT) {
            struct slice text = message_payload(message);
            is_sound = utf8_valid(text.bytes, text.len);
        }
    }
    if (!is_sound)
        encodings_release(encodings);
    return is_sound;
}

/* ---- broadcasts ---- */

void protocol_pack_broadcast(struct sink *out, const struct link_item *item,
                             const struct endpoint_paths *paths) {
    pack_id(out, item->id);
    encodings_pack_path(out, paths, item->endpoint);
    pack_key(out, item);
    encodings_pack(out, item->encodings, item->encoding_count, paths);
}

bool protocol_unpack_broadcast(struct slice from, const struct endpoint_paths *paths,
                               struct protocol_broadcast *broadcast) {
    struct slice path;
    broadcast->endpoint = ANY_ENDPOINT;
    if (!unpack_id(&from, broadcast->except) || !unpack_text(&from, &path) ||
        !unpack_rest(from, paths, &broadcast->encodings))
        return false;
    broadcast->has_receivers =
        paths != NULL && encodings_find_path(paths, path, &broadcast->endpoint);
    return true;
}

/* ---- one connection ---- */

void protocol_pack_send(struct sink *out, const struct link_item *item,
                        const struct endpoint_paths *paths) {
    pack_id(out, item->id);
    pack_key(out, item);
    encodings_pack(out, item->encodings, item->encoding_count, paths);
}

bool protocol_unpack_send(struct slice from, const struct endpoint_paths *paths,
                          char id[CONN_ID_LEN + 1], struct encodings *encodings) {
    return unpack_id(&from, id) && id[0] != '\0' && unpack_rest(from, paths, encodings);
}

void protocol_pack_close(struct sink *out, const struct link_item *item) {
    pack_id(out, item->id);
    pack_number(out, item->code);
    pack_text(out, item->body.bytes, item->body.len);
}

bool protocol_unpack_close(struct slice from, char id[CONN_ID_LEN + 1], unsigned *code,
                           struct slice *reason) {
    uint64_t number;
    if (!unpack_id(&from, id) || id[0] == '\0' || !unpack_number(&from, &number) ||
        number > CLOSE_LAST || !close_code_is_valid((long long)number) ||
        !unpack_text(&from, reason) || reason->len > CLOSE_REASON_MAX ||
        !utf8_valid(reason->bytes, reason->len))
        return false;
    *code = (unsigned)number;
    return from.len == 0;
}

/* ---- questions ---- */

void protocol_pack_question(struct sink *out, const struct protocol_question *question) {
    pack_number(out, question->number);
    pack_number(out, question->kind);
    out->write(out, question->body.bytes, question->body.len);
}

bool protocol_unpack_question(struct slice from, struct protocol_question *question) {
    if (!unpack_number(&from, &question->number) || !unpack_number(&from, &question->kind))
        return false;
    question->body = from;
    return true;
}

void protocol_pack_answer(struct sink *out, const struct protocol_answer *answer) {
    pack_number(out, answer->number);
    pack_number(out, (uint64_t)answer->status);
    out->write(out, answer->body.bytes, answer->body.len);
}

bool protocol_unpack_answer(struct slice from, struct protocol_answer *answer) {
    uint64_t status;
    if (!unpack_number(&from, &answer->number) || !unpack_number(&from, &status) ||
        status > LINK_REFUSED)
        return false;
    answer->status = (enum link_status)status;
    answer->body = from;
    return true;
}
