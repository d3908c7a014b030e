/* fuzz_frames.c -- frames of a client or of a server, against a second, naive reader.
 *
 * Input: two bytes decide the pieces in which the frames arrive, the next the side (bit 0) and
 * whether messages may be compressed (bit 1), two the limits of a message. The rest are the frames.
 * What is read must not depend on the pieces, and must be what the naive reader finds, which has
 * the whole input and no limits on memory. */
#include "fuzz.h"

#include "base/utf8.h"
#include "core/frames/frame_reader.h"

struct event {
    enum frame_kind kind;
    unsigned code;
    bool is_ascii;
    size_t at, len; /* of its payload in the outcome's bytes */
};

struct outcome {
    struct event events[8192];
    size_t count, used;
    char bytes[16384];
};

static void note(struct outcome *out, enum frame_kind kind, const char *payload, size_t len) {
    fuzz_check(out->count < sizeof out->events / sizeof *out->events);
    fuzz_check(out->used + len <= sizeof out->bytes);
    struct event *event = &out->events[out->count++];
    *event = (struct event){.kind = kind, .at = out->used, .len = len, .is_ascii = true};
    if (len > 0)
        memcpy(out->bytes + out->used, payload, len);
    out->used += len;
    for (size_t i = 0; i < len; i++)
        event->is_ascii = event->is_ascii && (payload[i] & 0x80) == 0;
}

/* What the frames are. */
struct setting {
    bool from_server, deflate;
    struct frame_limits limits;
};

static bool is_control(enum frame_kind kind) {
    return kind == FRAME_PING || kind == FRAME_PONG || kind == FRAME_CLOSE;
}

/* The most bytes of a message: a compressed one may have some more. */
static size_t most_bytes(const struct setting *setting, bool compressed) {
    size_t bytes = setting->limits.bytes;
    return compressed ? bytes + bytes / 8 + 64 : bytes;
}

/* ---- the reader under test ---- */

static void check_close(const struct frame *frame) {
    unsigned code = 0;
    const char *reason = NULL;
    size_t len = 0;
    if (!frame_reader_close_valid(frame->payload, frame->len, &code, &reason, &len))
        return;
    fuzz_check(code == 1005 || (code >= 1000 && code <= 4999));
    fuzz_check(len + 2 == frame->len || (len == 0 && frame->len <= 2));
    fuzz_check(utf8_valid(reason, len));
}

static void read_pieces(const uint8_t *bytes, size_t len, const struct setting *setting,
                        struct fuzz_pieces pieces, struct outcome *out) {
    struct frame_reader reader = {.from_server = setting->from_server, .deflate = setting->deflate};
    out->count = out->used = 0;
    enum frame_kind kind = FRAME_MORE;
    for (size_t at = 0, n; at < len && kind != FRAME_ERROR; at += n) {
        n = fuzz_next_piece(&pieces, len - at);
        char *piece = fuzz_copy(bytes + at, n), *p = piece;
        size_t left = n;
        struct frame frame;
        while ((kind = frame_reader_next(&reader, &p, &left, &setting->limits, &frame)) !=
                   FRAME_MORE &&
               kind != FRAME_ERROR) {
            fuzz_check(p + left == piece + n);
            fuzz_check(frame.len <=
                       (is_control(kind) ? 125 : most_bytes(setting, kind > FRAME_ERROR)));
            fuzz_check(kind < FRAME_ERROR || setting->deflate);
            note(out, kind, frame.payload, frame.len);
            if (kind == FRAME_CLOSE)
                check_close(&frame);
            if (kind <= FRAME_BINARY) {
                fuzz_check(frame.is_ascii == out->events[out->count - 1].is_ascii);
                fuzz_check(!frame.is_ascii || utf8_valid(frame.payload, frame.len));
            }
            if ((out->count & 3) == 3)
                frame_reader_forget(&reader);
        }
        if (kind == FRAME_ERROR) {
            fuzz_check(frame.why != NULL && strlen(frame.why) <= 123);
            note(out, kind, "", 0);
            out->events[out->count - 1].code = frame.code;
        } else {
            fuzz_check(left == 0);
        }
        fuzz_check(frame_reader_held(&reader) <= most_bytes(setting, setting->deflate));
        free(piece);
    }
    frame_reader_reset(&reader);
}

/* ---- the naive reader ---- */

struct header {
    unsigned opcode;
    bool final, masked, shortest;
    size_t bytes;
    uint64_t size;
};

