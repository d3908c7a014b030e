/* test_snapshot.c -- which files have changed between two looks, and which only seem to have. */
#include "server/watch/snapshot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char base[64];
static int clock_seconds; /* each file is written a second later than the one before */

static int set_up(void **state) {
    strcpy(base, "/tmp/tidewire-snapshot-XXXXXX");
    assert_non_null(mkdtemp(base));
    assert_int_equal(chdir(base), 0);
    clock_seconds = 1000;
    return 0;
}

static int tear_down(void **state) {
    char command[96];
    assert_int_equal(chdir("/"), 0);
    snprintf(command, sizeof command, "rm -r '%s'", base);
    return system(command);
}

static void write_at(const char *path, const char *text, int seconds) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
    struct timespec times[2] = {{seconds, 0}, {seconds, 0}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void write_file(const char *path, const char *text) {
    write_at(path, text, ++clock_seconds);
}

static void check(const struct snapshot *old, const char *sources, const char *file, size_t changed,
                  size_t gone) {
    struct snapshot *now = snapshot_take(sources);
    struct snapshot_diff diff = snapshot_compare(old, now);
    assert_int_equal(diff.changed, changed);
    assert_int_equal(diff.gone, gone);
    if (file == NULL)
        assert_null(diff.file);
    else
        assert_string_equal(diff.file, file);
    snapshot_free(now);
}

static void test_changes(void **state) {
    static const char sources[] = "app.lua\nsub/part.lua\nmissing.lua\nsub/data";
    assert_int_equal(mkdir("sub", 0755), 0);
    write_file("app.lua", "1");
    write_file("sub/part.lua", "1");
    write_file("sub/data", "1");
    write_file("other.lua", "1");
    struct snapshot *old = snapshot_take(sources);
    check(old, sources, NULL, 0, 0);
    write_file("sub/part.lua", "2");
    check(old, sources, "sub/part.lua", 1, 0);
    write_file("sub/data", "2");
    write_file("missing.lua", "2");
    write_file("other.lua", "2");
    check(old, sources, "missing.lua", 4, 0);
    snapshot_free(old);
    old = snapshot_take(sources);
    assert_int_equal(unlink("app.lua"), 0);
    assert_int_equal(unlink("other.lua"), 0); /* no source */
    check(old, sources, "app.lua", 0, 1);
    write_file("new.lua", "1");
    check(old, sources, "new.lua", 1, 1);
    snapshot_free(old);
}

static void test_files_of_editors(void **state) {
    static const char *const names[] = {"app.lua~",  "#app.lua#", "#app.lua", ".app.lua.swp",
                                        ".x.lua",    "~app.lua",  "4913",     "app.lua.bak",
                                        "notes.txt", ".lua"};
    write_file("app.lua", "1");
    struct snapshot *old = snapshot_take("app.lua");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        write_file(names[i], "1");
    assert_int_equal(symlink("ada@host.1:2", ".#app.lua"), 0);
    assert_int_equal(mkdir("folder.lua", 0755), 0);
    assert_int_equal(link("app.lua", "backup"), 0);
    assert_int_equal(chmod("app.lua", 0640), 0);
    check(old, "app.lua", NULL, 0, 0);
    snapshot_free(old);
}

static void test_links_above(void **state) {
    assert_int_equal(mkdir("one", 0755), 0);
    assert_int_equal(mkdir("two", 0755), 0);
    write_at("one/app.lua", "1", 5);
    write_at("two/app.lua", "2", 5); /* of the same size and second */
    assert_int_equal(symlink("one", "current"), 0);
    struct snapshot *old = snapshot_take("current/app.lua");
    check(old, "current/app.lua", NULL, 0, 0);
    assert_int_equal(symlink("two", "next"), 0);
    assert_int_equal(rename("next", "current"), 0);
    check(old, "current/app.lua", "current/app.lua", 1, 0);
    snapshot_free(old);
}

static void test_other_sources(void **state) {
    write_at("app.lua", "1", 100);
    write_at("early.txt", "1", 100);
    write_at("late.txt", "1", 200);
    struct snapshot *old = snapshot_take("app.lua"), *next = snapshot_take("app.lua\nearly.txt");
    snapshot_carry_over(next, old, 150);
    check(next, "app.lua\nearly.txt", NULL, 0, 0);
    snapshot_free(next);
    next = snapshot_take("app.lua\nearly.txt\nlate.txt"); /* late.txt was written during the load */
    snapshot_carry_over(next, old, 150);
    check(next, "app.lua\nearly.txt\nlate.txt", "late.txt", 1, 0);
    snapshot_free(next);
    write_at("app.lua", "22", 120); /* its old state counts, not the present one */
    next = snapshot_take("app.lua");
    snapshot_carry_over(next, old, 150);
    check(next, "app.lua", "app.lua", 1, 0);
    snapshot_free(next);
    next = snapshot_take("app.lua");
    snapshot_carry_over(next, NULL, 150);
    check(next, "app.lua", NULL, 0, 0);
    snapshot_free(next);
    snapshot_free(old);
}

static void test_nothing(void **state) {
    struct snapshot *old = snapshot_take("");
    check(old, "", NULL, 0, 0);
    check(old, "\n\n", NULL, 0, 0);
    check(old, "no/such/folder/x.lua", NULL, 0, 0);
    snapshot_free(old);
    snapshot_free(NULL);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_changes),       TEST(test_files_of_editors), TEST(test_links_above),
        TEST(test_other_sources), TEST(test_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
