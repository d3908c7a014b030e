/* standard_streams.h -- descriptors 0, 1 and 2 are always open.
 *
 * A program may be started without them (`2>&-`, some supervisors). Then the next descriptors that
 * it opens get these numbers: libuv aborts when it closes one of them, and what is printed goes
 * into a socket or a pipe of the program's own. */
#ifndef TIDEWIRE_SERVER_STANDARD_STREAMS_H
#define TIDEWIRE_SERVER_STANDARD_STREAMS_H

#include <stdbool.h>

/* Opens /dev/null in the place of each that is closed. To be called before anything else opens a
 * descriptor. False, after a message on stderr where there is one: /dev/null cannot be opened. */
bool standard_streams_reserve(void);

/* Writes what stdio still holds of all files (io.write, io.open), for the end of the process.
 * False: it has not been written within half a second, because nobody reads it, or a thread that
 * does not return holds a file: then exit() would wait for ever, and standard_streams_exit() is
 * right. */
bool standard_streams_flush(void);

/* Ends the process as it is. */
_Noreturn void standard_streams_exit(int code);

#endif
