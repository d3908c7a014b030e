/* test_app_file.c -- the app's file keeps the typed path, also through a symbolic link. */
#include "server/app_file.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char base[64], release[96], link_path[96];

static int set_up(void **state) {
    strcpy(base, "/tmp/tidewire-app-file-XXXXXX");
    assert_non_null(mkdtemp(base));
    snprintf(release, sizeof release, "%s/1", base);
    snprintf(link_path, sizeof link_path, "%s/current", base);
    assert_int_equal(mkdir(release, 0755), 0);
    assert_int_equal(symlink("1", link_path), 0);
    return 0;
}

static int tear_down(void **state) {
    assert_int_equal(chdir("/"), 0);
    unlink(link_path);
    rmdir(release);
    rmdir(base);
    return 0;
}

static void check(const char *file, const char *pwd, const char *want) {
    if (pwd == NULL)
        unsetenv("PWD");
    else
        setenv("PWD", pwd, 1);
    char *name = app_file_name(file);
    assert_string_equal(name, want);
    mem_free(name);
}

static void test_below_a_link(void **state) {
    char want[128];
    assert_int_equal(chdir(link_path), 0);
    snprintf(want, sizeof want, "%s/app.lua", link_path);
    check("app.lua", link_path, want);
    snprintf(want, sizeof want, "%s/../app.lua", link_path);
    check("../app.lua", link_path, want);
    check("/srv/app.lua", link_path, "/srv/app.lua");
}

static void test_what_is_not_believed(void **state) {
    assert_int_equal(chdir(release), 0);
    check("app.lua", NULL, "app.lua");
    check("app.lua", "", "app.lua");
    check("app.lua", "current", "app.lua");
    check("app.lua", "/", "app.lua");
    check("app.lua", "/does/not/exist", "app.lua");
    check("app.lua", release, "app.lua");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_below_a_link),
        cmocka_unit_test(test_what_is_not_believed),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
