/* state_file.h -- the form of a state file, and its reader.
 *
 * All numbers have the lowest byte first:
 *
 *      0  8  STATE_MAGIC
 *      8  4  STATE_VERSION
 *     12  4  the CRC-32 of all that follows
 *     16  8  the length of the file
 *     24  8  when it was written: Unix time in ms
 *     32     sections: 4 bytes of type, 4 zeros, 8 bytes of length, and as many bytes
 *
 * A reader skips sections of types that it does not know. A section that changes its form gets
 * another type; the version changes when the frame does. Nothing here knows what sections hold. */
#ifndef TIDEWIRE_SERVER_STATE_STATE_FILE_H
#define TIDEWIRE_SERVER_STATE_STATE_FILE_H

#include "base/error_text.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STATE_MAGIC "TIDEWIRE"
enum { STATE_VERSION = 1, STATE_HEADER_BYTES = 32, STATE_SECTION_BYTES = 16 };

enum state_section {
    STATE_SHARED = 1, /* a store of tw.shared (shared_pack()) */
    STATE_KEEP = 2,   /* a table of tw.keep: the worker, the name, the value (plain_data.h) */
    /* A session: the hub's bytes (hub_session_save()), as a text; its fields, and the rest of its
     * object, as values. */
    STATE_SESSION = 3,
    STATE_ROOMS = 4, /* what the rooms remember (bus_memory_save()) */
};

/* A file that was read: its bytes, and when it was written. */
struct state_file {
    struct slice bytes;
    uint64_t written_ms;
};

/* Are the bytes a whole and undamaged file of this version? False, with what they are instead, as
 * in "it is truncated: …". `check` is asked about each section whose type it knows. */
bool state_file_parse(struct slice bytes, bool (*check)(uint32_t type, struct slice body),
                      struct state_file *file, const struct error_text *problem);
/* Takes the next section of a parsed file. `*at` is 0 before the first. False: there is none. */
bool state_file_next(const struct state_file *file, size_t *at, uint32_t *type, struct slice *body);

/* Reads the file of the descriptor, which stays the caller's. Its bytes are mapped, until
 * state_file_close(). False, with what is wrong. */
bool state_file_read(int fd, bool (*check)(uint32_t type, struct slice body),
                     struct state_file *file, const struct error_text *problem);
void state_file_close(struct state_file *file); /* accepts all zeros */

/* Writes the first bytes of a file. */
void state_file_header(unsigned char header[STATE_HEADER_BYTES], uint64_t len, uint64_t written_ms);
/* Writes the first bytes of a section; `len`: of what follows them. */
void state_file_section(unsigned char header[STATE_SECTION_BYTES], uint32_t type, uint64_t len);
/* Sets the CRC-32. `crc`: of the bytes from STATE_HEADER_BYTES on. */
void state_file_set_crc(unsigned char header[STATE_HEADER_BYTES], uint32_t crc, uint64_t len);
/* The CRC-32 of bytes, continued from that of the bytes before them; 0: there are none. */
uint32_t state_file_crc(uint32_t crc, const void *bytes, size_t len);

#endif
