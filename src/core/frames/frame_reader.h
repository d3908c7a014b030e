/* frame_reader.h -- reads WebSocket frames (RFC 6455 section 5) from bytes as they come.
 *
 * Pull style: give it bytes, take items until it wants more. Fragments are put together, control
 * frames between them come out on their own, payloads come out unmasked. Strict: what the RFC
 * forbids a client to send is an error with its close code, sizes are judged from the header before
 * payload is kept. Owns the memory of a message that did not arrive in one piece; knows no sockets.
 * */
#ifndef TIDEWIRE_CORE_FRAMES_FRAME_READER_H
#define TIDEWIRE_CORE_FRAMES_FRAME_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum frame_kind {
    FRAME_MORE,   /* all bytes are consumed: come back with more */
    FRAME_TEXT,   /* a whole message; not yet known to be UTF-8 */
    FRAME_BINARY, /* a whole message */
    FRAME_PING,
    FRAME_PONG,
    FRAME_CLOSE, /* payload: nothing, or a code and a reason (frame_reader_close_valid) */
    FRAME_ERROR, /* nothing more can be read: close with `code` and `why` */
};

/* What one message may be. More is an error that a frame's header tells. */
struct frame_limits {
    size_t bytes;       /* of its payload: CLOSE_TOO_BIG */
    uint32_t fragments; /* frames: CLOSE_POLICY */
};

/* Of these frames so many may be without payload: endless empty ones are no message. */
enum { FRAME_EMPTY_MAX = 1024 };

/* All zeros is a reader at the beginning of a connection. */
struct frame_reader {
    bool from_server; /* what a server says is read: it must not be masked; set it first */
    /* private to frame_reader.c */
    unsigned char header[14];
    uint8_t header_len;
    uint8_t opcode;         /* of the frame whose payload is being read */
    uint8_t message_opcode; /* of the message being put together; 0: none */
    bool in_payload, final;
    uint8_t mask[4];
    uint32_t mask_at;           /* how far the frame's payload has been unmasked, modulo 4 */
    uint32_t fragments;         /* frames of the message so far, where it has more than one */
    uint32_t empty;             /* of them, those without payload */
    uint32_t messages;          /* whole ones so far */
    struct frame_limits limits; /* of such a message: what was allowed when it began */
    uint64_t remaining;         /* payload bytes of the frame still to come */
    char *kept;                 /* of a message or control frame that did not come in one piece */
    size_t kept_len, kept_capacity;
    char *control; /* the same for a control frame; at most CONTROL_MAX bytes */
    uint8_t control_len;
    bool given; /* the last item points into `kept` or `control` */
};

struct frame {
    char *payload; /* valid until the next call */
    size_t len;
    unsigned code;   /* FRAME_ERROR */
    const char *why; /* FRAME_ERROR: a constant sentence of CLOSE_REASON_MAX bytes at most */
};

/* Reads from *bytes, at most *len, and moves both past what it took. The bytes are changed
 * (unmasked). `limits` are those of messages that begin; one that has begun keeps its own. */
enum frame_kind frame_reader_next(struct frame_reader *reader, char **bytes, size_t *len,
                                  const struct frame_limits *limits, struct frame *out);

/* The same, for all but ws.c: see frame_reader.c. */
enum frame_kind frame_reader_next_cold(struct frame_reader *reader, char **bytes, size_t *len,
                                       const struct frame_limits *limits, struct frame *out);

/* Releases the memory of the last item, whose payload is not valid any more. */
void frame_reader_forget(struct frame_reader *reader);

/* Has a frame or a message begun that is not whole? Then a number, another one for each message;
 * else 0. */
static inline uint32_t frame_reader_unfinished(const struct frame_reader *reader) {
    bool begun = reader->message_opcode != 0 || reader->in_payload || reader->header_len > 0;
    return begun ? reader->messages * 2 + 1 : 0;
}

/* Bytes of memory that the reader holds. */
static inline size_t frame_reader_held(const struct frame_reader *reader) {
    return reader->kept_capacity;
}

/* Releases what the reader holds; it is as new. */
void frame_reader_reset(struct frame_reader *reader);

/* Is this the payload of a Close frame that may be sent (RFC 6455 sections 5.5.1, 7.4)? Puts its
 * code (CLOSE_NO_STATUS where it has none) and the reason's place into the pointers. */
bool frame_reader_close_valid(const char *payload, size_t len, unsigned *code, const char **reason,
                              size_t *reason_len);

#endif
