/* handover.c -- the running process passes its listening sockets on. See handover.h.
 *
 * The socket is F.sock for the pid file F, mode 0600, of the kind SOCK_SEQPACKET: what is said is a row of
 * short texts, each a datagram. Whoever connects must be of the same user, or root. Then
 *
 *     next process                                        running process
 *     has loaded its app
 *     "tidewire 1"                                ->
 *                                                 <-      "address ADMIN ANYPORT FILE" with the descriptors
 *                                                            of one address, or of a part of it
 *                                                         …
 *     opens what is missing, accepts on all of it <-      "end"
 *     "ready"                                     ->
 *     puts its pid file and its own socket in     <-      "yours"
 *     the places of the old ones, and is ready            drains
 *
 * Who says "reload 1" instead gets "reloaded GENERATION" or "failed PROBLEMS" when that is known.
 *
 * ADMIN, ANYPORT and FILE are 0 or 1: the socket is the admin address's; the system chose its port; its file
 * is Tidewire's to remove (systemd's are not). Until "yours" the running process serves as before, and whatever
 * happens to the next one, it goes on. From "yours" on it removes no file. To a second one it says "busy"
 * while it deals with the first. Both accept for a moment: the sockets are the same, so no
 * connection that waits in them is lost, and the kernel has no reason to refuse one. */
#include "server/handover.h"

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/socket_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* A socket on the loop: the door, or somebody who came in. */
struct ear {
    uv_poll_t poll;
    struct list link; /* of the visitors */
    struct handover *handover;
    int fd;
    pid_t pid;
    uint64_t question; /* waits for the answer to a reload, which has this number; 0: does not */
};

struct handover {
    struct handover_options options;
    struct sockaddr_un place;                               /* F.sock */
    char beside[sizeof((struct sockaddr_un *)0)->sun_path]; /* "" once it is in its place */
    bool in_place;
    struct socket_file file;
    struct ear *door;
    struct list visitors;
    uint64_t last_question;
    struct ear *successor; /* the visitor that has asked, and got the sockets; or NULL */
};

bool handover_path(const char *pid_file, struct sockaddr_un *address) {
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    int len = snprintf(address->sun_path, sizeof address->sun_path, "%s.sock", pid_file);
    return len > 0 && (size_t)len < sizeof address->sun_path;
}

bool handover_trusts(int fd, pid_t *pid) {
    struct ucred who;
    socklen_t len = sizeof who;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) != 0)
        return false;
    *pid = who.pid;
    return who.uid == geteuid() || who.uid == 0;
}

/* ---- sockets on the loop ---- */

static struct ear *new_ear(struct handover *handover, int fd, uv_poll_cb on_readable) {
    struct ear *ear = mem_zalloc(sizeof *ear);
    ear->fd = fd;
    ear->handover = handover;
    list_init(&ear->link);
    uv_poll_init(handover->options.loop, &ear->poll, fd);
    ear->poll.data = ear;
    uv_poll_start(&ear->poll, UV_READABLE, on_readable);
    return ear;
}

static void on_ear_closed(uv_handle_t *handle) {
    struct ear *ear = (struct ear *)handle; /* its first member */
    close(ear->fd);
    mem_free(ear);
}

static void close_ear(struct ear *ear) {
    if (ear->handover->successor == ear)
        ear->handover->successor = NULL;
    list_remove(&ear->link);
    uv_close((uv_handle_t *)&ear->poll, on_ear_closed);
}

/* ---- talking to the successor ---- */

/* False: it went away, or does not listen. */
static bool say(int to, const char *word, const int *fds, size_t count) {
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(HANDOVER_FDS * sizeof(int))];
    } control = {0};
    struct iovec text = {.iov_base = (char *)(uintptr_t)word, .iov_len = strlen(word)};
    struct msghdr message = {.msg_iov = &text, .msg_iovlen = 1};
    if (count > 0) {
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
    }
    return sendmsg(to, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
}

static bool offer_address(int to, const int *fds, size_t count,
                          const struct inherited_facts *facts) {
    char word[HANDOVER_WORD_BYTES];
    snprintf(word, sizeof word, HANDOVER_ADDRESS, facts->for_admin, facts->any_port,
             facts->owns_file);
    for (size_t done = 0; done < count;) {
        size_t some = count - done < HANDOVER_FDS ? count - done : HANDOVER_FDS;
        if (!say(to, word, fds + done, some))
            return false;
        done += some;
    }
    return true;
}

static bool offer_all(const struct handover *handover, int to) {
    struct listen_set *set;
    for (size_t i = 0; (set = handover->options.set(handover->options.user, i)) != NULL; i++) {
        const int *fds;
        size_t count;
        struct inherited_facts facts;
        for (size_t j = 0; listen_look(set, j, &fds, &count, &facts); j++)
            if (!offer_address(to, fds, count, &facts))
                return false;
    }
    return say(to, HANDOVER_END, NULL, 0);
}

static void give_up(struct ear *visitor, const char *why) {
    log_eventf(LOG_WARN, "upgrade_failed", "process %ld %s; this one goes on", (long)visitor->pid,
               why);
    close_ear(visitor);
}

