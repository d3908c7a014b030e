/* log_queue.h -- lines that wait for a descriptor: of the log, and of the output of scripts.
 *
 * A thread that logs never waits. It writes its line itself when that cannot block; otherwise the
 * line waits in the queue, up to a limit in bytes. Above the limit the queue drops and counts
 * lines, and a later line says how many. Lines have the order of log_queue_put(), over all threads.
 * One thread may serve the queue (log_queue_serve) and wait for the reader. Without such a thread,
 * in commands, log_queue_put() writes as any program does.
 *
 * The queue never makes a descriptor that other processes share (the standard error) non-blocking:
 * that would change it for them too. */
#ifndef TIDEWIRE_BASE_LOG_LOG_QUEUE_H
#define TIDEWIRE_BASE_LOG_LOG_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct log_queue;

/* The lines of the log, and the output of scripts. */
extern struct log_queue *const log_queue_log, *const log_queue_output;

/* The most bytes that wait. */
enum { LOG_QUEUE_BYTES = 1024 * 1024 };

/* Writes the line about dropped lines: their number and the reason (an errno; 0: the reader was too
 * slow). */
typedef size_t (*log_queue_dropped_fn)(char *line, size_t size, uint64_t dropped, int error);

/* The descriptor of later lines. `is_own`: this process has opened it with O_NONBLOCK, and no other
 * process shares it. Drops the rest of a line of which the old descriptor has a part. Closes
 * nothing. */
void log_queue_set_fd(struct log_queue *queue, int fd, bool is_own,
                      log_queue_dropped_fn write_dropped);

/* A whole line with its end, at most half of LOG_QUEUE_BYTES. */
void log_queue_put(struct log_queue *queue, const char *line, size_t len);

struct log_queue_figures {
    uint64_t dropped; /* lines, since the start */
    size_t waiting;   /* bytes */
};
void log_queue_figures(struct log_queue *queue, struct log_queue_figures *figures);

/* A thread serves the queue from now on, or no longer. */
void log_queue_set_served(struct log_queue *queue, bool served);
/* One round of that thread: sleeps for at most `ms` milliseconds while no line waits, then writes
 * all waiting lines, however long that takes. False: after log_queue_stop(), no thread serves the
 * queue. */
bool log_queue_serve(struct log_queue *queue, unsigned ms);
void log_queue_stop(struct log_queue *queue);

/* Wakes the serving thread. */
void log_queue_wake(struct log_queue *queue);

/* Waits until all lines are written, but no longer than `ms` without progress. False: some are
 * left. */
bool log_queue_flush(struct log_queue *queue, unsigned ms);

/* The same for the handler of a fatal signal: takes no lock that another thread holds. */
void log_queue_salvage(struct log_queue *queue);

#endif
