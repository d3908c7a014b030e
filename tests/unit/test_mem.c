/* test_mem.c -- allocation does not fail: it is there, from the reserve in the end, or the process
 * ends with a line that says why. */
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void test_bytes(void **state) {
    char *bytes = mem_alloc(100);
    memset(bytes, 'x', 100);
    bytes = mem_realloc(bytes, 100000);
    for (int i = 0; i < 100; i++)
        assert_int_equal(bytes[i], 'x');
    memset(bytes, 'y', 100000);
    mem_free(bytes);
    mem_free(NULL);
    bytes = mem_realloc(NULL, 10);
    memset(bytes, 'z', 10);
    mem_free(bytes);
}

static void test_zeros(void **state) {
    for (int round = 0; round < 20; round++) { /* memory that was used before, too */
        unsigned char *bytes = mem_zalloc(5000);
        for (int i = 0; i < 5000; i++)
            assert_int_equal(bytes[i], 0);
        memset(bytes, 0xff, 5000);
        mem_free(bytes);
    }
}

static void test_copies(void **state) {
    char text[] = "hello";
    char *copy = mem_strdup(text);
    text[0] = 'j';
    assert_string_equal(copy, "hello");
    mem_free(copy);
    assert_null(mem_strdup(NULL));
    copy = mem_strdup("");
    assert_string_equal(copy, "");
    mem_free(copy);
    copy = mem_strndup("ab\0cd", 4);
    assert_memory_equal(copy, "ab\0c\0", 5);
    mem_free(copy);
    copy = mem_strndup("abc", 0);
    assert_string_equal(copy, "");
    mem_free(copy);
    copy = mem_concat("ab", "cde");
    assert_string_equal(copy, "abcde");
    mem_free(copy);
    copy = mem_concat("", "");
    assert_string_equal(copy, "");
    mem_free(copy);
}

static void want_too_much(int which) {
    const struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    volatile size_t too_much = SIZE_MAX / 2 - 4096;
    void *p = which == 0   ? mem_alloc(too_much)
              : which == 1 ? mem_zalloc(too_much)
                           : mem_realloc(NULL, too_much);
    _exit(p == NULL ? 1 : 0);
}

/* In a process of its own: what it says, and that it went no further. */
static void test_no_memory(void **state) {
    for (int which = 0; which < 3; which++) {
        int pipe_ends[2];
        assert_int_equal(pipe(pipe_ends), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            dup2(pipe_ends[1], STDERR_FILENO);
            want_too_much(which);
        }
        close(pipe_ends[1]);
        FILE *said = fdopen(pipe_ends[0], "r");
        char text[64 * 1024];
        text[fread(text, 1, sizeof(text) - 1, said)] = '\0';
        fclose(said);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_false(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
#if !defined(__SANITIZE_ADDRESS__) &&                                                              \
    !defined(__SANITIZE_THREAD__) /* which end the process themselves */
        assert_true(WIFSIGNALED(status));
        assert_non_null(strstr(text, "out of memory"));
        char number[32];
        snprintf(number, sizeof(number), "%zu", SIZE_MAX / 2 - 4096);
        assert_non_null(strstr(text, number));
#endif
    }
}

/* Limits the process, in a child, to what it has and a little more. */
static int use_up_memory(void) {
    mem_open_reserve();
    const struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    struct rlimit limit;
    getrlimit(RLIMIT_AS, &limit);
    limit.rlim_cur = 300 * 1024 * 1024;
    setrlimit(RLIMIT_AS, &limit);
    enum { BLOCK = 100 * 1024, COUNT = 4000 };
    static void *blocks[COUNT];
    int count = 0;
    while (!mem_is_low() && count < COUNT)
        blocks[count++] = mem_alloc(BLOCK);
    if (!mem_is_low() || mem_has(64 * 1024 * 1024) || !mem_has(100))
        return 1;
    for (int i = 0; i < 20; i++) /* the reserve serves them */
        blocks[count++] = mem_alloc(BLOCK);
    while (count > 0)
        mem_free(blocks[--count]);
    return mem_restore() && !mem_is_low() && mem_has(64 * 1024 * 1024) ? 0 : 2;
}

static void test_reserve(void **state) {
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); /* they need more address space */
#endif
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(use_up_memory());
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),   cmocka_unit_test(test_zeros),
        cmocka_unit_test(test_copies),  cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_reserve),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
