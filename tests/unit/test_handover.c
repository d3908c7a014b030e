/* test_handover.c -- both sides of an upgrade on one loop: what is passed, and what becomes of a next process that
 * goes away, talks nonsense, or comes second. */
#include "base/log.h"
#include "base/mem.h"
#include "server/handover.h"
#include "server/takeover.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
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

static uv_loop_t loop;
static char folder[64], pid_file[80], unix_path[96];
static struct listen_set *sets[2];
static size_t set_count;
static struct handover *handover;
static int taken; /* how often on_taken was called */

static struct listen_set *get_set(void *user, size_t number) {
    return number < set_count ? sets[number] : NULL;
}

static void on_taken(void *user, pid_t by) {
    assert_int_equal(by, getpid());
    taken++;
}

static void turn(void) {
    uv_run(&loop, UV_RUN_NOWAIT);
}

static int setup(void **state) {
    char error[256];
    log_set_level(LOG_ERROR + 1);
    uv_loop_init(&loop);
    strcpy(folder, "/tmp/tidewire-test-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(pid_file, sizeof pid_file, "%s/pid", folder);
    snprintf(unix_path, sizeof unix_path, "unix:%s/app", folder);
    taken = 0;
    sets[0] = listen_open("127.0.0.1:0", &(struct listen_how){.workers = 3}, error, sizeof error);
    sets[1] = listen_open(unix_path, &(struct listen_how){.workers = 1, .for_admin = true}, error,
                          sizeof error);
    set_count = 2;
    handover = handover_open(
        &(struct handover_options){
            .loop = &loop, .pid_file = pid_file, .set = get_set, .on_taken = on_taken},
        error, sizeof error);
    assert_non_null(handover);
    assert_true(handover_place(handover, error, sizeof error));
    return 0;
}

static int teardown(void **state) {
    handover_close(handover);
    for (size_t i = 0; i < 2; i++)
        listen_end(sets[i]);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    return rmdir(folder); /* nothing is left in it */
}

/* What is waited for comes, or the test's time is over. */
static void run_while(const struct takeover *takeover, enum takeover_state at) {
    while (takeover->state == at)
        uv_run(&loop, UV_RUN_ONCE);
}

static void end_takeover(struct takeover *takeover) {
    takeover_close(takeover);
    for (int i = 0; i < 3; i++)
        turn();
}

static struct address parse(const char *text) {
    struct address_list list;
    assert_true(address_parse(text, &list, NULL, 0));
    return list.at[0];
}

static void test_all_is_passed(void **state) {
    struct inheritance *inheritance = inheritance_new();
    struct takeover takeover;
    takeover_begin(&takeover, &loop, pid_file, inheritance);
    run_while(&takeover, TAKEOVER_ASKING);
    assert_int_equal(takeover.state, TAKEOVER_HAVING);
    assert_int_equal(taken, 0); /* it serves on */

    struct address any = parse("127.0.0.1:0"), path = parse(unix_path);
    struct inherited *tcp = inheritance_take(inheritance, &any, false);
    assert_non_null(tcp);
    assert_int_equal(tcp->count, 3); /* each worker's */
    assert_false(tcp->facts.for_admin);
    assert_true(tcp->facts.any_port);
    assert_false(tcp->facts.owns_file);
    for (size_t i = 0; i < tcp->count; i++) {
        assert_true(fcntl(tcp->fds[i], F_GETFD) & FD_CLOEXEC);
        close(tcp->fds[i]);
    }
    struct inherited *file = inheritance_take(inheritance, &path, true);
    assert_non_null(file);
    assert_int_equal(file->count, 1);
    assert_true(file->facts.for_admin);
    assert_true(file->facts.owns_file);
    close(file->fds[0]);
    assert_null(inheritance_take_any(inheritance, false));
    assert_null(inheritance_take_any(inheritance, true));

    takeover_ready(&takeover);
    run_while(&takeover, TAKEOVER_SAYING);
    assert_int_equal(takeover.state, TAKEOVER_DONE);
    assert_int_equal(taken, 1);
    handover_close(handover); /* and its file stays: it is the next one's now */
    handover = NULL;
    char at[96];
    snprintf(at, sizeof at, "%s.sock", pid_file);
    assert_int_equal(unlink(at), 0);
    end_takeover(&takeover);
    inheritance_free(inheritance);
}

/* More workers than one datagram takes descriptors. */
static void test_many_sockets(void **state) {
    char error[256];
    enum { MANY = HANDOVER_FDS + 72 };
    struct listen_set *many =
        listen_open("127.0.0.1:0", &(struct listen_how){.workers = MANY}, error, sizeof error);
    struct listen_set *kept = sets[0];
    sets[0] = many;
    set_count = 1;
    struct inheritance *inheritance = inheritance_new();
    struct takeover takeover;
    takeover_begin(&takeover, &loop, pid_file, inheritance);
    run_while(&takeover, TAKEOVER_ASKING);
    assert_int_equal(takeover.state, TAKEOVER_HAVING);
    struct inherited *all = inheritance_take_any(inheritance, false);
    assert_int_equal(all->count, MANY);
    for (size_t i = 0; i < all->count; i++)
        close(all->fds[i]);
    end_takeover(&takeover);
    inheritance_free(inheritance);
    listen_end(many);
    sets[0] = kept;
}

static void test_gone_before_it_was_ready(void **state) {
    for (int i = 0; i < 3; i++) { /* and the next one is welcome */
        struct inheritance *inheritance = inheritance_new();
        struct takeover takeover;
        takeover_begin(&takeover, &loop, pid_file, inheritance);
        if (i > 0)
            run_while(&takeover, TAKEOVER_ASKING);
        end_takeover(&takeover);
        inheritance_free(inheritance);
    }
    assert_int_equal(taken, 0);
    assert_true(takeover_finds(pid_file));
    for (int i = 0; i < 3; i++)
        turn();
}

static void test_second_comer(void **state) {
    struct inheritance *inheritance = inheritance_new();
    struct takeover first, second;
    takeover_begin(&first, &loop, pid_file, inheritance);
    run_while(&first, TAKEOVER_ASKING);
    takeover_begin(&second, &loop, pid_file, inheritance);
    run_while(&second, TAKEOVER_ASKING);
    assert_int_equal(second.state, TAKEOVER_FAILED);
    assert_non_null(strstr(second.problem, "another upgrade"));
    takeover_ready(&first);
    run_while(&first, TAKEOVER_SAYING);
    assert_int_equal(first.state, TAKEOVER_DONE);
    end_takeover(&first);
    end_takeover(&second);
    inheritance_free(inheritance);
    char at[96];
    snprintf(at, sizeof at, "%s.sock", pid_file);
    assert_int_equal(unlink(at), 0);
}

static void test_nonsense(void **state) {
    static const char *const words[] = {"ready", "tidewire 2", "GET / HTTP/1.1"};
    struct sockaddr_un address;
    assert_true(handover_path(pid_file, &address));
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
        assert_true(send(fd, words[i], strlen(words[i]), 0) > 0);
        char answer[64];
        ssize_t len = -1;
        while (len < 0) {
            turn();
            len = recv(fd, answer, sizeof answer, 0);
            assert_true(len >= 0 || errno == EAGAIN);
        }
        assert_int_equal(len, 0); /* it was shown the door */
        close(fd);
    }
    assert_int_equal(taken, 0);
}

