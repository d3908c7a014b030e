/* test_scaffold.c -- `tidewire new DIR`: writes every template, and changes no file that exists. */
#include "server/cli/scaffold.h"

#include "script/vm/embedded.h"
#include "server/server.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char top[64];
static const char *program = "tidewire";
static char said[8192], complained[4096];

static int make_top(void **state) {
    strcpy(top, "/tmp/tidewire-new-XXXXXX");
    return mkdtemp(top) == NULL;
}

static int remove_top(void **state) {
    char command[128];
    snprintf(command, sizeof(command), "rm -r '%s'", top);
    return system(command);
}

static const char *at(const char *name) {
    static char path[512];
    snprintf(path, sizeof(path), "%s/%s", top, name);
    return path;
}

static int catch_output(int fd, FILE **file) {
    int real = dup(fd);
    *file = tmpfile();
    dup2(fileno(*file), fd);
    return real;
}

static void give_back(int fd, int real, FILE *file, char *text, size_t size) {
    dup2(real, fd);
    close(real);
    rewind(file);
    text[fread(text, 1, size - 1, file)] = '\0';
    fclose(file);
}

/* Runs it, and catches its output. */
static int write_into(const char *folder) {
    FILE *out, *err;
    fflush(stdout);
    int real_out = catch_output(STDOUT_FILENO, &out), real_err = catch_output(STDERR_FILENO, &err);
    int code = scaffold_write(folder, program);
    fflush(stdout);
    give_back(STDOUT_FILENO, real_out, out, said, sizeof(said));
    give_back(STDERR_FILENO, real_err, err, complained, sizeof(complained));
    return code;
}

static void check_files(const char *folder) {
    size_t count = 0;
    for (const struct embedded_file *file = embedded_templates; file->name != NULL;
         file++, count++) {
        char path[600];
        snprintf(path, sizeof(path), "%s/%s", folder, file->name);
        FILE *in = fopen(path, "rb");
        if (in == NULL)
            fail_msg("%s was not written", path);
        char *bytes = malloc(file->size + 1);
        assert_int_equal(fread(bytes, 1, file->size + 1, in), file->size);
        assert_memory_equal(bytes, file->bytes, file->size);
        free(bytes);
        fclose(in);
        assert_non_null(strstr(said, path));
    }
    assert_true(count >= 3);
}

static void test_new_folder(void **state) {
    assert_int_equal(write_into(at("fresh")), EXIT_CLEAN);
    check_files(at("fresh"));
    assert_string_equal(complained, "");
    char next[600]; /* what to do next */
    snprintf(next, sizeof(next), "tidewire run %s\n", at("fresh"));
    assert_non_null(strstr(said, next));
    snprintf(next, sizeof(next), "cd %s && busted\n", at("fresh"));
    assert_non_null(strstr(said, next));
    assert_int_equal(access(at("fresh/app.lua"), R_OK), 0);
}

/* A shell reads each printed word as one. */
static void test_quoting(void **state) {
    program = "/opt/my tools/tidewire";
    assert_int_equal(write_into(at("it's mine")), EXIT_CLEAN);
    program = "tidewire";
    char next[600];
    snprintf(next, sizeof(next), "'/opt/my tools/tidewire' run '%s/it'\\''s mine'\n", top);
    assert_non_null(strstr(said, next));
}

static void test_empty_folder(void **state) {
    assert_int_equal(mkdir(at("empty"), 0755), 0);
    assert_int_equal(write_into(at("empty")), EXIT_CLEAN);
    check_files(at("empty"));
}

static void test_what_is_there_stays(void **state) {
    assert_int_equal(mkdir(at("full"), 0755), 0);
    FILE *file = fopen(at("full/app.lua"), "w");
    fputs("mine", file);
    fclose(file);
    assert_int_equal(write_into(at("full")), EXIT_USAGE);
    assert_non_null(strstr(complained, "not empty"));
    assert_non_null(strstr(complained, at("full")));
    assert_string_equal(said, "");
    char text[16] = "";
    file = fopen(at("full/app.lua"), "r");
    assert_non_null(fgets(text, sizeof(text), file));
    fclose(file);
    assert_string_equal(text, "mine");
    assert_int_equal(access(at("full/README.md"), F_OK), -1);
    file = fopen(at(".hidden-only"), "w"); /* a hidden file counts too */
    fclose(file);
    assert_int_equal(write_into(top), EXIT_USAGE);
    assert_int_equal(write_into(at("full/app.lua")), EXIT_USAGE); /* a file, no folder */
    assert_int_equal(write_into(at("full")), EXIT_USAGE);
}

static void test_a_folder_that_cannot_be(void **state) {
    assert_int_equal(write_into(at("no/such/parent")), EXIT_USAGE);
    assert_non_null(strstr(complained, at("no/such/parent")));
    assert_non_null(strstr(complained, strerror(ENOENT)));
    assert_int_equal(access(at("no"), F_OK), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_folder),
        cmocka_unit_test(test_quoting),
        cmocka_unit_test(test_empty_folder),
        cmocka_unit_test(test_what_is_there_stays),
        cmocka_unit_test(test_a_folder_that_cannot_be),
    };
    return cmocka_run_group_tests(tests, make_top, remove_top);
}
