/* log_queue.h -- lines on their way to a descriptor: of the log, and of what scripts print.
 *
 * Whoever logs never waits: a line is written at once where that cannot block, and waits here where
 * it could, up to a ceiling in bytes. Above that lines are dropped and counted, and a later line
 * tells how many. The order of lines is that of log_queue_put(), over all threads. One thread may
 * serve the queue (log_queue_serve), which waits for the reader in everybody's stead; without one,
 * for commands, log_queue_put() writes as any program does.
 *
 * A descriptor that others share (the standard error) is never made non-blocking: that would change
 * it for them too. */
#ifndef TIDEWIRE_BASE_LOG_LOG_QUEUE_H
#define TIDEWIRE_BASE_LOG_LOG_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct log_queue;

/* The log's lines, and what scripts print. */
extern struct log_queue *const log_queue_log, *const log_queue_output;

/* Bytes that wait at most. */
enum { LOG_QUEUE_BYTES = 1024 * 1024 };

/* Writes the line that tells of dropped lines: how many, and why (an errno; 0: it was not read). */
typedef size_t (*log_queue_tell_fn)(char *line, size_t size, uint64_t dropped, int error);

/* Where lines go from now on. `is_own`: we have opened it with O_NONBLOCK, and nobody ref_cache it.
 * What is left of a line that the old one has a part of is dropped. Closes nothing. */
void log_queue_set_fd(struct log_queue *queue, int fd, bool is_own, log_queue_tell_fn tell);

/* A whole line with its end, at most half of LOG_QUEUE_BYTES. */
void log_queue_put(struct log_queue *queue, const char *line, size_t len);

struct log_queue_figures {
    uint64_t dropped; /* lines, since the start */
    size_t waiting;   /* bytes */
};
void log_queue_figures(struct log_queue *queue, struct log_queue_figures *figures);

/* A thread will serve the queue, or does so no more. */
void log_queue_set_served(struct log_queue *queue, bool served);
/* One round of it: writes what waits, however long that takes; sleeps for at most `ms` milliseconds
 * before, while there is nothing to write. False: log_queue_stop() was called, and nobody serves
 * the queue any more. */
bool log_queue_serve(struct log_queue *queue, unsigned ms);
void log_queue_stop(struct log_queue *queue);

/* Wakes the serving thread. */
void log_queue_wake(struct log_queue *queue);

/* Waits until all is written, and not longer than `ms` without any progress. False: something is
 * left. */
bool log_queue_flush(struct log_queue *queue, unsigned ms);

/* The same for a process that dies of a signal in this moment, from its handler: takes no lock that
 * is held. */
void log_queue_salvage(struct log_queue *queue);

#endif
