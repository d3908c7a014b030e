/* faults.c -- lets system calls of a program fail, for tests. Preloaded (LD_PRELOAD).
 *
 * The numbers that say what fails are in the file TIDEWIRE_FAULTS, which the test changes while the
 * program runs; faults.lua writes them. Of sockets only those of TCP are concerned. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* A call fails with `error` as long as `left` is not 0. */
struct fault {
    _Atomic int32_t error, left, done; /* errno; calls that will fail; those that have failed */
};

/* The file; the same order as in faults.lua. */
struct faults {
    struct fault send, receive, accept;
    _Atomic int32_t send_bytes;              /* the most that one call sends; 0: no limit */
    _Atomic int32_t clock_seconds;           /* added to the time of day */
    _Atomic int32_t send_waits;              /* calls do not return while this is not 0 */
    _Atomic int32_t spawn_waits;             /* the same of posix_spawn() */
    _Atomic int32_t spawn_begun, spawn_done; /* calls of posix_spawn() */
};

static struct faults none, *faults = &none;

__attribute__((constructor)) static void open_faults(void) {
    const char *path = getenv("TIDEWIRE_FAULTS");
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *memory = mmap(NULL, sizeof *faults, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory != MAP_FAILED)
        faults = memory;
    close(fd);
}

static int is_tcp(int fd) {
    int family = 0;
    socklen_t size = sizeof family;
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size) == 0 &&
           (family == AF_INET || family == AF_INET6);
}

/* Does this call fail? Then errno is set. */
static int fails(struct fault *fault, int fd) {
    if (atomic_load(&fault->left) == 0 || !is_tcp(fd))
        return 0;
    int32_t left = atomic_load(&fault->left);
    do
        if (left == 0)
            return 0;
    while (!atomic_compare_exchange_weak(&fault->left, &left, left - 1));
    atomic_fetch_add(&fault->done, 1);
    errno = atomic_load(&fault->error);
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t send(int fd, const void *bytes, size_t len, int flags) {
    while (atomic_load(&faults->send_waits) != 0 && is_tcp(fd))
        usleep(1000);
    if (fails(&faults->send, fd))
        return -1;
    int32_t most = atomic_load(&faults->send_bytes);
    return REAL(send)(fd, bytes, most > 0 && len > (size_t)most ? (size_t)most : len, flags);
}

ssize_t recv(int fd, void *bytes, size_t size, int flags) {
    return fails(&faults->receive, fd) ? -1 : REAL(recv)(fd, bytes, size, flags);
}

int accept4(int fd, struct sockaddr *restrict address, socklen_t *restrict len, int flags) {
    return fails(&faults->accept, fd) ? -1 : REAL(accept4)(fd, address, len, flags);
}

int posix_spawn(pid_t *restrict pid, const char *restrict path,
                const posix_spawn_file_actions_t *restrict actions,
                const posix_spawnattr_t *restrict attributes, char *const arguments[restrict],
                char *const environment[restrict]) {
    atomic_fetch_add(&faults->spawn_begun, 1);
    while (atomic_load(&faults->spawn_waits) != 0)
        usleep(1000);
    int error = REAL(posix_spawn)(pid, path, actions, attributes, arguments, environment);
    atomic_fetch_add(&faults->spawn_done, 1);
    return error;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = REAL(clock_gettime)(clock, now);
    if (clock == CLOCK_REALTIME)
        now->tv_sec += atomic_load(&faults->clock_seconds);
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    int result = REAL(gettimeofday)(now, zone);
    now->tv_sec += atomic_load(&faults->clock_seconds);
    return result;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out != NULL)
        *out = now.tv_sec;
    return now.tv_sec;
}
