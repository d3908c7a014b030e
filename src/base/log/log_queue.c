/* log_queue.c -- lines that wait for a descriptor. See log_queue.h.
 *
 * A ring of bytes under a lock, which no thread holds during a write. The thread that writes sets
 * `writing`, and only this thread moves the ring's head. */
#include "base/log/log_queue.h"

#include "base/clock.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <uv.h>

/* How a write behaves. */
enum sink {
    SINK_DIRECT,  /* never waits: a regular file, or a descriptor of this process alone */
    SINK_SOCKET,  /* does not wait, by a flag of send() */
    SINK_TRY,     /* does not wait, by pwritev2() where the kernel supports it */
    SINK_WAITING, /* waits: a terminal; a pipe with older kernels */
};

/* The pause between attempts after an error (a full disk, a closed pipe). */
static const uint64_t RETRY_NS = 1000000000;

/* How often a thread that waits for a reader checks whether it must end. */
enum { WAIT_MS = 100 };

/* Bytes of one write: to a file; and to anything else, in pieces that a pipe takes whole, so that
 * lines of other writers do not mix with them. */
enum { FILE_PIECE = 64 * 1024, PIECE = PIPE_BUF };

/* Pieces that the logging thread writes itself: at least a whole line. The serving thread writes
 * the rest. */
enum { OWN_PIECES = 8 };

struct log_queue {
    uv_mutex_t lock;
    uv_cond_t work;     /* for the serving thread */
    uv_cond_t progress; /* bytes were written, or `writing` became false */
    int fd;
    enum sink sink;
    size_t most; /* bytes of a piece */
    log_queue_dropped_fn write_dropped;
    char ring[LOG_QUEUE_BYTES];
    size_t head, used;
    bool writing;     /* a thread writes */
    bool in_line;     /* a part of the line at the head is written */
    unsigned changes; /* of the descriptor */
    bool served;      /* by a thread */
    bool woken;
    _Atomic bool stopped; /* the thread must end */
    uint64_t written;     /* bytes */
    uint64_t retry_at;    /* 0: now */
    int error;            /* of the last attempt */
    bool dropping;        /* until there is room for half a ring */
    uint64_t unreported;  /* dropped since the last line about dropped lines */
    int drop_error;
    uint64_t dropped;
};

static struct log_queue queues[] = {
    {.fd = STDERR_FILENO, .sink = SINK_TRY, .most = PIECE},
    {.fd = STDOUT_FILENO, .sink = SINK_TRY, .most = PIECE},
};
struct log_queue *const log_queue_log = &queues[0];
struct log_queue *const log_queue_output = &queues[1];

static uv_once_t once = UV_ONCE_INIT;

static void init(void) {
    for (size_t i = 0; i < sizeof queues / sizeof queues[0]; i++) {
        uv_mutex_init(&queues[i].lock);
        uv_cond_init(&queues[i].work);
        uv_cond_init(&queues[i].progress);
    }
}

static void lock(struct log_queue *queue) {
    uv_once(&once, init);
    uv_mutex_lock(&queue->lock);
}

static void unlock(struct log_queue *queue) {
    uv_mutex_unlock(&queue->lock);
}

/* ---- the ring ---- */

static void append(struct log_queue *queue, const char *bytes, size_t len) {
    size_t at = (queue->head + queue->used) % LOG_QUEUE_BYTES, first = LOG_QUEUE_BYTES - at;
    if (first > len)
        first = len;
    memcpy(queue->ring + at, bytes, first);
    memcpy(queue->ring, bytes + first, len - first);
    queue->used += len;
}

static char byte_at(struct log_queue *queue, size_t offset) {
    return queue->ring[(queue->head + offset) % LOG_QUEUE_BYTES];
}

static void consume(struct log_queue *queue, size_t len) {
    if (len == 0)
        return;
    queue->in_line = byte_at(queue, len - 1) != '\n';
    queue->written += len;
    queue->used -= len;
    queue->head = queue->used == 0 ? 0 : (queue->head + len) % LOG_QUEUE_BYTES;
}

/* The next piece: whole lines, or a part of a long one. */
static size_t piece(struct log_queue *queue) {
    size_t most = queue->used < queue->most ? queue->used : queue->most;
    for (size_t len = most; len > 0; len--)
        if (byte_at(queue, len - 1) == '\n')
            return len;
    return most;
}

/* ---- dropping ---- */

static void drop(struct log_queue *queue) {
    queue->dropping = true;
    queue->drop_error = queue->error;
    queue->unreported++;
    queue->dropped++;
}

