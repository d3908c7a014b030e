/* compression.h -- what a handshake has agreed on for permessage-deflate (RFC 7692 section 7.1).
 *
 * A plain value. The server's side of each parameter is ours: how we compress; the client's side is
 * how we decompress. */
#ifndef TIDEWIRE_CORE_FRAMES_COMPRESSION_H
#define TIDEWIRE_CORE_FRAMES_COMPRESSION_H

#include <stdbool.h>
#include <stdint.h>

/* The LZ77 windows of the RFC, as exponents of two. zlib compresses with 9 or more. */
enum { COMPRESSION_BITS_MIN = 8, COMPRESSION_BITS_MAX = 15, COMPRESSION_ZLIB_BITS_MIN = 9 };

/* The four bytes that end a compressed message and are not sent (RFC 7692 section 7.2.1). */
enum { COMPRESSION_TAIL_BYTES = 4 };
#define COMPRESSION_TAIL "\x00\x00\xff\xff"

struct compression {
    uint8_t server_bits; /* the largest window that we may use: 9 to 15; 0: not agreed on */
    uint8_t client_bits; /* the largest that the client may use: 8 to 15 */
    bool server_context; /* our window is kept from one message to the next */
    bool client_context; /* the client's is */
};

#endif
