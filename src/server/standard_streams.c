/* standard_streams.c -- keeps descriptors 0, 1 and 2 open. See standard_streams.h. */
#include "server/standard_streams.h"

#include "server/workers/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>

static bool is_open(int fd) {
    return fcntl(fd, F_GETFD) >= 0 || errno != EBADF;
}

bool standard_streams_reserve(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (is_open(fd))
            continue;
        /* It gets the lowest free number; child processes inherit it. */
        int opened = open("/dev/null", O_RDWR);
        if (opened == fd)
            continue;
        if (opened < 0)
            fprintf(stderr,
                    "tidewire: descriptor %d is closed, and /dev/null cannot take its place: %s\n",
                    fd, strerror(errno));
        return false;
    }
    return true;
}

/* ---- the end ---- */

static const uint64_t FLUSH_NS = 500000000;

static struct {
    uv_mutex_t lock;
    uv_cond_t done;
    bool is_done;
} flush;

static void run_flush(void *unused) {
    (void)unused;
    fflush(NULL);
    uv_mutex_lock(&flush.lock);
    flush.is_done = true;
    uv_cond_signal(&flush.done);
    uv_mutex_unlock(&flush.lock);
}

bool standard_streams_flush(void) {
    uv_thread_t thread;
    uv_mutex_init(&flush.lock);
    uv_cond_init(&flush.done);
    if (thread_start(&thread, run_flush, NULL) != 0)
        return false;
    uint64_t end = uv_hrtime() + FLUSH_NS, now;
    uv_mutex_lock(&flush.lock);
    while (!flush.is_done && (now = uv_hrtime()) < end)
        uv_cond_timedwait(&flush.done, &flush.lock, end - now);
    bool is_done = flush.is_done;
    uv_mutex_unlock(&flush.lock);
    if (is_done)
        uv_thread_join(&thread);
    return is_done;
}

_Noreturn void standard_streams_exit(int code) {
    /* Not _exit(): ThreadSanitizer's flushes stdio, and would wait for the reader of a pipe. */
    for (;;)
        syscall(SYS_exit_group, code);
}