/* Writes the line about dropped lines as soon as half of the ring is free. */
static void report_dropped(struct log_queue *queue) {
    if (!queue->dropping || queue->used > LOG_QUEUE_BYTES / 2)
        return;
    char line[1024];
    queue->dropping = false;
    if (queue->unreported > 0 && queue->write_dropped != NULL)
        append(queue, line,
               queue->write_dropped(line, sizeof line, queue->unreported, queue->drop_error));
    queue->unreported = 0;
}

/* Drops the rest of a line of which the previous descriptor has a part. */
static void drop_rest_of_line(struct log_queue *queue) {
    if (!queue->in_line)
        return;
    size_t len = 1;
    while (byte_at(queue, len - 1) != '\n')
        len++;
    consume(queue, len);
    drop(queue);
}

/* ---- writing ---- */

static void look_at(struct log_queue *queue, int fd, bool is_own) {
    struct stat info;
    bool is_file = fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
    queue->fd = fd;
    queue->most = is_file ? FILE_PIECE : PIECE;
    if (is_own || is_file)
        queue->sink = SINK_DIRECT;
    else
        queue->sink = S_ISSOCK(info.st_mode) ? SINK_SOCKET : isatty(fd) ? SINK_WAITING : SINK_TRY;
}

/* Writes without waiting. Returns bytes or -errno; -EAGAIN: it would have to wait. */
static ssize_t try_write(int fd, enum sink sink, const struct iovec *parts, int count) {
    ssize_t n;
    if (sink == SINK_WAITING)
        return -EAGAIN;
    if (sink == SINK_SOCKET) {
        struct msghdr message = {.msg_iov = (struct iovec *)parts, .msg_iovlen = (size_t)count};
        n = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } else if (sink == SINK_TRY) {
        n = pwritev2(fd, parts, count, -1, RWF_NOWAIT);
        if (n < 0 && (errno == EOPNOTSUPP || errno == EINVAL || errno == ENOSYS))
            return -EAGAIN;
    } else {
        n = writev(fd, parts, count);
    }
    return n < 0 ? -errno : n;
}

/* Writes, and waits however long that takes, until the thread must end. Returns bytes or -errno. */
static ssize_t wait_and_write(struct log_queue *queue, int fd, const struct iovec *parts,
                              int count) {
    for (;;) {
        ssize_t n = writev(fd, parts, count);
        if (n >= 0 || errno != EAGAIN || queue->stopped)
            return n < 0 ? -errno : n;
        struct pollfd poller = {.fd = fd, .events = POLLOUT};
        poll(&poller, 1, WAIT_MS);
    }
}

/* Writes one piece, and releases the lock meanwhile. Returns bytes or -errno. */
static ssize_t write_piece(struct log_queue *queue, bool may_wait) {
    size_t len = piece(queue), first = LOG_QUEUE_BYTES - queue->head;
    struct iovec parts[2] = {{queue->ring + queue->head, len < first ? len : first},
                             {queue->ring, len < first ? 0 : len - first}};
    int fd = queue->fd, count = len > first ? 2 : 1;
    enum sink sink = queue->sink;
    unsigned changes = queue->changes;
    ssize_t n;
    unlock(queue);
    do
        n = may_wait ? wait_and_write(queue, fd, parts, count) : try_write(fd, sink, parts, count);
    while (n == -EINTR);
    lock(queue);
    if (n > 0)
        consume(queue, (size_t)n);
    if (changes != queue->changes)
        drop_rest_of_line(queue);
    return n == 0 ? -EIO : n;
}

static bool may_try(struct log_queue *queue) {
    return queue->used > 0 && (queue->retry_at == 0 || clock_monotonic_ns() >= queue->retry_at);
}

/* Writes waiting lines, as far as possible. The caller holds the lock. */
static void write_on(struct log_queue *queue, bool may_wait, unsigned pieces) {
    if (queue->writing)
        return;
    queue->writing = true;
    while (pieces-- > 0 && may_try(queue)) {
        ssize_t n = write_piece(queue, may_wait);
        if (n == -EAGAIN)
            break;
        queue->error = n < 0 ? (int)-n : 0;
        queue->retry_at = n < 0 ? clock_monotonic_ns() + RETRY_NS : 0;
        report_dropped(queue);
        uv_cond_broadcast(&queue->progress);
    }
    queue->writing = false;
    uv_cond_broadcast(&queue->progress);
}

/* ---- for all threads ---- */

