/* fuzz_static.c -- paths of static files: what is opened is below the folder, and not hidden.
 *
 * The path is the end of a request's path, still percent-encoded. The folder is below /tmp. */
#include "fuzz.h"

#include "net/http/static.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char top[] = "/tmp/tidewire-fuzz-XXXXXX", root[64];

static void make_file(const char *name) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", top, name);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    fuzz_check(fd >= 0 && write(fd, "text", 4) == 4);
    close(fd);
}

static void make_folder(const char *name) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", top, name);
    fuzz_check(mkdir(path, 0700) == 0);
}

static void make_link(const char *target, const char *name) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", top, name);
    fuzz_check(symlink(target, path) == 0);
}

static void remove_tree(void) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", top);
    if (system(command) != 0)
        perror(command);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    fuzz_check(mkdtemp(top) != NULL);
    atexit(remove_tree);
    snprintf(root, sizeof root, "%s/w", top);
    static const char *const folders[] = {"w", "w/b", "w/.d", "ww"};
    static const char *const files[] = {"s",      "w/a",   "w/index.html", "w/b/index.html",
                                        "w/.d/a", "w/a b", "w/.h",         "ww/a"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        make_folder(folders[i]);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        make_file(files[i]);
    make_link("../s", "w/u");
    make_link("..", "w/o");
    make_link("b", "w/l");
    return 0;
}

static void check_file(const struct static_file *file) {
    char link[64], path[512];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file->fd);
    ssize_t len = readlink(link, path, sizeof path - 1);
    fuzz_check(len > 0);
    path[len] = '\0';
    size_t below = strlen(root);
    fuzz_check(strncmp(path, root, below) == 0 && path[below] == '/');
    fuzz_check(strstr(path + below, "/.") == NULL);
    fuzz_check(file->offset >= 0 && file->length >= 0 && file->offset + file->length <= file->size);
}

static void check_headers(const struct static_file *file) {
    char out[8192];
    struct response response;
    response_begin(&response, out, sizeof out, file->status, 0);
    if (!static_headers(file, &response))
        response_forgive(&response);
    size_t len = response_end(&response, file->length, RESPONSE_CLOSE), lines = 0;
    fuzz_check(len > 4 && memcmp(out + len - 4, "\r\n\r\n", 4) == 0);
    for (size_t i = 0; i < len; i++) {
        fuzz_check(out[i] != '\n' || (i > 0 && out[i - 1] == '\r'));
        fuzz_check(out[i] != '\0');
        lines += out[i] == '\n';
    }
    fuzz_check(lines < 20);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *head = malloc(size + 64), *bytes;
    size_t len = (size_t)sprintf(head, "GET /");
    memcpy(head + len, data, size);
    len += size;
    len += (size_t)sprintf(head + len, " HTTP/1.1\r\nHost: x\r\n\r\n");
    bytes = fuzz_copy(head, len);
    struct request request;
    memset(&request, 0, sizeof request);
    if (request_parse(&request, bytes, len, 1 << 20) > 0 && request.path.bytes[0] == '/') {
        struct static_file file;
        static_find(root, &request, request.path, &file);
        if (file.fd >= 0)
            check_file(&file);
        check_headers(&file);
        static_close(&file);
    }
    free(bytes);
    free(head);
    return 0;
}
