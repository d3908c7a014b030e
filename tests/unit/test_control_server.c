/* test_control_server.c -- both sides of an upgrade on one loop: what is passed, and what becomes
 * of a next process that ends, sends unknown messages, or is the second one. */
#include "base/log/log.h"
#include "base/mem.h"
#include "server/upgrade/control.h"
#include "server/upgrade/control_server.h"
#include "server/upgrade/upgrade_new.h"

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
static struct listen_set *app_set;
static struct listeners listeners;
static struct control_server *server;
static int upgraded; /* how often on_upgraded was called */

static void on_upgraded(void *user, pid_t by) {
    assert_int_equal(by, getpid());
    upgraded++;
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
    upgraded = 0;
    app_set =
        listen_open("127.0.0.1:0", &(struct listen_options){.workers = 3}, error, sizeof error);
    listeners = (struct listeners){.sets = &app_set, .count = 1};
    listeners.admin = listen_open(
        unix_path, &(struct listen_options){.workers = 1, .for_admin = true}, error, sizeof error);
    server = control_server_open(&(struct control_server_options){.loop = &loop,
                                                                  .pid_file = pid_file,
                                                                  .listeners = &listeners,
                                                                  .on_upgraded = on_upgraded},
                                 error, sizeof error);
    assert_non_null(server);
    assert_true(control_server_place(server, error, sizeof error));
    return 0;
}

static int teardown(void **state) {
    control_server_close(server);
    listen_close(app_set);
    listen_close(listeners.admin);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    return rmdir(folder); /* nothing is left in it */
}

static bool is_cancelled(void *user) {
    return user != NULL && *(bool *)user;
}

static void begin(struct upgrade_new *upgrade, struct passed_fds *passed) {
    upgrade_new_begin(upgrade, &(struct upgrade_new_options){.loop = &loop,
                                                             .pid_file = pid_file,
                                                             .passed = passed,
                                                             .is_cancelled = is_cancelled});
}

/* Runs the loop until the condition holds, or the test's time is over. */
static void run_while(const struct upgrade_new *upgrade, enum upgrade_new_state at) {
    while (upgrade->state == at)
        uv_run(&loop, UV_RUN_ONCE);
}

static void end_upgrade(struct upgrade_new *upgrade) {
    upgrade_new_close(upgrade);
    for (int i = 0; i < 3; i++)
        turn();
}

static struct address parse(const char *text) {
    struct address_list list;
    assert_true(address_parse(text, &list, NULL, 0));
    return list.at[0];
}

static void test_all_is_passed(void **state) {
    struct passed_fds *passed = passed_fds_new();
    struct upgrade_new upgrade;
    begin(&upgrade, passed);
    run_while(&upgrade, UPGRADE_NEW_ASKING);
    assert_int_equal(upgrade.state, UPGRADE_NEW_RECEIVED);
    assert_int_equal(upgraded, 0); /* it serves on */

    struct address any = parse("127.0.0.1:0"), path = parse(unix_path);
    struct passed_address *tcp = passed_fds_take(passed, &any, false);
    assert_non_null(tcp);
    assert_int_equal(tcp->count, 3); /* one for each worker */
    assert_false(tcp->facts.for_admin);
    assert_true(tcp->facts.any_port);
    assert_false(tcp->facts.owns_file);
    for (size_t i = 0; i < tcp->count; i++) {
        assert_true(fcntl(tcp->fds[i], F_GETFD) & FD_CLOEXEC);
        close(tcp->fds[i]);
    }
    struct passed_address *file = passed_fds_take(passed, &path, true);
    assert_non_null(file);
    assert_int_equal(file->count, 1);
    assert_true(file->facts.for_admin);
    assert_true(file->facts.owns_file);
    close(file->fds[0]);
    assert_null(passed_fds_take_any(passed, false));
    assert_null(passed_fds_take_any(passed, true));

    upgrade_new_ready(&upgrade);
    run_while(&upgrade, UPGRADE_NEW_READY);
    assert_int_equal(upgrade.state, UPGRADE_NEW_DONE);
    assert_int_equal(upgraded, 1);
    control_server_close(server); /* its file stays: the next process owns it */
    server = NULL;
    char at[96];
    snprintf(at, sizeof at, "%s.sock", pid_file);
    assert_int_equal(unlink(at), 0);
    end_upgrade(&upgrade);
    passed_fds_free(passed);
}

