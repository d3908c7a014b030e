/* frame_reader.c -- reads WebSocket frames. See frame_reader.h.
 *
 * The common case, a small frame that is whole in the bytes at hand, is returned in place without
 * copying. All other payload is copied to `kept`, which grows with the bytes that have arrived,
 * never with the length in a header.
 *
 * A reserved bit is an error, but for RSV1 of the first frame of a message where permessage-deflate
 * was negotiated (RFC 7692 section 6): such a message is returned as it came, and the caller
 * decompresses it. */
#include "core/frames/frame_reader.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "core/frames/close_codes.h"
#include "core/frames/opcodes.h"

#include <string.h>

/* The header of a masked frame of up to 125 bytes. */
enum { MASKED_HEADER = 6 };

static enum frame_kind fail(struct frame *out, unsigned code, const char *why) {
    out->code = code;
    out->why = why;
    return FRAME_ERROR;
}

/* GCC and Clang make vector instructions of it where the processor has them. */
typedef uint64_t block __attribute__((vector_size(16)));

static inline block unmask_block(char *bytes, block mask) {
    block b;
    memcpy(&b, bytes, sizeof b);
    b ^= mask;
    memcpy(bytes, &b, sizeof b);
    return b;
}

/* RFC 6455 section 5.3. `at` is the offset of `bytes` in the frame's payload, modulo 4. True: the
 * payload is ASCII. */
static bool unmask(char *bytes, size_t len, const uint8_t mask[4], uint32_t at) {
    uint32_t narrow;
    if ((at & 3) == 0) {
        memcpy(&narrow, mask, sizeof narrow);
    } else {
        const uint8_t turned[4] = {mask[at & 3], mask[(at + 1) & 3], mask[(at + 2) & 3],
                                   mask[(at + 3) & 3]};
        memcpy(&narrow, turned, sizeof narrow);
    }
    const uint64_t wide = narrow | (uint64_t)narrow << 32;
    const block twice = {wide, wide};
    block blocks = {0, 0}; /* all bits of the blocks */
    size_t i = 0;
    for (; i + 64 <= len; i += 64)
        blocks |= unmask_block(bytes + i, twice) | unmask_block(bytes + i + 16, twice) |
                  unmask_block(bytes + i + 32, twice) | unmask_block(bytes + i + 48, twice);
    for (; i + 16 <= len; i += 16)
        blocks |= unmask_block(bytes + i, twice);
    uint64_t seen = blocks[0] | blocks[1];
    if (i + 8 <= len) {
        uint64_t word;
        memcpy(&word, bytes + i, sizeof word);
        word ^= wide;
        seen |= word;
        memcpy(bytes + i, &word, sizeof word);
        i += 8;
    }
    if (i + 4 <= len) {
        uint32_t half;
        memcpy(&half, bytes + i, sizeof half);
        half ^= narrow;
        seen |= half;
        memcpy(bytes + i, &half, sizeof half);
        i += 4;
    }
    for (const uint8_t *turned = (const uint8_t *)&narrow; i < len; i++) {
        bytes[i] = (char)((uint8_t)bytes[i] ^ turned[i & 3]);
        seen |= (uint8_t)bytes[i];
    }
    return (seen & UINT64_C(0x8080808080808080)) == 0;
}

/* The size of a header by its first two bytes. One without a mask is shorter; enter() refuses it.
 */
static size_t header_size(const unsigned char *header) {
    unsigned len = header[1] & 0x7f, mask = header[1] & 0x80 ? 4 : 0;
    return 2u + mask + (len == 126 ? 2 : len == 127 ? 8 : 0);
}

static bool is_control(uint8_t opcode) {
    return opcode >= OPCODE_CLOSE;
}

/* The length of the payload. Sets *why when it is invalid. */
static uint64_t payload_size(const unsigned char *header, const char **why) {
    uint64_t len = header[1] & 0x7f;
    if (len < 126)
        return len;
    int bytes = len == 126 ? 2 : 8;
    len = 0;
    for (int i = 0; i < bytes; i++)
        len = len << 8 | header[2 + i];
    if (len >> 63)
        *why = "length with its highest bit set";
    else if (len < 126 || (bytes == 8 && len < 65536))
        *why = "length not in its shortest form";
    return len;
}

