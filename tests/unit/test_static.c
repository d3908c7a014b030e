/* test_static.c -- files below a folder: the right one, whole or in part, and never one outside.
 *
 * Works on a folder of its own in the temporary directory:
 *
 *   secret.txt wwwsub/index.html abc/app.js      outside of the root
 *   www/                    the root
 *     index.html app.js empty.txt "a b.txt" 100%.txt café.txt back\slash.txt .hidden big.bin
 *     sub/ index.html sub/deep/file.txt   bare/ (no index.html)   .dir/file.txt
 *     inside.txt -> app.js          absolute.txt -> <root>/app.js      linked -> sub
 *     up.txt -> ../secret.txt       out.txt -> <outside>/secret.txt    outdir -> ..
 *     neighbour.html -> <outside>/wwwsub/index.html    twin.js -> <outside>/abc/app.js
 *     slash -> /    proc -> /proc/self/cwd
 *     ring -> ring    nowhere -> missing    pipe (a named pipe)
 */
#include "net/http/static.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char base[64];
static char root[80];
static struct request request;
static char text[32768];
static struct static_file file;

static const char *at(const char *name) {
    static char path[512];
    snprintf(path, sizeof(path), "%s/%s", base, name);
    return path;
}

static void write_file(const char *name, const char *content) {
    FILE *f = fopen(at(name), "w");
    assert_non_null(f);
    fputs(content, f);
    assert_int_equal(fclose(f), 0);
}

static void make_link(const char *target, const char *name) {
    assert_int_equal(symlink(target, at(name)), 0);
}

static int make_tree(void **state) {
    snprintf(base, sizeof(base), "/tmp/tidewire-static-XXXXXX");
    assert_non_null(mkdtemp(base));
    static const char *const folders[] = {"www",      "www/sub", "www/sub/deep", "www/bare",
                                          "www/.dir", "wwwsub",  "abc"};
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
        assert_int_equal(mkdir(at(folders[i]), 0755), 0);
    write_file("secret.txt", "SECRET");
    write_file("wwwsub/index.html", "SECRET");
    write_file("abc/app.js", "SECRET");
    write_file("www/index.html", "<p>index</p>");
    write_file("www/app.js", "0123456789");
    write_file("www/empty.txt", "");
    write_file("www/a b.txt", "blank");
    write_file("www/100%.txt", "percent");
    write_file("www/caf\xC3\xA9.txt", "accent");
    write_file("www/back\\slash.txt", "strange");
    write_file("www/.hidden", "SECRET");
    write_file("www/.dir/file.txt", "SECRET");
    write_file("www/sub/index.html", "<p>sub</p>");
    write_file("www/sub/deep/file.txt", "deep");
    char target[512];
    make_link("app.js", "www/inside.txt");
    make_link("../sub/../app.js", "www/sub/dots.txt");
    make_link("sub", "www/linked");
    snprintf(target, sizeof(target), "%s", at("www/app.js"));
    make_link(target, "www/absolute.txt");
    snprintf(target, sizeof(target), "%s", at("www/sub"));
    make_link(target, "www/absolute");
    make_link("../secret.txt", "www/up.txt");
    snprintf(target, sizeof(target), "%s", at("secret.txt"));
    make_link(target, "www/out.txt");
    /* Neighbours whose names begin like the root's, and are as long. */
    snprintf(target, sizeof(target), "%s", at("wwwsub/index.html"));
    make_link(target, "www/neighbour.html");
    snprintf(target, sizeof(target), "%s", at("abc/app.js"));
    make_link(target, "www/twin.js");
    make_link("..", "www/outdir");
    make_link("/", "www/slash");
    make_link("ring", "www/ring");
    make_link("missing", "www/nowhere");
    make_link("/proc/self/cwd", "www/proc");
    assert_int_equal(mkfifo(at("www/pipe"), 0644), 0);
    snprintf(root, sizeof(root), "%s", at("www"));
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    return remove(path);
}

