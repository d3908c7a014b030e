/* control.c -- the control socket. See control.h. */
#include "server/upgrade/control.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Room for the descriptors of a message. */
union ancillary {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(CONTROL_MAX_FDS * sizeof(int))];
};

/* ---- connecting ---- */

bool control_path(const char *pid_file, struct sockaddr_un *address) {
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    int len = snprintf(address->sun_path, sizeof address->sun_path, "%s.sock", pid_file);
    return len > 0 && (size_t)len < sizeof address->sun_path;
}

int control_connect(const char *pid_file, int flags) {
    struct sockaddr_un address;
    if (!control_path(pid_file, &address))
        return -ENAMETOOLONG;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | flags | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    int result = -errno;
    if (fd >= 0)
        close(fd);
    return result;
}

bool control_is_served(const char *pid_file) {
    int fd = control_connect(pid_file, SOCK_NONBLOCK);
    if (fd >= 0)
        close(fd);
    return fd >= 0 || fd == -EAGAIN; /* a process listens, and its queue is full */
}

bool control_trusts(int fd, pid_t *pid) {
    struct ucred peer;
    socklen_t len = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
        return false;
    *pid = peer.pid;
    return peer.uid == geteuid() || peer.uid == 0;
}

/* ---- messages ---- */

bool control_send(int fd, const char *text, const int *fds, size_t count) {
    union ancillary ancillary = {0};
    struct iovec bytes = {.iov_base = (char *)(uintptr_t)text, .iov_len = strlen(text)};
    struct msghdr header = {.msg_iov = &bytes, .msg_iovlen = 1};
    if (count > 0) {
        header.msg_control = &ancillary;
        header.msg_controllen = CMSG_SPACE(count * sizeof(int));
        ancillary.header.cmsg_level = SOL_SOCKET;
        ancillary.header.cmsg_type = SCM_RIGHTS;
        ancillary.header.cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(&ancillary.header), fds, count * sizeof(int));
    }
    return sendmsg(fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
}

void control_close_fds(struct control_message *message) {
    while (message->fd_count > 0)
        close(message->fds[--message->fd_count]);
}

/* Stores the received descriptors in the message; closes those above the limit. */
static void store_fds(struct control_message *message, struct msghdr *from) {
    for (struct cmsghdr *header = CMSG_FIRSTHDR(from); header != NULL;
         header = CMSG_NXTHDR(from, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
            if (message->fd_count < CONTROL_MAX_FDS)
                message->fds[message->fd_count++] = fd;
            else
                close(fd);
        }
    }
}

ssize_t control_receive(int fd, struct control_message *message) {
    union ancillary ancillary;
    struct iovec bytes = {.iov_base = message->text, .iov_len = sizeof message->text - 1};
    struct msghdr header = {.msg_iov = &bytes,
                            .msg_iovlen = 1,
                            .msg_control = &ancillary,
                            .msg_controllen = sizeof ancillary};
    message->fd_count = 0;
    ssize_t len = recvmsg(fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    message->text[len > 0 ? len : 0] = '\0';
    if (len < 0)
        return -1;
    store_fds(message, &header);
    if (len == 0) /* an empty message is treated as the end */
        control_close_fds(message);
    if (header.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) { /* the process has no descriptor left */
        control_close_fds(message);
        errno = EMFILE;
        return -1;
    }
    return len;
}