/* More workers than a datagram can have descriptors. */
static void test_many_sockets(void **state) {
    char error[256];
    enum { MANY = CONTROL_MAX_FDS + 72 };
    struct listen_set *many =
        listen_open("127.0.0.1:0", &(struct listen_options){.workers = MANY}, error, sizeof error);
    listeners.sets = &many;
    struct passed_fds *passed = passed_fds_new();
    struct upgrade_new upgrade;
    begin(&upgrade, passed);
    run_while(&upgrade, UPGRADE_NEW_ASKING);
    assert_int_equal(upgrade.state, UPGRADE_NEW_RECEIVED);
    struct passed_address *all = passed_fds_take_any(passed, false);
    assert_int_equal(all->count, MANY);
    for (size_t i = 0; i < all->count; i++)
        close(all->fds[i]);
    end_upgrade(&upgrade);
    passed_fds_free(passed);
    listen_close(many);
    listeners.sets = &app_set;
}

/* A signal in the same turn of the loop as the last socket cancels the upgrade; an upgrade that is
 * done cannot be cancelled. */
static void test_cancelled(void **state) {
    char error[256] = "";
    bool cancelled = true;
    struct passed_fds *passed = passed_fds_new();
    struct upgrade_new upgrade;
    begin(&upgrade, passed);
    run_while(&upgrade, UPGRADE_NEW_ASKING);
    assert_true(upgrade_new_wait(&upgrade, UPGRADE_NEW_RECEIVED, error, sizeof error));
    upgrade.options.user = &cancelled;
    assert_false(upgrade_new_wait(&upgrade, UPGRADE_NEW_RECEIVED, error, sizeof error));
    assert_non_null(strstr(error, "a signal"));
    upgrade_new_ready(&upgrade);
    run_while(&upgrade, UPGRADE_NEW_READY);
    assert_true(upgrade_new_wait(&upgrade, UPGRADE_NEW_DONE, error, sizeof error));
    end_upgrade(&upgrade);
    passed_fds_free(passed);
    char at[96];
    snprintf(at, sizeof at, "%s.sock", pid_file);
    assert_int_equal(unlink(at), 0);
}

static void test_gone_before_it_was_ready(void **state) {
    for (int i = 0; i < 3; i++) { /* the next process gets the sockets */
        struct passed_fds *passed = passed_fds_new();
        struct upgrade_new upgrade;
        begin(&upgrade, passed);
        if (i > 0)
            run_while(&upgrade, UPGRADE_NEW_ASKING);
        end_upgrade(&upgrade);
        passed_fds_free(passed);
    }
    assert_int_equal(upgraded, 0);
    assert_true(control_is_served(pid_file));
    for (int i = 0; i < 3; i++)
        turn();
}

static void test_second_comer(void **state) {
    struct passed_fds *passed = passed_fds_new();
    struct upgrade_new first, second;
    begin(&first, passed);
    run_while(&first, UPGRADE_NEW_ASKING);
    begin(&second, passed);
    run_while(&second, UPGRADE_NEW_ASKING);
    assert_int_equal(second.state, UPGRADE_NEW_FAILED);
    assert_non_null(strstr(second.problem, "another upgrade"));
    upgrade_new_ready(&first);
    run_while(&first, UPGRADE_NEW_READY);
    assert_int_equal(first.state, UPGRADE_NEW_DONE);
    end_upgrade(&first);
    end_upgrade(&second);
    passed_fds_free(passed);
    char at[96];
    snprintf(at, sizeof at, "%s.sock", pid_file);
    assert_int_equal(unlink(at), 0);
}

static void test_nonsense(void **state) {
    static const char *const messages[] = {"ready", "tidewire 2", "GET / HTTP/1.1"};
    struct sockaddr_un address;
    assert_true(control_path(pid_file, &address));
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
        assert_true(send(fd, messages[i], strlen(messages[i]), 0) > 0);
        char answer[64];
        ssize_t len = -1;
        while (len < 0) {
            turn();
            len = recv(fd, answer, sizeof answer, 0);
            assert_true(len >= 0 || errno == EAGAIN);
        }
        assert_int_equal(len, 0); /* its connection was closed */
        close(fd);
    }
    assert_int_equal(upgraded, 0);
}