static int remove_tree(void **state) {
    return nftw(base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int find_as(const char *method, const char *target, const char *below, const char *headers) {
    int len = snprintf(text, sizeof(text), "%s %s HTTP/1.1\r\nHost: a\r\n%s\r\n", method, target,
                       headers);
    memset(&request, 0, sizeof(request));
    assert_int_equal(request_parse(&request, text, (size_t)len, sizeof(text)), len);
    struct slice path = below != NULL ? slice_of(below) : request.path;
    int status = static_find(root, &request, path, &file);
    assert_int_equal(status, file.status);
    bool with_text = status >= 300 && status != 304;
    assert_int_equal(strlen(file.text) > 10, with_text);
    if (status != 200 && status != 206)
        assert_int_equal(file.fd, -1);
    return status;
}

static int find(const char *target) {
    return find_as("GET", target, NULL, "");
}

/* The bytes that the caller would send. */
static const char *content(void) {
    static char bytes[256];
    ssize_t n = 0;
    if (file.fd >= 0)
        n = pread(file.fd, bytes, (size_t)file.length, file.offset);
    assert_int_equal(n, file.length);
    bytes[n] = '\0';
    return bytes;
}

static void check_file(const char *target, const char *want, const char *type) {
    int status = find(target);
    if (status != 200)
        fail_msg("%d for %s", status, target);
    assert_string_equal(content(), want);
    assert_string_equal(file.type, type);
    assert_int_equal(file.size, strlen(want));
    static_close(&file);
    assert_int_equal(file.fd, -1);
}

static void check_status(const char *target, int want) {
    int status = find(target);
    static_close(&file);
    if (status != want)
        fail_msg("%d instead of %d for %s", status, want, target);
}

/* The head of the response, as text. */
static const char *head(void) {
    static char out[8192];
    struct response res;
    response_begin(&res, out, sizeof(out), file.status, 0);
    assert_true(static_headers(&file, &res));
    size_t len = response_end(&res, file.length, RESPONSE_CLOSE);
    assert_true(len > 0 && len < sizeof(out));
    out[len] = '\0';
    return out;
}

static void check_header(const char *line) {
    char want[512];
    snprintf(want, sizeof(want), "\r\n%s\r\n", line);
    if (strstr(head(), want) == NULL)
        fail_msg("no \"%s\" in %s", line, head());
}

static void test_files(void **state) {
    const char *html = "text/html; charset=utf-8", *plain = "text/plain; charset=utf-8";
    check_file("/app.js", "0123456789", "text/javascript; charset=utf-8");
    check_file("/app.js?v=1", "0123456789", "text/javascript; charset=utf-8");
    check_file("/", "<p>index</p>", html);
    check_file("/index.html", "<p>index</p>", html);
    check_file("/sub/", "<p>sub</p>", html);
    check_file("/sub/deep/file.txt", "deep", plain);
    check_file("/a%20b.txt", "blank", plain);
    check_file("/100%25.txt", "percent", plain);
    check_file("/caf%C3%a9.txt", "accent", plain);
    check_file("/%61pp.js", "0123456789", "text/javascript; charset=utf-8");
    check_file("/empty.txt", "", plain);
}

static void test_links_inside_work(void **state) {
    check_file("/inside.txt", "0123456789", "text/plain; charset=utf-8");
    check_file("/absolute.txt", "0123456789", "text/plain; charset=utf-8");
    check_file("/sub/dots.txt", "0123456789", "text/plain; charset=utf-8");
    check_file("/linked/", "<p>sub</p>", "text/html; charset=utf-8");
    check_file("/linked/deep/file.txt", "deep", "text/plain; charset=utf-8");
    check_file("/absolute/", "<p>sub</p>", "text/html; charset=utf-8");
    check_file("/absolute/deep/file.txt", "deep", "text/plain; charset=utf-8");
}

static void test_nothing_outside_is_reached(void **state) {
    static const char *const targets[] = {"/../secret.txt",
                                          "/sub/../../secret.txt",
                                          "/sub/../app.js",
                                          "/..",
                                          "/../",
                                          "/./app.js",
                                          "/%2e%2e/secret.txt",
                                          "/%2E./secret.txt",
                                          "/..%2fsecret.txt",
                                          "/sub%2f..%2f..%2fsecret.txt",
                                          "/sub%2Fdeep/file.txt",
                                          "/..%5csecret.txt",
                                          "/..\\secret.txt",
                                          "/sub\\..\\..\\secret.txt",
                                          "//secret.txt",
                                          "//app.js",
                                          "/sub//index.html",
                                          "//etc/passwd",
                                          "/%2fetc/passwd",
                                          "/up.txt",
                                          "/out.txt",
                                          "/neighbour.html",
                                          "/twin.js",
                                          "/outdir/secret.txt",
                                          "/slash/etc/passwd",
                                          "/proc/",
                                          "/ring",
                                          "/nowhere"};
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++)
        check_status(targets[i], 404);
}

static void test_hidden_and_strange_things(void **state) {
    check_status("/.hidden", 404);
    check_status("/%2ehidden", 404);
    check_status("/.dir/file.txt", 404);
    check_status("/.dir/", 404);
    check_status("/missing", 404);
    check_status("/bare/", 404);
    check_status("/app.js/", 404);
    check_status("/app.js/more", 404);
    check_status("/pipe", 404); /* without waiting for a writer */
    check_status("/app.js%00.txt", 400);
    check_status("/%", 400);
    check_status("/%2", 400);
    check_status("/%zz", 400);
    check_status("/%C3%", 400);
    check_status("/a%0ab", 404);
    check_status("/back%5Cslash.txt", 404);
    check_status("/back\\slash.txt", 404);
    check_status("/a%7fb", 404);
    assert_int_equal(find_as("GET", "/x", "app.js", ""), 404); /* no slash in front */
}

static void test_folders_without_their_slash(void **state) {
    assert_int_equal(find("/sub"), 301);
    check_header("Location: ./sub/");
    assert_int_equal(find("/sub/deep?a=1&b=/"), 301);
    check_header("Location: ./deep/?a=1&b=/");
    assert_int_equal(find("/%73ub?"), 301);
    check_header("Location: ./%73ub/");
    assert_int_equal(find("/linked"), 301);
    check_header("Location: ./linked/");
    /* The folder itself, served at /files. */
    assert_int_equal(find_as("GET", "/files", "", ""), 301);
    check_header("Location: ./files/");
    assert_int_equal(find_as("GET", "/files/", "/", ""), 200);
    static_close(&file);
    assert_int_equal(find_as("GET", "//evil.example/sub", "/sub", ""), 301);
    check_header("Location: ./sub/");

    static char target[2 * STATIC_MAX_QUERY];
    memset(target, 'q', sizeof(target) - 1);
    memcpy(target, "/sub?", 5);
    assert_int_equal(find(target), 301);
    check_header("Location: ./sub/");
}

static void test_long_paths(void **state) {
    static char target[12000];
    for (size_t len = 250; len < sizeof(target); len += 250) {
        memset(target, 'a', len);
        target[0] = '/';
        target[len] = '\0';
        check_status(target, 404);
        for (size_t i = 0; i < len; i += 2)
            target[i] = '/';
        check_status(target, 404);
    }
}

static void test_methods(void **state) {
    assert_int_equal(find_as("HEAD", "/app.js", NULL, ""), 200);
    assert_int_equal(file.fd, -1);
    assert_int_equal(file.length, 10);
    check_header("Content-Length: 10");
    assert_int_equal(find_as("HEAD", "/app.js", NULL, "Range: bytes=0-1\r\n"), 200);
    static const char *const methods[] = {"POST", "PUT", "DELETE", "OPTIONS", "get"};
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        assert_int_equal(find_as(methods[i], "/app.js", NULL, ""), 405);
        check_header("Allow: GET, HEAD");
    }
}

