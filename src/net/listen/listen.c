/* listen.c -- opening listening sockets. See listen.h.
 *
 * SO_REUSEPORT would also let another program of the same user listen on the address beside us, and
 * take a part of the clients: so a socket without it is bound first, and only when that succeeds
 * those of the workers are. */
#include "net/listen/listen.h"

#include "base/log/log.h"
#include "base/mem.h"
#include "net/listen/port_owner.h"
#include "net/listen/socket_file.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 4096 };

/* A descriptor for one worker. */
struct share {
    unsigned worker;
    int fd; /* -1: taken */
};

/* One address. */
struct spot {
    struct address address;
    bool any_port, owns_file, passed;
    bool will_own_file;  /* it is still of the process before us */
    struct file_id file; /* of a Unix socket */
    int *fds;            /* the sockets */
    size_t count;
    struct share *ref_cache;
    size_t share_count;
};

struct listen_set {
    struct listen_options how;
    size_t count;
    struct spot spots[ADDRESS_LIST_MAX];
};

/* ---- sockets ---- */

static bool is_socket_file(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISSOCK(info.st_mode);
}

/* A socket file that nobody listens on is a leftover of a crash; one that answers, or is too busy
 * to (EAGAIN), is in use. */
static bool is_stale(const struct sockaddr_un *address, socklen_t len) {
    if (!is_socket_file(address->sun_path))
        return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool stale = connect(fd, (const struct sockaddr *)address, len) != 0 && errno == ECONNREFUSED;
    close(fd);
    return stale;
}