/* A header with reserved bits: does a compressed message begin with it? Its limits, in *wider,
 * allow the eighth that deflate adds at most to what it cannot compress (zlib's deflateBound()). */
static bool begins_compressed(const struct frame_reader *r, const unsigned char *header,
                              const struct frame_limits **limits, struct frame_limits *wider) {
    if (!r->deflate || (header[0] & 0x70) != OPCODE_COMPRESSED ||
        (r->opcode != OPCODE_TEXT && r->opcode != OPCODE_BINARY))
        return false;
    *wider = **limits;
    wider->bytes += wider->bytes / 8 + 64;
    *limits = wider;
    return true;
}

/* False: the message has too many frames. */
static bool count_fragment(struct frame_reader *r, uint64_t len) {
    r->empty += len == 0;
    return ++r->fragments <= r->limits.fragments && r->empty <= FRAME_EMPTY_MAX;
}

/* Checks a whole header of `size` bytes and begins its payload. FRAME_MORE: it is valid. */
static enum frame_kind enter(struct frame_reader *r, const unsigned char *header, size_t size,
                             const struct frame_limits *limits, struct frame *out) {
    const char *why = NULL;
    struct frame_limits compressed;
    uint64_t len = payload_size(header, &why);
    r->opcode = header[0] & 0x0f;
    r->final = (header[0] & 0x80) != 0;
    if (header[0] & 0x70 && !begins_compressed(r, header, &limits, &compressed))
        why = r->deflate ? "reserved bit set" : "reserved bit set without an extension";
    else if (r->from_server == ((header[1] & 0x80) != 0)) /* RFC 6455 section 5.1 */
        why = r->from_server ? "frame from a server with a mask"
                             : "frame from a client without a mask";
    else if ((r->opcode > OPCODE_BINARY && r->opcode < OPCODE_CLOSE) || r->opcode > OPCODE_PONG)
        why = "unknown opcode";
    else if (is_control(r->opcode) && !r->final)
        why = "control frame in fragments";
    else if (is_control(r->opcode) && len > CONTROL_MAX)
        why = "control frame of more than 125 bytes";
    else if (r->opcode == OPCODE_CONTINUATION && r->message_opcode == 0)
        why = "continuation of no message";
    else if (!is_control(r->opcode) && r->opcode != OPCODE_CONTINUATION && r->message_opcode != 0)
        why = "new message inside a fragmented one";
    if (why != NULL)
        return fail(out, CLOSE_PROTOCOL, why);
    if (!is_control(r->opcode)) {
        bool begins = r->opcode != OPCODE_CONTINUATION;
        if (begins)
            r->message_opcode = header[0] & (OPCODE_COMPRESSED | 0x0f);
        if (begins && !r->final)
            r->limits = *limits;
        if (!begins)
            limits = &r->limits;
        if (len > limits->bytes || r->kept_len > limits->bytes - len)
            return fail(out, CLOSE_TOO_BIG, "message too big");
        if (!mem_has((size_t)len + r->kept_len))
            return fail(out, CLOSE_TRY_LATER, "the server has no memory for this message");
        if (!(begins && r->final) && !count_fragment(r, len))
            return fail(out, CLOSE_POLICY, "too many fragments");
    }
    if (!r->from_server) /* the mask of others is zeros, which change nothing */
        memcpy(r->mask, header + size - 4, 4);
    r->mask_at = 0;
    r->remaining = len;
    r->in_payload = true;
    return FRAME_MORE;
}

static enum frame_kind control_kind(uint8_t opcode) {
    return opcode == OPCODE_CLOSE ? FRAME_CLOSE : opcode == OPCODE_PING ? FRAME_PING : FRAME_PONG;
}