static void test_headers_and_conditions(void **state) {
    struct timespec times[2] = {{784111777, 5}, {784111777, 5}};
    assert_int_equal(utimensat(AT_FDCWD, at("www/app.js"), times, 0), 0);
    assert_int_equal(find("/app.js"), 200);
    static_close(&file);
    check_header("Content-Type: text/javascript; charset=utf-8");
    check_header("Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT");
    check_header("ETag: \"a-2ebc98a1.5\"");
    check_header("Accept-Ranges: bytes");
    check_header("Cache-Control: no-cache");
    check_header("X-Content-Type-Options: nosniff");

    assert_int_equal(find_as("GET", "/app.js", NULL, "If-None-Match: \"a-2ebc98a1.5\"\r\n"), 304);
    check_header("ETag: \"a-2ebc98a1.5\"");
    assert_int_equal(file.length, 0);
    assert_int_equal(find_as("HEAD", "/app.js", NULL, "If-None-Match: *\r\n"), 304);
    assert_int_equal(
        find_as("GET", "/app.js", NULL, "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n"),
        304);
    assert_int_equal(find_as("GET", "/app.js", NULL, "If-Match: \"other\"\r\n"), 412);
    check_header("ETag: \"a-2ebc98a1.5\"");
    assert_int_equal(find_as("HEAD", "/app.js", NULL, "If-Match: \"other\"\r\n"), 412);
    /* before If-None-Match, and before the range (RFC 9110 section 13.2.2) */
    assert_int_equal(find_as("GET", "/app.js", NULL,
                             "If-None-Match: *\r\nIf-Match: \"other\"\r\nRange: bytes=0-1\r\n"),
                     412);
    assert_int_equal(
        find_as("GET", "/app.js", NULL, "If-Match: \"a-2ebc98a1.5\"\r\nRange: bytes=0-1\r\n"), 206);
    static_close(&file);
    assert_int_equal(
        find_as("GET", "/app.js", NULL, "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n"),
        412);
    /* a missing file is 404, whatever the conditions */
    assert_int_equal(find_as("GET", "/none.js", NULL, "If-Match: \"other\"\r\n"), 404);
    /* The same size and second, but written anew. */
    times[1].tv_nsec = 6;
    assert_int_equal(utimensat(AT_FDCWD, at("www/app.js"), times, 0), 0);
    assert_int_equal(find_as("GET", "/app.js", NULL, "If-None-Match: \"a-2ebc98a1.5\"\r\n"), 200);
    static_close(&file);
}