static bool has_ipv6(void) {
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* A bound socket that does not listen yet, or -errno. */
static int bind_socket(const struct address *address, bool shared) {
    int family = address->storage.ss_family, on = 1, v6only = !address->dual_stack;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (family != AF_UNIX)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (family != AF_UNIX && shared)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof v6only);
    const struct sockaddr *where = (const struct sockaddr *)&address->storage;
    int result = bind(fd, where, address->len) == 0 ? 0 : -errno;
    if (result == -EADDRINUSE && family == AF_UNIX &&
        is_stale((const struct sockaddr_un *)where, address->len)) {
        unlink(((const struct sockaddr_un *)where)->sun_path);
        result = bind(fd, where, address->len) == 0 ? 0 : -errno;
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
    struct sockaddr_storage storage;
    socklen_t len = sizeof storage;
    getsockname(fd, (struct sockaddr *)&storage, &len);
    address_set_port(address, address_port((struct sockaddr *)&storage));
}

/* 0 or -errno. */
static int add_socket(struct spot *spot, bool shared) {
    int fd = open_socket(&spot->address, shared);
    if (fd < 0)
        return fd;
    learn_port(fd, &spot->address);
    spot->fds[spot->count++] = fd;
    return 0;
}

/* 0 or -errno. The address learns its port. */
static int open_sockets(struct spot *spot, unsigned workers) {
    const struct sockaddr *address = (const struct sockaddr *)&spot->address.storage;
    bool shared = workers > 1 && address->sa_family != AF_UNIX;
    if (shared && address_port(address) != 0) { /* is it free? */
        int probe = open_socket(&spot->address, false);
        if (probe < 0)
            return probe;
        close(probe);
    }
    int result = 0;
    for (unsigned i = 0; i < (shared ? workers : 1) && result == 0; i++)
        result = add_socket(spot, shared);
    return result;
}

static const char *path_of(const struct spot *spot) {
    return ((const struct sockaddr_un *)&spot->address.storage)->sun_path;
}

static void own_file(struct spot *spot) {
    spot->owns_file = true;
    spot->file = socket_file_at(path_of(spot));
}

static void close_sockets(struct spot *spot) {
    while (spot->count > 0)
        close(spot->fds[--spot->count]);
}

/* A descriptor of each socket for some worker, and for each worker one of some socket. 0 or -errno.
 * */
static int share_out(struct spot *spot, unsigned workers) {
    size_t count = spot->count > workers ? spot->count : workers;
    spot->ref_cache = mem_alloc(count * sizeof *spot->ref_cache);
    for (size_t i = 0; i < count; i++) {
        int fd = fcntl(spot->fds[i % spot->count], F_DUPFD_CLOEXEC, 0);
        if (fd < 0)
            return -errno;
        spot->ref_cache[spot->share_count++] =
            (struct share){.worker = (unsigned)(i % workers), .fd = fd};
    }
    return 0;
}

static void announce(const struct spot *spot, bool for_admin, bool passed) {
    char text[ADDRESS_TEXT_BYTES];
    struct log_line line;
    log_begin(&line, LOG_INFO, "listening");
    log_str(&line, "address",
            address_format((const struct sockaddr *)&spot->address.storage, spot->address.len, text,
                           sizeof text));
    if (for_admin)
        log_str(&line, "for", "admin");
    if (passed)
        log_bool(&line, "inherited", true);
    log_end(&line);
}

/* Makes it the spot's, whose descriptors it owns from now on. */
static void adopt(struct spot *spot, const struct passed_address *passed) {
    spot->address = passed->address;
    spot->any_port = passed->facts.any_port;
    spot->will_own_file = passed->facts.owns_file;
    spot->passed = true;
    spot->fds = mem_alloc(passed->count * sizeof *spot->fds);
    memcpy(spot->fds, passed->fds, passed->count * sizeof *spot->fds);
    spot->count = passed->count;
}

/* 0 or -errno; 1: it is optional, and there is none. */
static int open_anew(struct spot *spot, unsigned workers) {
    int family = spot->address.storage.ss_family;
    spot->any_port =
        family != AF_UNIX && address_port((struct sockaddr *)&spot->address.storage) == 0;
    spot->fds = mem_alloc(workers * sizeof *spot->fds);
    int result = open_sockets(spot, workers);
    if (result == -EAFNOSUPPORT && spot->address.dual_stack) {
        close_sockets(spot);
        spot->address = address_without_ipv6(&spot->address);
        result = open_sockets(spot, workers);
    }
    if ((result == -EAFNOSUPPORT || result == -EADDRNOTAVAIL) && spot->address.optional)
        return 1;
    if (result == 0 && family == AF_UNIX)
        own_file(spot);
    return result;
}

static struct passed_address *find_passed(const struct listen_options *how,
                                          const struct address *address) {
    struct passed_address *found = passed_fds_take(how->passed, address, how->for_admin);
    if (found == NULL && address->dual_stack) {
        struct address plain = address_without_ipv6(address);
        if (!has_ipv6())
            found = passed_fds_take(how->passed, &plain, how->for_admin);
    }
    return found;
}

static void close_spot(struct spot *spot) {
    close_sockets(spot);
    for (size_t i = 0; i < spot->share_count; i++)
        if (spot->ref_cache[i].fd >= 0)
            close(spot->ref_cache[i].fd);
    if (spot->owns_file)
        socket_file_remove(&spot->file, path_of(spot));
    mem_free(spot->ref_cache);
    mem_free(spot->fds);
}

/* 0 or -errno. `port`, when not 0, is what the system chose for the first socket of port 0. */
static int add_spot(struct listen_set *set, const struct address *address,
                    const struct passed_address *passed, int *port) {
    struct spot *spot = &set->spots[set->count++];
    spot->address = *address;
    if (*port != 0 && address_port((const struct sockaddr *)&address->storage) == 0)
        address_set_port(&spot->address, *port);
    if (passed == NULL)
        passed = find_passed(&set->how, &spot->address);
    int result = 0;
    if (passed != NULL)
        adopt(spot, passed);
    else
        result = open_anew(spot, set->how.workers);
    if (result == 1) {
        close_spot(spot);
        *spot = (struct spot){0};
        set->count--;
        return 0;
    }
    if (result == 0)
        result = share_out(spot, set->how.workers);
    if (result != 0)
        return result;
    announce(spot, set->how.for_admin, passed != NULL);
    *port = address_port((const struct sockaddr *)&spot->address.storage);
    return 0;
}

/* What is the reason of a failure, and what helps, behind its name. */
static void add_hint(const struct address *address, int result, char *hint, size_t size) {
    char holder[256];
    hint[0] = '\0';
    if (result == -EACCES && address->storage.ss_family != AF_UNIX) {
        snprintf(hint, size, " (ports below 1024 are root's; choose another with --listen)");
    } else if (result == -EADDRINUSE && address->storage.ss_family == AF_UNIX &&
               !is_socket_file(((const struct sockaddr_un *)&address->storage)->sun_path)) {
        snprintf(hint, size, " (there is a file of that name, and it is no socket)");
    } else if (result == -EADDRINUSE) {
        port_owner_find(address, holder, sizeof holder);
        snprintf(hint, size, " (%s)",
                 holder[0] == '\0' ? "is another server running there?" : holder);
    }
}

/* ---- life ---- */

static struct listen_set *new_set(const struct listen_options *how) {
    struct listen_set *set = mem_zalloc(sizeof *set);
    set->how = *how;
    return set;
}

struct listen_set *listen_open(const char *text, const struct listen_options *how, char *error,
                               size_t error_size) {
    struct address_list list;
    if (!address_parse(text, &list, error, error_size))
        return NULL;
    struct listen_set *set = new_set(how);
    int port = 0;
    for (size_t i = 0; i < list.count; i++) {
        int result = add_spot(set, &list.at[i], NULL, &port);
        if (result != 0) {
            char hint[512];
            add_hint(&list.at[i], result, hint, sizeof hint);
            snprintf(error, error_size, "cannot listen on %s: %s%s", text, strerror(-result), hint);
            listen_close(set);
            return NULL;
        }
    }
    return set;
}

struct listen_set *listen_adopt(const struct passed_address *passed,
                                const struct listen_options *how, char *error, size_t error_size) {
    struct listen_set *set = new_set(how);
    int port = 0, result = add_spot(set, &passed->address, passed, &port);
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
        most += set->spots[i].share_count;
    *fds = mem_alloc(most * sizeof **fds);
    for (size_t i = 0; i < set->count; i++) {
        struct spot *spot = &set->spots[i];
        for (size_t j = 0; j < spot->share_count; j++) {
            if (spot->ref_cache[j].worker != worker)
                continue;
            (*fds)[count++] = spot->ref_cache[j].fd;
            spot->ref_cache[j].fd = -1;
        }
    }
    return count;
}

bool listen_address(const struct listen_set *set, size_t number, char *text, size_t size) {
    if (number >= set->count)
        return false;
    const struct address *address = &set->spots[number].address;
    address_format((const struct sockaddr *)&address->storage, address->len, text, size);
    return true;
}

bool listen_get_fds(const struct listen_set *set, size_t number, const int **fds, size_t *count,
                    struct passed_facts *facts) {
    if (number >= set->count)
        return false;
    const struct spot *spot = &set->spots[number];
    *fds = spot->fds;
    *count = spot->count;
    *facts = (struct passed_facts){
        .for_admin = set->how.for_admin, .any_port = spot->any_port, .owns_file = spot->owns_file};
    return true;
}

bool listen_is_passed(const struct listen_set *set) {
    for (size_t i = 0; i < set->count; i++)
        if (set->spots[i].passed)
            return true;
    return false;
}

void listen_leave_files(struct listen_set *set) {
    for (size_t i = 0; i < set->count; i++)
        set->spots[i].owns_file = false;
}

void listen_own_files(struct listen_set *set) {
    for (size_t i = 0; i < set->count; i++)
        if (set->spots[i].will_own_file && !set->spots[i].owns_file)
            own_file(&set->spots[i]);
}

void listen_check_files(const struct listen_set *set) {
    for (size_t i = 0; i < set->count; i++) {
        const struct spot *spot = &set->spots[i];
        if (spot->owns_file && spot->file.inode != 0 &&
            !socket_file_is_at(&spot->file, path_of(spot)))
            log_eventf(LOG_WARN, "lost_file",
                       "the socket file %s is gone, or is another's: no client can connect there; "
                       "restart the program",
                       path_of(spot));
    }
}

void listen_close(struct listen_set *set) {
    if (set == NULL)
        return;
    for (size_t i = 0; i < set->count; i++)
        close_spot(&set->spots[i]);
    mem_free(set);
}