static void keep(struct frame_reader *r, const char *bytes, size_t len, bool is_ascii) {
    if (len == 0)
        return;
    r->kept_other = r->kept_other || !is_ascii;
    if (r->kept_len + len > r->kept_capacity) {
        size_t wanted = (r->kept_len + len) * 2;
        if (!r->final && wanted > r->limits.bytes)
            wanted = r->limits.bytes;
        /* the last frame of a message says how many bytes are still to come */
        if (r->final && wanted > r->kept_len + r->remaining)
            wanted = r->kept_len + (size_t)r->remaining;
        r->kept = mem_realloc(r->kept, wanted);
        r->kept_capacity = wanted;
    }
    memcpy(r->kept + r->kept_len, bytes, len);
    r->kept_len += len;
}

/* Keeps payload of a control frame that arrives in pieces. */
static void keep_control(struct frame_reader *r, const char *bytes, size_t len) {
    if (r->control == NULL)
        r->control = mem_alloc(CONTROL_MAX);
    memcpy(r->control + r->control_len, bytes, len);
    r->control_len = (uint8_t)(r->control_len + len);
}

static enum frame_kind give_message(struct frame_reader *r, uint8_t opcode, char *payload,
                                    size_t len, struct frame *out) {
    r->messages++;
    out->payload = payload;
    out->len = len;
    return opcode == OPCODE_TEXT ? FRAME_TEXT : FRAME_BINARY;
}

static enum frame_kind give_any_message(struct frame_reader *r, uint8_t opcode, char *payload,
                                        size_t len, struct frame *out) {
    enum frame_kind kind = give_message(r, opcode & 0x0f, payload, len, out);
    if (opcode & OPCODE_COMPRESSED)
        kind = kind == FRAME_TEXT ? FRAME_COMPRESSED_TEXT : FRAME_COMPRESSED_BINARY;
    return kind;
}

/* The payload of the frame is whole. FRAME_MORE: the message goes on. */
static enum frame_kind leave(struct frame_reader *r, char *payload, size_t len, struct frame *out) {
    r->in_payload = false;
    if (is_control(r->opcode)) {
        out->payload = payload;
        out->len = len;
        return control_kind(r->opcode);
    }
    if (!r->final)
        return FRAME_MORE;
    if (r->fragments > 0)
        r->fragments = r->empty = 0;
    uint8_t opcode = r->message_opcode;
    r->message_opcode = 0;
    return give_any_message(r, opcode, payload, len, out);
}

/* Reads payload of the frame. FRAME_MORE: it is not whole, or its message goes on. */
static enum frame_kind take_payload(struct frame_reader *r, char **bytes, size_t *len,
                                    struct frame *out) {
    size_t n = *len < r->remaining ? *len : (size_t)r->remaining;
    char *piece = *bytes;
    bool whole = n == r->remaining && r->mask_at == 0; /* all of it is in *bytes */
    bool is_ascii = unmask(piece, n, r->mask, r->mask_at);
    *bytes += n;
    *len -= n;
    bool control = is_control(r->opcode);
    if (whole && (control ? r->control_len == 0 : r->final && r->kept_len == 0)) {
        r->remaining = 0;
        out->is_ascii = is_ascii;
        return leave(r, piece, n, out);
    }
    if (control)
        keep_control(r, piece, n);
    else
        keep(r, piece, n, is_ascii);
    r->mask_at = (r->mask_at + (uint32_t)n) & 3;
    r->remaining -= n;
    if (r->remaining > 0)
        return FRAME_MORE;
    r->given = control || r->final;
    out->is_ascii = !r->kept_other;
    return control ? leave(r, r->control, r->control_len, out)
                   : leave(r, r->kept, r->kept_len, out);
}

void frame_reader_forget(struct frame_reader *r) {
    if (!r->given)
        return;
    r->given = false;
    if (r->control != NULL && r->control_len > 0) {
        mem_free(r->control);
        r->control = NULL;
        r->control_len = 0;
    }
    if (r->message_opcode == 0) {
        mem_free(r->kept);
        r->kept = NULL;
        r->kept_len = r->kept_capacity = 0;
        r->kept_other = false;
    }
}

/* Reads a header, or as much of it as has arrived. Returns its size and sets *header when it is
 * whole; else 0. */
