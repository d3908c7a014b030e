/* log_writer.h -- the threads that wait for the readers of the log and of the standard output, so
 * that no other thread does.
 *
 * They write the queues of base/log/log_queue.h. The queues are also written when the process ends:
 * in good order, by exit() wherever that is called, or by a fatal signal. */
#ifndef TIDEWIRE_SERVER_LOG_WRITER_H
#define TIDEWIRE_SERVER_LOG_WRITER_H

#include "script/vm/settings.h"

#include <stdbool.h>

/* Opens the log that the settings name. False, after a message on stderr, when it cannot be
 * opened. */
bool log_writer_open(const struct settings *settings);
/* Opens the log file again, and logs that. */
void log_writer_reopen(void);

/* Starts the threads. Once, by the main thread, after log_writer_open(). */
void log_writer_start(void);

/* Writes the queues, as far as the readers take them in time, and ends the threads. Later lines are
 * written by the threads that log them. */
void log_writer_stop(void);

#endif
