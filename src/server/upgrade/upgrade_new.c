/* upgrade_new.c -- the next process's side of an upgrade. See upgrade_new.h. */
#include "server/upgrade/upgrade_new.h"

#include "server/upgrade/control.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void enter(struct upgrade_new *upgrade, enum upgrade_new_state state) {
    upgrade->state = state;
    if (state >= UPGRADE_NEW_DONE && upgrade->fd >= 0)
        uv_poll_stop(&upgrade->poll);
}

__attribute__((format(printf, 2, 3))) static void fail(struct upgrade_new *upgrade,
                                                       const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(upgrade->problem, sizeof upgrade->problem, format, args);
    va_end(args);
    enter(upgrade, UPGRADE_NEW_FAILED);
}

/* ---- messages of the running process ---- */

static void on_address(struct upgrade_new *upgrade, struct control_message *message) {
    int for_admin, any_port, owns_file;
    if (upgrade->state != UPGRADE_NEW_ASKING ||
        sscanf(message->text, CONTROL_ADDRESS, &for_admin, &any_port, &owns_file) != 3) {
        fail(upgrade,
             "the running process has sent \"%s\", which is unknown; is it another version?",
             message->text);
        return;
    }
    struct passed_facts facts = {
        .for_admin = for_admin != 0, .any_port = any_port != 0, .owns_file = owns_file != 0};
    for (size_t i = 0; i < message->fd_count; i++) {
        const char *why = passed_fds_add(upgrade->options.passed, message->fds[i], &facts);
        if (why != NULL)
            fail(upgrade, "the running process has passed a socket that cannot be used: %s", why);
    }
    message->fd_count = 0;
}

static void on_message(struct upgrade_new *upgrade, struct control_message *message) {
    if (strcmp(message->text, CONTROL_BUSY) == 0)
        fail(upgrade, "another upgrade is under way");
    else if (strcmp(message->text, CONTROL_END) == 0 && upgrade->state == UPGRADE_NEW_ASKING) {
        /* without them, clients get new sessions */
        tls_tickets_receive(upgrade->options.tickets, upgrade->tickets_fd);
        char text[sizeof CONTROL_HAS_STATE];
        upgrade->has_state = recv(upgrade->tickets_fd, text, sizeof text, MSG_DONTWAIT) ==
                                 (ssize_t)strlen(CONTROL_HAS_STATE) &&
                             memcmp(text, CONTROL_HAS_STATE, strlen(CONTROL_HAS_STATE)) == 0;
        enter(upgrade, UPGRADE_NEW_RECEIVED);
    } else if (strcmp(message->text, CONTROL_STATE) == 0 &&
               upgrade->state == UPGRADE_NEW_STATE_ASKED) {
        if (message->fd_count > 0)
            upgrade->state_fd = message->fds[--message->fd_count];
        enter(upgrade, UPGRADE_NEW_STATE_TAKEN);
    } else if (strcmp(message->text, CONTROL_YOURS) == 0 && upgrade->state == UPGRADE_NEW_READY)
        enter(upgrade, UPGRADE_NEW_DONE);
    else
        on_address(upgrade, message);
    control_close_fds(message); /* those of an address are owned by `passed` */
}

static void on_readable(uv_poll_t *poll, int status, int events) {
    (void)status;
    (void)events;
    struct upgrade_new *upgrade = poll->data;
    struct control_message message;
    while (upgrade->state < UPGRADE_NEW_DONE) {
        ssize_t len = control_receive(upgrade->fd, &message);
        if (len < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (len > 0)
            on_message(upgrade, &message);
        else if (len < 0 && errno == EMFILE)
            fail(upgrade, "not enough file descriptors for the sockets of the running process");
        else
            fail(upgrade, "the running process has closed the control connection");
    }
}

/* ---- life ---- */

static void send_text(struct upgrade_new *upgrade, const char *text, const int *fds, size_t count) {
    if (!control_send(upgrade->fd, text, fds, count))
        fail(upgrade, "the running process does not read its control socket: %s", strerror(errno));
}

static void send_request(struct upgrade_new *upgrade) {
    int fds[2];
    bool good = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == 0;
    send_text(upgrade, CONTROL_UPGRADE, &fds[1], good ? 1 : 0);
    if (good) {
        upgrade->tickets_fd = fds[0];
        close(fds[1]);
    }
}

void upgrade_new_begin(struct upgrade_new *upgrade, const struct upgrade_new_options *options) {
    *upgrade =
        (struct upgrade_new){.options = *options, .fd = -1, .state_fd = -1, .tickets_fd = -1};
    const char *pid_file = options->pid_file;
    int fd = control_connect(pid_file, SOCK_NONBLOCK);
    pid_t pid;
    if (fd < 0) {
        fail(upgrade, "no process listens at %s.sock, so there are no sockets to receive: %s",
             pid_file, strerror(-fd));
    } else if (!control_trusts(fd, &pid)) {
        close(fd);
        fail(upgrade, "the process that listens at %s.sock is of another user", pid_file);
    } else {
        upgrade->fd = fd;
        uv_poll_init(options->loop, &upgrade->poll, fd);
        upgrade->poll.data = upgrade;
        uv_poll_start(&upgrade->poll, UV_READABLE, on_readable);
        send_request(upgrade);
    }
}

void upgrade_new_ask_state(struct upgrade_new *upgrade) {
    enter(upgrade, UPGRADE_NEW_STATE_ASKED);
    send_text(upgrade, CONTROL_STATE, NULL, 0);
}

void upgrade_new_ready(struct upgrade_new *upgrade) {
    enter(upgrade, UPGRADE_NEW_READY);
    send_text(upgrade, CONTROL_READY, NULL, 0);
}

bool upgrade_new_wait(struct upgrade_new *upgrade, enum upgrade_new_state wanted, char *error,
                      size_t error_size) {
    const struct upgrade_new_options *options = &upgrade->options;
    bool cancelled;
    while (!(cancelled = options->is_cancelled(options->user)) && upgrade->state < wanted)
        uv_run(options->loop, UV_RUN_ONCE);
    if (upgrade->state == wanted && (!cancelled || wanted == UPGRADE_NEW_DONE))
        return true;
    snprintf(error, error_size, "%s",
             upgrade->state == UPGRADE_NEW_FAILED ? upgrade->problem
                                                  : "a signal has cancelled the upgrade");
    return false;
}

static void on_poll_closed(uv_handle_t *handle) {
    struct upgrade_new *upgrade = handle->data;
    close(upgrade->fd);
    if (upgrade->tickets_fd >= 0)
        close(upgrade->tickets_fd);
    upgrade->fd = upgrade->tickets_fd = -1;
}

void upgrade_new_close(struct upgrade_new *upgrade) {
    if (upgrade->state_fd >= 0)
        close(upgrade->state_fd);
    upgrade->state_fd = -1;
    if (upgrade->fd >= 0 && !uv_is_closing((uv_handle_t *)&upgrade->poll))
        uv_close((uv_handle_t *)&upgrade->poll, on_poll_closed);
}
