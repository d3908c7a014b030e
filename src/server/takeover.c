/* takeover.c -- a new process takes the listening sockets over. See takeover.h. */
#include "server/takeover.h"

#include "server/handover.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

__attribute__((format(printf, 2, 3))) static void fail(struct takeover *takeover,
                                                       const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(takeover->problem, sizeof takeover->problem, format, args);
    va_end(args);
    takeover->state = TAKEOVER_FAILED;
    if (takeover->fd >= 0)
        uv_poll_stop(&takeover->poll);
}

/* ---- what the other one says ---- */

/* A word and the descriptors that came with it. */
struct heard {
    char word[HANDOVER_WORD_BYTES];
    int fds[HANDOVER_FDS];
    size_t count; /* of descriptors that are still ours to close */
};

static void close_heard(struct heard *heard) {
    while (heard->count > 0)
        close(heard->fds[--heard->count]);
}

/* What the system has opened for us: all of it, also what is too much. */
static void keep_descriptors(struct heard *heard, struct msghdr *message) {
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL;
         header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
            if (heard->count < HANDOVER_FDS)
                heard->fds[heard->count++] = fd;
            else
                close(fd);
        }
    }
}

/* The next word. Its length; 0: the other one has gone; or -1, and no descriptor is left open. */
static ssize_t hear(int from, struct heard *heard) {
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(HANDOVER_FDS * sizeof(int))];
    } control;
    struct iovec text = {.iov_base = heard->word, .iov_len = HANDOVER_WORD_BYTES - 1};
    struct msghdr message = {.msg_iov = &text,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    heard->count = 0;
    ssize_t len = recvmsg(from, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    heard->word[len > 0 ? len : 0] = '\0';
    if (len < 0)
        return -1;
    keep_descriptors(heard, &message);
    if (len == 0) /* a datagram without a word is no better than the end */
        close_heard(heard);
    if (message.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) { /* no descriptors left */
        close_heard(heard);
        errno = EMFILE;
        return -1;
    }
    return len;
}

static void on_address(struct takeover *takeover, struct heard *heard) {
    int for_admin, any_port, owns_file;
    if (takeover->state != TAKEOVER_ASKING ||
        sscanf(heard->word, HANDOVER_ADDRESS, &for_admin, &any_port, &owns_file) != 3) {
        fail(takeover,
             "the running process says what is not understood: \"%s\"; is it another version?",
             heard->word);
        return;
    }
    struct inherited_facts facts = {
        .for_admin = for_admin != 0, .any_port = any_port != 0, .owns_file = owns_file != 0};
    for (size_t i = 0; i < heard->count; i++) {
        const char *why = inheritance_add(takeover->inheritance, heard->fds[i], &facts);
        if (why != NULL)
            fail(takeover, "the running process has passed a socket that cannot be used: %s", why);
    }
    heard->count = 0;
}

static void on_heard(struct takeover *takeover, struct heard *heard) {
    if (strcmp(heard->word, HANDOVER_BUSY) == 0)
        fail(takeover, "another upgrade is under way");
    else if (strcmp(heard->word, HANDOVER_END) == 0 && takeover->state == TAKEOVER_ASKING)
        takeover->state = TAKEOVER_HAVING;
    else if (strcmp(heard->word, HANDOVER_YOURS) == 0 && takeover->state == TAKEOVER_SAYING)
        takeover->state = TAKEOVER_DONE;
    else
        on_address(takeover, heard);
    close_heard(heard); /* only an address takes them */
    if (takeover->state == TAKEOVER_DONE)
        uv_poll_stop(&takeover->poll);
}

static void on_readable(uv_poll_t *poll, int status, int events) {
    (void)status;
    (void)events;
    struct takeover *takeover = poll->data;
    struct heard heard;
    while (takeover->state < TAKEOVER_DONE) {
        ssize_t len = hear(takeover->fd, &heard);
        if (len < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (len > 0)
            on_heard(takeover, &heard);
        else if (len < 0 && errno == EMFILE)
            fail(takeover, "not enough file descriptors for the sockets of the running process");
        else
            fail(takeover, "the running process ends, or has refused");
    }
}

/* ---- life ---- */

int takeover_reach(const char *pid_file, int flags) {
    struct sockaddr_un address;
    if (!handover_path(pid_file, &address))
        return -ENAMETOOLONG;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | flags | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    int result = -errno;
    if (fd >= 0)
        close(fd);
    return result;
}

bool takeover_finds(const char *pid_file) {
    int fd = takeover_reach(pid_file, SOCK_NONBLOCK);
    if (fd >= 0)
        close(fd);
    return fd >= 0 || fd == -EAGAIN; /* (it is there, and has no time) */
}

static void say(struct takeover *takeover, const char *word) {
    if (send(takeover->fd, word, strlen(word), MSG_NOSIGNAL) < 0)
        fail(takeover, "the running process does not listen: %s", strerror(errno));
}

void takeover_begin(struct takeover *takeover, uv_loop_t *loop, const char *pid_file,
                    struct inheritance *inheritance) {
    *takeover = (struct takeover){.inheritance = inheritance, .fd = -1};
    int fd = takeover_reach(pid_file, SOCK_NONBLOCK);
    pid_t pid;
    if (fd < 0) {
        fail(takeover, "no running process can be asked for its sockets at %s.sock: %s", pid_file,
             strerror(-fd));
    } else if (!handover_trusts(fd, &pid)) {
        close(fd);
        fail(takeover, "the process that waits at %s.sock is of another user", pid_file);
    } else {
        takeover->fd = fd;
        uv_poll_init(loop, &takeover->poll, fd);
        takeover->poll.data = takeover;
        uv_poll_start(&takeover->poll, UV_READABLE, on_readable);
        say(takeover, HANDOVER_ASK);
    }
}

void takeover_ready(struct takeover *takeover) {
    takeover->state = TAKEOVER_SAYING;
    say(takeover, HANDOVER_READY);
}

static void on_poll_closed(uv_handle_t *handle) {
    struct takeover *takeover = handle->data;
    close(takeover->fd);
    takeover->fd = -1;
}

void takeover_close(struct takeover *takeover) {
    if (takeover->fd >= 0 && !uv_is_closing((uv_handle_t *)&takeover->poll))
        uv_close((uv_handle_t *)&takeover->poll, on_poll_closed);
}
