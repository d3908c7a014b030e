/* frame_reader.h -- reads WebSocket frames (RFC 6455 section 5) from bytes as they arrive.
 *
 * The caller passes bytes and takes messages and control frames until the reader wants more bytes.
 * Joins fragments, returns control frames that come between them, unmasks payloads. Strict: a frame
 * that the RFC forbids is an error with its close code, and sizes are checked by the header before
 * payload is kept. Owns the memory of a message that did not arrive in one piece; knows no
 * sockets. */
#ifndef TIDEWIRE_CORE_FRAMES_FRAME_READER_H
#define TIDEWIRE_CORE_FRAMES_FRAME_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum frame_kind {
    FRAME_MORE,   /* all bytes are read: pass more */
    FRAME_TEXT,   /* a whole message; its UTF-8 is not checked */
    FRAME_BINARY, /* a whole message */
    FRAME_PING,
    FRAME_PONG,
    FRAME_CLOSE, /* its payload is empty, or a code and a reason (frame_reader_close_valid) */
    FRAME_ERROR, /* the bytes cannot be read any further: close with `code` and `why` */
    FRAME_COMPRESSED_TEXT, /* a whole message, as it came: not decompressed */
    FRAME_COMPRESSED_BINARY,
};

/* Limits on one message. The header of a frame that is over one is an error. A compressed message
 * may have some bytes more: deflate adds to what it cannot compress. */
struct frame_limits {
    size_t bytes;       /* of its payload; else CLOSE_TOO_BIG */
    uint32_t fragments; /* its frames; else CLOSE_POLICY */
};

/* Frames of one message that may have no payload: else a message could grow forever. */
enum { FRAME_EMPTY_MAX = 1024 };

/* All zeros is the reader of a new connection. */
struct frame_reader {
    bool from_server; /* set it first: the frames are a server's, which must not be masked */
    /* private to frame_reader.c */
    unsigned char header[14];
    uint8_t header_len;     /* bytes of a header that is not whole */
    uint8_t opcode;         /* of the frame whose payload is read */
    uint8_t message_opcode; /* of the message that is not whole; 0: none */
    bool in_payload;        /* the header of a frame is read, its payload is not */
    bool final;             /* that frame is the last of its message */
    uint8_t mask[4];
    uint32_t mask_at;           /* bytes of the frame that are unmasked, modulo 4 */
    uint32_t fragments;         /* frames of the message so far, where it has more than one */
    uint32_t empty;             /* those of them without payload */
    uint32_t messages;          /* whole ones so far */
    struct frame_limits limits; /* of such a message, as they were when it began */
    uint64_t remaining;         /* payload bytes of the frame that are not read */
    char *kept;                 /* payload of a message that did not arrive in one piece */
    size_t kept_len, kept_capacity;
    char *control; /* the same of a control frame; CONTROL_MAX bytes */
    uint8_t control_len;
    bool kept_other; /* `kept` has bytes that are not ASCII */
    bool given;      /* the last payload that was returned is in `kept` or `control` */
    bool deflate;    /* set it first: messages may be compressed, by permessage-deflate */
};

struct frame {
    char *payload; /* valid until the next call */
    size_t len;
    bool is_ascii;   /* of a message: it is, so its UTF-8 is valid */
    unsigned code;   /* of FRAME_ERROR */
    const char *why; /* of FRAME_ERROR: a sentence of CLOSE_REASON_MAX bytes at most; a constant */
};

/* Reads from *bytes, at most *len, and moves both behind what it has read. Changes the bytes
 * (unmasks them). `limits` are for messages that begin; a message that has begun keeps its own. */
enum frame_kind frame_reader_next(struct frame_reader *reader, char **bytes, size_t *len,
                                  const struct frame_limits *limits, struct frame *out);

/* The same, for all callers but ws.c: see frame_reader.c. */
enum frame_kind frame_reader_next_cold(struct frame_reader *reader, char **bytes, size_t *len,
                                       const struct frame_limits *limits, struct frame *out);

/* Frees the memory of the last payload, which is invalid from then on. */
void frame_reader_forget(struct frame_reader *reader);

/* A number for the frame or message that has begun and is not whole, another one for each message;
 * 0: none has begun. */
static inline uint32_t frame_reader_unfinished(const struct frame_reader *reader) {
    bool begun = reader->message_opcode != 0 || reader->in_payload || reader->header_len > 0;
    return begun ? reader->messages * 2 + 1 : 0;
}

/* Bytes of memory that the reader has for messages. */
static inline size_t frame_reader_held(const struct frame_reader *reader) {
    return reader->kept_capacity;
}

/* Frees the reader's memory and makes it all zeros. */
void frame_reader_reset(struct frame_reader *reader);

/* Is this the payload of a valid Close frame (RFC 6455 sections 5.5.1, 7.4)? Sets its code
 * (CLOSE_NO_STATUS without one) and its reason, which points into the payload. */
bool frame_reader_close_valid(const char *payload, size_t len, unsigned *code, const char **reason,
                              size_t *reason_len);

#endif
