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

#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* A socket and its place on the loop. */
struct ear {
    uv_poll_t poll;
    int fd;
};

struct handover {
    struct handover_options options;
    struct sockaddr_un place;                               /* F.sock */
    char beside[sizeof((struct sockaddr_un *)0)->sun_path]; /* "" once it is in its place */
    bool in_place;
    struct ear *door;      /* where successors come in */
    struct ear *successor; /* the one that is here; or NULL */
    pid_t successor_pid;
    bool asked;     /* it has, and got them */
    bool reloading; /* it is none, and waits for the answer to a reload */
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
    uv_poll_init(handover->options.loop, &ear->poll, fd);
    ear->poll.data = handover;
    uv_poll_start(&ear->poll, UV_READABLE, on_readable);
    return ear;
}

static void on_ear_closed(uv_handle_t *handle) {
    struct ear *ear = (struct ear *)handle; /* its first member */
    close(ear->fd);
    mem_free(ear);
}

static void close_ear(struct ear **ear) {
    if (*ear != NULL)
        uv_close((uv_handle_t *)&(*ear)->poll, on_ear_closed);
    *ear = NULL;
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

static void give_up(struct handover *handover, const char *why) {
    log_eventf(LOG_WARN, "upgrade_failed", "process %ld %s; this one goes on",
               (long)handover->successor_pid, why);
    close_ear(&handover->successor);
}

static void on_ask(struct handover *handover) {
    log_eventf(LOG_INFO, "upgrade", "process %ld has asked for the sockets",
               (long)handover->successor_pid);
    handover->asked = true;
    if (!offer_all(handover, handover->successor->fd))
        give_up(handover, "does not take them");
}

static void on_ready(struct handover *handover) {
    if (!say(handover->successor->fd, HANDOVER_YOURS, NULL, 0)) {
        give_up(handover, "has gone at the last moment");
        return;
    }
    handover->in_place = false; /* the file is the other one's */
    handover->options.on_taken(handover->options.user, handover->successor_pid);
}

static void on_reload(struct handover *handover) {
    handover->reloading = true;
    handover->options.on_reload(handover->options.user);
}

void handover_answer(struct handover *handover, const char *answer) {
    if (handover == NULL || handover->successor == NULL || !handover->reloading)
        return;
    char text[HANDOVER_ANSWER_BYTES];
    snprintf(text, sizeof text, "%s", answer);
    say(handover->successor->fd, text, NULL, 0);
    close_ear(&handover->successor);
}

static void on_word(uv_poll_t *poll, int status, int events) {
    (void)status;
    (void)events;
    struct handover *handover = poll->data;
    char word[HANDOVER_WORD_BYTES];
    ssize_t len = recv(handover->successor->fd, word, sizeof word - 1, MSG_DONTWAIT);
    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    word[len > 0 ? len : 0] = '\0';
    if (len <= 0 && !handover->asked)
        close_ear(&handover->successor); /* it only looked whether we are here */
    else if (len <= 0)
        give_up(handover, "has gone before it was ready");
    else if (!handover->asked && !handover->reloading && strcmp(word, HANDOVER_ASK) == 0)
        on_ask(handover);
    else if (!handover->asked && !handover->reloading && strcmp(word, HANDOVER_RELOAD) == 0)
        on_reload(handover);
    else if (handover->asked && strcmp(word, HANDOVER_READY) == 0)
        on_ready(handover);
    else
        give_up(handover, "says what is not understood");
}

static void on_successor(uv_poll_t *poll, int status, int events) {
    (void)status;
    (void)events;
    struct handover *handover = poll->data;
    int fd = accept4(handover->door->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    pid_t pid;
    if (!handover_trusts(fd, &pid)) {
        log_event(LOG_WARN, "upgrade_failed",
                  "a process of another user has asked for the sockets");
        close(fd);
    } else if (handover->successor != NULL) {
        say(fd, HANDOVER_BUSY, NULL, 0);
        close(fd);
    } else {
        handover->successor_pid = pid;
        handover->asked = handover->reloading = false;
        handover->successor = new_ear(handover, fd, on_word);
    }
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
    handover->door = new_ear(handover, fd, on_successor);
    return handover;
}

bool handover_place(struct handover *handover, char *error, size_t error_size) {
    if (rename(handover->beside, handover->place.sun_path) != 0) {
        snprintf(error, error_size, "cannot wait for an upgrade at %s: %s",
                 handover->place.sun_path, strerror(errno));
        return false;
    }
    handover->beside[0] = '\0';
    handover->in_place = true;
    return true;
}

void handover_close(struct handover *handover) {
    if (handover == NULL)
        return;
    close_ear(&handover->successor);
    close_ear(&handover->door);
    if (handover->in_place)
        unlink(handover->place.sun_path);
    if (handover->beside[0] != '\0')
        unlink(handover->beside);
    mem_free(handover);
}
