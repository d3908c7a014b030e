/* fuzz_control.c -- the control socket: both sides of an upgrade, and what other programs of the
 * same user send.
 *
 * Input: one byte chooses the side; then messages: a byte that says which descriptors come with one
 * (0: none), its length, its text. No descriptor may be left open. */
#include "fuzz.h"

#include "base/log/log.h"
#include "server/upgrade/control.h"
#include "server/upgrade/control_server.h"
#include "server/upgrade/upgrade_new.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TURNS = 4, FDS_MAX = 6 };

static char folder[] = "/tmp/tidewire-fuzz-XXXXXX", pid_file[64];
static uv_loop_t loop;
static int listening, no_socket; /* descriptors to pass */
static struct listen_set *set;
static struct listeners listeners;
static struct control_server *server;
static uint64_t reload; /* the number of the last request; 0: none waits */

static void on_upgraded(void *user, pid_t by) {
}

static void on_reload(void *user, uint64_t request) {
    reload = request;
}

static void remove_files(void) {
    control_server_close(server);
    listen_close(set);
    uv_run(&loop, UV_RUN_DEFAULT);
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (system(command) != 0)
        perror(command);
}

static void open_server(void) {
    char error[256];
    server = control_server_open(&(struct control_server_options){.loop = &loop,
                                                                  .pid_file = pid_file,
                                                                  .listeners = &listeners,
                                                                  .on_upgraded = on_upgraded,
                                                                  .on_reload = on_reload},
                                 error, sizeof error);
    fuzz_check(server != NULL && control_server_place(server, error, sizeof error));
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    char error[256];
    fuzz_no_leak_check(argc, argv);
    log_set_level(LOG_ERROR + 1);
    fuzz_check(mkdtemp(folder) != NULL);
    snprintf(pid_file, sizeof pid_file, "%s/pid", folder);
    uv_loop_init(&loop);
    listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    fuzz_check(bind(listening, (struct sockaddr *)&any, sizeof any) == 0);
    fuzz_check(listen(listening, 1) == 0);
    no_socket = open("/dev/null", O_RDONLY | O_CLOEXEC);
    set = listen_open("127.0.0.1:0", &(struct listen_options){.workers = 2}, error, sizeof error);
    fuzz_check(set != NULL);
    listeners = (struct listeners){.sets = &set, .count = 1};
    open_server();
    atexit(remove_files);
    return 0;
}

static void turn(void) {
    for (int i = 0; i < TURNS; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
}

/* Sends the next message of the input. */
static void send_message(int fd, struct fuzz_input *input) {
    char text[CONTROL_MESSAGE_BYTES * 2];
    int fds[FDS_MAX];
    unsigned which = fuzz_byte(input);
    size_t count = which % (FDS_MAX + 1), len = fuzz_below(input, sizeof text);
    for (size_t i = 0; i < count; i++)
        fds[i] = which >> 3 >> i & 1 ? no_socket : listening;
    len = len < input->left ? len : input->left;
    memcpy(text, input->at, len);
    text[len] = '\0';
    input->at += len;
    input->left -= len;
    control_send(fd, text, fds, count); /* which sends the text up to its first NUL */
}

/* The running process: clients send requests. */
static void run_server(struct fuzz_input *input) {
    int fd = control_connect(pid_file, SOCK_NONBLOCK);
    fuzz_check(fd >= 0);
    turn();
    while (input->left > 0) {
        send_message(fd, input);
        turn();
        if (reload != 0)
            control_server_reloaded(server, reload, 2, fuzz_byte(input) & 1 ? "a problem" : NULL);
        reload = 0;
        struct control_message message;
        while (control_receive(fd, &message) > 0)
            control_close_fds(&message);
    }
    close(fd);
    turn();
    control_server_close(server); /* an upgrade that is done cannot be repeated */
    turn();
    open_server();
}

static bool is_cancelled(void *user) {
    return false;
}

/* The next process: the running one sends sockets. */
static void run_new(struct fuzz_input *input) {
    struct sockaddr_un address;
    fuzz_check(control_path(pid_file, &address));
    control_server_close(server);
    turn();
    unlink(address.sun_path);
    int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    fuzz_check(bind(listener, (struct sockaddr *)&address, sizeof address) == 0);
    fuzz_check(listen(listener, 1) == 0);
    struct passed_fds *passed = passed_fds_new();
    struct upgrade_new upgrade = {.fd = -1};
    upgrade_new_begin(&upgrade, &(struct upgrade_new_options){.loop = &loop,
                                                              .pid_file = pid_file,
                                                              .passed = passed,
                                                              .is_cancelled = is_cancelled});
    int fd = accept(listener, NULL, NULL);
    fuzz_check(fd >= 0);
    while (input->left > 0 && upgrade.state < UPGRADE_NEW_DONE) {
        send_message(fd, input);
        turn();
        if (upgrade.state == UPGRADE_NEW_RECEIVED && fuzz_byte(input) & 1)
            upgrade_new_ready(&upgrade);
    }
    close(fd);
    turn();
    if (upgrade.state == UPGRADE_NEW_FAILED)
        fuzz_check(upgrade.problem[0] != '\0');
    struct passed_address *taken = passed_fds_take_any(passed, false);
    for (size_t i = 0; taken != NULL && i < taken->count; i++)
        close(taken->fds[i]);
    upgrade_new_close(&upgrade);
    passed_fds_free(passed);
    turn();
    close(listener);
    unlink(address.sun_path);
    open_server();
}

/* Open sockets and files. */
static int count_fds(void) {
    int count = 0;
    struct stat info;
    for (int fd = 0; fd < 128; fd++)
        count += fstat(fd, &info) == 0 && (S_ISSOCK(info.st_mode) || S_ISCHR(info.st_mode));
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fuzz_input input = {data, size};
    int before = count_fds();
    if (fuzz_byte(&input) & 1)
        run_new(&input);
    else
        run_server(&input);
    fuzz_check(count_fds() == before);
    return 0;
}