static int open_descriptors(void) {
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

/* Sends this message with so many descriptors. */
static void send_with_descriptors(int to, const char *text, size_t len, int count) {
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(250 * sizeof(int))];
    } control = {0};
    struct iovec bytes = {.iov_base = (char *)(uintptr_t)text, .iov_len = len};
    struct msghdr message = {.msg_iov = &bytes, .msg_iovlen = 1, .msg_control = &control};
    message.msg_controllen = CMSG_SPACE((size_t)count * sizeof(int));
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
    for (int i = 0; i < count; i++)
        memcpy(CMSG_DATA(&control.header) + (size_t)i * sizeof(int), &to, sizeof(int));
    assert_true(sendmsg(to, &message, 0) >= 0);
}

/* Descriptors of a message that should have none, or fewer: each is closed. */
static void test_descriptors_that_nobody_wants(void **state) {
    static const struct {
        const char *text;
        int count;
        enum upgrade_new_state ends_in;
    } cases[] = {
        {CONTROL_END, 5, UPGRADE_NEW_RECEIVED},
        {CONTROL_BUSY, 5, UPGRADE_NEW_FAILED},
        {CONTROL_YOURS, 5, UPGRADE_NEW_FAILED},
        {"nonsense", 5, UPGRADE_NEW_FAILED},
        {"address 0 0", 5, UPGRADE_NEW_FAILED},
        {"address 0 0 0", 1, UPGRADE_NEW_FAILED}, /* none that listens */
        {"", 5, UPGRADE_NEW_FAILED},
        {"address 0 0 0", 200, UPGRADE_NEW_FAILED},
        {CONTROL_END, 250, UPGRADE_NEW_FAILED},
        {"a message that is longer than any of those that there are, and is therefore cut", 5,
         UPGRADE_NEW_FAILED},
    };
    struct sockaddr_un place;
    snprintf(pid_file, sizeof pid_file, "%s/other", folder);
    assert_true(control_path(pid_file, &place));
    int listener = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&place, sizeof place), 0);
    assert_int_equal(listen(listener, 8), 0);
    int before = open_descriptors();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct passed_fds *passed = passed_fds_new();
        struct upgrade_new upgrade;
        begin(&upgrade, passed);
        int fd = accept(listener, NULL, NULL);
        send_with_descriptors(fd, cases[i].text, strlen(cases[i].text), cases[i].count);
        run_while(&upgrade, UPGRADE_NEW_ASKING);
        assert_int_equal(upgrade.state, cases[i].ends_in);
        close(fd);
        passed_fds_free(passed);
        end_upgrade(&upgrade);
        assert_int_equal(open_descriptors(), before);
    }
    close(listener);
    unlink(place.sun_path);
}

/* The running process closes the descriptors that it receives. */
static void test_descriptors_for_the_running_one(void **state) {
    static const char *const messages[] = {"ready", "tidewire 2", CONTROL_UPGRADE, "",
                                           "GET / HTTP/1.1"};
    struct sockaddr_un address;
    assert_true(control_path(pid_file, &address));
    int before = open_descriptors();
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
        send_with_descriptors(fd, messages[i], strlen(messages[i]), 20);
        for (int n = 0; n < 4; n++)
            turn();
        close(fd);
        for (int n = 0; n < 4; n++)
            turn();
        assert_int_equal(open_descriptors(), before);
    }
}

static void test_the_running_one_ends(void **state) {
    struct passed_fds *passed = passed_fds_new();
    struct upgrade_new upgrade;
    begin(&upgrade, passed);
    run_while(&upgrade, UPGRADE_NEW_ASKING);
    control_server_close(server);
    server = NULL;
    run_while(&upgrade, UPGRADE_NEW_RECEIVED);
    assert_int_equal(upgrade.state, UPGRADE_NEW_FAILED);
    end_upgrade(&upgrade);
    passed_fds_free(passed);
    assert_false(control_is_served(pid_file));
    begin(&upgrade, NULL);
    assert_int_equal(upgrade.state, UPGRADE_NEW_FAILED);
    assert_non_null(strstr(upgrade.problem, pid_file));
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
    assert_null(control_server_open(
        &(struct control_server_options){.loop = &loop, .pid_file = path}, error, sizeof error));
    assert_non_null(strstr(error, "too long"));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_all_is_passed),
        TEST(test_many_sockets),
        TEST(test_cancelled),
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
