/* opcodes.h -- the opcodes of WebSocket frames (RFC 6455 section 5.2). */
#ifndef TIDEWIRE_CORE_FRAMES_OPCODES_H
#define TIDEWIRE_CORE_FRAMES_OPCODES_H

enum opcode {
    OPCODE_CONTINUATION = 0,
    OPCODE_TEXT = 1,
    OPCODE_BINARY = 2,
    OPCODE_CLOSE = 8, /* from here: control frames */
    OPCODE_PING = 9,
    OPCODE_PONG = 10
};

/* Beside the opcode of a message: RSV1, which says that it is compressed (RFC 7692 section 6). */
enum { OPCODE_COMPRESSED = 0x40 };

/* Bytes of a control frame's payload at most (RFC 6455 section 5.5). */
enum { CONTROL_MAX = 125 };

#endif