static int open_descriptors(void) {
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

/* Says this word with so many descriptors. */
static void say_with_descriptors(int to, const char *word, size_t len, int count) {
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(250 * sizeof(int))];
    } control = {0};
    struct iovec text = {.iov_base = (char *)(uintptr_t)word, .iov_len = len};
    struct msghdr message = {.msg_iov = &text, .msg_iovlen = 1, .msg_control = &control};
    message.msg_controllen = CMSG_SPACE((size_t)count * sizeof(int));
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
    for (int i = 0; i < count; i++)
        memcpy(CMSG_DATA(&control.header) + (size_t)i * sizeof(int), &to, sizeof(int));
    assert_true(sendmsg(to, &message, 0) >= 0);
}

/* Descriptors come with words that take none, or too many with one: each is closed. */
static void test_descriptors_that_nobody_wants(void **state) {
    static const struct {
        const char *word;
        int count;
        enum takeover_state ends_in;
    } cases[] = {
        {HANDOVER_END, 5, TAKEOVER_HAVING},
        {HANDOVER_BUSY, 5, TAKEOVER_FAILED},
        {HANDOVER_YOURS, 5, TAKEOVER_FAILED},
        {"nonsense", 5, TAKEOVER_FAILED},
        {"address 0 0", 5, TAKEOVER_FAILED},
        {"address 0 0 0", 1, TAKEOVER_FAILED}, /* none that listens */
        {"", 5, TAKEOVER_FAILED},
        {"address 0 0 0", 200, TAKEOVER_FAILED},
        {HANDOVER_END, 250, TAKEOVER_FAILED},
        {"a word that is longer than any of those that there are, and is therefore cut", 5,
         TAKEOVER_FAILED},
    };
    struct sockaddr_un place;
    snprintf(pid_file, sizeof pid_file, "%s/other", folder);
    assert_true(handover_path(pid_file, &place));
    int door = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    assert_int_equal(bind(door, (struct sockaddr *)&place, sizeof place), 0);
    assert_int_equal(listen(door, 8), 0);
    int before = open_descriptors();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct inheritance *inheritance = inheritance_new();
        struct takeover takeover;
        takeover_begin(&takeover, &loop, pid_file, inheritance);
        int fd = accept(door, NULL, NULL);
        say_with_descriptors(fd, cases[i].word, strlen(cases[i].word), cases[i].count);
        run_while(&takeover, TAKEOVER_ASKING);
        assert_int_equal(takeover.state, cases[i].ends_in);
        close(fd);
        inheritance_free(inheritance);
        end_takeover(&takeover);
        assert_int_equal(open_descriptors(), before);
    }
    close(door);
    unlink(place.sun_path);
}

