/* listen.c -- opens listening sockets. See listen.h.
 *
 * With SO_REUSEPORT another program of the same user could listen on the address as well, and take
 * a part of the clients. So a socket without the option is bound first, and the workers' sockets
 * only when that succeeds. */
#include "net/listen/listen.h"

#include "base/log/log.h"
#include "base/mem.h"
#include "base/privileges.h"
#include "net/listen/socket_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BACKLOG = 4096 };

/* A duplicate of a socket, for one worker. */
struct worker_fd {
    unsigned worker;
    int fd; /* -1: the worker has it */
};

/* An address that is listened on. */
struct bound_address {
    struct address address;
    bool any_port;       /* the system chose the port */
    bool passed;         /* another process opened the sockets */
    bool owns_file;      /* of a Unix socket: the set removes its file */
    bool will_own_file;  /* the process that passed the socket still owns the file */
    struct file_id file; /* of a Unix socket */
    int *fds;            /* the sockets */
    size_t count;
    struct worker_fd *worker_fds;
    size_t worker_fd_count;
};

struct listen_set {
    struct listen_options options;
    size_t count;
    struct bound_address addresses[ADDRESS_LIST_MAX];
};

/* ---- sockets ---- */

static bool is_socket_file(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISSOCK(info.st_mode);
}

/* A socket file on which no process listens is left from a crash. One that accepts, or is too busy
 * to (EAGAIN), is in use. */
static bool is_stale(const struct address *address) {
    if (!is_socket_file(address->un.sun_path))
        return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool stale = connect(fd, &address->any, address->len) != 0 && errno == ECONNREFUSED;
    close(fd);
    return stale;
}

static bool has_ipv6(void) {
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* Binds with root's rights, if there are any, because of ports below 1024. A file of a Unix socket
 * is the user's. Returns 0 or -errno. */
static int bind_to(int fd, const struct address *address) {
    bool raised = address->any.sa_family != AF_UNIX && privileges_raise();
    int result = bind(fd, &address->any, address->len) == 0 ? 0 : -errno;
    if (raised)
        privileges_lower();
    return result;
}

/* A bound socket that does not listen yet, or -errno. */
static int bind_socket(const struct address *address, bool shared) {
    int family = address->any.sa_family, on = 1, v6only = !address->dual_stack;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (family != AF_UNIX)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (family != AF_UNIX && shared)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof v6only);
    int result = bind_to(fd, address);
    if (result == -EADDRINUSE && family == AF_UNIX && is_stale(address)) {
        unlink(address->un.sun_path);
        result = bind_to(fd, address);
    }
    if (result != 0)
        close(fd);
    return result != 0 ? result : fd;
}

/* A listening socket, or -errno. */
static int open_socket(const struct address *address, bool shared) {
    int fd = bind_socket(address, shared);
    if (fd >= 0 && listen(fd, BACKLOG) != 0) {
        int result = -errno;
        close(fd);
        return result;
    }
    return fd;
}

static void learn_port(int fd, struct address *address) {
    struct address bound = {.len = sizeof bound.storage};
    getsockname(fd, &bound.any, &bound.len);
    address_set_port(address, address_port(&bound));
}

/* 0 or -errno. */
static int add_socket(struct bound_address *bound, bool shared) {
    int fd = open_socket(&bound->address, shared);
    if (fd < 0)
        return fd;
    learn_port(fd, &bound->address);
    bound->fds[bound->count++] = fd;
    return 0;
}

/* Opens the sockets, and sets the port that the system chose. 0 or -errno. */
static int open_sockets(struct bound_address *bound, unsigned workers) {
    const struct address *address = &bound->address;
    bool shared = workers > 1 && address->any.sa_family != AF_UNIX;
    if (shared && address_port(address) != 0) { /* is it free? */
        int probe = open_socket(address, false);
        if (probe < 0)
            return probe;
        close(probe);
    }
    int result = 0;
    for (unsigned i = 0; i < (shared ? workers : 1) && result == 0; i++)
        result = add_socket(bound, shared);
    return result;
}

static void own_file(struct bound_address *bound) {
    bound->owns_file = true;
    bound->file = socket_file_at(bound->address.un.sun_path);
}

static void close_sockets(struct bound_address *bound) {
    while (bound->count > 0)
        close(bound->fds[--bound->count]);
}

/* Duplicates the sockets: each goes to some worker, and each worker gets one at least. 0 or
 * -errno. */
