/* test_state_file.c -- a state file comes back whole or not at all: whatever byte is missing or
 * changed, the reader finds it. */
#include "server/state/state_file.h"
#include "server/state/state_writer.h"

#include "base/mem.h"

#include <fcntl.h>
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

static char folder[] = "/tmp/test_state_file.XXXXXX", name[64], temporary[64];
static char why[256];
static const struct error_text problem = {why, sizeof why};

static int set_up(void **state) {
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(name, sizeof name, "%s/state", folder);
    snprintf(temporary, sizeof temporary, "%s/state.tmp", folder);
    return 0;
}

static int tear_down(void **state) {
    unlink(name);
    return rmdir(folder);
}

static bool accept_all(uint32_t type, struct slice body) {
    return true;
}

static bool refuse_7(uint32_t type, struct slice body) {
    return type != 7;
}

/* Writes a file with a section of each length. */
static void write_file(const size_t *lens, size_t count) {
    struct state_writer *writer = state_writer_open(name, 12345);
    for (size_t i = 0; i < count; i++) {
        struct sink *sink = state_writer_begin(writer, (enum state_section)(i + 1));
        for (size_t j = 0; j < lens[i]; j += 7) {
            size_t some = lens[i] - j < 7 ? lens[i] - j : 7;
            sink->write(sink, "abcdefg", some);
        }
        state_writer_end(writer);
    }
    assert_true(state_writer_place(writer, &problem));
    state_writer_free(writer);
    assert_int_equal(access(temporary, F_OK), -1);
}

static struct slice read_bytes(void) {
    struct stat info;
    assert_int_equal(stat(name, &info), 0);
    char *bytes = mem_alloc((size_t)info.st_size);
    int fd = open(name, O_RDONLY);
    assert_int_equal(read(fd, bytes, (size_t)info.st_size), info.st_size);
    close(fd);
    return (struct slice){bytes, (size_t)info.st_size};
}

static void test_sections_come_back(void **state) {
    static const size_t lens[] = {0, 1, 100, 65519, 65536, 200001, 3};
    enum { COUNT = sizeof lens / sizeof lens[0] };
    struct state_file file;
    size_t at = 0;
    uint32_t type;
    struct slice body;
    write_file(lens, COUNT);
    int fd = open(name, O_RDONLY);
    assert_true(state_file_read(fd, accept_all, &file, &problem));
    close(fd);
    assert_int_equal(file.written_ms, 12345);
    for (size_t i = 0; i < COUNT; i++) {
        assert_true(state_file_next(&file, &at, &type, &body));
        assert_int_equal(type, i + 1);
        assert_int_equal(body.len, lens[i]);
        for (size_t j = 0; j < body.len; j++)
            assert_int_equal(body.bytes[j], "abcdefg"[j % 7]);
    }
    assert_false(state_file_next(&file, &at, &type, &body));
    fd = open(name, O_RDONLY);
    struct state_file other;
    assert_false(state_file_read(fd, refuse_7, &other, &problem));
    assert_non_null(strstr(why, "type 7"));
    close(fd);
    state_file_close(&file);
}

static void test_an_empty_state(void **state) {
    struct state_file file;
    size_t at = 0;
    uint32_t type;
    struct slice body;
    write_file(NULL, 0);
    struct slice bytes = read_bytes();
    assert_true(state_file_parse(bytes, accept_all, &file, &problem));
    assert_false(state_file_next(&file, &at, &type, &body));
    mem_free((char *)bytes.bytes);
}

static void test_every_change_is_found(void **state) {
    static const size_t lens[] = {5, 0, 60};
    struct state_file file;
    write_file(lens, 3);
    struct slice bytes = read_bytes();
    char *changed = mem_alloc(bytes.len + 1);
    memcpy(changed, bytes.bytes, bytes.len);
    assert_true(state_file_parse((struct slice){changed, bytes.len}, accept_all, &file, &problem));
    for (size_t len = 0; len < bytes.len; len++) {
        char *cut = mem_alloc(len + 1); /* so that a sanitizer sees a read behind its end */
        memcpy(cut, bytes.bytes, len);
        assert_false(state_file_parse((struct slice){cut, len}, accept_all, &file, &problem));
        mem_free(cut);
    }
    for (size_t i = 0; i < bytes.len; i++)
        for (int bit = 0; bit < 8; bit++) {
            changed[i] = (char)(bytes.bytes[i] ^ (1 << bit));
            assert_false(
                state_file_parse((struct slice){changed, bytes.len}, accept_all, &file, &problem));
            changed[i] = bytes.bytes[i];
        }
    changed[bytes.len] = 'x';
    assert_false(
        state_file_parse((struct slice){changed, bytes.len + 1}, accept_all, &file, &problem));
    mem_free(changed);
    mem_free((char *)bytes.bytes);
}

static void test_a_file_that_is_not_placed_leaves_nothing(void **state) {
    unlink(name);
    struct state_writer *writer = state_writer_open(name, 1);
    state_writer_begin(writer, STATE_KEEP);
    assert_int_equal(access(temporary, F_OK), 0);
    struct stat info;
    assert_int_equal(stat(temporary, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    state_writer_free(writer);
    assert_int_equal(access(temporary, F_OK), -1);
    assert_int_equal(access(name, F_OK), -1);
    writer = state_writer_open("/nowhere/state", 1);
    struct sink *sink = state_writer_begin(writer, STATE_KEEP);
    sink->write(sink, "abc", 3);
    state_writer_end(writer);
    assert_false(state_writer_place(writer, &problem));
    assert_non_null(strstr(why, "cannot create /nowhere/state.tmp: No such file or directory"));
    state_writer_free(writer);
}

static void test_a_detached_file_has_no_name(void **state) {
    struct state_file file;
    struct state_writer *writer = state_writer_open(name, 77);
    struct sink *sink = state_writer_begin(writer, STATE_SHARED);
    sink->write(sink, "abc", 3);
    state_writer_end(writer);
    int fd = state_writer_detach(writer, &problem);
    state_writer_free(writer);
    assert_int_equal(access(temporary, F_OK), -1);
    assert_true(state_file_read(fd, accept_all, &file, &problem));
    assert_int_equal(file.bytes.len, STATE_HEADER_BYTES + STATE_SECTION_BYTES + 3);
    close(fd);
    state_file_close(&file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sections_come_back),
        cmocka_unit_test(test_an_empty_state),
        cmocka_unit_test(test_every_change_is_found),
        cmocka_unit_test(test_a_file_that_is_not_placed_leaves_nothing),
        cmocka_unit_test(test_a_detached_file_has_no_name),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
