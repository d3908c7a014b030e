/* chunked.c -- decodes a request body in chunks. See chunked.h.
 *
 * A state machine over single bytes for all that is not data; data is moved at once. Line ends are
 * CRLF and nothing else: where two parsers disagree on a lone LF in a chunk extension, requests are
 * smuggled. */
#include "net/http/chunked.h"

#include "net/http/request.h"

#include <stdbool.h>
#include <string.h>

enum {
    MAX_DIGITS = 15,  /* of a chunk's size: keeps it below 2^60 */
    MAX_EXTRA = 16384 /* bytes of extensions and trailers in one body */
};

/* What the next byte is. */
enum chunk_state {
    SIZE_START,    /* the first digit of a chunk's size */
    IN_SIZE,       /* another digit, or the size's end */
    IN_EXTENSION,  /* of a chunk extension, behind the size */
    SIZE_LF,       /* the LF behind the size and its extensions */
    IN_DATA,       /* of the chunk's data */
    DATA_CR,       /* the CR behind the data */
    DATA_LF,       /* the LF behind the data */
    TRAILER_START, /* the first of a trailer field, or of the blank line */
    TRAILER_NAME,  /* of a trailer field's name, or its colon */
    TRAILER_VALUE, /* of a trailer field's value */
    TRAILER_LF,    /* the LF behind a trailer field */
    END_LF,        /* the LF of the blank line */
    DONE           /* of something else: the body has ended */
};

static int refuse(struct chunked *c, int status, const char *why) {
    c->error = why;
    return -status;
}

static bool is_text(unsigned char byte) {
    return byte == '\t' || (byte >= ' ' && byte != 0x7F);
}

/* Counts a byte of an extension or a trailer. */
static int count_extra(struct chunked *c) {
    if (++c->extra > MAX_EXTRA)
        return refuse(c, 431, "The body has too many chunk extensions or trailer fields.");
    return 0;
}

static int size_byte(struct chunked *c, unsigned char byte) {
    int value = request_hex_digit(byte);
    if (value >= 0) {
        if (c->digits == MAX_DIGITS)
            return refuse(c, 413, "A chunk of the body is too large.");
        c->digits++;
        c->remaining = c->remaining * 16 + (unsigned)value;
        c->state = IN_SIZE;
        return 0;
    }
    if (c->state == IN_SIZE && byte == '\r')
        c->state = SIZE_LF;
    else if (c->state == IN_SIZE && byte == ';')
        c->state = IN_EXTENSION;
    else
        return refuse(c, 400, "The size of a chunk is malformed.");
    return 0;
}

static int size_end(struct chunked *c, unsigned char byte, uint64_t max_body) {
    if (byte != '\n')
        return refuse(c, 400, "The line with a chunk's size does not end in CRLF.");
    c->digits = 0;
    if (c->remaining > max_body || c->total > max_body - c->remaining)
        return refuse(c, 413, "The body is too large.");
    c->total += c->remaining;
    c->state = c->remaining == 0 ? TRAILER_START : IN_DATA;
    return 0;
}

static int extension_byte(struct chunked *c, unsigned char byte) {
    if (byte == '\r')
        c->state = SIZE_LF;
    else if (!is_text(byte))
        return refuse(c, 400, "A chunk extension is malformed.");
    return count_extra(c);
}

static int trailer_byte(struct chunked *c, unsigned char byte) {
    if (c->state == TRAILER_START && byte == '\r')
        c->state = END_LF;
    else if (c->state == TRAILER_NAME && byte == ':')
        c->state = TRAILER_VALUE;
    else if (c->state == TRAILER_VALUE && byte == '\r')
        c->state = TRAILER_LF;
    else if (c->state == TRAILER_VALUE ? !is_text(byte) : !request_token_byte(byte))
        return refuse(c, 400, "A trailer field of the body is malformed.");
    else if (c->state == TRAILER_START)
        c->state = TRAILER_NAME;
    return count_extra(c);
}

static int expect_byte(struct chunked *c, unsigned char byte, unsigned char wanted,
                       enum chunk_state next) {
    if (byte != wanted)
        return refuse(c, 400, "A chunk does not end where its size says.");
    c->state = (uint8_t)next;
    return 0;
}

/* One byte that is not data; 0 or minus a status. */
static int frame_byte(struct chunked *c, unsigned char byte, uint64_t max_body) {
    switch ((enum chunk_state)c->state) {
    case SIZE_START:
    case IN_SIZE:
        return size_byte(c, byte);
    case IN_EXTENSION:
        return extension_byte(c, byte);
    case SIZE_LF:
        return size_end(c, byte, max_body);
    case DATA_CR:
        return expect_byte(c, byte, '\r', DATA_LF);
    case DATA_LF:
        return expect_byte(c, byte, '\n', SIZE_START);
    case TRAILER_START:
    case TRAILER_NAME:
    case TRAILER_VALUE:
        return trailer_byte(c, byte);
    case TRAILER_LF:
        return expect_byte(c, byte, '\n', TRAILER_START);
    case END_LF:
        return expect_byte(c, byte, '\n', DONE);
    case IN_DATA:
    case DONE:
        break;
    }
    return 0;
}

int chunked_decode(struct chunked *c, char *bytes, size_t len, uint64_t max_body, size_t *body,
                   size_t *used) {
    size_t in = 0, out = 0;
    while (in < len && c->state != DONE) {
        if (c->state == IN_DATA) {
            size_t n = len - in < c->remaining ? len - in : (size_t)c->remaining;
            memmove(bytes + out, bytes + in, n);
            in += n;
            out += n;
            c->remaining -= n;
            if (c->remaining == 0)
                c->state = DATA_CR;
            continue;
        }
        int status = frame_byte(c, (unsigned char)bytes[in], max_body);
        if (status != 0)
            return status;
        in++;
    }
    *body = out;
    *used = in;
    return c->state == DONE ? 1 : 0;
}