/* And neither does the running process keep what is sent to it. */
static void test_descriptors_for_the_running_one(void **state) {
    static const char *const words[] = {"ready", "tidewire 2", HANDOVER_ASK, "", "GET / HTTP/1.1"};
    struct sockaddr_un address;
    assert_true(handover_path(pid_file, &address));
    int before = open_descriptors();
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
        say_with_descriptors(fd, words[i], strlen(words[i]), 20);
        for (int n = 0; n < 4; n++)
            turn();
        close(fd);
        for (int n = 0; n < 4; n++)
            turn();
        assert_int_equal(open_descriptors(), before);
    }
}

static void test_the_running_one_ends(void **state) {
    struct inheritance *inheritance = inheritance_new();
    struct takeover takeover;
    takeover_begin(&takeover, &loop, pid_file, inheritance);
    run_while(&takeover, TAKEOVER_ASKING);
    handover_close(handover);
    handover = NULL;
    run_while(&takeover, TAKEOVER_HAVING);
    assert_int_equal(takeover.state, TAKEOVER_FAILED);
    end_takeover(&takeover);
    inheritance_free(inheritance);
    assert_false(takeover_finds(pid_file));
    takeover_begin(&takeover, &loop, pid_file, NULL);
    assert_int_equal(takeover.state, TAKEOVER_FAILED);
    assert_non_null(strstr(takeover.problem, pid_file));
}

static void test_only_ourselves(void **state) {
    char at[96];
    struct stat info;
    snprintf(at, sizeof at, "%s.sock", pid_file);
    assert_int_equal(stat(at, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
}

static void test_long_path(void **state) {
    char path[200], error[512];
    memset(path, 'x', sizeof path - 1);
    path[0] = '/';
    path[sizeof path - 1] = '\0';
    assert_null(handover_open(&(struct handover_options){.loop = &loop, .pid_file = path}, error,
                              sizeof error));
    assert_non_null(strstr(error, "too long"));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_all_is_passed),
        TEST(test_many_sockets),
        TEST(test_gone_before_it_was_ready),
        TEST(test_second_comer),
        TEST(test_nonsense),
        TEST(test_descriptors_that_nobody_wants),
        TEST(test_descriptors_for_the_running_one),
        TEST(test_the_running_one_ends),
        TEST(test_only_ourselves),
        TEST(test_long_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