static void on_ask(struct ear *visitor) {
    struct handover *handover = visitor->handover;
    if (handover->successor != NULL) {
        say(visitor->fd, HANDOVER_BUSY, NULL, 0);
        close_ear(visitor);
        return;
    }
    log_eventf(LOG_INFO, "upgrade", "process %ld has asked for the sockets", (long)visitor->pid);
    handover->successor = visitor;
    if (!offer_all(handover, visitor->fd))
        give_up(visitor, "does not take them");
}

static void on_ready(struct ear *successor) {
    struct handover *handover = successor->handover;
    if (!say(successor->fd, HANDOVER_YOURS, NULL, 0)) {
        give_up(successor, "has gone at the last moment");
        return;
    }
    handover->in_place = false; /* the file is the other one's */
    handover->options.on_taken(handover->options.user, successor->pid);
}

static void on_reload(struct ear *visitor) {
    struct handover *handover = visitor->handover;
    visitor->question = ++handover->last_question;
    handover->options.on_reload(handover->options.user, visitor->question);
}

void handover_answer(struct handover *handover, uint64_t question, const char *answer) {
    for (struct list *at = handover->visitors.next; at != &handover->visitors; at = at->next) {
        struct ear *visitor = LIST_OWNER(at, struct ear, link);
        if (visitor->question == question) {
            say(visitor->fd, answer, NULL, 0);
            close_ear(visitor);
            return;
        }
    }
}

static void on_word(uv_poll_t *poll, int status, int events) {
    (void)status;
    (void)events;
    struct ear *visitor = poll->data;
    bool has_asked = visitor == visitor->handover->successor;
    char word[HANDOVER_WORD_BYTES];
    ssize_t len = recv(visitor->fd, word, sizeof word - 1, MSG_DONTWAIT);
    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    word[len > 0 ? len : 0] = '\0';
    if (len <= 0 && !has_asked)
        close_ear(visitor); /* it only looked whether we are here */
    else if (len <= 0)
        give_up(visitor, "has gone before it was ready");
    else if (!has_asked && visitor->question == 0 && strcmp(word, HANDOVER_RELOAD) == 0)
        on_reload(visitor);
    else if (!has_asked && strcmp(word, HANDOVER_ASK) == 0)
        on_ask(visitor);
    else if (has_asked && strcmp(word, HANDOVER_READY) == 0)
        on_ready(visitor);
    else
        give_up(visitor, "says what is not understood");
}

static void on_visitor(uv_poll_t *poll, int status, int events) {
    (void)status;
    (void)events;
    const struct ear *door = poll->data;
    pid_t pid;
    int fd = accept4(door->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    if (!handover_trusts(fd, &pid)) {
        log_event(LOG_WARN, "upgrade_failed",
                  "a process of another user has asked for the sockets");
        close(fd);
        return;
    }
    struct ear *visitor = new_ear(door->handover, fd, on_word);
    visitor->pid = pid;
    list_append(&door->handover->visitors, &visitor->link);
}

/* ---- life ---- */

/* A socket that listens at this path, and nobody but us can connect to; or -1. */
static int listen_at(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    unlink(path);                  /* of a process of our number that was killed */
    fchmod(fd, S_IRUSR | S_IWUSR); /* before anybody can find it */
    if (bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 8) == 0)
        return fd;
    int result = errno;
    close(fd);
    errno = result;
    return -1;
}

struct handover *handover_open(const struct handover_options *options, char *error,
                               size_t error_size) {
    struct handover *handover = mem_zalloc(sizeof *handover);
    handover->options = *options;
    list_init(&handover->visitors);
    int len = 0, fd = -1;
    if (handover_path(options->pid_file, &handover->place))
        len = snprintf(handover->beside, sizeof handover->beside, "%s.%ld",
                       handover->place.sun_path, (long)getpid());
    errno = ENAMETOOLONG;
    if (len > 0 && (size_t)len < sizeof handover->beside)
        fd = listen_at(handover->beside);
    if (fd < 0) {
        snprintf(error, error_size, "cannot wait for an upgrade at %s.sock: %s", options->pid_file,
                 strerror(errno));
        mem_free(handover);
        return NULL;
    }
    handover->door = new_ear(handover, fd, on_visitor);
    return handover;
}

bool handover_place(struct handover *handover, char *error, size_t error_size) {
    struct stat info;
    if (lstat(handover->place.sun_path, &info) == 0 && !S_ISSOCK(info.st_mode)) {
        snprintf(error, error_size, "%s is there and is no socket: remove it",
                 handover->place.sun_path);
        return false;
    }
    if (rename(handover->beside, handover->place.sun_path) != 0) {
        snprintf(error, error_size, "cannot wait for an upgrade at %s: %s",
                 handover->place.sun_path, strerror(errno));
        return false;
    }
    handover->beside[0] = '\0';
    handover->in_place = true;
    handover->file = socket_file_at(handover->place.sun_path);
    return true;
}

bool handover_is_lost(const struct handover *handover) {
    return handover->in_place && list_empty(&handover->visitors) &&
           !socket_file_is_at(&handover->file, handover->place.sun_path);
}

void handover_close(struct handover *handover) {
    if (handover == NULL)
        return;
    while (!list_empty(&handover->visitors))
        close_ear(LIST_OWNER(handover->visitors.next, struct ear, link));
    close_ear(handover->door);
    if (handover->in_place)
        socket_file_remove(&handover->file, handover->place.sun_path);
    if (handover->beside[0] != '\0')
        unlink(handover->beside);
    mem_free(handover);
}
