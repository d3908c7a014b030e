/* log_writer.h -- the threads that wait for whoever reads the log, and the standard output, so that
 * nobody else does.
 *
 * What they have to write is in base/log/log_queue.h. Also sees to what waits there when the
 * process ends: in good order, by exit() wherever that is called, or of a fatal signal. */
#ifndef TIDEWIRE_SERVER_LOG_WRITER_H
#define TIDEWIRE_SERVER_LOG_WRITER_H

#include "server/settings.h"

#include <stdbool.h>

/* Opens the log that the settings name. False, after a message on stderr, when it cannot be
 * opened. */
bool log_writer_open(const struct settings *settings);
/* Opens the log's file anew, and logs that. */
void log_writer_reopen(void);

/* Once, by the main thread, when it is known where the log goes. */
void log_writer_start(void);

/* Writes what waits, as far as that can be done without hanging, and ends the threads. Lines that
 * come later are written by those who log them. */
void log_writer_stop(void);

#endif