static void test_ranges(void **state) {
    assert_int_equal(find_as("GET", "/app.js", NULL, "Range: bytes=2-5\r\n"), 206);
    assert_string_equal(content(), "2345");
    check_header("Content-Range: bytes 2-5/10");
    check_header("Content-Length: 4");
    static_close(&file);
    assert_int_equal(find_as("GET", "/app.js", NULL, "Range: bytes=-3\r\n"), 206);
    assert_string_equal(content(), "789");
    static_close(&file);
    assert_int_equal(find_as("GET", "/app.js", NULL, "Range: bytes=10-\r\n"), 416);
    check_header("Content-Range: bytes */10");
    assert_int_equal(find_as("GET", "/app.js", NULL, "Range: bytes=0-1,4-5\r\n"), 200);
    assert_string_equal(content(), "0123456789");
    static_close(&file);
}

static void test_files_beyond_2_gib(void **state) {
    const off_t size = (off_t)5 << 30;
    write_file("www/big.bin", "");
    assert_int_equal(truncate(at("www/big.bin"), size), 0); /* without a block on the disk */
    assert_int_equal(find_as("GET", "/big.bin", NULL, "Range: bytes=5368709119-\r\n"), 206);
    assert_true(file.offset == size - 1 && file.length == 1 && file.size == size);
    check_header("Content-Range: bytes 5368709119-5368709119/5368709120");
    static_close(&file);
    assert_int_equal(unlink(at("www/big.bin")), 0);
}

static void test_files_that_may_not_be_read(void **state) {
    if (geteuid() == 0)
        skip(); /* root reads everything */
    assert_int_equal(chmod(at("www/empty.txt"), 0), 0);
    check_status("/empty.txt", 403);
    assert_int_equal(chmod(at("www/empty.txt"), 0644), 0);
}

static int find_in(const char *folder, const char *target) {
    int len = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", target);
    memset(&request, 0, sizeof(request));
    assert_int_equal(request_parse(&request, text, (size_t)len, sizeof(text)), len);
    return static_find(folder, &request, request.path, &file);
}

static void test_folders_that_cannot_be_opened(void **state) {
    assert_int_equal(find_in(at("missing"), "/app.js"), 404);
    assert_int_equal(file.folder_errno, ENOENT);
    assert_int_equal(find_in(at("secret.txt"), "/app.js"), 404);
    assert_int_equal(file.folder_errno, ENOTDIR);
    assert_int_equal(find("/app.js"), 200);
    assert_int_equal(file.folder_errno, 0);
    static_close(&file);
}

static void check_in(const char *folder, const char *target, const char *want) {
    assert_int_equal(find_in(folder, target), 200);
    assert_string_equal(content(), want);
    static_close(&file);
}

static void test_a_folder_made_anew_or_a_link_moved(void **state) {
    char release[128];
    assert_int_equal(mkdir(at("one"), 0755), 0);
    assert_int_equal(mkdir(at("two"), 0755), 0);
    write_file("one/a.txt", "one");
    write_file("two/a.txt", "two");
    make_link("one", "release");
    make_link("../one/a.txt", "two/old.txt"); /* outside, whichever of the two is served */
    snprintf(release, sizeof(release), "%s", at("release"));
    check_in(release, "/a.txt", "one");
    make_link("two", "next");
    char next[128];
    snprintf(next, sizeof(next), "%s", at("next"));
    assert_int_equal(rename(next, release), 0);
    check_in(release, "/a.txt", "two");
    assert_int_equal(find_in(release, "/old.txt"), 404);
    /* an absolute link that goes through the link to the release itself */
    char target[160];
    snprintf(target, sizeof(target), "%s/a.txt", release);
    make_link(target, "two/self.txt");
    check_in(release, "/self.txt", "two");

    assert_int_equal(unlink(at("two/a.txt")), 0);
    assert_int_equal(unlink(at("two/old.txt")), 0);
    assert_int_equal(unlink(at("two/self.txt")), 0);
    assert_int_equal(rmdir(at("two")), 0);
    assert_int_equal(find_in(release, "/a.txt"), 404);
    assert_int_equal(mkdir(at("two"), 0755), 0);
    write_file("two/a.txt", "built again");
    check_in(release, "/a.txt", "built again");
}

