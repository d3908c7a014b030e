/* port_owner.c -- which process listens on an address that is in use? See port_owner.h.
 *
 * The kernel's tables in /proc/self/net name sockets by their inodes, and so do the descriptors in
 * /proc/PID/fd. Only root can read those of other users' processes. */
#include "net/listen/port_owner.h"

#include "base/proc.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A server may have several listening sockets on one address. */
enum { MAX_SOCKETS = 64 };

struct sockets {
    unsigned long inodes[MAX_SOCKETS];
    size_t count;
};

static void add(struct sockets *sockets, unsigned long inode) {
    if (sockets->count < MAX_SOCKETS)
        sockets->inodes[sockets->count++] = inode;
}

/* ---- the kernel's tables ---- */

/* An IP address; one of IPv4 that is mapped into IPv6 is kept as IPv4. */
struct ip {
    unsigned char bytes[16];
    size_t len; /* 4 or 16 */
};

static struct ip plain(struct ip ip) {
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (ip.len == 16 && memcmp(ip.bytes, mapped, sizeof mapped) == 0) {
        memmove(ip.bytes, ip.bytes + 12, 4);
        ip.len = 4;
    }
    return ip;
}

static struct ip ip_of(const struct address *address) {
    struct ip ip = {.len = address->any.sa_family == AF_INET ? 4 : 16};
    if (ip.len == 4)
        memcpy(ip.bytes, &address->in.sin_addr, 4);
    else
        memcpy(ip.bytes, &address->in6.sin6_addr, 16);
    return plain(ip);
}

/* Parses an address of the tables: words of 32 bits in the machine's order. */
static bool read_ip(const char *hex, struct ip *ip) {
    ip->len = strlen(hex) / 2;
    if (ip->len != 4 && ip->len != 16)
        return false;
    for (size_t i = 0; i < ip->len; i += 4) {
        char word[9] = {0};
        memcpy(word, hex + i * 2, 8);
        uint32_t value = (uint32_t)strtoul(word, NULL, 16);
        memcpy(ip->bytes + i, &value, sizeof value);
    }
    *ip = plain(*ip);
    return true;
}

static bool is_any(const struct ip *ip) {
    for (size_t i = 0; i < ip->len; i++)
        if (ip->bytes[i] != 0)
            return false;
    return true;
}

/* Can only one of them be bound? */
static bool collide(const struct ip *one, const struct ip *other) {
    return is_any(one) || is_any(other) ||
           (one->len == other->len && memcmp(one->bytes, other->bytes, one->len) == 0);
}

static void read_tcp(const char *table, const struct address *wanted, struct sockets *sockets) {
    enum { LISTENS = 0x0a };
    char line[512], hex[40];
    struct ip ours = ip_of(wanted), theirs;
    FILE *file = fopen(table, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        unsigned port, state;
        unsigned long inode;
        if (sscanf(line, " %*d: %39[0-9A-F]:%X %*s %X %*s %*s %*s %*s %*s %lu", hex, &port, &state,
                   &inode) == 4 &&
            state == LISTENS && (int)port == address_port(wanted) && read_ip(hex, &theirs) &&
            collide(&ours, &theirs))
            add(sockets, inode);
    }
    if (file != NULL)
        fclose(file);
}

static void read_unix(const char *path, struct sockets *sockets) {
    enum { LISTENS = 0x10000 };
    char line[512];
    FILE *file = fopen("/proc/self/net/unix", "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        unsigned flags;
        unsigned long inode;
        int at = 0;
        line[strcspn(line, "\n")] = '\0';
        if (sscanf(line, "%*s %*s %*s %X %*s %*s %lu %n", &flags, &inode, &at) == 2 && at > 0 &&
            (flags & LISTENS) != 0 && strcmp(line + at, path) == 0)
            add(sockets, inode);
    }
    if (file != NULL)
        fclose(file);
}

/* ---- processes ---- */

static bool is_wanted_socket(const char *link, const struct sockets *sockets) {
    unsigned long inode;
    if (sscanf(link, "socket:[%lu]", &inode) != 1)
        return false;
    for (size_t i = 0; i < sockets->count; i++)
        if (sockets->inodes[i] == inode)
            return true;
    return false;
}

/* Has this process a descriptor of one of the sockets? */
static bool has_socket(const char *pid, const struct sockets *sockets) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%.20s/fd", pid);
    DIR *folder = opendir(path);
    bool found = false;
    for (struct dirent *entry; folder != NULL && !found && (entry = readdir(folder)) != NULL;) {
        char link[64];
        ssize_t len = readlinkat(dirfd(folder), entry->d_name, link, sizeof link - 1);
        link[len < 0 ? 0 : len] = '\0';
        found = is_wanted_socket(link, sockets);
    }
    if (folder != NULL)
        closedir(folder);
    return found;
}

static void describe(const char *pid, char *text, size_t size) {
    char name[64];
    pid_t number = (pid_t)atol(pid);
    if (number == getpid())
        snprintf(text, size, "this server listens there already: leave one of the two away");
    else
        snprintf(text, size,
                 "%s, process %s, listens there: end it, or choose another address with --listen",
                 proc_name(number, name, sizeof name), pid);
}

static void find_process(const struct sockets *sockets, char *text, size_t size) {
    DIR *processes = opendir("/proc");
    bool found = false;
    for (struct dirent *entry;
         processes != NULL && !found && (entry = readdir(processes)) != NULL;) {
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9' || !has_socket(entry->d_name, sockets))
            continue;
        found = true;
        describe(entry->d_name, text, size);
    }
    if (processes != NULL)
        closedir(processes);
    if (!found)
        snprintf(text, size,
                 "a process of another user listens there; as root, `ss -lxtp` names it");
}

void port_owner_find(const struct address *address, char *text, size_t size) {
    struct sockets sockets = {.count = 0};
    text[0] = '\0';
    if (address->any.sa_family == AF_UNIX) {
        read_unix(address->un.sun_path, &sockets);
    } else {
        read_tcp("/proc/self/net/tcp", address, &sockets);
        read_tcp("/proc/self/net/tcp6", address, &sockets);
    }
    if (sockets.count > 0)
        find_process(&sockets, text, size);
}
