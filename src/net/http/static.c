/* static.c -- finds the file below a folder that a request's path names. See static.h.
 *
 * The path is decoded and checked as text first, so the file system gets names between slashes and
 * nothing else. beneath.c opens the file, precompressed.c a compressed file beside it, and
 * preconditions.c compares it with what the client has. */
#include "net/http/static.h"

#include "base/mem.h"
#include "net/http/beneath.h"
#include "net/http/date.h"
#include "net/http/mime.h"
#include "net/http/precompressed.h"
#include "net/http/preconditions.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char INDEX[] = "index.html";

/* ---- the path ---- */

/* The one folder with a dot that is public, and only right below the top (RFC 8615 section 3). */
static bool is_well_known(bool first, const char *name, size_t len) {
    static const char known[] = ".well-known";
    return first && len == sizeof(known) - 1 && memcmp(name, known, len) == 0;
}

/* Decodes one name of the path, between two slashes, to `out`; `first`: it is the path's first.
 * Returns 0, 400 or 404. */
static int decode_name(struct slice name, bool first, char *out, size_t cap, size_t *len) {
    *len = 0;
    for (size_t i = 0; i < name.len; i++) {
        int c = (unsigned char)name.bytes[i];
        if (c == '%') {
            int high = i + 1 < name.len ? request_hex_digit((unsigned char)name.bytes[i + 1]) : -1;
            int low = i + 2 < name.len ? request_hex_digit((unsigned char)name.bytes[i + 2]) : -1;
            if (high < 0 || low < 0)
                return 400;
            c = high * 16 + low;
            i += 2;
        }
        if (c == '\0')
            return 400;
        /* An encoded slash would make two names of one; no file should have the other bytes. */
        if (c == '/' || c == '\\' || c < ' ' || c == 0x7F || *len + 1 >= cap)
            return 404;
        out[(*len)++] = (char)c;
    }
    /* Neither "//" nor hidden files, and with them neither "." nor "..". */
    return *len == 0 || (out[0] == '.' && !is_well_known(first, out, *len)) ? 404 : 0;
}

/* Decodes "/a/b%20c/" to "a/b c". Nothing is left of "/" and "". Returns 0, 400 or 404. */
static int decode_path(struct slice path, char *out, size_t cap) {
    size_t len = 0;
    if (path.len > 0 && path.bytes[path.len - 1] == '/')
        path.len--;
    while (path.len > 0) {
        if (path.bytes[0] != '/')
            return 404;
        const char *name = path.bytes + 1;
        const char *slash = memchr(name, '/', path.len - 1);
        size_t name_len = slash == NULL ? path.len - 1 : (size_t)(slash - name);
        if (len > 0)
            out[len++] = '/';
        size_t decoded;
        int status =
            decode_name((struct slice){name, name_len}, len == 0, out + len, cap - len, &decoded);
        if (status != 0)
            return status;
        len += decoded;
        path.bytes += name_len + 1;
        path.len -= name_len + 1;
        if (len + 2 > cap)
            return 404;
    }
    out[len] = '\0';
    return 0;
}

/* ---- the response ---- */

static int answer(struct static_file *out, int status, const char *text) {
    static_close(out);
    out->status = status;
    out->text = text;
    return status;
}

static int answer_errno(struct static_file *out, int why) {
    switch (why) {
    case EACCES:
    case EPERM:
        return answer(out, 403, "This file may not be read.");
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        return answer(out, 503, "The server has too many open files.");
    case EIO:
        return answer(out, 500, "This file cannot be read.");
    default: /* it does not exist, is no file, or a link leads nowhere, in a ring or outside */
        return answer(out, 404, "There is no such file.");
    }
}

