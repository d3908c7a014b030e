/* passed_fds.c -- listening sockets that another process has passed. See passed_fds.h. */
#include "net/listen/passed_fds.h"

#include "base/log/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct passed_fds {
    struct passed_address **items; /* pointers, which stay good after passed_fds_take() */
    size_t count;
};

struct passed_fds *passed_fds_new(void) {
    return mem_zalloc(sizeof(struct passed_fds));
}

void passed_fds_free(struct passed_fds *passed) {
    if (passed == NULL)
        return;
    for (size_t i = 0; i < passed->count; i++) {
        struct passed_address *item = passed->items[i];
        for (size_t j = 0; !item->taken && j < item->count; j++)
            close(item->fds[j]);
        mem_free(item->fds);
        mem_free(item);
    }
    mem_free(passed->items);
    mem_free(passed);
}

/* ---- addresses ---- */

/* Do all but the ports agree? */
static bool same_host(const struct address *a, const struct address *b) {
    if (a->any.sa_family != b->any.sa_family)
        return false;
    if (a->any.sa_family == AF_INET)
        return a->in.sin_addr.s_addr == b->in.sin_addr.s_addr;
    if (a->any.sa_family == AF_INET6) {
        const struct in6_addr *x = &a->in6.sin6_addr, *y = &b->in6.sin6_addr;
        return IN6_ARE_ADDR_EQUAL(x, y) && a->in6.sin6_scope_id == b->in6.sin6_scope_id &&
               (!IN6_IS_ADDR_UNSPECIFIED(x) || a->dual_stack == b->dual_stack);
    }
    const char *x = a->un.sun_path, *y = b->un.sun_path;
    size_t most = sizeof a->un.sun_path; /* an abstract name begins with a NUL */
    return x[0] == '\0' || y[0] == '\0' ? memcmp(x, y, most) == 0 : strncmp(x, y, most) == 0;
}

static bool same(const struct address *a, const struct address *b) {
    return same_host(a, b) && address_port(a) == address_port(b);
}

/* ---- adding ---- */

/* NULL, or why it is no listening stream socket. */
static const char *read_socket(int fd, struct address *address) {
    int type = 0, listens = 0, v6only = 1;
    socklen_t len = sizeof type;
    *address = (struct address){.len = sizeof address->storage};
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) != 0)
        return errno == EBADF ? "it is not open" : "it is no socket";
    if (type != SOCK_STREAM)
        return "it is no stream socket";
    len = sizeof listens;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) != 0 || !listens)
        return "it does not listen (a socket of systemd needs Accept=no)";
    if (getsockname(fd, &address->any, &address->len) != 0)
        return strerror(errno);
    int family = address->any.sa_family;
    if (family != AF_INET && family != AF_INET6 && family != AF_UNIX)
        return "it is no socket of IPv4, of IPv6 or of Unix";
    len = sizeof v6only;
    if (family == AF_INET6)
        getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, &len);
    address->dual_stack = family == AF_INET6 && !v6only;
    return NULL;
}

static struct passed_address *find_or_add(struct passed_fds *passed, const struct address *address,
                                          const struct passed_facts *facts) {
    for (size_t i = 0; i < passed->count; i++)
        if (same(&passed->items[i]->address, address))
            return passed->items[i];
    struct passed_address *item = mem_zalloc(sizeof *item);
    item->address = *address;
    item->facts = *facts;
    passed->items = mem_realloc(passed->items, (passed->count + 1) * sizeof *passed->items);
    passed->items[passed->count++] = item;
    return item;
}

const char *passed_fds_add(struct passed_fds *passed, int fd, const struct passed_facts *facts) {
    struct address address;
    const char *why = read_socket(fd, &address);
    if (why != NULL) {
        close(fd);
        return why;
    }
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    struct passed_address *item = find_or_add(passed, &address, facts);
    item->fds = mem_realloc(item->fds, (item->count + 1) * sizeof *item->fds);
    item->fds[item->count++] = fd;
    return NULL;
}

/* ---- taking ---- */

static struct passed_address *take(struct passed_address *item) {
    item->taken = true;
    return item;
}

struct passed_address *passed_fds_take(struct passed_fds *passed, const struct address *wanted,
                                       bool for_admin) {
    if (passed == NULL)
        return NULL;
    for (size_t i = 0; i < passed->count; i++) {
        struct passed_address *item = passed->items[i];
        if (!item->taken && same(&item->address, wanted))
            return take(item);
    }
    for (size_t i = 0; address_port(wanted) == 0 && i < passed->count; i++) {
        struct passed_address *item = passed->items[i];
        if (!item->taken && item->facts.any_port && item->facts.for_admin == for_admin &&
            same_host(&item->address, wanted))
            return take(item);
    }
    return NULL;
}

struct passed_address *passed_fds_take_any(struct passed_fds *passed, bool for_admin) {
    for (size_t i = 0; passed != NULL && i < passed->count; i++)
        if (!passed->items[i]->taken && passed->items[i]->facts.for_admin == for_admin)
            return take(passed->items[i]);
    return NULL;
}

void passed_fds_close_rest(struct passed_fds *passed) {
    for (size_t i = 0; i < passed->count; i++) {
        struct passed_address *item = passed->items[i];
        if (item->taken)
            continue;
        char text[ADDRESS_TEXT_BYTES];
        struct log_line line;
        log_begin(&line, LOG_WARN, "not_wanted");
        log_str(&line, "address", address_format(&item->address, text, sizeof text));
        log_str(&line, "why", "no listen address asks for this passed socket, so it is closed");
        log_end(&line);
        if (item->facts.owns_file && item->address.any.sa_family == AF_UNIX)
            unlink(item->address.un.sun_path);
        while (item->count > 0)
            close(item->fds[--item->count]);
    }
}

/* ---- systemd's socket activation ---- */

enum { FIRST_FD = 3, MOST_FDS = 1024 };

/* A whole number, or -1. */
static long number_of(const char *text) {
    char *end;
    long number = strtol(text, &end, 10);
    return end == text || *end != '\0' ? -1 : number;
}

/* The next name of a list with colons between; "" where it has no more. */
static void next_name(const char **names, char *name, size_t size) {
    size_t len = strcspn(*names, ":");
    snprintf(name, size, "%.*s", (int)len, *names);
    *names += len;
    if (**names == ':')
        ++*names;
}

static bool take_all(struct passed_fds *passed, long count, const char *names, char *error,
                     size_t error_size) {
    bool good = true;
    for (long i = 0; i < count; i++) {
        char name[256];
        next_name(&names, name, sizeof name);
        struct passed_facts facts = {.for_admin = strcmp(name, "admin") == 0};
        const char *why = passed_fds_add(passed, (int)(FIRST_FD + i), &facts);
        if (why != NULL && good)
            snprintf(error, error_size, "LISTEN_FDS: descriptor %ld%s%s cannot be listened on: %s",
                     FIRST_FD + i, name[0] == '\0' ? "" : ", ", name, why);
        good = good && why == NULL;
    }
    return good;
}

bool passed_fds_from_systemd(struct passed_fds *passed, char *error, size_t error_size) {
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS"),
               *names = getenv("LISTEN_FDNAMES");
    bool good = true;
    if (pid != NULL && fds != NULL && number_of(pid) == (long)getpid()) {
        long count = number_of(fds);
        if (count < 0 || count > MOST_FDS) {
            snprintf(error, error_size, "LISTEN_FDS: expected a number of descriptors, got \"%s\"",
                     fds);
            good = false;
        } else {
            good = take_all(passed, count, names == NULL ? "" : names, error, error_size);
        }
    }
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_PIDFDID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return good;
}
