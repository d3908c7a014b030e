/* test_precompressed.c -- which variant of a file a client gets: the weights of Accept-Encoding,
 * and which compressed files count. */
#include "net/http/precompressed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <unistd.h>

static struct request request;
static char head[1024];

/* A request with these header lines. */
static void ask(const char *lines) {
    int len = snprintf(head, sizeof head, "GET / HTTP/1.1\r\nHost: x\r\n%s\r\n", lines);
    memset(&request, 0, sizeof request);
    assert_int_equal(request_parse(&request, head, (size_t)len, sizeof head), len);
}

static void check(const char *value, int br, int gzip, int identity) {
    char lines[512];
    snprintf(lines, sizeof lines, "Accept-Encoding: %s\r\n", value);
    ask(lines);
    assert_int_equal(precompressed_weight(&request, "br"), br);
    assert_int_equal(precompressed_weight(&request, "gzip"), gzip);
    assert_int_equal(precompressed_weight(&request, "identity"), identity);
}

static void test_weights(void **state) {
    (void)state;
    ask("");
    assert_int_equal(precompressed_weight(&request, "br"), -1);
    check("", -1, -1, -1);
    check("gzip, deflate, br, zstd", 1000, 1000, -1);
    check("GZIP", -1, 1000, -1);
    check("x-gzip", -1, 1000, -1);
    check("gzip;q=0.5, br;q=0.501", 501, 500, -1);
    check("gzip ; q=0.5 , br\t;\tQ=1.000", 1000, 500, -1);
    check("gzip;q=0", -1, 0, -1);
    check("gzip;q=0., br;q=0.000", 0, 0, -1);
    check("*", 1000, 1000, 1000);
    check("*;q=0, gzip", 0, 1000, 0);
    check("gzip;q=0, *", 1000, 0, 1000);
    check("identity;q=0, *;q=0.3", 300, 300, 0);
    check(",, gzip ,,", -1, 1000, -1);
    check("gzip;q=1.5, br;q=2", -1, -1, -1);
    check("gzip;q=0.5555, br;q=-1", -1, -1, -1);
    check("gzip;q=, br;q", -1, -1, -1);
    check("gzip;level=9, br; q = 1", -1, -1, -1);
    check("gzipped, brotli", -1, -1, -1);
    ask("Accept-Encoding: br;q=0.1\r\nAccept-Encoding: gzip;q=0.2\r\n"); /* one list */
    assert_int_equal(precompressed_weight(&request, "br"), 100);
    assert_int_equal(precompressed_weight(&request, "gzip"), 200);
}

/* ---- files ---- */

static char folder[64];
static struct beneath root;

static void write_at(const char *name, const char *text, time_t when) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
    struct timespec times[2] = {{when, 0}, {when, 500000000}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static int make_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/tidewire-precompressed-XXXXXX");
    assert_non_null(mkdtemp(folder));
    assert_true(beneath_init(&root, folder));
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    beneath_close(&root);
    return system(command);
}

/* Which variant of "app.js" does a client with this Accept-Encoding get? */
static void check_choice(const char *value, const char *coding, const char *text, bool varies) {
    char lines[256], name[32] = "app.js", got[16] = "";
    struct stat st;
    bool has_varied;
    snprintf(lines, sizeof lines, "Accept-Encoding: %s\r\n", value);
    ask(lines);
    int fd = beneath_open(&root, name);
    assert_int_equal(fstat(fd, &st), 0);
    const char *chosen = precompressed_choose(&root, &request, name, &fd, &st, &has_varied);
    if (coding == NULL)
        assert_null(chosen);
    else
        assert_string_equal(chosen, coding);
    assert_int_equal(has_varied, varies);
    assert_string_equal(name, "app.js");
    assert_int_equal(read(fd, got, sizeof got), st.st_size);
    assert_string_equal(got, text);
    close(fd);
}

static void test_choice(void **state) {
    (void)state;
    write_at("app.js", "plain", 1000);
    check_choice("br, gzip", NULL, "plain", false);
    write_at("app.js.gz", "zipped", 1000);
    check_choice("br, gzip", "gzip", "zipped", true);
    check_choice("br", NULL, "plain", true);
    write_at("app.js.br", "brotli", 2000);
    check_choice("gzip, br", "br", "brotli", true);
    check_choice("gzip", "gzip", "zipped", true);
    check_choice("br;q=0.8, gzip;q=0.9", "gzip", "zipped", true);
    check_choice("br;q=0, gzip", "gzip", "zipped", true);
    check_choice("*", "br", "brotli", true);
    check_choice("identity, gzip;q=0.5", NULL, "plain", true);
    check_choice("identity;q=0.5, gzip;q=0.5", "gzip", "zipped", true);
    check_choice("", NULL, "plain", true);
    check_choice("identity;q=0", NULL, "plain", true); /* better than nothing */
    check_choice("identity;q=0, gzip;q=0.001", "gzip", "zipped", true);
    check_choice("deflate, zstd", NULL, "plain", true);
}

/* An old, an empty one, a folder, and a link that leads outside do not count. */
static void test_which_count(void **state) {
    (void)state;
    char path[128];
    write_at("app.js", "plain", 1000);
    write_at("app.js.br", "brotli", 999);
    check_choice("br", NULL, "plain", false);
    write_at("app.js.br", "", 2000);
    check_choice("br", NULL, "plain", false);
    snprintf(path, sizeof path, "%s/app.js.br", folder);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    check_choice("br", NULL, "plain", false);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(symlink("/etc/hostname", path), 0);
    check_choice("br", NULL, "plain", false);
    assert_int_equal(unlink(path), 0);
    write_at("other", "linked", 1000);
    assert_int_equal(symlink("other", path), 0);
    check_choice("br", "br", "linked", true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weights),
        cmocka_unit_test_setup_teardown(test_choice, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_which_count, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