static bool is_folder(int fd) {
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Reads what the response tells of the open file, whose name may become longer; chooses one of its
 * variants. 0, or the status of the response. */
static int read_file(const struct beneath *root, const struct request *r, char *name,
                     struct static_file *out) {
    struct stat st;
    if (fstat(out->fd, &st) != 0 || !S_ISREG(st.st_mode))
        return answer(out, 404, "There is no such file.");
    out->type = mime_type(slice_of(name));
    out->coding = precompressed_choose(root, r, name, &out->fd, &st, &out->varies);
    out->size = out->length = st.st_size;
    out->modified = st.st_mtim.tv_sec;
    snprintf(out->etag, sizeof(out->etag), "\"%jx-%jx.%lx%s%s\"", (uintmax_t)st.st_size,
             (uintmax_t)st.st_mtim.tv_sec, (unsigned long)st.st_mtim.tv_nsec,
             out->coding == NULL ? "" : "-", out->coding == NULL ? "" : out->coding);
    return 0;
}

/* Opens the file; of a folder, its index.html. 0, or the status of the response in `out`. */
static int open_file(const struct beneath *root, const struct request *r, struct slice path,
                     struct static_file *out) {
    char name[PATH_MAX];
    int status = decode_path(path, name, sizeof(name) - sizeof(INDEX) - PRECOMPRESSED_SUFFIX - 1);
    if (status != 0)
        return answer(out, status,
                      status == 400 ? "The path is not encoded correctly."
                                    : "There is no such file.");
    bool slash = r->path.bytes[r->path.len - 1] == '/';
    out->fd = beneath_open(root, name);
    if (out->fd < 0)
        return answer_errno(out, errno);
    if (is_folder(out->fd)) {
        if (!slash) {
            size_t start = r->path.len;
            while (start > 0 && r->path.bytes[start - 1] != '/')
                start--;
            out->location = (struct slice){r->path.bytes + start, r->path.len - start};
            if (r->query.len < STATIC_MAX_QUERY)
                out->query = r->query;
            return answer(out, 301, "The path of a folder ends with a slash.");
        }
        static_close(out);
        if (name[0] != '\0')
            strcat(name, "/");
        strcat(name, INDEX);
        out->fd = beneath_open(root, name);
        if (out->fd < 0)
            return answer_errno(out, errno);
    } else if (slash) {
        return answer(out, 404, "There is no such file.");
    }
    return read_file(root, r, name, out);
}

/* The same in the folder with this name. */
static int open_file_in(const char *folder, const struct request *r, struct slice path,
                        struct static_file *out) {
    struct beneath root;
    out->folder_errno = beneath_init(&root, folder) ? 0 : errno;
    if (out->folder_errno != 0)
        return answer_errno(out, out->folder_errno);
    int status = open_file(&root, r, path, out);
    beneath_close(&root);
    return status;
}

int static_find(const char *folder, const struct request *r, struct slice path,
                struct static_file *out) {
    *out = (struct static_file){.fd = -1, .text = "", .folder_errno = -1};
    bool get = slice_is(r->method, "GET");
    if (!get && !slice_is(r->method, "HEAD"))
        return answer(out, 405, "Files allow only GET and HEAD.");
    if (open_file_in(folder, r, path, out) != 0)
        return out->status;

    if (preconditions_fail(r, out->etag, out->modified)) {
        out->length = 0;
        return answer(out, 412, "The file does not meet the request's preconditions.");
    }
    if (preconditions_not_modified(r, out->etag, out->modified)) {
        out->length = 0;
        return answer(out, 304, "");
    }
    out->status = 200;
    if (get) {
        int64_t offset = 0, length = out->size;
        switch (preconditions_range(r, out->etag, out->modified, out->size, &offset, &length)) {
        case RANGE_UNSATISFIABLE:
            out->length = 0;
            return answer(out, 416, "The file does not have these bytes.");
        case RANGE_PART:
            out->status = 206;
            break;
        case RANGE_WHOLE:
            break;
        }
        out->offset = offset;
        out->length = length;
    }
    if (!get || out->length == 0)
        static_close(out);
    return out->status;
}

/* "./folder/?query": relative, so that no path makes it point to another server. */
static void add_location(const struct static_file *file, struct response *res) {
    size_t cap = file->location.len + file->query.len + 8;
    char *value = mem_alloc(cap);
    snprintf(value, cap, "./%.*s/%s%.*s", (int)file->location.len, file->location.bytes,
             file->query.len > 0 ? "?" : "", (int)file->query.len,
             file->query.len > 0 ? file->query.bytes : "");
    response_set(res, "Location", value);
    mem_free(value);
}

static void add_file_headers(const struct static_file *file, struct response *res) {
    char date[DATE_BYTES];
    date_format(file->modified, date);
    response_set(res, "ETag", file->etag);
    response_set(res, "Last-Modified", date);
    response_set(res, "Cache-Control", "no-cache");
    if (file->varies)
        response_set(res, "Vary", "Accept-Encoding");
}

bool static_headers(const struct static_file *file, struct response *res) {
    char range[96];
    switch (file->status) {
    case 206:
        snprintf(range, sizeof(range), "bytes %jd-%jd/%jd", (intmax_t)file->offset,
                 (intmax_t)(file->offset + file->length - 1), (intmax_t)file->size);
        response_set(res, "Content-Range", range);
        /* fall through */
    case 200:
        response_set(res, "Content-Type", file->type);
        if (file->coding != NULL)
            response_set(res, "Content-Encoding", file->coding);
        response_set(res, "X-Content-Type-Options", "nosniff");
        response_set(res, "Accept-Ranges", "bytes");
        add_file_headers(file, res);
        break;
    case 304:
    case 412:
        add_file_headers(file, res);
        break;
    case 301:
        add_location(file, res);
        break;
    case 405:
        response_set(res, "Allow", "GET, HEAD");
        break;
    case 416:
        snprintf(range, sizeof(range), "bytes */%jd", (intmax_t)file->size);
        response_set(res, "Content-Range", range);
        break;
    default:
        break;
    }
    return res->error == NULL;
}

void static_close(struct static_file *file) {
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
}
