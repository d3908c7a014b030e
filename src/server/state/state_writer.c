/* state_writer.c -- writes a state file. See state_writer.h.
 *
 * The length of a section is known at its end, and the checksum needs it: so at the end of the file
 * the writer reads back what it has written. */
#include "server/state/state_writer.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUFFER_BYTES = 64 * 1024 };

struct state_writer {
    struct sink sink; /* first: it is cast */
    char *file, *temporary;
    int fd;
    int error;          /* errno of the first call that has failed; 0: none */
    const char *failed; /* what it should have done */
    bool is_there;      /* FILE.tmp exists */
    uint64_t written_ms;
    uint64_t at;         /* bytes of the file, with those of the buffer */
    uint64_t section_at; /* where the section begins that is not ended */
    enum state_section section_type;
    size_t len; /* bytes of the buffer */
    char buffer[BUFFER_BYTES];
};

static void fail(struct state_writer *writer, const char *what) {
    if (writer->error != 0)
        return;
    writer->error = errno == 0 ? EIO : errno;
    writer->failed = what;
}

static const char cannot_write[] = "cannot write", cannot_create[] = "cannot create",
                  cannot_rename[] = "cannot rename", cannot_read[] = "cannot read";

static void write_at(struct state_writer *writer, const void *bytes, size_t len, uint64_t at) {
    const char *from = bytes;
    while (len > 0 && writer->error == 0) {
        ssize_t done = pwrite(writer->fd, from, len, (off_t)at);
        if (done <= 0 && errno != EINTR)
            fail(writer, cannot_write);
        if (done <= 0)
            continue;
        from += done;
        at += (uint64_t)done;
        len -= (size_t)done;
    }
}

static void flush(struct state_writer *writer) {
    write_at(writer, writer->buffer, writer->len, writer->at - writer->len);
    writer->len = 0;
}

static void add(struct sink *sink, const void *bytes, size_t len) {
    struct state_writer *writer = (struct state_writer *)sink;
    const char *from = bytes;
    if (writer->error != 0)
        return;
    writer->at += len;
    while (len > 0) {
        size_t room = BUFFER_BYTES - writer->len, some = len < room ? len : room;
        memcpy(writer->buffer + writer->len, from, some);
        writer->len += some;
        from += some;
        len -= some;
        if (writer->len == BUFFER_BYTES) {
            write_at(writer, writer->buffer, writer->len, writer->at - len - writer->len);
            writer->len = 0;
        }
    }
}

struct state_writer *state_writer_open(const char *file, uint64_t now_ms) {
    struct state_writer *writer = mem_zalloc(sizeof *writer);
    unsigned char header[STATE_HEADER_BYTES];
    writer->sink.write = add;
    writer->file = mem_strdup(file);
    writer->temporary = mem_concat(file, ".tmp");
    writer->written_ms = now_ms;
    unlink(writer->temporary);
    writer->fd = open(writer->temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (writer->fd < 0)
        fail(writer, cannot_create);
    writer->is_there = writer->fd >= 0;
    memset(header, 0, sizeof header); /* no reader accepts the file before it is finished */
    add(&writer->sink, header, sizeof header);
    return writer;
}

void state_writer_free(struct state_writer *writer) {
    if (writer == NULL)
        return;
    if (writer->is_there)
        unlink(writer->temporary);
    if (writer->fd >= 0)
        close(writer->fd);
    mem_free(writer->file);
    mem_free(writer->temporary);
    mem_free(writer);
}

struct sink *state_writer_begin(struct state_writer *writer, enum state_section type) {
    unsigned char header[STATE_SECTION_BYTES] = {0}; /* state_writer_end() writes it */
    writer->section_type = type;
    writer->section_at = writer->at;
    add(&writer->sink, header, sizeof header);
    return &writer->sink;
}

void state_writer_end(struct state_writer *writer) {
    unsigned char header[STATE_SECTION_BYTES];
    uint64_t place = writer->section_at, buffered = writer->at - writer->len;
    state_file_section(header, writer->section_type, writer->at - place - STATE_SECTION_BYTES);
    if (writer->error == 0 && place >= buffered) {
        memcpy(writer->buffer + (place - buffered), header, sizeof header);
        return;
    }
    flush(writer);
    write_at(writer, header, sizeof header, place);
}

uint64_t state_writer_written_ms(const struct state_writer *writer) {
    return writer->written_ms;
}

uint64_t state_writer_bytes(const struct state_writer *writer) {
    return writer->at;
}

/* The CRC-32 of the sections, read back. */
static uint32_t read_crc(struct state_writer *writer) {
    uint32_t crc = 0;
    uint64_t at = STATE_HEADER_BYTES;
    while (writer->error == 0 && at < writer->at) {
        ssize_t len = pread(writer->fd, writer->buffer, BUFFER_BYTES, (off_t)at);
        if (len == 0 || (len < 0 && errno != EINTR))
            fail(writer, cannot_read);
        if (len <= 0)
            continue;
        crc = state_file_crc(crc, writer->buffer, (size_t)len);
        at += (uint64_t)len;
    }
    return crc;
}

static void finish(struct state_writer *writer) {
    unsigned char header[STATE_HEADER_BYTES];
    flush(writer);
    uint32_t crc = read_crc(writer);
    if (writer->error != 0)
        return;
    state_file_header(header, writer->at, writer->written_ms);
    state_file_set_crc(header, crc, writer->at);
    write_at(writer, header, sizeof header, 0);
}

static bool report(const struct state_writer *writer, const struct error_text *problem) {
    return error_text_fail(problem, "%s %s: %s", writer->failed, writer->temporary,
                           strerror(writer->error));
}

/* The rename is on the disk when the folder is. */
static void sync_folder(const char *file) {
    const char *slash = strrchr(file, '/');
    char *folder = slash == NULL ? mem_strdup(".") : mem_strndup(file, (size_t)(slash - file + 1));
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd); /* some file systems cannot */
        close(fd);
    }
    mem_free(folder);
}

bool state_writer_place(struct state_writer *writer, const struct error_text *problem) {
    finish(writer);
    if (writer->error == 0 && fsync(writer->fd) != 0)
        fail(writer, cannot_write);
    if (writer->error == 0 && rename(writer->temporary, writer->file) != 0)
        fail(writer, cannot_rename);
    if (writer->error != 0)
        return report(writer, problem);
    writer->is_there = false;
    sync_folder(writer->file);
    return true;
}

int state_writer_detach(struct state_writer *writer, const struct error_text *problem) {
    finish(writer);
    if (writer->error != 0) {
        report(writer, problem);
        return -1;
    }
    int fd = writer->fd;
    writer->fd = -1;
    return fd;
}