void log_queue_set_fd(struct log_queue *queue, int fd, bool is_own,
                      log_queue_dropped_fn write_dropped) {
    lock(queue);
    look_at(queue, fd, is_own);
    queue->write_dropped = write_dropped;
    queue->retry_at = 0;
    queue->changes++;
    if (!queue->writing) /* else write_piece(queue) does it */
        drop_rest_of_line(queue);
    uv_cond_signal(&queue->work);
    unlock(queue);
}

void log_queue_put(struct log_queue *queue, const char *line, size_t len) {
    lock(queue);
    report_dropped(queue);
    bool is_first = queue->used == 0;
    if (queue->dropping || queue->used + len > LOG_QUEUE_BYTES)
        drop(queue);
    else
        append(queue, line, len);
    if (is_first || !queue->served)
        write_on(queue, !queue->served, OWN_PIECES);
    if (queue->used > 0 && queue->served && !queue->writing)
        uv_cond_signal(&queue->work);
    unlock(queue);
}

void log_queue_figures(struct log_queue *queue, struct log_queue_figures *figures) {
    lock(queue);
    *figures = (struct log_queue_figures){.dropped = queue->dropped, .waiting = queue->used};
    unlock(queue);
}

void log_queue_set_served(struct log_queue *queue, bool served) {
    lock(queue);
    queue->served = served;
    unlock(queue);
}

bool log_queue_serve(struct log_queue *queue, unsigned ms) {
    lock(queue);
    if (!queue->stopped && !queue->woken && !may_try(queue)) {
        uint64_t wait = (uint64_t)ms * 1000000;
        if (queue->used > 0 && wait > RETRY_NS)
            wait = RETRY_NS;
        uv_cond_timedwait(&queue->work, &queue->lock, wait);
    }
    queue->woken = false;
    write_on(queue, true, UINT_MAX);
    bool goes_on = !queue->stopped;
    queue->served = goes_on;
    unlock(queue);
    return goes_on;
}

void log_queue_stop(struct log_queue *queue) {
    lock(queue);
    queue->stopped = true;
    uv_cond_signal(&queue->work);
    unlock(queue);
}

void log_queue_wake(struct log_queue *queue) {
    lock(queue);
    queue->woken = true;
    uv_cond_signal(&queue->work);
    unlock(queue);
}

/* ---- the end ---- */

/* The longest flush, as a multiple of the milliseconds for one piece. */
enum { MOST_PATIENCE = 10 };

/* A dying process waits so often, and so long each time, for a thread that writes. */
enum { SALVAGE_ATTEMPTS = 50, SALVAGE_PAUSE_MS = 4 };

/* Writes pieces when no thread serves the queue. False: none within `ms`. */
static bool write_within(struct log_queue *queue, unsigned ms) {
    int fd = queue->fd;
    unlock(queue);
    struct pollfd poller = {.fd = fd, .events = POLLOUT};
    bool ready = poll(&poller, 1, (int)ms) == 1;
    lock(queue);
    uint64_t before = queue->written;
    if (ready)
        write_on(queue, queue->sink == SINK_WAITING, 1);
    return queue->written != before;
}

/* Waits until another thread has written a piece. False: none within `ms`, or the write failed. */
static bool progress_within(struct log_queue *queue, unsigned ms) {
    uint64_t before = queue->written, end = clock_monotonic_ns() + (uint64_t)ms * 1000000, now;
    uv_cond_signal(&queue->work);
    while (queue->written == before && queue->retry_at == 0 && (now = clock_monotonic_ns()) < end)
        uv_cond_timedwait(&queue->progress, &queue->lock, end - now);
    return queue->written != before;
}

bool log_queue_flush(struct log_queue *queue, unsigned ms) {
    lock(queue);
    uint64_t end = clock_monotonic_ns() + (uint64_t)ms * 1000000 * MOST_PATIENCE;
    queue->retry_at = 0; /* a last attempt */
    bool goes_on = true;
    while (goes_on && queue->used > 0 && clock_monotonic_ns() < end)
        goes_on =
            queue->served || queue->writing ? progress_within(queue, ms) : write_within(queue, ms);
    bool all = queue->used == 0;
    unlock(queue);
    return all;
}

void log_queue_salvage(struct log_queue *queue) {
    struct timespec pause = {0, SALVAGE_PAUSE_MS * 1000000};
    uv_once(&once, init);
    for (int i = 0; i < SALVAGE_ATTEMPTS; i++) {
        if (uv_mutex_trylock(&queue->lock) == 0) {
            queue->retry_at = 0;
            bool done = !queue->writing;
            while (!queue->writing && queue->used > 0 && write_within(queue, SALVAGE_PAUSE_MS * 10))
                ;
            unlock(queue);
            if (done)
                return;
        }
        nanosleep(&pause, NULL);
    }
}