static int duplicate_for_workers(struct bound_address *bound, unsigned workers) {
    size_t count = bound->count > workers ? bound->count : workers;
    bound->worker_fds = mem_alloc(count * sizeof *bound->worker_fds);
    for (size_t i = 0; i < count; i++) {
        int fd = fcntl(bound->fds[i % bound->count], F_DUPFD_CLOEXEC, 0);
        if (fd < 0)
            return -errno;
        bound->worker_fds[bound->worker_fd_count++] =
            (struct worker_fd){.worker = (unsigned)(i % workers), .fd = fd};
    }
    return 0;
}

static void log_listening(const struct bound_address *bound, bool for_admin) {
    char text[ADDRESS_TEXT_BYTES];
    struct log_line line;
    log_begin(&line, LOG_INFO, "listening");
    log_str(&line, "address", address_format(&bound->address, text, sizeof text));
    if (for_admin)
        log_str(&line, "for", "admin");
    if (bound->passed)
        log_bool(&line, "inherited", true);
    log_end(&line);
}

/* Copies a passed address, and owns its descriptors. */
static void adopt(struct bound_address *bound, const struct passed_address *passed) {
    bound->address = passed->address;
    bound->any_port = passed->facts.any_port;
    bound->will_own_file = passed->facts.owns_file;
    bound->passed = true;
    bound->fds = mem_alloc(passed->count * sizeof *bound->fds);
    memcpy(bound->fds, passed->fds, passed->count * sizeof *bound->fds);
    bound->count = passed->count;
}

/* 0 or -errno; 1: the address is optional, and the machine lacks it. */
static int open_new(struct bound_address *bound, unsigned workers) {
    int family = bound->address.any.sa_family;
    bound->any_port = family != AF_UNIX && address_port(&bound->address) == 0;
    bound->fds = mem_alloc(workers * sizeof *bound->fds);
    int result = open_sockets(bound, workers);
    if (result == -EAFNOSUPPORT && bound->address.dual_stack) {
        close_sockets(bound);
        bound->address = address_without_ipv6(&bound->address);
        result = open_sockets(bound, workers);
    }
    if ((result == -EAFNOSUPPORT || result == -EADDRNOTAVAIL) && bound->address.optional)
        return 1;
    if (result == 0 && family == AF_UNIX)
        own_file(bound);
    return result;
}

static struct passed_address *find_passed(const struct listen_options *options,
                                          const struct address *address) {
    struct passed_address *found = passed_fds_take(options->passed, address, options->for_admin);
    if (found == NULL && address->dual_stack && !has_ipv6()) {
        struct address ipv4 = address_without_ipv6(address);
        found = passed_fds_take(options->passed, &ipv4, options->for_admin);
    }
    return found;
}

static void close_address(struct bound_address *bound) {
    close_sockets(bound);
    for (size_t i = 0; i < bound->worker_fd_count; i++)
        if (bound->worker_fds[i].fd >= 0)
            close(bound->worker_fds[i].fd);
    if (bound->owns_file)
        socket_file_remove(&bound->file, bound->address.un.sun_path);
    mem_free(bound->worker_fds);
    mem_free(bound->fds);
}

/* 0 or -errno. `*port` is the port of the address before, 0 for the first: one with port 0 gets
 * it. */
static int add_address(struct listen_set *set, const struct address *address,
                       const struct passed_address *passed, int *port) {
    struct bound_address *bound = &set->addresses[set->count++];
    bound->address = *address;
    if (*port != 0 && address_port(address) == 0)
        address_set_port(&bound->address, *port);
    if (passed == NULL)
        passed = find_passed(&set->options, &bound->address);
    int result = 0;
    if (passed != NULL)
        adopt(bound, passed);
    else
        result = open_new(bound, set->options.workers);
    if (result == 1) {
        close_address(bound);
        *bound = (struct bound_address){0};
        set->count--;
        return 0;
    }
    if (result == 0)
        result = duplicate_for_workers(bound, set->options.workers);
    if (result != 0)
        return result;
    log_listening(bound, set->options.for_admin);
    *port = address_port(&bound->address);
    return 0;
}