static size_t take_header(struct frame_reader *r, char **bytes, size_t *len,
                          const unsigned char **header) {
    const unsigned char *here = (const unsigned char *)*bytes;
    size_t size = r->header_len == 0 && *len >= 2 ? header_size(here) : SIZE_MAX;
    if (*len >= size) {
        *header = here;
        *bytes += size;
        *len -= size;
        return size;
    }
    while (*len > 0) {
        r->header[r->header_len++] = (unsigned char)**bytes;
        ++*bytes;
        --*len;
        if (r->header_len >= 2 && r->header_len == header_size(r->header)) {
            size = r->header_len;
            r->header_len = 0;
            *header = r->header;
            return size;
        }
    }
    return 0;
}

/* Most messages are one frame of less than 64 KiB that is whole in the bytes at hand. Such a frame
 * leaves no state. FRAME_MORE: this is another one, or an error, and nothing was read. */
static inline enum frame_kind take_simple(struct frame_reader *r, char **bytes, size_t *len,
                                          const struct frame_limits *limits, struct frame *out) {
    const uint8_t *start = (const uint8_t *)*bytes;
    size_t header = MASKED_HEADER;
    if (*len < header || r->in_payload || r->header_len > 0 || r->message_opcode != 0 ||
        r->from_server || (start[0] != (0x80 | OPCODE_TEXT) && start[0] != (0x80 | OPCODE_BINARY)))
        return FRAME_MORE;
    size_t size = start[1] ^ 0x80u; /* above 127: it has no mask */
    if (size == 126) {
        header += 2;
        size = (size_t)start[2] << 8 | start[3];
        if (size < 126 || *len < header)
            return FRAME_MORE;
    } else if (size > 126) {
        return FRAME_MORE;
    }
    if (size > *len - header || size > limits->bytes)
        return FRAME_MORE;
    char *payload = *bytes + header;
    *bytes = payload + size;
    *len -= header + size;
    out->is_ascii = unmask(payload, size, start + header - 4, 0);
    return give_message(r, start[0] & 0x0f, payload, size, out);
}

static inline enum frame_kind next(struct frame_reader *reader, char **bytes, size_t *len,
                                   const struct frame_limits *limits, struct frame *out) {
    if (reader->given)
        frame_reader_forget(reader);
    enum frame_kind kind = take_simple(reader, bytes, len, limits, out);
    if (kind != FRAME_MORE)
        return kind;
    for (;;) {
        if (!reader->in_payload) {
            const unsigned char *header;
            size_t size = take_header(reader, bytes, len, &header);
            if (size == 0)
                return FRAME_MORE;
            kind = enter(reader, header, size, limits, out);
            if (kind == FRAME_ERROR)
                return kind;
        }
        if (*len == 0 && reader->remaining > 0)
            return FRAME_MORE;
        kind = take_payload(reader, bytes, len, out);
        if (kind != FRAME_MORE)
            return kind;
    }
}

/* The only caller is the loop in ws.c: so the compiler puts all of it into that loop, which saves
 * 70 instructions a message. Others call frame_reader_next_cold(). */
__attribute__((flatten)) enum frame_kind frame_reader_next(struct frame_reader *reader,
                                                           char **bytes, size_t *len,
                                                           const struct frame_limits *limits,
                                                           struct frame *out) {
    return next(reader, bytes, len, limits, out);
}

enum frame_kind frame_reader_next_cold(struct frame_reader *reader, char **bytes, size_t *len,
                                       const struct frame_limits *limits, struct frame *out) {
    return next(reader, bytes, len, limits, out);
}

void frame_reader_reset(struct frame_reader *reader) {
    mem_free(reader->kept);
    mem_free(reader->control);
    memset(reader, 0, sizeof *reader);
}

bool frame_reader_close_valid(const char *payload, size_t len, unsigned *code, const char **reason,
                              size_t *reason_len) {
    *code = CLOSE_NO_STATUS;
    *reason = NULL;
    *reason_len = 0;
    if (len == 0)
        return true;
    if (len == 1)
        return false;
    unsigned sent = (unsigned)(uint8_t)payload[0] << 8 | (uint8_t)payload[1];
    if (!close_code_is_valid(sent) || !utf8_valid(payload + 2, len - 2))
        return false;
    *code = sent;
    *reason = payload + 2;
    *reason_len = len - 2;
    return true;
}