static void test_the_well_known_folder(void **state) {
    assert_int_equal(mkdir(at("www/.well-known"), 0755), 0);
    assert_int_equal(mkdir(at("www/.well-known/acme-challenge"), 0755), 0);
    assert_int_equal(mkdir(at("www/sub/.well-known"), 0755), 0);
    write_file("www/.well-known/security.txt", "Contact: x");
    write_file("www/.well-known/.hidden", "SECRET");
    write_file("www/.well-known/acme-challenge/token", "token.key");
    write_file("www/.well-known/apple-app-site-association", "{}");
    write_file("www/sub/.well-known/security.txt", "SECRET");
    check_file("/.well-known/security.txt", "Contact: x", "text/plain; charset=utf-8");
    check_file("/%2ewell-known/security.txt", "Contact: x", "text/plain; charset=utf-8");
    check_file("/.well-known/acme-challenge/token", "token.key", "application/octet-stream");
    check_file("/.well-known/apple-app-site-association", "{}", "application/json");
    static const char *const hidden[] = {
        "/.well-known/.hidden", "/sub/.well-known/security.txt", "/.well-known/../secret.txt",
        "/.well-known/",        "/.well-known/.well-known/x",    "/.well-knownx"};
    for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++)
        check_status(hidden[i], 404);
    assert_int_equal(find("/.well-known"), 301);
    /* it may not lead outside either */
    make_link("/etc", "www/.dir/.well-known");
    char folder[128];
    snprintf(folder, sizeof(folder), "%s", at("www/.dir"));
    assert_int_equal(find_in(folder, "/.well-known/passwd"), 404);
}

static int open_descriptors(void) {
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

/* Random paths of such pieces: never a byte of a hidden or outside file, and no descriptor is left.
 */
static void test_random_paths(void **state) {
    static const char *const pieces[] = {
        "/",     "..",         ".",     "%2e",    "%2f",
        "\\",    "%5c",        "sub",   "www",    "app.js",
        "%",     "secret.txt", "%00",   "outdir", "out",
        ".txt",  "//",         "slash", "proc",   "tmp",
        "/sub/", ".dir",       "file",  "linked", "absolute/deep/file.txt"};
    uint32_t seed = 21;
    int before = open_descriptors(), found = 0;
    for (int round = 0; round < 50000; round++) {
        char target[256] = "/";
        seed = seed * 1664525u + 1013904223u;
        for (uint32_t n = (seed >> 8) % 7; n > 0; n--) {
            seed = seed * 1664525u + 1013904223u;
            strcat(target, pieces[(seed >> 8) % (sizeof(pieces) / sizeof(pieces[0]))]);
        }
        if (find(target) == 200) {
            found++;
            if (strstr(content(), "SECRET") != NULL)
                fail_msg("%s leads to a secret", target);
        }
        static_close(&file);
    }
    assert_true(found > 100);
    assert_int_equal(open_descriptors(), before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_links_inside_work),
        cmocka_unit_test(test_nothing_outside_is_reached),
        cmocka_unit_test(test_hidden_and_strange_things),
        cmocka_unit_test(test_folders_without_their_slash),
        cmocka_unit_test(test_long_paths),
        cmocka_unit_test(test_methods),
        cmocka_unit_test(test_headers_and_conditions),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_files_beyond_2_gib),
        cmocka_unit_test(test_files_that_may_not_be_read),
        cmocka_unit_test(test_folders_that_cannot_be_opened),
        cmocka_unit_test(test_a_folder_made_anew_or_a_link_moved),
        cmocka_unit_test(test_the_well_known_folder),
        cmocka_unit_test(test_random_paths),
    };
    return cmocka_run_group_tests(tests, make_tree, remove_tree);
}