/* Writes what explains a failure, to follow the error's name; "" where nothing is known. */
static void explain(const struct address *address, int result, const struct listen_options *options,
                    char *hint, size_t size) {
    char text[ADDRESS_TEXT_BYTES], owner[256] = "";
    bool is_unix = address->any.sa_family == AF_UNIX;
    hint[0] = '\0';
    if (result == -EACCES && !is_unix) {
        snprintf(hint, size, " (ports below 1024 are root's; choose another with --listen)");
    } else if (result == -EADDRINUSE && is_unix && !is_socket_file(address->un.sun_path)) {
        snprintf(hint, size, " (there is a file of that name, and it is no socket)");
    } else if (result == -EADDRINUSE) {
        if (options->find_owner != NULL)
            options->find_owner(address_format(address, text, sizeof text), owner, sizeof owner);
        snprintf(hint, size, " (%s)",
                 owner[0] == '\0' ? "is another server running there?" : owner);
    }
}

/* ---- life ---- */

static struct listen_set *new_set(const struct listen_options *options) {
    struct listen_set *set = mem_zalloc(sizeof *set);
    set->options = *options;
    return set;
}

struct listen_set *listen_open(const char *text, const struct listen_options *options, char *error,
                               size_t error_size) {
    struct address_list list;
    if (!address_parse(text, &list, error, error_size))
        return NULL;
    struct listen_set *set = new_set(options);
    int port = 0;
    for (size_t i = 0; i < list.count; i++) {
        int result = add_address(set, &list.at[i], NULL, &port);
        if (result != 0) {
            char hint[512];
            explain(&list.at[i], result, options, hint, sizeof hint);
            snprintf(error, error_size, "cannot listen on %s: %s%s", text, strerror(-result), hint);
            listen_close(set);
            return NULL;
        }
    }
    return set;
}

struct listen_set *listen_adopt(const struct passed_address *passed,
                                const struct listen_options *options, char *error,
                                size_t error_size) {
    struct listen_set *set = new_set(options);
    int port = 0, result = add_address(set, &passed->address, passed, &port);
    if (result != 0) {
        snprintf(error, error_size, "cannot listen on a passed socket: %s", strerror(-result));
        listen_close(set);
        return NULL;
    }
    return set;
}

size_t listen_take_fds(struct listen_set *set, unsigned worker, int **fds) {
    size_t count = 0, most = 0;
    for (size_t i = 0; i < set->count; i++)
        most += set->addresses[i].worker_fd_count;
    *fds = mem_alloc(most * sizeof **fds);
    for (size_t i = 0; i < set->count; i++) {
        struct bound_address *bound = &set->addresses[i];
        for (size_t j = 0; j < bound->worker_fd_count; j++) {
            if (bound->worker_fds[j].worker != worker)
                continue;
            (*fds)[count++] = bound->worker_fds[j].fd;
            bound->worker_fds[j].fd = -1;
        }
    }
    return count;
}

bool listen_address(const struct listen_set *set, size_t number, char *text, size_t size) {
    if (number >= set->count)
        return false;
    address_format(&set->addresses[number].address, text, size);
    return true;
}

bool listen_get_fds(const struct listen_set *set, size_t number, const int **fds, size_t *count,
                    struct passed_facts *facts) {
    if (number >= set->count)
        return false;
    const struct bound_address *bound = &set->addresses[number];
    *fds = bound->fds;
    *count = bound->count;
    *facts = (struct passed_facts){.for_admin = set->options.for_admin,
                                   .any_port = bound->any_port,
                                   .owns_file = bound->owns_file};
    return true;
}

bool listen_is_passed(const struct listen_set *set) {
    for (size_t i = 0; i < set->count; i++)
        if (set->addresses[i].passed)
            return true;
    return false;
}

void listen_leave_files(struct listen_set *set) {
    for (size_t i = 0; i < set->count; i++)
        set->addresses[i].owns_file = false;
}

void listen_own_files(struct listen_set *set) {
    for (size_t i = 0; i < set->count; i++)
        if (set->addresses[i].will_own_file && !set->addresses[i].owns_file)
            own_file(&set->addresses[i]);
}

void listen_check_files(const struct listen_set *set) {
    for (size_t i = 0; i < set->count; i++) {
        const struct bound_address *bound = &set->addresses[i];
        if (bound->owns_file && bound->file.inode != 0 &&
            !socket_file_is_at(&bound->file, bound->address.un.sun_path))
            log_eventf(LOG_WARN, "lost_file",
                       "the socket file %s is missing or replaced: no client can connect there; "
                       "restart the server",
                       bound->address.un.sun_path);
    }
}

void listen_close(struct listen_set *set) {
    if (set == NULL)
        return;
    for (size_t i = 0; i < set->count; i++)
        close_address(&set->addresses[i]);
    mem_free(set);
}