/* False: it is not whole. */
static bool read_header(const uint8_t *b, size_t len, struct header *h) {
    if (len < 2)
        return false;
    unsigned size = b[1] & 127;
    size_t more = size < 126 ? 0 : size == 126 ? 2 : 8;
    *h = (struct header){.opcode = b[0] & 15, .final = b[0] & 0x80, .masked = b[1] & 0x80};
    h->bytes = 2 + more + (h->masked ? 4 : 0);
    if (len < h->bytes)
        return false;
    h->size = more == 0 ? size : 0;
    for (size_t i = 0; i < more; i++)
        h->size = h->size << 8 | b[2 + i];
    h->shortest = h->size >= (more == 0 ? 0 : more == 2 ? 126 : 65536) && h->size >> 63 == 0;
    return true;
}

static bool is_allowed(const struct header *h, uint8_t first, const struct setting *setting,
                       bool continues) {
    bool is_message = h->opcode == 1 || h->opcode == 2;
    if ((first & 0x70) != 0 && !(setting->deflate && is_message && (first & 0x70) == 0x40))
        return false;
    if (h->masked == setting->from_server || !h->shortest)
        return false;
    if (h->opcode & 8)
        return h->opcode <= 10 && h->final && h->size <= 125;
    return h->opcode <= 2 && (h->opcode == 0) == continues;
}

static void read_naively(const uint8_t *b, size_t len, const struct setting *setting,
                         struct outcome *out) {
    static char message[16384];
    size_t have = 0, fragments = 0, empty = 0;
    unsigned message_opcode = 0, code = 0;
    bool compressed = false;
    struct header h;
    out->count = out->used = 0;
    while (read_header(b, len, &h)) {
        bool control = h.opcode & 8;
        if (!is_allowed(&h, b[0], setting, message_opcode != 0))
            code = 1002;
        if (code == 0 && !control) {
            if (h.opcode != 0) {
                have = fragments = empty = 0;
                compressed = b[0] & 0x40;
            }
            fragments++;
            empty += h.size == 0;
            bool is_fragment = h.opcode == 0 || !h.final;
            if (h.size > most_bytes(setting, compressed) - have)
                code = 1009;
            else if (is_fragment &&
                     (fragments > setting->limits.fragments || empty > FRAME_EMPTY_MAX))
                code = 1008;
        }
        if (code != 0)
            break;
        if (!control && h.opcode != 0)
            message_opcode = h.opcode;
        if (len - h.bytes < h.size)
            return;
        char bytes[125], *to = control ? bytes : message + have;
        for (size_t i = 0; i < h.size; i++)
            to[i] = (char)(b[h.bytes + i] ^ (h.masked ? b[h.bytes - 4 + i % 4] : 0));
        b += h.bytes + h.size;
        len -= h.bytes + (size_t)h.size;
        if (control) {
            note(out,
                 h.opcode == 8   ? FRAME_CLOSE
                 : h.opcode == 9 ? FRAME_PING
                                 : FRAME_PONG,
                 bytes, (size_t)h.size);
            continue;
        }
        have += (size_t)h.size;
        if (h.final) {
            enum frame_kind text = compressed ? FRAME_COMPRESSED_TEXT : FRAME_TEXT;
            enum frame_kind binary = compressed ? FRAME_COMPRESSED_BINARY : FRAME_BINARY;
            note(out, message_opcode == 1 ? text : binary, message, have);
            message_opcode = 0;
            have = 0;
        }
    }
    if (code != 0) {
        note(out, FRAME_ERROR, "", 0);
        out->events[out->count - 1].code = code;
    }
}

static void check_equal(const struct outcome *a, const struct outcome *b) {
    fuzz_check(a->count == b->count);
    for (size_t i = 0; i < a->count; i++) {
        const struct event *one = &a->events[i], *other = &b->events[i];
        fuzz_check(one->kind == other->kind && one->len == other->len);
        fuzz_check(one->code == other->code && one->is_ascii == other->is_ascii);
        fuzz_check(memcmp(a->bytes + one->at, b->bytes + other->at, one->len) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct outcome whole, parts, naive;
    struct fuzz_input input = {data, size};
    struct fuzz_pieces pieces = fuzz_pieces_of(&input);
    unsigned flags = fuzz_byte(&input);
    struct setting setting = {.from_server = flags & 1, .deflate = flags & 2};
    setting.limits.bytes = fuzz_byte(&input) * 4;
    setting.limits.fragments = 1 + fuzz_byte(&input);
    if (input.left > sizeof whole.bytes)
        return 0;
    read_pieces(input.at, input.left, &setting, (struct fuzz_pieces){0}, &whole);
    read_pieces(input.at, input.left, &setting, pieces, &parts);
    check_equal(&whole, &parts);
    read_naively(input.at, input.left, &setting, &naive);
    check_equal(&whole, &naive);
    return 0;
}
