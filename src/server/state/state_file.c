/* state_file.c -- the form of a state file, and its reader. See state_file.h. */
#include "server/state/state_file.h"

#include "base/mem.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { CRC_AT = 12, BLOCK_BYTES = 64 * 1024, MOST_AT_ONCE = 1 << 30 };

/* ---- numbers ---- */

static uint64_t get(const char *bytes, size_t len) {
    uint64_t number = 0;
    for (size_t i = 0; i < len; i++)
        number |= (uint64_t)(unsigned char)bytes[i] << (8 * i);
    return number;
}

static void put(unsigned char *bytes, size_t len, uint64_t number) {
    for (size_t i = 0; i < len; i++)
        bytes[i] = (unsigned char)(number >> (8 * i));
}

uint32_t state_file_crc(uint32_t crc, const void *bytes, size_t len) {
    const unsigned char *at = bytes;
    while (len > 0) {
        size_t some = len < MOST_AT_ONCE ? len : MOST_AT_ONCE;
        crc = (uint32_t)crc32(crc, at, (uInt)some);
        at += some;
        len -= some;
    }
    return crc;
}

void state_file_header(unsigned char header[STATE_HEADER_BYTES], uint64_t len,
                       uint64_t written_ms) {
    memcpy(header, STATE_MAGIC, 8);
    put(header + 8, 4, STATE_VERSION);
    put(header + 12, 4, 0);
    put(header + 16, 8, len);
    put(header + 24, 8, written_ms);
}

void state_file_section(unsigned char header[STATE_SECTION_BYTES], uint32_t type, uint64_t len) {
    put(header, 4, type);
    put(header + 4, 4, 0);
    put(header + 8, 8, len);
}

void state_file_set_crc(unsigned char header[STATE_HEADER_BYTES], uint32_t crc, uint64_t len) {
    uint32_t first = state_file_crc(0, header + CRC_AT + 4, STATE_HEADER_BYTES - CRC_AT - 4);
    put(header + CRC_AT, 4, crc32_combine(first, crc, (z_off_t)(len - STATE_HEADER_BYTES)));
}

/* ---- parsing ---- */

/* The bytes of the file from its first 32 on are whole. */
static bool check_header(struct slice bytes, const struct error_text *problem) {
    size_t some = bytes.len < 8 ? bytes.len : 8;
    if (bytes.len == 0)
        return error_text_fail(problem, "it is empty");
    if (memcmp(bytes.bytes, STATE_MAGIC, some) != 0)
        return error_text_fail(problem, "it is no state file of Tidewire");
    if (bytes.len < STATE_HEADER_BYTES)
        return error_text_fail(problem, "it is truncated: it has %zu bytes", bytes.len);
    uint64_t version = get(bytes.bytes + 8, 4), len = get(bytes.bytes + 16, 8);
    if (version != STATE_VERSION)
        return error_text_fail(problem, "it is of version %llu, and this program reads version %d",
                               (unsigned long long)version, STATE_VERSION);
    if (len > bytes.len)
        return error_text_fail(problem, "it is truncated: it has %zu of %llu bytes", bytes.len,
                               (unsigned long long)len);
    if (len != bytes.len)
        return error_text_fail(problem, "it is damaged: it has %zu bytes, and should have %llu",
                               bytes.len, (unsigned long long)len);
    return true;
}

bool state_file_next(const struct state_file *file, size_t *at, uint32_t *type,
                     struct slice *body) {
    const char *bytes = file->bytes.bytes;
    if (*at == 0)
        *at = STATE_HEADER_BYTES;
    size_t left = file->bytes.len - *at;
    if (left < STATE_SECTION_BYTES || get(bytes + *at + 8, 8) > left - STATE_SECTION_BYTES)
        return false;
    *type = (uint32_t)get(bytes + *at, 4);
    *body = (struct slice){bytes + *at + STATE_SECTION_BYTES, (size_t)get(bytes + *at + 8, 8)};
    *at += STATE_SECTION_BYTES + body->len;
    return true;
}

/* All but the CRC. */
static bool parse(struct slice bytes, bool (*check)(uint32_t type, struct slice body),
                  struct state_file *file, const struct error_text *problem) {
    size_t at = 0;
    uint32_t type;
    struct slice body;
    *file = (struct state_file){bytes, get(bytes.bytes + 24, 8)};
    while (state_file_next(file, &at, &type, &body))
        if (!check(type, body))
            return error_text_fail(problem, "it is damaged: a section of type %u cannot be read",
                                   type);
    if (at != bytes.len && bytes.len != STATE_HEADER_BYTES)
        return error_text_fail(problem, "it is damaged: its sections do not fill it");
    return true;
}

static const char wrong_crc[] = "it is damaged: its checksum is wrong";

bool state_file_parse(struct slice bytes, bool (*check)(uint32_t type, struct slice body),
                      struct state_file *file, const struct error_text *problem) {
    if (!check_header(bytes, problem))
        return false;
    if (state_file_crc(0, bytes.bytes + CRC_AT + 4, bytes.len - CRC_AT - 4) !=
        get(bytes.bytes + CRC_AT, 4))
        return error_text_fail(problem, wrong_crc);
    return parse(bytes, check, file, problem);
}

/* ---- reading ---- */

/* Reads the whole file once, so that an error of the disk is found before the mapping is used. */
static bool check_crc(int fd, uint32_t expected, const struct error_text *problem) {
    char *block = mem_alloc(BLOCK_BYTES);
    off_t at = CRC_AT + 4;
    uint32_t crc = 0;
    ssize_t len;
    while ((len = pread(fd, block, BLOCK_BYTES, at)) > 0 || (len < 0 && errno == EINTR)) {
        if (len < 0)
            continue;
        crc = state_file_crc(crc, block, (size_t)len);
        at += len;
    }
    int why = errno;
    mem_free(block);
    if (len < 0)
        return error_text_fail(problem, "it cannot be read: %s", strerror(why));
    return crc == expected || error_text_fail(problem, wrong_crc);
}

bool state_file_read(int fd, bool (*check)(uint32_t type, struct slice body),
                     struct state_file *file, const struct error_text *problem) {
    struct stat info;
    *file = (struct state_file){0};
    if (fstat(fd, &info) != 0)
        return error_text_fail(problem, "it cannot be read: %s", strerror(errno));
    size_t len = (size_t)info.st_size;
    void *bytes = len == 0 ? NULL : mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        return error_text_fail(problem, "it cannot be read: %s", strerror(errno));
    struct slice all = {bytes, len};
    if (check_header(all, problem) &&
        check_crc(fd, (uint32_t)get(all.bytes + CRC_AT, 4), problem) &&
        parse(all, check, file, problem))
        return true;
    if (bytes != NULL)
        munmap(bytes, len);
    *file = (struct state_file){0};
    return false;
}

void state_file_close(struct state_file *file) {
    if (file->bytes.bytes != NULL)
        munmap((void *)(uintptr_t)file->bytes.bytes, file->bytes.len);
    *file = (struct state_file){0};
}
